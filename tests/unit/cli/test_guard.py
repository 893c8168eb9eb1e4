import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from extproc.cli import main

TEXT = "Hi,\nmy mail is a@example.com\nand card 4111 1111 1111 1111\n"


def run(*arguments: str, given: str | bytes | None = None, **more: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["guard", "test", *arguments], input=given, **more)
    return result.exit_code, result.output


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers every POST so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_places_are_shown_and_no_values(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(TEXT, "utf-8")
    code, shown = run(str(path))
    assert code == 1
    lines = [line.split() for line in shown.splitlines()[2:]]
    assert lines == [
        ["EMAIL_ADDRESS", "2:12", "15-28", "0.97"],
        ["CREDIT_CARD", "3:10", "38-57", "0.99"],
    ]
    assert "example.com" not in shown
    assert "4111" not in shown


def test_values_are_shown_to_who_asks() -> None:
    code, shown = run("-", "--show", given=TEXT)
    assert code == 1
    assert "a@example.com" in shown


def test_as_json() -> None:
    _, shown = run("-", "--json", given=TEXT)
    first, second = (json.loads(line) for line in shown.splitlines())
    assert first == {
        "type": "EMAIL_ADDRESS",
        "line": 2,
        "column": 12,
        "start": 15,
        "end": 28,
        "confidence": 0.97,
    }
    assert TEXT[second["start"] : second["end"]] == "4111 1111 1111 1111"


def test_nothing_is_found_in_nothing() -> None:
    assert run("-", given="") == (0, "nothing found\n")
    assert run("-", "--json", given="hello") == (0, "")


def test_bytes_that_are_no_text_count_as_characters() -> None:
    code, shown = run("-", "--show", given=b"\xff\xfe a@example.com \xff")
    assert code == 1
    assert "3-16" in shown


def test_a_file_that_is_not_there_is_said_in_one_line() -> None:
    code, shown = run("/nowhere/at/all")
    assert code == 1
    assert shown == "Error: /nowhere/at/all: No such file or directory\n"


def test_a_detector_that_cannot_be_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = run("-", "--guard", "http", given=TEXT)
    assert code == 2
    assert "--guard http needs --guard-url" in shown
    monkeypatch.setattr("extproc.guard.presidio.find_spec", lambda _: None)
    code, shown = run("-", "--guard", "presidio", given=TEXT)
    assert code == 2
    assert "pip install 'tollgate[presidio]'" in shown


def test_an_endpoint_is_asked_and_one_that_is_away_is_said_to_be() -> None:
    person = {"start": 0, "end": 2, "type": "PERSON", "confidence": 0.9}
    with answering(json.dumps({"findings": [[person]]}).encode()) as url:
        code, shown = run("-", "--guard", "http", "--guard-url", url, "--json", given=TEXT)
    assert code == 1
    first = json.loads(shown.splitlines()[0])
    assert (first["type"], first["start"], first["end"]) == ("PERSON", 0, 2)
    assert len(shown.splitlines()) == 3
    code, shown = run("-", given=TEXT, env={"TOLLGATE_GUARD": "http", "TOLLGATE_GUARD_URL": url})
    assert code == 1
    assert shown.startswith("Error: http://127.0.0.1:")
    assert "example.com" not in shown
