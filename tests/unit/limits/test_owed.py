from __future__ import annotations

import pytest

from extproc.limits.owed import BATCH, TRIES, Owed
from extproc.state import StateError
from extproc.state.counters import Counter
from tests.unit.limits.flaky import Clock, Flaky

NOW = 1_800_000_000.0
DAY = (NOW - 90_000, NOW - 3600, NOW + 82_800, NOW + 169_200)
BUDGET = Counter("usd", "window", 1000, params=DAY)
MINUTE = Counter("rpm", "bucket", 60, rate=1.0, period=60)


def owed(clock: Clock, most: int = 100_000) -> Owed:
    return Owed("me", clock, clock, most)


async def used(store: Flaky, counter: Counter) -> float:
    return (await store.inner.peek([counter]))[0].used


async def test_many_counters_are_told_in_batches() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    counters = [Counter(f"user {one}", "window", 1000, params=DAY) for one in range(2 * BATCH + 5)]
    for counter in counters:
        debts.add(counter, 3, DAY[1], 1)
        debts.add(counter, 4, DAY[1], 1)
    assert len(debts) == len(counters)
    assert await debts.tell(store, 1) == len(counters)
    assert len(store.asked) == 3
    assert len(debts) == 0
    assert {await used(store, counter) for counter in counters} == {7.0}


async def test_it_is_told_beyond_the_limit_too() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(BUDGET, 5000, DAY[1], 1)
    await debts.tell(store, 1)
    assert await used(store, BUDGET) == 5000


async def test_what_comes_while_it_is_told_is_told_next() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(BUDGET, 10, DAY[1], 1)
    store.deaf = 1
    with pytest.raises(StateError):
        await debts.tell(store, 1)
    assert len(debts) == 1
    debts.add(BUDGET, 5, DAY[1], 1)
    await debts.tell(store, 1)
    assert await used(store, BUDGET) == 15


async def test_one_that_dies_before_it_settles_has_its_charge_given_back_not_doubled() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(BUDGET, 10, DAY[1], 1)
    store.deaf = 1
    with pytest.raises(StateError):
        await debts.tell(store, 1)
    store.inner.leave(store.asked[0])
    await debts.tell(store, 1)
    assert await used(store, BUDGET) == 10


async def test_what_has_flowed_back_is_owed_no_more() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(MINUTE, 40, 0.0, 2)
    clock.at += 20
    debts.add(MINUTE, 5, 0.0, 2)
    clock.at += 10
    await debts.tell(store, 2)
    assert await used(store, MINUTE) == 30


async def test_of_a_rolling_window_nothing_is_owed_after_its_length() -> None:
    clock = Clock(NOW)
    rolling = Counter("r", "rolling", 60, period=60.0)
    debts, store = owed(clock), Flaky(clock)
    debts.add(rolling, 60, 0.0, 1)
    clock.at += 61
    assert await debts.tell(store, 1) == 0
    assert await used(store, rolling) == 0


async def test_counts_at_once_and_trends_are_not_told() -> None:
    clock = Clock(NOW)
    debts = owed(clock)
    debts.add(Counter("c", "concurrent", 5), 1, 0.0, 1)
    debts.add(Counter("t", "trend", 0, params=(1, 2, 3, 4, 5, 6)), 1, 0.0, 1)
    debts.add(BUDGET, 0, DAY[1], 1)
    debts.add(BUDGET, -5, DAY[1], 1)
    assert len(debts) == 0


async def test_a_window_that_is_over_is_forgotten() -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(BUDGET, 10, DAY[1], 1)
    debts.add(BUDGET, 4, DAY[2], 1)
    debts.add(BUDGET, 7, DAY[1], 1)
    clock.at = DAY[2] + 5
    await debts.tell(store, 1)
    assert await used(store, BUDGET) == 4


async def test_it_takes_bounded_room_and_counts_what_is_lost() -> None:
    debts = owed(Clock(NOW), most=10)
    for one in range(15):
        debts.add(Counter(f"{one}", "window", 10, params=DAY), 1, DAY[1], 1)
    assert (len(debts), debts.lost) == (10, 5)


async def test_what_no_store_will_take_keeps_nothing_else_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(NOW)
    debts, store = owed(clock), Flaky(clock)
    debts.add(BUDGET, 10, DAY[1], 1)
    store.down = True
    for _ in range(TRIES - 1):
        with pytest.raises(StateError):
            await debts.tell(store, 1)
    assert await debts.tell(store, 1) == 0
    assert (len(debts), debts.lost) == (0, 1)
    assert "it is lost" in caplog.text
