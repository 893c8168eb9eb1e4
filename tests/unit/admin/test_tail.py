"""Requests as they finish, over the admin port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import msgspec
from aiohttp import web

from extproc.admin.answers import in_one_form
from extproc.admin.capabilities import Admin
from extproc.admin.http import application
from extproc.admin.tail import Tails
from extproc.state import StateError
from tests.unit.admin.conftest import Asked, Open
from tests.unit.admin.serving import Stores, expose, parts, record


async def lines(response: aiohttp.ClientResponse, number: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < number:
            line = await response.content.readline()
            assert line, "the stream ended"
            if line.strip():
                found.append(line.strip())
    return found


async def test_records_as_they_come(asked: Asked, kept: Stores) -> None:
    kept.tail.offer(b'{"id":"before"}')
    sent = [msgspec.json.encode(record(number)) for number in range(3)]
    async with asked.get("/tail") as response:
        assert response.content_type == "application/x-ndjson"
        for one in sent:
            kept.tail.offer(one)
            assert await lines(response, 1) == [one]


async def test_some_of_them(asked: Asked, kept: Stores) -> None:
    async with asked.get("/tail", params={"where": "feature!=support"}) as response:
        kept.tail.offer(msgspec.json.encode(record(0)))
        kept.tail.offer(b'{"lost":3}')
        kept.tail.offer(msgspec.json.encode(record(1, feature="chat")))
        first, second = await lines(response, 2)
    assert first == b'{"lost":3}'
    assert msgspec.json.decode(second)["id"] == "req-1"


async def test_a_reader_that_goes_is_let_go(opened: Open, kept: Stores) -> None:
    tails = Tails(kept.tail.subscribe, beat=0.01)
    app = web.Application()
    tails.add_to(app)
    asked = await opened(app)
    response = await asked.get("/tail")
    assert (tails.readers, kept.tail.listening) == (1, True)
    response.close()
    # The empty lines find out; nothing else is sent.
    async with asyncio.timeout(10):
        while tails.readers:  # noqa: ASYNC110 - nothing tells when one goes
            await asyncio.sleep(0.01)


async def test_silence_has_a_beat(opened: Open, kept: Stores) -> None:
    tails = Tails(kept.tail.subscribe, beat=0.01)
    app = web.Application()
    tails.add_to(app)
    asked = await opened(app)
    async with asked.get("/tail") as response, asyncio.timeout(10):
        assert [await response.content.readline() for _ in range(5)] == [b"\n"] * 5


async def test_readers_are_bounded(asked: Asked) -> None:
    open_ = [await asked.get("/tail") for _ in range(32)]
    async with asked.get("/tail") as response:
        assert response.status == 429
    for one in open_:
        one.close()


async def test_the_end_of_the_service_ends_it(opened: Open, kept: Stores) -> None:
    asked = await opened(application(expose, parts, kept.admin()))
    async with asked.get("/tail") as response:
        ending = asyncio.ensure_future(asked.server.close())
        async with asyncio.timeout(10):
            assert (await response.content.read()).strip() == b""
        await ending


async def test_a_source_that_ends_or_fails(opened: Open) -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b'{"id":"1"}'
        yield b'{"id":"2"}\n'

    async def away() -> AsyncIterator[bytes]:
        yield b'{"id":"1"}'
        raise StateError("gone")

    async def broken() -> AsyncIterator[bytes]:
        yield b'{"id":"1"}'
        raise RuntimeError("secret")

    async def told(source: object) -> bytes:
        app = web.Application(middlewares=[in_one_form])
        Tails(source).add_to(app)  # type: ignore[arg-type]
        asked = await opened(app)
        async with asked.get("/tail") as response:
            read = b""
            with suppress(aiohttp.ClientError):
                async for part in response.content.iter_any():
                    read += part
            return read.strip()

    assert await told(two) == b'{"id":"1"}\n{"id":"2"}'
    assert (await told(away)).splitlines()[1] == b'{"error":{"message":"the store is away"}}'
    assert b"secret" not in await told(broken)


async def test_closing_a_generator(opened: Open) -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b'{"id":"1"}'
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    asked = await opened(application(expose, parts, Admin(tail=source)))
    response = await asked.get("/tail")
    await lines(response, 2)
    response.close()
    async with asyncio.timeout(10):
        await closed.wait()
