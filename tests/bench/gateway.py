"""Tollgate as the benchmarks run it: simulator, one worker, Envoy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from extproc.stack import Options, Stack
from tests.bench import workload
from tests.bench.processes import free_ports, free_row, tree

CONFIG = Path(__file__).with_name("gateway.yaml")
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
"""Taken out of the environment: a benchmark asks no real provider."""
_PROVIDERS = 8
"""Ports to keep for simulated providers."""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that serves."""

    stack: Stack
    port: int
    simulator: int
    """Where the simulator speaks OpenAI's dialect."""

    @property
    def envoy(self) -> list[psutil.Process]:
        """Envoy's processes."""
        return tree(self.stack.parts["envoy"].process.pid)

    @property
    def service(self) -> list[psutil.Process]:
        """The worker, and its parent where there is one."""
        return tree(self.stack.parts["service"].process.pid)

    @property
    def admin(self) -> str:
        """Base URL of the service's admin port."""
        return f"http://127.0.0.1:{self.stack.options.admin}"

    async def configure(self, scripts: dict[str, Any]) -> None:
        """Say how the simulator answers where a request does not say it itself."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            url = f"http://127.0.0.1:{self.simulator}/_sim/config"
            async with session.put(url, json=scripts):
                pass

    async def forget(self) -> None:
        """Let the simulator drop what it recorded."""
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.delete(f"http://127.0.0.1:{self.simulator}/_sim/requests"),
        ):
            pass

    async def records(self) -> list[dict[str, Any]]:
        """What the simulator received and sent."""
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.get(f"http://127.0.0.1:{self.simulator}/_sim/requests") as response,
        ):
            found: list[dict[str, Any]] = await response.json()
            return found


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    config: Path = CONFIG,
    kind: Callable[[Options, Mapping[str, str]], Stack] = Stack,
) -> AsyncIterator[Running]:
    """Start it on free ports; stop it at the end. Raises StackError."""
    port, envoy_admin, admin = free_ports(3)
    options = Options(
        config=config,
        folder=folder,
        port=port,
        envoy_admin=envoy_admin,
        admin=admin,
        simulator=free_row(_PROVIDERS),
        drain_timeout=5.0,
    )
    env = {name: value for name, value in os.environ.items() if name not in _KEYS}
    stack = kind(options, env | {"BENCH_DEAD_KEY": "nobody"})
    try:
        await stack.start()
        running = Running(stack, port, options.simulator + stack.providers.index("openai"))
        await running.configure(workload.script())
        yield running
    finally:
        await stack.stop()
