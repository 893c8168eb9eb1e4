"""Days, weeks and months of time zones."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limits.windows import Windows, is_zone, windows

HOUR = 3600.0
DAY = 24 * HOUR
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Africa/Casablanca", "America/St_Johns"),
)


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    found = windows("d", "Asia/Kathmandu", at("2026-11-23T12:00", "Asia/Kathmandu"))
    days = ("2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25")
    assert found == tuple(at(one, "Asia/Kathmandu") for one in days)
    assert found[1] % DAY == DAY - 5.75 * HOUR


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("Europe/Berlin", "2026-11-23T12:00", 24),
        ("America/New_York", "2026-03-08T12:00", 23),
        ("America/New_York", "2026-11-01T12:00", 25),
        ("Australia/Lord_Howe", "2026-10-04T12:00", 23.5),
        ("America/Sao_Paulo", "2018-11-04T12:00", 23),
    ],
)
def test_a_day_on_which_clocks_are_set(zone: str, noon: str, hours: float) -> None:
    found = windows("d", zone, at(noon, zone))
    assert found[2] - found[1] == hours * HOUR


def test_a_midnight_that_clocks_skip() -> None:
    """The day begins with its first moment, one o'clock."""
    found = windows("d", "America/Sao_Paulo", at("2018-11-04T12:00", "America/Sao_Paulo"))
    assert found[1] == at("2018-11-04T01:00", "America/Sao_Paulo")


def test_a_day_that_clocks_skip() -> None:
    """Samoa had no 30th of December 2011."""
    found = windows("d", "Pacific/Apia", at("2011-12-31T12:00", "Pacific/Apia"))
    assert found[1] == at("2011-12-31", "Pacific/Apia")
    assert found[2] == at("2012-01-01", "Pacific/Apia")


@pytest.mark.parametrize("day", ["2026-11-23", "2026-11-25", "2026-11-29T23:59:59"])
def test_a_week_begins_on_monday(day: str) -> None:
    found = windows("w", "Europe/Berlin", at(day, "Europe/Berlin"))
    days = ("2026-11-16", "2026-11-23", "2026-11-30", "2026-12-07")
    assert found == tuple(at(one, "Europe/Berlin") for one in days)


@pytest.mark.parametrize(
    ("now", "months"),
    [
        ("2026-11-23", ("2026-10-01", "2026-11-01", "2026-12-01", "2027-01-01")),
        ("2026-12-31T23:59:59", ("2026-11-01", "2026-12-01", "2027-01-01", "2027-02-01")),
        ("2027-01-01", ("2026-12-01", "2027-01-01", "2027-02-01", "2027-03-01")),
        ("2028-02-29", ("2028-01-01", "2028-02-01", "2028-03-01", "2028-04-01")),
    ],
)
def test_months(now: str, months: tuple[str, ...]) -> None:
    found = windows("mo", "America/New_York", at(now, "America/New_York"))
    assert found == tuple(at(one, "America/New_York") for one in months)


@given(
    st.sampled_from(("d", "w", "mo")),
    st.sampled_from(ZONES),
    st.floats(at("1990-01-01", "UTC"), at("2050-01-01", "UTC")),
)
def test_now_is_in_the_window_and_the_next_one_follows(unit: str, zone: str, now: float) -> None:
    before, start, end, last = windows(unit, zone, now)
    assert before <= start <= now < end < last
    # What comes after the window's end is the window that was said to come.
    assert windows(unit, zone, end)[1] == end
    assert windows(unit, zone, end)[2] == last
    moment = datetime.fromtimestamp(start, ZoneInfo(zone))
    if unit == "w":
        assert moment.weekday() == 0
    if unit == "mo":
        assert moment.day == 1


@given(st.sampled_from(ZONES), st.lists(st.floats(1.7e9, 1.9e9), max_size=8))
def test_what_is_kept_is_what_is_reckoned(zone: str, moments: list[float]) -> None:
    kept = Windows()
    for now in moments:
        assert kept.of("d", zone, now) == windows("d", zone, now)


def test_zones() -> None:
    assert is_zone("UTC")
    assert is_zone("Europe/Berlin")
    for wrong in ("", "Europe", "Mars/Olympus", "/etc/passwd", "../UTC", "a\0b", "Ü" * 300):
        assert not is_zone(wrong), wrong
    with pytest.raises(ZoneInfoNotFoundError):
        windows("d", "Mars/Olympus", 0.0)
    with pytest.raises(ValueError, match="no calendar window of 'h'"):
        windows("h", "UTC", 0.0)
