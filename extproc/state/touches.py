"""Hits on their way to the store, and what else a store of entries does on its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from extproc.state import StateError

log = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two reports of hits."""
KEPT: Final = 20_000
"""Entries with hits that are kept while the store is away; of others the hits are lost, and they
are evicted a little early."""
TIDY_EVERY: Final = 30.0
"""Seconds between two looks for entries that are over, give or take a quarter: workers should not
look at once."""

Hits = dict[int, tuple[int, int]]
"""By entry: how many, nano-dollars."""


class Touches:
    """Adds hits up by entry; `tell` reports them, `tidy` is called now and then."""

    def __init__(
        self,
        tell: Callable[[Hits], Awaitable[None]],
        tidy: Callable[[], Awaitable[object]],
        every: float = TIDY_EVERY,
    ) -> None:
        self._tell, self._tidy = tell, tidy
        self._every = every
        self._hits: Hits = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    def add(self, entry: int, saved: int) -> None:
        """Note a hit."""
        hits, before = self._hits.get(entry, (0, 0))
        if hits or len(self._hits) < KEPT:
            self._hits[entry] = hits + 1, before + saved

    async def flush(self) -> None:
        """Report now. Raises StateError; the hits are reported later then."""
        hits, self._hits = self._hits, {}
        if not hits:
            return
        try:
            await self._tell(hits)
        except BaseException:
            for entry, (more, saved) in self._hits.items():
                count, before = hits.get(entry, (0, 0))
                hits[entry] = count + more, before + saved
            self._hits = hits
            raise

    def begin(self) -> None:
        """Report and tidy from now on."""
        if not self._tasks and not self._closed:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._report()), loop.create_task(self._keep_tidy())]

    async def close(self) -> None:
        """Report for the last time."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(StateError):
            await self.flush()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.flush()
            except StateError:
                pass  # with the next ones
            except Exception:
                log.exception("hits of the cache could not be reported")

    async def _keep_tidy(self) -> None:
        while True:
            await asyncio.sleep(self._every * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            try:
                await self._tidy()
            except StateError as error:
                log.warning("cache entries that are over stay", extra={"reason": str(error)})
            except Exception:
                log.exception("the cache could not be tidied")
