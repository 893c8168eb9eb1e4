"""What limits, the queue and providers' ceilings do, as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from extproc.telemetry import names
from extproc.telemetry.series import Bounded, Counters, Histograms

STALE_AFTER: Final = 60.0
"""Seconds: ceilings are by the minute, so one that nobody asked for since has all its room."""
MOST_TARGETS: Final = 1000

Figures = Callable[[], Mapping[str, Mapping[str, float]]]


def observable(
    meter: Meter,
    metric: names.Metric,
    observe: Callable[[CallbackOptions], Iterable[Observation]],
) -> None:
    """Make a metric whose values are looked up when somebody reads them."""
    if metric.kind is names.Kind.GAUGE:
        meter.create_observable_gauge(
            metric.name, [observe], unit=metric.unit, description=metric.description
        )
    else:
        meter.create_observable_counter(
            metric.name, [observe], unit=metric.unit, description=metric.description
        )


class LimitFigures:
    """To be used from one thread; nothing here raises or waits."""

    def __init__(
        self,
        counter: Counters,
        histogram: Histograms,
        label: Mapping[str, Bounded],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`label`: by attribute. `clock`: monotonic seconds."""
        self._counter = counter
        self._histogram = histogram
        self._label = label
        self._meter = meter
        self._clock = clock
        self._headroom: dict[str, tuple[float, float]] = {}
        """Label -> share, and when it was seen."""
        observable(meter, names.HEADROOM, self._observe_headroom)

    def decided(self, rule: str, outcome: str) -> None:
        """A limit did something to a request. `rule`: its name; `key` for any key's own."""
        self._counter(names.LIMIT_DECISIONS, rule, outcome).add(1)

    def waited(self, class_: str, seconds: float) -> None:
        """The turn of a request came."""
        label = self._label[names.CLASS](class_)
        self._histogram(names.QUEUE_WAIT, label).add(max(0.0, seconds))

    def dropped(self, class_: str, reason: str) -> None:
        """A request left the queue unserved, or found no place in it."""
        self._counter(names.QUEUE_DROPPED, class_, reason).add(1)

    def away(self, decision: str) -> None:
        """Something was decided without the shared store."""
        self._counter(names.LIMIT_AWAY, decision).add(1)

    def crossed(self, rule: str, share: float) -> None:
        """So much of a limit is used, 0.8 or 0.95; 0: a runaway."""
        self._counter(names.LIMIT_CROSSED, rule, f"{share:g}" if share else "runaway").add(1)

    def headroom(self, target: str, share: float) -> None:
        """What is free of a target's tightest ceiling, [0, 1]."""
        label = self._label[names.TARGET](target)
        if label is not None and (label in self._headroom or len(self._headroom) < MOST_TARGETS):
            self._headroom[label] = (min(1.0, max(0.0, share)), self._clock())

    def watch(self, figures: Figures) -> None:
        """Show what the store tells of itself, by the names of `names.LIMITS`, and who waits."""

        def waiting(_: CallbackOptions) -> Iterable[Observation]:
            label = self._label[names.CLASS]
            for name, number in figures().get("waiting", {}).items():
                yield Observation(number, {names.CLASS: label(name) or names.OTHER})

        observable(self._meter, names.QUEUE_WAITING, waiting)
        for (group, name), metric in names.LIMITS.items():

            def observe(
                _: CallbackOptions, group: str = group, name: str = name
            ) -> Iterable[Observation]:
                found = figures().get(group, {})
                return (Observation(found[name]),) if name in found else ()

            observable(self._meter, metric, observe)

    def _observe_headroom(self, _: CallbackOptions) -> Iterable[Observation]:
        now = self._clock()
        for label, (share, at) in self._headroom.items():
            seen = share if now - at < STALE_AFTER else 1.0
            yield Observation(seen, {names.TARGET: label})
