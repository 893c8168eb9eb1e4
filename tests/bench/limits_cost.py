"""What limits cost a request, in memory and in Redis.

One gateway a store; a route each for no limit, one and five. So all that differs between the arms
of a store is what a request asks for: process, memory and connections are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import psutil
import redis.asyncio as redis

from extproc.stack import Options, Stack
from tests.bench import workload
from tests.bench.gateway import Running, running
from tests.bench.ledger_arms import redis_server
from tests.bench.load import Job, percentile
from tests.bench.processes import Generator, cpu_seconds
from tests.bench.report import aligned

CONFIG: Final = Path(__file__).with_name("limits.yaml")
MEMORY, REDIS = "memory", "redis"
STORES: Final = (MEMORY, REDIS)
LIMITS: Final = {"none": 0, "one": 1, "five": 5}
"""Routes, and how many limits a request meets on each."""
USERS: Final = 1000
CONNECTIONS: Final = 16
SETTLED: Final = 0.1
"""Seconds after the last answer: what its end leaves to be done is done by then, and counts."""
ONE_CALL: Final = frozenset({"evalsha", "eval", "fcall"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Redis."""

    url: str
    process: psutil.Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A store and a route."""

    store: str
    route: str
    gateway: Running
    redis: Server | None

    @property
    def name(self) -> str:
        """`redis_5`."""
        return f"{self.store}_{LIMITS[self.route]}"

    @property
    def base(self) -> str:
        """The arm of the same store without limits."""
        return f"{self.store}_0"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one arm."""

    cpu_us: float
    """Of the service, µs a request: user and system time, settling included."""
    store_us: float
    """Of Redis's own process."""
    p50_ms: float
    p99_ms: float
    p50_1_ms: float
    """At one connection."""
    rps: float
    requests: int
    failed: int
    calls: dict[str, int]
    """Commands that Redis got."""

    @property
    def scripts(self) -> float:
        """Calls of scripts a request."""
        called = sum(count for name, count in self.calls.items() if name in ONE_CALL)
        return called / max(self.requests, 1)


Rounds = dict[str, list[Figures]]
"""By arm."""


def stack(redis_url: str | None, workers: int = 1, *, ledger: bool = False) -> Any:
    """How `running` makes a gateway: without a ledger, unless one is wanted, so that what limits
    cost is not held against more than what everybody pays."""

    def made(options: Options, env: Mapping[str, str]) -> Stack:
        return Stack(replace(options, ledger=ledger, redis=redis_url, workers=workers), env)

    return made


@contextlib.asynccontextmanager
async def arms(folder: Path) -> AsyncIterator[list[Arm]]:
    """All of them, up at the same time. Raises StackError."""
    async with contextlib.AsyncExitStack() as opened:
        found = []
        for store in STORES:
            server = None
            if store == REDIS:
                where = folder / "r"
                where.mkdir(parents=True)
                url, process = await opened.enter_async_context(redis_server(where))
                server = Server(url=url, process=process)
            made = stack(None if server is None else server.url)
            gateway = await opened.enter_async_context(running(folder / store, CONFIG, made))
            found += [Arm(store=store, route=one, gateway=gateway, redis=server) for one in LIMITS]
        yield found


def requests(route: str) -> list[bytes]:
    """One of each user."""
    return [
        workload.chat(feature=route, extra=(("x-tollgate-user", f"user-{number:04}"),))
        for number in range(USERS)
    ]


