"""Answers kept in the memory of one process, for tests and for trying things out."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.state.answer_frames import (
    attribute,
    attributes,
    check,
    check_blob,
    limit_of,
    matches,
    priority,
    size_of,
    worth_of,
)
from extproc.state.answers import (
    MOST_CHANGES,
    MOST_FORGOTTEN,
    Change,
    Changes,
    Entry,
    Forgotten,
    Gone,
    Head,
    Listed,
    Match,
    Page,
    Placed,
    Room,
    Stats,
    new_id,
)

_BATCH: Final = 256


@dataclass(slots=True)
class _Kept:
    entry: Entry
    size: int
    number: int
    priority: float
    hits: int = 0
    saved: int = 0


class MemoryAnswers:
    """Entries that die with the process. See `CacheStore`."""

    def __init__(
        self,
        room: Room = Room(),  # noqa: B008 - it is frozen
        *,
        wall: Callable[[], float] = time.time,
        changes: int = MOST_CHANGES,
    ) -> None:
        """`changes`: how many are remembered."""
        self._room = room
        self._wall = wall
        self._epoch = uuid.uuid4().hex
        self._kept: dict[int, _Kept] = {}
        self._ids: dict[bytes, int] = {}
        self._log: deque[tuple[int, int | Gone | Forgotten]] = deque(maxlen=changes)
        self._recent: dict[str, int] = {}
        self._floor = 0
        self._older = 0.0
        self._number = 0
        self._inflation = 0.0
        self._bytes = 0
        self._counts = dict.fromkeys(("hits", "saved", "evicted", "expired", "forgotten"), 0)
        self._blobs: dict[str, tuple[bytes, int]] = {}
        self._labels: dict[str, list[tuple[int, bytes]]] = {}
        self.corrupt = 0
        """See `CacheStore`."""

    async def get(self, exact: bytes) -> Entry | None:
        """See `CacheStore`."""
        return await self.find(self._ids.get(exact, 0))

    async def find(self, entry: int) -> Entry | None:
        """See `CacheStore`."""
        found = self._kept.get(entry)
        if found is None or found.entry.head.expires <= self._wall():
            return None
        return Entry(found.entry.head, found.entry.value)

    async def show(self, entry: int) -> Listed | None:
        """See `CacheStore`."""
        found = self._kept.get(entry)
        if found is None or found.entry.head.expires <= self._wall():
            return None
        return Listed(found.entry.head, found.size, found.hits, found.saved)

    async def put(self, entry: Entry, *, since: str = "", of: int = 0) -> bool:
        """See `CacheStore`."""
        check(entry)
        head, size = entry.head, size_of(entry)
        if size > self._room.bytes or head.created < self._older:
            return False
        if (since and self._was_forgotten(head, since)) or (of and of not in self._kept):
            return False
        if head.expires <= self._wall():
            return False
        before = self._ids.get(head.exact, 0)
        self._remove([before, head.id])
        number = self._record(head.id)
        rank = priority(self._inflation, worth_of(head), 0, size, number)
        self._kept[head.id] = _Kept(entry, size, number, rank)
        self._ids[head.exact] = head.id
        self._bytes += size
        self._make_room(head.id)
        return True

    def touch(self, entry: int, saved: int) -> None:
        """See `CacheStore`."""
        found = self._kept.get(entry)
        if found is None:
            return
        found.hits += 1
        found.saved += saved
        self._counts["hits"] += 1
        self._counts["saved"] += saved
        worth = worth_of(found.entry.head)
        found.priority = priority(self._inflation, worth, found.saved, found.size, self._number)

    async def flush(self) -> None:
        """See `CacheStore`."""

    async def drop(self, ids: Sequence[int]) -> int:
        """See `CacheStore`."""
        return self._remove(ids)

    async def forget(self, match: Match) -> int:
        """See `CacheStore`."""
        if match.what == "older":
            self._older = max(self._older, limit_of(match))
        number = self._record(Forgotten(match))
        name = attribute(match)
        self._recent.pop(name, None)
        self._recent[name] = number
        while len(self._recent) > MOST_FORGOTTEN:
            self._floor = self._recent.pop(next(iter(self._recent)))
        gone = self._remove(
            [one for one, kept in self._kept.items() if matches(match, kept.entry.head)]
        )
        self._counts["forgotten"] += gone
        return gone

    async def page(self, after: str = "", most: int = 200, match: Match | None = None) -> Page:
        """See `CacheStore`."""
        ids = sorted(one for one in self._kept if one > int(after or 0))
        seen = [self._kept[one] for one in ids[:most]]
        now = self._wall()
        listed = [
            Listed(one.entry.head, one.size, one.hits, one.saved)
            for one in seen
            if one.entry.head.expires > now and matches(match, one.entry.head)
        ]
        return Page(listed, str(ids[most - 1]) if len(ids) > most else "")

    async def stats(self) -> Stats:
        """See `CacheStore`."""
        return Stats(entries=len(self._kept), bytes=self._bytes, **self._counts)

    async def cursor(self) -> str:
        """See `CacheStore`."""
        return f"{self._epoch}:{self._number}"

    async def changes(self, after: str, most: int = 1000) -> Changes:
        """See `CacheStore`."""
        epoch, _, number = after.partition(":")
        first = self._log[0][0] if self._log else self._number + 1
        if epoch != self._epoch or int(number) + 1 < first:
            return Changes((), await self.cursor(), reload=True)
        ahead = [one for one in self._log if one[0] > int(number)]
        found = [change for _, one in ahead[:most] if (change := self._change(one)) is not None]
        last = ahead[:most][-1][0] if ahead else int(number)
        return Changes(found, f"{epoch}:{last}", more=len(ahead) > most)

    async def vectors(self) -> AsyncIterator[Sequence[Placed]]:
        """See `CacheStore`."""
        kept = [_placed(one.entry) for one in self._kept.values() if one.entry.vector]
        found = [one for one in kept if one.expires > self._wall()]
        for at in range(0, len(found), _BATCH):
            yield found[at : at + _BATCH]

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """See `CacheStore`."""
        return self._blobs.get(name)

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """See `CacheStore`."""
        check_blob(blob)
        if self._blobs.get(name, (b"", 0))[1] != version:
            return 0
        self._blobs[name] = (blob, new := new_id())
        return new

    async def append(self, name: str, labels: Sequence[bytes], keep: int = 10_000) -> None:
        """See `CacheStore`."""
        found = self._labels.setdefault(name, [])
        first = found[-1][0] + 1 if found else 1
        found += enumerate(labels, first)
        del found[:-keep]

    async def labels(
        self, name: str, after: str = "", most: int = 10_000
    ) -> tuple[list[bytes], str]:
        """See `CacheStore`."""
        found = [one for one in self._labels.get(name, ()) if one[0] > int(after or 0)][:most]
        return [label for _, label in found], str(found[-1][0]) if found else after

    async def discard(self, name: str) -> None:
        """See `CacheStore`."""
        self._blobs.pop(name, None)
        self._labels.pop(name, None)

    async def tidy(self) -> None:
        """Remove what is over."""
        now = self._wall()
        over = [one for one, kept in self._kept.items() if kept.entry.head.expires <= now]
        self._counts["expired"] += self._remove(over)

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to give back."""

    def _was_forgotten(self, head: Head, since: str) -> bool:
        epoch, _, number = since.partition(":")
        if epoch != self._epoch or int(number) < self._floor:
            return True
        return any(self._recent.get(name, 0) > int(number) for name in attributes(head))

    def _record(self, what: int | Gone | Forgotten) -> int:
        self._number += 1
        self._log.append((self._number, what))
        return self._number

    def _change(self, what: int | Gone | Forgotten) -> Change | None:
        if not isinstance(what, int):
            return what
        found = self._kept.get(what)
        return _placed(found.entry) if found is not None and found.entry.vector else None

    def _remove(self, ids: Sequence[int]) -> int:
        gone = [kept for one in ids if (kept := self._kept.pop(one, None)) is not None]
        for one in gone:
            self._ids.pop(one.entry.head.exact)
            self._bytes -= one.size
        if gone:
            self._record(Gone(tuple(one.entry.head.id for one in gone)))
        return len(gone)

    def _make_room(self, new: int) -> None:
        over = len(self._kept) > self._room.entries or self._bytes > self._room.bytes
        if not over:
            return
        now = self._wall()
        ended = [one for one, kept in self._kept.items() if kept.entry.head.expires <= now]
        self._counts["expired"] += self._remove(ended)
        order = sorted((kept.priority, one) for one, kept in self._kept.items() if one != new)
        for rank, one in order:
            if len(self._kept) <= self._room.entries and self._bytes <= self._room.bytes:
                break
            self._inflation = rank
            self._counts["evicted"] += self._remove([one])


def _placed(entry: Entry) -> Placed:
    head = entry.head
    return Placed(
        head.id,
        head.exact,
        head.family,
        head.answer,
        head.expires,
        head.embedder,
        entry.vector,
    )
