"""Which stored wordings share an answer, of all entries that a worker follows.

Only answers of several entries take room here. An answer's own entry is taken to be there until it
is heard that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Shared:
    family: bytes
    aliases: int = 0
    own: bool = True

    @property
    def count(self) -> int:
        return self.aliases + self.own


class Wordings:
    """Counts by partition and answer. Said twice, an entry counts once."""

    def __init__(self) -> None:
        self._alias: dict[int, int] = {}
        self._shared: dict[int, _Shared] = {}
        self._families: dict[bytes, set[int]] = {}
        self.complete = False
        """Every entry there is has been counted."""
        self.on_entered: Callable[[bytes, int], None] = _nothing
        """Hears of an entry that joined others with an answer: its partition, the answer."""
        self.on_left: Callable[[bytes, int], None] = _nothing
        """Hears of an entry gone from such an answer."""
        self.on_complete: Callable[[], None] = lambda: None

    def placed(self, family: bytes, entry: int, answer: int) -> None:
        """An entry of a partition has come."""
        if entry == answer:
            found = self._shared.get(answer)
            if found is not None and not found.own:
                found.own = True
                self.on_entered(found.family, answer)
            return
        before = self._alias.get(entry)
        if before == answer:
            return
        if before is not None:
            self.gone(entry)
        self._alias[entry] = answer
        found = self._shared.get(answer)
        if found is None:
            found = self._shared[answer] = _Shared(family)
            self._families.setdefault(family, set()).add(answer)
        found.aliases += 1
        self.on_entered(found.family, answer)

    def gone(self, entry: int) -> None:
        """An entry is no more."""
        answer = self._alias.pop(entry, None)
        if answer is not None:
            found = self._shared[answer]
            found.aliases -= 1
            if not found.aliases:
                self._forget(answer, found.family)
            self.on_left(found.family, answer)
            return
        own = self._shared.get(entry)
        if own is not None and own.own:
            own.own = False
            self.on_left(own.family, entry)

    def _forget(self, answer: int, family: bytes) -> None:
        del self._shared[answer]
        answers = self._families[family]
        answers.discard(answer)
        if not answers:
            del self._families[family]

    def answer(self, entry: int) -> int:
        """The answer of an entry: its own, unless it is known that it shares another's."""
        return self._alias.get(entry, entry)

    def of(self, family: bytes) -> dict[int, int]:
        """Answers of a partition that several wordings lead to, and how many."""
        counts = ((one, self._shared[one].count) for one in self._families.get(family, ()))
        return {answer: count for answer, count in counts if count > 1}

    def completed(self) -> None:
        """Every entry there is has been counted now."""
        if not self.complete:
            self.complete = True
            self.on_complete()

    def __len__(self) -> int:
        """Entries that have their answer of another."""
        return len(self._alias)


def _nothing(_: bytes, __: int) -> None:
    """Nobody listens."""
