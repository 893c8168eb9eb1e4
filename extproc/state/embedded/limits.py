"""The limits' store of a single process: `MemoryLimits`.

Every call is one step of the event loop, so nothing comes between what it reads and what it writes.
Who waits is woken by a future; one timer stands at the next moment at which time alone lets
somebody go, or is over for somebody.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

from extproc.state.counters import (
    BEAT,
    LEASE,
    Ask,
    Correction,
    Counter,
    Crossed,
    Outcome,
    Saved,
    Settled,
    Standing,
)
from extproc.state.embedded.asks import Book, Hold, Judged, length, stand, take_all, unfit
from extproc.state.embedded.counting import Now, Reserved
from extproc.state.embedded.counts import Counts
from extproc.state.embedded.turns import Blocked, Turns, Waiter

DONE_SECONDS: Final = 300.0
"""How long an id is remembered whose request has ended: longer than anybody says so twice."""
MOST_DONE: Final = 65_536
"""Ids remembered at most; some 10 MB."""
ROUND: Final = 1000
"""Counts looked at on each beat: below a millisecond."""
LATE: Final = 0.001
"""Seconds added to a timer: woken a rounding error too early, nobody could go."""

Full = Literal["", "all", "class", "tenant", "feature"]


def steady_clock() -> Callable[[], float]:
    """Epoch seconds that nobody can set: the wall clock as it was at the call, gone on evenly."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


