"""What deciding needs of stored questions, so that they are neither read, opened nor taken apart
again with every request that comes near them.

Whether an entry is still there it does not say: what is served is read from the store.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from extproc.cache.guards import Signs
from extproc.state.answers import Head

MOST: Final = 10_000
"""Questions; some 3 kB each."""
MOST_CHARACTERS: Final = 1_000_000
"""Of them all. What is made of a text takes some twenty bytes a character."""
LONGEST: Final = 4_000
"""Characters of one."""
SECONDS: Final = 600.0
"""After which a question is read again: its words are in memory no longer than that once others
come."""


class Stored(Struct, frozen=True):
    """One of them."""

    signs: Signs
    family: bytes
    target: str
    provider_model: str
    created: float
    expires: float
    """Epoch seconds, as the one before."""
    length: int
    """Characters."""
    until: float
    """Of the clock."""


class Known:
    """By the ids of entries. To be used from one thread."""

    __slots__ = ("_characters", "_clock", "_found", "_wall")

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall`: epoch seconds."""
        self._found: OrderedDict[int, Stored] = OrderedDict()
        self._characters = 0
        self._clock = clock
        self._wall = wall

    def __len__(self) -> int:
        return len(self._found)

    def of(self, entry: int) -> Stored | None:
        """The question of an entry that is not over, if it was read a moment ago."""
        found = self._found.get(entry)
        if found is None:
            return None
        if found.until <= self._clock() or found.expires <= self._wall():
            self.drop((entry,))
            return None
        return found

    def keep(self, head: Head, length: int, signs: Signs) -> None:
        """An entry was read or put whose question, of so many characters, has these signs."""
        self.drop((head.id,))
        if length > LONGEST:
            return
        now = self._clock()
        self._found[head.id] = Stored(
            signs,
            head.family,
            head.target,
            head.provider_model,
            head.created,
            head.expires,
            length,
            now + SECONDS,
        )
        self._characters += length
        # The oldest go, used or not: then all whose time is over are in front.
        while self._found:
            entry, oldest = next(iter(self._found.items()))
            full = len(self._found) > MOST or self._characters > MOST_CHARACTERS
            if not full and oldest.until > now:
                break
            self.drop((entry,))

    def drop(self, entries: Iterable[int]) -> None:
        """They are no more."""
        for entry in entries:
            found = self._found.pop(entry, None)
            if found is not None:
                self._characters -= found.length
