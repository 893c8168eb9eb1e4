"""Counters and reservations in Redis: several processes, one count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from extproc.state import StateError
from extproc.state.counters import (
    LEASE,
    Ask,
    Correction,
    Counter,
    Crossed,
    Option,
    Outcome,
    Settled,
    Take,
)
from extproc.state.shared_limits import SharedLimits

DAY = 86_400.0
START = 1_000 * DAY

Opener = Callable[..., SharedLimits]


class Clock:
    """Both of a test's clocks; they go on together."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> tuple[float, float]:
        return self.now, self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def opened(redis_url: str, clock: Clock) -> AsyncIterator[Opener]:
    stores: list[SharedLimits] = []

    def make(owner: str | None = None, *, timed: bool = True) -> SharedLimits:
        stores.append(SharedLimits(redis_url, owner=owner, clock=clock if timed else None))
        return stores[-1]

    yield make
    for store in stores:
        await store.stop()


@pytest.fixture
def store(opened: Opener) -> SharedLimits:
    return opened("a")


def bucket(most: float = 100, rate: float = 10, **more: Any) -> Counter:
    return Counter("bucket", "bucket", most, rate, more.pop("period", most / rate), **more)


def window(most: float = 100, **more: Any) -> Counter:
    bounds = (START - DAY, START, START + DAY, START + 2 * DAY)
    return Counter("window", "window", most, params=bounds, **more)


def rolling(most: float = 100, **more: Any) -> Counter:
    return Counter("rolling", "rolling", most, period=60.0, **more)


def concurrent(most: float = 2) -> Counter:
    return Counter("concurrent", "concurrent", most)


def asking(name: str, *takes: Take, **more: Any) -> Ask:
    return Ask(name, takes, **more)


def settling(ask: Ask, outcome: Outcome, *used: int, **more: Any) -> Settled:
    return Settled(ask.id, ask.takes, outcome.takes, used, **more)


async def used(store: SharedLimits, *counters: Counter) -> list[float]:
    return [round(standing.used, 6) for standing in await store.peek(counters)]


@pytest.mark.parametrize("counter", [bucket(), window(), rolling(), concurrent(100)])
async def test_a_limit_is_taken_up_to_the_last_unit_and_no_further(
    store: SharedLimits, counter: Counter
) -> None:
    assert (await store.admit(asking("1", Take(counter, 60)))).what == "granted"
    assert (await store.admit(asking("2", Take(counter, 40)))).what == "granted"
    denied = await store.admit(asking("3", Take(counter, 1)))
    assert denied.what == "denied"
    assert denied.takes[0].used == 100
    assert denied.takes[0].wait != 0


async def test_several_limits_are_taken_all_or_none(store: SharedLimits) -> None:
    await store.admit(asking("1", Take(window(), 90)))
    denied = await store.admit(asking("2", Take(bucket(), 20), Take(window(), 20)))
    assert denied.what == "denied"
    assert [one.wait for one in denied.takes] == [0, DAY]
    assert await used(store, bucket(), window()) == [0, 90]


async def test_one_counter_twice_in_an_ask_counts_twice(store: SharedLimits) -> None:
    twice = asking("1", Take(bucket(), 60), Take(bucket(), 60))
    assert (await store.admit(twice)).what == "denied"


async def test_a_bucket_says_when_there_will_be_enough(store: SharedLimits, clock: Clock) -> None:
    await store.admit(asking("1", Take(bucket(), 100)))
    denied = await store.admit(asking("2", Take(bucket(), 25)))
    assert denied.takes[0].wait == 2.5
    clock.now += 2.5
    assert (await store.admit(asking("2", Take(bucket(), 25)))).what == "granted"


async def test_a_window_starts_anew_at_its_boundary(store: SharedLimits, clock: Clock) -> None:
    clock.now += DAY - 1
    await store.admit(asking("1", Take(window(), 100)))
    denied = await store.admit(asking("2", Take(window(), 1)))
    assert denied.takes[0].wait == 1
    clock.now += 1
    granted = await store.admit(asking("2", Take(window(), 1)))
    assert granted.takes[0].used == 1
    assert granted.takes[0].at == START + DAY


