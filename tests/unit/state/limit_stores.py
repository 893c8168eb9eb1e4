"""The stores of limits as a model test drives them: two processes, of which one may crash, on a
clock that stands still until it is told to go on."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import redis

from extproc.state.counters import Ask, Correction, Counter, Crossed, Outcome, Settled, Standing
from extproc.state.embedded.limits import MemoryLimits
from extproc.state.shared_limits import SharedLimits

START = 1_000_000.0


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Subject(Protocol):
    """A store with two processes, `a` and another one that may crash."""

    events: list[Crossed]

    async def admit(self, owner: str, ask: Ask) -> Outcome: ...

    def turn(self, owner: str, ask: Ask) -> Coroutine[Any, Any, Outcome]: ...

    def settle(self, owner: str, settled: Settled) -> None: ...

    def leave(self, owner: str, ask_id: str) -> None: ...

    def correct(self, corrections: Sequence[Correction]) -> None: ...

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]: ...

    async def beat(self, owner: str) -> None: ...

    async def stop(self) -> None: ...


class Memory:
    """Both processes in one store, which one of them is."""

    def __init__(self, clock: Clock) -> None:
        self.events: list[Crossed] = []
        self._store = MemoryLimits(steady=clock, wall=clock, owner="a")
        self._store._notify = self.events.append

    async def admit(self, owner: str, ask: Ask) -> Outcome:
        return await self._store.admit(_of(owner, ask))

    def turn(self, owner: str, ask: Ask) -> Coroutine[Any, Any, Outcome]:
        return self._store.turn(_of(owner, ask))

    def settle(self, owner: str, settled: Settled) -> None:
        del owner
        self._store.settle(settled)
        self._nobody_left_out()

    def leave(self, owner: str, ask_id: str) -> None:
        self._store.leave(ask_id, owner)
        self._nobody_left_out()

    def correct(self, corrections: Sequence[Correction]) -> None:
        self._store.correct(corrections)
        self._nobody_left_out()

    def _nobody_left_out(self) -> None:
        """The store looks only after those to whom what was given back can matter."""
        waiting = len(self._store._turns)
        self._store._dispatch(self._store._now())
        assert len(self._store._turns) == waiting

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        return await self._store.peek(counters)

    async def beat(self, owner: str) -> None:
        self._store.beat(owner)

    async def stop(self) -> None:
        await self._store.stop()


class Shared:
    """A client of Redis for each process."""

    def __init__(self, url: str, clock: Clock) -> None:
        with redis.Redis.from_url(url) as client:
            client.flushall()
        self.events: list[Crossed] = []
        self._url = url
        self._clock = clock
        self._stores: dict[str, SharedLimits] = {}

    def _store(self, owner: str) -> SharedLimits:
        found = self._stores.get(owner)
        if found is None:
            clock = self._clock
            found = SharedLimits(self._url, owner=owner, clock=lambda: (clock.now, clock.now))
            found._notify = self.events.append
            self._stores[owner] = found
        return found

    async def admit(self, owner: str, ask: Ask) -> Outcome:
        return await self._store(owner).admit(ask)

    def turn(self, owner: str, ask: Ask) -> Coroutine[Any, Any, Outcome]:
        return self._store(owner).turn(ask)

    def settle(self, owner: str, settled: Settled) -> None:
        self._store(owner).settle(settled)

    def leave(self, owner: str, ask_id: str) -> None:
        self._store(owner).leave(ask_id)

    def correct(self, corrections: Sequence[Correction]) -> None:
        self._store("a").correct(corrections)

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        return await self._store("a").peek(counters)

    async def beat(self, owner: str) -> None:
        await self._store(owner).ping()
        await self._store(owner).beat()

    async def stop(self) -> None:
        for store in self._stores.values():
            await store.stop()


def _of(owner: str, ask: Ask) -> Ask:
    return Ask(ask.id, ask.takes, ask.options, ask.place, owner)
