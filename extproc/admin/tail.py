"""`/tail`: requests as they finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from aiohttp import web

from extproc.admin.answers import LINES, Query, Refused, cut, send
from extproc.admin.capabilities import Tail
from extproc.admin.matching import Matching, matching
from extproc.state import StateError

log = logging.getLogger(__name__)

BEAT: Final = 5.0
"""Seconds of silence after which an empty line is sent: so a reader that went away is noticed,
and one that is there knows that we are."""
MOST: Final = 32
"""Readers at once; each costs a queue and the reading of every record."""
AWAY: Final = b'{"error":{"message":"the store is away"}}\n'
"""The last line where records come through a store that went away."""


class Tails:
    """The readers of one port."""

    def __init__(self, source: Tail | None, beat: float = BEAT) -> None:
        self._source = source
        self._beat = beat
        self._stopping = asyncio.Event()
        self.readers = 0

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/tail", self.follow, allow_head=False)
        app.on_shutdown.append(self._stop)

    async def _stop(self, _: web.Application) -> None:
        self._stopping.set()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Records as JSON lines until the reader goes or the service stops."""
        query = Query(request)
        wanted = matching(query.all("where"))
        query.done()
        if self._source is None:
            raise Refused(404, "this service keeps no ledger")
        if self.readers >= MOST:
            raise Refused(429, f"{MOST} readers are following already")
        self.readers += 1
        response = web.StreamResponse(headers={"cache-control": "no-store"})
        response.content_type = LINES
        try:
            async with contextlib.aclosing(_generator(self._source())) as records:
                await response.prepare(request)
                await self._copy(request, response, records, wanted)
        except ConnectionError:
            pass  # the reader has gone
        except Exception:
            # Nothing else can be said once the head is out; an end would look like a proper one.
            log.exception("the tail failed")
            cut(request)
        finally:
            self.readers -= 1
        return response

    async def _copy(
        self,
        request: web.Request,
        response: web.StreamResponse,
        records: AsyncIterator[bytes],
        wanted: Matching,
    ) -> None:
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        coming: asyncio.Future[Any] = asyncio.ensure_future(anext(records))
        try:
            # At once, so that the reader knows that it listens.
            await send(request, response, b"\n")
            while True:
                done, _ = await asyncio.wait(
                    {stopping, coming}, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED
                )
                if stopping in done:
                    return
                if not done:
                    await send(request, response, b"\n")
                    continue
                record = coming.result()
                coming = asyncio.ensure_future(anext(records))
                if wanted.takes(record):
                    await send(request, response, record.rstrip(b"\n") + b"\n")
        except StopAsyncIteration:
            return
        except StateError as away:
            log.warning("the tail broke off", extra={"reason": str(away)})
            await send(request, response, AWAY)
        finally:
            for task in (stopping, coming):
                task.cancel()
            await asyncio.gather(stopping, coming, return_exceptions=True)


async def _generator(records: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Any iterator as a generator, which can be closed; it closes what it reads."""
    try:
        async for record in records:
            yield record
    finally:
        if isinstance(records, AsyncGenerator):
            await records.aclose()
        elif (close := getattr(records, "close", None)) is not None:
            close()
