"""Calendar windows: when a day, a week or a month begins and ends in a time zone.

A day begins at midnight of the zone, or at its first moment where the clocks skip midnight; on the
days that clocks are set it has 23 or 25 hours. A week begins on Monday (ISO 8601).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Boundaries = tuple[float, float, float, float]
"""Epoch seconds: where the window before began, this one, the next, and where that ends."""

UNITS: Final = ("d", "w", "mo")
KEPT: Final = 256
"""Windows kept: one for each unit and zone that is in use."""


def is_zone(name: str) -> bool:
    """Whether `name` is a time zone of IANA's that is known here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: `Europe` is a folder.
        return False
    return True


class Windows:
    """Boundaries, kept until the window that they are of is over."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Boundaries] = OrderedDict()

    def of(self, unit: str, zone: str, now: float) -> Boundaries:
        """The windows around `now` (epoch seconds). `unit`: `d`, `w` or `mo`. Raises ValueError
        for another unit, ZoneInfoNotFoundError for an unknown zone."""
        key = (unit, zone)
        found = self._kept.get(key)
        if found is None or not found[1] <= now < found[2]:
            found = self._kept[key] = windows(unit, zone, now)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def windows(unit: str, zone: str, now: float) -> Boundaries:
    """The windows around `now`, as `Windows.of` keeps them."""
    if unit not in UNITS:
        raise ValueError(f"no calendar window of {unit!r}")
    where = ZoneInfo(zone)
    today = datetime.fromtimestamp(now, UTC).astimezone(where).date()
    first = _first(unit, today)
    # Where clocks are set at midnight, the first moment of a day may be after `now`.
    days = [_step(unit, first, number) for number in range(-2, 4)]
    starts = [_midnight(day, zone) for day in days]
    at = min(max(bisect_right(starts, now) - 1, 1), len(starts) - 3)
    return starts[at - 1], starts[at], starts[at + 1], starts[at + 2]


def _first(unit: str, day: date) -> date:
    if unit == "w":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "mo" else day


def _step(unit: str, first: date, number: int) -> date:
    if unit == "mo":
        months = first.year * 12 + first.month - 1 + number
        return date(months // 12, months % 12 + 1, 1)
    return first + timedelta(days=number * (7 if unit == "w" else 1))


@lru_cache(maxsize=KEPT)
def _midnight(day: date, zone: str) -> float:
    """The first moment of a day.

    Midnight that comes twice is the first one (`fold` 0). Midnight that clocks skip reads, with the
    offset from before the change, as the moment of the change itself or later; with the offset from
    after it, as earlier. The change is found between the two.
    """
    where = ZoneInfo(zone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=where)
    late, early = midnight.timestamp(), midnight.replace(fold=1).timestamp()
    if early >= late:
        return late
    # The first second whose date in the zone is this day or a later one.
    low, high = int(early), int(late)
    while low < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, where).date() < day:
            low = middle + 1
        else:
            high = middle
    return float(low)