async def test_a_rolling_window_never_has_more_than_its_most_in_any_period(
    store: SharedLimits, clock: Clock
) -> None:
    taken: list[float] = []
    for step in range(400):
        clock.now += 0.7
        if (await store.admit(asking(str(step), Take(rolling(10), 1)))).what == "granted":
            taken.append(clock.now)
    assert len(taken) > 30
    assert all(later - first > 60 for first, later in zip(taken, taken[10:], strict=False))


async def test_settling_exchanges_what_was_reserved_for_what_was_used(store: SharedLimits) -> None:
    ask = asking(
        "1", *(Take(counter, 50) for counter in (bucket(), window(), rolling())),
        Take(concurrent(), 1),
    )  # fmt: skip
    outcome = await store.admit(ask)
    store.settle(settling(ask, outcome, 20, 70, 10, 0))
    counters = (bucket(), window(), rolling(), concurrent())
    assert await used(store, *counters) == [20, 70, 10, 0]
    store.settle(settling(ask, outcome, 20, 70, 10, 0))
    assert await used(store, *counters) == [20, 70, 10, 0]


async def test_settling_in_another_window_leaves_that_one_alone(
    store: SharedLimits, clock: Clock
) -> None:
    ask = asking("1", Take(window(), 50))
    outcome = await store.admit(ask)
    clock.now += DAY
    store.settle(settling(ask, outcome, 80))
    assert await used(store, window()) == [0]


async def test_a_dead_owner_gives_everything_back_and_is_charged_if_it_was_not_dead(
    opened: Opener, clock: Clock
) -> None:
    dead, living = opened("dead"), opened("living")
    await dead.beat()
    ask = asking("1", Take(window(), 50), Take(concurrent(), 1))
    outcome = await dead.admit(ask)
    for _ in range(6):
        clock.now += LEASE / 5
        await living.beat()
        if clock.now <= START + LEASE:
            assert await used(living, window(), concurrent()) == [50, 1]
    assert await used(living, window(), concurrent()) == [0, 0]
    assert living.figures()["owners"]["alive"] == 1
    for _ in range(2):
        dead.settle(settling(ask, outcome, 30, 0))
        await dead.ping()
        assert await used(living, window(), concurrent()) == [30, 0]


async def test_after_redis_was_away_for_long_nobody_is_taken_for_dead(
    opened: Opener, clock: Clock
) -> None:
    one, other = opened("one"), opened("other")
    await one.beat()
    await other.beat()
    await one.admit(asking("1", Take(concurrent(), 1)))
    clock.now += 100 * LEASE
    await other.beat()
    assert await used(other, concurrent()) == [1]
    await one.beat()
    clock.now += LEASE
    await other.beat()
    assert await used(other, concurrent()) == [1]


async def test_leaving_gives_everything_back_and_is_the_end(store: SharedLimits) -> None:
    ask = asking("1", Take(bucket(), 50), Take(concurrent(), 1))
    outcome = await store.admit(ask)
    store.leave("1")
    assert await used(store, bucket(), concurrent()) == [0, 0]
    store.settle(settling(ask, outcome, 50, 0))
    assert await used(store, bucket(), concurrent()) == [0, 0]


async def test_an_id_that_is_held_is_granted_again_and_takes_nothing(store: SharedLimits) -> None:
    ask = asking("1", Take(bucket(), 50))
    first = await store.admit(ask)
    assert await store.admit(ask) == first
    assert await used(store, bucket()) == [50]


async def test_what_was_never_reserved_is_charged_in_full_unless_told_otherwise(
    store: SharedLimits,
) -> None:
    ask = asking("1", Take(window(), 50))
    store.settle(Settled("1", ask.takes, (), (30,), only_held=True))
    assert await used(store, window()) == [0]
    store.settle(Settled("1", ask.takes, (), (30,)))
    assert await used(store, window()) == [30]


