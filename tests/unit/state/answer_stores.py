"""Stores of cached answers as two workers have them open, and entries to put there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis

from extproc.state.answers import (
    CacheStore,
    Changes,
    Entry,
    Gone,
    Head,
    Match,
    Placed,
    Room,
    new_id,
)
from extproc.state.memory_answers import MemoryAnswers
from extproc.state.shared_answers import SharedAnswers
from extproc.state.sqlite.answers import SqliteAnswers

KINDS = ["memory", "sqlite", "redis"]
NOW = 1_790_000_000.0
LONG = 1e6
PATIENT = 30.0
"""Seconds: the machine that runs tests is busy."""


def key(name: str | int) -> bytes:
    return str(name).encode().rjust(32, b".")


def entry(name: str | int, value: bytes = b"answer", vector: bytes = b"", **other: Any) -> Entry:
    """`other`: fields of the head."""
    made = new_id()
    fields: dict[str, Any] = {
        "id": made,
        "exact": key(name),
        "family": key("family"),
        "scope": key("scope"),
        "route": "chat",
        "model": "gpt",
        "kind": "default",
        "created": NOW,
        "expires": NOW + LONG,
        "answer": made,
        "target": "openai",
        "provider_model": "large",
        "cost": 1_000_000,
        "embedder": "static" if vector else "",
        **other,
    }
    return Entry(Head(**fields), value, vector)


class Subject:
    """A store as two workers have it open (memory has one), and its clock."""

    def __init__(
        self, kind: str, folder: Path, url: str, room: Room | None = None, changes: int = 1000
    ) -> None:
        self.kind = kind
        self.now = NOW
        self.one = self._open(folder, url, room or Room(), changes)
        self.other = (
            self.one if kind == "memory" else self._open(folder, url, room or Room(), changes)
        )

    def _open(self, folder: Path, url: str, room: Room, changes: int) -> CacheStore:
        def wall() -> float:
            return self.now

        if self.kind == "memory":
            return MemoryAnswers(room, wall=wall, changes=changes)
        if self.kind == "sqlite":
            return SqliteAnswers(folder, room, wall=wall, changes=changes, every=LONG)
        return SharedAnswers(url, room, wall=wall, changes=changes, every=LONG, seconds=PATIENT)

    async def tidy(self) -> None:
        await self.one.tidy()  # type: ignore[attr-defined] # the stores' own

    async def close(self) -> None:
        await self.one.close()
        await self.other.close()


@contextlib.asynccontextmanager
async def opened(
    kind: str, folder: Path, url: str, room: Room | None = None, changes: int = 1000
) -> AsyncIterator[Subject]:
    """A subject that begins empty in an empty folder."""
    if kind == "redis":
        with redis.Redis.from_url(url) as client:
            client.flushall()
    found = Subject(kind, folder, url, room, changes)
    try:
        yield found
    finally:
        await found.close()


class Follower:
    """What a worker's index of vectors does."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self.cursor = ""
        self.placed: dict[int, Placed] = {}
        self.reloads = 0
        self.forgotten: list[Match] = []

    async def follow(self) -> None:
        while True:
            if not self.cursor:
                await self._load()
            found = await self._store.changes(self.cursor, 7)
            if found.reload:
                self.cursor = ""
                continue
            self._take(found)
            self.cursor = found.cursor
            if not found.more:
                return

    async def _load(self) -> None:
        self.reloads += 1
        self.cursor = await self._store.cursor()
        self.placed.clear()
        async for batch in self._store.vectors():
            self.placed.update((one.id, one) for one in batch)

    def _take(self, found: Changes) -> None:
        for change in found.changes:
            if isinstance(change, Placed):
                self.placed[change.id] = change
            elif isinstance(change, Gone):
                for one in change.ids:
                    self.placed.pop(one, None)
            else:
                self.forgotten.append(change.match)
