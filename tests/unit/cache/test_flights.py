"""One flight: in one worker, and in two that share a Redis."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from extproc.cache import flights as module
from extproc.cache.flights import Flight, Flights
from extproc.state import StateError
from extproc.state.answers import Entry
from extproc.state.flights import KEPT_SECONDS, FlightLeases, MemoryLeases, Standing
from extproc.state.memory_answers import MemoryAnswers
from extproc.state.shared_flights import PREFIX, SharedLeases
from tests.unit.state.answer_stores import entry, key
from tests.unit.state.conftest import serving

PATIENT = 30.0
SOON = 0.1
"""Seconds within which others are to hear of a failure."""
SLACK = 0.4
"""Seconds: the machine that runs tests is busy."""
A = key("a")


def fresh(name: str = "a", value: bytes = b"answer") -> Entry:
    return entry(name, value, expires=4e9)


class Workers:
    """Two of them (or one, twice), and the store that they share."""

    def __init__(self, one: FlightLeases, other: FlightLeases) -> None:
        self.store = MemoryAnswers()
        self.calls = 0
        self.one = Flights(one, self.store.get)
        self.other = self.one if one is other else Flights(other, self.store.get)

    async def put(self, flight: Flight, found: Entry) -> None:
        flight.land(found)
        assert await self.store.put(found)
        flight.kept()

    async def ask(self, flights: Flights, *, fail: bool = False) -> bytes:
        """What a request does: look, join, wait or call the provider."""
        found = await self.store.get(A)
        if found is not None:
            return found.value
        flight = await flights.join(A)
        if not flight.leads:
            landed = await flight.wait(PATIENT)
            if landed is not None:
                return landed.value
        self.calls += 1
        await asyncio.sleep(0.05)  # a provider takes its time
        made = fresh(value=b"answer %d" % self.calls)
        if flight.leads:
            if fail:
                flight.land(None)
            else:
                await self.put(flight, made)
        return made.value

    async def close(self) -> None:
        await self.one.close()
        await self.other.close()


@contextlib.asynccontextmanager
async def opened(kind: str, url: str, seconds: float = 4.0) -> AsyncIterator[Workers]:
    if kind == "memory":
        leases = MemoryLeases(seconds=seconds)
        found = Workers(leases, leases)
    else:
        pair = [SharedLeases(url, seconds=seconds, patience=PATIENT) for _ in range(2)]
        found = Workers(*pair)
    try:
        yield found
    finally:
        await found.close()


@pytest.fixture(params=["memory", "redis"])
async def workers(request: pytest.FixtureRequest) -> AsyncIterator[Workers]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    async with opened(request.param, url) as found:
        yield found


async def until_empty(flights: Flights) -> None:
    async with asyncio.timeout(20):
        while len(flights):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_of_fifty_who_ask_the_same_one_asks_the_provider(workers: Workers) -> None:
    both = (workers.one, workers.other)
    answers = await asyncio.gather(*(workers.ask(both[number % 2]) for number in range(50)))
    assert workers.calls == 1
    assert set(answers) == {b"answer 1"}
    await until_empty(workers.one)
    await until_empty(workers.other)


async def test_who_comes_while_the_answer_is_put_gets_it(workers: Workers) -> None:
    leader = await workers.one.join(A)
    assert leader.leads
    found = fresh()
    leader.land(found)
    follower = await workers.one.join(A)
    assert not follower.leads
    assert await follower.wait(PATIENT) is found


async def test_who_looked_just_before_it_was_kept_is_sent_to_the_store(workers: Workers) -> None:
    leader = await workers.one.join(A)
    found = fresh()
    await workers.put(leader, found)
    for flights in (workers.one, workers.other):
        follower = await flights.join(A)
        assert not follower.leads
        got = await follower.wait(PATIENT)
        assert got is not None
        assert got.head == found.head


async def test_what_is_forgotten_at_once_nobody_gets(workers: Workers) -> None:
    leader = await workers.one.join(A)
    found = fresh()
    await workers.put(leader, found)
    await workers.store.drop([found.head.id])
    for flights in (workers.one, workers.other):
        follower = await flights.join(A)
        assert await follower.wait(PATIENT) is None


async def test_asking_on_for_what_was_forgotten_at_once_holds_nobody_up(workers: Workers) -> None:
    """Until well after it is no longer remembered that it had been kept."""
    leader = await workers.one.join(A)
    found = fresh()
    await workers.put(leader, found)
    await workers.store.drop([found.head.id])
    until = time.monotonic() + 2 * KEPT_SECONDS
    while time.monotonic() < until:
        for flights in (workers.one, workers.other):
            follower = await flights.join(A)
            if follower.leads:
                follower.land(None)
                continue
            async with asyncio.timeout(KEPT_SECONDS + SLACK):
                assert await follower.wait(PATIENT) is None
    await until_empty(workers.one)
    await until_empty(workers.other)


async def test_a_leader_that_fails_frees_all_at_once(workers: Workers) -> None:
    leader = await workers.one.join(A)
    here = [await workers.one.join(A) for _ in range(20)]
    there = [await workers.other.join(A) for _ in range(20)]
    waiting = [asyncio.create_task(one.wait(PATIENT)) for one in here + there]
    await asyncio.sleep(0)
    leader.land(None)
    began = time.perf_counter()
    assert await asyncio.gather(*waiting[:20]) == [None] * 20
    assert time.perf_counter() - began < SOON
    assert await asyncio.gather(*waiting[20:]) == [None] * 20
    assert time.perf_counter() - began < SOON + SLACK
    async with asyncio.timeout(20):
        while not (await workers.other.join(A)).leads:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_an_answer_that_is_not_kept_is_not_waited_for(workers: Workers) -> None:
    leader = await workers.one.join(A)
    there = await workers.other.join(A)
    leader.land(fresh())
    waiting = asyncio.create_task(there.wait(PATIENT))
    leader.kept(stored=False)
    got = await waiting
    assert got is None or workers.one is workers.other
    assert (await workers.one.join(A)).leads or workers.one is not workers.other


async def test_nobody_waits_longer_than_he_likes(workers: Workers) -> None:
    leader = await workers.one.join(A)
    follower = await workers.other.join(A)
    began = time.perf_counter()
    assert await follower.wait(0.05) is None
    assert 0.04 < time.perf_counter() - began < 0.05 + SLACK
    leader.land(None)
    assert await leader.wait(1.0) is None


async def test_landing_twice_and_landing_by_a_follower_does_nothing(workers: Workers) -> None:
    leader = await workers.one.join(A)
    follower = await workers.one.join(A)
    follower.land(None)
    follower.kept()
    found = fresh()
    leader.kept()  # there is nothing to be kept yet
    leader.land(found)
    leader.land(None)
    assert await follower.wait(PATIENT) is found
    leader.kept()
    leader.kept()


async def test_a_request_that_is_cancelled_while_it_joins_holds_nobody_up(
    workers: Workers,
) -> None:
    joining = asyncio.create_task(workers.one.join(A))
    await asyncio.sleep(0)
    joining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        (await joining).land(None)
    async with asyncio.timeout(20):
        while not (await workers.other.join(A)).leads:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_lease_lasts_as_long_as_its_leader(redis_url: str) -> None:
    async with opened("redis", redis_url, 0.5) as workers:
        leader = await workers.one.join(A)
        follower = await workers.other.join(A)
        assert await follower.wait(1.2) is None
        assert not (await workers.other.join(A)).leads
        leader.land(None)


async def test_other_requests_are_other_flights(workers: Workers) -> None:
    flights = [await workers.one.join(key(number)) for number in range(300)]
    assert all(flight.leads for flight in flights)
    for flight in flights:
        flight.land(None)
    assert len(workers.one) == 0


async def test_nothing_is_left_behind(redis_url: str) -> None:
    async with opened("redis", redis_url) as workers:
        for number in range(50):
            name = str(number)
            leader = await workers.one.join(key(name))
            follower = await workers.other.join(key(name))
            if number % 2:
                leader.land(None)
            else:
                await workers.put(leader, fresh(name))
            assert bool(await follower.wait(PATIENT)) == (not number % 2)
        await until_empty(workers.one)
        await until_empty(workers.other)
        with redis.Redis.from_url(redis_url) as client:
            async with asyncio.timeout(20):
                while client.keys(PREFIX + b"*"):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)


async def test_a_leader_that_never_says_how_it_ended_holds_nobody_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.2)
    monkeypatch.setattr(module, "_LONGEST_PUT", 0.2)
    async with opened("memory", "", 0.2) as workers:
        await workers.one.join(A)
        follower = await workers.one.join(A)
        landed = await workers.one.join(key("b"))
        landed.land(fresh("b"))
        assert await follower.wait(PATIENT) is None
        await until_empty(workers.one)


async def test_a_killed_worker_frees_the_others(redis_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from extproc.state.shared_flights import SharedLeases\n"
        "from extproc.cache.flights import Flights\n"
        "async def get(_): return None\n"
        "async def main():\n"
        f"    flights = Flights(SharedLeases({redis_url!r}, patience=30.0), get)\n"
        f"    flight = await flights.join({A!r})\n"
        "    print(flight.leads, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"True\n"
        async with opened("redis", redis_url) as workers:
            follower = await workers.one.join(A)
            assert not follower.leads
            process.kill()
            began = time.perf_counter()
            assert await follower.wait(PATIENT) is None
            assert time.perf_counter() - began < 5.0 + SLACK
            assert (await workers.one.join(A)).leads
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_without_redis_everybody_leads_and_nobody_is_late(tmp_path: Path) -> None:
    leases = SharedLeases(f"unix://{tmp_path / 'redis.sock'}")
    flights = Flights(leases, MemoryAnswers().get)
    flights.start()
    for number in range(20):
        began = time.perf_counter()
        flight = await flights.join(key(number))
        assert flight.leads
        assert time.perf_counter() - began < 0.01 + SLACK
        flight.land(fresh() if number % 2 else None)
        flight.kept()
    await flights.close()


async def test_who_waits_when_redis_dies_goes_alone(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with serving(path):
        pair = [SharedLeases(f"unix://{path}", patience=PATIENT) for _ in range(2)]
        workers = Workers(*pair)
        leader = await workers.one.join(A)
        here, there = await workers.one.join(A), await workers.other.join(A)
        waiting = asyncio.create_task(there.wait(PATIENT))
        await asyncio.sleep(0.05)
    began = time.perf_counter()
    assert await waiting is None
    assert time.perf_counter() - began < SOON + SLACK
    found = fresh()
    leader.land(found)  # in its own worker nothing has changed
    assert await here.wait(PATIENT) is found
    await workers.close()


class Broken(MemoryLeases):
    """Leases that fail in ways nobody has thought of."""

    async def take(self, exact: bytes, token: bytes, *, patient: bool = False) -> bool:  # noqa: ARG002
        raise RuntimeError

    async def standing(self, exacts: object) -> list[Standing]:  # noqa: ARG002
        raise RuntimeError

    async def release(self, ended: object) -> None:  # noqa: ARG002
        raise RuntimeError


async def test_no_mistake_in_the_leases_becomes_an_error() -> None:
    flights = Flights(Broken(), MemoryAnswers().get)
    flight = await flights.join(A)
    assert flight.leads
    flight.land(None)
    await flights.close()


async def test_a_store_that_fails_frees_those_who_wait() -> None:
    async def get(_: bytes) -> Entry | None:
        raise StateError("away")

    leases = MemoryLeases()
    one, other = Flights(leases, get), Flights(leases, get)
    leader, follower = await one.join(A), await other.join(A)
    leader.land(fresh())
    leader.kept()
    assert await follower.wait(PATIENT) is None
    await one.close()
    await other.close()


async def test_closing_frees_all(workers: Workers) -> None:
    leader, follower = await workers.one.join(A), await workers.one.join(A)
    there = await workers.other.join(A)
    await workers.one.close()
    assert await follower.wait(PATIENT) is None
    assert await there.wait(PATIENT) is None
    leader.land(fresh())
    leader.kept()
    assert (await workers.one.join(A)).leads
