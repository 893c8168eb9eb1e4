"""All counts of a process by key: made when asked for, forgotten when idle, saved if they last."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from extproc.state.counters import Counter, Saved
from extproc.state.embedded.counting import Bucket, Concurrent, Count, Now, Reserved
from extproc.state.embedded.trend import Trend
from extproc.state.embedded.windows import Rolling, Window

MAKE: Final[dict[str, Callable[[], Count]]] = {
    kind.kind: kind for kind in (Bucket, Window, Rolling, Concurrent, Trend)
}

LOOKS: Final = 2
"""Counts looked at for each that was made, whether they may be forgotten. With two, those kept are
never more than about twice those in use."""


class Counts:
    """Counts by key."""

    __slots__ = ("_changed", "_counts", "_made", "_round")

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}
        self._round: deque[str] = deque()
        """Each key once, in the order in which they are looked at."""
        self._made = 0
        """Since the last `tidy`."""
        self._changed: dict[str, None] = {}

    def __len__(self) -> int:
        """Counts kept."""
        return len(self._counts)

    def get(self, counter: Counter) -> Count:
        """The count of a counter, made if there is none of that kind. It is good until
        the next `tidy` or `sweep`, which forget it if nothing was taken."""
        found = self._counts.get(counter.key)
        if found is not None and found.kind == counter.kind:
            return found
        if found is None:
            self._made += 1
            self._round.append(counter.key)
        made = self._counts[counter.key] = MAKE[counter.kind]()
        return made

    def tidy(self, now: Now) -> None:
        """Forget as much as was made."""
        if self._made:
            self.sweep(LOOKS * self._made, now)
            self._made = 0

    def sweep(self, looks: int, now: Now) -> None:
        """Forget those that are as if they had never been used, of as many as are looked at."""
        order, counts = self._round, self._counts
        for _ in range(min(looks, len(order))):
            key = order.popleft()
            if counts[key].over(now):
                del counts[key]
            else:
                order.append(key)

    def changed(self, counter: Counter) -> None:
        """A counter that lasts was used, or is no longer as its provider says."""
        if counter.lasting:
            self._changed[counter.key] = None

    def save(self, held: Iterable[Reserved], now: Now) -> list[Saved]:
        """Those that changed since the last call, as if what is held had been given back: after a
        crash nobody would."""
        if not self._changed:
            return []
        reserved: dict[str, list[Reserved]] = {key: [] for key in self._changed}
        for each in held:
            if each[0].key in reserved:
                reserved[each[0].key].append(each)
        self._changed.clear()
        return [
            self._saved(key, count, held, now)
            for key, held in reserved.items()
            if (count := self._counts.get(key)) is not None
        ]

    def _saved(self, key: str, count: Count, held: Sequence[Reserved], now: Now) -> Saved:
        shift = now.wall - now.steady
        expires = count.expires if isinstance(count, Window) else count.expires + shift
        return Saved(key, count.kind, count.save(held, shift), expires)

    def load(self, saved: Iterable[Saved], now: Now) -> None:
        """Put them back. What cannot be read, or is over, is left out."""
        shift = now.wall - now.steady
        for each in saved:
            make = MAKE.get(each.kind)
            if make is None or not all(map(math.isfinite, (*each.state, each.expires))):
                continue
            count = make()
            try:
                count.load(each.state, shift)
            except (ValueError, ZeroDivisionError, OverflowError):
                continue
            count.expires = each.expires if isinstance(count, Window) else each.expires - shift
            if count.over(now):
                continue
            if each.key not in self._counts:
                self._round.append(each.key)
            self._counts[each.key] = count
