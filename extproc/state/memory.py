"""State of a single worker, in its own memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from extproc.state import MOST_NOTES, NOTE_SECONDS, check_mapping, new_version

SWEPT_EVERY: Final = 60.0
"""Seconds between two looks for mappings that are over."""
MOST_MAPPINGS: Final = 64 << 20
"""Bytes of all mappings, beyond which those go first that end first."""


class MemoryNotes:
    """Notes that die with the process. Expired ones go as new ones come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notes: OrderedDict[str, tuple[float, list[bytes]]] = OrderedDict()

    async def leave(self, request_id: str, note: bytes) -> None:
        """See `Notes`."""
        now = self._clock()
        while self._notes:
            oldest = next(iter(self._notes))
            if self._notes[oldest][0] > now:
                break
            del self._notes[oldest]
        _, found = self._notes.setdefault(request_id, (now + NOTE_SECONDS, []))
        if len(found) < MOST_NOTES:
            found.append(note)

    async def take(self, request_id: str) -> list[bytes]:
        """See `Notes`."""
        expires, found = self._notes.pop(request_id, (0.0, []))
        return found if expires > self._clock() else []

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to give back."""

    def __len__(self) -> int:
        """Requests that have notes."""
        return len(self._notes)


class MemoryMappings:
    """Mappings that die with the process. See `Mappings`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most: int = MOST_MAPPINGS
    ) -> None:
        """`most`: bytes that all entries may have together."""
        self._clock = clock
        self._most = most
        self._entries: dict[str, tuple[bytes, int, float]] = {}
        """Sealed, version, when it ends."""
        self._bytes = 0
        self._swept = clock()

    async def get(self, name: str) -> tuple[bytes, int] | None:
        """See `Mappings`."""
        sealed, version, expires = self._entries.get(name, (b"", 0, 0.0))
        return (sealed, version) if version and expires > self._clock() else None

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:
        """See `Mappings`."""
        check_mapping(sealed)
        now = self._clock()
        found = await self.get(name)
        if (found[1] if found else 0) != version:
            return 0
        self._drop(name)
        self._make_room(now, len(sealed))
        self._entries[name] = (sealed, new := new_version(), now + ttl)
        self._bytes += len(sealed)
        return new

    async def touch(self, name: str, ttl: float) -> bool:
        """See `Mappings`."""
        found = await self.get(name)
        if found is None:
            return False
        self._entries[name] = (*found, self._clock() + ttl)
        return True

    async def forget(self, name: str) -> None:
        """See `Mappings`."""
        self._drop(name)

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to give back."""

    def __len__(self) -> int:
        """Entries that are held, those that are over and not swept yet included."""
        return len(self._entries)

    def _drop(self, name: str) -> None:
        sealed, _, _ = self._entries.pop(name, (b"", 0, 0.0))
        self._bytes -= len(sealed)

    def _make_room(self, now: float, size: int) -> None:
        full = self._bytes + size > self._most
        if not full and now < self._swept + SWEPT_EVERY:
            return
        self._swept = now
        for name, (_, _, expires) in sorted(self._entries.items(), key=lambda one: one[1][2]):
            if expires > now and self._bytes + size <= self._most:
                break
            self._drop(name)
