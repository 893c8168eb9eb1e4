"""Whether a counter leaves its own past far behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from extproc.state.counters import Counter, Crossed, Kind, Standing
from extproc.state.embedded.counting import Count, Now, Reserved

FORGOTTEN: Final = 3.0
"""Time constants after which a trend's slow mean is forgotten: e**-3 of it is left."""


class Trend(Count):
    """Two exponentially decaying means of what is used in a second. Where the fast one is several
    times the slow one, the counter is marked for a while. It refuses nothing itself."""

    __slots__ = ("at", "born", "fast", "slow", "until")
    kind: ClassVar[Kind] = "trend"

    def __init__(self) -> None:
        super().__init__()
        self.fast = self.slow = 0.0
        self.at = 0.0
        self.born = -1.0
        """When it was fed first; negative: never."""
        self.until = 0.0

    def marked(self, now: Now) -> bool:
        """See `Count`."""
        return self.until > now.steady

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """See `Count`."""
        del counter, amount, now
        return 0.0

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """See `Count`."""
        del counter, amount, now, share
        return True

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """See `Count`."""
        del amount
        return self.standing(counter, wait, now)

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """See `Count`."""
        elapsed = max(0.0, now.steady - self.at)
        fast = self.fast * math.exp(-elapsed / counter.params[0]) if self.fast else 0.0
        return Standing(fast, wait, max(0.0, self.until - now.steady))

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """See `Count`."""
        quick, long = held[0].params[:2]
        if self.born < 0.0:
            self.born = self.at = now.steady
        elapsed = max(0.0, now.steady - self.at)
        self.fast = self.fast * math.exp(-elapsed / quick) + used / quick
        self.slow = self.slow * math.exp(-elapsed / long) + used / long
        self.at = now.steady
        self.expires = max(now.steady + FORGOTTEN * long, self.until)

    def give_back(self, held: Reserved, now: Now) -> None:
        """Only what has run tells of a trend."""

    def crossed(self, counter: Counter, now: Now) -> Crossed | None:
        """Marks it, too. The slow mean began at nothing and is corrected for that: without this a
        young counter would take its own beginning for a rise."""
        _, long, factor, floor, grown, hold = counter.params
        age = now.steady - self.born
        if age < grown or self.fast < floor:
            return None
        usual = self.slow / (1.0 - math.exp(-age / long)) if age > 0.0 else 0.0
        if self.fast < factor * usual:
            return None
        marked = self.marked(now)
        self.until = now.steady + hold
        self.expires = max(self.expires, self.until)
        return None if marked else Crossed(counter.key, 0.0, self.fast, usual)

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """See `Count`."""
        del held
        return (self.fast, self.slow, self.at + shift, self.born + shift, self.until + shift)

    def load(self, state: Sequence[float], shift: float) -> None:
        """See `Count`."""
        self.fast, self.slow, at, born, until = state
        self.at, self.born, self.until = at - shift, born - shift, until - shift
