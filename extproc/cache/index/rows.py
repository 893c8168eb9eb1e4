"""Vectors in half precision under each other, and the scan that finds the nearest of them.

FAISS scans: NumPy has no dot product of half precision, and that of OpenBLAS starts threads which
take milliseconds to meet when the cores are busy. Scores are within 0.0001 of those of float32; the
8-bit codes that FAISS has as well are out by up to 0.006 at half the memory, and are hardly faster
to scan.
"""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from extproc.cache import Vectors
from extproc.cache.index import Ids, Near

Halves = NDArray[np.float16]

CHUNK: Final = 2048
"""Rows that are under each other at most: 1 MB of 256 wide, copied in 0.1 ms."""
_DOUBLE: Final = 64
"""Rows up to which room doubles; from there on it grows by an eighth."""


class Held(NamedTuple):
    """Room for rows, and where it is in memory."""

    codes: Halves
    ids: Ids
    at: tuple[Any, Any]
    """Of the codes and the ids, for FAISS."""


class Rows:
    """Vectors by id, in no order. One thread changes them. Others may scan them meanwhile: at worst
    they read a row that is being written or take one that moves for its neighbour, so they check
    what they found."""

    __slots__ = ("count", "held", "number", "partition")

    def __init__(self, dim: int, partition: bytes = b"") -> None:
        self.partition = partition
        self.number = 0
        """By which `Where` knows them."""
        self.count = 0
        self.held = _room(1, dim)

    def append(self, ids: Ids, codes: Halves) -> None:
        """Add rows of ids that are not there."""
        start, end = self.count, self.count + len(ids)
        room = len(self.held.ids)
        if end > room:
            grown = room * 2 if room < _DOUBLE else room + room // 8
            self._move(min(CHUNK, max(end, grown)))
        self.held.codes[start:end] = codes
        self.held.ids[start:end] = ids
        self.count = end

    def find(self, entry: int) -> Halves | None:
        """The row of an id."""
        at = self._at(entry)
        return None if at is None else self.held.codes[at]

    def remove(self, entry: int) -> None:
        """The last row takes the place of that of an id that is there."""
        at, last = self._at(entry), self.count - 1
        if at is None:
            raise KeyError(entry)
        held = self.held
        held.codes[at] = held.codes[last]
        held.ids[at] = held.ids[last]
        self.count = last
        if len(held.ids) > _DOUBLE and last < len(held.ids) // 4:
            self._move(last * 2 + 1)

    def pop(self, most: int) -> tuple[Ids, Halves]:
        """Take the last rows out, `most` at most."""
        start, held = max(0, self.count - most), self.held
        ids, codes = held.ids[start : self.count].copy(), held.codes[start : self.count].copy()
        self.count = start
        return ids, codes

    def view(self) -> tuple[Ids, Halves]:
        """What there is, for a thread to read."""
        held = self.held
        count = min(self.count, len(held.ids))
        return held.ids[:count], held.codes[:count]

    def _at(self, entry: int) -> int | None:
        found = np.flatnonzero(self.held.ids[: self.count] == entry)
        return int(found[0]) if len(found) else None

    def _move(self, size: int) -> None:
        ids, codes = self.view()
        made = _room(size, codes.shape[1])
        made.ids[: len(ids)] = ids
        made.codes[: len(ids)] = codes
        self.held = made


def _room(size: int, dim: int) -> Held:
    codes, ids = np.empty((size, dim), np.float16), np.empty(size, np.int64)
    return Held(codes, ids, (faiss.swig_ptr(codes.view(np.uint8)), faiss.swig_ptr(ids)))


class Chunks:
    """Rows of any number, a few thousand under each other: none takes long to grow or to look
    through."""

    __slots__ = ("_dim", "_partition", "parts")

    def __init__(self, dim: int, partition: bytes = b"") -> None:
        self._dim = dim
        self._partition = partition
        self.parts: list[Rows] = []

    @property
    def count(self) -> int:
        """Of rows."""
        return sum(rows.count for rows in self.parts)

    def append(self, ids: Ids, codes: Halves) -> list[tuple[Ids, Rows]]:
        """Add rows of ids that are not there. Which of them are in which rows now."""
        placed = []
        at = 0
        while at < len(ids):
            rows = self._roomy()
            upto = at + CHUNK - rows.count
            rows.append(ids[at:upto], codes[at:upto])
            placed.append((ids[at:upto], rows))
            at = upto
        return placed

    def _roomy(self) -> Rows:
        """The rows that take more: the last, or once these are full the fewest."""
        if self.parts and self.parts[-1].count < CHUNK:
            return self.parts[-1]
        fewest = min(self.parts, key=lambda rows: rows.count, default=None)
        if fewest is not None and fewest.count < CHUNK:
            return fewest
        self.parts.append(Rows(self._dim, self._partition))
        return self.parts[-1]


class Kernel:
    """Compares with half-precision rows of one width."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._half: Any = faiss.ScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16)
        self._own = threading.local()

    def scanner(self) -> Any:
        """FAISS's, of this thread. It holds nothing but a pointer to the question."""
        made = getattr(self._own, "scanner", None)
        if made is None:
            # One a thread and not one a question: FAISS's binding never frees it.
            made = self._half.select_InvertedListScanner(
                faiss.METRIC_INNER_PRODUCT, None, False, None, False
            )
            made.set_list(0, 0.0)
            self._own.scanner = made
        return made


def _by_score(pair: tuple[float, int]) -> float:
    return -pair[0]


class Nearest:
    """The `k` nearest of all rows that it has been shown. `vector` is one row of float32. For use
    in the thread that made it."""

    def __init__(self, kernel: Kernel, vector: Vectors, k: int) -> None:
        self._vector = vector
        self._k = k
        self._scanner = kernel.scanner()
        self._scanner.set_query(faiss.swig_ptr(vector))
        self._scores, self._ids = np.empty(k, np.float32), np.empty(k, np.int64)
        self._scores.fill(-np.inf)
        self._ids.fill(-1)
        self._heap = (faiss.swig_ptr(self._scores), faiss.swig_ptr(self._ids))

    def see(self, rows: Rows) -> int:
        """Scan rows; how many they were."""
        # Another thread may give them more or less room between any two of these reads.
        held = rows.held
        count = min(rows.count, len(held.ids))
        if count:
            self._scanner.scan_codes(count, *held.at, *self._heap, self._k)
        return count

    def found(self) -> list[Near]:
        """Nearest first, each entry once, no score above 1."""
        best: dict[int, float] = {}
        pairs = zip(self._scores.tolist(), self._ids.tolist(), strict=True)
        for score, entry in sorted(pairs, key=_by_score):
            if entry >= 0:
                best.setdefault(entry, min(1.0, score))
        return [Near(entry, score) for entry, score in best.items()]
