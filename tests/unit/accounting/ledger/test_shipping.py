from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.accounting.ledger import Ledger, SinkError
from extproc.accounting.ledger.follower import AwayError
from extproc.accounting.ledger.shipping import Shipping
from tests.unit.accounting.ledger.fakes import (
    FAST,
    FakeStore,
    ListSink,
    kill,
    ledger,
    number,
    record,
    reservation,
)

PACE = replace(FAST, sync=0.0, batch=500)


class World:
    """A ledger whose tasks do not run: the test takes the steps."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore()
        self.sink = ListSink()
        self.ledger: Ledger = ledger(
            folder, self.store, pace=PACE, limit=128 * 1024, sinks=[self.sink]
        )
        self.own.open()

    @property
    def own(self) -> Shipping:
        return self.ledger._own

    @property
    def segments(self) -> list[int]:
        return list(self.own.spool.segments)

    def settle(self, many: range) -> None:
        for of in many:
            assert self.ledger.settle(record(of))

    async def ship(self) -> None:
        for each in self.own.followers:
            try:
                while await each.step():
                    pass
            except AwayError:
                pass


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    kill(one.ledger)


async def test_all_that_was_shipped_goes_at_once_when_it_was_kept_long_enough(
    world: World,
) -> None:
    world.settle(range(140))
    assert len(world.segments) > 4
    await world.ship()
    await world.own.tidy()
    await world.ship()  # asks for the generation, which tells that the store has kept it
    await world.own.tidy()
    assert len(world.segments) <= 1
    assert len(list(world.own.spool.folder.glob("*.spool"))) == len(world.segments)


async def test_nothing_goes_that_the_store_was_not_asked_about_afterwards(world: World) -> None:
    world.settle(range(100))
    await world.ship()
    before = world.segments
    await world.own.tidy()
    await world.own.tidy()
    assert world.segments == before


async def test_nothing_goes_that_a_sink_has_not_got_as_long_as_there_is_room(world: World) -> None:
    world.sink.fails = SinkError("away")
    world.settle(range(60))
    before = world.segments
    for _ in range(3):
        await world.ship()
        await world.own.tidy()
    assert world.segments == before
    world.sink.fails = None
    for _ in range(2):
        await world.ship()
        await world.own.tidy()
    assert world.segments == before[-1:]
    assert world.sink.ids == [number(of) for of in range(60)]


async def test_what_a_sink_has_not_got_never_fills_the_spool(world: World) -> None:
    world.sink.fails = SinkError("away")
    for start in range(0, 1000, 50):
        world.settle(range(start, start + 50))
        for _ in range(2):
            await world.ship()
            await world.own.tidy()
        assert world.own.spool.used < 0.8 * world.own.spool.limit
    assert len(world.store.taken) == 1000
    world.sink.fails = None
    await world.ship()
    assert world.own.sinks[0].lost + len(world.sink.ids) == 1000


async def test_reservations_that_stay_open_for_long_wander_on(world: World) -> None:
    for of in range(3):
        assert world.ledger.reserve(reservation(of))
    for start in range(100, 600, 50):
        world.settle(range(start, start + 50))
        for _ in range(2):
            await world.ship()
            await world.own.tidy()
    assert len(world.segments) <= 2
    assert world.own.spool.open_count == 3
    for of in range(3):
        assert world.ledger.settle(record(of))
    await world.ship()
    assert [world.store.errors()[number(of)] for of in range(3)] == [None] * 3


async def test_a_segment_that_cannot_be_deleted_is_said_and_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, f"Read-only file system {missing_ok}", str(path))

    world.settle(range(60))
    await world.ship()
    await world.own.tidy()
    await world.ship()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuses)
        await world.own.tidy()
    assert "segment not deleted" in caplog.text
    world.settle(range(60, 70))
    await world.ship()
    assert len(world.store.taken) == 70


async def test_a_mistake_in_the_store_is_a_store_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks() -> str:
        raise ZeroDivisionError

    world.settle(range(3))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "generation", breaks)
        with pytest.raises(AwayError, match="ZeroDivisionError"):
            await world.own.store.step()
    await world.ship()
    assert len(world.store.taken) == 3
