"""What a question to the ledger takes, over months of many users' requests, and what it does to
the requests that are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import msgspec

from extproc.accounting.rollup import question, usage
from extproc.state import DAY, LedgerStore
from extproc.state.sqlite import SqliteLedger
from tests.bench.ledger_arms import (
    CONNECTIONS,
    REDIS,
    SQLITE,
    Arm,
    gateway,
    make_keys,
    redis_server,
)
from tests.bench.ledger_history import USERS, copy, fill
from tests.bench.load import Job, percentile
from tests.bench.processes import Generator
from tests.bench.report import aligned

ASKED: Final = 7
"""Times that each question is asked, after once to warm up."""
LONG: Final = 3.0
"""Seconds of asking after which one answer is enough."""
GOAL: Final = {"by": "feature", "since": "90d"}
QUESTIONS: Final[tuple[Mapping[str, str], ...]] = (
    {"by": "feature", "since": "7d"},
    GOAL,
    {"by": "feature", "since": "90d", "compare": "previous"},
    {"by": "feature,model", "since": "90d", "latency": "1"},
    {"by": "feature,day", "since": "90d"},
    {"by": "user", "since": "7d"},
    {"by": "user", "since": "90d"},
    {"by": "user,feature", "since": "7d"},
    {"by": "user,feature", "since": "90d"},
    {"by": "user,feature", "since": "90d", "top": "20"},
)
LARGEST: Final = {"by": "user,feature", "since": "90d"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and how long its answer took, over HTTP."""

    parameters: Mapping[str, str]
    ms: float
    """Median."""
    rows: int
    total: int
    """Requests in it."""


async def ask(admin: str, parameters: Mapping[str, str], times: int = ASKED) -> Asked:
    """Ask a question several times."""
    took: list[float] = []
    async with aiohttp.ClientSession(admin, raise_for_status=True) as session:
        started = time.perf_counter()
        while len(took) <= times and (len(took) <= 1 or time.perf_counter() - started < LONG):
            began = time.perf_counter()
            async with session.get("/usage", params=parameters) as response:
                text = await response.read()
            took.append((time.perf_counter() - began) * 1000)
    found = msgspec.json.decode(text)
    return Asked(
        parameters, median(took[1:] or took), len(found["rows"]), found["total"]["requests"]
    )


