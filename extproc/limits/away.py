"""Limits while the shared store is away: `Guarded`, a store made of the shared one and a local one.

- Limits on requests, limits over up to a minute, what is counted at once and providers' ceilings go
  on in this process's own store, with its share: the limit divided by the processes last known.
- Money, everything strict, and tokens over longer windows are spent from a small lease, then
  closed: `AwayError`.
- Runaways are not looked for meanwhile, and what hangs on them does not hold.

When the store is back it is told what was spent (`owed`), and only then asked again. Requests that
wait change places with the rest of the time they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from extproc.limits.leases import Leases, Seen, window
from extproc.limits.owed import Owed
from extproc.limits.shares import NOTHING, Share, corrections, share, whole
from extproc.state import StateError
from extproc.state.counters import (
    Ask,
    Correction,
    Counter,
    Crossed,
    LimitStore,
    Outcome,
    Settled,
    Standing,
    Take,
)

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1
"""Seconds until the store is looked for after it went away; doubled with each time in vain."""
LONGEST_PAUSE: Final = 1.0
CATCH_UP: Final = 50
"""Looks at a store that is there again, in each of which it may still be busy with what it kept
meanwhile: some five seconds."""
GRACE: Final = 1.0
"""Seconds of being away after which those who wait in the shared queue wait here: a single call
that came too late costs nobody his place."""


class AwayError(StateError):
    """The store is away, and what a lease allowed is used up."""

    def __init__(self, text: str, retry_after: float = LONGEST_PAUSE) -> None:
        """`retry_after`: seconds until it is worth asking again."""
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often Guarded does what, in seconds. Tests go faster."""

    first: float = FIRST_PAUSE
    longest: float = LONGEST_PAUSE
    grace: float = GRACE


@dataclass(slots=True)
class _Held:
    """What is held, or waits, in the local store."""

    share: Share
    outcome: Outcome
    """Of the whole ask."""
    local: Outcome = field(default_factory=lambda: Outcome("granted"))


