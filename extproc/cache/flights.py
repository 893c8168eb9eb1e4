"""One flight: of many who want the same answer at once, one asks for it and the others wait.

Who comes first here takes a lease, so that workers do not ask twice either. Who waits here hears of
the end at once; who waits in another worker looks at the lease every few hundredths of a second.
Whatever is wrong with the leases, the request goes on: it leads, alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from extproc.state import StateError
from extproc.state.answers import Entry
from extproc.state.flights import KEPT_SECONDS, FlightLeases

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.03
"""Seconds between two looks at the leases of other workers."""
GRACE: Final = 0.06
"""Seconds for which such looks may fail before those who wait are freed."""
MOST: Final = 50_000
"""Flights known at once; beyond them everybody goes alone."""
LONGEST: Final = 900.0
"""Seconds after which a leader that never said how it ended is taken for failed: no request takes
longer."""
_RENEWED: Final = 0.3
"""Of a lease's time: two renewals may be lost."""
_LONGEST_PUT: Final = 30.0
_AT_ONCE: Final = 256
_TOKEN: Final = 16


class _Air:
    """A flight as this worker knows it."""

    __slots__ = ("exact", "future", "landed", "since", "token", "waiting")

    def __init__(self, exact: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.exact = exact
        self.token = os.urandom(_TOKEN)
        self.future: asyncio.Future[Entry | None] = loop.create_future()
        self.since = loop.time()
        """When its leader began, or landed."""
        self.landed = False
        self.waiting = 0


class Flights:
    """Flights of this worker, and, by leases, of others. To be used from one event loop."""

    def __init__(
        self, leases: FlightLeases, get: Callable[[bytes], Awaitable[Entry | None]]
    ) -> None:
        """`get`: as of `CacheStore`; fetches what another worker landed."""
        self._leases = leases
        self._get = get
        self._known: dict[bytes, _Air] = {}
        self._led: dict[bytes, _Air] = {}
        self._watched: dict[bytes, _Air] = {}
        self._ended: dict[bytes, tuple[bytes, bool, float]] = {}
        """Leases to be given back: token, whether the answer is kept, when it was over."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def __len__(self) -> int:
        """Flights known here."""
        return len(self._known)

    def start(self) -> None:
        """Connect to the leases, so that the first request need not. May be left out."""
        self._spawn(self._connect())

    async def _connect(self) -> None:
        with contextlib.suppress(StateError):  # the first who joins tries again
            await self._leases.ping()

    async def join(self, exact: bytes, *, patient: bool = False) -> Flight:
        """The flight of an exact key. Never raises; takes one round trip at most, 10 ms at the
        longest, then the caller leads; 100 where it is `patient`, since the store has just
        answered it."""
        loop = asyncio.get_running_loop()
        air = self._known.get(exact)
        if air is not None:
            return Flight(self, air, leads=False)
        air = _Air(exact, loop)
        if self._closed or len(self._known) >= MOST:
            return Flight(self, air, leads=True)
        # Before the lease is asked for: who joins meanwhile waits with us.
        self._known[exact] = air
        try:
            mine = await self._leases.take(exact, air.token, patient=patient)
        except StateError:
            mine = True
        except asyncio.CancelledError:
            self._finish(air, None)
            self._release(air, kept=False)
            raise
        except Exception:
            log.exception("a lease was not to be had")
            mine = True
        if self._known.get(exact) is not air:  # closed meanwhile
            self._release(air, kept=False)
            return Flight(self, air, leads=True)
        if mine:
            self._led[exact] = air
            self._run("renew", self._renew)
        else:
            self._watched[exact] = air
            self._run("look", self._look)
        return Flight(self, air, leads=mine)

    async def close(self) -> None:
        """Free all who wait and give the leases back."""
        if self._closed:
            return
        self._closed = True
        for air in list(self._known.values()):
            self._finish(air, None)
            if air.exact in self._led:
                self._release(air, kept=False)
        self._led.clear()
        self._known.clear()
        try:
            async with asyncio.timeout(1.0):
                while (task := self._busy.get("release")) is not None:
                    await asyncio.wait((task,))
        except TimeoutError:
            pass  # the leases end by themselves
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._leases.close()

    # --- for Flight -------------------------------------------------------------------------

    def land(self, air: _Air, entry: Entry | None) -> None:
        """See `Flight`."""
        if air.landed:
            return
        air.landed = True
        air.since = asyncio.get_running_loop().time()
        if not air.future.done():
            air.future.set_result(entry)
        if entry is None:
            self.leave(air, stored=False)

    def leave(self, air: _Air, *, stored: bool) -> None:
        """See `Flight.kept`."""
        if not air.landed or self._led.get(air.exact) is not air:
            return
        del self._led[air.exact]
        if self._known.get(air.exact) is air:
            del self._known[air.exact]
            if stored:
                self._remember(air.exact)
        self._release(air, kept=stored)

    def unwatch(self, air: _Air) -> None:
        """Nobody waits any more for what another worker does."""
        if self._watched.get(air.exact) is air:
            self._finish(air, None)

    def fetch(self, air: _Air) -> None:
        """Its answer is in the store: get it for those who wait, once."""
        if not air.landed:
            air.landed = True
            self._spawn(self._fetch(air))

    # --- in the background ------------------------------------------------------------------

    def _remember(self, exact: bytes) -> None:
        """Who looked into the store just before the answer came there, and joins only now, is sent
        there again."""
        loop = asyncio.get_running_loop()
        air = _Air(exact, loop)
        air.token = b""
        self._known[exact] = air
        loop.call_later(KEPT_SECONDS, self._finish, air, None)

    async def _fetch(self, air: _Air) -> None:
        entry = None
        try:
            entry = await self._get(air.exact)
        except StateError:
            pass  # those who wait go alone
        except Exception:
            log.exception("an answer that had landed was not to be got")
        finally:
            self._finish(air, entry)

    def _finish(self, air: _Air, entry: Entry | None) -> None:
        """It is known no more; who waits gets the entry."""
        self._overlook(air)
        if self._known.get(air.exact) is air:
            del self._known[air.exact]
        if not air.future.done():
            air.future.set_result(entry)

    def _overlook(self, air: _Air) -> None:
        """It is looked at no more; another of the same key may be."""
        if self._watched.get(air.exact) is air:
            del self._watched[air.exact]

    async def _look(self) -> None:
        """Look at what other workers do, as long as somebody waits for it."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while self._watched:
            some = list(self._watched.values())
            try:
                standings = await self._leases.standing([air.exact for air in some])
            except StateError:
                if loop.time() - heard > GRACE:
                    for air in some:
                        self._finish(air, None)
            else:
                heard = loop.time()
                for air, standing in zip(some, standings, strict=True):
                    if standing == "gone":
                        self._finish(air, None)
                    elif standing == "kept":
                        self._overlook(air)
                        self.fetch(air)
            await asyncio.sleep(LOOK_EVERY)

    async def _renew(self) -> None:
        """Hold on to the leases, as long as there are any."""
        while self._led:
            await asyncio.sleep(_RENEWED * self._leases.seconds)
            self._give_up()
            exacts = list(self._led)
            for at in range(0, len(exacts), _AT_ONCE):
                some = exacts[at : at + _AT_ONCE]
                held = {exact: self._led[exact].token for exact in some if exact in self._led}
                try:
                    await self._leases.renew(held)
                except StateError:
                    break  # those who wait elsewhere are soon free

    def _give_up(self) -> None:
        now = asyncio.get_running_loop().time()
        for air in list(self._led.values()):
            if now - air.since > (_LONGEST_PUT if air.landed else LONGEST):
                log.warning("a flight did not end", extra={"landed": air.landed})
                if air.landed:
                    self.leave(air, stored=False)
                else:
                    self.land(air, None)

    def _release(self, air: _Air, *, kept: bool) -> None:
        until = asyncio.get_running_loop().time() + self._leases.seconds
        self._ended[air.exact] = air.token, kept, until
        self._run("release", self._give_back)

    async def _give_back(self) -> None:
        loop = asyncio.get_running_loop()
        while self._ended:
            ended, self._ended = self._ended, {}
            try:
                await self._leases.release({key: one[:2] for key, one in ended.items()})
            except StateError:
                if self._closed:
                    return
                now = loop.time()
                ended = {key: one for key, one in ended.items() if now < one[2]}
                self._ended = ended | self._ended
                await asyncio.sleep(LOOK_EVERY)

    def _run(self, name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have a job done by one task, which is there as long as there is something to do."""
        if name not in self._busy:
            self._busy[name] = self._spawn(self._do(name, job))

    async def _do(self, name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await job()
        except Exception:
            log.exception("flights are not looked after", extra={"job": name})
        finally:
            # In the same step in which the job saw that nothing is left.
            del self._busy[name]

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job, name="cache-flights")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Flight:
    """A request's part in a flight.

    A leader lands whatever happens (`finally`); after an entry was landed it says `kept` when the
    store's `put` has returned or failed.
    """

    __slots__ = ("_air", "_flights", "leads")

    def __init__(self, flights: Flights, air: _Air, *, leads: bool) -> None:
        self._flights = flights
        self._air = air
        self.leads = leads
        """The caller asks; else it waits."""

    async def wait(self, within: float) -> Entry | None:
        """For a follower: the leader's entry. None at once when the leader failed, or after
        `within` seconds: the caller goes alone then. Never raises."""
        air = self._air
        if self.leads:
            return None
        if not air.future.done():
            if not air.token:
                self._flights.fetch(air)
            air.waiting += 1
            try:
                await asyncio.wait((air.future,), timeout=max(0.0, within))
            finally:
                air.waiting -= 1
                if not air.waiting and not air.future.done():
                    self._flights.unwatch(air)
        return air.future.result() if air.future.done() else None

    def land(self, entry: Entry | None) -> None:
        """For the leader: what came of it; None: nothing that others may have. Frees all who wait
        here at once, and of a failure those in other workers within some 50 ms. Only the first call
        counts; a follower's does nothing."""
        if self.leads:
            self._flights.land(self._air, entry)

    def kept(self, stored: bool = True) -> None:  # noqa: FBT001, FBT002 - reads as a sentence
        """After `land` with an entry: it can be got from the store now, or (False) was not kept.
        Nothing is remembered of the flight any more. Frees those who wait in other workers."""
        if self.leads:
            self._flights.leave(self._air, stored=stored)
