"""The arms of the overhead benchmark: who serves them, what they are asked, what is read off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import psutil

from extproc.config import find_envoy
from tests.bench import envoys, peers, workload
from tests.bench.gateway import Running
from tests.bench.load import Job, Result, percentile
from tests.bench.processes import (
    Fleet,
    Generator,
    NotReadyError,
    cpu_seconds,
    free_ports,
    rss_mb,
    tree,
)

CONNECTIONS: Final = 16
_LONG: Final = workload.events(workload.LONG_EVENTS, workload.LONG_RATE)
_SHORT: Final = workload.events(workload.SHORT_EVENTS)

_STAGGER: Final = 0.05 + 1 / workload.LONG_RATE / CONNECTIONS
"""Seconds between the starts of two long streams: their events are then spread evenly over time
in every arm. Started together, the events of a quicker arm come in bunches, and a service that
wakes up once for several of them looks cheaper than it is."""

Processes = Callable[[], list[psutil.Process]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to the same upstream."""

    name: str
    port: int
    request: bytes
    envoy: Processes | None = None
    service: Processes | None = None
    long: bool = False
    """Streams so long that a slot is one stream a connection."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One slot's figures of one arm. CPU in µs a request, memory in MB (1e6 bytes)."""

    rps_1: float
    rps_16: float
    p50_ms: float
    """At 16 connections, as p99."""
    p99_ms: float
    p50_1_ms: float
    """At one connection."""
    first_p50_ms: float
    """To the first byte of the body, at 16 connections."""
    envoy_cpu_us: float
    service_cpu_us: float
    rss_mb: float
    """Of the service; of Envoy where there is none."""
    envoy_rss_mb: float
    event_cpu_us: float
    """Service CPU of one event of a stream; NaN for an answer that is not streamed."""
    failed: int
    unfinished: int
    """Streams without `[DONE]`."""


NAMES: Final = (
    "envoy",
    "noop",
    "noop_target",
    "noop_stream",
    "tollgate_openai",
    "tollgate_anthropic",
    "tollgate_second",
    "tollgate_stream",
    "litellm",
    "portkey",
    "noop_long_stream",
    "tollgate_long_stream",
)
"""In the order of the table."""


async def build(fleet: Fleet, gateway: Running, wanted: set[str]) -> dict[str, Arm]:
    """Start what the wanted arms need. A peer that is not installed has no arm."""
    found = dict[str, Arm]()
    if wanted & {"envoy", "noop", "noop_target", "noop_stream", "noop_long_stream"}:
        found |= await _bare(fleet, gateway.simulator)
    found |= _tollgate(gateway)
    found = {name: arm for name, arm in found.items() if name in wanted}
    started = [
        await start(fleet, gateway.simulator)
        for name, start in peers.STARTERS.items()
        if name in wanted
    ]
    for peer in filter(None, started):
        try:
            await fleet.ready(peer.name, peer.port, peer.request)
        except NotReadyError as error:
            print(f"{peer.name} is left out: {error}")
            continue
        found[peer.name] = Arm(
            name=peer.name, port=peer.port, request=peer.request, service=_of(peer.pid)
        )
    return found


def _of(pid: int) -> Processes:
    return lambda: tree(pid)


