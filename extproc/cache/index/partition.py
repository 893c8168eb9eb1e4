"""The vectors of one partition: rows that are all scanned while they are few, groups of them
beyond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from extproc.cache import Vectors
from extproc.cache.index import Near
from extproc.cache.index.groups import Groups
from extproc.cache.index.rows import Chunks, Kernel, Nearest, Rows

FLAT: Final = 10_000
"""Rows up to which all are scanned: 0.25 ms for 256 wide."""


class Partition:
    """What is added goes into the newest groups, and among the loose rows as long as there are
    none. While rows are regrouped there are old and new groups, and each row is in one of them."""

    __slots__ = ("_kernel", "_settled", "added", "busy", "count", "groups", "key", "loose")

    def __init__(self, kernel: Kernel, key: bytes) -> None:
        self._kernel = kernel
        self.key = key
        self.loose = Chunks(kernel.dim, key)
        self.groups: tuple[Groups, ...] = ()
        """Oldest first."""
        self.count = 0
        self.added = 0
        """Since the centres were found."""
        self.busy = False
        """It is being regrouped, or waits for it."""
        self._settled = 0

    def place(self, vector: Vectors) -> Chunks:
        """Where a row of float32 is to be added."""
        if not self.groups:
            return self.loose
        newest = self.groups[-1]
        return newest.groups[newest.one(vector)]

    def nearest(self, vector: Vectors, k: int) -> list[Near]:
        """Nearest first. In a thread while rows come and go: what it says is to be checked."""
        near = Nearest(self._kernel, vector, k)
        for rows in tuple(self.loose.parts):
            near.see(rows)
        # Rows move from older to newer: in this order none is missed on its way.
        shown: list[Groups] = []
        while rest := [one for one in self.groups if one not in shown]:
            rest[0].show(vector, near)
            shown.append(rest[0])
        return near.found()

    def work(self) -> int:
        """About how many numbers a search compares."""
        return self.loose.count * self._kernel.dim + sum(
            one.work(self.count) for one in self.groups
        )

    def overgrown(self) -> bool:
        """More has been added since the centres were found than there was then: there are too few,
        or they are where the questions no longer are."""
        if self.busy:
            return False
        return self.added > max(FLAT, self._settled) if self.groups else self.loose.count > FLAT

    def every(self) -> list[Rows]:
        """All rows."""
        chunks = [self.loose, *(group for one in self.groups for group in one.groups)]
        return [rows for one in chunks for rows in one.parts]

    def measure(self) -> int:
        """How many rows there are now, for which centres are to be found."""
        self._settled, self.added = self.count, 0
        return self.count

    def move_to(self, newest: Groups) -> Iterator[Rows]:
        """Rows to be emptied into groups, which from now on take what is added."""
        self.groups = (*self.groups, newest)
        older = [group for one in self.groups if one is not newest for group in one.groups]
        for chunks in (self.loose, *older):
            # The last ones first, given back one by one.
            while chunks.parts:
                yield chunks.parts[-1]
                chunks.parts.pop()
        self.groups = (newest,)

    def score(self, vector: Vectors, rows: Rows, entry: int) -> float | None:
        """The cosine with an entry; None if it is not in these rows."""
        found = rows.find(entry)
        return None if found is None else min(1.0, float(np.dot(found.astype(np.float32), vector)))
