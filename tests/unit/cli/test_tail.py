"""`tollgate tail`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from extproc.cli.tail import told
from extproc.records import GuardCount, RequestRecord
from tests.unit.admin.serving import Served, record


@contextmanager
def tail(served: Served, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, once it listens."""
    command = [sys.executable, "-m", "extproc.cli", "tail", "--admin", served.url, *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            deadline = time.monotonic() + 10
            while not served.stores.tail.listening:
                assert time.monotonic() < deadline, "the command does not listen"
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def offer(served: Served, *lines: bytes) -> None:
    for line in lines:
        served.loop.call_soon_threadsafe(served.stores.tail.offer, line)


def lines(process: subprocess.Popen[str], number: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(number)]


def test_requests_as_they_finish(served: Served) -> None:
    with tail(served, "--where", "feature!=chat") as process:
        offer(
            served,
            *(
                msgspec.json.encode(one)
                for one in (record(0), record(1, feature="chat"), record(2))
            ),
        )
        first, second = lines(process, 2)
        assert first.rstrip().endswith("req-0")
        assert second.rstrip().endswith("req-2")
        assert "acme/red/support" in first
        assert "flagship > gpt" in first
        assert "100+20 tokens" in first
        assert "$0.0100" in first
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_as_json(served: Served) -> None:
    sent = msgspec.json.encode(record(0, feature="a\x9b2J\u202e"))
    with tail(served, "--json") as process:
        offer(served, sent, b'{"lost":7}', msgspec.json.encode(record(1)))
        first, second = lines(process, 2)
        assert first.isascii()
        assert json.loads(first) == json.loads(sent)
        assert json.loads(second)["id"] == "req-1"
        process.terminate()
        assert process.stderr is not None
        assert "missed 7 requests" in process.stderr.read()


def test_the_gateway_stops(served: Served) -> None:
    with tail(served) as process:
        served.loop.call_soon_threadsafe(served.stores.tail.close)
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert process.stderr.read() == "Error: the gateway has stopped\n"


def test_the_reader_of_the_output_goes(served: Served) -> None:
    with tail(served) as process:
        assert process.stdout is not None
        process.stdout.close()
        for number in range(3):
            offer(served, msgspec.json.encode(record(number)))
        process.wait(10)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_what_the_guard_found_is_marked() -> None:
    def shown(*counts: GuardCount) -> str:
        return told(json.loads(msgspec.json.encode(record(0, guard=counts))))

    one = GuardCount("EMAIL_ADDRESS", "redact", "request", 2)
    answered = GuardCount("EMAIL_ADDRESS", "redact", "response", 1)
    assert "  guard EMAIL_ADDRESS 3  " in shown(one, answered)
    seen = GuardCount("PERSON", "block", "request", 1, observed=True)
    assert "  would guard PERSON 1  " in shown(seen)
    many = [GuardCount(f"T{number}", "flag", "request", 1) for number in range(9)]
    assert "  guard T0 1, T1 1, T2 1, 6 more  " in shown(*many)
    assert "guard" not in shown()


def test_what_the_cache_did_is_told() -> None:
    def shown(**more: Any) -> str:
        return told(json.loads(msgspec.json.encode(record(0, **more))))

    like = {"cache": "semantic", "cache_score": 0.97342, "saved": 12_000_000}
    assert "  cache semantic 0.973, saved $0.0120  " in shown(**like)
    assert "  cache hit, saved $0.0120  " in shown(cache="hit", saved=12_000_000)
    assert "  cache miss  " in shown(cache="miss")
    assert "cache" not in shown()
    assert "  shadow  " in shown(kind="shadow")
    assert "shadow" not in shown()


@pytest.mark.parametrize(
    "one",
    [
        RequestRecord(id="x", started=1.0, duration=0.0, route="r"),
        record(
            0, status=503, error_type="lost", aborted=True, cache="semantic", cost=None, usage=None
        ),
        record(1, feature="\x1b[2J\n", route="\u202e" * 300, target=None, started=1e300),
        record(2, guard=(GuardCount("\x1b[2J\n\u202e" * 99, "flag", "request", 10**30),)),
    ],
)
def test_one_line_whatever_is_in_it(one: RequestRecord) -> None:
    line = told(json.loads(msgspec.json.encode(one)))
    assert "\n" not in line
    assert "\u202e" not in line
    assert "\x1b[2J" not in line
    assert len(line) < 700
