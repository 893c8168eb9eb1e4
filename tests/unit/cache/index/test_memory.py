"""The index in memory finds what comparing with all finds, whatever was added and removed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.cache import CacheAway, Vectors
from extproc.cache.index import groups, memory, open_index, partition
from extproc.cache.index.memory import MemoryIndex
from tests.unit.cache.index.vectors import DIM, around_topics, by_hand, close_to, unit

HALF = 2e-3
"""What half precision may be out by, of 32 numbers of up to 1."""


@asynccontextmanager
async def an_index(dim: int = DIM) -> AsyncIterator[MemoryIndex]:
    index = MemoryIndex("static-1-32", dim)
    try:
        yield index
    finally:
        await index.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions outgrow their rows early, and searches of what is grouped go to a thread."""
    monkeypatch.setattr(partition, "FLAT", 200)
    monkeypatch.setattr(memory, "_INLINE", 100 * DIM)


async def test_nearest_first_with_their_cosines() -> None:
    async with an_index() as index:
        rows = around_topics(300)
        await index.add(b"p", range(300), rows)
        asked = close_to(rows[:1])[0]
        found = await index.search(b"p", asked, 8)
        wanted = by_hand(dict(enumerate(rows)), asked, 8)
        assert [one.entry for one in found] == [entry for entry, _ in wanted]
        assert [one.score for one in found] == pytest.approx([s for _, s in wanted], abs=HALF)


async def test_the_same_question_scores_one() -> None:
    async with an_index(256) as index:
        rows = around_topics(100, dim=256)
        await index.add(b"p", range(100), rows)
        for entry in range(100):
            (found,) = await index.search(b"p", rows[entry], 1)
            assert found.entry == entry
            assert 0.9999 < found.score <= 1.0


async def test_a_partition_never_sees_another() -> None:
    async with an_index() as index:
        rows = around_topics(40)
        await index.add(b"a", range(20), rows[:20])
        await index.add(b"b", range(20, 40), rows[20:])
        for entry in range(20):
            assert all(one.entry >= 20 for one in await index.search(b"b", rows[entry], 20))
        assert await index.search(b"c", rows[0], 8) == []


async def test_an_entry_is_in_one_place_only() -> None:
    async with an_index() as index:
        rows = around_topics(3)
        await index.add(b"a", [7], rows[:1])
        await index.add(b"b", [7, 7], rows[1:])
        assert await index.search(b"a", rows[0], 8) == []
        (found,) = await index.search(b"b", rows[2], 8)
        assert found.score > 0.99
        assert await index.size() == len(index) == 1


async def test_what_is_removed_is_not_found_from_then_on() -> None:
    async with an_index() as index:
        rows = around_topics(50)
        await index.add(b"p", range(50), rows)
        assert await index.remove([3, 4, 99]) == 2
        assert {one.entry for one in await index.search(b"p", rows[3], 50)} == {*range(50)} - {3, 4}
        assert await index.remove(range(50)) == 48
        assert await index.search(b"p", rows[3], 8) == []
        assert not index._partitions


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        ([1], np.zeros((1, DIM), np.float32)),
        ([1], np.full((1, DIM), 1.0, np.float32)),
        ([1], np.full((1, DIM), np.nan, np.float32)),
        ([1, 2], around_topics(1)),
        ([1], around_topics(1, dim=DIM + 1)),
        ([-1], around_topics(1)),
        ([1 << 63], around_topics(1)),
    ],
    ids=["zero", "long", "nan", "ids", "width", "negative", "large"],
)
async def test_what_would_be_near_to_everything_is_turned_down(ids: Any, rows: Vectors) -> None:
    async with an_index() as index:
        with pytest.raises(ValueError, match=r"length|shape|negative|63"):
            await index.add(b"p", ids, rows)
        assert await index.size() == 0


async def test_a_question_of_another_width_is_turned_down() -> None:
    async with an_index() as index:
        await index.add(b"p", [1], around_topics(1))
        with pytest.raises(ValueError, match="31"):
            await index.search(b"p", around_topics(1, dim=31)[0], 8)


async def test_a_question_that_is_no_number_finds_nothing() -> None:
    async with an_index() as index:
        await index.add(b"p", [1], around_topics(1))
        assert await index.search(b"p", np.full(DIM, np.nan, np.float32), 8) == []


_IDS = st.integers(0, 40) | st.sampled_from([(1 << 63) - 1, 1 << 40, 1024, 2048])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([b"a", b"b"]), st.lists(_IDS, max_size=30)),
        st.tuples(st.just("remove"), st.just(b""), st.lists(_IDS, max_size=30)),
    ),
    max_size=30,
)


