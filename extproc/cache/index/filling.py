"""An index that begins with nothing, filled from what the store holds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from extproc.cache import Vectors
from extproc.cache.index import Index


class Stored(Protocol):
    """An entry as the store names it."""

    @property
    def id(self) -> int:
        """Of the entry."""

    @property
    def family(self) -> bytes:
        """Its partition."""

    @property
    def embedder(self) -> str:
        """Whose vector it is."""

    @property
    def vector(self) -> bytes:
        """Little-endian, of 4 or 2 bytes a number."""


class Filled(Struct, frozen=True):
    """How far it is."""

    added: int = 0
    foreign: int = 0
    """Entries of another embedder."""
    unreadable: int = 0
    """Entries whose vector is damaged."""


async def fill(
    index: Index,
    batches: AsyncIterator[Sequence[Stored]],
    progress: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Add all entries of the index's embedder; `progress` is told after each batch. Others have
    their turn meanwhile. Raises what the batches raise, and CacheAway."""
    so_far = Filled()
    async for batch in batches:
        so_far = await take(index, batch, so_far)
        progress(so_far)
        await asyncio.sleep(0)
    return so_far


async def take(index: Index, batch: Sequence[Stored], so_far: Filled = Filled()) -> Filled:  # noqa: B008  frozen
    """Add some entries. Raises CacheAway."""
    added, foreign, unreadable = so_far.added, so_far.foreign, so_far.unreadable
    found: dict[bytes, dict[int, Vectors]] = defaultdict(dict)
    for one in batch:
        if one.embedder != index.embedder:
            foreign += 1
        elif (row := unpacked(one.vector, index.dim)) is None:
            unreadable += 1
        else:
            found[one.family][one.id] = row
    for partition, rows in found.items():
        await index.add(partition, list(rows), np.stack(list(rows.values())))
        added += len(rows)
    return Filled(added, foreign, unreadable)


def packed(vector: Vectors) -> bytes:
    """A vector as the store keeps it, in half precision."""
    return vector.astype("<f2").tobytes()


def unpacked(vector: bytes, dim: int) -> Vectors | None:
    """A vector from the store, of 4 or 2 bytes a number. None: it is of another width or not of
    length 1."""
    kind = {4 * dim: "<f4", 2 * dim: "<f2"}.get(len(vector))
    if kind is None:
        return None
    row = np.frombuffer(vector, kind).astype(np.float32)
    length = float(np.sqrt(np.dot(row, row)))
    # Written so that what is not a number is turned down.
    return row / np.float32(length) if abs(length - 1.0) < 0.01 else None  # noqa: PLR2004  as `checked`
