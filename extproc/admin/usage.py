"""`/usage`, `/report`: what the ledger tells."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from extproc.accounting.rollup import QuestionError, moment, question, report, story, usage
from extproc.admin.answers import LINES, Query, Refused, answer, cut, send
from extproc.admin.matching import Matching, matching
from extproc.records import RequestRecord
from extproc.state import LedgerStore

log = logging.getLogger(__name__)

SINCE: Final = "7d"
AT_ONCE: Final = 2
"""Questions answered at a time, so that dashboards cannot take the service for themselves."""
MOST_EXPORTS: Final = 4
"""Exports at once; each holds a cursor of the store for as long as its reader reads."""
LONGEST_ID: Final = 200
PIECE: Final = 256 * 1024
"""Bytes of an export that are written at once."""

_decoder = msgspec.json.Decoder(RequestRecord)


class Usage:
    """The routes."""

    def __init__(self, ledger: LedgerStore | None) -> None:
        self._ledger = ledger
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._exports = 0

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/usage", self.sums)
        app.router.add_get("/usage/records", self.records, allow_head=False)
        app.router.add_get("/usage/requests/{id}", self.request)
        app.router.add_get("/report", self.report)

    def _store(self) -> LedgerStore:
        if self._ledger is None:
            raise Refused(404, "this service keeps no ledger")
        return self._ledger

    async def sums(self, request: web.Request) -> web.Response:
        """What was used, by what was asked for."""
        store = self._store()
        try:
            asked = question(request.query.items(), time.time())
        except QuestionError as error:
            raise Refused(400, str(error)) from error
        async with self._asking:
            found = await usage(store, asked)
            return answer(await asyncio.to_thread(found.document))

    async def report(self, request: web.Request) -> web.Response:
        """What routes that only observe would have done."""
        store = self._store()
        query = Query(request)
        since, until = _span(query)
        query.done()
        try:
            async with self._asking:
                return answer((await report(store, since, until)).document())
        except QuestionError as error:
            raise Refused(400, str(error), param="since") from error

    async def request(self, request: web.Request) -> web.Response:
        """The whole story of one request."""
        wanted = request.match_info["id"]
        found = await self._store().record(wanted) if len(wanted) <= LONGEST_ID else None
        if found is None:
            raise Refused(404, "there is no record of a request with this id")
        record, content = found
        return answer(story(_decoder.decode(record), content))

    async def records(self, request: web.Request) -> web.StreamResponse:
        """Records as JSON lines, oldest first. An answer that breaks off is not ended properly, so
        that nobody takes it for the whole."""
        store = self._store()
        query = Query(request)
        since, until = _span(query)
        wanted = matching(query.all("where"))
        query.done()
        if self._exports >= MOST_EXPORTS:
            raise Refused(429, f"{MOST_EXPORTS} exports are running already")
        self._exports += 1
        try:
            return await self._export(request, store.records(since, until), wanted)
        finally:
            self._exports -= 1

    async def _export(
        self, request: web.Request, batches: AsyncIterator[Sequence[bytes]], wanted: Matching
    ) -> web.StreamResponse:
        # Before the head goes out, so that a store that is away is still a 503.
        batch = await anext(batches, None)
        response = web.StreamResponse(headers={"cache-control": "no-store"})
        response.content_type = LINES
        await response.prepare(request)
        try:
            while batch is not None:
                for piece in _pieces(wanted, batch):
                    await send(request, response, piece)
                batch = await anext(batches, None)
        except ConnectionError:
            cut(request)  # the reader has gone, or it does not read
        except Exception:
            log.exception("an export broke off")
            cut(request)
        finally:
            close = getattr(batches, "aclose", None)
            if close is not None:
                await close()
        return response


def _pieces(wanted: Matching, batch: Sequence[bytes]) -> Iterable[bytes]:
    piece: list[bytes] = []
    size = 0
    for record in batch:
        if wanted.takes(record):
            piece.append(record + b"\n")
            size += len(record)
            if size >= PIECE:
                yield b"".join(piece)
                piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _span(query: Query) -> tuple[float, float]:
    """`since` and `until` in UTC epoch seconds. Raises Refused (400)."""
    now = time.time()
    found = []
    for name, default in (("since", SINCE), ("until", "now")):
        try:
            found.append(moment(query.one(name) or default, now))
        except QuestionError as error:
            raise Refused(400, str(error), param=name) from error
    since, until = found
    if not since < until:
        raise Refused(400, "must be before `until`", param="since")
    return since, until
