"""kill -9 of the service and of Redis at random points under fifty concurrent requests.

`python -m tests.e2e.ledger_kills --kills 50` does it at length, on both stores, and prints what was
found; its exit code is 1 if a request was lost, doubled or recorded wrongly. The test does a few.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import httpx2 as httpx

from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.ledger_books import admin, at_rest, label, mark, marks, records, row_sums, rows, sums
from tests.e2e.ledger_processes import Redis, Service
from tests.e2e.wire import many

CLIENTS: Final = 50
CONFIG: Final = """
providers:
  local: {dialect: openai, url: http://127.0.0.1:8000, outlier: {consecutive_5xx: 1000000}}
targets:
  llama: {provider: local, model: llama-3.1-8b-instruct, timeout: 20s, stall: 20s, price: {input: "0.2", output: "0.6"}}
chains:
  main: [llama]
routes:
  - name: everything
    models: {"*": main}
identity: open
"""  # noqa: E501 - a target a line
SERVED_BETWEEN: Final = (20, 200)
"""Answers between a recovery and the next kill."""
PARTS: Final = ("worker", "redis", "worker and redis", "service")
"""What is killed where several workers share a Redis; the service: their parent."""
BAD: Final = ("missing", "doubled", "wrong", "unsaid")
Store = Literal["sqlite", "redis"]
Kill = Callable[[], Awaitable[str]]
"""Kills something, starts it again where nobody else does, and says what it was."""


@dataclass(slots=True)
class Answered:
    """What a client saw of its request."""

    status: int = 0
    id: str | None = None
    whole: bool = False
    """It came to its proper end."""
    usage: Json | None = None


@dataclass
class Storm:
    """Fifty clients that go on asking, whatever is killed."""

    gateway: Running
    service: Service
    draw: random.Random
    """Of the points at which something is killed."""
    wishes: random.Random
    """Of what clients ask for."""
    answers: dict[str, Answered] = field(default_factory=dict)
    """By mark."""
    received: dict[str, list[Json]] = field(default_factory=dict)
    """What the simulator got, by mark: only what is needed of it."""
    killed: Counter[str] = field(default_factory=Counter)
    good: int = 0
    """Requests answered whole so far."""
    over: bool = False

    async def blow(self, kills: int, kill: Kill, *, between: tuple[int, int]) -> None:
        """Kill so many times, each time after some answers and some milliseconds."""
        async with many() as client:
            clients = [asyncio.create_task(self._client(client)) for _ in range(CLIENTS)]
            for _ in range(kills):
                await self._served(self.draw.randint(*between))
                await asyncio.sleep(self.draw.uniform(0, 0.05))  # anywhere within a request
                self.killed[await kill()] += 1
                await asyncio.to_thread(self._collect)
            await self._served(between[0])
            self.over = True
            await asyncio.gather(*clients)
        self._collect()

    async def _served(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted, deadline = self.good + count, time.monotonic() + 60
        while self.good < wanted:
            self.service.tend()
            if time.monotonic() > deadline:
                raise AssertionError("nothing was served any more")
            await asyncio.sleep(0.01)

    async def _client(self, client: httpx.AsyncClient) -> None:
        while not self.over:
            number = len(self.answers)
            seen = self.answers[f"{number:06}"] = Answered()
            with suppress(httpx.HTTPError):  # cut: the ledger is held against it later
                await self._ask(client, number, seen)
            self.good += seen.whole and seen.status == 200
            if seen.status != 200:
                await asyncio.sleep(0.5)  # as a client that was refused does

    async def _ask(self, client: httpx.AsyncClient, number: int, seen: Answered) -> None:
        stream = self.wishes.random() < 0.6
        body: Json = {"model": "main", "messages": [{"role": "user", "content": mark(number)}]}
        script: Json = {"latency": self.wishes.uniform(0, 0.3)}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            script |= {"events": 6, "rate": self.wishes.uniform(8, 40)}
        headers = {"x-sim-script": json.dumps(script), "x-tollgate-label-n": mark(number)}
        url = f"{self.gateway.url}/chat/completions"
        async with client.stream("POST", url, json=body, headers=headers) as answer:
            seen.status = answer.status_code
            seen.id = answer.headers.get("x-tollgate-request-id")
            if not stream or seen.status != 200:
                told = json.loads(await answer.aread())
                seen.usage, seen.whole = told.get("usage"), True
                return
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    seen.whole = True
                elif line.startswith("data: ") and '"usage":{' in line:
                    seen.usage = json.loads(line[6:])["usage"]

    def _collect(self) -> None:
        """What the simulator got since; it keeps ten thousand."""
        for name, found in marks(self.gateway).items():
            slim = [{"sequence": one["sequence"], "billed": one["billed"]} for one in found]
            self.received[name] = slim


@dataclass(slots=True)
class Findings:
    """What the ledger has of a storm. All lists have to be empty."""

    requests: int = 0
    received: int = 0
    records: int = 0
    lost: int = 0
    """Recorded as aborted by a crash."""
    cancelled: int = 0
    answered: int = 0
    undelivered: int = 0
    """Recorded as served, to the token, and killed before the client had the last of it."""
    missing: list[str] = field(default_factory=list)
    """Reached the provider, or were answered, and are not recorded."""
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Answered whole, and recorded otherwise."""
    unsaid: list[str] = field(default_factory=list)
    """Not answered, and not recorded as aborted and estimated."""

    @property
    def good(self) -> bool:
        return not (self.missing or self.doubled or self.wrong or self.unsaid)

    def told(self) -> str:
        counts = ("requests", "received", "records", "answered", "undelivered", "lost", "cancelled")
        parts = [f"{name} {getattr(self, name)}" for name in counts]
        parts += [f"{name} {len(getattr(self, name))}" for name in BAD]
        return ", ".join(parts)


def audit(storm: Storm, books: list[Json], summed: dict[str, int]) -> Findings:
    """Hold the ledger against what clients and simulator saw, and its sums against itself."""
    found = Findings(len(storm.answers), len(storm.received), len(books))
    if summed != (wanted := sums(books)):
        found.wrong.append(f"sums {summed}, records {wanted}")
    by_mark: dict[str, list[Json]] = {}
    for one in books:
        by_mark.setdefault((label(one, "n") or "").removeprefix("mark-"), []).append(one)
    found.doubled += [name for name, several in by_mark.items() if len(several) > 1]
    ids = Counter(one["id"] for one in books)
    found.doubled += [id_ for id_, times in ids.items() if times > 1]
    found.missing += sorted(storm.received.keys() - by_mark.keys())
    for name, seen in storm.answers.items():
        ours = next(iter(by_mark.get(name, ())), None)
        found.lost += ours is not None and ours.get("error_type") == "lost"
        found.cancelled += ours is not None and ours.get("error_type") == "cancelled"
        if seen.status == 200 and seen.whole:
            found.answered += 1
            if ours is None:
                found.missing.append(name)
            elif not _exact(seen, ours, storm.received.get(name, [])):
                found.wrong.append(f"{name} {seen} {ours}")
        elif ours is not None and _billed(ours, storm.received.get(name, [])):
            found.undelivered += 1
        elif ours is not None and not _unserved(ours):
            found.unsaid.append(f"{name} {seen} {ours}")
    return found


def _exact(seen: Answered, ours: Json, received: list[Json]) -> bool:
    usage, told = ours.get("usage") or {}, seen.usage or {}
    counts = (usage.get("input"), usage.get("output", 0))
    same = (told.get("prompt_tokens"), told.get("completion_tokens")) == counts
    return ours["id"] == seen.id and same and _billed(ours, received)


def _billed(ours: Json, received: list[Json]) -> bool:
    """Recorded as served, and as the provider billed it."""
    usage = ours.get("usage") or {}
    counts = (usage.get("input"), usage.get("output", 0))
    billed = [(one["billed"]["input"], one["billed"]["output"]) for one in received]
    return not ours.get("aborted") and not usage.get("estimated", True) and billed == [counts]


def _unserved(ours: Json) -> bool:
    """A client that got no whole answer: its record says so. Lost with the service, given up by
    Envoy, or refused."""
    usage = ours.get("usage") or {}
    if ours.get("error_type") in ("lost", "cancelled"):
        guessed = not usage or bool(usage.get("estimated"))
        return (
            bool(ours.get("aborted")) and guessed and (ours["error_type"] != "lost" or bool(usage))
        )
    return int(ours.get("status", 200)) >= 400


@contextmanager
def stormy(store: Store, folder: Path, seed: int) -> Iterator[tuple[Storm, Kill]]:
    """A gateway, and what kills a part of it.

    SQLite: the one service, started again with its own arguments. Redis: one of two workers, which
    their parent replaces, or Redis, or both at once, or the parent.
    """
    draw, wishes = random.Random(seed), random.Random(-seed)
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    with Redis.running(wanted=store == "redis") as redis:
        flags = ("--workers", "2", "--redis", redis.url) if redis else ()
        with running(folder / "run", config, *flags) as gateway, Service.held(gateway) as service:
            kill = _killing_shared(service, redis, draw) if redis else _killing_service(service)
            yield Storm(gateway, service, draw, wishes), kill


def _killing_service(service: Service) -> Kill:
    async def kill() -> str:
        await asyncio.to_thread(service.kill)
        service.start()
        return "service"

    return kill


def _killing_shared(service: Service, redis: Redis, draw: random.Random) -> Kill:
    turn: list[str] = []

    async def kill() -> str:
        if not turn:
            turn.extend(draw.sample(PARTS, len(PARTS)))
        what = turn.pop()
        if what == "service":
            return await _killing_service(service)()
        if "redis" in what:
            await asyncio.to_thread(redis.kill)
        if "worker" in what and (workers := service.process.children()):
            draw.choice(workers).kill()
        if "redis" in what:
            await asyncio.sleep(draw.uniform(0, 0.5))  # away for a while
            await asyncio.to_thread(redis.start)
        return what

    return kill


def weather(
    store: Store, folder: Path, kills: int, seed: int, between: tuple[int, int] = SERVED_BETWEEN
) -> tuple[Storm, Findings]:
    """A storm from beginning to end, and what the ledger has of it."""
    with stormy(store, folder, seed) as (storm, kill):
        asyncio.run(storm.blow(kills, kill, between=between))
        poll(
            lambda: admin(storm.gateway, "/readyz").status_code == 200, within=60, what="all parts"
        )
        at_rest(storm.gateway)

        def all_there() -> bool:
            there = {label(one, "n") for one in records(storm.gateway)}
            return {f"mark-{name}" for name in storm.received} <= there

        # What a killed worker left is settled by the next one that has its place. The audit names
        # what is not there then.
        with suppress(AssertionError):
            poll(all_there, within=15)
        (summed,) = rows(storm.gateway, "--since", "6h")
        return storm, audit(storm, records(storm.gateway), row_sums(summed))


def main() -> int:
    """The storm at length."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--seed", type=int, default=int(time.time()))
    asked.add_argument("--store", choices=["sqlite", "redis"], action="append")
    given = asked.parse_args()
    failed = False
    for store in given.store or ["sqlite", "redis"]:
        began = time.monotonic()
        with TemporaryDirectory(prefix="tollgate-kills-") as folder:
            storm, found = weather(store, Path(folder), given.kills, given.seed)
        kills: Mapping[str, int] = storm.killed
        said = ", ".join(f"{count} x {what}" for what, count in sorted(kills.items()))
        took = time.monotonic() - began
        lines = [f"{store}: seed {given.seed}, killed {said}, {took:.0f} s", f"  {found.told()}"]
        for name in BAD:
            lines += [f"  {name}: {one}" for one in getattr(found, name)[:5]]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        failed = failed or not found.good
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
