"""In which rows an entry is."""

from __future__ import annotations

from typing import Final

from extproc.cache.index import Ids
from extproc.cache.index.rows import Rows

_SHARDS: Final = 1024
"""A dict of a million takes 30 ms to grow, each of these 30 µs."""


class Where:
    """Rows by id: 100 bytes an entry. Dicts of nothing but numbers, because the garbage collector
    looks through all others: 40 ms for a million entries."""

    def __init__(self) -> None:
        self._shards: list[dict[int, int]] = [{} for _ in range(_SHARDS)]
        self._rows: dict[int, Rows] = {}
        self._last = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, entry: int) -> Rows | None:
        """The rows that an id is in."""
        number = self._shards[entry % _SHARDS].get(entry)
        return None if number is None else self._rows[number]

    def put(self, ids: Ids, rows: Rows) -> None:
        """These are in `rows` now."""
        if rows.number not in self._rows:
            self._last += 1
            rows.number = self._last
            self._rows[rows.number] = rows
        number = rows.number
        for entry in ids.tolist():
            shard = self._shards[entry % _SHARDS]
            self._count += entry not in shard
            shard[entry] = number

    def pop(self, entry: int) -> Rows | None:
        """Forget an id; the rows that it was in."""
        number = self._shards[entry % _SHARDS].pop(entry, None)
        if number is None:
            return None
        self._count -= 1
        return self._rows[number]

    def release(self, rows: Rows) -> None:
        """Nothing is in these rows any longer."""
        self._rows.pop(rows.number, None)