class Guarded:
    """See the module. A `LimitStore`; the calls that wait raise StateError only as AwayError."""

    def __init__(
        self,
        shared: LimitStore,
        local: LimitStore,
        *,
        processes: int = 1,
        decided: Callable[[str], None] = lambda _: None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`processes`: at least so many share the limits. `decided`: hears of every decision made
        without the shared store: `local`, `lease` (granted), `denied`, `waiting`, `closed`."""
        self.owner = shared.owner
        self._shared = shared
        self._local = local
        self._least = max(1, processes)
        self._processes = self._least
        self._decided = decided
        self._pace = pace or Pace()
        self._clock = clock
        self._wall = wall
        self._seen = Seen(clock)
        self._leases = Leases(self._seen, clock)
        self._owed = Owed(self.owner, clock, wall)
        self._held: dict[str, _Held] = {}
        self._queued: dict[str, _Held] = {}
        self._away_since: float | None = None
        self._moved = False
        self._switch: asyncio.Future[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._stopped = False
        self._notify: Callable[[Crossed], None] | None = None
        """Set while the shared store has not been started."""

    @property
    def away(self) -> bool:
        """Decisions are made without the shared store."""
        return self._away_since is not None

    # --- asking -----------------------------------------------------------------------------

    async def admit(self, ask: Ask) -> Outcome:
        """See `LimitStore`. Raises AwayError."""
        if self._away_since is None:
            try:
                outcome = await self._shared.admit(ask)
            except StateError as error:
                # If it was taken without our hearing of it, the store gives it back.
                self._lost(error)
            else:
                if outcome.what == "granted":
                    self._seen.note(ask.takes, outcome.takes)
                return outcome
        return await self._admit_here(ask)

    async def _admit_here(self, ask: Ask) -> Outcome:
        held = self._held.get(ask.id) or self._queued.get(ask.id)
        if held is not None:
            return held.outcome
        foreign = ask.owner not in ("", self.owner)
        part = share(ask, self._processes, self._remaining, foreign=foreign)
        leases = part.leases
        if not self._leases.take(leases, self._processes, self._wall()):
            self._decided("closed")
            raise AwayError(
                "the store of limits is away, and what may be spent without it is spent"
            )
        try:
            local = Outcome("granted", self._wall())
            if not part.empty:
                local = await self._local.admit(part.ask)
        except BaseException:
            self._lease_back(leases)
            raise
        held = _Held(part, whole(part, local, self._standing), local)
        if local.what == "granted":
            self._granted(held)
        elif local.what == "waiting":
            self._queued[ask.id] = held
            self._decided("waiting")
        else:
            self._lease_back(leases)
            self._decided("denied")
        return held.outcome

    def _granted(self, held: _Held) -> None:
        self._decided("lease" if held.share.leases else "local")
        if held.share.foreign:
            self._settle_foreign(held)
        else:
            self._held[held.share.whole.id] = held

    async def turn(self, ask: Ask) -> Outcome:
        """See `LimitStore`. Raises AwayError when it can wait neither here nor there."""
        until = self._clock() + (ask.place.ttl if ask.place is not None else 0.0)
        while True:
            here = ask.id in self._queued
            store = self._local if here else self._shared
            asked = self._queued[ask.id].share.ask if here else ask
            try:
                outcome = await self._or_moved(store.turn(asked), here=here)
            except StateError as error:
                if here:
                    raise
                self._lost(error)
                outcome = None
            except asyncio.CancelledError:
                # Its turn may have come at this very moment.
                store.leave(ask.id, ask.owner)
                self._dequeue(ask.id)
                raise
            if outcome is not None:
                return self._turned(ask, outcome, here=here)
            self._dequeue(ask.id)
            again = await self._ask_again(ask, until - self._clock())
            if again is not None:
                return again

    def _turned(self, ask: Ask, outcome: Outcome, *, here: bool) -> Outcome:
        if not here:
            if outcome.what == "granted":
                self._seen.note(ask.takes, outcome.takes)
            return outcome
        held = self._queued.pop(ask.id)
        held.local, held.outcome = outcome, whole(held.share, outcome, self._standing)
        if outcome.what == "granted":
            self._granted(held)
        else:
            self._lease_back(held.share.leases)
        return held.outcome

    async def _ask_again(self, ask: Ask, left: float) -> Outcome | None:
        """Wait in the other queue; None: it does. Raises AwayError when there is no place."""
        if ask.place is None or left <= 0:
            return Outcome("expired", self._wall())
        place = msgspec.structs.replace(ask.place, ttl=left)
        outcome = await self.admit(msgspec.structs.replace(ask, place=place))
        if outcome.what == "waiting":
            return None
        if outcome.what in ("denied", "full"):
            raise AwayError(
                "the store of limits went away or came back, and there is no other place"
            )
        return outcome

    async def _or_moved(self, turn: Coroutine[Any, Any, Outcome], *, here: bool) -> Outcome | None:
        """The end of a wait, or None when it has to go on elsewhere. Raises what the turn does."""
        waiting = asyncio.ensure_future(turn)
        try:
            await asyncio.sleep(0)  # one that has not begun could not leave
            while not waiting.done() and self._may_wait(here=here):
                either: set[asyncio.Future[Any]] = {waiting, self._next_switch()}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Cancelled it leaves the queue, unless its turn has come at this very moment.
            if waiting.cancel():
                await asyncio.wait({waiting})
        return None if waiting.cancelled() else waiting.result()

    def leave(self, ask_id: str, owner: str = "") -> None:
        """See `LimitStore`."""
        held = self._held.pop(ask_id, None)
        if held is not None:
            self._local.leave(ask_id)
            self._lease_back(held.share.leases)
        elif ask_id in self._queued:
            self._local.leave(ask_id)
            self._dequeue(ask_id)
        else:
            self._shared.leave(ask_id, owner)

    # --- what was used ------------------------------------------------------------------------

    def settle(self, settled: Settled) -> None:
        """See `LimitStore`. What was granted here is owed to the shared store."""
        held = self._held.pop(settled.id, None)
        if held is None:
            if not settled.only_held:  # else nobody knows whether it took anything
                for take, used in zip(settled.takes, settled.used, strict=False):
                    self._seen.add(take.counter.key, used - take.amount)
            self._shared.settle(settled)
            return
        by_key = {
            take.counter.key: used for take, used in zip(settled.takes, settled.used, strict=False)
        }
        self._settle_here(held, by_key)
        for take in held.share.leases:
            used = by_key.get(take.counter.key, 0)
            self._leases.back(take.counter, take.amount - used)
            self._seen.add(take.counter.key, used)
        for take, standing, used in zip(
            settled.takes, settled.standings, settled.used, strict=False
        ):
            self._owe(take, used, standing.at)

    def _settle_here(self, held: _Held, used: Mapping[str, int]) -> None:
        if held.share.empty:
            return
        ask, outcome = held.share.ask, held.local
        takes, standings = ask.takes, outcome.takes
        if outcome.option >= 0:
            takes += ask.options[outcome.option].takes
            standings += outcome.levels
        units = tuple(used.get(take.counter.key, 0) for take in takes)
        self._local.settle(Settled(ask.id, takes, standings, units))

    def _settle_foreign(self, held: _Held) -> None:
        """Of what another process will settle nothing more is heard: it has used what it took."""
        whole_, outcome = held.share.whole, held.outcome
        takes, standings = whole_.takes, outcome.takes
        if outcome.option >= 0:
            takes += whole_.options[outcome.option].takes
            standings += outcome.levels
        self._settle_here(held, {take.counter.key: take.amount for take in takes})
        for take, standing in zip(takes, standings, strict=False):
            self._owe(take, take.amount, standing.at)

    def _owe(self, take: Take, used: int, at: float) -> None:
        if take.guard >= 0:
            return
        if take.counter.kind == "window" and not at:
            at = window(take.counter, self._wall())[0]
        self._owed.add(take.counter, used, at, self._processes)
        self._mend()

    def correct(self, corrected: Sequence[Correction]) -> None:
        """See `LimitStore`."""
        self._shared.correct(corrected)
        if self.away:
            self._local.correct(corrections(corrected, self._processes))

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        """See `LimitStore`. While the store is away: what was last seen of windows, and nothing
        of the rest."""
        if self._away_since is None:
            try:
                return await self._shared.peek(counters)
            except StateError as error:
                self._lost(error)
        return [self._standing(one) for one in counters]

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """See `LimitStore`. And `away`: `now` (0 or 1), `processes` that share, counters `owed` to
        the shared store, charges `lost` for want of room."""
        found = {name: dict(each) for name, each in self._shared.figures().items()}
        waiting = found.setdefault("waiting", {})
        for label, number in self._local.figures().get("waiting", {}).items():
            waiting[label] = waiting.get(label, 0.0) + number
        held = found.setdefault("held", {})
        held["away"] = float(len(self._held))
        found["away"] = {
            "now": float(self.away),
            "processes": float(self._processes),
            "owed": float(len(self._owed)),
            "lost": float(self._owed.lost),
        }
        return found

    # --- coming and going ---------------------------------------------------------------------

    async def start(self, notify: Callable[[Crossed], None]) -> None:
        """See `LimitStore`. A store that is away is started when it comes."""
        await self._local.start(lambda _: None)
        self._notify = notify
        try:
            await self._start_shared()
        except StateError as error:
            self._lost(error)

    async def stop(self) -> None:
        """See `LimitStore`. Tells what is owed if it can."""
        self._stopped = True
        if self._mending is not None:
            self._mending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._mending
        for ask_id in [*self._held, *self._queued]:
            self.leave(ask_id)
        if len(self._owed):
            with contextlib.suppress(StateError):
                await self._owed.tell(self._shared, self._processes)
        if len(self._owed):
            log.error(
                "stopped before the store of limits was back: what was spent meanwhile is lost",
                extra={"counters": len(self._owed)},
            )
        await self._local.stop()
        await self._shared.stop()

    async def ping(self) -> None:
        """See `LimitStore`: of the shared one."""
        await self._shared.ping()

    async def _start_shared(self) -> None:
        if self._notify is not None:
            await self._shared.start(self._notify)
            self._notify = None

    def _lost(self, error: StateError) -> None:
        if self._away_since is not None:
            return
        self._away_since = self._clock()
        self._moved = False
        alive = self._shared.figures().get("owners", {}).get("alive", 0.0)
        self._processes = max(self._least, int(alive))
        log.error(
            "the store of limits is away: limits go on with a share of %d, money and long token "
            "windows with a small lease",
            self._processes,
            extra={"reason": str(error)},
        )
        self._mend()

    def _mend(self) -> None:
        if not self._stopped and (self._mending is None or self._mending.done()):
            self._mending = asyncio.get_running_loop().create_task(self._mended())

    async def _mended(self) -> None:
        """Until the store is there and has been told everything."""
        pause, there = self._pace.first, 0
        while self.away or len(self._owed):
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))  # noqa: S311 - not to come all at once
            try:
                await self._start_shared()
                await self._shared.ping()
                pause, there = self._pace.first, there + 1
                # One who comes back to its queue must not be taken out of it by his having left.
                if self._behind() and there < CATCH_UP:
                    continue
                self._back(await self._owed.tell(self._shared, self._processes))
            except StateError as error:
                self._lost(error)
                pause, there = min(2 * pause, self._pace.longest), 0
            except Exception:
                log.exception("the store of limits could not be told what was spent without it")
                pause = self._pace.longest
            self._move_on()

    def _move_on(self) -> None:
        """Call those who wait in the shared queue here, when it has been away for long enough."""
        if self._away_since is None or self._moved:
            return
        if self._clock() - self._away_since >= self._pace.grace:
            self._moved = True
            self._switched()

    def _behind(self) -> float:
        """What the store kept and has yet to take."""
        return self._shared.figures().get("behind", {}).get("settlements", 0.0)

    def _back(self, charged: int) -> None:
        if self._away_since is None:
            return
        seconds = self._clock() - self._away_since
        self._away_since = None
        self._moved = False
        self._leases.renew()
        log.warning(
            "the store of limits is back",
            extra={"seconds": round(seconds, 3), "charged": charged, "held": len(self._held)},
        )
        self._switched()

    def _may_wait(self, *, here: bool) -> bool:
        """Whether one who waits is where he belongs."""
        return self.away if here else not self._moved

    def _next_switch(self) -> asyncio.Future[None]:
        if self._switch is None:
            self._switch = asyncio.get_running_loop().create_future()
        return self._switch

    def _switched(self) -> None:
        if self._switch is not None:
            self._switch.set_result(None)
            self._switch = None

    # --- small things -------------------------------------------------------------------------

    def _dequeue(self, ask_id: str) -> None:
        held = self._queued.pop(ask_id, None)
        if held is not None:
            self._lease_back(held.share.leases)

    def _lease_back(self, takes: Sequence[Take]) -> None:
        for take in takes:
            self._leases.back(take.counter, take.amount)

    def _remaining(self, counter: Counter) -> float:
        return self._seen.remaining(counter, self._wall())

    def _standing(self, counter: Counter) -> Standing:
        """How a counter stands that the local store does not have."""
        wall = self._wall()
        found = self._seen.standing(counter, wall)
        if found is not None:
            return found
        if counter.kind != "window":
            return NOTHING
        start, end = window(counter, wall)
        return Standing(0.0, 0.0, max(0.0, end - wall), start)