class MemoryLimits:
    """See `LimitStore`. `steady` and `wall`: clocks in seconds; windows keep to `wall`, everything
    else to `steady`."""

    def __init__(
        self,
        *,
        steady: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        owner: str = "",
    ) -> None:
        self.owner = owner or uuid.uuid4().hex
        self._steady = steady or steady_clock()
        self._wall = wall
        self._counts = Counts()
        self._book = Book(self._counts)
        self._turns = Turns()
        self._waiters: dict[str, Waiter] = {}
        """Those in the queue, and those out of it whose outcome nobody has fetched."""
        self._held: dict[str, Hold] = {}
        self._done: dict[str, float] = {}
        self._done_order: deque[tuple[float, str]] = deque()
        self._owners: dict[str, float] = {}
        """When each but this process was heard of last."""
        self._heard = self._steady()
        """When anybody was."""
        self._stuck: set[str] | None = None
        """What those wait for who were looked at in the last pass: nobody can go before `_look_at`
        unless something of it is given back. None: somebody else may be first by now."""
        self._look_at = 0.0
        self._notify: Callable[[Crossed], None] = _nobody
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None

    # --- asking ---------------------------------------------------------------------------

    async def admit(self, ask: Ask) -> Outcome:
        """See `LimitStore`."""
        now = self._now()
        owner = ask.owner or self.owner
        if owner != self.owner:
            self._owners.setdefault(owner, now.steady)
        place = ask.place
        if place is not None:
            self._expire(now)
        hold = self._held.get(ask.id)
        if hold is not None and hold.outcome is not None:
            return hold.outcome
        found = self._waiters.get(ask.id)
        if found is not None and found.outcome is None:
            return self._waiting(found, now)
        self._done.pop(ask.id, None)
        judged = self._book.judge(ask.takes, now)
        lasts = place is not None and place.ttl > 0
        missing = unfit(judged)
        if missing and not (lasts and all(take.queue for take, *_ in missing)):
            return self._refused("denied", ask, now, judged)
        if not missing and not self._passes(ask, lasts=lasts):
            option, rest = self._book.choose(ask, now, judged)
            if option >= 0 or not ask.options:
                return self._grant(Hold(ask, owner), judged, (option, rest), now)
        if place is None or not lasts:
            return self._refused("denied", ask, now, judged)
        holds = not missing and not self._turns.awaited(ask)
        seq, deadline = self._turns.next_seq(), now.steady + place.ttl
        waiter = Waiter(ask, place, owner, seq=seq, deadline=deadline, holds=holds)
        return self._enqueue(waiter, judged, now)

    def _passes(self, ask: Ask, *, lasts: bool) -> bool:
        """Whether it would pass by somebody who came before it."""
        place = ask.place
        if place is None or not self._turns:
            return False
        if lasts:
            return place.pool in self._turns.pools
        return bool(ask.options) and place.pool in self._turns.holding

    def _enqueue(self, waiter: Waiter, judged: Sequence[Judged], now: Now) -> Outcome:
        """Depth is looked at last, so that nobody is refused for it who need not wait at all."""
        ask, place = waiter.ask, waiter.place
        self._loop = asyncio.get_running_loop()
        if waiter.holds:
            hold = self._held[ask.id] = Hold(ask, waiter.owner)
            hold.standings = take_all(judged, now)
        self._waiters[ask.id] = waiter
        self._turns.add(waiter)
        self._dispatch(now)
        full: Full = ""
        if waiter.outcome is None:
            full = self._turns.too_deep(waiter)
            if not full and len(self._turns) > place.depth:
                victim = self._turns.youngest_below(place.rank)
                full = "all" if victim is None else ""
                if victim is not None:
                    self._drop(victim, "displaced", now)
                    self._dispatch(now)
        if full:
            self._drop(waiter, "full", now, full)
            self._dispatch(now)
        if waiter.outcome is None:
            return self._waiting(waiter, now)
        del self._waiters[ask.id]
        return waiter.outcome

    async def turn(self, ask: Ask) -> Outcome:
        """See `LimitStore`."""
        waiter = self._waiters.get(ask.id)
        if waiter is None:
            hold = self._held.get(ask.id)
            if hold is not None and hold.outcome is not None:
                return hold.outcome
            return self._refused("expired", ask, self._now())
        if waiter.outcome is None:
            waiter.future = asyncio.get_running_loop().create_future()
        outcome = waiter.outcome
        if waiter.future is not None:
            try:
                outcome = await waiter.future
            except asyncio.CancelledError:
                self.leave(ask.id)
                raise
        self._waiters.pop(ask.id, None)
        return outcome if outcome is not None else self._refused("expired", ask, self._now())

    # --- ending ---------------------------------------------------------------------------

    def leave(self, ask_id: str, owner: str = "") -> None:
        """See `LimitStore`."""
        del owner  # there is one store, whoever serves the request
        if ask_id in self._done:
            return
        now = self._now()
        self._end(ask_id, now)
        waiter = self._waiters.pop(ask_id, None)
        if waiter is not None and waiter.outcome is None:
            self._remove(waiter, Outcome("expired", now.wall))
        freed = self._give_back(ask_id, now)
        self._dispatch(now, freed)

    def settle(self, settled: Settled) -> None:
        """See `LimitStore`."""
        if settled.id in self._done:
            return
        waiter = self._waiters.get(settled.id)
        if waiter is not None and waiter.outcome is None:
            self.leave(settled.id)
            return
        hold = self._held.pop(settled.id, None)
        if hold is None and settled.only_held:
            return
        now = self._now()
        self._waiters.pop(settled.id, None)
        self._end(settled.id, now)
        held = list(hold.reserved()) if hold is not None else []
        freed = [each[0].key for each in held]
        crossed = self._exchange(settled, held, now)
        self._dispatch(now, freed)
        for event in crossed:
            self._notify(event)

    def _exchange(self, settled: Settled, held: list[Reserved], now: Now) -> list[Crossed]:
        """Put what was used in the place of what was held; the rest of that is given back."""
        crossed = []
        for index, take in enumerate(settled.takes):
            counter = take.counter
            standing = settled.standings[index] if index < len(settled.standings) else None
            reserved = _fetch(held, counter.key)
            if reserved is None and standing is not None and standing.at < 0.0:
                continue
            count = self._counts.get(counter)
            if reserved is None:
                standing = standing or count.standing(counter, 0.0, now)
                reserved = (counter, 0, standing.at)
            count.exchange(reserved, settled.used[index], now)
            self._counts.changed(counter)
            if (event := count.crossed(counter, now)) is not None:
                crossed.append(event)
        for each in held:
            self._counts.get(each[0]).give_back(each, now)
        return crossed

    def correct(self, corrections: Sequence[Correction]) -> None:
        """See `LimitStore`."""
        now = self._now()
        for each in corrections:
            count = self._counts.get(each.counter)
            if each.remaining is not None:
                count.lower(each.counter, each.remaining, now)
            if each.until is not None:
                count.block(each.until, now)
            self._counts.changed(each.counter)
        self._dispatch(now, ())

    def _end(self, ask_id: str, now: Now) -> None:
        """Remember that it is over."""
        self._done[ask_id] = now.steady
        self._done_order.append((now.steady, ask_id))
        self._forget(now)

    def _forget(self, now: Now) -> None:
        order = self._done_order
        while order and (len(order) > MOST_DONE or now.steady - order[0][0] >= DONE_SECONDS):
            at, ask_id = order.popleft()
            if self._done.get(ask_id) == at:
                del self._done[ask_id]

    # --- counters -------------------------------------------------------------------------

    def _now(self) -> Now:
        """The moment of a call. Only here, when nobody holds a count in his hands, idle ones go."""
        now = Now(self._steady(), self._wall())
        self._counts.tidy(now)
        return now

    def _grant(
        self,
        hold: Hold,
        judged: Sequence[Judged],
        chosen: tuple[int, Sequence[Judged]],
        now: Now,
    ) -> Outcome:
        """`judged`: what is not held yet. `chosen`: the option and its takes."""
        if judged:
            hold.standings = take_all(judged, now)
        option, rest = chosen
        outcome = Outcome("granted", now.wall, hold.standings, option, take_all(rest, now))
        hold.outcome = outcome
        self._held[hold.ask.id] = hold
        return outcome

    def _give_back(self, ask_id: str, now: Now) -> list[str]:
        """Returns the keys of what was held."""
        hold = self._held.pop(ask_id, None)
        held = list(hold.reserved()) if hold is not None else []
        for each in held:
            self._counts.get(each[0]).give_back(each, now)
        return [each[0].key for each in held]

    def _refused(
        self,
        what: Literal["denied", "full", "expired", "displaced"],
        ask: Ask,
        now: Now,
        judged: Sequence[Judged] | None = None,
        full: Full = "",
    ) -> Outcome:
        if judged is None:
            judged = self._book.judge(ask.takes, now)
        levels = self._book.levels(ask, now, judged)
        return Outcome(what, now.wall, stand(judged, now), levels=levels, full=full)

    def _waiting(self, waiter: Waiter, now: Now) -> Outcome:
        hold = self._held.get(waiter.ask.id)
        if hold is not None:
            standings, before = hold.standings, list[Judged]()
        else:
            before = self._book.judge(waiter.ask.takes, now)
            standings = stand(before, now)
        levels = self._book.levels(waiter.ask, now, before)
        position = self._turns.position(waiter)
        return Outcome("waiting", now.wall, standings, levels=levels, position=position)

    # --- the queue ------------------------------------------------------------------------

    def _dispatch(self, now: Now, freed: Collection[str] | None = None) -> None:
        """Let everybody go whose turn it is and who has room. `freed`: keys of the only counters
        of which there may be more than at the last call; None: of any."""
        if not self._turns:
            return
        self._expire(now)
        if (
            freed is not None
            and self._stuck is not None
            and now.steady < self._look_at
            and self._stuck.isdisjoint(freed)
        ):
            return
        while self._pass(now):
            pass

    def _pass(self, now: Now) -> bool:
        """Let everybody go for whom there is room behind those who have to wait. Whether it has to
        be done again: turns change the order, and who was held up by another may be before him."""
        blocked, stuck, soonest = Blocked(), set[str](), math.inf
        granted = False
        while (waiter := self._turns.pick(blocked)) is not None:
            ask = waiter.ask
            judged = [] if waiter.holds else self._book.judge(ask.takes, now)
            missing = unfit(judged)
            if missing:
                blocked.counters.update(take.counter.key for take, *_ in missing)
                soonest = min(soonest, *map(length, missing))
                continue
            option, rest = self._book.choose(ask, now, judged)
            if option < 0 and ask.options:
                blocked.pools.add(waiter.place.pool)
                stuck.update(take.counter.key for each in ask.options for take in each.takes)
                levels = self._book.levels(ask, now, judged)
                soonest = min(
                    soonest, *(each.wait for each in levels if each.wait >= 0.0), math.inf
                )
                continue
            granted = True
            self._turns.charge(waiter)
            hold = self._held.get(ask.id) or Hold(ask, waiter.owner)
            self._remove(waiter, self._grant(hold, judged, (option, rest), now))
        self._stuck, self._look_at = stuck | blocked.counters, now.steady + soonest
        self._wake_at(soonest, now)
        needed = self._turns.needed
        return granted and any(needed[key] > 1 for key in blocked.counters)

    def _expire(self, now: Now) -> None:
        for waiter in self._turns.overdue(now.steady):
            self._drop(waiter, "expired", now)

    def _drop(
        self,
        waiter: Waiter,
        what: Literal["full", "expired", "displaced"],
        now: Now,
        full: Full = "",
    ) -> None:
        """Out of the queue without a turn."""
        self._give_back(waiter.ask.id, now)
        self._remove(waiter, self._refused(what, waiter.ask, now, full=full))

    def _remove(self, waiter: Waiter, outcome: Outcome) -> None:
        self._turns.remove(waiter)
        self._stuck = None
        waiter.outcome = outcome
        if waiter.future is not None and not waiter.future.done():
            waiter.future.set_result(outcome)

    def _wake_at(self, seconds: float, now: Now) -> None:
        """Have the queue looked at again. A timer that is too early is let be: it does no harm."""
        deadline = self._turns.deadline()
        if deadline is None or self._loop is None:
            return
        delay = max(0.0, min(seconds, deadline - now.steady)) + LATE
        when = self._loop.time() + delay
        if self._timer is not None and self._timer.when() > when:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._dispatch(self._now())

    # --- life -----------------------------------------------------------------------------

    def beat(self, owner: str = "") -> None:
        """An owner is alive (empty: this process). Those of whom nothing was heard for `LEASE`
        seconds are not: what they held is given back, and they wait no longer."""
        now = self._now()
        if now.steady - self._heard > LEASE:
            # Nobody could say a word: this process stood still.
            self._owners = dict.fromkeys(self._owners, now.steady)
        self._heard = now.steady
        if owner not in ("", self.owner):
            self._owners[owner] = now.steady
        for lost in [name for name, at in self._owners.items() if now.steady - at > LEASE]:
            self._lapse(lost, now)
        for ask_id, waiter in list(self._waiters.items()):
            if waiter.outcome and not waiter.future and now.steady > waiter.deadline + LEASE:
                del self._waiters[ask_id]
        self._dispatch(now)
        self._counts.sweep(ROUND, now)
        self._forget(now)

    def _lapse(self, owner: str, now: Now) -> None:
        del self._owners[owner]
        for waiter in [each for each in self._waiters.values() if each.owner == owner]:
            del self._waiters[waiter.ask.id]
            if waiter.outcome is None:
                self._remove(waiter, Outcome("expired", now.wall))
        for ask_id in [ask_id for ask_id, hold in self._held.items() if hold.owner == owner]:
            self._give_back(ask_id, now)

    async def start(self, notify: Callable[[Crossed], None]) -> None:
        """See `LimitStore`."""
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._heard = self._steady()
        self._beating = self._loop.call_later(BEAT, self._beat_again)

    def _beat_again(self) -> None:
        self.beat()
        if self._loop is not None:
            self._beating = self._loop.call_later(BEAT, self._beat_again)

    async def stop(self) -> None:
        """See `LimitStore`."""
        for timer in (self._beating, self._timer):
            if timer is not None:
                timer.cancel()
        self._beating = self._timer = self._loop = None
        now = self._now()
        for waiter in self._waiters.values():
            if waiter.outcome is None:
                self._remove(waiter, Outcome("expired", now.wall))
        for ask_id in list(self._held):
            self._give_back(ask_id, now)

    async def ping(self) -> None:
        """Memory is always there."""

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        """See `LimitStore`. `wait` is for one unit."""
        now = self._now()
        counts = [(counter, self._counts.get(counter)) for counter in counters]
        return [
            count.standing(counter, count.wait(counter, 1, now), now) for counter, count in counts
        ]

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """See `LimitStore`."""
        waiting: dict[str, float] = {}
        for waiter in self._waiters.values():
            if waiter.outcome is None and waiter.owner == self.owner:
                waiting[waiter.place.label] = waiting.get(waiter.place.label, 0.0) + 1.0
        return {
            "waiting": waiting,
            "owners": {"alive": 1.0 + len(self._owners)},
            "held": {"ids": float(len(self._held))},
            "behind": {"settlements": 0.0},
        }

    # --- what lasts -----------------------------------------------------------------------

    def dirty(self) -> list[Saved]:
        """Lasting counters that changed since the last call, each once, without what is only
        held: after a crash nobody would give that back."""
        held = (each for hold in self._held.values() for each in hold.reserved())
        return self._counts.save(held, self._now())

    def load(self, saved: Iterable[Saved]) -> None:
        """Put counters back as they were saved, before `start`."""
        self._counts.load(saved, self._now())


def _fetch(held: list[Reserved], key: str) -> Reserved | None:
    """Take the first of a counter out of what is held."""
    for index, each in enumerate(held):
        if each[0].key == key:
            return held.pop(index)
    return None


def _nobody(event: Crossed) -> None:
    """Hears of what happens before the store is started."""
    del event
