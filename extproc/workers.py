"""The parent of several workers: starts them, each with its own socket, owns the admin port.

Envoy balances streams over endpoints, not over the processes behind one, so every worker is an
endpoint of its own. A worker that dies is started again; SIGTERM drains all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import aiohttp
import msgspec

from extproc.admin.http import serve
from extproc.caching import cache_admin, open_store
from extproc.server import Settings
from extproc.stores import open_stores
from extproc.telemetry import merge
from extproc.worker import SETTINGS

log = logging.getLogger(__name__)

RESTART_AFTER: Final = 0.2
"""Seconds before a worker that died is started again; doubled each time, up to `RESTART_MOST`."""
RESTART_MOST: Final = 10.0
ASK_WITHIN: Final = 2.0
"""Seconds for one worker's metrics or readiness."""


@dataclass(slots=True)
class Child:
    """One worker as its parent sees it."""

    settings: Settings
    process: asyncio.subprocess.Process | None = None


class Workers:
    """All workers of one service."""

    def __init__(self, each: list[Settings]) -> None:
        self._folder = Path(mkdtemp(prefix="tollgate-"))
        self._children = [
            Child(replace(one, admin=f"unix:{self._folder}/{number}.sock"))
            for number, one in enumerate(each)
        ]
        self._stopping = asyncio.Event()

    async def keep(self, child: Child) -> None:
        """Run one worker, again and again until the parent stops."""
        pause = RESTART_AFTER
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "extproc.worker"),
                env={**os.environ, SETTINGS: msgspec.json.encode(child.settings).decode()},
                stdin=asyncio.subprocess.PIPE,  # never written to: it breaks when this process dies
            )
            code = await child.process.wait()
            if self._stopping.is_set():
                return
            if asyncio.get_running_loop().time() - started > RESTART_MOST:
                pause = RESTART_AFTER
            log.error("worker died", extra={"listen": child.settings.listen, "code": code})
            await asyncio.sleep(pause)
            pause = min(pause * 2, RESTART_MOST)

    async def stop(self) -> None:
        """Drain every worker."""
        self._stopping.set()
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)

    async def expose(self) -> tuple[bytes, str]:
        """The workers' metrics, summed."""
        texts = [text for text in await self._ask("/metrics") if text is not None]
        return merge(texts), "text/plain; version=0.0.4; charset=utf-8"

    async def parts(self) -> dict[str, bool]:
        """Ready when every worker is."""
        found = await self._ask("/readyz")
        return {f"worker-{number}": text is not None for number, text in enumerate(found)}

    async def _ask(self, path: str) -> list[str | None]:
        return await asyncio.gather(*(self._ask_one(child, path) for child in self._children))

    async def _ask_one(self, child: Child, path: str) -> str | None:
        connector = aiohttp.UnixConnector(child.settings.admin.removeprefix("unix:"))
        timeout = aiohttp.ClientTimeout(total=ASK_WITHIN)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(f"http://worker{path}", raise_for_status=True) as response,
            ):
                return await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def run(self, admin: str) -> None:
        """Serve until SIGTERM or SIGINT, then drain every worker."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        stores = open_stores(self._children[0].settings.keeping)
        await stores.start()
        kept = open_store(stores, self._children[0].settings.cache)
        cache = cache_admin(stores, self._children[0].settings.cache, kept)
        close = await serve(admin, self.expose, self.parts, stores.admin(None, cache))
        keepers = [asyncio.create_task(self.keep(child)) for child in self._children]
        await stop.wait()
        await self.stop()
        await asyncio.gather(*keepers)
        await close()
        await cache.close()
        await kept.close()
        await stores.close()
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()
