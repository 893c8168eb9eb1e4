"""Whoever watches requests as they finish. Nothing here may hold up a request, so everything is
bounded: who reads too slowly loses records and is told how many."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self
from weakref import WeakSet

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1000
"""Records kept for one reader, and for `publish`."""
PUBLISH_WITHIN: Final = 2.0
"""Seconds for one call of `publish`."""

Publish = Callable[[Sequence[bytes]], Awaitable[object]]
"""Hands records (JSON) to other processes. May fail: they are gone then, and counted."""


class Reader:
    """An async iterator over records (JSON) from when it was made; in the place of records that
    it was too slow for stands `{"lost": n}`."""

    __slots__ = ("__weakref__", "_bound", "_closed", "_lost", "_waiting", "_wake")

    def __init__(self, bound: int) -> None:
        self._waiting: deque[bytes] = deque()
        self._bound = bound
        self._lost = 0
        self._wake = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting and not self._lost:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        if self._lost:  # the oldest were lost, so that comes first
            lost, self._lost = self._lost, 0
            return b'{"lost":%d}' % lost
        return self._waiting.popleft()

    def close(self) -> None:
        """No further record comes; what is waiting can still be read."""
        self._closed = True
        self._wake.set()

    def offer(self, line: bytes) -> bool:
        """Add a record; False if another one was lost for it."""
        if self._closed:
            return True
        fits = len(self._waiting) < self._bound
        if not fits:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(line)
        self._wake.set()
        return fits


class Tail:
    """Hands each finished request's record to whoever listens."""

    def __init__(self, publish: Publish | None = None, bound: int = MOST_WAITING) -> None:
        self._readers: WeakSet[Reader] = WeakSet()
        self._publish = publish
        self._bound = bound
        self._waiting: deque[bytes] = deque(maxlen=bound)
        self.lost = 0
        """Records that a reader was too slow for or that could not be published."""
        self.errors = 0
        """Calls of `publish` that failed."""

    @property
    def listening(self) -> bool:
        """Whether `offer` would reach anybody."""
        return self._publish is not None or len(self._readers) > 0

    def subscribe(self) -> Reader:
        """Records from now on. Call `close` when done; a reader that is let go of is forgotten."""
        reader = Reader(self._bound)
        self._readers.add(reader)
        return reader

    def unsubscribe(self, reader: Reader) -> None:
        """The reader ends after what is waiting for it."""
        self._readers.discard(reader)
        reader.close()

    def offer(self, line: bytes) -> None:
        """A request has finished: its record as JSON."""
        for reader in list(self._readers):
            if not reader.offer(line):
                self.lost += 1
        if self._publish is not None:
            if len(self._waiting) == self._waiting.maxlen:
                self.lost += 1
            self._waiting.append(line)

    async def flush(self) -> None:
        """Publish what is waiting. Never raises for what `publish` does."""
        if self._publish is None or not self._waiting:
            return
        lines = tuple(self._waiting)
        self._waiting.clear()
        try:
            async with asyncio.timeout(PUBLISH_WITHIN):
                await self._publish(lines)
        except Exception:  # whoever watches must never disturb what is watched
            self.errors += 1
            self.lost += len(lines)
            log.debug("records not published", exc_info=True, extra={"records": len(lines)})

    def close(self) -> None:
        """End every reader."""
        for reader in list(self._readers):
            self.unsubscribe(reader)
