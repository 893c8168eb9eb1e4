"""What people and programs see of the ledger: `tollgate usage`, `tail`, `report`, sinks."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from pyarrow import parquet

from extproc.identity.keys import mint
from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.ledger_books import (
    admin,
    at_rest,
    cost_of,
    dollars,
    grouped,
    make,
    record,
    records,
    row_sums,
    rows,
    sums,
    told,
    tollgate,
    value,
)
from tests.e2e.ledger_processes import Redis

pytestmark = pytest.mark.e2e

CONFIG = """
providers:
  openai: {dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY, outlier: {consecutive_5xx: 1000000}}
  anthropic: {dialect: anthropic, url: https://api.anthropic.com, key_env: ANTHROPIC_API_KEY, outlier: {consecutive_5xx: 1000000}}
targets:
  gpt: {provider: openai, model: gpt-4o-mini, timeout: 10s}
  claude: {provider: anthropic, model: claude-haiku-4-5, timeout: 10s}
chains:
  main: [gpt, claude]
routes:
  - name: kept
    match: {headers: {x-test-route: kept}}
    models: {"*": main}
    record: content
  - name: watched
    match: {headers: {x-test-route: watched}}
    models: {"*": main}
    mode: observe
  - name: everything
    models: {"*": main}
identity: open
"""  # noqa: E501 - a provider a line
KEYS = """identity: keys
tiers:
  free: {tokens: 10000/d}
"""
TOKEN = "sink-token-4711"
HOSTILE = "<b>x</b>\n\x1b[31mred\u202e=1+1"
"""Markup, a line end, a colour for terminals, a change of direction."""


@dataclass
class Hook:
    """A webhook that fails at first."""

    url: str = ""
    failures: int = 3
    tokens: set[str | None] = field(default_factory=set)
    lines: list[Json] = field(default_factory=list)

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator[Hook]:
        hook = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.failures -= 1
                if hook.failures < 0:
                    hook.tokens.add(self.headers["authorization"])
                    hook.lines += [json.loads(line) for line in body.splitlines()]
                self.send_response(204 if hook.failures < 0 else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on the terminal of the tests."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            hook.url = f"http://127.0.0.1:{server.server_port}/records"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield hook
            server.shutdown()


@dataclass(frozen=True, slots=True)
class Desk:
    """A gateway with all sinks, and some traffic."""

    gateway: Running
    hook: Hook
    sink: Path
    traffic: list[Json]
    """Records of what was asked first."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("tools")
    config, sink = folder / "gateway.yaml", folder / "sink.jsonl"
    config.write_text(CONFIG)
    with Hook.listening() as hook:
        env = {
            "TOLLGATE_SERVE_SINK_FILE": str(sink),
            "TOLLGATE_SERVE_SINK_URL": hook.url,
            "TOLLGATE_SINK_TOKEN": TOKEN,
        }
        with running(folder / "run", config, env=env) as gateway:
            for number in range(12):
                headers = {"x-tollgate-feature": "abc"[number % 3]}
                if number % 2:
                    headers["x-tollgate-label-env"] = "prod"
                gateway.chat("main", headers=headers, script={"usage": USED[number % 3]})
            gateway.chat("main", script={"status": 500})
            at_rest(gateway)
            yield Desk(gateway, hook, sink, records(gateway))


USED = ({"input": 1000, "output": 100}, {"input": 10, "output": 1}, {"input": 77, "output": 3001})


def once(gateway: Running, *, text: str = "Hello", **more: Any) -> str:
    """One request, served; its id."""
    answer = gateway.chat("main", text, **more)
    assert answer.status_code == 200, answer.text
    found: str = answer.headers["x-tollgate-request-id"]
    return found


# --- sums ---------------------------------------------------------------------------------


def test_usage_in_all_forms(desk: Desk) -> None:
    gateway, since = desk.gateway, ("--since", "6h")
    by_env = rows(gateway, "--by", "label:env", *since)
    assert {row["label:env"]: row["requests"] for row in by_env} == {"prod": 6, None: 7}
    found = rows(gateway, "--by", "feature", *since, "--where", "label:env=prod")
    prod = [one for one in desk.traffic if value(one, "label:env") == "prod"]
    assert {(row["feature"],): row_sums(row) for row in found} == grouped(prod, "feature")
    other = rows(gateway, *since, "--where", "feature!=a", "--where", "feature!=b")
    assert row_sums(other[0]) == sums(
        one for one in desk.traffic if value(one, "feature") not in ("a", "b")
    )
    nobody = rows(gateway, *since, "--where", "feature=")
    assert nobody[0]["requests"] == nobody[0]["errors"] == 1
    dearest, rest = rows(gateway, "--by", "feature", *since, "--top", "1")
    assert dearest["feature"] == "c"
    assert (rest["feature"], rest["rest"], rest["requests"]) == ("(rest)", True, 9)
    whole = sum(cost_of(one) for one in desk.traffic)
    assert dollars(dearest["cost_usd"]) + dollars(rest["cost_usd"]) == whole > 0
    (compared,) = rows(gateway, *since, "--compare", "previous")
    assert compared["previous_requests"] == 0
    assert compared["change"] is None
    (slow,) = rows(gateway, *since, "--latency", "--where", "feature=a")
    assert 0 < float(slow["duration_p50"]) <= float(slow["duration_p95"]) < 10


def test_usage_as_csv_and_for_people(desk: Desk) -> None:
    text = told(desk.gateway, "usage", "--by", "feature", "--since", "6h", "--csv")
    found = {row["feature"] or None: row for row in csv.DictReader(io.StringIO(text))}
    for (feature,), wanted in grouped(desk.traffic, "feature").items():
        assert int(found[feature]["requests"]) == wanted["requests"]
        assert dollars(found[feature]["cost_usd"]) == wanted["cost"]
    table = told(desk.gateway, "usage", "--by", "feature", "--since", "6h").splitlines()
    assert table[0].split()[:3] == ["feature", "cost", "share"]
    assert [line.split()[0] for line in table[2:7]] == ["c", "a", "b", "-", "total"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["usage", "--by", "colour"], "unknown dimension 'colour'"),
        (["usage", "--since", "yesterday"], "yesterday"),
        (["usage", "--json", "--csv"], "exclude each other"),
        (["usage", "show", "0" * 32], "no record"),
        (["usage", "export", "--format", "parquet"], "-o FILE"),
    ],
)
def test_a_question_without_sense_is_told_so(desk: Desk, arguments: list[str], says: str) -> None:
    done = tollgate(desk.gateway, *arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_story_of_one_request(desk: Desk) -> None:
    failing = {"by": {"openai": {"error": "rate_limit"}, "*": {"usage": USED[0]}}}
    said = {"x-tollgate-user": "ann", "x-tollgate-feature": "drafts"}
    id_ = once(desk.gateway, script=failing, headers=said)
    wanted = record(desk.gateway, id_)
    found = json.loads(told(desk.gateway, "usage", "show", id_, "--json"), parse_float=str)
    assert [one["target"] for one in found["levels"]] == ["gpt", "claude"]
    assert found["levels"][0]["reason"] == "capacity"
    assert (found["who"]["user"], found["who"]["feature"]) == ("ann", "drafts")
    assert dollars(found["cost"]["total_usd"]) == cost_of(wanted)
    assert found["tokens"]["input"] == 1000
    text = told(desk.gateway, "usage", "show", id_)
    for word in (id_, "ann", "drafts", "claude", "capacity", "first", "ended")[:5]:
        assert word in text


def test_exports_are_what_was_recorded(desk: Desk, tmp_path: Path) -> None:
    gateway = desk.gateway
    wanted = {one["id"]: one for one in records(gateway)}
    for form in ("csv", "jsonl", "parquet"):
        told(gateway, "usage", "export", "--since", "6h", "-o", str(tmp_path / f"all.{form}"))
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert {one["id"]: one for one in map(json.loads, lines)} == wanted
    with (tmp_path / "all.csv").open(newline="") as file:
        flat = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    for found in (flat, table):
        assert {row["id"] for row in found} == wanted.keys()
        assert len(found) == len(wanted)
        for row in found:
            one = wanted[row["id"]]
            assert int(row["cost_nano_usd"] or 0) == cost_of(one)
            assert int(row["input_tokens"] or 0) == (one.get("usage") or {}).get("input", 0)
            assert (row["feature"] or None) == value(one, "feature")
            assert (row["target"] or None) == one.get("target")


# --- as it happens ------------------------------------------------------------------------


@contextmanager
def tail(gateway: Running, folder: Path, *flags: str) -> Iterator[Path]:
    """`tollgate tail`, and where it writes."""
    out = folder / "tail.out"
    url = f"http://127.0.0.1:{gateway.admin}"
    command = [sys.executable, "-m", "extproc.cli", "tail", "--admin", url, *flags]
    with out.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:

        def listens() -> bool:
            gateway.chat("main", headers=bearer(gateway))
            return out.stat().st_size > 0

        poll(listens, what="the tail")
        yield out
    finally:
        process.terminate()
        process.wait()


def bearer(gateway: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {gateway.api_key}"}


def shows(gateway: Running, folder: Path) -> None:
    """A tail shows each request as it finishes, and what it was."""
    with tail(gateway, folder) as out:
        ids = [
            gateway.chat("main", headers=bearer(gateway)).headers["x-tollgate-request-id"]
            for _ in range(8)
        ]
        poll(lambda: all(one in out.read_text() for one in ids), within=3, what="the tail's lines")
    lines = [line for line in out.read_text().splitlines() if any(one in line for one in ids)]
    assert len(lines) == len(ids)
    assert all("main > gpt" in line and " tokens" in line for line in lines)


def test_tail_shows_requests_as_they_finish(desk: Desk, tmp_path: Path) -> None:
    shows(desk.gateway, tmp_path)


def test_tail_as_json_with_a_condition(desk: Desk, tmp_path: Path) -> None:
    with tail(desk.gateway, tmp_path, "--json", "--where", "feature!=other") as out:
        once(desk.gateway, headers={"x-tollgate-feature": "other"})
        wanted = once(desk.gateway, headers={"x-tollgate-feature": "mine"})
        poll(lambda: wanted in out.read_text(), within=3, what="the tail's line")
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert found[-1]["id"] == wanted
    assert "other" not in {value(one, "feature") for one in found}


def test_sinks_get_every_record(desk: Desk) -> None:
    """Also the webhook, which failed three times."""
    once(desk.gateway)
    at_rest(desk.gateway)
    wanted = {one["id"]: one for one in records(desk.gateway)}

    def there() -> bool:
        return {one["id"] for one in desk.hook.lines} >= wanted.keys()

    poll(there, within=15, what="the webhook's records")
    assert desk.hook.failures < 0
    assert desk.hook.tokens == {f"Bearer {TOKEN}"}
    written = [json.loads(line) for line in desk.sink.read_text().splitlines()]
    for got in (desk.hook.lines, written):
        assert {one["id"]: one for one in got} == wanted
        assert Counter(one["id"] for one in got).most_common(1)[0][1] == 1
    for log in desk.gateway.folder.glob("*.log"):
        assert TOKEN not in log.read_text(errors="replace")


# --- only looking -------------------------------------------------------------------------


def test_a_route_that_observes_is_reported(desk: Desk) -> None:
    watched = {"x-test-route": "watched"}
    for _ in range(3):
        once(desk.gateway, text="the same question", headers=watched)
    once(desk.gateway, text="the same question", headers=watched, stream=True)
    once(desk.gateway, text="another question", headers=watched)
    at_rest(desk.gateway)
    found = json.loads(told(desk.gateway, "report", "--since", "1d", "--json"), parse_float=str)
    assert found["observed_requests"] == 5
    (again,) = found["repeats"]
    assert (again["route"], again["requests"], again["hits"]) == ("watched", 5, 2)
    assert dollars(again["saved_usd"]) > 0
    text = told(desk.gateway, "report", "--since", "1d")
    assert "watched" in text
    assert "exact cache" in text


# --- what is written down -----------------------------------------------------------------


def everything_told(gateway: Running, id_: str) -> str:
    """All that the tools say of a request, but for its content."""
    parts = [
        *(told(gateway, "usage", "--by", by, "--since", "6h") for by in ("feature,user", "model")),
        told(gateway, "usage", "export", "--since", "6h"),
        told(gateway, "report", "--since", "1d"),
        admin(gateway, "/usage/records", since="6h").text,
        gateway.metrics(),
    ]
    assert id_ in "".join(parts)
    return "".join(parts)


def test_content_is_kept_where_a_route_says_so_and_shown_nowhere_else(
    desk: Desk, tmp_path: Path
) -> None:
    gateway = desk.gateway
    asked, said = "canary-asked-1", "canary-said-1"
    with tail(gateway, tmp_path) as out:
        for stream in (False, True):
            script = {"text": said}
            id_ = once(
                gateway, text=asked, script=script, headers={"x-test-route": "kept"}, stream=stream
            )
            record(gateway, id_)
            story = told(gateway, "usage", "show", id_)
            assert asked in story
            assert said in story
        poll(lambda: id_ in out.read_text(), within=3, what="the tail's line")
    elsewhere = everything_told(gateway, id_) + out.read_text() + desk.sink.read_text()
    elsewhere += json.dumps(desk.hook.lines)
    elsewhere += "".join(log.read_text() for log in gateway.folder.glob("*.log"))
    assert "canary" not in elsewhere


def test_without_that_no_word_is_written_anywhere(desk: Desk) -> None:
    gateway = desk.gateway
    asked, said = "canary-asked-2", "canary-said-2"
    for route in ("watched", "everything"):
        headers = {"x-test-route": route}
        for stream in (False, True):
            good: Json = {"text": f"{said} {said}"}
            for script in (
                good,
                {**good, "error_at": 1, "message": said},
                {"status": 400, "message": said},
            ):
                with suppress(httpx.RemoteProtocolError):
                    gateway.chat("main", asked, script=script, headers=headers, stream=stream)
    broken = gateway.raw(b'{"model": "main", "messages": [{"role": "canary-asked-2"')
    assert broken.status_code == 400
    record(gateway, broken.headers["x-tollgate-request-id"])
    at_rest(gateway)
    files = [one for one in gateway.folder.rglob("*") if one.is_file()]
    assert {"ledger.db", "access.log"} <= {one.name for one in files}
    for file in (*files, desk.sink):
        written = file.read_bytes()
        assert asked.encode() not in written, file
        assert said.encode() not in written, file


def on_a_terminal(gateway: Running, *arguments: str) -> str:
    """What a terminal gets: only there nothing is left out of what is written."""
    url = f"http://127.0.0.1:{gateway.admin}"
    reader, writer = pty.openpty()
    command = [sys.executable, "-m", "extproc.cli", *arguments, "--admin", url]
    process = subprocess.Popen(command, stdout=writer, stderr=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    parts: list[bytes] = []
    with suppress(OSError):  # Linux says so when the last writer has gone
        while part := os.read(reader, 65536):
            parts.append(part)
    os.close(reader)
    assert process.wait(30) == 0, b"".join(parts)
    return b"".join(parts).decode()


def test_words_of_strangers_do_nothing_to_a_terminal(desk: Desk) -> None:
    gateway = desk.gateway
    words = {"user": HOSTILE, "metadata": {"feature": HOSTILE, "env": "x" * 500}}
    answer = gateway.http.post(
        f"{gateway.url}/chat/completions",
        json={
            "model": f"model {HOSTILE}",
            "messages": [{"role": "user", "content": "Hi"}],
            **words,
        },
        headers={"x-sim-script": '{"status": 500}', "x-tollgate-label-long": "y" * 10_000},
    )
    assert answer.status_code == 503
    id_ = answer.headers["x-tollgate-request-id"]
    kept = record(gateway, id_)
    assert value(kept, "label:long") == "y" * 256
    screens = [
        on_a_terminal(gateway, "usage", "show", id_),
        *(
            on_a_terminal(gateway, "usage", "--by", by, "--since", "6h")
            for by in ("model", "feature,user")
        ),
        on_a_terminal(gateway, "usage", "--by", "model", "--since", "6h", "--csv"),
        on_a_terminal(gateway, "usage", "export", "--since", "6h"),
        on_a_terminal(gateway, "report", "--since", "1d"),
    ]
    for screen in screens:
        assert "\x1b" not in screen
        assert "\u202e" not in screen
        assert not [
            line for line in screen.splitlines() if line.lstrip("'\"").startswith(("red", "[31m"))
        ]
    assert "<b>x</b>" in screens[0]
    found = rows(gateway, "--by", "model", "--since", "6h")
    assert f"model {HOSTILE}" in {row["model"] for row in found}


# --- two workers --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tools-pair")
    config = folder / "gateway.yaml"
    config.write_text(CONFIG.replace("identity: open", KEYS))
    with Redis.running() as redis:
        assert redis is not None
        with running(folder / "run", config, "--workers", "2", "--redis", redis.url) as gateway:
            gateway.api_key = make(gateway, tenant="acme")["key"]
            yield gateway


def test_tail_shows_what_any_worker_served(pair: Running, tmp_path: Path) -> None:
    shows(pair, tmp_path)


def refused(gateway: Running, headers: dict[str, str]) -> bool:
    """By whichever worker gets it."""
    return all(gateway.chat("main", headers=headers).status_code == 401 for _ in range(6))


def test_a_revoked_key_is_dead_in_every_worker_within_a_second(pair: Running) -> None:
    for _ in range(2):
        key = make(pair)
        headers = {"authorization": f"Bearer {key['key']}"}
        ids = {pair.chat("main", headers=headers).status_code for _ in range(20)}
        assert ids == {200}
        url = f"http://127.0.0.1:{pair.admin}/keys/{key['id']}/revoke"
        pair.http.post(url, json={}).raise_for_status()

        dead = partial(refused, pair, headers)
        poll(dead, within=1.0, what="revocation")
        assert dead()


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ({"tenant": "new", "tier": "gold"}, "gold"),
        ({"tenant": "new", "models": "all"}, "models"),
        ({"key": "old"}, "already"),
        ({"key": "two"}, "line 2"),
    ],
)
def test_a_file_of_keys_is_taken_whole_or_not_at_all(
    pair: Running, tmp_path: Path, last: Json, says: str
) -> None:
    """Duplicates, tiers that do not exist, wrong fields: the line is named, nobody let in."""
    known = {"old": make(pair, tenant="old")["key"], "two": mint().text}
    lines: list[Json] = [{"tenant": "new"}, {"tenant": "new", "key": known["two"]}, last]
    if "key" in last:
        lines[-1] = {"tenant": "new", "key": known[last["key"]]}
    file = tmp_path / "keys.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = tollgate(pair, "keys", "import", str(file))
    assert done.returncode == 1
    assert says in done.stderr
    assert "line 3" in done.stderr
    assert not [key for key in known.values() if key in done.stderr]
    assert not json.loads(told(pair, "keys", "list", "--tenant", "new", "--json"))


def test_keys_of_a_file_let_in(pair: Running, tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    file.write_text("".join(json.dumps({"tenant": "filed", "name": name}) + "\n" for name in "ab"))
    lines = told(pair, "keys", "import", str(file)).splitlines()
    assert len(lines) == 2
    for line in lines:
        brought = {"authorization": f"Bearer {line.split()[1]}"}
        assert pair.chat("main", headers=brought).status_code == 200
