"""What the cache serves, learns and holds, as metrics. Never what was asked or answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from extproc.telemetry import names
from extproc.telemetry.limits import observable
from extproc.telemetry.series import Bounded, Counters, Histograms

Outcome = Literal["hit", "semantic", "miss", "bypass"]
"""What the cache had for a request on a route that has one; as in its record."""
Stage = Literal["exact", "embed", "search", "wait"]
"""wait: for the answer to another's identical request."""
Part = Literal["store", "embedder", "index", "judge"]

MOST_KINDS: Final = 35
"""Kinds of content that are told apart: as many as one route may have of its own, and the three
that are built in. Kinds of many routes may be more."""
MOST_REASONS: Final = 64
"""Reasons are words of the code, some forty; a bound all the same."""
NANO: Final = 1_000_000_000

Figures = Callable[[], Mapping[str, float]]


class CacheFigures:
    """To be used from one thread; nothing here raises or waits."""

    def __init__(self, counter: Counters, histogram: Histograms, meter: Meter) -> None:
        self._counter = counter
        self._histogram = histogram
        self._kind = Bounded(MOST_KINDS)
        self._reason = Bounded(MOST_REASONS)
        self._meter = meter
        self._saved = 0
        self._on = False
        observable(meter, names.CACHE_SAVED, self._observe_saved)

    def looked(self, outcome: Outcome, kind: str, reason: str = "") -> None:
        """A request on a route with a cache was looked up, once each. `kind`: of content; empty:
        nobody looked which. `reason`: why it was no hit."""
        self._counter(
            names.CACHE_REQUESTS,
            outcome,
            self._kind(kind or None),
            self._reason(reason or None),
        ).add(1)

    def saved(self, nanousd: int) -> None:
        """A hit was served that would have cost so much."""
        self._saved += nanousd

    def took(self, seconds: float, stage: Stage) -> None:
        """A part of a lookup is over."""
        self._histogram(names.CACHE_DURATION, stage).add(max(0.0, seconds))

    def label(self, equal: bool, audit: bool) -> None:  # noqa: FBT001 - both are what is told
        """The provider's answer was compared with the one that is kept for a similar question.
        `audit`: that would have been served."""
        self._counter(names.CACHE_LABELS, _said(equal), _said(audit)).add(1)

    def event(self, event: str, route: str) -> None:
        """A partition of a route serves no semantic hits from here on (`halted`), or does again
        (`resumed`)."""
        self._counter(names.CACHE_EVENTS, event, route).add(1)

    def stored(self, kind: str) -> None:
        """An answer was kept."""
        self._counter(names.CACHE_STORED, self._kind(kind or None)).add(1)

    def not_stored(self, reason: str) -> None:
        """An answer was not."""
        self._counter(names.CACHE_NOT_STORED, self._reason(reason)).add(1)

    def failed(self, part: Part) -> None:
        """A part of the cache was away, too slow or not understood: a miss for who asked."""
        self._counter(names.CACHE_FAILURES, part).add(1)

    def embedded(self, tokens: int) -> None:
        """An embedder that is paid for took so many tokens."""
        self._counter(names.CACHE_EMBEDDED).add(tokens)

    def watch(self, figures: Figures) -> None:
        """Show what the cache tells of itself, by the names of `names.CACHE`; what it does not
        tell is not shown. To be called once; `figures` is read anew for each metric, so it hands
        out what is at hand."""
        self._on = True
        for name, metric in names.CACHE.items():

            def observe(_: CallbackOptions, name: str = name) -> Iterable[Observation]:
                found = figures()
                return (Observation(found[name]),) if name in found else ()

            observable(self._meter, metric, observe)

    def _observe_saved(self, _: CallbackOptions) -> Iterable[Observation]:
        # Nano-dollars are added up whole: sums of fractions would drift.
        return (Observation(self._saved / NANO),) if self._on or self._saved else ()


def _said(yes: bool) -> str:  # noqa: FBT001 - it is the value
    return "true" if yes else "false"
