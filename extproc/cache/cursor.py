"""Where the store's log of changes stands: what an answer that is asked for now is put with, so
that it is not kept if its like is forgotten before it comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from extproc.state import StateError
from extproc.state.answers import CacheStore

EVERY: Final = 0.2
"""Seconds between two looks."""
WITHIN: Final = 0.05
"""Seconds that a question waits for the first one."""
FOR: Final = 10.0
"""Seconds after the last question for which somebody looks."""


class Cursor:
    """Looked up in the background, as long as somebody asks. To be used from one event loop."""

    __slots__ = ("_asked", "_at", "_looking", "_seen", "_store")

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self._at = ""
        self._seen = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._asked = 0.0

    async def now(self) -> str:
        """Where it stood a moment ago; empty: the store is away, and what comes is not kept."""
        self._asked = time.monotonic()
        if self._looking is None:
            self._seen = asyncio.Event()
            self._looking = asyncio.get_running_loop().create_task(self._look())
        if not self._at:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._seen.wait(), WITHIN)
        return self._at

    async def _look(self) -> None:
        try:
            while time.monotonic() - self._asked < FOR:
                self._at = await self._store.cursor()
                self._seen.set()
                await asyncio.sleep(EVERY)
        except StateError:
            pass  # the next question asks
        finally:
            # What stood long ago may be more than is remembered.
            self._at, self._looking = "", None
            self._seen.set()

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
