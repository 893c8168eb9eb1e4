"""One sentence: whatever happens in whatever order, each request that was accepted is in the store
once, as it was settled if it was, else as lost."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.accounting.ledger import Ledger
from extproc.accounting.ledger.follower import AwayError
from tests.unit.accounting.ledger.fakes import (
    FAST,
    Disk,
    FakeStore,
    ListSink,
    id_of,
    kill,
    ledger,
    number,
    record,
    reservation,
)

PACE = replace(FAST, sync=0.0, batch=3)
EITHER = frozenset({None, "lost"})
Expected = dict[str, frozenset[str | None]]


class ForgetfulStore(FakeStore):
    """Loses at a restart what it may lose: all that was not there yet at a `mark` after which it
    was asked for its generation."""

    def __init__(self) -> None:
        super().__init__()
        self._marked: set[str] = set()
        self._safe: set[str] = set()

    def mark(self) -> None:
        self._marked = set(self.taken)

    async def generation(self) -> str:
        found = await super().generation()
        self._safe = self._safe | self._marked
        return found

    def crash(self) -> None:
        self.number += 1
        for id_ in set(self.taken) - self._safe:
            del self.taken[id_]
        self._marked = set(self.taken)


class World:
    """A ledger, its store and disk, and what must come of each id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ForgetfulStore()
        self.disk = Disk()
        self.sink = ListSink()
        self.expected: Expected = {}
        self.open: list[int] = []
        self.waiting: set[int] = set()
        """Settled while the disk refused."""
        self.last: tuple[Path, int, str, frozenset[str | None] | None] | None = None
        """Where the last frame stands, whose it is, and what comes of it if it is torn."""
        self.count = 0
        self.lost_to_sink = 0
        self.ledger = self._new()

    def _new(self) -> Ledger:
        one = ledger(
            self.folder,
            self.store,
            pace=PACE,
            limit=96 * 1024,
            sinks=[self.sink],
            write=self.disk.write,
        )
        one._own.open()
        return one

    def _noted(self, id_: str, torn: frozenset[str | None] | None) -> None:
        current = self.ledger._spool.current
        self.last = None
        if current is not None and not self.disk.full:
            self.last = (current.path, current.size, id_, torn)

    async def reserve(self, _: int) -> None:
        self.count += 1
        if self.ledger.reserve(reservation(self.count)):
            self.expected[number(self.count)] = frozenset({"lost"})
            self.open.append(self.count)
            self._noted(number(self.count), None)

    async def settle(self, which: int) -> None:
        if not self.open:
            return
        of = self.open.pop(which % len(self.open))
        assert self.ledger.settle(record(of)), "what was reserved is always taken"
        if self.ledger._spool._pending.get(number(of)) is not None:
            self.waiting.add(of)
        self.expected[number(of)] = frozenset({None})
        self._noted(number(of), frozenset({"lost"}))

    async def settle_unreserved(self, _: int) -> None:
        self.count += 1
        if self.ledger.settle(record(self.count)):
            self.expected[number(self.count)] = frozenset({None})
            self._noted(number(self.count), None)

    async def many(self, _: int) -> None:
        for _each in range(24):
            await self.reserve(0)
            await self.settle(-1)

    async def ship(self, steps: int) -> None:
        self.last = None
        for _ in range(steps):
            for each in self.ledger._own.followers:
                with suppress(AwayError):
                    await each.step()

    async def tidy(self, _: int) -> None:
        self.last = None
        self.store.mark()
        await self.ledger._own.tidy()
        self._look()

    def _look(self) -> None:
        """What waited for the disk and does so no more is as good as written."""
        self.waiting = {of for of in self.waiting if number(of) in self.ledger._spool._pending}

    async def quiet(self, _: int) -> None:
        """Long enough that all is shipped and what is shipped is deleted."""
        for _each in range(2):
            await self.ship(12)
            await self.tidy(0)

    async def crash(self, cut: int) -> None:
        for of in self.waiting:
            self.expected[number(of)] = EITHER
        last = self.last
        self._end()
        if last is not None and cut:
            path, size, id_, torn = last
            # No frame is shorter than 300 bytes, so this cuts the last one only.
            os.truncate(path, size - cut % 300)
            if cut % 300 and torn is None:
                del self.expected[id_]
            elif cut % 300 and torn is not None:
                # Without a reservation on disk (a settlement may come after it was refused)
                # nothing is left.
                self.expected[id_] = torn
        self.ledger = self._new()

    def _end(self) -> None:
        self.lost_to_sink += self.ledger._own.sinks[0].lost
        kill(self.ledger)
        self.open, self.last = [], None
        self.waiting = set()

    async def restart(self, _: int) -> None:
        for of in self.waiting:
            self.expected[number(of)] = EITHER
        self.ledger._own._close()
        self._end()
        self.ledger = self._new()

    async def store_away(self, _: int) -> None:
        self.store.away = not self.store.away

    async def store_restarts(self, _: int) -> None:
        self.store.crash()

    async def sink_away(self, _: int) -> None:
        self.sink.fails = AwayError() if self.sink.fails is None else None

    async def disk_full(self, _: int) -> None:
        self.last = None
        self.disk.full = not self.disk.full

    async def finish(self) -> None:
        """Everything works again, and the process has died once more."""
        self.disk.full = self.store.away = False
        self.sink.fails = None
        await self.tidy(0)
        await self.crash(0)
        for _ in range(3):
            await self.ship(len(self.expected) + 40)
            await self.tidy(0)

    def check(self) -> None:
        found = self.store.errors()
        assert set(found) == set(self.expected)
        assert {id_: found[id_] for id_ in found if found[id_] not in self.expected[id_]} == {}
        assert self.ledger.figures()["waiting"] == 0
        assert self.ledger.figures()["corrupt"] == 0
        for line in self.sink.lines:
            tree = msgspec.json.decode(line)
            assert tree["error_type"] in self.expected[tree["id"]], "nothing else was ever sent"
        missed = set(self.expected) - {id_of(line) for line in self.sink.lines}
        assert len(missed) <= self.lost_to_sink + self.ledger._own.sinks[0].lost


OPS = (
    *("reserve", "settle", "settle_unreserved", "many", "many", "ship", "tidy", "quiet", "quiet"),
    *("crash", "restart", "store_away", "store_restarts", "sink_away", "disk_full"),
)


async def play(ops: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            for name, argument in ops:
                await getattr(world, name)(argument)
            await world.finish()
            world.check()
        finally:
            kill(world.ledger)


@settings(max_examples=150, deadline=None)
@example([("reserve", 0), ("many", 0), ("quiet", 0), ("quiet", 0), ("crash", 0)])
@example([("many", 0), ("ship", 9), ("store_restarts", 0), ("tidy", 0), ("tidy", 0)])
@example(
    [*[("many", 0)] * 3, ("quiet", 0), ("store_restarts", 0), ("ship", 1), ("store_restarts", 0)]
)
@example([("reserve", 0), ("disk_full", 0), ("settle", 0), ("crash", 0), ("quiet", 0)])
@given(st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 299)), min_size=3, max_size=40))
def test_whatever_happens_each_accepted_request_is_in_the_store_once(
    ops: list[tuple[str, int]],
) -> None:
    asyncio.run(play([(name, n % 12 if name == "ship" else n) for name, n in ops]))