async def test_another_process_settles_what_was_reserved_for_it(opened: Opener) -> None:
    gateway, target = opened("gateway"), opened("target")
    ask = asking("1/t", Take(bucket(), 50), Take(concurrent(), 1), owner="gateway")
    assert (await target.admit(ask)).what == "granted"
    gateway.settle(Settled("1/t", ask.takes, (), (10, 0), only_held=True))
    assert await used(gateway, bucket(), concurrent()) == [10, 0]


async def test_what_is_only_observed_counts_and_says_that_it_would_not_have_fitted(
    store: SharedLimits,
) -> None:
    forced = Take(bucket(), 60, force=True)
    assert (await store.admit(asking("1", forced))).takes[0].wait == 0
    granted = await store.admit(asking("2", forced))
    assert granted.what == "granted"
    assert granted.takes[0].wait == 2
    assert granted.takes[0].used == 120


async def test_the_first_option_with_room_is_taken(store: SharedLimits) -> None:
    first, second = (Counter(name, "concurrent", 10) for name in ("first", "second"))
    options = tuple(Option(one.key, (Take(one, 1),), high_water=0.9) for one in (first, second))
    chosen = [
        (await store.admit(Ask(str(number), (Take(bucket(), 1),), options))).option
        for number in range(21)
    ]
    assert chosen == [0] * 9 + [1] * 9 + [0, 1, -1]
    assert await used(store, first, second, bucket()) == [10, 10, 20]


async def test_a_refusal_says_of_each_option_when_it_has_room(store: SharedLimits) -> None:
    await store.admit(asking("1", Take(bucket(), 100), Take(concurrent(1), 1)))
    options = (
        Option("one", (Take(window(), 1), Take(bucket(), 10))),
        Option("two", (Take(bucket(), 10), Take(concurrent(1), 1))),
    )
    denied = await store.admit(Ask("2", (), options))
    assert denied.what == "denied"
    assert [level.wait for level in denied.levels] == [1, -1]


@pytest.mark.parametrize("counter", [bucket(warn=True), window(warn=True), rolling(warn=True)])
async def test_80_and_95_percent_are_said_once(
    store: SharedLimits, clock: Clock, counter: Counter
) -> None:
    events: list[Crossed] = []
    await store.start(events.append)

    async def spend(name: str, units: int) -> list[float]:
        events.clear()
        ask = asking(name, Take(counter, 0, force=True))
        store.settle(settling(ask, await store.admit(ask), units))
        await store.ping()
        return [event.share for event in events]

    assert await spend("1", 79) == []
    assert await spend("2", 1) == [0.8]
    assert await spend("3", 1) == []
    assert await spend("4", 15) == [0.95]
    assert await spend("5", 5) == []
    clock.now += DAY
    assert await spend("6", 99) == [0.95]


async def test_a_runaway_is_told_and_its_guarded_limit_holds_while_it_is_marked(
    store: SharedLimits, clock: Clock
) -> None:
    events: list[Crossed] = []
    await store.start(events.append)
    trend = Counter("trend", "trend", 0, params=(60.0, DAY, 10.0, 1.0, 3600.0, 600.0))
    slow = Counter("slow", "bucket", 1, 1 / 60, 60.0)
    takes = (Take(trend, 0), Take(slow, 1, guard=0))

    async def spend(name: str, units: int) -> str:
        ask = asking(name, *takes)
        outcome = await store.admit(ask)
        if outcome.what == "granted":
            store.settle(settling(ask, outcome, units, 1))
        return outcome.what

    for minute in range(120):
        clock.now += 60
        assert await spend(f"usual {minute}", 60) == "granted"
    assert events == []
    for minute in range(5):
        clock.now += 60
        await spend(f"runaway {minute}", 6_000)
    await store.ping()
    assert [(event.key, event.share) for event in events] == [("trend", 0)]
    assert events[0].used > 10 * events[0].usual > 0
    assert await spend("marked", 0) == "denied"
    clock.now += 700
    assert await spend("over", 0) == "granted"
    assert await spend("over", 0) == "granted"


