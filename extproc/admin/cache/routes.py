"""`/cache`: what is kept of answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from aiohttp import web

from extproc.admin.answers import JSON, LINES, Query, Refused, answer, body_of, cut, send
from extproc.admin.cache import chosen
from extproc.admin.cache.access import CacheAdmin
from extproc.admin.cache.chosen import Chosen
from extproc.admin.cache.exporting import exported
from extproc.admin.cache.importing import Settings
from extproc.admin.cache.shown import answered, listed, stats
from extproc.admin.guard import peer_of
from extproc.state.answers import Listed, Match, read_id, shown

log = logging.getLogger(__name__)

LIMIT: Final = 100
MOST: Final = 1000
"""Entries of a page."""
LOOKED_AT: Final = 5000
"""Entries that one request for a page looks at; what is seldom may take several."""
BATCH: Final = 64 << 20
"""Bytes of a batch of lines: one with the longest answer that is kept, written as JSON."""
MOST_LINES: Final = 1000
"""Of a batch."""
AT_ONCE: Final = 2
"""Imports, exports and counts at a time, each of which takes its part of the store."""


class Entries:
    """The routes. What is forgotten is logged with the peer, and never whose it was."""

    def __init__(self, cache: CacheAdmin | None) -> None:
        self._kept = cache
        self._running = 0

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/cache/stats", self.stats)
        app.router.add_get("/cache/count", self.count)
        app.router.add_get("/cache/export", self.export, allow_head=False)
        app.router.add_get("/cache/entries", self.list)
        app.router.add_post("/cache/entries", self.import_)
        app.router.add_delete("/cache/entries", self.forget)
        app.router.add_get("/cache/entries/{id}", self.show)
        app.router.add_delete("/cache/entries/{id}", self.forget_answer)

    def _cache(self) -> CacheAdmin:
        if self._kept is None:
            raise Refused(404, "this service keeps no answers")
        return self._kept

    # --- looking --------------------------------------------------------------------------

    async def stats(self, request: web.Request) -> web.Response:
        """How the store stands."""
        cache = self._cache()
        Query(request).done()
        return answer(stats(await cache.store.stats(), cache.store.corrupt))

    async def list(self, request: web.Request) -> web.Response:
        """Some of the entries that are chosen, about `limit`, and where to go on."""
        cache = self._cache()
        query = Query(request)
        wanted = chosen.read(query, cache.secret)
        limit = _number(query.one("limit"), LIMIT, MOST)
        after = chosen.cursor(query.one("after"))
        query.done()
        found: list[Listed] = []
        looked_at = 0
        while len(found) < limit and looked_at < LOOKED_AT:
            most = limit - len(found)
            page = await cache.store.page(after, most, wanted.first)
            found += [one for one in page.entries if wanted.takes(one.head)]
            after, looked_at = page.after, looked_at + most
            if not after:
                break
        return answer({"entries": [listed(one) for one in found], "after": after})

    async def show(self, request: web.Request) -> web.Response:
        """One entry; with `answer=1` what it answers too."""
        cache = self._cache()
        query = Query(request)
        with_answer = query.one("answer")
        query.done()
        if with_answer not in (None, "1"):
            raise Refused(400, "must be 1 or left out", param="answer")
        wanted = _id(request)
        found = await cache.store.show(wanted)
        entry = await cache.store.find(wanted) if found and with_answer else None
        if found is None or (with_answer and entry is None):
            raise _unknown()
        said = {} if entry is None else answered(entry)
        return answer({**listed(found), **said})

    async def count(self, request: web.Request) -> web.Response:
        """How many entries are chosen: all of them are looked at."""
        cache = self._cache()
        query = Query(request)
        wanted = chosen.read(query, cache.secret)
        query.done()
        with _Turn(self):
            number, after = 0, ""
            while True:
                page = await cache.store.page(after, MOST, wanted.first)
                number += sum(wanted.takes(one.head) for one in page.entries)
                after = page.after
                if not after:
                    return answer({"entries": number})

    # --- forgetting -----------------------------------------------------------------------

    async def forget(self, request: web.Request) -> web.Response:
        """Forget all of one tag, route, tenant, model or answer, all that is old, or all. Nobody
        gets one of them from now on."""
        cache = self._cache()
        query = Query(request)
        match = chosen.one(query, cache.secret)
        query.done()
        return await self._forget(cache, match, request)

    async def forget_answer(self, request: web.Request) -> web.Response:
        """Forget the answer that an entry has, in whatever words it is asked for."""
        cache = self._cache()
        Query(request).done()
        wanted = _id(request)
        found = await cache.store.show(wanted)
        # Others may have its answer still where the entry itself is gone.
        held = wanted if found is None else found.head.answer
        return await self._forget(cache, Match("answer", shown(held)), request, named=True)

    async def _forget(
        self, cache: CacheAdmin, match: Match, request: web.Request, *, named: bool = False
    ) -> web.Response:
        number = await cache.store.forget(match)
        if named and not number:
            raise _unknown()
        what = {"what": match.what, "number": number, "peer": peer_of(request)}
        log.info("cache invalidated", extra=what)
        return answer({"invalidated": number})

    # --- moving ---------------------------------------------------------------------------

    async def import_(self, request: web.Request) -> web.Response:
        """Keep what lines say. The first may be `{"import": {…}}`, which holds for all others."""
        cache = self._cache()
        Query(request).done()
        if request.content_type not in (LINES, JSON):
            raise Refused(415, f"content-type must be {LINES}")
        lines = (await body_of(request, BATCH)).split(b"\n")
        settings = _settings(lines[0])
        if settings is not None:
            del lines[0]
        if len(lines) > MOST_LINES + 1:  # the last one ends too
            raise Refused(413, f"more than {MOST_LINES} lines; send them in parts")
        with _Turn(self):
            found = await cache.take(lines, settings or Settings())
        more = {"number": found.imported, "peer": peer_of(request)}
        log.info("answers imported", extra=more)
        return answer(found)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Entries as lines that an import takes. An answer that breaks off is not ended properly,
        so that nobody takes it for the whole."""
        cache = self._cache()
        query = Query(request)
        wanted = chosen.read(query, cache.secret)
        query.done()
        with _Turn(self):
            return await _streamed(request, cache, wanted)


