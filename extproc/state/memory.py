"""State of a single worker, in its own memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from extproc.state import MOST_NOTES, NOTE_SECONDS


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
