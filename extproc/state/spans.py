"""Which hours, days and weeks (UTC) a span of time is made of, and how sums are added up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Final

from extproc.state import DAY, HOUR, Cell, Entry

Place = tuple[str, int, str]
"""View, number of the period, key."""
HOURS_A_DAY: Final = DAY // HOUR
DAYS_A_WEEK: Final = 7
MOST: Final = 10**15
"""Most that one record adds to a measure, either way: a million dollars in nano-dollars. What is
more is a mistake or malice; without a bound a few such records overflow a row's 64 bits."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A span cut up. Numbers of weeks, days and hours since 1970 (UTC); none overlap."""

    weeks: range
    days: tuple[range, ...]
    hours: tuple[range, ...]


def parts(since: float, until: float, *, closed: float = math.inf, weeks: bool = False) -> Parts:
    """Cut the hours that start in `since <= t < until` (epoch seconds) into whole days before the
    day `closed`, of which whole weeks if wanted, and what is left before and after."""
    first, end = math.ceil(since / HOUR), math.ceil(until / HOUR)
    day, last = -(-first // HOURS_A_DAY), min(end // HOURS_A_DAY, closed)
    if day >= last:
        return Parts(range(0), (), _some(range(first, end)))
    last = int(last)
    hours = _some(range(first, day * HOURS_A_DAY), range(last * HOURS_A_DAY, end))
    week, final = -(-day // DAYS_A_WEEK), last // DAYS_A_WEEK
    if not weeks or week >= final:
        return Parts(range(0), (range(day, last),), hours)
    days = _some(range(day, week * DAYS_A_WEEK), range(final * DAYS_A_WEEK, last))
    return Parts(range(week, final), days, hours)


def _some(*ranges: range) -> tuple[range, ...]:
    return tuple(each for each in ranges if each)


class Sum:
    """A row while it is being added up."""

    __slots__ = ("_own", "bins", "sums")

    def __init__(self, sums: Sequence[int], bins: Mapping[str, int]) -> None:
        self.sums = sums
        self.bins = bins
        """What was given is not changed: another one takes its place."""
        self._own: dict[str, int] | None = None

    def add(self, sums: Sequence[int], bins: Mapping[str, int]) -> None:
        """Add another row's."""
        self.sums = list(map(add, self.sums, sums))
        if bins:
            if self._own is None:
                self.bins = self._own = dict(self.bins)
            merge(self._own, bins)


def merge(bins: dict[str, int], more: Mapping[str, int]) -> None:
    """Add `more` to `bins`, name by name."""
    for name, count in more.items():
        bins[name] = bins.get(name, 0) + count


def total(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sum of at least one row's sums."""
    return tuple(map(sum, zip(*rows, strict=True)))


def bounded(cell: Cell) -> Sequence[int]:
    """A cell's sums, each within `MOST`."""
    sums = cell.sums
    if max(sums) <= MOST and min(sums) >= -MOST:
        return sums
    return [max(-MOST, min(MOST, number)) for number in sums]


def by_hour(entries: Iterable[Entry]) -> dict[Place, Sum]:
    """What entries add up to, by (view, number of the hour, key)."""
    found: dict[Place, Sum] = {}
    get = found.get
    given: Sequence[int] = ()
    sums: Sequence[int] = ()
    for entry in entries:
        hour = int(entry.started // HOUR)
        for cell in entry.cells:
            if cell.sums is not given:  # most often the same in every view
                given, sums = cell.sums, bounded(cell)
            place = (cell.view, hour, cell.key)
            row = get(place)
            if row is None:
                found[place] = Sum(sums, cell.bins)
            else:
                row.add(sums, cell.bins)
    return found


def coarser(rows: Mapping[Place, Sum], times: int, before: int) -> dict[Place, Sum]:
    """The same by periods that are so many times as long, up to one of them."""
    found: dict[Place, Sum] = {}
    for (view, period, key), row in rows.items():
        if period // times >= before:
            continue
        place = (view, period // times, key)
        known = found.get(place)
        if known is None:
            found[place] = Sum(row.sums, row.bins)
        else:
            known.add(row.sums, row.bins)
    return found
