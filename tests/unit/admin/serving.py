"""An admin port on real stores, for a test to ask."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from extproc.accounting.ledger.tail import Tail
from extproc.accounting.rollup import Bounds, entry_of
from extproc.admin.cache import CacheAdmin
from extproc.admin.capabilities import Admin
from extproc.admin.guard import Peer, peer_of
from extproc.admin.http import application
from extproc.cache.embedders.static import StaticEmbedder
from extproc.cache.words import Words
from extproc.identity import Keyring, KeySecret
from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.state.answers import CacheStore
from extproc.state.memory_answers import MemoryAnswers
from extproc.state.shared_answers import SharedAnswers
from extproc.state.sqlite import SqliteKeys, SqliteLedger
from extproc.state.sqlite.answers import SqliteAnswers
from extproc.stores import check_limits

SECRET = KeySecret(b"a secret of 32 bytes for testing")
T = TypeVar("T")
NANO = 1_000_000_000


async def expose() -> tuple[bytes, str]:
    return b"some_metric 1\n", "text/plain; version=0.0.4; charset=utf-8"


async def parts() -> dict[str, bool]:
    return {"accepting": True, "state": True}


def record(
    number: int,
    *,
    feature: str | None = "support",
    model: str = "gpt-4o",
    dollars: float = 0.01,
    ago: float = 3600.0,
    **more: object,
) -> RequestRecord:
    """A request that went well, `ago` seconds before now."""
    given: dict[str, object] = {
        "id": f"req-{number}",
        "started": time.time() - ago,
        "duration": 1.5,
        "route": "everything",
        "chain": "flagship",
        "target": "gpt",
        "provider": "openai",
        "request_model": "flagship",
        "response_model": model,
        "usage": Usage(input=100, output=20),
        "cost": Cost(total=round(dollars * NANO), input=round(dollars * NANO)),
        "attribution": Attribution(feature=feature, team="red", labels=(("env", "prod"),)),
        "tenant": "acme",
    }
    return RequestRecord(**(given | more))  # type: ignore[arg-type]


@dataclass(slots=True)
class Stores:
    """What the port stands on."""

    keys: SqliteKeys
    ledger: SqliteLedger
    answers: CacheStore
    cache: CacheAdmin
    tail: Tail = field(default_factory=Tail)
    bounds: Bounds = field(default_factory=Bounds)

    async def write(self, records: Sequence[RequestRecord], content: bytes | None = None) -> None:
        await self.ledger.write([entry_of(one, content, self.bounds) for one in records])

    def admin(self, token: str | None = None) -> Admin:
        keyring = Keyring(self.keys, SECRET, tiers=("free", "pro"), check_limits=check_limits)
        return Admin(
            keys=keyring,
            ledger=self.ledger,
            cache=self.cache,
            tail=self.tail.subscribe,
            token=token,
        )


@asynccontextmanager
async def stores(folder: Path, answers: str = "sqlite") -> AsyncIterator[Stores]:
    """`answers`: what keeps them, `sqlite`, `memory` or the URL of a Redis."""
    kept: CacheStore
    if answers == "memory":
        kept = MemoryAnswers()
    else:
        kept = SqliteAnswers(folder) if answers == "sqlite" else SharedAnswers(answers)
    secret = SECRET.derive("cache")
    cache = CacheAdmin(kept, secret, Words(secret), StaticEmbedder)
    found = Stores(SqliteKeys(folder), SqliteLedger(folder), kept, cache)
    try:
        yield found
    finally:
        await found.keys.close()
        await found.ledger.close()
        await found.cache.close()
        await found.answers.close()


def app(found: Stores, token: str | None = None, *, peer: Peer = peer_of) -> web.Application:
    return application(expose, parts, found.admin(token), peer=peer)


@dataclass(slots=True)
class Served:
    """A port in a thread of its own, for commands that block."""

    url: str
    stores: Stores
    loop: asyncio.AbstractEventLoop

    def write(self, *records: RequestRecord, content: bytes | None = None) -> None:
        self.wait(self.stores.write(records, content))

    def wait(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(10)


@contextmanager
def in_thread(folder: Path, token: str | None = None, answers: str = "sqlite") -> Iterator[Served]:
    """Serve until the block ends."""
    started: list[Served] = []
    failed: list[BaseException] = []
    ready, ending = threading.Event(), asyncio.Event()

    async def serving() -> None:
        async with stores(folder, answers) as found:
            runner = web.AppRunner(app(found, token), access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            url = f"http://127.0.0.1:{port}"
            started.append(Served(url, found, asyncio.get_running_loop()))
            ready.set()
            await ending.wait()
            await runner.cleanup()

    def run() -> None:
        try:
            asyncio.run(serving())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    if failed:
        raise failed[0]
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(ending.set)
        thread.join(10)
    if failed:
        raise failed[0]
