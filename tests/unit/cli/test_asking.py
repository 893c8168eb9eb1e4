"""What commands do when the admin port is away, wrong, or wants a token."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from extproc.cli import main
from extproc.cli.asking import Client, Failed
from tests.unit.admin.serving import app, in_thread
from tests.unit.cli.conftest import said

TOKEN = "correct-horse"


def tollgate(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"TOLLGATE_ADMIN_TOKEN": None, **env})


@contextmanager
def answering(*answers: bytes, close: bool = True) -> Iterator[str]:
    """A server that says these bytes to whoever comes, one each, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for one in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(one)
                    if close:
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join(10)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = tollgate("keys", "list", "--admin", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"Error: cannot reach the gateway at http://127.0.0.1:{port}: Connection refused\n"
    )


@pytest.mark.parametrize(
    "admin", ["http://no-such-host.invalid:1", "unix:/nowhere/admin.sock", "https://127.0.0.1:1"]
)
def test_nowhere(admin: str) -> None:
    result = tollgate("usage", "--admin", admin)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "cannot reach the gateway" in result.stderr


ESCAPE = b'{"error": {"message": "a\\u001b[2Jb"}}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OK + b"content-length: 5\r\n\r\nhello", "no JSON"),
        (OK + b"content-length: 50\r\n\r\n{", "broke off"),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\n{", "broke off"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"", "broke off"),
        (b"HTTP/1.1 302 Found\r\nlocation: /metrics\r\ncontent-length: 0\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\n\x1b[2J", "answered 500"),
        (b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n%b" % (len(ESCAPE), ESCAPE), "a\\x1b[2Jb"),
        (OK + b"content-length: 2\r\n\r\n[]", "no admin port"),
        (OK + b"content-length: 2\r\n\r\n{}", "no admin port"),
    ],
)  # fmt: skip
def test_strange_answers(answer: bytes, why: str) -> None:
    with answering(answer) as url:
        result = tollgate("usage", "--admin", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert why in result.stderr
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_line_of_a_stream_that_breaks_off() -> None:
    head = OK + b"transfer-encoding: chunked\r\n\r\n"
    for broken in (b'4\r\n{"a"\r\n', b'8\r\n{"a":1}\n\r\n', b""):
        with answering(head + broken) as url, pytest.raises(Failed, match="broke off"):
            list(Client(url).lines("/usage/records"))
    with answering(head + b'8\r\n{"a":1}\n\r\n0\r\n\r\n') as url:
        assert list(Client(url).lines("/usage/records")) == [b'{"a":1}']


def test_a_token(tmp_path: Path) -> None:
    with in_thread(tmp_path, TOKEN) as served:
        url = served.url
        without = tollgate("keys", "list", "--admin", url)
        assert (without.exit_code, without.stdout) == (1, "")
        assert "no admin token" in without.stderr
        wrong = tollgate("keys", "list", "--admin", url, "--token", "wrong-horse")
        assert "token is wrong" in wrong.stderr
        assert "wrong-horse" not in wrong.output
        assert said(tollgate("keys", "list", "--json", "--admin", url, "--token", TOKEN)) == []
        env = {"TOLLGATE_ADMIN_TOKEN": f"{TOKEN}\n", "TOLLGATE_ADMIN": url}
        assert said(tollgate("keys", "list", "--json", **env)) == []


def test_a_flag_in_front_of_the_command(tmp_path: Path) -> None:
    with in_thread(tmp_path, TOKEN) as served:
        flags = ["usage", "--admin", served.url, "--token", TOKEN]
        env = {"TOLLGATE_ADMIN": "http://127.0.0.1:1", "TOLLGATE_ADMIN_TOKEN": "wrong"}
        result = tollgate(*flags, "export", "--format", "jsonl", **env)
        assert result.exit_code == 0, result.output


def test_the_token_is_not_in_the_help() -> None:
    result = tollgate("keys", "list", "--help", TOLLGATE_ADMIN_TOKEN=TOKEN)
    assert TOKEN not in result.output


def test_no_proxy_of_the_environment_sees_the_token(tmp_path: Path) -> None:
    with in_thread(tmp_path, TOKEN) as served:
        env = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:1")
        result = tollgate("keys", "list", "--admin", served.url, "--token", TOKEN, **env)
        assert result.exit_code == 0, result.output


def test_a_path_in_front(tmp_path: Path) -> None:
    """An admin port behind a path of somebody's proxy."""
    del tmp_path
    body = b'{"keys": []}'
    with answering(OK + b"content-length: %d\r\n\r\n" % len(body) + body) as url:
        assert said(tollgate("keys", "list", "--json", "--admin", f"{url}/tollgate/")) == []


def test_over_a_unix_socket(tmp_path: Path) -> None:
    with in_thread(tmp_path) as served:
        path = tmp_path / "admin.sock"

        async def listen() -> web.AppRunner:
            runner = web.AppRunner(app(served.stores), access_log=None)
            await runner.setup()
            await web.UnixSite(runner, str(path)).start()
            return runner

        runner = served.wait(listen())
        try:
            assert said(tollgate("keys", "list", "--json", "--admin", f"unix:{path}")) == []
        finally:
            served.wait(runner.cleanup())
