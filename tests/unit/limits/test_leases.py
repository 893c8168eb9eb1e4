from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limits.leases import RENEWED_AFTER, SHARE, Leases, Seen, leased, window
from extproc.state.counters import Counter, Standing, Take
from tests.unit.limits.flaky import Clock

NOW = 1_800_000_000.0
DAY = (NOW - 90_000, NOW - 3600, NOW + 82_800, NOW + 169_200)
BUDGET = Counter("usd", "window", 100_000, params=DAY, closed=True)
HOURLY = Counter("tokens", "bucket", 36_000, rate=10.0, period=3600.0, closed=True)


@pytest.mark.parametrize(
    ("now", "index"),
    [(DAY[0] - 5, 0), (DAY[0], 0), (NOW, 1), (DAY[1], 1), (DAY[2], 2), (DAY[3], 2), (1e12, 2)],
)
def test_a_window_is_the_one_that_the_stores_choose(now: float, index: int) -> None:
    assert window(BUDGET, now) == (DAY[index], DAY[index + 1])


def test_what_needs_a_lease() -> None:
    assert leased(Take(BUDGET, 1))
    assert not leased(Take(BUDGET, 1, force=True))
    assert not leased(Take(BUDGET, 1, guard=0))
    assert not leased(Take(Counter("a", "concurrent", 1, closed=True), 1))
    assert not leased(Take(Counter("a", "bucket", 1), 1))


def test_what_was_seen_is_remembered_until_its_window_ends() -> None:
    clock = Clock(50.0)
    seen = Seen(clock)
    seen.note([Take(BUDGET, 5)], [Standing(400, 0, 82_800, DAY[1])])
    assert seen.remaining(BUDGET, NOW) == 99_600
    seen.add(BUDGET.key, -100)
    assert seen.remaining(BUDGET, NOW) == 99_700
    clock.at += 82_800
    assert seen.remaining(BUDGET, NOW + 82_800) == 100_000


def test_a_bucket_flows_back_since_it_was_seen() -> None:
    clock = Clock(50.0)
    seen = Seen(clock)
    seen.note([Take(HOURLY, 5)], [Standing(36_000, 0, 3600)])
    assert seen.remaining(HOURLY, NOW) == 0
    clock.at += 60
    assert seen.remaining(HOURLY, NOW) == 600


def test_a_million_counters_take_bounded_room() -> None:
    seen = Seen(Clock(), most=100)
    for number in range(1000):
        counter = Counter(f"user {number}", "window", 10, params=DAY)
        seen.note([Take(counter, 1)], [Standing(1, 0, 100)])
    assert len(seen) == 100
    leases = Leases(seen, Clock(), most=10)
    taken = [
        leases.take([Take(Counter(f"{number}", "bucket", 1e6, closed=True), 1)], 1, NOW)
        for number in range(20)
    ]
    assert taken == [True] * 10 + [False] * 10


def test_buckets_by_the_minute_are_not_remembered() -> None:
    seen = Seen(Clock())
    seen.note([Take(Counter("a", "bucket", 1), 1)], [Standing(1, 0, 1)])
    assert len(seen) == 0


def test_all_or_nothing() -> None:
    leases = Leases(Seen(Clock()), Clock())
    other = Counter("other", "bucket", 100_000, closed=True)
    assert leases.take([Take(BUDGET, 500), Take(other, 1000)], 1, NOW)
    assert not leases.take([Take(BUDGET, 500), Take(other, 1)], 1, NOW)
    assert leases.take([Take(BUDGET, 500)], 1, NOW)


def test_a_lease_is_kept_for_a_while_though_the_store_has_been_told() -> None:
    clock = Clock(0.0)
    leases = Leases(Seen(clock), clock)
    assert leases.take([Take(BUDGET, 1000)], 1, NOW)
    leases.renew()
    assert not leases.take([Take(BUDGET, 1)], 1, NOW)
    clock.at += RENEWED_AFTER
    leases.renew()
    assert leases.take([Take(BUDGET, 1)], 1, NOW)


@given(
    known=st.none() | st.integers(0, 120_000),
    processes=st.integers(1, 16),
    amounts=st.lists(st.integers(1, 3000), max_size=60),
)
def test_a_lease_is_never_passed(known: int | None, processes: int, amounts: list[int]) -> None:
    seen = Seen(Clock())
    if known is not None:
        seen.note([Take(BUDGET, 0)], [Standing(known, 0, 1000)])
    leases = Leases(seen, Clock())
    spent = sum(amount for amount in amounts if leases.take([Take(BUDGET, amount)], processes, NOW))
    left = BUDGET.most
    if known:
        left = max(0.0, BUDGET.most - known) / processes
    assert spent <= left
    first = amounts[0] if amounts else 0
    assert spent <= max(BUDGET.most * SHARE / processes, first) + 1e-6
