"""Counters, reservations and the queue in Redis, exact over all processes.

Every call is one script, so that nobody sees half of it. All keys bear one hash tag: a request may
need any counters together, and only one node of a cluster can take from them in one step. The
scripts' texts are in the folder `lua`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Final

import msgspec

from extproc.state import StateError
from extproc.state.counters import (
    BEAT,
    LEASE,
    Ask,
    Correction,
    Counter,
    Crossed,
    Outcome,
    Settled,
    Standing,
)
from extproc.state.shared import Script
from extproc.state.shared_calls import Calls, ScriptError
from extproc.state.shared_wakes import Waiter, Wakes

log = logging.getLogger(__name__)

KEPT: Final = 10_000
"""Settlements and such that are kept while Redis is away, and as many doubtful reservations."""
AT_ONCE: Final = 256
"""Of what was kept, sent at a time: requests find their way between."""
PATIENCE: Final = 2.0
"""Seconds that Redis may be away before those who wait for their turn hear of it."""
LATE: Final = 0.001
"""Seconds later than the store says: a rounding error too early, and nobody could go."""

Clock = Callable[[], tuple[float, float]]
"""Epoch seconds and monotonic ones; Redis has one clock for both, the first counts."""


class _Admitted(msgspec.Struct, array_like=True, gc=False):
    outcome: Outcome
    seconds: float
    """Until somebody should look after the queue; 0: nobody need."""


class _Told(msgspec.Struct, array_like=True, gc=False):
    events: list[Crossed]
    seconds: float


class _Beaten(msgspec.Struct, array_like=True, gc=False):
    owners: int
    seconds: float
    found: list[tuple[str, Outcome | bool]]
    """Ids that have had their turn, and (False) those that the store knows nothing of."""


_encode: Final = msgspec.msgpack.Encoder().encode
_admitted: Final = msgspec.msgpack.Decoder(_Admitted).decode
_told: Final = msgspec.msgpack.Decoder(_Told).decode
_beaten: Final = msgspec.msgpack.Decoder(_Beaten).decode
_standings: Final = msgspec.msgpack.Decoder(list[Standing]).decode
_quit: Final = msgspec.msgpack.Decoder(tuple[bool]).decode


def script() -> Script:
    """All calls, one text: a server that knows one knows them all."""
    folder = files("extproc.state") / "lua"
    names = ("counters", "queue", "order", "holds", "calls")
    return Script("\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))


class SharedLimits:
    """See `LimitStore`. Nothing is sent before the first call or `start`.

    `clock`: a test's; without one Redis's own time counts.
    """

    def __init__(self, url: str, *, owner: str | None = None, clock: Clock | None = None) -> None:
        self.owner = owner or uuid.uuid4().hex
        self._clock = clock
        self._calls = Calls(
            url, script(), f"tollgate:limits:wake:{self.owner}", self._heard, self._turned
        )
        self._heads = {
            name: self._calls.head(name.encode(), self.owner.encode(), b"")
            for name in ("admit", "settle", "leave", "correct", "peek", "dispatch", "beat", "quit")
        }
        self._wakes = Wakes(self.leave)
        self._notify: Callable[[Crossed], None] | None = None
        self._behind: deque[tuple[str, bytes]] = deque()
        self._replayed = 0
        self._doubtful: dict[str, str] = {}
        self._dropped = 0
        self._held: set[str] = set()
        self._owners = 0
        self._away_since: float | None = None
        self._beating: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None

    async def admit(self, ask: Ask) -> Outcome:
        """See `LimitStore`. One whose answer is lost is given back when Redis is there again."""
        self._doubtful.pop(ask.id, None)
        waiter = None
        if ask.place is not None and ask.place.ttl > 0:
            waiter = self._wakes.expect(ask, ask.place.ttl)
        try:
            reply = _admitted(await self._ask("admit", _encode(ask)))
        except asyncio.CancelledError:
            self._wakes.forget(ask.id)
            self.leave(ask.id, ask.owner)
            raise
        except StateError as error:
            self._wakes.forget(ask.id)
            if not isinstance(error, ScriptError):
                self._doubt(ask)
            raise
        if reply.seconds > 0:
            self._come_by(reply.seconds)
        return self._answered(ask, waiter, reply.outcome)

    def _answered(self, ask: Ask, waiter: Waiter | None, outcome: Outcome) -> Outcome:
        if outcome.what == "waiting" and waiter is not None:
            self._wakes.queued(waiter, outcome)
            return outcome
        if waiter is not None:
            self._wakes.forget(ask.id)
        if outcome.what == "granted" and ask.owner in {"", self.owner}:
            self._held.add(ask.id)
        return outcome

    def _doubt(self, ask: Ask) -> None:
        if len(self._doubtful) >= KEPT:
            self._doubtful.pop(next(iter(self._doubtful)))
            self._dropped += 1
        self._doubtful[ask.id] = ask.owner

    async def turn(self, ask: Ask) -> Outcome:
        """See `LimitStore`. Raises StateError also when Redis has been away for `PATIENCE`."""
        waiter = self._wakes.get(ask.id)
        if waiter is None:
            return await self._looked_up(ask)
        try:
            outcome = await waiter.future
        except (asyncio.CancelledError, StateError):
            self._wakes.forget(ask.id)
            self.leave(ask.id, ask.owner)
            raise
        self._wakes.forget(ask.id)
        if outcome.what == "granted":
            self._held.add(ask.id)
        return outcome

    async def _looked_up(self, ask: Ask) -> Outcome:
        """Of one that does not wait here: what it has, else its time is over."""
        beaten = _beaten(await self._ask("beat", _encode((LEASE, [ask.id]))))
        for _, found in beaten.found:
            if isinstance(found, Outcome):
                return found
        return Outcome("expired")

    def leave(self, ask_id: str, owner: str = "") -> None:
        """See `LimitStore`."""
        self._wakes.end(ask_id)
        self._held.discard(ask_id)
        self._tell("leave", _encode((ask_id, owner)))

    def settle(self, settled: Settled) -> None:
        """See `LimitStore`."""
        self._held.discard(settled.id)
        self._tell("settle", _encode(settled))

    def correct(self, corrections: Sequence[Correction]) -> None:
        """See `LimitStore`. Dropped when Redis is away: what a provider said then is old."""
        if corrections:
            with contextlib.suppress(StateError):
                self._call("correct", _encode(corrections), _ignore)

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        """See `LimitStore`."""
        return _standings(await self._ask("peek", _encode(counters)))

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """See `LimitStore`. `owners` as of the last beat; `dropped`: what was kept for Redis's
        return and had to make room."""
        return {
            "waiting": self._wakes.by_label(),
            "owners": {"alive": self._owners},
            "held": {"ids": len(self._held)},
            "behind": {
                "settlements": len(self._behind) + self._replayed + len(self._doubtful),
                "dropped": self._dropped,
            },
        }

    async def start(self, notify: Callable[[Crossed], None]) -> None:
        """See `LimitStore`. Redis need not be there."""
        self._notify = notify
        self._beating = asyncio.create_task(self._beat_on(), name="limits-beat")

    async def stop(self) -> None:
        """See `LimitStore`. Waits for Redis no longer than a call takes."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        if self._due is not None:
            self._due.cancel()
        self._wakes.fail(StateError("the process stops"))
        with contextlib.suppress(StateError):
            while self._calls.up and not _quit(await self._ask("quit", _encode(None)))[0]:
                pass
        await self._calls.close()

    async def ping(self) -> None:
        """See `LimitStore`."""
        await self.peek(())

    # Calls.

    def _call(self, name: str, argument: bytes, done: Callable[[bytes, bytes, Any], None]) -> None:
        head = self._heads[name]
        if self._clock is not None:
            now = repr(self._clock()[0]).encode()
            head = self._calls.head(name.encode(), self.owner.encode(), now)
        self._calls.call(head, argument, done)

    async def _ask(self, name: str, argument: bytes) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._call(name, argument, partial(_resolve, future))
        return await future

    def _tell(self, name: str, argument: bytes) -> None:
        """Send it, or keep it until Redis is there."""
        if not self._behind:
            try:
                self._call(name, argument, partial(self._was_told, name))
            except StateError:
                pass
            else:
                return
        self._keep(name, argument)

    def _keep(self, name: str, argument: bytes) -> None:
        if len(self._behind) >= KEPT:
            self._behind.popleft()
            self._dropped += 1
        self._behind.append((name, argument))

    def _was_told(self, name: str, _: bytes, argument: bytes, reply: Any) -> None:
        if isinstance(reply, ScriptError):
            self._dropped += 1
            log.error("Redis refused a settlement", extra={"reason": str(reply)})
        elif isinstance(reply, StateError):
            self._keep(name, argument)
        elif reply is not None:
            self._events(reply)

    def _events(self, reply: bytes) -> None:
        told = _told(reply)
        if told.seconds > 0:
            self._come_by(told.seconds)
        for event in told.events:
            if self._notify is not None:
                self._notify(event)

    # Away and back.

    def _turned(self, up: bool) -> None:  # noqa: FBT001 - a plain call-back
        loop = asyncio.get_running_loop()
        if not up:
            if self._away_since is None:
                self._away_since = loop.time()
            if loop.time() - self._away_since >= PATIENCE:
                self._wakes.fail(StateError("Redis is away"))
            return
        self._away_since = None
        self._send_beat()
        doubtful, self._doubtful = self._doubtful, {}
        # Beyond the bound on the others, which must not make room for them.
        self._behind.extend(("leave", _encode(each)) for each in doubtful.items())
        self._replay()

    def _replay(self) -> None:
        """Send some of what was kept, and the rest when they are answered."""
        if self._replayed or not self._calls.up:
            return
        some = [self._behind.popleft() for _ in range(min(AT_ONCE, len(self._behind)))]
        self._replayed = len(some)
        for name, argument in some:
            self._call(name, argument, partial(self._was_replayed, name))

    def _was_replayed(self, name: str, head: bytes, argument: bytes, reply: Any) -> None:
        self._replayed -= 1
        self._was_told(name, head, argument, reply)
        if not isinstance(reply, StateError):
            self._replay()

    # Beats.

    async def _beat_on(self) -> None:
        while True:
            self._send_beat()
            await asyncio.sleep(BEAT)

    def _send_beat(self) -> None:
        with contextlib.suppress(StateError):
            self._call("beat", self._beat_argument(), self._was_beaten)

    async def beat(self) -> None:
        """One beat at once: tells that this process lives, gives back what dead ones held, and
        looks for turns whose message was lost. Raises StateError."""
        self._beaten(await self._ask("beat", self._beat_argument()))

    def _beat_argument(self) -> bytes:
        return _encode((LEASE, self._wakes.waiting()))

    def _was_beaten(self, _: bytes, __: bytes, reply: Any) -> None:
        if not isinstance(reply, StateError):
            self._beaten(reply)

    def _beaten(self, reply: bytes) -> None:
        beaten = _beaten(reply)
        self._owners = beaten.owners
        if beaten.seconds > 0:
            self._come_by(beaten.seconds)
        self._wakes.told([(name, found) for name, found in beaten.found if found])  # type: ignore[misc]
        for name, found in beaten.found:
            waiter = self._wakes.get(name)
            if not found and waiter is not None and not waiter.future.done():
                self._enqueue_again(waiter)
        self._replay()

    def _enqueue_again(self, waiter: Waiter) -> None:
        """The store has lost it with its memory: it waits again, for what is left of its time."""
        place = waiter.ask.place
        left = waiter.until - asyncio.get_running_loop().time()
        if place is None or left <= 0:
            return
        ask = msgspec.structs.replace(waiter.ask, place=msgspec.structs.replace(place, ttl=left))
        with contextlib.suppress(StateError):
            self._call("admit", _encode(ask), partial(self._was_enqueued_again, waiter))

    def _was_enqueued_again(self, waiter: Waiter, _: bytes, __: bytes, reply: Any) -> None:
        if isinstance(reply, StateError):
            return
        admitted = _admitted(reply)
        if admitted.seconds > 0:
            self._come_by(admitted.seconds)
        outcome = admitted.outcome
        if outcome.what == "waiting":
            return
        if waiter.future.done():
            self.leave(waiter.ask.id, waiter.ask.owner)
            return
        if outcome.what != "granted":
            outcome = msgspec.structs.replace(outcome, what="displaced")
        waiter.future.set_result(outcome)

    # The queue.

    def _heard(self, message: bytes) -> None:
        self._wakes.heard(message)

    def _come_by(self, seconds: float) -> None:
        """Look after the queue when something may have flowed back."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds + LATE
        if self._due is not None:
            if self._due.when() <= at:
                return
            self._due.cancel()
        self._due = loop.call_at(at, self._look)

    def _look(self) -> None:
        self._due = None
        with contextlib.suppress(StateError):
            self._call("dispatch", _encode(None), self._was_looked)

    def _was_looked(self, _: bytes, __: bytes, reply: Any) -> None:
        if reply is not None and not isinstance(reply, StateError):
            self._events(reply)


def _resolve(future: asyncio.Future[bytes], _: bytes, __: bytes, reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, StateError):
        future.set_exception(reply)
    else:
        future.set_result(reply)


def _ignore(_: bytes, __: bytes, reply: Any) -> None:
    if isinstance(reply, ScriptError):
        log.error("Redis refused a correction", extra={"reason": str(reply)})