@given(_STEPS, st.integers(0, 1000))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_adding_and_removing_in_any_order(steps: list[Any], seed: int) -> None:
    await _play(steps, seed)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(1, 400)), max_size=12),
    st.integers(0, 1000),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.usefixtures("small")
async def test_in_any_order_while_partitions_are_regrouped(
    steps: list[tuple[str, int]], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    await _play(
        [
            (what, draw.choice([b"a", b"b"]), draw.integers(0, 900, many).tolist())
            for what, many in steps
        ],
        seed,
    )


async def _play(steps: list[Any], seed: int) -> None:
    """Whatever is found is there, in its partition, with its score; and the nearest is found as
    long as all are compared."""
    draw = np.random.default_rng(seed)
    kept: dict[bytes, dict[int, Vectors]] = {b"a": {}, b"b": {}}
    async with an_index() as index:
        for number, (what, where, ids) in enumerate(steps):
            for entries in kept.values():
                for entry in ids:
                    entries.pop(entry, None)
            if what == "add":
                rows = around_topics(len(ids), seed + number).reshape(-1, DIM)
                await index.add(bytes(where), ids, rows)
                kept[bytes(where)].update(zip(ids, rows, strict=True))
            else:
                await index.remove(ids)
            asked = unit(draw.standard_normal((1, DIM), np.float32))[0]
            for partition_, entries in kept.items():
                await _agree(index, partition_, entries, asked)
        assert await index.size() == sum(map(len, kept.values()))
        await index.settled()
        for partition_, entries in kept.items():
            for entry in list(entries)[:20]:
                (found,) = await index.search(partition_, entries[entry], 1, 10.0)
                assert found.score > 1 - HALF


async def _agree(
    index: MemoryIndex, partition_: bytes, entries: dict[int, Vectors], asked: Vectors
) -> None:
    found = await index.search(partition_, asked, 8, 10.0)
    assert len({one.entry for one in found}) == len(found) <= min(8, len(entries))
    for one in found:
        assert one.score == pytest.approx(float(entries[one.entry] @ asked), abs=HALF)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    held = index._partitions.get(partition_)
    if held is not None and not held.groups:
        wanted = by_hand(entries, asked, 8)
        assert [one.score for one in found] == pytest.approx([s for _, s in wanted], abs=HALF)


async def test_recall_of_a_partition_in_groups() -> None:
    rows = around_topics(30_000, dim=64, topics=2000)
    async with an_index(64) as index:
        for at in range(0, len(rows), 500):
            await index.add(b"p", range(at, at + 500), rows[at : at + 500])
        await index.settled()
        held = index._partitions[b"p"]
        assert held.groups
        assert not held.loose.parts
        asked = close_to(rows[::100], noise=0.5)
        best = np.argmax(asked @ rows.T, axis=1)
        hits = 0
        for row, wanted in zip(asked, best, strict=True):
            (found,) = await index.search(b"p", row, 1, 10.0)
            hits += found.entry == wanted
        assert hits >= 0.98 * len(asked)


@pytest.mark.usefixtures("small")
async def test_searches_go_on_while_a_partition_is_regrouped() -> None:
    rows = around_topics(4000)
    async with an_index() as index:
        await index.add(b"p", range(1000), rows[:1000])
        await index.settled()
        adding = asyncio.create_task(index.add(b"p", range(1000, 4000), rows[1000:]))
        removed = set[int]()
        misses = searches = during = 0
        while not adding.done() or index._tasks:
            entry = searches % 1000
            if entry in removed:
                entry = 999
            (found,) = await index.search(b"p", rows[entry], 1, 10.0)
            assert found.entry not in removed
            misses += found.score < 1 - HALF
            if entry % 10 == 0:
                await index.remove([entry])
                removed.add(entry)
            searches += 1
            during += bool(index._tasks)
            await asyncio.sleep(0)
        await adding
        assert during > 5
        assert misses == 0
        assert await index.size() == 4000 - len(removed)


@pytest.mark.usefixtures("small")
async def test_a_partition_that_is_emptied_while_it_is_regrouped() -> None:
    async with an_index() as index:
        rows = around_topics(600)
        await index.add(b"p", range(600), rows)
        assert index._tasks
        await index.remove(range(600))
        await index.add(b"p", [5], rows[5:6])
        await index.settled()
        assert [one.entry for one in await index.search(b"p", rows[5], 8)] == [5]
        assert await index.size() == 1


@pytest.mark.usefixtures("small")
async def test_vectors_that_are_all_the_same() -> None:
    async with an_index() as index:
        rows = np.repeat(around_topics(1), 3000, axis=0)
        await index.add(b"p", range(3000), rows)
        await index.settled()
        assert len(await index.search(b"p", rows[0], 8, 10.0)) == 8
        assert await index.remove(range(3000)) == 3000


@pytest.mark.usefixtures("small")
async def test_a_search_past_its_deadline_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_index() as index:
        rows = around_topics(150)
        await index.add(b"p", range(150), rows)
        monkeypatch.setattr(
            partition.Partition,
            "nearest",
            lambda *_: time.sleep(0.2),  # a machine that is busy
        )
        started = asyncio.get_running_loop().time()
        with pytest.raises(CacheAway):
            await index.search(b"p", rows[0], 8)
        assert asyncio.get_running_loop().time() - started < 0.15


@pytest.mark.usefixtures("small")
async def test_a_closed_index_is_away() -> None:
    index = MemoryIndex("static-1-32", DIM)
    await index.add(b"p", range(150), around_topics(150))
    await index.close()
    with pytest.raises(CacheAway):
        await index.search(b"p", around_topics(1)[0], 8)


@pytest.mark.usefixtures("small")
async def test_what_goes_while_a_thread_searches_is_not_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_index() as index:
        rows = around_topics(150)
        await index.add(b"p", range(150), rows)
        hold = Hold(monkeypatch)
        monkeypatch.setattr(partition.Partition, "nearest", hold.after(partition.Partition.nearest))
        searching = asyncio.create_task(index.search(b"p", rows[0], 150, 10.0))
        await hold.reached.wait()
        await index.remove([0])
        await index.add(b"q", [1], rows[1:2])
        await index.add(b"p", [2], rows[100:101])
        hold.go_on.set()
        found = {one.entry: one.score for one in await searching}
        assert found.keys() == {*range(2, 150)}
        assert found[2] == pytest.approx(float(rows[100] @ rows[0]), abs=HALF)


@pytest.mark.usefixtures("small")
async def test_what_is_removed_right_after_it_was_added_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_index() as index:
        rows = around_topics(500)
        await index.add(b"p", range(300), rows[:300])
        await index.settled()
        hold = Hold(monkeypatch)
        monkeypatch.setattr(groups.Groups, "each", hold.after(groups.Groups.each))
        adding = asyncio.create_task(index.add(b"p", range(300, 500), rows[300:]))
        await hold.reached.wait()
        removing = asyncio.create_task(index.remove(range(300, 500)))
        await asyncio.sleep(0)
        hold.go_on.set()
        await adding
        assert await removing == 200
        assert await index.size() == 300


@pytest.mark.usefixtures("small")
async def test_rows_whose_groups_are_replaced_meanwhile_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_index() as index:
        rows = around_topics(600)
        await index.add(b"p", range(300), rows[:300])
        await index.settled()
        hold = Hold(monkeypatch)
        with monkeypatch.context() as patched:
            patched.setattr(groups.Groups, "each", hold.after(groups.Groups.each))
            adding = asyncio.create_task(index.add(b"p", range(300, 600), rows[300:]))
            await hold.reached.wait()
        held = index._partitions[b"p"]
        before = held.groups[0]
        index._regroup_soon(held)
        await index.settled()
        assert held.groups[0] is not before
        hold.go_on.set()
        await adding
        await index.settled()
        for entry in range(300, 600):
            (found,) = await index.search(b"p", rows[entry], 1, 10.0)
            assert found.score > 1 - HALF


class Hold:
    """A thread that has done its work goes on when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_INLINE", 0)
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.go_on = threading.Event()

    def after(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def held(*given: Any) -> Any:
            answer = call(*given)
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self.go_on.wait(10)
            return answer

        return held


async def test_the_place_of_vectors_chooses_the_index() -> None:
    index = open_index(None, "static-1-32", DIM)
    assert isinstance(index, MemoryIndex)
    assert (index.embedder, index.dim, index.shared) == ("static-1-32", DIM, False)
    await index.close()
    with pytest.raises(ValueError, match="postgresql://"):
        open_index("mysql://there", "static-1-32", DIM)
    with pytest.raises(ValueError, match="4000"):
        open_index("postgresql://there", "wide", 4096)
    shared = open_index("postgresql://there", "static-1-32", DIM)
    assert shared.shared
    await shared.close()