async def _bare(fleet: Fleet, upstream: int) -> dict[str, Arm]:
    """Envoy alone, and Envoy with a no-op service."""
    binary = find_envoy()
    if binary is None:
        raise NotReadyError("no Envoy found")
    socket = fleet.folder / "noop.sock"
    service = _of(await fleet.python("noop", "tests.bench.noop", f"unix:{socket}"))
    layouts: list[envoys.Layout] = ["alone", "noop", "noop_target", "noop_stream"]
    ports = dict(zip(layouts, free_ports(len(layouts)), strict=True))
    pids = {}
    for layout, port in ports.items():
        config = fleet.folder / f"{layout}.json"
        node = envoys.bootstrap(layout, port=port, upstream=upstream, service=str(socket))
        config.write_bytes(msgspec.json.encode(node))
        pids[layout] = await fleet.start(
            f"envoy-{layout}",
            *(str(binary), "-c", str(config), "--disable-hot-restart", "--log-level", "warning"),
        )
    for layout, port in ports.items():
        await fleet.ready(f"envoy-{layout}", port, workload.chat())

    def arm(
        name: str, layout: envoys.Layout, request: bytes, *, long: bool = False
    ) -> tuple[str, Arm]:
        asked = None if layout == "alone" else service
        return name, Arm(
            name=name,
            port=ports[layout],
            request=request,
            envoy=_of(pids[layout]),
            service=asked,
            long=long,
        )

    whole = workload.chat()
    return dict(
        [
            arm("envoy", "alone", whole),
            arm("noop", "noop", whole),
            arm("noop_target", "noop_target", whole),
            arm("noop_stream", "noop_stream", workload.chat(stream=True, sim=_SHORT)),
            arm(
                "noop_long_stream",
                "noop_stream",
                workload.chat(stream=True, sim=_LONG),
                long=True,
            ),
        ]
    )


def _tollgate(gateway: Running) -> dict[str, Arm]:
    requests = {
        "tollgate_openai": workload.chat(),
        "tollgate_anthropic": workload.chat(feature="translated"),
        "tollgate_second": workload.chat(feature="walk-1", sim=workload.refusals(1)),
        "tollgate_stream": workload.chat(stream=True, sim=_SHORT),
        "tollgate_long_stream": workload.chat(stream=True, sim=_LONG),
    }
    return {
        name: Arm(
            name=name,
            port=gateway.port,
            request=request,
            envoy=lambda: gateway.envoy,
            service=lambda: gateway.service,
            long=name == "tollgate_long_stream",
        )
        for name, request in requests.items()
    }


async def measure(arm: Arm, generator: Generator, seconds: float, *, alone: bool = True) -> Figures:
    """One slot: `seconds` at 16 connections, and half of that at one if `alone`.

    A long stream's slot is one stream on each connection, then one more by itself.
    """
    envoy = arm.envoy() if arm.envoy else []
    service = arm.service() if arm.service else []
    before = cpu_seconds(envoy), cpu_seconds(service)
    many = await generator.run(_job(arm, CONNECTIONS, seconds))
    spent = cpu_seconds(envoy) - before[0], cpu_seconds(service) - before[1]
    memory = rss_mb(service), rss_mb(envoy)
    one = await generator.run(_job(arm, 1, seconds / 2)) if alone else None
    return _figures(many, one, spent, memory)


def _job(arm: Arm, connections: int, seconds: float) -> Job:
    limits = {"each": 1, "stagger": _STAGGER} if arm.long else {"seconds": seconds}
    return msgspec.convert(
        {"port": arm.port, "requests": [arm.request], "connections": connections, **limits},
        Job,
    )


def _figures(
    many: Result, one: Result | None, spent: tuple[float, float], memory: tuple[float, float]
) -> Figures:
    done = max(many.requests, 1)
    service_us = spent[1] / done * 1e6
    runs = [many, one] if one else [many]
    return Figures(
        rps_1=one.rate if one else math.nan,
        rps_16=many.rate,
        p50_ms=percentile(many.latencies_ms, 0.5),
        p99_ms=percentile(many.latencies_ms, 0.99),
        p50_1_ms=percentile(one.latencies_ms, 0.5) if one else math.nan,
        first_p50_ms=percentile(many.first_ms, 0.5),
        envoy_cpu_us=spent[0] / done * 1e6,
        service_cpu_us=service_us,
        rss_mb=memory[0] or memory[1],
        envoy_rss_mb=memory[1],
        event_cpu_us=spent[1] / many.events * 1e6 if many.events else math.nan,
        failed=sum(sum(run.failed.values()) for run in runs),
        unfinished=sum(run.unfinished for run in runs),
    )
