"""New centres for a partition that has outgrown its own: found in a thread, the rows moved a few at
a time on the event loop, while both old and new groups are searched. No vector is ever there twice.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

import numpy as np

from extproc.cache.index import Ids
from extproc.cache.index.groups import Groups, centres_for, trained
from extproc.cache.index.partition import Partition
from extproc.cache.index.rows import Halves, Kernel, Rows
from extproc.cache.index.where import Where

_SLICE: Final = 32
"""Rows moved at once, in up to 0.5 ms."""
_PAUSE: Final = 0.0005
"""Seconds left to others after each."""


async def regroup(partition: Partition, kernel: Kernel, where: Where, thread: Executor) -> None:
    """Give a partition new groups."""
    loop = asyncio.get_running_loop()
    many = centres_for(partition.measure())

    def found() -> Groups:
        centres = trained([rows.view() for rows in partition.every()], many, kernel.dim)
        return Groups(kernel, centres, partition.key)

    newest = await loop.run_in_executor(thread, found)
    for rows in partition.move_to(newest):
        if rows.count:
            sorted_ids, numbers = await loop.run_in_executor(thread, _assigned, newest, rows)
            while rows.count:
                ids, codes = rows.pop(_SLICE)
                # Rows have gone since, but none has come: each is among those that were looked at.
                spread(newest, numbers[np.searchsorted(sorted_ids, ids)], ids, codes, where)
                await asyncio.sleep(_PAUSE)
            where.release(rows)
    await loop.run_in_executor(thread, _give_back)


def spread(groups: Groups, numbers: Ids, ids: Ids, codes: Halves, where: Where) -> None:
    """Append rows to the groups of these numbers."""
    for number, at in _runs(numbers):
        for part, rows in groups.groups[number].append(ids[at], codes[at]):
            where.put(part, rows)


def _runs(numbers: Ids) -> Iterator[tuple[int, Ids]]:
    """Each number there is, with the places at which it stands."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    for at in np.split(order, ends):
        if len(at):
            yield int(numbers[at[0]]), at


def _assigned(groups: Groups, rows: Rows) -> tuple[Ids, Ids]:
    """Ids in order, and the number of the group that each belongs to."""
    ids, codes = rows.view()
    # A row that moves right now may get its neighbour's number, and is then found less surely.
    ids = ids.copy()
    numbers = groups.each(codes)
    order = np.argsort(ids, kind="stable")
    return ids[order], numbers[order]


def _give_back() -> None:
    """Training takes a kilobyte for each of its rows, which glibc would keep once it is over."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
