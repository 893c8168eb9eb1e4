"""Who asks for an answer that several want: leases that workers take on exact keys.

A lease stands under the exact key, which is a keyed hash, and says nothing but whose it is. It ends
by itself soon after the worker that holds it has died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

SECONDS: Final = 4.0
"""How long a lease holds that is not renewed: what is spared by one flight is a model's answer, a
second or more, and a busy worker must not lose its lease to a pause of its event loop."""
KEPT_SECONDS: Final = 0.5
"""How long it is remembered that an answer is in the store now, for those who looked there just
before."""

Standing = Literal["flying", "kept", "gone"]


class FlightLeases(Protocol):
    """Leases by exact key, which end after `seconds` (`SECONDS`) unless renewed. Every method that
    waits raises StateError when the store is away, `take` and `standing` within 10 ms; `take` of
    the patient within 100."""

    seconds: float

    async def take(self, exact: bytes, token: bytes, *, patient: bool = False) -> bool:
        """Whether the lease is had now. False: another has it, or has just landed.
        One round trip. `token`: 16 random bytes. `patient`: the store is there, for it has just
        answered; a slow answer is then more likely than none. After a StateError nobody knows:
        it is to be released all the same."""
        ...

    async def standing(self, exacts: Sequence[bytes]) -> list[Standing]:
        """How each stands: somebody is at it, its answer is in the store, or neither."""
        ...

    async def renew(self, held: Mapping[bytes, bytes]) -> None:
        """Hold leases on, given by exact key with their tokens. What is held no longer is not
        had again."""
        ...

    async def release(self, ended: Mapping[bytes, tuple[bytes, bool]]) -> None:
        """Give leases back, by exact key: the token, and whether the answer is in the store now."""
        ...

    async def ping(self) -> None:
        """Connect, if that is not done yet. Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class MemoryLeases:
    """Leases of one process. See `FlightLeases`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, seconds: float = SECONDS
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._held: dict[bytes, tuple[bytes, float]] = {}

    async def take(self, exact: bytes, token: bytes, *, patient: bool = False) -> bool:  # noqa: ARG002 - it answers at once
        """See `FlightLeases`."""
        if self._of(exact) is not None:
            return False
        self._held[exact] = token, self._clock() + self.seconds
        return True

    async def standing(self, exacts: Sequence[bytes]) -> list[Standing]:
        """See `FlightLeases`."""
        return [standing_of(self._of(exact)) for exact in exacts]

    async def renew(self, held: Mapping[bytes, bytes]) -> None:
        """See `FlightLeases`."""
        for exact, token in held.items():
            if self._of(exact) == token:
                self._held[exact] = token, self._clock() + self.seconds

    async def release(self, ended: Mapping[bytes, tuple[bytes, bool]]) -> None:
        """See `FlightLeases`."""
        for exact, (token, kept) in ended.items():
            if self._of(exact) == token:
                del self._held[exact]
                if kept:
                    self._held[exact] = b"", self._clock() + KEPT_SECONDS
        self._tidy()

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to give back."""

    def __len__(self) -> int:
        """Leases that are remembered."""
        return len(self._held)

    def _of(self, exact: bytes) -> bytes | None:
        token, until = self._held.get(exact, (None, 0.0))
        return token if self._clock() < until else None

    def _tidy(self) -> None:
        """Let go of what is over. The oldest are in front, or soon will be."""
        now = self._clock()
        while self._held:
            exact, (_, until) = next(iter(self._held.items()))
            if now < until:
                return
            del self._held[exact]


def standing_of(token: bytes | None) -> Standing:
    """What a token in the place of a lease says: none, an empty one, one of somebody's."""
    if token is None:
        return "gone"
    return "flying" if token else "kept"


def open_flights(redis: str | None) -> FlightLeases:
    """In Redis if its URL is given, else in this process alone. Nothing is asked yet. Raises
    ValueError for a URL that cannot be."""
    if redis is None:
        return MemoryLeases()
    from extproc.state.shared_flights import SharedLeases  # noqa: PLC0415 - one worker needs no Redis

    return SharedLeases(redis)
