"""How far a limit is passed that many requests race for over several workers.

Through Envoy and Redis, since what is counted in the end is what the provider was asked for: the
simulator's own record, which knows nothing of limits. Each race is a new user's day of tokens:
48 connections ask until nothing is left, and go on asking.

What an answer used has nothing to do with what was estimated: 0.3 to 3 times as much. Where the
limit is strict the provider keeps to what it was told (`max_tokens`) and to what a text of so many
bytes can be; its input is still 0.3 to 3 times the estimate.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from tests.bench.gateway import Running, running
from tests.bench.ledger_arms import redis_server
from tests.bench.limits_cost import CONFIG, stack
from tests.bench.load import Answer, Job, answers
from tests.bench.processes import Generator, NotReadyError, chat_request
from tests.bench.report import aligned

WORKERS: Final = (1, 4, 8)
STRICT, ESTIMATED = "strict", "estimated"
ROUTES: Final = (STRICT, ESTIMATED)
CONNECTIONS: Final = 48
OUTPUT: Final = 200
"""`max_tokens` of every request."""
LEAST, MOST = 0.3, 3.0
"""Times the estimate."""
LATENCY: Final = 0.05
"""Seconds that an answer takes: so long many are in flight."""
SCRIPTS: Final = 500
SETTLED: Final = 0.1
"""Seconds after an answer's end within which its settlement is in the store: until then it counts
as in flight."""
TEXT: Final = "How many parcels left the warehouse on the 5th, and how many came back? " * 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the gateway reserves for a request of the race, as its headers say."""

    limit: int
    estimated: int
    proven: int

    @property
    def input(self) -> int:
        """Tokens of input, estimated."""
        return self.estimated - OUTPUT

    @property
    def bound(self) -> int:
        """Tokens that the input cannot pass."""
        return self.proven - OUTPUT


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """One race. Tokens, as the simulator counted them."""

    used: int
    over: int
    """Beyond the limit; 0: it was not passed."""
    error: int
    """What the requests in flight used beyond what was reserved for them: the most at any one
    moment. No more than that may be passed."""
    served: int
    refused: int
    failed: int


Found = dict[tuple[str, int], list[Race]]
"""By route and workers."""


@contextlib.asynccontextmanager
async def _gateway(workers: int) -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory(prefix="tgb-") as name:
        folder = Path(name)
        async with (
            redis_server(folder) as (url, _),
            running(folder / "g", CONFIG, stack(url, workers)) as gateway,
        ):
            yield gateway


def _request(route: str, user: str, script: Mapping[str, Any]) -> bytes:
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": TEXT}],
        "max_tokens": OUTPUT,
    }
    said = msgspec.json.encode(script).decode()
    headers = [("x-tollgate-feature", route), ("x-tollgate-user", user), ("x-sim-script", said)]
    return chat_request(body, headers)


def _script(draw: random.Random, route: str, sizes: Sizes) -> dict[str, Any]:
    """What one answer uses: its factor is evenly spread on a logarithmic scale."""
    times = math.exp(draw.uniform(math.log(LEAST), math.log(MOST)))
    read, written = round(times * sizes.input), round(times * OUTPUT)
    if route == STRICT:
        read, written = min(read, sizes.bound), min(written, OUTPUT)
    return {"latency": LATENCY, "usage": {"input": read, "output": written}}


async def _sizes(gateway: Running) -> Sizes:
    """Ask once on each route. Raises NotReadyError."""
    first: dict[str, Answer] = {}
    for route in ROUTES:
        request = _request(route, f"first-{route}", {})
        job = Job(port=gateway.port, requests=[request], connections=1, each=1, keep=True)
        found = await answers(job)
        if not found or not found[0].header("x-ratelimit-limit-tokens"):
            raise NotReadyError(f"the route {route} says nothing of its limit")
        first[route] = found[0]

    def taken(route: str) -> int:
        said = first[route].header
        return int(said("x-ratelimit-limit-tokens")) - int(said("x-ratelimit-remaining-tokens"))

    limit = int(first[STRICT].header("x-ratelimit-limit-tokens"))
    return Sizes(limit=limit, estimated=taken(ESTIMATED), proven=taken(STRICT))


