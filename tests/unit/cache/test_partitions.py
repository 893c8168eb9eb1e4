"""Partitions of several workers over one store: memory, a file, a real Redis."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from extproc.cache import Neighbour
from extproc.cache.answers import Answers
from extproc.cache.core import Event, Kind, Learned, Partition, Rules
from extproc.cache.partitions import LOAD_SECONDS, Pace, Partitions, recounted
from extproc.cache.wordings import Wordings
from extproc.state import StateError
from extproc.state.answers import CacheStore
from extproc.state.memory_answers import MemoryAnswers
from tests.unit.state.answer_stores import KINDS, Subject, key, opened

KEY = key("partition")
RULES = Rules(audit=0.5)
ASKED, STORED = "what is a black hole", "what are black holes made of"
FAST = Pace(tell=0.02, listen=0.02, save=0.2, in_use=60.0)
SLACK = 0.3
"""Seconds: the machine that runs tests is busy."""


class Worker:
    """One that serves a partition."""

    def __init__(self, store: CacheStore, *, alone: bool = False, most: int = 5000) -> None:
        self.told: list[Event] = []
        self.heard: list[Event] = []
        self.wordings = Wordings()
        self.draw = random.Random(1)
        self.partitions = Partitions(
            store,
            "http",
            wordings=self.wordings,
            told=lambda _, event: self.told.append(event),
            heard=lambda _, event: self.heard.append(event),
            alone=alone,
            most=most,
            pace=FAST,
        )

    async def of(self, name: bytes = KEY, rules: Rules = RULES) -> Partition:
        return await self.partitions.of(name, rules)

    def learn(self, partition: Partition, name: bytes = KEY, *, right: bool = True) -> Learned:
        """A question near to a stored one, and whether the provider gave the same answer."""
        while True:
            score = self.draw.uniform(0.6, 0.97)
            near = [Neighbour(at, score - at * 0.01, at) for at in range(8)]
            decision = partition.decide(ASKED, near, lambda _: STORED)
            if decision.kind is not Kind.HIT and decision.features is not None:
                break
        learned = partition.learn(decision, (0,) if right else ())
        self.partitions.learned(name, learned)
        return learned

    async def labels(self) -> int:
        return (await self.of()).labels


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    url = str(request.getfixturevalue("redis_url")) if request.param == "redis" else ""
    async with opened(request.param, tmp_path, url) as found:
        yield found


@pytest.fixture
async def pair(subject: Subject) -> AsyncIterator[tuple[Worker, Worker]]:
    pair = Worker(subject.one), Worker(subject.other)
    yield pair
    for one in pair:
        await one.partitions.stop()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def until_labels(worker: Worker, many: int) -> None:
    async def reached() -> bool:
        return await worker.labels() == many

    await until(reached)


async def until_loaded(worker: Worker, name: bytes = KEY) -> Partition:
    await worker.of(name)
    async with asyncio.timeout(30):
        while not worker.partitions._held[name].loaded:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)
    return await worker.of(name)


async def test_workers_learn_from_each_other(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    mine, yours = await one.of(), await other.of()
    for _ in range(20):
        one.learn(mine)
    for _ in range(15):
        other.learn(yours)
    await until_labels(one, 35)
    await until_labels(other, 35)


async def test_a_halt_in_one_is_a_halt_in_all(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    mine, _ = await one.of(), await until_loaded(other)
    while not mine.halted:
        one.learn(mine, right=False)
    began = time.monotonic()

    async def halted() -> bool:
        return (await other.of()).halted

    await until(halted)
    assert time.monotonic() - began < 1.0 + SLACK
    assert (one.told, one.heard) == ([Event.HALTED], [])
    assert (other.told, other.heard) == ([], [Event.HALTED])
    assert one.partitions.halted == other.partitions.halted == 1


async def test_what_was_learned_outlives_the_worker(subject: Subject) -> None:
    one = Worker(subject.one)
    partition = await until_loaded(one)
    for _ in range(40):
        one.learn(partition)
    await one.partitions.stop()
    again = Worker(subject.other)
    assert (await until_loaded(again)).labels == 40
    await again.partitions.stop()


async def test_a_killed_worker_leaves_what_it_had_told(subject: Subject) -> None:
    one = Worker(subject.one)
    partition = await until_loaded(one)
    for _ in range(10):
        one.learn(partition)
    await one.partitions._tell_some()
    for task in one.partitions._running:
        task.cancel()
    again = Worker(subject.other)
    await until_labels(again, 10)
    await again.partitions.stop()


async def test_workers_that_save_in_turns_lose_nothing(subject: Subject) -> None:
    one, other = Worker(subject.one), Worker(subject.other)
    mine, yours = await until_loaded(one), await until_loaded(other)
    for _ in range(10):
        one.learn(mine)
        other.learn(yours)
        held = one.partitions._held[KEY], other.partitions._held[KEY]
        await one.partitions._save(held[0])
        await other.partitions._save(held[1])
    await one.partitions.stop()
    await other.partitions.stop()
    third = Worker(subject.one)
    assert (await until_loaded(third)).labels == 20
    await third.partitions.stop()


async def test_a_partition_is_saved_while_it_is_used(subject: Subject) -> None:
    one = Worker(subject.one, alone=True)
    partition = await until_loaded(one)
    for _ in range(10):
        one.learn(partition)
    name = one.partitions._name(KEY)

    async def saved() -> bool:
        return await subject.one.read(name) is not None

    await until(saved)
    assert await subject.one.labels(name) == ([], "")  # nobody would hear them
    await one.partitions.stop()


async def test_a_fit_that_is_due_is_made_off_the_loop() -> None:
    ran: set[int] = set()
    one = Worker(MemoryAnswers())

    class Noted(Partition):
        def refit(self) -> Callable[[], object] | None:  # type: ignore[override] # noted only
            job = super().refit()
            if job is None:
                return None
            made = job

            def noted() -> object:
                ran.add(threading.get_ident())
                return made()

            return noted

    partition = await until_loaded(one)
    partition.__class__ = Noted
    for number in range(300):
        one.learn(partition, right=number % 3 > 0)
        await asyncio.sleep(0)

    async def fitted() -> bool:
        return partition.line is not None

    await until(fitted)
    assert ran
    assert threading.get_ident() not in ran
    await one.partitions.stop()


async def test_the_least_used_go_and_come_back_as_they_were() -> None:
    one = Worker(MemoryAnswers(), most=3)
    names = [key(number) for number in range(10)]
    for number, name in enumerate(names):
        partition = await until_loaded(one, name)
        for _ in range(number + 1):
            one.learn(partition, name)
    assert len(one.partitions) == 3
    for number, name in enumerate(names):

        async def back(name: bytes = name, number: int = number) -> bool:
            return (await one.of(name)).labels == number + 1

        await until(back)
    assert len(one.partitions) == 3
    await one.partitions.stop()


async def test_a_changed_policy_keeps_what_was_learned() -> None:
    one = Worker(MemoryAnswers())
    partition = await until_loaded(one)
    for _ in range(5):
        one.learn(partition)
    assert await one.of(rules=Rules(audit=0.5, threshold=0.9, min_score=0.8)) is partition
    changed = await one.of(rules=Rules(audit=0.5, max_error=0.02))
    assert changed is not partition
    assert changed.labels == 5
    assert await one.of(rules=Rules(audit=0.5, max_error=0.02)) is changed
    one.learn(partition)  # by one who asked before
    assert changed.labels == 6
    await one.partitions.stop()


# --- trouble --------------------------------------------------------------------------------


class Troubled(MemoryAnswers):
    """One that can be slow and away."""

    def __init__(self) -> None:
        super().__init__()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.away = False
        self.names: set[str] = set()

    async def _pass(self, name: str) -> None:
        self.names.add(name)
        if self.away:
            raise StateError("away")
        await self.flowing.wait()

    async def read(self, name: str) -> tuple[bytes, int] | None:
        await self._pass(name)
        return await super().read(name)

    async def write(self, name: str, blob: bytes, version: int) -> int:
        await self._pass(name)
        return await super().write(name, blob, version)

    async def append(self, name: str, labels: Sequence[bytes], keep: int = 10_000) -> None:
        await self._pass(name)
        await super().append(name, labels, keep)

    async def labels(
        self, name: str, after: str = "", most: int = 10_000
    ) -> tuple[list[bytes], str]:
        await self._pass(name)
        return await super().labels(name, after, most)


async def saved_by(store: CacheStore, many: int) -> None:
    before = Worker(store)
    partition = await until_loaded(before)
    for _ in range(many):
        before.learn(partition)
    await before.partitions.stop()


@pytest.mark.parametrize("alone", [True, False])
async def test_a_slow_store_delays_nobody_and_is_caught_up_with(*, alone: bool) -> None:
    store = Troubled()
    await saved_by(store, 30)
    store.flowing.clear()
    worker = Worker(store, alone=alone)
    began = time.perf_counter()
    partition = await worker.of()
    assert time.perf_counter() - began < LOAD_SECONDS + SLACK
    began = time.perf_counter()
    for _ in range(100):  # the first alone has waited
        assert await worker.of() is partition
    assert time.perf_counter() - began < SLACK
    assert partition.labels == 0
    for _ in range(5):
        worker.learn(partition)
    store.flowing.set()
    await until_labels(worker, 35)
    worker.learn(partition)  # by one who asked before
    assert await worker.labels() == 36
    await worker.partitions.stop()


async def test_a_store_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Troubled()
    await saved_by(store, 10)
    store.away = True
    one = Worker(store)
    with caplog.at_level(logging.INFO):
        partition = await one.of()
        for _ in range(5):
            one.learn(partition)
        await asyncio.sleep(0.2)
        store.away = False
        await until_labels(one, 15)
        other = Worker(store)
        await until_labels(other, 15)
    words = [one.message for one in caplog.records]
    assert [one for one in words if "on their own" in one] == words[:1]
    assert [one for one in words if "shared again" in one] == words[1:2]
    store.away = True
    one.learn(await one.of())
    await one.partitions.stop()
    await other.partitions.stop()


@pytest.mark.parametrize(
    "blob", [b"", b"\xc1 nothing", b"\x92\xc4\x03abc\xa0", b"\x92\xc4\x02\x91\x05\xa0"]
)
async def test_what_cannot_be_read_is_told_and_replaced(
    blob: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryAnswers()
    one = Worker(store)
    name = one.partitions._name(KEY)
    await store.write(name, blob, 0)
    partition = await until_loaded(one)
    assert partition.labels == 0
    assert any("begins anew" in one.message for one in caplog.records)
    one.learn(partition)
    await one.partitions.stop()
    again = Worker(store)
    assert (await until_loaded(again)).labels == 1
    await again.partitions.stop()


async def test_labels_that_cannot_be_read_are_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryAnswers()
    one, other = Worker(store), Worker(store)
    mine = await until_loaded(one)
    one.learn(mine)
    await store.append(one.partitions._name(KEY), [b"\xc1", b"", b"\x90"])
    one.learn(mine)
    await until_labels(other, 2)
    assert len([one for one in caplog.records if "label" in one.message]) == 2
    await one.partitions.stop()
    await other.partitions.stop()


async def test_a_store_that_is_gone_at_the_end_holds_up_nothing() -> None:
    store = Troubled()
    worker = Worker(store)
    worker.partitions._pace = Pace(closing=0.1)
    worker.learn(await until_loaded(worker))
    store.flowing.clear()
    began = time.perf_counter()
    await worker.partitions.stop()
    assert time.perf_counter() - began < 0.1 + SLACK
    await worker.partitions.stop()


async def test_names_say_nothing_but_the_key() -> None:
    store = Troubled()
    await saved_by(store, 3)
    assert store.names == {f"verifier-http-{KEY.hex()}"}


async def test_what_is_waiting_to_be_told_is_bounded() -> None:
    store = Troubled()
    store.away = True
    worker = Worker(store)
    partition = await worker.of()
    for _ in range(2000):
        worker.learn(partition)
    held = worker.partitions._held[KEY]
    assert len(held.untold) <= 1000
    assert len(held.early) <= 1001
    await worker.partitions.stop()


# --- wordings -------------------------------------------------------------------------------


async def test_how_many_wordings_led_to_an_answer_is_what_is_stored_now() -> None:
    store = MemoryAnswers()
    one = Worker(store)
    one.wordings.placed(KEY, 2, 1)
    partition = await until_loaded(one)
    one.wordings.placed(KEY, 3, 1)
    one.wordings.placed(KEY, 3, 1)
    one.wordings.placed(key("other"), 9, 8)
    one.wordings.completed()
    assert partition.answers.support(1) == 3
    one.wordings.placed(KEY, 4, 1)
    assert partition.answers.support(1) == 4
    one.wordings.gone(2)
    one.wordings.gone(1)
    one.wordings.gone(1)
    assert partition.answers.support(1) == 2
    one.learn(partition)
    await one.partitions.stop()
    again = Worker(store)
    again.wordings.completed()  # nothing of that is stored any more
    assert (await until_loaded(again)).answers.support(1) == 1
    by_family = await again.partitions.of(key("kind"), RULES, family=KEY)
    again.wordings.placed(KEY, 6, 5)
    assert by_family.answers.support(5) == 2
    assert (await again.of()).answers.support(5) == 2
    await again.partitions.stop()


def test_merged_answers_are_counted_together() -> None:
    answers = Answers(entries={7: 9}, same={2: 1, 3: 2})
    assert recounted(answers, {3: 2, 5: 4}) == {1: 4, 5: 4}
    assert recounted(Answers(), {}) == {}
