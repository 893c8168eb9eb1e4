"""A runaway is told from growth."""

from __future__ import annotations

from extproc.state.counters import Counter, Crossed
from extproc.state.embedded.counting import Now
from extproc.state.embedded.trend import Trend

SPEND = Counter("spend", "trend", 0.0, params=(60.0, 86_400.0, 10.0, 5.0, 3600.0, 600.0))


def at(seconds: float) -> Now:
    return Now(seconds + 1e6, 0.0)


def spend(trend: Trend, units: int, seconds: float) -> Crossed | None:
    trend.exchange((SPEND, 0, 0.0), units, at(seconds))
    return trend.crossed(SPEND, at(seconds))


def steady(trend: Trend, units: int, until: int) -> list[Crossed]:
    """The same every ten seconds."""
    return [
        event for seconds in range(0, until, 10) if (event := spend(trend, units, float(seconds)))
    ]


def test_a_steady_rate_is_no_runaway_from_its_first_minute_on() -> None:
    trend = Trend()
    assert steady(trend, 1000, 2 * 3600) == []
    assert not trend.marked(at(7200))


def test_twenty_times_the_usual_is_told_once_while_it_lasts() -> None:
    trend = Trend()
    steady(trend, 100, 7200)
    events = [event for second in range(7200, 7300) if (event := spend(trend, 200, float(second)))]
    assert len(events) == 1
    assert (events[0].key, events[0].share) == ("spend", 0.0)
    assert events[0].used >= 10 * events[0].usual
    assert 8 < events[0].usual < 20
    assert trend.marked(at(7300))
    assert trend.standing(SPEND, 0.0, at(7300)).reset > 590
    assert not trend.marked(at(7900))


def test_little_is_no_runaway_however_much_more_it_is() -> None:
    trend = Trend()
    steady(trend, 1, 7200)
    assert spend(trend, 200, 7200.0) is None


def test_the_young_say_nothing() -> None:
    trend = Trend()
    spend(trend, 1, 0.0)
    assert spend(trend, 100_000, 3599.0) is None
    assert spend(trend, 1, 3600.0) is not None


def test_what_never_ran_says_nothing() -> None:
    trend = Trend()
    trend.give_back((SPEND, 0, 0.0), at(0))
    assert trend.over(at(0))
    assert trend.wait(SPEND, 10**12, at(0)) == 0


def test_it_is_saved_on_another_clock() -> None:
    trend = Trend()
    steady(trend, 100, 7200)
    for second in range(7200, 7300):
        spend(trend, 200, float(second))
    made = Trend()
    made.load(trend.save((), 500.0), 300.0)  # since the restart the steady clock is 200 ahead
    assert made.marked(Now(1e6 + 7300 + 200 + 500, 0.0))
    assert not made.marked(Now(1e6 + 7300 + 200 + 601, 0.0))
    assert made.standing(SPEND, 0.0, Now(1e6 + 7300 + 200, 0.0)).used == (
        trend.standing(SPEND, 0.0, at(7300)).used
    )
