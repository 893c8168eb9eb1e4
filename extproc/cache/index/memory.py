"""The index in a worker's own memory."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import faiss
import numpy as np

from extproc.cache import CacheAway, Vectors
from extproc.cache.index import SECONDS, Ids, Near, asked, checked
from extproc.cache.index.groups import Groups
from extproc.cache.index.partition import Partition
from extproc.cache.index.regroup import regroup, spread
from extproc.cache.index.rows import Kernel
from extproc.cache.index.where import Where

Answer = TypeVar("Answer")

_INLINE: Final = 2_600_000
"""Numbers compared on the event loop at most (10,000 rows of 256), 0.25 ms; a thread costs 0.1 ms
more."""
_SEARCHERS: Final = 2
_SLICE: Final = 32
"""Rows added at once when their groups are known, in 0.4 ms;"""
_SINGLY: Final = 12
"""and when each has to be compared with all centres, at most 3,000: 40 µs for each."""
_NICE: Final = 10
_LOG: Final = logging.getLogger(__name__)


class MemoryIndex:
    """To be used from one event loop. Nothing that it does there takes over a millisecond."""

    shared: Final = False

    def __init__(self, embedder: str, dim: int) -> None:
        self.embedder: Final = embedder
        self.dim: Final = dim
        self._kernel = Kernel(dim)
        self._partitions: dict[bytes, Partition] = {}
        self._where = Where()
        self._writing = asyncio.Lock()
        self._regrouping = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._searchers = ThreadPoolExecutor(_SEARCHERS, "index-search", _alone)
        self._placer = ThreadPoolExecutor(1, "index-place", _alone)
        self._trainer = ThreadPoolExecutor(1, "index-train", _behind)

    def __len__(self) -> int:
        return len(self._where)

    async def size(self) -> int:
        """Entries of all partitions."""
        return len(self._where)

    async def add(self, partition: bytes, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """See `Index`."""
        named, rows = checked(ids, vectors, self.dim)
        # Or what was added and removed at once might be there in the end.
        async with self._writing:
            held = self._partitions.get(partition)
            groups = held.groups[-1] if held and held.groups and len(named) > _SINGLY else None
            numbers = None
            if groups is not None:
                numbers = await self._in(self._placer, lambda: groups.each(rows.astype(np.float16)))
            step = _SLICE if numbers is not None else _SINGLY
            for at in range(0, len(named), step):
                if at:
                    await asyncio.sleep(0)
                chosen = None if numbers is None else numbers[at : at + step]
                self._put(partition, named[at : at + step], rows[at : at + step], groups, chosen)

    async def remove(self, ids: Sequence[int] | Ids) -> int:
        """See `Index`."""
        before = 0
        async with self._writing:
            for number, entry in enumerate(ids):
                if number % _SINGLY == _SINGLY - 1:
                    await asyncio.sleep(0)
                before += self._take(int(entry))
        return before

    async def search(
        self, partition: bytes, vector: Vectors, k: int, within: float = SECONDS
    ) -> list[Near]:
        """See `Index`."""
        row = asked(vector, self.dim)
        held = self._partitions.get(partition)
        if held is None or k < 1:
            return []
        if held.work() <= _INLINE:
            return held.nearest(row, k)
        try:
            async with asyncio.timeout(within):
                found = await self._in(self._searchers, lambda: held.nearest(row, k))
        except TimeoutError:
            raise CacheAway(f"the index took longer than {within} seconds") from None
        return self._still(partition, held, row, found)

    async def settled(self) -> None:
        """Wait until nothing is being regrouped."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """See `Index`."""
        for task in self._tasks:
            task.cancel()
        await self.settled()
        for pool in (self._searchers, self._placer, self._trainer):
            pool.shutdown(wait=False, cancel_futures=True)

    def _put(
        self, key: bytes, ids: Ids, rows: Vectors, groups: Groups | None, numbers: Ids | None
    ) -> None:
        """Add rows; to the groups of these numbers, if these are still where rows go."""
        for entry in ids.tolist():
            self._take(entry)
        if len(ids) > 1:
            # Of an id that comes twice the last counts.
            _, last = np.unique(ids[::-1], return_index=True)
            keep = np.sort(len(ids) - 1 - last)
            ids, rows = ids[keep], rows[keep]
            numbers = None if numbers is None else numbers[keep]
        held = self._partitions.get(key)
        if held is None:
            held = self._partitions[key] = Partition(self._kernel, key)
        codes = rows.astype(np.float16)
        if numbers is not None and groups is not None and held.groups and held.groups[-1] is groups:
            spread(groups, numbers, ids, codes, self._where)
        elif not held.groups:
            for part, place in held.loose.append(ids, codes):
                self._where.put(part, place)
        else:
            for at in range(len(ids)):
                one = slice(at, at + 1)
                for part, place in held.place(rows[at]).append(ids[one], codes[one]):
                    self._where.put(part, place)
        held.count += len(ids)
        held.added += len(ids)
        if held.overgrown():
            self._regroup_soon(held)

    def _take(self, entry: int) -> bool:
        rows = self._where.pop(entry)
        if rows is None:
            return False
        rows.remove(entry)
        if not rows.count:
            self._where.release(rows)
        held = self._partitions[rows.partition]
        held.count -= 1
        if not held.count:
            del self._partitions[rows.partition]
        return True

    def _still(self, key: bytes, held: Partition, row: Vectors, found: list[Near]) -> list[Near]:
        """What of it is there, with scores that no write has come between."""
        sure = []
        for entry, _ in found:
            rows = self._where.get(entry)
            score = (
                held.score(row, rows, entry) if rows is not None and rows.partition == key else None
            )
            if score is not None:
                sure.append(Near(entry, score))
        return sorted(sure, key=lambda near: -near.score)

    def _regroup_soon(self, held: Partition) -> None:
        held.busy = True
        task = asyncio.get_running_loop().create_task(self._regroup(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _regroup(self, held: Partition) -> None:
        try:
            async with self._regrouping:
                await regroup(held, self._kernel, self._where, self._trainer)
        except (MemoryError, RuntimeError):
            # FAISS's own errors are RuntimeErrors. What there is stays and is searched as it was.
            _LOG.exception("regrouping %d vectors failed", held.count)
        finally:
            held.busy = False
        if held.overgrown():
            # It was being filled meanwhile.
            self._regroup_soon(held)

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], Answer]) -> Answer:
        try:
            waiting = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError as error:
            raise CacheAway("the index is closed") from error
        return await waiting


def _alone() -> None:
    """OpenMP's threads are counted for each thread that calls it."""
    faiss.omp_set_num_threads(1)


def _behind() -> None:
    """As `_alone`, and everything else goes first. Linux has a niceness for each thread."""
    _alone()
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
