"""What somebody wants to know of at once: a limit that is nearly used up, a runaway."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from extproc.alerts import Alert
from extproc.catalogue import NANO
from extproc.limits.rule import CALLER, WHOSE, Rule
from extproc.limits.told import Told, label
from extproc.state.counters import Counter, Crossed

log = logging.getLogger(__name__)

KEPT: Final = 8192
"""Counters that are remembered by what they count: an event comes within a round trip of the
settlement that caused it."""
EVENTS: Final = ((0.95, "limit_95"), (0.8, "limit_80"))
HOUR: Final = 3600.0


class Crossings:
    """Makes alerts of what the store says. `alerts` hears of each; `now`: epoch seconds."""

    def __init__(
        self, told: Told, alerts: Callable[[Alert], None], now: Callable[[], float] = time.time
    ) -> None:
        self._told = told
        self._alerts = alerts
        self._now = now
        self._known: OrderedDict[str, tuple[Rule, tuple[str, ...], Counter]] = OrderedDict()

    def knows(self, rule: Rule, subject: tuple[str, ...], counter: Counter) -> None:
        """Remember what a counter counts."""
        self._known[counter.key] = (rule, subject, counter)
        self._known.move_to_end(counter.key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)

    def notify(self, crossed: Crossed) -> None:
        """Hear of it from the store."""
        found = self._known.get(crossed.key)
        if found is None:
            log.warning("a limit was crossed that nobody knows", extra={"counter": crossed.key})
            return
        rule, subject, counter = found
        self._told.crossed(label(rule), crossed.share)
        who = _who(rule, subject)
        if not crossed.share:
            usual = crossed.usual
            times = crossed.used / usual if usual > 0 else 0.0
            of = usual * HOUR / NANO
            used = crossed.used * HOUR / NANO
            self._alerts(
                Alert(event="runaway", limit=rule.name, who=who, share=times, used=used, of=of)
            )
            return
        unit = NANO if rule.measure == "usd" else 1
        self._alerts(
            Alert(
                event=next((name for at, name in EVENTS if crossed.share >= at), EVENTS[-1][1]),
                limit=rule.name,
                who=who,
                share=crossed.used / rule.most,
                used=crossed.used / unit,
                of=rule.most / unit,
                resets_at=self._resets(counter),
            )
        )

    def _resets(self, counter: Counter) -> float | None:
        """When a calendar window ends; of the other kinds there is no such moment."""
        if counter.kind != "window":
            return None
        now = self._now()
        return next((at for at in counter.params[1:] if at > now), None)


def _who(rule: Rule, subject: tuple[str, ...]) -> dict[str, str]:
    """By dimension."""
    found = {}
    for dim, value in zip(rule.dims, subject, strict=False):
        if dim in {CALLER, WHOSE}:
            name, _, text = value.partition(":")
            found[name] = text
        else:
            found[dim] = value
    return found