async def _race(
    gateway: Running, generator: Generator, route: str, sizes: Sizes, *, seed: int, seconds: float
) -> Race:
    await gateway.forget()
    draw = random.Random(seed)
    user = f"racer-{route}-{seed}"
    asked = [_request(route, user, _script(draw, route, sizes)) for _ in range(SCRIPTS)]
    result = await generator.run(
        Job(
            port=gateway.port,
            requests=asked,
            around=True,
            connections=CONNECTIONS,
            seconds=seconds,
        )
    )
    await asyncio.sleep(SETTLED)
    records = await gateway.records()
    used = sum(_tokens(one) for one in records)
    reserved = sizes.proven if route == STRICT else sizes.estimated
    refused = result.failed.pop("429", 0)
    return Race(
        used=used,
        over=max(0, used - sizes.limit),
        error=_in_flight(records, reserved),
        served=len(records),
        refused=refused,
        failed=sum(result.failed.values()),
    )


def _tokens(record: Mapping[str, Any]) -> int:
    usage = record["usage"] or {}
    return int(usage.get("input", 0)) + int(usage.get("output", 0))


def _in_flight(records: Sequence[Mapping[str, Any]], reserved: int) -> int:
    """The most that requests used beyond what was reserved, of all that were in flight together."""
    steps: list[tuple[float, int]] = []
    for one in records:
        error = _tokens(one) - reserved
        if error > 0:
            began = float(one["time"])
            ended = began + float(one["seconds"] or 0.0) + SETTLED
            steps += [(began, error), (ended, -error)]
    return max(itertools.accumulate((error for _, error in sorted(steps)), initial=0))


def table(found: Found, sizes: Sizes) -> str:
    """The worst of each."""
    rows = [["limit", "workers", "races", "passed by", "error in flight", "used", "served",
             "refused"]]  # fmt: skip
    for (route, workers), all_ in sorted(found.items()):
        rows.append(
            [
                *(route, str(workers), str(len(all_))),
                f"{max(one.over for one in all_):,}",
                f"{max(one.error for one in all_):,}",
                f"{median(one.used for one in all_) / sizes.limit:.1%}",
                f"{median(one.served for one in all_):.0f}",
                f"{median(one.refused for one in all_):.0f}",
            ]
        )
    return aligned(rows)


async def run(races: int, seconds: float, workers: Iterable[int] = WORKERS) -> dict[str, Any]:
    """Race and print; part of the JSON object."""
    found: Found = {}
    generator = await Generator.start()
    sizes = Sizes(limit=0, estimated=0, proven=0)
    try:
        for count in workers:
            async with _gateway(count) as gateway:
                sizes = await _sizes(gateway)
                for seed, route in itertools.product(range(races), ROUTES):
                    one = await _race(gateway, generator, route, sizes, seed=seed, seconds=seconds)
                    found.setdefault((route, count), []).append(one)
    finally:
        await generator.stop()
    print(
        f"\n{sizes.limit:,} tokens, {CONNECTIONS} connections; reserved for a request: "
        f"{sizes.estimated} estimated, {sizes.proven} proven\n\n{table(found, sizes)}\n"
    )
    failed = sum(one.failed for all_ in found.values() for one in all_)
    if failed:
        print(f"{failed} answers were neither served nor refused")

    def worst(route: str, field: str) -> dict[str, int]:
        return {
            str(count): max(getattr(one, field) for one in all_)
            for (of, count), all_ in found.items()
            if of == route
        }

    return {
        "overshoot_tokens": worst(STRICT, "over"),
        "overshoot_tokens_estimated": worst(ESTIMATED, "over"),
        "in_flight_error_tokens": worst(ESTIMATED, "error"),
        "race_limit_tokens": sizes.limit,
        "race_failed": failed,
    }
