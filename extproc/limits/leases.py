"""How counters stood when they were last seen, and what may be spent while nobody can look.

While the shared store is away money, strict limits and long token windows are spent from a small
lease in each process: a part of what was last known to remain, then nothing more.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.state.counters import Counter, Standing, Take

SHARE: Final = 0.01
"""Of a limit, for all processes together: what an outage may cost beyond the limit is then within
what a bill is argued about for, and a thousand small requests of a budget still go through."""
RENEWED_AFTER: Final = 60.0
"""Seconds that a lease is at least kept: a store that comes and goes does not hand out a new one
each time."""
MOST_SEEN: Final = 50_000
"""Counters whose last standing is remembered: some 15 MB. Those not seen for longest go first."""
MOST_LEASES: Final = 50_000
"""Leases at once. Beyond them there are none to be had: closed is the safe side."""


def leased(take: Take) -> bool:
    """Whether a take may refuse and needs a lease while the store is away."""
    counter = take.counter
    return (
        counter.closed
        and counter.kind not in ("concurrent", "trend")
        and not take.force
        and take.guard < 0
    )


def window(counter: Counter, now: float) -> tuple[float, float]:
    """Start and end (epoch seconds) of the window that `now` is in, as the stores choose it."""
    bounds = counter.params
    for start, end in itertools.pairwise(bounds):
        if now < end:
            return start, end
    return (bounds[-2], bounds[-1]) if len(bounds) > 1 else (0.0, float("inf"))


class Seen:
    """The last known standing of windows and of what needs a lease. Bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_SEEN) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[str, tuple[float, float, float]] = OrderedDict()
        """Key -> units used, when that was, when it will be as if nothing had been used."""

    def note(self, takes: Sequence[Take], standings: Iterable[Standing]) -> None:
        """What the store answered after it had taken them."""
        now, known = self._clock(), self._known
        for take, standing in zip(takes, standings, strict=False):
            counter = take.counter
            if counter.closed or counter.kind in ("window", "rolling"):
                known[counter.key] = (standing.used, now, now + standing.reset)
                known.move_to_end(counter.key)
        while len(known) > self._most:
            known.popitem(last=False)

    def add(self, key: str, units: float) -> None:
        """More is used than was seen, or less; nothing happens to what nobody has seen."""
        found = self._known.get(key)
        if found is not None:
            used, at, reset = found
            self._known[key] = (max(0.0, used + units), at, reset)

    def standing(self, counter: Counter, wall: float) -> Standing | None:
        """How it must stand if nobody else has used any since; None: not known, or over. `wall`:
        epoch seconds."""
        found = self._known.get(counter.key)
        if found is None:
            return None
        used, at, reset = found
        now = self._clock()
        used -= counter.rate * max(0.0, now - at)
        if now >= reset or used <= 0:
            return None
        start = window(counter, wall)[0] if counter.kind == "window" else 0.0
        return Standing(used, 0.0, reset - now, start)

    def remaining(self, counter: Counter, wall: float) -> float:
        """Units that may still be had: all of them where nothing is known."""
        found = self.standing(counter, wall)
        return counter.most if found is None else max(0.0, counter.most - found.used)

    def __len__(self) -> int:
        """Counters remembered."""
        return len(self._known)


@dataclass(slots=True)
class _Lease:
    left: float
    opened: float
    ends: float
    """Epoch seconds: the end of its window."""


class Leases:
    """What this process may still spend of each counter until the store is back."""

    def __init__(
        self,
        seen: Seen,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_LEASES,
    ) -> None:
        self._seen = seen
        self._clock = clock
        self._most = most
        self._open: dict[str, _Lease] = {}

    def take(self, takes: Sequence[Take], processes: int, wall: float) -> bool:
        """Spend on all of them or on none. A lease is `SHARE` of the limit divided by the
        processes; if that is too little for the first request that needs it, that request; and
        never more than this process's part of what was last known to remain, so that processes
        that know the same do not pass the limit together."""
        chosen: list[tuple[_Lease, int]] = []
        for take in takes:
            lease = self._lease(take, processes, wall)
            if lease is None or take.amount > lease.left + 1e-9:
                return False
            chosen.append((lease, take.amount))
        for lease, amount in chosen:
            lease.left -= amount
        return True

    def _lease(self, take: Take, processes: int, wall: float) -> _Lease | None:
        counter = take.counter
        found = self._open.get(counter.key)
        if found is not None and wall < found.ends:
            return found
        if found is None and len(self._open) >= self._most:
            return None
        share = max(counter.most * SHARE / processes, float(take.amount))
        known = self._seen.standing(counter, wall)
        if known is not None:
            share = min(share, max(0.0, counter.most - known.used) / processes)
        ends = window(counter, wall)[1] if counter.kind == "window" else float("inf")
        found = _Lease(min(share, counter.most), self._clock(), ends)
        self._open[counter.key] = found
        return found

    def back(self, counter: Counter, units: float) -> None:
        """Give units back that were not used; negative: more were used."""
        found = self._open.get(counter.key)
        if found is not None:
            found.left += units

    def renew(self) -> None:
        """The store knows what was spent: those that are old enough begin anew if it goes away
        again."""
        now = self._clock()
        self._open = {
            key: one for key, one in self._open.items() if now - one.opened < RENEWED_AFTER
        }
