"""Buckets and what runs at once."""

from __future__ import annotations

import pytest

from extproc.state.counters import Counter
from extproc.state.embedded.counting import Bucket, Concurrent, Now

TOKENS = Counter("tokens", "bucket", 100.0, 10.0, 10.0, warn=True)
AT_ONCE = Counter("at once", "concurrent", 2.0)


def at(seconds: float) -> Now:
    return Now(1000.0 + seconds, 5000.0 + seconds)


def test_a_bucket_is_full_at_first_and_flows_back() -> None:
    bucket = Bucket()
    assert bucket.wait(TOKENS, 100, at(0)) == 0
    assert bucket.take(TOKENS, 100, 0.0, at(0)) == bucket.standing(TOKENS, 0.0, at(0))
    assert bucket.wait(TOKENS, 25, at(0)) == pytest.approx(2.5)
    assert bucket.wait(TOKENS, 25, at(2.4)) == pytest.approx(0.1)
    assert bucket.wait(TOKENS, 25, at(2.5)) == 0
    standing = bucket.standing(TOKENS, 0.0, at(4))
    assert (standing.used, standing.reset) == (60.0, 6.0)
    assert bucket.standing(TOKENS, 0.0, at(100)).used == 0


def test_what_is_given_back_never_overfills() -> None:
    bucket = Bucket()
    bucket.take(TOKENS, 50, 0.0, at(0))
    bucket.give_back((TOKENS, 50, 0.0), at(4))
    assert bucket.standing(TOKENS, 0.0, at(4)).used == 0
    assert bucket.wait(TOKENS, 101, at(4)) > 0


def test_more_used_than_reserved_is_owed() -> None:
    bucket = Bucket()
    bucket.take(TOKENS, 50, 0.0, at(0))
    bucket.exchange((TOKENS, 50, 0.0), 150, at(0))
    assert bucket.standing(TOKENS, 0.0, at(0)).used == 150
    assert bucket.wait(TOKENS, 1, at(0)) == pytest.approx(5.1)


def test_a_clock_that_goes_back_does_not_freeze_a_bucket() -> None:
    bucket = Bucket()
    bucket.take(TOKENS, 100, 0.0, at(0))
    assert bucket.wait(TOKENS, 10, at(-500)) == pytest.approx(1.0)
    assert bucket.wait(TOKENS, 10, at(-499)) == 0


def test_room_below_the_high_water() -> None:
    bucket = Bucket()
    bucket.take(TOKENS, 80, 0.0, at(0))
    assert bucket.roomy(TOKENS, 10, at(0), 0.9)
    assert not bucket.roomy(TOKENS, 11, at(0), 0.9)
    assert bucket.wait(TOKENS, 20, at(0)) == 0
    running = Concurrent()
    running.take(AT_ONCE, 1, 0.0, at(0))
    assert not running.roomy(AT_ONCE, 1, at(0), 0.9)
    assert running.wait(AT_ONCE, 1, at(0)) == 0


def test_a_provider_lowers_a_bucket_and_shuts_it() -> None:
    bucket = Bucket()
    bucket.lower(TOKENS, 30.0, at(0))
    assert bucket.standing(TOKENS, 0.0, at(0)).used == 70
    bucket.lower(TOKENS, 90.0, at(1))
    assert bucket.standing(TOKENS, 0.0, at(1)).used == 60
    bucket.block(20.0, at(1))
    bucket.block(5.0, at(2))
    assert bucket.wait(TOKENS, 1, at(3)) == pytest.approx(18.0)
    assert bucket.wait(TOKENS, 1, at(21)) == 0


def test_a_bucket_that_is_not_refilled_never_waits_for_nothing() -> None:
    stopped = Counter("stopped", "bucket", 1.0)
    bucket = Bucket()
    bucket.take(stopped, 1, 0.0, at(0))
    assert bucket.wait(stopped, 1, at(9)) < 0


def test_both_shares_are_told_once_in_a_period() -> None:
    bucket = Bucket()

    def used(units: int, seconds: float) -> float | None:
        bucket.exchange((TOKENS, 0, 0.0), units, at(seconds))
        event = bucket.crossed(TOKENS, at(seconds))
        return event.share if event else None

    assert used(79, 0) is None
    assert used(1, 0) == 0.8
    assert used(5, 0) is None
    assert used(10, 0) == 0.95
    assert used(40, 4) is None
    assert used(120, 9.9) is None
    assert used(1, 10.0) == 0.95


def test_only_the_higher_share_is_told_when_both_are_crossed() -> None:
    bucket = Bucket()
    bucket.exchange((TOKENS, 0, 0.0), 99, at(0))
    event = bucket.crossed(TOKENS, at(0))
    assert event is not None
    assert (event.key, event.share, event.used) == ("tokens", 0.95, 99)


def test_a_bucket_may_be_forgotten_when_full_and_no_earlier() -> None:
    bucket = Bucket()
    bucket.take(TOKENS, 90, 0.0, at(0))
    assert not bucket.over(at(8.9))
    assert bucket.over(at(9.0))
    bucket.exchange((TOKENS, 90, 0.0), 90, at(0))
    assert bucket.crossed(TOKENS, at(0))
    # What was told must not be told again before the period is over.
    assert not bucket.over(at(9.9))
    assert bucket.over(at(10.0))


def test_what_runs_at_once() -> None:
    running = Concurrent()
    assert running.over(at(0))
    running.take(AT_ONCE, 1, 0.0, at(0))
    running.take(AT_ONCE, 1, 0.0, at(0))
    assert running.wait(AT_ONCE, 1, at(0)) < 0
    assert not running.over(at(1e9))
    running.exchange((AT_ONCE, 1, 0.0), 0, at(0))
    assert running.wait(AT_ONCE, 1, at(0)) == 0
    running.exchange((AT_ONCE, 0, 0.0), 0, at(0))
    assert running.standing(AT_ONCE, 0.0, at(0)).used == 1
    running.give_back((AT_ONCE, 1, 0.0), at(0))
    running.give_back((AT_ONCE, 1, 0.0), at(0))
    assert running.standing(AT_ONCE, 0.0, at(0)).used == 0
    running.block(3.0, at(0))
    assert running.wait(AT_ONCE, 1, at(1)) == pytest.approx(2.0)
    running.take(AT_ONCE, 2, 0.0, at(1))
    assert running.wait(AT_ONCE, 1, at(1)) < 0
