from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.limits.shares import NOTHING, SKIPPED, corrections, counter_share, share, whole
from extproc.state.counters import (
    Ask,
    Correction,
    Counter,
    Option,
    Outcome,
    Place,
    Standing,
    Take,
)

MINUTE = Counter("rpm", "bucket", 60, rate=1.0, period=60, warn=True, lasting=True)
BUDGET = Counter("usd", "bucket", 1000, closed=True)
TREND = Counter("trend", "trend", 0, params=(1, 2, 3, 4, 5, 6))
AT_ONCE = Counter("once", "concurrent", 10)


def all_(counter: Counter) -> float:
    return counter.most


def test_only_what_this_process_decides_alone_is_in_its_ask() -> None:
    takes = (
        Take(TREND, 0),
        Take(MINUTE, 1, guard=0),
        Take(BUDGET, 5),
        Take(MINUTE, 2, force=True),
        Take(AT_ONCE, 1, queue=True),
        Take(MINUTE, 3),
    )
    found = share(Ask("1", takes), 4, all_, foreign=False)
    assert found.places == (-1, -1, -1, -1, 0, 1)
    assert [take.counter.key for take in found.ask.takes] == ["once", "rpm"]
    assert found.ask.takes[0].queue
    assert found.leases == [takes[2]]
    assert not found.empty
    outcome = Outcome("denied", 0.0, (Standing(1, -1, 0), Standing(15, 3, 15)))
    said = whole(found, outcome, lambda _: Standing(7, 0, 9))
    assert said.takes == (
        Standing(7, 0, 9),
        SKIPPED,
        Standing(7, 0, 9),
        Standing(7, 0, 9),
        Standing(10, -1, 9),
        Standing(60, 3, 15),
    )


@given(
    most=st.integers(1, 10**15),
    processes=st.integers(1, 300),
    amount=st.integers(0, 10**6),
    kind=st.sampled_from(["bucket", "window", "rolling", "concurrent"]),
)
def test_a_share_holds_one_unit_and_the_request_and_not_much_more(
    most: int, processes: int, amount: int, kind: str
) -> None:
    counter = Counter("k", kind, most, rate=3.0, params=(0, 1, 2, 3), lasting=True, warn=True)  # type: ignore[arg-type]  # drawn
    found = counter_share(counter, amount, processes, all_)
    assert found.most >= 1
    assert found.most <= max(1.0, most / processes, amount)
    if kind in ("bucket", "concurrent"):
        assert found.most >= amount
    assert found.rate == 3.0 / processes
    assert not found.lasting
    assert not found.warn


def test_depths_of_the_queue_are_shared() -> None:
    place = Place("p", 0, 1.0, "t", "f", 1.0, 9.0, 1000, 100, 10, 1)
    found = share(Ask("1", (Take(MINUTE, 1),), place=place), 4, all_, foreign=False)
    assert found.ask.place is not None
    depths = found.ask.place
    assert (depths.depth, depths.class_depth, depths.tenant_depth, depths.feature_depth) == (
        250, 25, 3, 1,
    )  # fmt: skip
    assert depths.ttl == 9.0


def test_what_runs_at_once_is_not_counted_for_whom_nobody_here_hears_of() -> None:
    option = Option("gpt", (Take(AT_ONCE, 1), Take(MINUTE, 1)), 0.9)
    found = share(Ask("1", (), (option,)), 2, all_, foreign=True)
    assert [take.counter.key for take in found.ask.options[0].takes] == ["rpm"]
    assert found.ask.options[0].high_water == 0.9
    outcome = Outcome("granted", 0.0, option=0, levels=(Standing(1, 0, 2),))
    assert whole(found, outcome, lambda _: NOTHING).levels == (NOTHING, Standing(2, 0, 2))


def test_a_window_of_which_nothing_is_left_says_when_it_ends() -> None:
    window = Counter("w", "window", 100, params=(0, 10, 20, 30))
    found = share(Ask("1", (Take(window, 1),)), 2, lambda _: 0.0, foreign=False)
    assert found.ask.takes[0].counter.most == 0
    outcome = Outcome("denied", 0.0, (Standing(0, -1, 4),))
    assert whole(found, outcome, lambda _: Standing(100, 0, 7)).takes == (Standing(100, 7, 7),)


def test_what_a_provider_leaves_to_all_is_shared() -> None:
    (found,) = corrections([Correction(MINUTE, 30.0, 5.0)], 3)
    assert (found.counter.most, found.remaining, found.until) == (20.0, 10.0, 5.0)
