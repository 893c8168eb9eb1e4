"""What was spent while the shared store was away, until the store has been told.

Spending is summed up by counter and told in batches. A batch is a forced take under an id of its
own, asked for again and again until it is answered, and settled at once: a store that took it
without our hearing of it takes it no second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from extproc.limits.leases import window
from extproc.state import StateError
from extproc.state.counters import Ask, Counter, LimitStore, Outcome, Settled, Take

log = logging.getLogger(__name__)

BATCH: Final = 200
"""Counters told at once: one script of a millisecond or two."""
TRIES: Final = 20
"""Times that a batch is told to a store that answers otherwise: whoever calls `tell` looks before
that it is there. A batch that no store will ever take must not keep all others from it."""
MOST: Final = 100_000
"""Counters that are owed at once: some 50 MB. What comes after them is lost, and counted."""


@dataclass(slots=True)
class _Debt:
    counter: Counter
    amount: float
    at: float
    """Monotonic seconds: when `amount` was right."""
    start: float
    """Of the window that it was spent in, epoch seconds; 0 for other kinds."""


class Owed:
    """Spending by counter. Not for counts of what is at once, nor for trends: an hour's spending
    told in one moment would look like a runaway."""

    def __init__(
        self,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        most: int = MOST,
    ) -> None:
        """`owner`: unlike any other process's."""
        self._owner = owner
        self._clock = clock
        self._wall = wall
        self._most = most
        self._debts: dict[str, _Debt] = {}
        self._telling: Ask | None = None
        self._told = 0
        self._refused = 0
        self.lost = 0
        """Charges of counters for which there was no room."""

    def add(self, counter: Counter, amount: int, at: float, processes: int) -> None:
        """So many units were spent, in the window that began at `at`. What flows back meanwhile
        into this process's share is owed no more."""
        if amount <= 0 or counter.kind in ("concurrent", "trend"):
            return
        start = at if counter.kind == "window" else 0.0
        now = self._clock()
        debt = self._debts.get(counter.key)
        if debt is None:
            if len(self._debts) >= self._most:
                self.lost += 1
                return
            self._debts[counter.key] = _Debt(counter, float(amount), now, start)
        elif start < debt.start:
            return  # of a window that is over
        elif start > debt.start:
            self._debts[counter.key] = _Debt(counter, float(amount), now, start)
        else:
            debt.amount = _left(debt, now, processes) + amount
            debt.at, debt.counter = now, counter

    async def tell(self, store: LimitStore, processes: int) -> int:
        """Tell all that is owed. Returns how many counters were charged; raises StateError, and
        is to be called again then."""
        charged = 0
        while (ask := self._next(processes)) is not None:
            outcome = await self._asked(store, ask)
            if outcome is None:
                continue
            amounts = tuple(take.amount for take in ask.takes)
            store.settle(Settled(ask.id, ask.takes, outcome.takes, amounts))
            charged += len(ask.takes)
        return charged

    async def _asked(self, store: LimitStore, ask: Ask) -> Outcome | None:
        try:
            outcome = await store.admit(ask)
        except StateError as error:
            self._refused += 1
            if self._refused < TRIES:
                raise
            log.error(  # noqa: TRY400 - the reason is all there is to tell
                "the store of limits does not take what was spent without it: it is lost",
                extra={"reason": str(error), "counters": len(ask.takes)},
            )
            self.lost += len(ask.takes)
            outcome = None
        self._telling, self._refused = None, 0
        return outcome

    def _next(self, processes: int) -> Ask | None:
        if self._telling is not None:
            return self._telling
        takes: list[Take] = []
        now, wall = self._clock(), self._wall()
        for key in list(self._debts)[: BATCH * 4]:
            debt = self._debts.pop(key)
            amount = round(_left(debt, now, processes))
            if amount > 0 and not _over(debt, wall):
                takes.append(Take(debt.counter, amount, force=True))
                if len(takes) == BATCH:
                    break
        if not takes:
            return self._next(processes) if self._debts else None
        self._told += 1
        self._telling = Ask(f"{self._owner}:away:{self._told}", tuple(takes))
        return self._telling

    def __len__(self) -> int:
        """Counters that the store does not know the truth of."""
        return len(self._debts) + (len(self._telling.takes) if self._telling else 0)


def _left(debt: _Debt, now: float, processes: int) -> float:
    """What has not flowed back of it. A rolling window is taken for a bucket of the same mean."""
    counter = debt.counter
    rate = counter.rate
    if counter.kind == "rolling" and counter.period > 0:
        rate = counter.most / counter.period
    return max(0.0, debt.amount - rate / processes * max(0.0, now - debt.at))


def _over(debt: _Debt, wall: float) -> bool:
    """Its window is over: to charge it now would begin the old window anew."""
    return debt.counter.kind == "window" and wall >= window(debt.counter, debt.start)[1]
