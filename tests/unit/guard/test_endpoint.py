"""A detector behind HTTP, asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from extproc.guard import Finding, GuardError, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.endpoint import CONCURRENCY, LARGEST, Endpoint, HttpScanner, findings

Answer = Callable[[Any], Awaitable[web.StreamResponse]]
NOTHING = b'{"findings":[[]]}'


@dataclass
class Server:
    """Answers as it is told, and knows what it was asked."""

    answer: Answer
    asked: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/find"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            self.asked.append(await request.json())
            self.headers.append({key.lower(): value for key, value in request.headers.items()})
            return await self.answer(self.asked[-1])
        finally:
            self.at_once -= 1


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    server = Server(answer)
    app = web.Application(client_max_size=LARGEST)
    app.router.add_post("/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(url: str, token: str | None = None, within: float = 10) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(url, token, timeout=within)
    try:
        yield endpoint
    finally:
        await endpoint.close()


def text(value: str, under: str = "") -> Text:
    return Text(value, "messages[0].content", under)


def replies(body: bytes | str, status: int = 200, **more: Any) -> Answer:
    async def answer(_: Any) -> web.StreamResponse:
        return web.Response(body=body, status=status, **more)

    return answer


async def words(asked: Any) -> web.StreamResponse:
    """Finds `Qx` and `Berlin`."""
    found = []
    for one in asked["texts"]:
        each = []
        for word, type_ in (("Qx", "PERSON"), ("Berlin", "LOCATION"), ("4111", "US_BANK_NUMBER")):
            at = one["text"].find(word)
            if at >= 0:
                each.append({"start": at, "end": at + len(word), "type": type_, "confidence": 0.9})
        found.append(each)
    return web.json_response({"findings": found})


async def test_what_both_find_is_found() -> None:
    async with serving(words) as server:
        scanner = HttpScanner(Endpoint(server.url, "s3cret", timeout=10))
        value = "\U0001f600 Qx of Berlin pays with 4111 1111 1111 1111"
        scan = scanner.scan(DetectorPolicy())
        (found, other) = await scan.find([text(value), text("hunter2", "password")])
        assert [(one.type, value[one.start : one.end]) for one in found] == [
            ("PERSON", "Qx"),
            ("CREDIT_CARD", "4111 1111 1111 1111"),
        ]
        assert [one.type for one in other] == ["PASSWORD"]
        await scanner.ping()
        await scanner.close()
        assert server.asked[0] == {
            "texts": [{"text": value, "under": ""}, {"text": "hunter2", "under": "password"}],
            "types": None,
        }
        assert server.headers[0]["authorization"] == "Bearer s3cret"
        assert server.asked[1]["texts"] == [{"text": "ping", "under": ""}]


async def test_it_is_told_what_is_wanted() -> None:
    async with serving(words) as server:
        scanner = HttpScanner(Endpoint(server.url, timeout=10))
        scan = scanner.scan(DetectorPolicy(types=frozenset({"PERSON", "LOCATION"})))
        (found,) = await scan.find([text("Qx, Berlin")])
        await scanner.close()
        assert [one.type for one in found] == ["PERSON", "LOCATION"]
        assert server.asked[0]["types"] == ["LOCATION", "PERSON"]
        assert "authorization" not in server.headers[0]


async def test_presidios_service_is_asked_in_its_own_way() -> None:
    async def analyze(asked: Any) -> web.StreamResponse:
        assert asked == {"text": ["I am Qx", "nobody"], "language": "en"}
        one = {"start": 5, "end": 7, "entity_type": "PERSON", "score": 0.85}
        return web.json_response([[{**one, "analysis_explanation": None}], []])

    async with serving(analyze) as server, asking(f"http://127.0.0.1:{server.port}/analyze") as it:
        found = await it.ask([text("I am Qx"), text("nobody")], None)
        assert found == [[Finding(5, 7, "PERSON", 0.85)], []]


async def test_a_long_body_arrives_whole() -> None:
    async with serving(words) as server, asking(server.url) as endpoint:
        long = "ä" * 200_000 + "Qx"
        (found,) = await endpoint.ask([text(long)], None)
        assert [(one.start, one.end) for one in found] == [(200_000, 200_002)]


async def test_a_lone_surrogate_is_one_character() -> None:
    async with serving(words) as server, asking(server.url) as endpoint:
        (found,) = await endpoint.ask([text("\ud800Qx")], None)
        assert [(one.start, one.end) for one in found] == [(1, 3)]


def test_two_ways_to_say_who_asks_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="choose one"):
        Endpoint("https://user:pass@host/", "s3cret")


def one(**more: Any) -> bytes:
    found = {"start": 0, "end": 2, "type": "PERSON", "confidence": 0.9, **more}
    return json.dumps({"findings": [[found]]}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"findings": null}',
        b'{"findings": []}',
        b'{"findings": [[], []]}',
        b'{"findings": [["Secret Name"]]}',
        one(start=-1),
        one(start=2),
        one(start=3),
        one(end=12),
        one(end=2**70),
        one(start=0.5),
        one(start=True),
        one(type="person"),
        one(type="Secret Name"),
        one(type="CUSTOM:x"),
        one(type=""),
        one(type="X" * 65),
        one(type=None),
        one(confidence=1.1),
        one(confidence=-0.1),
        one(confidence="high"),
        b'{"findings": [[{"start": 0, "end": 2, "type": "X", "confidence": NaN}]]}',
        b'{"findings": [[{"start": 0, "end": 2, "type": "PERSON"}]]}',
    ],
)
async def test_an_answer_that_cannot_be_is_none(answer: bytes) -> None:
    async with serving(replies(answer)) as server, asking(server.url) as endpoint:
        with pytest.raises(GuardError) as raised:
            await endpoint.ask([text("Secret Name")], None)
        assert "Secret" not in str(raised.value)
        assert f"http://127.0.0.1:{server.port}: " in str(raised.value)
        assert raised.value.__suppress_context__


def test_the_form_of_one_is_not_taken_for_the_other() -> None:
    with pytest.raises(ValueError, match="no findings as JSON"):
        findings(NOTHING, [text("x")], presidio=True)
    with pytest.raises(ValueError, match="no findings as JSON"):
        findings(b"[[]]", [text("x")])


@pytest.mark.parametrize("status", [204, 301, 307, 400, 401, 429, 500, 503])
async def test_any_status_but_200_is_an_endpoint_that_is_away(status: int) -> None:
    answer = replies(b"", status, headers={"location": "/other"})
    async with serving(answer) as server, asking(server.url) as endpoint:
        with pytest.raises(GuardError, match=f"status {status}"):
            await endpoint.ask([text("x")], None)
        assert len(server.asked) == 1


async def test_an_endpoint_that_is_not_there() -> None:
    async with serving(words) as server:
        url = server.url
    async with asking(url.replace("//", "//user:pass@")) as endpoint:
        with pytest.raises(GuardError, match=r"http://127\.0\.0\.1:\d+: ClientConnector") as raised:
            await endpoint.ask([text("x")], None)
        assert "pass" not in str(raised.value)


async def test_an_endpoint_that_says_nothing_is_given_up() -> None:
    waiting = asyncio.Event()

    async def never(_: Any) -> web.StreamResponse:
        await waiting.wait()
        return web.Response()

    async with serving(never) as server, asking(server.url, within=0.1) as endpoint:
        with pytest.raises(GuardError, match=r"no answer in 0\.1 s"):
            await endpoint.ask([text("x")], None)
        waiting.set()


async def test_an_endless_answer_is_cut_off() -> None:
    async with (
        serving(replies(b" " * (LARGEST + 1))) as server,
        asking(server.url, within=30) as endpoint,
    ):
        with pytest.raises(GuardError, match="an answer of more than"):
            await endpoint.ask([text("x")], None)


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    connections = []

    async def once_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request a connection, says that it stays, and closes at the next."""
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"]}")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(NOTHING)}\r\n\r\n"
        writer.write(head.encode() + NOTHING)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(once_each, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asking(f"http://127.0.0.1:{port}/") as endpoint:
        for _ in range(3):
            assert await endpoint.ask([text("x")], []) == [[]]
    assert len(connections) == 3


async def test_no_more_are_asked_at_once_than_it_takes() -> None:
    async def slow(asked: Any) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return await words(asked)

    async with serving(slow) as server, asking(server.url) as endpoint:
        await asyncio.gather(*(endpoint.ask([text("x")], None) for _ in range(3 * CONCURRENCY)))
        assert server.most <= CONCURRENCY
        assert len(server.asked) == 3 * CONCURRENCY