async def measure(arm: Arm, generator: Generator, seconds: float) -> Figures:
    """One turn: at 16 connections, then shortly at one."""
    service = arm.gateway.service
    store = [arm.redis.process] if arm.redis else []
    asked = requests(arm.route)
    job = Job(
        port=arm.gateway.port,
        requests=asked,
        around=True,
        connections=CONNECTIONS,
        seconds=seconds,
    )
    before = await _calls(arm)
    spent = cpu_seconds(service), cpu_seconds(store)
    result = await generator.run(job)
    await asyncio.sleep(SETTLED)
    spent = cpu_seconds(service) - spent[0], cpu_seconds(store) - spent[1]
    after = await _calls(arm)
    alone = await generator.run(
        msgspec.structs.replace(job, connections=1, seconds=max(seconds / 4, 0.1))
    )
    done = max(result.requests, 1)
    return Figures(
        cpu_us=spent[0] / done * 1e6,
        store_us=spent[1] / done * 1e6,
        p50_ms=percentile(result.latencies_ms, 0.5),
        p99_ms=percentile(result.latencies_ms, 0.99),
        p50_1_ms=percentile(alone.latencies_ms, 0.5),
        rps=result.rate,
        requests=result.requests,
        failed=sum(result.failed.values()) + sum(alone.failed.values()),
        calls={name: count - before.get(name, 0) for name, count in after.items()},
    )


async def _calls(arm: Arm) -> dict[str, int]:
    """Commands by name that Redis has had, those that scripts made included."""
    if arm.redis is None:
        return {}
    async with redis.from_url(arm.redis.url) as client:
        said = await client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in said.items()}


async def _rounds(folder: Path, rounds: int, seconds: float) -> Rounds:
    """Every arm in turn, each round beginning with another one."""
    found: Rounds = {}
    async with arms(folder) as known:
        generator = await Generator.start()
        try:
            for arm in known:
                # Connections, caches and lazy imports before anything counts.
                await measure(arm, generator, min(seconds, 1.0))
            for number in range(rounds):
                turn = number % len(known)
                said = []
                for arm in known[turn:] + known[:turn]:
                    one = await measure(arm, generator, seconds)
                    found.setdefault(arm.name, []).append(one)
                    said.append(f"{arm.name} {one.cpu_us:.0f}")
                print(f"round {number + 1}, service µs a request: {', '.join(said)}", flush=True)
        finally:
            await generator.stop()
    return found


def names() -> Sequence[tuple[str, str]]:
    """Arms, each with the one that it is held against."""
    return [(f"{store}_{count}", f"{store}_0") for store in STORES for count in LIMITS.values()]


def ratio(found: Rounds, name: str, base: str) -> float:
    """The median of the rounds' ratios to the arm without limits."""
    pairs = zip(found[name], found[base], strict=True)
    return median(one.cpu_us / none.cpu_us for one, none in pairs)


def table(found: Rounds) -> str:
    """Medians."""
    rows = [
        ["arm", "requests/s", "service µs", "ratio", "p50 ms", "p99 ms", "p50 at 1, ms",
         "Redis µs", "scripts/request"]
    ]  # fmt: skip
    for name, base in names():
        all_ = found[name]
        rows.append(
            [
                *(name, f"{median(one.rps for one in all_):.0f}"),
                f"{median(one.cpu_us for one in all_):.0f}",
                f"{ratio(found, name, base):.3f}",
                f"{median(one.p50_ms for one in all_):.1f}",
                f"{median(one.p99_ms for one in all_):.1f}",
                f"{median(one.p50_1_ms for one in all_):.1f}",
                f"{median(one.store_us for one in all_):.0f}",
                f"{median(one.scripts for one in all_):.3f}",
            ]
        )
    return aligned(rows)


async def run(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure and print; part of the JSON object."""
    found = await _rounds(folder, rounds, seconds)
    print(f"\n{table(found)}\n")
    failed = sum(one.failed for all_ in found.values() for one in all_)
    if failed:
        print(f"{failed} answers failed")
    ratios = {
        f"ratio_{name}": round(ratio(found, name, base), 3)
        for name, base in names()
        if name != base
    }
    return {
        **ratios,
        "scripts_a_request": {
            name: round(median(one.scripts for one in found[name]), 3)
            for name, _ in names()
            if name.startswith(REDIS)
        },
        "failed": failed,
        "arms": {
            name: {
                field: round(median(getattr(one, field) for one in all_), 2)
                for field in ("cpu_us", "store_us", "p50_ms", "p99_ms", "p50_1_ms", "rps")
            }
            for name, all_ in found.items()
        },
    }
