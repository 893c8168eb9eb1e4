"""Limits while Redis is away, slow, or has lost its memory."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from extproc.state import StateError, shared_limits
from extproc.state.counters import Ask, Counter, Option, Place, Settled, Take
from extproc.state.shared import DEADLINE
from extproc.state.shared_calls import LONGEST_PAUSE
from extproc.state.shared_limits import SharedLimits
from tests.unit.state.conftest import serving

SLOT = Counter("slot", "concurrent", 1)
TOTAL = Counter("total", "bucket", 1000, 1e-6, 1e9)
PATIENCE = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "redis.sock"


@pytest.fixture
def store(path: Path) -> SharedLimits:
    return SharedLimits(f"unix://{path}", owner="a")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - it polls what has no event
            await asyncio.sleep(0.01)


async def back(store: SharedLimits) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(StateError):
                return await store.ping()
            await asyncio.sleep(0.01)


def ask(name: str, *takes: Take, ttl: float = 0) -> Ask:
    place = Place("", 0, 0, "", "", 1, ttl, 9, 9, 9, 9, "normal") if ttl else None
    options = (Option("target", (Take(SLOT, 1),)),) if ttl else ()
    return Ask(name, takes, options, place)


@contextlib.contextmanager
def stopped(path: Path) -> Iterator[None]:
    """The server of this test stands still."""
    with redis.Redis.from_url(f"unix://{path}") as client:
        server = psutil.Process(client.info("server")["process_id"])
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


async def test_nobody_waits_for_a_redis_that_is_away(store: SharedLimits) -> None:
    await store.start(lambda _: None)
    for _ in range(200):
        began = time.monotonic()
        with pytest.raises(StateError):
            await store.admit(ask("1", Take(TOTAL, 1)))
        assert time.monotonic() - began < DEADLINE / 2
    await store.stop()


async def test_what_was_settled_meanwhile_is_told_when_redis_comes(
    store: SharedLimits, path: Path
) -> None:
    with pytest.raises(StateError):
        await store.admit(ask("0", Take(TOTAL, 1)))
    for number in range(600):
        store.settle(Settled(str(number), (Take(TOTAL, 1),), (), (1,)))
    assert store.figures()["behind"]["settlements"] == 601
    with serving(path):
        began = time.monotonic()
        await until(lambda: store.figures()["behind"]["settlements"] == 0)
        assert time.monotonic() - began < LONGEST_PAUSE + DEADLINE
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 600
        await store.stop()


async def test_what_is_kept_is_bounded_and_what_is_dropped_is_counted(
    store: SharedLimits, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_limits, "KEPT", 5)
    with pytest.raises(StateError):
        await store.ping()
    for number in range(8):
        store.settle(Settled(str(number), (Take(TOTAL, 1),), (), (2**number,)))
        with pytest.raises(StateError):
            await store.admit(ask(f"doubtful {number}", Take(TOTAL, 1)))
    assert store.figures()["behind"] == {"settlements": 10, "dropped": 6}
    with serving(path):
        await until(lambda: store.figures()["behind"]["settlements"] == 0)
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 8 + 16 + 32 + 64 + 128
        await store.stop()


async def test_a_killed_redis_is_used_again_when_it_is_back(
    store: SharedLimits, path: Path
) -> None:
    held = ask("held", Take(TOTAL, 10))
    with serving(path):
        await store.start(lambda _: None)
        outcome = await store.admit(held)
    with pytest.raises(StateError):
        await store.admit(ask("away", Take(TOTAL, 1)))
    store.settle(Settled("held", held.takes, outcome.takes, (7,)))
    store.leave("never was")
    with serving(path):
        await back(store)
        # Its memory is gone, and the reservation with it: what was used counts.
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 7
        assert (await store.admit(ask("new", Take(TOTAL, 1)))).what == "granted"
        assert store.figures()["owners"] == {"alive": 1}
        await store.stop()


async def test_a_reservation_whose_answer_never_came_is_given_back(
    store: SharedLimits, path: Path
) -> None:
    with serving(path):
        await store.ping()
        with stopped(path):
            began = time.monotonic()
            with pytest.raises(StateError):
                await store.admit(ask("doubtful", Take(TOTAL, 500)))
            assert DEADLINE * 0.9 < time.monotonic() - began < DEADLINE * 2
            for _ in range(100):
                began = time.monotonic()
                with pytest.raises(StateError):
                    await store.admit(ask("next", Take(TOTAL, 500)))
            assert time.monotonic() - began < DEADLINE / 2
        await back(store)
        await until(lambda: store.figures()["behind"]["settlements"] == 0)
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 0
        await store.stop()


async def test_asking_again_takes_the_place_of_giving_back(store: SharedLimits, path: Path) -> None:
    again = ask("again", Take(TOTAL, 5))
    with pytest.raises(StateError):
        await store.admit(again)
    with serving(path):
        outcome = None
        while outcome is None:
            with contextlib.suppress(StateError):
                outcome = await store.admit(again)
            await asyncio.sleep(0.01)
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 5
        await store.stop()


async def test_scripts_that_redis_has_forgotten_are_told_again_in_order(
    store: SharedLimits, path: Path
) -> None:
    with serving(path), redis.Redis.from_url(f"unix://{path}") as client:
        await store.ping()
        for _ in range(3):
            client.script_flush()
            asks = [ask(str(number), Take(TOTAL, 300)) for number in range(5)]
            outcomes = await asyncio.gather(*(store.admit(one) for one in asks))
            assert [one.what for one in outcomes] == ["granted"] * 3 + ["denied"] * 2
            for one in asks:
                store.leave(one.id)
        await store.stop()


async def test_a_server_that_takes_no_writes_is_away_until_another_does(
    store: SharedLimits, path: Path
) -> None:
    with serving(path), redis.Redis.from_url(f"unix://{path}") as client:
        await store.start(lambda _: None)
        await store.ping()
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        for number in range(20):
            with pytest.raises(StateError):
                await store.admit(ask(str(number), Take(TOTAL, 1)))
        store.settle(Settled("settled", (Take(TOTAL, 1),), (), (3,)))
        client.execute_command("REPLICAOF", "NO", "ONE")
        await until(lambda: store.figures()["behind"]["settlements"] == 0)
        (standing,) = await store.peek([TOTAL])
        assert round(standing.used) == 3
        assert store.figures()["behind"]["dropped"] == 0
        await store.stop()


async def test_who_waits_goes_on_waiting_while_redis_restarts(
    store: SharedLimits, path: Path
) -> None:
    waiting = ask("2", ttl=PATIENCE)
    with serving(path):
        await store.start(lambda _: None)
        await store.admit(ask("1", ttl=PATIENCE))
        assert (await store.admit(waiting)).what == "waiting"
        turn = asyncio.create_task(store.turn(waiting))
    with serving(path):
        # Redis has forgotten both; the one that waits asks anew, and there is room.
        outcome = await asyncio.wait_for(turn, PATIENCE)
        assert outcome.what == "granted"
        await store.stop()


async def test_who_waits_hears_of_a_redis_that_stays_away(store: SharedLimits, path: Path) -> None:
    waiting = ask("2", ttl=PATIENCE)
    with serving(path):
        await store.admit(ask("1", ttl=PATIENCE))
        await store.admit(waiting)
        turn = asyncio.create_task(store.turn(waiting))
    with pytest.raises(StateError):
        await asyncio.wait_for(turn, PATIENCE)
    assert store.figures()["waiting"] == {}
    await store.stop()


async def test_a_lost_connection_is_made_again_and_turns_are_looked_up(path: Path) -> None:
    with serving(path), redis.Redis.from_url(f"unix://{path}") as client:
        one, other = (SharedLimits(f"unix://{path}", owner=name) for name in "ab")
        await one.admit(ask("1", ttl=PATIENCE))
        waiting = ask("2", ttl=PATIENCE)
        await other.admit(waiting)
        turn = asyncio.create_task(other.turn(waiting))
        for _ in range(5):
            client.client_kill_filter(_type="pubsub")
            one.leave("1")
            await back(one)
        assert (await asyncio.wait_for(turn, 1.0)).what == "granted"
        await one.stop()
        await other.stop()


async def test_stopping_gives_back_what_is_held(path: Path) -> None:
    with serving(path):
        one, other = (SharedLimits(f"unix://{path}", owner=name) for name in "ab")
        await one.start(lambda _: None)
        await one.admit(ask("1", Take(TOTAL, 5), ttl=PATIENCE))
        await one.stop()
        standings = await other.peek([TOTAL, SLOT])
        assert [round(standing.used) for standing in standings] == [0, 0]
        with pytest.raises(StateError):
            await one.admit(ask("2"))
        await other.stop()
