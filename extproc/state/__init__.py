"""What outlives a stream. The only room that knows Redis.

The first door: short-lived facts between the filters of one request, which may run in
different workers.
"""

from __future__ import annotations

from typing import Final, Protocol

NOTE_SECONDS: Final = 900.0
"""How long a note is kept if nobody takes it: longer than any request that still walks."""
MOST_NOTES: Final = 64
"""Notes kept for one request; a chain has fewer levels."""


class StateError(Exception):
    """The store is away or refused."""


class Notes(Protocol):
    """Notes under a request's id, in the order they were left."""

    async def leave(self, request_id: str, note: bytes) -> None:
        """Add a note. Raises StateError."""
        ...

    async def take(self, request_id: str) -> list[bytes]:
        """All notes of a request, which are then forgotten. Raises StateError."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
