"""Requests of this process that wait for their turn in a queue kept elsewhere.

A turn is told in a message to the process. One that was lost is noticed with the next beat, which
asks for everything that waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from extproc.state import StateError
from extproc.state.counters import Ask, Outcome

_heard: Final = msgspec.msgpack.Decoder(list[tuple[str, Outcome]]).decode


class Waiter:
    """One request. `outcome` is what it was last told."""

    __slots__ = ("ask", "expiry", "future", "outcome", "until")

    def __init__(self, ask: Ask, until: float) -> None:
        self.ask = ask
        self.until = until
        """When its time to live is over, on the loop's clock."""
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.outcome: Outcome | None = None
        """None until the store has said that it waits."""
        self.expiry: asyncio.TimerHandle | None = None


class Wakes:
    """Who waits here. `leave` is called with the id of one whose time is over, and calls `end`."""

    def __init__(self, leave: Callable[[str], None]) -> None:
        self._leave = leave
        self._waiters: dict[str, Waiter] = {}

    def expect(self, ask: Ask, ttl: float) -> Waiter:
        """Before it is asked: its turn may be told before the answer is."""
        waiter = Waiter(ask, asyncio.get_running_loop().time() + ttl)
        self._waiters[ask.id] = waiter
        return waiter

    def queued(self, waiter: Waiter, outcome: Outcome) -> None:
        """The store says that it waits."""
        waiter.outcome = outcome
        if waiter.expiry is None:
            loop = asyncio.get_running_loop()
            waiter.expiry = loop.call_at(waiter.until, self._expire, waiter)

    def forget(self, ask_id: str) -> None:
        """It waits no longer."""
        waiter = self._waiters.pop(ask_id, None)
        if waiter is not None and waiter.expiry is not None:
            waiter.expiry.cancel()

    def get(self, ask_id: str) -> Waiter | None:
        """The one with an id."""
        return self._waiters.get(ask_id)

    def waiting(self) -> list[str]:
        """Ids of those of which the store has said that they wait."""
        return [
            name
            for name, waiter in self._waiters.items()
            if waiter.outcome is not None and not waiter.future.done()
        ]

    def by_label(self) -> Mapping[str, float]:
        """How many wait in each class."""
        return Counter(
            waiter.ask.place.label
            for waiter in self._waiters.values()
            if waiter.outcome is not None and waiter.ask.place is not None
        )

    def heard(self, message: bytes) -> None:
        """A message with the outcomes of some."""
        self.told(_heard(message))

    def told(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Outcomes of some; of those that wait no longer nothing is done."""
        for name, outcome in outcomes:
            waiter = self._waiters.get(name)
            if waiter is not None and not waiter.future.done():
                waiter.future.set_result(outcome)

    def fail(self, problem: StateError) -> None:
        """No turn will be told."""
        for waiter in self._waiters.values():
            if waiter.outcome is not None and not waiter.future.done():
                waiter.future.set_exception(problem)
                with contextlib.suppress(StateError):
                    waiter.future.exception()  # nobody need wait for it yet

    def end(self, ask_id: str) -> None:
        """It waits no longer; who waits for its turn hears that its time is over."""
        waiter = self._waiters.get(ask_id)
        if waiter is None:
            return
        self.forget(ask_id)
        if waiter.outcome is not None and not waiter.future.done():
            outcome = msgspec.structs.replace(waiter.outcome, what="expired", position=0)
            waiter.future.set_result(outcome)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.future.done():
            self._leave(waiter.ask.id)
