"""What a partition remembers of its requests: rows of features, and for some whether the stored
answer was right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.logistic import Floats

MOST: Final = 6_000
"""Rows kept, the latest; 150 bytes each. A fit over them stays within some tens of milliseconds."""
THINNED: Final = 5
"""Of the requests that were served, without a label, one in so many is kept, and counts for
them."""


class Saved(Struct, frozen=True):
    """Rows as bytes, little-endian, oldest first."""

    features: bytes = b""
    right: bytes = b""
    labelled: bytes = b""
    would: bytes = b""
    counts: bytes = b""
    lookups: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows for a fit. `requests` is how many lookups they were taken from."""

    x: Floats
    y: Floats
    labelled: NDArray[np.bool_]
    would: NDArray[np.bool_]
    """The rule of its time would have served it."""
    counts: Floats
    age: Floats
    """Lookups since."""
    requests: int


class Labels:
    """The latest rows in a ring. Not safe for threads: a `Sample` is a copy and may be taken to
    one."""

    __slots__ = (
        "_at",
        "_counts",
        "_features",
        "_labelled",
        "_lookups",
        "_right",
        "_size",
        "_skipped",
        "_would",
    )

    def __init__(self) -> None:
        self._at = self._size = self._skipped = 0
        self._make(64)

    def _make(self, room: int) -> None:
        self._features = np.zeros((room, WIDTH), np.float32)
        self._right = np.zeros(room, np.bool_)
        self._labelled = np.zeros(room, np.bool_)
        self._would = np.zeros(room, np.bool_)
        self._counts = np.zeros(room, np.float32)
        self._lookups = np.zeros(room, np.int64)

    def label(self, features: Floats, *, right: bool, would: bool, lookup: int) -> None:
        """A request whose answer by the provider is known; `lookup` is its running number, and
        `would` says that the rule would have served it."""
        self._add(features, right=right, labelled=True, would=would, count=1, lookup=lookup)

    def served(self, features: Floats, *, lookup: int) -> bool:
        """A request that was answered from the cache: nobody knows whether rightly. True when its
        row was kept."""
        self._skipped += 1
        if self._skipped % THINNED:
            return False
        self.thinned(features, lookup=lookup)
        return True

    def thinned(self, features: Floats, *, lookup: int) -> None:
        """The same for one that stands for `THINNED` already."""
        self._add(features, right=False, labelled=False, would=True, count=THINNED, lookup=lookup)

    def _add(
        self,
        features: Floats,
        *,
        right: bool,
        labelled: bool,
        would: bool,
        count: int,
        lookup: int,
    ) -> None:
        if self._size == len(self._right) < MOST:
            self._grow()
        at = self._at
        self._features[at] = features
        self._right[at], self._labelled[at], self._would[at] = right, labelled, would
        self._counts[at], self._lookups[at] = count, lookup
        self._at = (at + 1) % MOST
        self._size = min(self._size + 1, MOST)

    def _grow(self) -> None:
        old, room = self.saved(), min(2 * len(self._right), MOST)
        self._make(room)
        self._load(old)

    def keep(self, latest: int) -> None:
        """Forgets all rows but the latest."""
        order = self._order()[-latest:]
        for part in (
            self._features, self._right, self._labelled, self._would, self._counts, self._lookups,
        ):  # fmt: skip
            rows: NDArray[Any] = part
            rows[: len(order)] = rows[order]
        self._size, self._at = len(order), len(order) % MOST

    def sample(self, lookups: int) -> Sample:
        """All rows, oldest first, when `lookups` requests have been asked so far."""
        order = self._order()
        first = int(self._lookups[order[0]]) if len(order) else lookups
        return Sample(
            self._features[order].astype(np.float64),
            self._right[order].astype(np.float64),
            self._labelled[order],
            self._would[order],
            self._counts[order].astype(np.float64),
            np.maximum(lookups - self._lookups[order], 0).astype(np.float64),
            max(lookups - first + 1, 1),
        )

    def _order(self) -> NDArray[np.int64]:
        if self._size < MOST:
            return np.arange(self._size)
        return (np.arange(MOST) + self._at) % MOST

    def saved(self) -> Saved:
        """Everything, to be loaded again."""
        order = self._order()
        return Saved(
            self._features[order].astype("<f4").tobytes(),
            self._right[order].tobytes(),
            self._labelled[order].tobytes(),
            self._would[order].tobytes(),
            self._counts[order].astype("<f4").tobytes(),
            self._lookups[order].astype("<i8").tobytes(),
        )

    @classmethod
    def loaded(cls, saved: Saved) -> Labels:
        """What `saved` gave. Raises ValueError when it is not that."""
        made = cls()
        size = len(saved.right)
        if size > MOST:
            raise ValueError(f"{size} rows, at most {MOST}")
        made._make(min(max(64, size), MOST))
        made._load(saved)
        return made

    def _load(self, saved: Saved) -> None:
        size = len(saved.right)
        self._features[:size] = np.frombuffer(saved.features, "<f4").reshape(size, WIDTH)
        self._right[:size] = np.frombuffer(saved.right, np.bool_)
        self._labelled[:size] = np.frombuffer(saved.labelled, np.bool_)
        self._would[:size] = np.frombuffer(saved.would, np.bool_)
        self._counts[:size] = np.frombuffer(saved.counts, "<f4")
        self._lookups[:size] = np.frombuffer(saved.lookups, "<i8")
        self._size, self._at = size, size % MOST