async def test_a_providers_word_is_taken(store: SharedLimits, clock: Clock) -> None:
    store.correct([Correction(bucket(), remaining=30)])
    assert await used(store, bucket()) == [70]
    store.correct([Correction(bucket(), remaining=80)])
    assert await used(store, bucket()) == [70]
    store.correct([Correction(bucket(), until=20)])
    denied = await store.admit(asking("1", Take(bucket(), 1)))
    assert denied.takes[0].wait == 20
    clock.now += 20
    assert (await store.admit(asking("1", Take(bucket(), 100)))).what == "granted"


async def test_a_clock_that_goes_back_takes_nothing_away(store: SharedLimits, clock: Clock) -> None:
    await store.admit(asking("1", Take(bucket(), 100), Take(rolling(), 100)))
    clock.now -= 3600
    denied = await store.admit(asking("2", Take(bucket(), 10), Take(rolling(), 10)))
    assert [round(one.wait) for one in denied.takes] == [1, 61]
    clock.now += 61
    assert (await store.admit(asking("2", Take(bucket(), 10), Take(rolling(), 10)))).what


async def test_processes_that_race_take_exactly_what_there_is(opened: Opener) -> None:
    stores = [opened(str(number), timed=False) for number in range(4)]
    total = Counter("total", "bucket", 1000, 1e-6, 1e9)
    slots = Counter("slots", "concurrent", 7)
    most = 0

    async def work(store: SharedLimits, worker: int) -> int:
        nonlocal most
        got = 0
        for number in range(40):
            ask = asking(f"{store.owner} {worker} {number}", Take(total, 3), Take(slots, 1))
            outcome = await store.admit(ask)
            if outcome.what == "granted":
                most = max(most, int(outcome.takes[1].used))
                got += 3
                store.settle(settling(ask, outcome, 3, 0))
        return got

    got = await asyncio.gather(*(work(store, worker) for store in stores for worker in range(8)))
    for store in stores:
        await store.ping()
    assert most == 7
    assert sum(got) <= 1000
    assert await used(stores[0], total, slots) == [sum(got), 0]


async def test_idle_counters_are_forgotten(redis_url: str, opened: Opener) -> None:
    store = opened(timed=False)
    quick = [Counter(f"user {number}", "bucket", 10, 1000.0, 0.01) for number in range(50)]
    for number, counter in enumerate(quick):
        ask = asking(str(number), Take(counter, 1), Take(concurrent(100), 1))
        store.settle(settling(ask, await store.admit(ask), 10, 0))
    await store.ping()
    with redis.Redis.from_url(redis_url) as client:
        while client.keys("*:c:user*"):  # noqa: ASYNC110 - Redis forgets by itself
            await asyncio.sleep(0.05)
        assert client.keys("*:c:*") == []
        for key in client.keys("*"):
            assert b"{tollgate:limits}" in key


async def test_numbers_keep_their_digits(store: SharedLimits) -> None:
    large = window(2**53)
    granted = await store.admit(asking("1", Take(large, 2**53 - 1)))
    assert granted.takes[0].used == 2**53 - 1
    odd = Counter("odd", "bucket", 1 / 3, 1 / 7, 1.0)
    store.correct([Correction(odd, remaining=0.1)])
    (standing,) = await store.peek([odd])
    assert standing.used == 1 / 3 - 0.1


async def test_what_redis_refuses_is_an_error_and_not_sent_forever(store: SharedLimits) -> None:
    broken = Counter("broken", "window", 1, params=())
    with pytest.raises(StateError):
        await store.admit(asking("1", Take(broken, 1)))
    store.settle(Settled("1", (Take(broken, 1),), (), (1,)))
    await store.ping()
    assert store.figures()["behind"] == {"settlements": 0, "dropped": 1}
