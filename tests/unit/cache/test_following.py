"""A worker's index follows the store of entries: memory, a file, a real Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from extproc.cache import CacheAway, Vectors, following
from extproc.cache.following import Following
from extproc.cache.index import Ids
from extproc.cache.index.filling import packed
from extproc.cache.index.memory import MemoryIndex
from extproc.cache.wordings import Wordings
from extproc.state import StateError
from extproc.state.answers import Changes, Entry, Match, Placed, alias_of
from extproc.state.memory_answers import MemoryAnswers
from tests.unit.cache.index.vectors import DIM, around_topics
from tests.unit.state.answer_stores import KINDS, NOW, Subject, entry, key, opened

ROWS = around_topics(3000)
STATIC = "static-1-32"
FAMILY = key("family")


def with_vector(number: int, **other: Any) -> Entry:
    return entry(number, vector=packed(ROWS[number]), embedder=STATIC, **other)


class Worker:
    """An index, and who follows."""

    def __init__(self, subject: Subject, index: MemoryIndex | None = None) -> None:
        self.index = index or MemoryIndex(STATIC, DIM)
        self.wordings = Wordings()
        self.placed: list[int] = []
        self.gone: list[int] = []
        self.following = Following(
            subject.other,
            self.index,
            wordings=self.wordings,
            placed=lambda one: self.placed.append(one.id),
            gone=self.gone.extend,
            every=0.02,
        )

    async def has(self, *entries: Entry) -> bool:
        """These and no others, each the nearest of its own vector."""
        if await self.index.size() != len(entries):
            return False
        for one in entries:
            row = ROWS[int(one.head.exact.strip(b"."))]
            found = await self.index.search(one.head.family, row, 1)
            if not found or found[0].entry != one.head.id:
                return False
        return True

    async def until(self, *entries: Entry) -> None:
        async with asyncio.timeout(20):
            while not await self.has(*entries):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def until_ready(self) -> None:
        async with asyncio.timeout(20):
            while not self.following.ready:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.following.stop()
        await self.index.close()


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    url = str(request.getfixturevalue("redis_url")) if request.param == "redis" else ""
    async with opened(request.param, tmp_path, url, None, 50) as found:
        yield found


@pytest.fixture
async def worker(subject: Subject) -> AsyncIterator[Worker]:
    found = Worker(subject)
    yield found
    await found.close()


async def test_what_is_there_and_what_comes_is_in_the_index(
    subject: Subject, worker: Worker
) -> None:
    entries = [with_vector(number) for number in range(20)]
    for one in entries[:10]:
        await subject.one.put(one)
    await subject.one.put(entry("plain"))
    await subject.one.put(entry("foreign", vector=b"v", embedder="minilm"))
    worker.following.start()
    await worker.until(*entries[:10])
    await worker.until_ready()
    for one in entries[10:]:
        await subject.one.put(one)
    worker.following.soon()
    await worker.until(*entries)
    assert sorted(worker.placed) == sorted(one.head.id for one in entries)


async def test_what_goes_is_out_of_the_index(subject: Subject, worker: Worker) -> None:
    entries = [with_vector(number, tags=("odd",) if number % 2 else ()) for number in range(10)]
    for one in entries:
        await subject.one.put(one)
    worker.following.start()
    await worker.until(*entries)
    began = time.monotonic()
    await subject.one.forget(Match("tag", "odd"))
    await worker.until(*entries[::2])
    assert time.monotonic() - began < 1.0
    assert set(worker.gone) == {one.head.id for one in entries[1::2]}
    again = with_vector(0)
    await subject.one.put(again)
    await worker.until(again, *entries[2::2])
    await subject.one.drop([again.head.id])
    await worker.until(*entries[2::2])


async def test_an_answer_on_its_way_while_its_like_is_forgotten_is_not_kept(
    subject: Subject, worker: Worker
) -> None:
    worker.following.start()
    await worker.until_ready()
    since = worker.following.cursor
    await subject.one.forget(Match("route", "chat"))
    assert not await subject.one.put(with_vector(0), since=since)
    async with asyncio.timeout(20):
        while not await subject.one.put(  # noqa: ASYNC110 - nobody tells
            with_vector(0), since=worker.following.cursor
        ):
            await asyncio.sleep(0.01)


async def test_who_was_left_behind_begins_anew(subject: Subject, worker: Worker) -> None:
    old = [with_vector(number) for number in range(60)]
    for one in old:
        await subject.one.put(one)
    worker.following.start()
    await worker.until(*old)
    await worker.following.stop()
    await subject.one.drop([one.head.id for one in old[:30]])
    new = [with_vector(number) for number in range(100, 160)]
    for one in new:  # more than is remembered
        await subject.one.put(one)
    again = Following(
        subject.other, worker.index, wordings=worker.wordings, gone=worker.gone.extend, every=0.02
    )
    again._known = worker.following._known
    again._at = worker.following._at
    worker.following = again
    again.start()
    await worker.until(*old[30:], *new)
    assert {one.head.id for one in old[:30]} <= set(worker.gone)


async def test_aliases_are_counted(subject: Subject, worker: Worker) -> None:
    original = with_vector(0)
    await subject.one.put(original)
    heads = [with_vector(number).head for number in range(1, 4)]
    aliases = [alias_of(original, head, packed(ROWS[at + 1])) for at, head in enumerate(heads)]
    await subject.one.put(aliases[0], of=original.head.id)
    worker.following.start()
    await worker.until(original, aliases[0])
    own = original.head.id
    assert worker.following.answer(aliases[0].head.id) == own
    assert worker.following.answer(own) == own
    assert worker.wordings.of(FAMILY) == {own: 2}
    for one in aliases[1:]:
        await subject.one.put(one, of=own)
    await worker.until(original, *aliases)
    assert worker.wordings.of(FAMILY) == {own: 4}
    await subject.one.drop([own, aliases[1].head.id])
    await worker.until(aliases[0], aliases[2])
    assert worker.wordings.of(FAMILY) == {own: 2}
    await subject.one.drop([aliases[0].head.id, aliases[2].head.id])
    await worker.until()
    assert worker.wordings.of(FAMILY) == {}
    assert len(worker.wordings) == 0


async def test_what_the_store_does_not_know_is_taken_out(subject: Subject, worker: Worker) -> None:
    stray = with_vector(5)
    await worker.index.add(FAMILY, [stray.head.id], ROWS[5:6])
    kept = with_vector(6)
    await subject.one.put(kept)
    worker.following.start()
    await worker.until_ready()
    worker.following.missed(stray.head.id)
    await worker.until(kept)


# --- while it is being filled ---------------------------------------------------------------


class Slow(MemoryAnswers):
    """One whose vectors come slowly, batch by batch."""

    def __init__(self, batch: int = 10, *, changes: int = 100_000) -> None:
        super().__init__(wall=lambda: NOW, changes=changes)
        self.batch = batch
        self.before: Callable[[int], None] = lambda _: None
        self.let = asyncio.Event()
        self.at = 0

    async def vectors(self) -> AsyncIterator[Sequence[Placed]]:
        async for every in super().vectors():
            for at in range(0, len(every), self.batch):
                self.before(at)
                await asyncio.sleep(0.005)
                yield every[at : at + self.batch]
        await self.let.wait()


def follow(store: MemoryAnswers, index: MemoryIndex) -> Following:
    return Following(store, index, every=0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_what_is_forgotten_while_it_is_filled_stays_out() -> None:
    store, index = Slow(), MemoryIndex(STATIC, DIM)
    entries = [with_vector(number) for number in range(200)]
    for one in entries:
        await store.put(one)
    follower = follow(store, index)
    follower.start()
    await until(lambda: len(index) >= 30)
    await store.drop([one.head.id for one in entries[::2]])
    odd = {one.head.id for one in entries[1::2]}
    await until(lambda: len(index) == 100)
    assert not follower.ready
    store.let.set()
    await until(lambda: follower.ready)
    found = {one.entry for one in await index.search(FAMILY, ROWS[0], 200)}
    assert found == odd
    await follower.stop()
    await index.close()


async def test_progress_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "TOLD_EVERY", 0.0)
    store, index = Slow(), MemoryIndex(STATIC, DIM)
    store.let.set()
    for number in range(30):
        await store.put(with_vector(number))
    follower = follow(store, index)
    with caplog.at_level(logging.INFO):
        follower.start()
        await until(lambda: follower.ready)
    told = [one for one in caplog.records if one.message.endswith("is being filled")]
    assert [(one.__dict__["entries"], one.__dict__["of"]) for one in told] == [
        (10, 30),
        (20, 30),
        (30, 30),
    ]
    assert follower.filled.added == 30
    assert len(follower) == 30
    await follower.stop()
    await index.close()


async def test_more_changes_than_are_remembered_while_it_is_filled() -> None:
    store, index = Slow(changes=20), MemoryIndex(STATIC, DIM)
    store.let.set()
    entries = [with_vector(number) for number in range(100)]
    for one in entries:
        await store.put(one)
    follower = follow(store, index)
    follower.start()
    await until(lambda: len(index) >= 30)
    more = [with_vector(number) for number in range(200, 300)]
    for one in more:
        await store.put(one)
    await until(lambda: follower.ready and len(index) == 200)
    await follower.stop()
    await index.close()


# --- trouble --------------------------------------------------------------------------------


class Away(MemoryAnswers):
    """One that goes away and comes back."""

    def __init__(self) -> None:
        super().__init__(wall=lambda: NOW)
        self.away = False

    async def cursor(self) -> str:
        if self.away:
            raise StateError("away")
        return await super().cursor()

    async def changes(self, after: str, most: int = 1000) -> Changes:
        if self.away:
            raise StateError("away")
        return await super().changes(after, most)


async def test_a_store_that_is_away_is_told_once_and_caught_up_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, index = Away(), MemoryIndex(STATIC, DIM)
    follower = follow(store, index)
    store.away = True
    with caplog.at_level(logging.INFO):
        follower.start()
        await until(lambda: bool(caplog.records))
        await store.put(with_vector(0))
        store.away = False
        await until(lambda: len(index) == 1 and follower.ready)
        store.away = True
        await store.put(with_vector(1))
        await until(lambda: follower.behind > 0.1)
        store.away = False
        await until(lambda: len(index) == 2)
        await until(lambda: caplog.records[-1].message.endswith("kept up again"))
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warned) == 2
    await follower.stop()
    await index.close()


class Refusing(MemoryIndex):
    """An index that is away."""

    away = True

    async def add(self, partition: bytes, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        if self.away:
            raise CacheAway
        await super().add(partition, ids, vectors)


async def test_an_index_that_is_away_holds_up_nothing_else() -> None:
    store, index = MemoryAnswers(wall=lambda: NOW), Refusing(STATIC, DIM)
    await store.put(with_vector(0))
    follower = follow(store, index)
    follower.start()
    await until(lambda: bool(follower.cursor))
    before = follower.cursor
    await store.forget(Match("tag", "x"))
    await until(lambda: follower.cursor != before)
    index.away = False
    await until(lambda: len(index) == 1)
    await follower.stop()
    await index.close()


class Shared(MemoryIndex):
    """One that all workers share, as Postgres is."""

    shared = True  # type: ignore[misc] # another kind of index


async def test_of_a_shared_index_only_what_is_gone_is_taken_out() -> None:
    store, index = MemoryAnswers(wall=lambda: NOW), Shared(STATIC, DIM)
    one, two = with_vector(0), with_vector(1)
    await store.put(one)
    await index.add(FAMILY, [one.head.id], ROWS[0:1])
    follower = follow(store, index)
    follower.start()
    await until(lambda: follower.ready)
    alias = alias_of(one, two.head, packed(ROWS[1]))
    await store.put(alias, of=one.head.id)
    await until(lambda: follower.answer(alias.head.id) == one.head.id)
    assert len(index) == 1  # who puts adds
    await store.drop([one.head.id])
    await until(lambda: len(index) == 0)
    await follower.stop()
    await index.close()


async def test_a_shared_index_that_is_empty_is_filled() -> None:
    store, index = MemoryAnswers(wall=lambda: NOW), Shared(STATIC, DIM)
    await store.put(with_vector(0))
    follower = follow(store, index)
    follower.start()
    await until(lambda: follower.ready)
    assert len(index) == 1
    await follower.stop()
    await index.close()


async def test_what_is_known_of_entries_long_gone_is_let_go_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_COMPACTED", 20)
    store, index = MemoryAnswers(wall=lambda: NOW), MemoryIndex(STATIC, DIM)
    come: list[int] = []
    follower = Following(store, index, placed=lambda one: come.append(one.id), every=0.01)
    follower.start()
    for number in range(60):
        await store.put(with_vector(number % 3))
        follower.soon()
        await until(lambda: len(come) > number)  # noqa: B023 - at once
    assert len(follower._known._come) < 40
    await until(lambda: len(follower) == 3)
    assert len(index) == 3
    await follower.stop()
    await index.close()