@contextlib.asynccontextmanager
async def _gateways(folder: Path, days: int) -> AsyncIterator[list[Arm]]:
    """One with each store, both with the same history."""
    now = time.time()
    data = folder / "data"
    data.mkdir(parents=True)
    began = time.monotonic()
    rows = await fill(data, days + 1, now)
    size = sum(one.stat().st_size for one in data.iterdir()) / 1e6
    print(f"history: {rows} rows by the hour, {size:.0f} MB in SQLite, made in "
          f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        where = folder / "r"
        where.mkdir()
        url, server = await stack.enter_async_context(redis_server(where))
        began = time.monotonic()
        await asyncio.to_thread(copy, data, url, int(now // DAY) - days - 1)
        print(f"the same in Redis: {server.memory_info().rss / 1e6:.0f} MB, made in "
              f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
        found = []
        for name, redis_url, process in ((SQLITE, None, None), (REDIS, url, server)):
            one = await stack.enter_async_context(
                gateway(folder / name, name, redis=redis_url, data=data if not redis_url else None)
            )
            keys = await make_keys(one)
            found.append(Arm(name=name, gateway=one, keys=keys, store=process))
        yield found


@dataclass(frozen=True, slots=True)
class Beside:
    """Requests while questions are asked, one after the other. Milliseconds."""

    p50: float
    p99: float
    most: float


async def beside(
    arm: Arm, generator: Generator, parameters: Mapping[str, str] | None, seconds: float = 4.0
) -> Beside:
    """Requests at a quarter of the usual connections, and the question again and again."""
    job = Job(
        port=arm.gateway.port,
        requests=arm.requests("chat", range(USERS)),
        around=True,
        connections=CONNECTIONS // 4,
        seconds=seconds,
    )
    loading = asyncio.create_task(generator.run(job))
    if parameters is not None:
        await asyncio.sleep(0.2)
        while not loading.done():
            await ask(arm.gateway.admin, parameters, 0)
    took = (await loading).latencies_ms
    return Beside(percentile(took, 0.5), percentile(took, 0.99), max(took, default=math.nan))


class Lag(msgspec.Struct):
    """How an event loop fared while a question was answered. Milliseconds."""

    took: float = 0.0
    late: float = 0.0
    """The latest that a timer was: other processes' work counts too."""
    busy: float = 0.0
    """The most CPU time that the loop's thread spent without letting a timer run."""


async def lag(store: LedgerStore, parameters: Mapping[str, str], now: float) -> Lag:
    """Answer a question as the admin port does, in a loop that has nothing to do but timers."""
    found = Lag()

    async def tick() -> None:
        while True:
            due, spent = time.perf_counter() + 0.001, time.thread_time()
            await asyncio.sleep(0.001)
            found.late = max(found.late, (time.perf_counter() - due) * 1000)
            found.busy = max(found.busy, (time.thread_time() - spent) * 1000)

    asked = question(parameters.items(), now)

    async def answered() -> bytes:
        answer = await usage(store, asked)
        return msgspec.json.encode(await asyncio.to_thread(answer.document))

    await answered()
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    began = time.perf_counter()
    await answered()
    found.took = (time.perf_counter() - began) * 1000
    await asyncio.sleep(0.01)
    ticking.cancel()
    return found


async def run(folder: Path, days: int) -> dict[str, Any]:
    """Ask and print."""
    async with _gateways(folder, days) as known:
        answers: dict[str, list[Asked]] = {}
        for arm in known:
            answers[arm.name] = [await ask(arm.gateway.admin, one) for one in QUESTIONS]
        _differ(answers)
        print(f"\n{_table(answers)}\n", flush=True)
        generator = await Generator.start()
        try:
            rows = [["store", "meanwhile", "p50 ms", "p99 ms", "longest ms"]]
            for arm in known:
                for parameters in (None, GOAL, LARGEST):
                    one = await beside(arm, generator, parameters)
                    meanwhile = "nothing" if parameters is None else _text(parameters)
                    figures = (one.p50, one.p99, one.most)
                    rows.append([arm.name, meanwhile, *(f"{figure:.1f}" for figure in figures)])
            print(f"Requests at {CONNECTIONS // 4} connections while somebody asks:")
            print(f"{aligned(rows)}\n", flush=True)
        finally:
            await generator.stop()
        lags = await _lags(folder / "data")
    ms = {
        f"{name}: {_text(one.parameters)}": round(one.ms, 1)
        for name, all_ in answers.items()
        for one in all_
    }
    return {
        "query_ms": ms[f"{SQLITE}: {_text(GOAL)}"],
        "query_redis_ms": ms[f"{REDIS}: {_text(GOAL)}"],
        "queries_ms": ms,
        "loop_busy_ms": round(max(one.busy for one in lags), 1),
    }


async def _lags(data: Path) -> list[Lag]:
    """Of each question."""
    store = SqliteLedger(data)
    rows = [["question", "took ms", "timer late ms", "loop busy ms"]]
    found = []
    for parameters in QUESTIONS:
        one = await lag(store, parameters, time.time())
        rows.append([_text(parameters), *(f"{x:.1f}" for x in (one.took, one.late, one.busy))])
        found.append(one)
    await store.close()
    print(f"{aligned(rows)}\n")
    return found


def _text(parameters: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def _differ(answers: Mapping[str, Sequence[Asked]]) -> None:
    """Say so if the stores do not answer the same."""
    for one, other in zip(*answers.values(), strict=True):
        if (one.rows, one.total) != (other.rows, other.total):
            print(f"{_text(one.parameters)}: {one.rows} rows of {one.total} requests in one store, "
                  f"{other.rows} of {other.total} in the other")  # fmt: skip


def _table(answers: Mapping[str, Sequence[Asked]]) -> str:
    rows = [["question", "rows", *(f"{name} ms" for name in answers)]]
    for each in zip(*answers.values(), strict=True):
        first = each[0]
        rows.append([_text(first.parameters), str(first.rows), *(f"{one.ms:.1f}" for one in each)])
    return aligned(rows)
