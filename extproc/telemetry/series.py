"""Counters and histograms as plain objects, handed to OpenTelemetry when somebody reads them.

The SDK's own instruments cost 8 to 13 microseconds a recording, a request makes a dozen; an
addition to a slotted object costs a tenth of one. What comes out are the SDK's data points, so
nothing downstream can tell.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import nan
from typing import Final, Generic, Protocol, TypeVar

from opentelemetry.sdk.metrics import export

from extproc.telemetry.names import OTHER, OVERFLOW, Metric

LIMIT: Final = 2000
"""Series of one metric; OpenTelemetry's default cardinality limit."""

LONGEST: Final = 128
"""Characters of one label's value."""

Values = tuple[str | None, ...]


class Counter:
    """One series of a counter."""

    __slots__ = ("attributes", "value")

    def __init__(self, attributes: dict[str, str | bool], _: Sequence[float]) -> None:
        self.attributes = attributes
        self.value = 0

    def add(self, value: int) -> None:
        """Count so many more."""
        self.value += value

    def point(self, start: int, now: int) -> export.NumberDataPoint:
        """What OpenTelemetry calls it. Times are nanoseconds of the UTC epoch."""
        return export.NumberDataPoint(self.attributes, start, now, self.value)

    @staticmethod
    def data(series: Sequence[Counter], start: int, now: int) -> export.Sum:
        """All series of a metric."""
        points = [one.point(start, now) for one in series]
        return export.Sum(points, export.AggregationTemporality.CUMULATIVE, is_monotonic=True)


class Histogram:
    """One series of a histogram."""

    __slots__ = ("attributes", "bounds", "counts", "sum")

    def __init__(self, attributes: dict[str, str | bool], bounds: Sequence[float]) -> None:
        self.attributes = attributes
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def add(self, value: float) -> None:
        """Take one value; upper bounds are inclusive."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def point(self, start: int, now: int) -> export.HistogramDataPoint:
        """What OpenTelemetry calls it. Times are nanoseconds of the UTC epoch."""
        return export.HistogramDataPoint(
            self.attributes,
            start,
            now,
            sum(self.counts),
            self.sum,
            tuple(self.counts),
            tuple(self.bounds),
            nan,  # smallest and largest are not kept: Prometheus has no place for them
            nan,
        )

    @staticmethod
    def data(series: Sequence[Histogram], start: int, now: int) -> export.Histogram:
        """All series of a metric."""
        points = [one.point(start, now) for one in series]
        return export.Histogram(points, export.AggregationTemporality.CUMULATIVE)


class Counters(Protocol):
    """Where a metric's counters are found, by the values of its attributes."""

    def __call__(self, metric: Metric, *values: str | None) -> Counter:
        """The series; made if need be."""
        ...


class Histograms(Protocol):
    """Where a metric's histograms are found, by the values of its attributes."""

    def __call__(self, metric: Metric, *values: str | None) -> Histogram:
        """The series; made if need be."""
        ...


S = TypeVar("S", Counter, Histogram)


class Family(Generic[S]):
    """All series of one metric, told apart by the values of its attributes."""

    __slots__ = ("_limit", "_make", "_metric", "_series")

    def __init__(self, metric: Metric, make: type[S], limit: int = LIMIT) -> None:
        self._metric = metric
        self._make: type[S] = make
        self._limit = limit
        self._series: dict[Values, S] = {}

    def of(self, *values: str | None) -> S:
        """The series of these values, in the order of the metric's attributes. None leaves an
        attribute out. Beyond the limit all share one series, marked as the overflow."""
        found = self._series.get(values)
        if found is None:
            if len(self._series) < self._limit - 1:
                attributes: dict[str, str | bool] = {
                    name: value
                    for name, value in zip(self._metric.attributes, values, strict=True)
                    if value is not None
                }
                found = self._make(attributes, self._metric.buckets)
                self._series[values] = found
            else:
                found = self._overflow()
        return found

    def _overflow(self) -> S:
        found = self._series.get((OVERFLOW,))
        if found is None:
            found = self._make({OVERFLOW: True}, self._metric.buckets)
            self._series[(OVERFLOW,)] = found
        return found

    def metric(self, start: int, now: int) -> export.Metric:
        """The metric as OpenTelemetry's SDK hands it to an exporter."""
        data = self._make.data(list(self._series.values()), start, now)
        return export.Metric(self._metric.name, self._metric.description, self._metric.unit, data)

    def __len__(self) -> int:
        return len(self._series)


class Bounded:
    """A label whose values come from outside: some are told apart, the rest is `_OTHER`.

    Those of the allow-list always are. Others are as they come, until there are `cap` of them;
    names that were not served (`served=False`) may take half of the places at most, so that a
    flood of mistakes cannot drive out what is really used. A value is cut to `LONGEST`
    characters, and what cannot be printed in it is written as `_`.
    """

    __slots__ = ("_allowed", "_cap", "_known")

    def __init__(self, cap: int, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._cap = cap
        self._known: dict[str, str] = {}

    def __call__(self, value: str | None, *, served: bool = True) -> str | None:
        """The value as a label; None stays None."""
        if value is None or value in self._allowed:
            return value
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= (self._cap if served else self._cap // 2):
                return OTHER
            known = value[:LONGEST]
            if not known.isprintable():
                known = "".join(one if one.isprintable() else "_" for one in known)
            self._known[value] = known
        return known
