"""Which stored questions are near one that is asked: the door of the index of vectors.

There is one index an embedder, so that vectors of two are never compared, and in it partitions,
none of which ever sees another's entries. Two are behind the door: `memory`, kept by each worker,
and `postgres`, one for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from extproc.cache import Vectors

Ids = NDArray[np.int64]

SECONDS: Final = 0.020
"""A search that has not come back by then is a miss: a model takes a hundred times as long, so that
a client never waits for a cache that is slow by more than a hundredth."""
_LENGTH: Final = 0.01
"""How far from 1 a vector's length may be. A longer one would be near to everything."""


class Near(NamedTuple):
    """An entry, and the cosine between its vector and the one asked with."""

    entry: int
    score: float


class Index(Protocol):
    """Vectors of length 1 by the ids of their entries, in partitions."""

    @property
    def embedder(self) -> str:
        """The id of the embedder whose vectors they are."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def shared(self) -> bool:
        """Other workers see what is added and removed here, and it survives the process: who puts
        an entry adds it, nobody else. Not shared: every worker adds all entries, and begins with
        none."""

    async def add(self, partition: bytes, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """Put one row of `vectors` for each id (0 to 2^63 - 1, of an entry wherever it was) into a
        partition. Raises CacheAway, and ValueError for what `checked` turns down."""

    async def remove(self, ids: Sequence[int] | Ids) -> int:
        """Take entries out, from whatever partition. How many there were. Raises CacheAway."""

    async def search(
        self, partition: bytes, vector: Vectors, k: int, within: float = SECONDS
    ) -> list[Near]:
        """Up to `k` entries of a partition, nearest first. Raises CacheAway, at the latest after
        `within` seconds, and ValueError for a vector of another width."""

    async def size(self) -> int:
        """Entries of all partitions. Raises CacheAway."""

    async def close(self) -> None:
        """Give threads and connections back."""


def open_index(vectors: str | None, embedder: str, dim: int) -> Index:
    """In Postgres if its URL is given (`postgresql://…`), else in this process. Nothing is asked
    yet. Raises ValueError for a URL that cannot be, and for vectors too wide for Postgres."""
    if vectors is not None:
        from extproc.cache.index.postgres import PostgresIndex  # noqa: PLC0415  its driver is an extra

        return PostgresIndex(vectors, embedder, dim)
    from extproc.cache.index.memory import MemoryIndex  # noqa: PLC0415  FAISS takes 15 MB

    return MemoryIndex(embedder, dim)


def checked(ids: Sequence[int] | Ids, vectors: Vectors, dim: int) -> tuple[Ids, Vectors]:
    """As arrays. Raises ValueError unless there is an id of 0 to 2^63 - 1 for each row, and each
    row is `dim` wide and of length 1."""
    try:
        named = np.asarray(ids, np.int64).reshape(-1)
    except OverflowError:
        raise ValueError("an id is beyond 63 bits") from None
    rows = np.ascontiguousarray(vectors, np.float32)
    if rows.shape != (len(named), dim):
        raise ValueError(
            f"{len(named)} ids and vectors of the shape {rows.shape}: a row of {dim} for each id"
        )
    if len(named) and named.min() < 0:
        raise ValueError("an id is negative")
    # Also turns down what is not a number: nothing that is compared to it is true.
    if not (np.abs(np.einsum("ij,ij->i", rows, rows) - 1.0) < 2 * _LENGTH).all():
        raise ValueError("a vector is not of length 1")
    return named, rows


def asked(vector: Vectors, dim: int) -> Vectors:
    """A question's vector as one row of float32. Raises ValueError for another width."""
    row = vector
    if row.ndim != 1 or row.dtype != np.float32 or not row.flags.c_contiguous:
        row = np.ascontiguousarray(vector, np.float32).reshape(-1)
    if row.shape != (dim,):
        raise ValueError(f"a vector of {row.shape[0]}, where {dim} are compared")
    return row
