"""Calendar windows and rolling ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.state.counters import Counter
from extproc.state.embedded.counting import Now
from extproc.state.embedded.windows import Rolling, Window

DAY = Counter("day", "window", 100.0, params=(0.0, 100.0, 200.0, 300.0), lasting=True, warn=True)
MINUTE = Counter("minute", "rolling", 100.0, period=60.0, lasting=True, warn=True)


def at(seconds: float) -> Now:
    """The wall clock is of another day than the steady one."""
    return Now(seconds + 7000.0, seconds)


def test_a_window_ends_at_its_boundary() -> None:
    window = Window()
    assert window.take(DAY, 100, 0.0, at(150)).at == 100.0
    assert window.wait(DAY, 1, at(150)) == 50.0
    assert window.wait(DAY, 1, at(199.5)) == 0.5
    assert window.wait(DAY, 100, at(200)) == 0
    assert window.standing(DAY, 0.0, at(200)).used == 0


@pytest.mark.parametrize(
    ("seconds", "start"), [(-5, 0), (99, 0), (100, 100), (250, 200), (999, 200)]
)
def test_the_clock_says_which_window_it_is(seconds: float, start: float) -> None:
    assert Window().take(DAY, 1, 0.0, at(seconds)).at == start


def test_what_was_reserved_in_a_past_window_changes_nothing_in_this_one() -> None:
    window = Window()
    then = window.take(DAY, 60, 0.0, at(199)).at
    window.take(DAY, 10, 0.0, at(200))
    window.exchange((DAY, 60, then), 90, at(201))
    assert window.standing(DAY, 0.0, at(201)).used == 10


def test_a_window_tells_of_each_share_once_and_anew_in_the_next() -> None:
    window = Window()

    def used(units: int, seconds: float) -> float | None:
        found = window.standing(DAY, 0.0, at(seconds)).at
        window.exchange((DAY, 0, found), units, at(seconds))
        event = window.crossed(DAY, at(seconds))
        return event.share if event else None

    assert [used(80, 100), used(1, 101), used(15, 102), used(50, 199)] == [0.8, None, 0.95, None]
    assert used(80, 200) == 0.8


def test_a_provider_may_say_how_much_of_a_window_is_left() -> None:
    window, rolling = Window(), Rolling()
    window.lower(DAY, 30.0, at(150))
    window.lower(DAY, 80.0, at(150))
    assert window.standing(DAY, 0.0, at(150)).used == 70
    assert window.over(at(200))
    assert not window.over(at(199))
    rolling.lower(MINUTE, 30.0, at(150))
    rolling.lower(MINUTE, 80.0, at(150))
    assert rolling.standing(MINUTE, 0.0, at(150)).used == 70
    window.block(10.0, at(195))
    assert window.wait(DAY, 1, at(200)) == pytest.approx(5.0)


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.integers(1, 60)), max_size=60))
def test_never_more_than_the_limit_in_any_period(asks: list[tuple[float, int]]) -> None:
    rolling, now = Rolling(), 0.0
    taken: list[tuple[float, int]] = []
    for seconds, amount in asks:
        now += seconds
        wait = rolling.wait(MINUTE, amount, at(now))
        if wait:
            # It is true: then it fits, and just before it does not.
            later = now + wait
            assert _copy(rolling).wait(MINUTE, amount, at(later + 1e-3)) == 0
            assert _copy(rolling).wait(MINUTE, amount, at(later - 1e-3)) > 0
            continue
        rolling.take(MINUTE, amount, 0.0, at(now))
        taken.append((now, amount))
        assert sum(units for then, units in taken if then > now - 60.0) <= 100


def _copy(rolling: Rolling) -> Rolling:
    made = Rolling()
    made.load(rolling.save((), 0.0), 0.0)
    return made


def test_a_rolling_window_is_settled_in_the_slice_it_was_taken_in() -> None:
    rolling = Rolling()
    then = rolling.take(MINUTE, 50, 0.0, at(0)).at
    rolling.take(MINUTE, 10, 0.0, at(30))
    rolling.exchange((MINUTE, 50, then), 70, at(30))
    assert rolling.standing(MINUTE, 0.0, at(30)).used == 80
    assert rolling.standing(MINUTE, 0.0, at(61)).used == 10
    rolling.exchange((MINUTE, 70, then), 0, at(61))
    assert rolling.standing(MINUTE, 0.0, at(61)).used == 10
    rolling.exchange((MINUTE, 10, rolling.standing(MINUTE, 0.0, at(61)).at), 0, at(61))
    assert rolling.standing(MINUTE, 0.0, at(91)).used == 0
    assert rolling.over(at(92))


def test_a_rolling_window_that_can_never_hold_it_says_so() -> None:
    assert Rolling().wait(MINUTE, 101, at(0)) < 0


def test_a_changed_period_begins_anew() -> None:
    rolling = Rolling()
    rolling.take(MINUTE, 100, 0.0, at(0))
    hour = Counter("minute", "rolling", 100.0, period=3600.0)
    assert rolling.wait(hour, 100, at(0)) == 0


def test_a_rolling_window_tells_once_in_a_period() -> None:
    rolling = Rolling()

    def used(units: int, seconds: float) -> float | None:
        found = rolling.standing(MINUTE, 0.0, at(seconds)).at
        rolling.exchange((MINUTE, 0, found), units, at(seconds))
        event = rolling.crossed(MINUTE, at(seconds))
        return event.share if event else None

    assert [used(85, 0), used(5, 1), used(6, 2), used(1, 59)] == [0.8, None, 0.95, None]
    assert used(90, 62) == 0.95
