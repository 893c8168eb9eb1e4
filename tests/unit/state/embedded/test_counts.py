"""Counts are forgotten when idle, and come back after a restart."""

from __future__ import annotations

import math

import pytest

from extproc.state.counters import Counter, Saved
from extproc.state.embedded.counting import Count, Now
from extproc.state.embedded.counts import Counts


def bucket(key: str) -> Counter:
    return Counter(key, "bucket", 10.0, 1.0, 10.0)


DAY = Counter("day", "window", 100.0, params=(0.0, 100.0, 200.0, 300.0), lasting=True)
HOUR = Counter("hour", "bucket", 100.0, 0.1, 1000.0, lasting=True)
MINUTE = Counter("minute", "rolling", 100.0, period=60.0, lasting=True)
AT_ONCE = Counter("at once", "concurrent", 5.0, lasting=True)
LASTING = (DAY, HOUR, MINUTE, AT_ONCE)


def test_two_hundred_thousand_users_leave_nothing_behind() -> None:
    counts = Counts()
    most = 0
    for user in range(200_000):
        now = Now(user * 0.01, 0.0)
        counts.tidy(now)
        counter = bucket(f"user {user}")
        counts.get(counter).take(counter, 10, 0.0, now)
        most = max(most, len(counts))
    # Each is in use for ten seconds, in which a thousand come.
    assert most < 3000
    counts.sweep(len(counts), Now(1e6, 0.0))
    assert len(counts) == 0


def test_what_is_in_use_is_kept() -> None:
    counts = Counts()
    used = bucket("used")
    counts.get(used).take(used, 10, 0.0, Now(0.0, 0.0))
    for user in range(1000):
        counts.get(bucket(f"user {user}"))
        counts.tidy(Now(9.0, 0.0))
    assert counts.get(used).wait(used, 10, Now(9.0, 0.0)) == pytest.approx(1.0)


def test_a_counter_of_another_kind_begins_anew() -> None:
    counts = Counts()
    counts.get(bucket("x")).take(bucket("x"), 10, 0.0, Now(0.0, 0.0))
    running = Counter("x", "concurrent", 1.0)
    assert counts.get(running).wait(running, 1, Now(0.0, 0.0)) == 0


def _use(counts: Counts, counter: Counter, amount: int, now: Now) -> float:
    at = counts.get(counter).take(counter, amount, 0.0, now).at
    counts.changed(counter)
    return at


def _restarted(saved: list[Saved], now: Now) -> Counts:
    counts = Counts()
    counts.load(saved, now)
    return counts


def _used(counts: Counts, counter: Counter, now: Now) -> float:
    return counts.get(counter).standing(counter, 0.0, now).used


def test_what_lasts_is_the_same_after_a_restart_with_another_steady_clock() -> None:
    counts, before = Counts(), Now(50.0, 150.0)
    for counter in LASTING:
        _use(counts, counter, 5, before)
    _use(counts, bucket("short"), 5, before)
    saved = counts.save((), before)
    assert {each.key for each in saved} == {"day", "hour", "minute", "at once"}
    after = Now(900_010.0, 160.0)  # ten seconds later by the wall
    again = _restarted(saved, after)
    assert _used(again, DAY, after) == 5
    assert _used(again, HOUR, after) == pytest.approx(4.0)
    assert _used(again, MINUTE, after) == 5
    assert _used(again, AT_ONCE, after) == 0
    # No slice is gone before its time, and none is kept for more than one longer.
    assert _used(again, MINUTE, Now(900_059.9, 209.9)) == 5
    assert _used(again, MINUTE, Now(900_063.0, 213.0)) == 0


def test_what_is_only_held_is_not_saved() -> None:
    counts, now = Counts(), Now(50.0, 150.0)
    held = []
    for counter in (DAY, HOUR, MINUTE):
        _use(counts, counter, 30, now)
        held.append((counter, 20, _use(counts, counter, 20, now)))
    again = _restarted(counts.save(held, now), now)
    assert [_used(again, counter, now) for counter in (DAY, HOUR, MINUTE)] == [30, 30, 30]


def test_each_change_is_saved_once() -> None:
    counts, now = Counts(), Now(50.0, 150.0)
    _use(counts, DAY, 1, now)
    _use(counts, DAY, 1, now)
    assert [each.key for each in counts.save((), now)] == ["day"]
    assert counts.save((), now) == []


def test_what_is_over_is_not_loaded() -> None:
    counts, now = Counts(), Now(50.0, 150.0)
    for counter in (DAY, HOUR, MINUTE):
        _use(counts, counter, 5, now)
    assert len(_restarted(counts.save((), now), Now(50.0, 5000.0))) == 0


@pytest.mark.parametrize(
    "saved",
    [
        Saved("x", "window", (), 1e9),
        Saved("x", "bucket", (1.0,), 1e9),
        Saved("x", "bucket", (math.nan, 0.0, 0.0, 0.0), 1e9),
        Saved("x", "rolling", (0.0, 0.0, 0.0, 5.0, 5.0), 1e9),
        Saved("x", "rolling", (0.0, 0.0, 1.0, 5.0), 1e9),
        Saved("x", "trend", (1.0, 2.0), 1e9),
        Saved("x", "concurrent", (1.0,), 1e9),
        Saved("x", "window", (0.0, 5.0, 0.0), math.inf),
        Saved("x", "other", (), 1e9),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_read_is_left_out(saved: Saved) -> None:
    assert len(_restarted([saved], Now(0.0, 0.0))) == 0


def test_every_kind_is_known() -> None:
    for kind in ("bucket", "window", "rolling", "concurrent", "trend"):
        found = Counts().get(Counter("x", kind, 1.0, period=60.0))
        assert isinstance(found, Count)
        assert found.kind == kind
