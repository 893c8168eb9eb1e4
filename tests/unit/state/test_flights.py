"""Leases on answers that are being asked for: in memory and in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from extproc.state import StateError
from extproc.state.flights import FlightLeases, MemoryLeases, Standing, open_flights
from extproc.state.shared_flights import PATIENT_SECONDS, PREFIX, TAKE_SECONDS, SharedLeases
from tests.unit.state.conftest import serving

PATIENT = 30.0
SLACK = 0.2
"""Seconds: the machine that runs tests is busy."""
MINE, YOURS = b"m" * 16, b"y" * 16


def key(name: str) -> bytes:
    return name.encode().rjust(32, b".")


Pair = tuple[FlightLeases, FlightLeases]


@contextlib.asynccontextmanager
async def two(kind: str, url: str, seconds: float) -> AsyncIterator[Pair]:
    """As two workers have them open (memory has one)."""
    if kind == "memory":
        one = MemoryLeases(seconds=seconds)
        yield one, one
        return
    pair = tuple(SharedLeases(url, seconds=seconds, patience=PATIENT) for _ in range(2))
    try:
        yield pair[0], pair[1]
    finally:
        for lease in pair:
            await lease.close()


@pytest.fixture(params=["memory", "redis"])
async def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def url(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind == "redis" else ""


@pytest.fixture
async def pair(kind: str, url: str) -> AsyncIterator[Pair]:
    async with two(kind, url, 30.0) as found:
        yield found


async def until(leases: FlightLeases, name: str, standing: Standing) -> None:
    async with asyncio.timeout(20):
        while await leases.standing([key(name)]) != [standing]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_one_of_two_has_the_lease(pair: Pair) -> None:
    one, other = pair
    assert await one.take(key("a"), MINE)
    assert not await other.take(key("a"), YOURS)
    assert await other.take(key("b"), YOURS)
    assert await other.standing([key("a"), key("b"), key("c")]) == ["flying", "flying", "gone"]


async def test_of_many_who_want_it_at_once_one_has_it(pair: Pair) -> None:
    tokens = [bytes([number]) * 16 for number in range(1, 51)]
    got = await asyncio.gather(
        *(pair[number % 2].take(key("a"), token) for number, token in enumerate(tokens))
    )
    assert sum(got) == 1


async def test_who_fails_leaves_nothing(pair: Pair) -> None:
    one, other = pair
    assert await one.take(key("a"), MINE)
    await one.release({key("a"): (MINE, False)})
    assert await other.standing([key("a")]) == ["gone"]
    assert await other.take(key("a"), YOURS)


async def test_what_has_landed_is_remembered_for_a_moment(pair: Pair) -> None:
    one, other = pair
    assert await one.take(key("a"), MINE)
    await one.release({key("a"): (MINE, True)})
    assert await other.standing([key("a")]) == ["kept"]
    assert not await other.take(key("a"), YOURS)
    await until(other, "a", "gone")
    assert await other.take(key("a"), YOURS)


async def test_nobody_releases_or_renews_what_is_anothers(pair: Pair) -> None:
    one, other = pair
    assert await one.take(key("a"), MINE)
    await other.release({key("a"): (YOURS, False), key("b"): (YOURS, True)})
    await other.renew({key("b"): YOURS})
    assert await one.standing([key("a"), key("b")]) == ["flying", "gone"]


async def test_a_lease_that_is_not_renewed_ends(kind: str, url: str) -> None:
    async with two(kind, url, 0.3) as (one, other):
        assert await one.take(key("a"), MINE)
        assert await one.take(key("b"), MINE)
        began = time.monotonic()
        async with asyncio.timeout(20):
            while await other.standing([key("a")]) != ["gone"] or time.monotonic() < began + 0.6:
                await one.renew({key("b"): MINE})
                await asyncio.sleep(0.02)
        assert await other.standing([key("b")]) == ["flying"]
        await until(other, "b", "gone")


async def test_more_than_fit_one_command(pair: Pair) -> None:
    one, other = pair
    names = [key(str(number)) for number in range(600)]
    for name in names[:300]:
        assert await one.take(name, MINE)
    await one.renew(dict.fromkeys(names[:300], MINE))
    assert await other.standing(names) == ["flying"] * 300 + ["gone"] * 300
    await one.release(dict.fromkeys(names[:300], (MINE, False)))
    assert await other.standing(names) == ["gone"] * 600


async def test_memory_lets_go_of_what_is_over() -> None:
    now = 0.0
    leases = MemoryLeases(lambda: now, seconds=4.0)
    for number in range(100):
        name = key(str(number))
        assert await leases.take(name, MINE)
        await leases.release({name: (MINE, True)})
        now += 0.1
    assert len(leases) < 10


async def test_redis_holds_nothing_for_long_and_no_name_says_anything(redis_url: str) -> None:
    async with two("redis", redis_url, 30.0) as (one, _):
        assert await one.take(key("a"), MINE)
        assert await one.take(key("b"), MINE)
        await one.release({key("b"): (MINE, True)})
        with redis.Redis.from_url(redis_url) as client:
            assert set(client.keys()) == {PREFIX + key("a"), PREFIX + key("b")}
            assert 0 < client.pttl(PREFIX + key("a")) <= 30_000
            assert 0 < client.pttl(PREFIX + key("b")) <= 500


async def test_who_knows_that_redis_is_there_waits_for_it(tmp_path: Path) -> None:
    """Longer than others, and not for ever."""
    path = tmp_path / "redis.sock"
    leases = SharedLeases(f"unix://{path}")
    with serving(path), redis.Redis.from_url(f"unix://{path}") as client:
        pid = client.info("server")["process_id"]
        try:
            await leases.ping()
            os.kill(pid, signal.SIGSTOP)
            waits = asyncio.create_task(leases.take(key("a"), MINE, patient=True))
            await asyncio.sleep(3 * TAKE_SECONDS)
            os.kill(pid, signal.SIGCONT)
            assert await waits
            os.kill(pid, signal.SIGSTOP)
            began = time.perf_counter()
            with pytest.raises(StateError, match=r"no answer within 0\.1 s"):
                await leases.take(key("b"), MINE, patient=True)
            assert time.perf_counter() - began < PATIENT_SECONDS + SLACK
        finally:
            os.kill(pid, signal.SIGCONT)
            await leases.close()


async def test_a_redis_that_is_away_costs_nobody_time(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    leases = SharedLeases(f"unix://{path}")
    try:
        for _ in range(3):
            began = time.perf_counter()
            with pytest.raises(StateError, match="Redis"):
                await leases.take(key("a"), MINE)
            assert time.perf_counter() - began < TAKE_SECONDS + SLACK
        with serving(path):
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(StateError):
                        assert await leases.take(key("b"), MINE)
                        break
                    await asyncio.sleep(0.01)
    finally:
        await leases.close()


async def test_a_server_that_has_forgotten_the_scripts_is_told_again(redis_url: str) -> None:
    async with two("redis", redis_url, 30.0) as (one, _):
        assert await one.take(key("a"), MINE)
        await one.renew({key("a"): MINE})
        with redis.Redis.from_url(redis_url) as client:
            client.script_flush()
        await one.release({key("a"): (MINE, False)})
        assert await one.standing([key("a")]) == ["gone"]


async def test_one_worker_needs_no_redis() -> None:
    leases = open_flights(None)
    await leases.ping()
    assert await leases.take(key("a"), MINE)
    await leases.close()
    shared = open_flights("unix:///nowhere")
    with pytest.raises(StateError):
        await shared.ping()
    await shared.close()
