"""What the guard finds and does, as metrics. Types and numbers, never what was found."""

from __future__ import annotations

from typing import Literal

from extproc.telemetry import names
from extproc.telemetry.series import Counters, Histograms

Outcome = Literal["clean", "flagged", "changed", "blocked", "failed", "unguarded"]
"""What became of a request on a guarded route. clean: nothing was found; flagged: something was,
and nothing was changed; failed: refused since the guard could not work; unguarded: let through all
the same. A route that only observes has clean and flagged ones."""
Part = Literal["detector", "store"]


class GuardFigures:
    """To be used from one thread; nothing here raises or waits."""

    def __init__(self, counter: Counters, histogram: Histograms) -> None:
        self._counter = counter
        self._histogram = histogram

    def found(
        self, type_: str, action: str, direction: str, count: int = 1, *, observed: bool = False
    ) -> None:
        """So many places of a type, and what was done about them; `observed`: would have been."""
        mode = "observe" if observed else "enforce"
        self._counter(names.GUARD_FINDINGS, type_, action, direction, mode).add(count)

    def outcome(self, name: Outcome) -> None:
        """A request on a guarded route is through with the guard, once each."""
        self._counter(names.GUARD_REQUESTS, name).add(1)

    def took(self, seconds: float) -> None:
        """The guard was done with a request, before it was sent on."""
        self._histogram(names.GUARD_DURATION).add(max(0.0, seconds))

    def restored(self, number: int = 1) -> None:
        """So many placeholders of an answer became values again."""
        self._counter(names.GUARD_RESTORED).add(number)

    def failed(self, part: Part) -> None:
        """A part of the guard was away or not understood."""
        self._counter(names.GUARD_FAILURES, part).add(1)
