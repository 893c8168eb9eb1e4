from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from extproc.accounting.ledger import FileSink, Ledger, LedgerError, SinkError, WebhookSink, webhook
from tests.unit.accounting.ledger.fakes import (
    FAST,
    FakeStore,
    ListSink,
    id_of,
    kill,
    ledger,
    number,
    record,
    until,
)

LINES = [msgspec.json.encode(record(of)) for of in range(3)]
Made = Callable[..., Ledger]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    all_: list[Ledger] = []

    def make(**options: object) -> Ledger:
        one = ledger(tmp_path / "spool", FakeStore(), **options)  # type: ignore[arg-type]
        all_.append(one)
        return one

    yield make
    for one in all_:
        await one.stop()


def ids_in(path: Path) -> list[str]:
    return [id_of(line) for line in path.read_bytes().splitlines() if line]


# The file.


async def test_a_file_gets_each_record_on_a_line(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    one = made(sinks=[FileSink(path)])
    await one.start()
    for of in range(20):
        one.settle(record(of, route="a\nb\x7f<b>"))
    await until(lambda: path.exists() and len(ids_in(path)) == 20)
    assert ids_in(path) == [number(of) for of in range(20)]


async def test_a_file_that_was_moved_is_made_again(tmp_path: Path) -> None:
    path, moved = tmp_path / "records.jsonl", tmp_path / "records.jsonl.1"
    sink = FileSink(path)
    await sink.send(LINES[:1])
    path.rename(moved)
    await sink.send(LINES[1:2])
    path.unlink()
    await sink.send(LINES[2:])
    await sink.close()
    assert ids_in(moved) == [number(0)]
    assert ids_in(path) == [number(2)]


async def test_a_line_written_in_part_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "records.jsonl", os.write
    sink = FileSink(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
        with pytest.raises(SinkError, match="No space left"):
            await sink.send(LINES)
    await sink.send(LINES)
    await sink.close()
    torn, *lines = path.read_bytes().splitlines()
    assert torn == LINES[0][:10]
    assert lines == LINES


async def test_what_a_killed_process_wrote_in_part_spoils_no_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"id":')
    sink = FileSink(path)
    await sink.send(LINES)
    await sink.close()
    assert path.read_bytes().splitlines()[1:] == LINES


async def test_a_file_that_cannot_be_opened_is_tried_again(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "records.jsonl"
    one = made(sinks=[FileSink(path)])
    await one.start()
    one.settle(record(1))
    await until(lambda: one.figures()["sink_errors"] > 1)
    assert "No such file" in str([vars(each).get("reason") for each in caplog.records])
    path.parent.mkdir()
    await until(lambda: path.exists() and ids_in(path) == [number(1)])


# The webhook.


class Receiver:
    """A real server that answers as it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        """Statuses of the next answers; 200 after them."""
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def _take(self, request: web.Request) -> web.Response:
        await self.hangs.wait()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status = self.answers.pop(0) if self.answers else 200
        body = await request.read()
        if status < 300:
            self.bodies.append(body)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self.hangs.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/records?team=a"

    @property
    def ids(self) -> list[str]:
        return [id_of(line) for body in self.bodies for line in body.splitlines()]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


async def test_a_webhook_gets_lines_with_the_token_and_a_key(receiver: Receiver) -> None:
    sink = webhook(receiver.url, {"TOLLGATE_SINK_TOKEN": "s3cret"})
    await sink.send(LINES)
    await sink.close()
    assert receiver.bodies == [b"".join(line + b"\n" for line in LINES)]
    (headers,) = receiver.headers
    assert headers["content-type"] == "application/x-ndjson"
    assert headers["authorization"] == "Bearer s3cret"
    ids = "\n".join(number(of) for of in range(3))
    assert headers["idempotency-key"] == hashlib.sha256(ids.encode()).hexdigest()


async def test_a_webhook_without_token_sends_none(receiver: Receiver) -> None:
    sink = webhook(receiver.url, {})
    await sink.send([b"no record"])
    await sink.close()
    assert "authorization" not in receiver.headers[0]


@pytest.mark.parametrize("status", [301, 307, 400, 413, 429, 500, 503])
async def test_anything_but_success_is_tried_again(receiver: Receiver, status: int) -> None:
    sink = webhook(receiver.url, {"TOLLGATE_SINK_TOKEN": "s3cret"})
    receiver.answers = [status]
    with pytest.raises(SinkError, match=f"127.0.0.1:{receiver.port}: status {status}") as caught:
        await sink.send(LINES)
    assert "s3cret" not in str(caught.value)
    assert "team=a" not in str(caught.value)
    assert len(receiver.headers) == 1
    await sink.close()


async def test_an_answer_that_does_not_come_is_not_waited_for(receiver: Receiver) -> None:
    receiver.hangs.clear()
    sink = WebhookSink(receiver.url, within=0.05)
    with pytest.raises(SinkError, match="no answer in time"):
        await sink.send(LINES)
    await sink.close()


async def test_each_record_arrives_whatever_the_webhook_does(
    made: Made, receiver: Receiver
) -> None:
    receiver.answers = [500, 503, 200, 429, 302]
    one = made(sinks=[WebhookSink(receiver.url)])
    await one.start()
    for of in range(30):
        one.settle(record(of))
    await until(lambda: set(receiver.ids) == {number(of) for of in range(30)})
    await until(lambda: one.figures()["sink_waiting"] == 0)
    keys = [headers["idempotency-key"] for headers in receiver.headers]
    assert keys[0] == keys[1] == keys[2]
    assert one.figures()["sink_lost"] == 0


async def test_a_webhook_that_is_gone_and_comes_back_has_missed_nothing(
    made: Made, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    one = made(sinks=[WebhookSink(receiver.url, token="s3cret")])
    await one.start()
    one.settle(record(0))
    await until(lambda: receiver.ids == [number(0)])
    await receiver.stop()
    for of in range(1, 10):
        one.settle(record(of))
    await until(lambda: one.figures()["sink_errors"] >= 2)
    await until(lambda: one.figures()["waiting"] == 0)
    await receiver.start()
    await until(lambda: set(receiver.ids) == {number(of) for of in range(10)})
    assert "s3cret" not in str([vars(each) for each in caplog.records])


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "file:///etc/passwd", "host:80", "", "http://", "http://[::1", "http://h:x"],
)
def test_what_is_no_web_address_is_refused_in_words(url: str) -> None:
    with pytest.raises(LedgerError, match="http:// or https://"):
        WebhookSink(url)


@pytest.mark.parametrize("token", ["a\nb", "é", " "])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(LedgerError, match=r"TOLLGATE_SINK_TOKEN must be printable ASCII$"):
        WebhookSink("http://host/", token)


# Any sink.


async def test_a_sink_goes_on_where_the_killed_process_stopped(made: Made) -> None:
    sink = ListSink()
    one = made(sinks=[sink], pace=replace(FAST, keep=3600.0, keep_least=3600.0))
    await one.start()
    for of in range(20):
        one.settle(record(of))
    await until(lambda: len(sink.lines) == 20)
    sink.fails = SinkError("full up")
    for of in range(20, 40):
        one.settle(record(of))
    kill(one)
    sink.fails = None
    two = made(sinks=[sink])
    await two.start()
    await until(lambda: set(sink.ids) == {number(of) for of in range(40)})


async def test_a_sink_that_is_too_far_behind_loses_the_oldest_and_stops_nobody(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ListSink()
    sink.fails = SinkError("away")
    one = made(sinks=[sink], limit=128 * 1024)
    await one.start()
    of = 0
    while one.figures()["sink_lost"] < 50:
        if one.settle(record(of)):
            of += 1
        await asyncio.sleep(0)
    sink.fails = None
    await until(lambda: one.figures()["sink_waiting"] == 0)
    await until(lambda: one.figures()["waiting"] == 0)
    lost = int(one.figures()["sink_lost"])
    assert sink.ids == [number(each) for each in range(lost, of)]
    far = [each for each in caplog.records if each.message.startswith("sink too far behind")]
    assert len(far) == 1


async def test_a_sink_with_a_mistake_in_it_is_one_that_is_away(made: Made) -> None:
    sink = ListSink()
    sink.fails = ZeroDivisionError()
    one = made(sinks=[sink])
    await one.start()
    one.settle(record(1))
    await until(lambda: one.figures()["sink_errors"] > 1)
    sink.fails = None
    await until(lambda: sink.ids == [number(1)])


async def test_several_sinks_do_not_wait_for_each_other(made: Made) -> None:
    away, there = ListSink("sink-a"), ListSink("sink-b")
    away.fails = SinkError("away")
    one = made(sinks=[away, there])
    await one.start()
    one.settle(record(1))
    await until(lambda: there.ids == [number(1)])
    assert one.figures()["sink_waiting"] == 1