class _Turn:
    """One of the few that may run. Raises Refused (429) when they do."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def __enter__(self) -> None:
        if self._entries._running >= AT_ONCE:  # noqa: SLF001 - of this module
            raise Refused(429, f"{AT_ONCE} imports, exports or counts are running already")
        self._entries._running += 1  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        self._entries._running -= 1  # noqa: SLF001


async def _streamed(request: web.Request, cache: CacheAdmin, wanted: Chosen) -> web.StreamResponse:
    pieces: AsyncIterator[bytes] = exported(cache.store, cache.secret, wanted)
    # Before the head goes out, so that a store that is away is still a 503.
    first = [await anext(pieces), await anext(pieces, b"")]
    response = web.StreamResponse(headers={"cache-control": "no-store"})
    response.content_type = LINES
    await response.prepare(request)
    try:
        for piece in first:
            await send(request, response, piece)
        async for piece in pieces:
            await send(request, response, piece)
    except ConnectionError:
        cut(request)  # the reader has gone, or it does not read
    except Exception:
        log.exception("an export broke off")
        cut(request)
    return response


def _settings(line: bytes) -> Settings | None:
    """What holds for all lines. None: the line is one of them."""
    if not line.lstrip().startswith(b'{"import"'):
        return None
    try:
        return msgspec.json.decode(line, type=_First).import_
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, str(error)[:200], param="import") from error


class _First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    import_: Settings = msgspec.field(name="import")


def _id(request: web.Request) -> int:
    try:
        return read_id(request.match_info["id"])
    except ValueError:
        raise _unknown() from None


def _unknown() -> Refused:
    return Refused(404, "there is no entry with this id")


def _number(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 0 < int(text) <= most:  # noqa: PLR2004 - digits
        raise Refused(400, f"must be a whole number from 1 to {most}", param="limit")
    return int(text)
