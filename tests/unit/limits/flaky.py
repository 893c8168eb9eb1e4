"""A store that others share, and that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from extproc.state import StateError
from extproc.state.counters import Ask, Correction, Counter, Crossed, Outcome, Settled, Standing
from extproc.state.embedded.limits import MemoryLimits


class Clock:
    """Monotonic and epoch seconds that go on when they are told to."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Flaky:
    """Counts as the embedded store does. Away, it keeps what it was told until it is back, as the
    one in Redis does, and gives back what it took without being heard."""

    def __init__(self, clock: Clock, processes: int = 1) -> None:
        self.inner = MemoryLimits(steady=clock, wall=clock)
        self.owner = self.inner.owner
        self.processes = processes
        self.down = False
        self.patient = False
        """Those who wait for their turn do not hear that it is away."""
        self.deaf = 0
        """Answers that get lost on their way, though what was asked is done."""
        self.asked: list[str] = []
        """Ids of asks that it heard of."""
        self.started = 0
        self._told: list[Callable[[], None]] = []
        self._broken = asyncio.Event()

    def die(self) -> None:
        self.down = True
        if not self.patient:
            self._broken.set()

    def revive(self) -> None:
        self.down = False
        self._broken.clear()
        told, self._told = self._told, []
        for tell in told:
            tell()

    def used(self, counter: Counter) -> float:
        return asyncio.run(self.inner.peek([counter]))[0].used

    def _check(self) -> None:
        if self.down:
            raise StateError("Redis: connection refused")

    async def admit(self, ask: Ask) -> Outcome:
        self._check()
        self.asked.append(ask.id)
        outcome = await self.inner.admit(ask)
        if self.deaf:
            self.deaf -= 1
            if ":away:" not in ask.id:
                self.inner.leave(ask.id)
            raise StateError("Redis: no answer in time")
        return outcome

    async def turn(self, ask: Ask) -> Outcome:
        if self.down:
            self.leave(ask.id)
            self._check()
        waits = asyncio.ensure_future(self.inner.turn(ask))
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({waits, broken}, return_when=asyncio.FIRST_COMPLETED)
            if waits.done():
                return waits.result()
            raise StateError("Redis: connection lost")
        finally:
            broken.cancel()
            if not waits.done():
                waits.cancel()
                await asyncio.wait({waits})

    def _later(self, tell: Callable[[], None]) -> None:
        if self.down:
            self._told.append(tell)
        else:
            tell()

    def leave(self, ask_id: str, owner: str = "") -> None:
        self._later(lambda: self.inner.leave(ask_id, owner))

    def settle(self, settled: Settled) -> None:
        self._later(lambda: self.inner.settle(settled))

    def correct(self, corrections: Sequence[Correction]) -> None:
        self._later(lambda: self.inner.correct(corrections))

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        self._check()
        return await self.inner.peek(counters)

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        return {
            **self.inner.figures(),
            "owners": {"alive": float(self.processes)},
            "behind": {"settlements": float(len(self._told))},
        }

    async def start(self, notify: Callable[[Crossed], None]) -> None:
        self._check()
        self.started += 1
        await self.inner.start(notify)

    async def stop(self) -> None:
        await self.inner.stop()

    async def ping(self) -> None:
        self._check()
