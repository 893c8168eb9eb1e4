"""The arms of the cache's latency benchmark: who serves them, what they are asked, and whether that
is what was measured."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import psutil

from extproc.config import find_envoy
from extproc.stack import Options, Stack
from tests.bench import envoys, workload
from tests.bench.cache_wordings import QUESTION, stranger, wordings
from tests.bench.gateway import Running, running
from tests.bench.load import Job, percentile
from tests.bench.processes import (
    Fleet,
    Generator,
    NotReadyError,
    chat_request,
    cpu_seconds,
    free_ports,
    tree,
)

CONFIG: Final = Path(__file__).with_name("cache.yaml")
CONNECTIONS: Final = 16
STATIC, MINILM, HTTP = "static", "minilm", "http"
NAMES: Final = (
    "noop",
    "noop_gateway",
    "exact",
    "exact_no_ledger",
    "semantic_static",
    "semantic_minilm",
    "semantic_http",
    "off",
    "miss_exact",
    "miss_static",
    "miss_minilm",
)
"""In the order of the table."""
OUTCOMES: Final = ("hit", "semantic", "miss", "bypass")
ANSWER: Final = 900
"""Bytes of the no-op's answer: as many as the simulator's have."""
FASTEST: Final = 3000
"""Requests a second that no arm reaches: so many new questions are made for a turn."""
_METRIC: Final = "tollgate_cache_requests_total{"
_WITHIN: Final = 200
"""Attempts to get what was asked out of the cache before anything is measured."""

Processes = Callable[[], list[psutil.Process]]
Asked = Callable[[int], list[bytes]]
"""So many requests to be sent one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One kind of request, and who serves it."""

    name: str
    port: int
    asked: Asked
    envoy: Processes
    service: Processes
    outcome: str = ""
    """Of every request, by the gateway's own count; empty: it counts none."""
    new: bool = False
    """Each request is sent once."""
    gateway: Running | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one arm. CPU in µs a request."""

    p50_ms: float
    """At 16 connections, as p99."""
    p99_ms: float
    p50_1_ms: float
    """At one connection, as p99."""
    p99_1_ms: float
    rps: float
    """At 16 connections."""
    envoy_cpu_us: float
    service_cpu_us: float
    requests: int
    failed: int
    other: int
    """Requests that did not come to what this arm measures."""


Rounds = dict[str, list[Figures]]
"""By arm."""


# --- who serves -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def arms(
    fleet: Fleet, wanted: frozenset[str], *, models: Path | None, url: str | None, model: str | None
) -> AsyncIterator[list[Arm]]:
    """All that are wanted and can be had, up at the same time. Raises StackError and
    NotReadyError."""
    found: list[Arm] = []
    folder = fleet.folder
    async with contextlib.AsyncExitStack() as opened:

        async def gateway(name: str, env: Mapping[str, str], **options: Any) -> Running:
            kind = _stack(env, **options)
            return await opened.enter_async_context(running(folder / name, CONFIG, kind))

        if wanted - {"noop", "exact_no_ledger", "semantic_http"}:
            main = await gateway(STATIC, {})
            found += _of(main, STATIC)
            if "noop_gateway" in wanted:
                found.append(await _noop_gateway(fleet, main))
        if "exact_no_ledger" in wanted:
            found.append(_exact(await gateway("n", {}, ledger=False), "exact_no_ledger"))
        if models is not None and wanted & {"semantic_minilm", "miss_minilm"}:
            env = {"TOLLGATE_MODELS": str(models)}
            found += _of(await gateway(MINILM, env, embedder=MINILM), MINILM)
        if url is not None and "semantic_http" in wanted:
            made = await gateway(
                HTTP, {}, embedder=HTTP, embedder_url=url, embedder_model=model
            )  # fmt: skip
            found += _of(made, HTTP)
        if "noop" in wanted:
            found.append(await _noop(fleet))
        found = [one for name in NAMES if name in wanted for one in found if one.name == name]
        for one in found:
            if one.gateway is not None:
                await one.gateway.configure(_answers())
                await _warm(one)
        yield found


def _stack(env: Mapping[str, str], **changed: Any) -> Callable[[Options, Mapping[str, str]], Stack]:
    def made(options: Options, given: Mapping[str, str]) -> Stack:
        return Stack(replace(options, **changed), {**given, **env})

    return made


def _answers() -> dict[str, Any]:
    """As the other benchmarks have it, but at once: what a cache adds is small beside 5 ms."""
    return {"*": {**workload.script()["*"], "latency": 0}}


def _of(gateway: Running, embedder: str) -> list[Arm]:
    semantic = itertools.cycle(_chat("semantic", one) for one in wordings())
    unknown = (_chat("semantic", stranger(number)) for number in itertools.count())
    found = [
        _arm(gateway, f"semantic_{embedder}", "semantic", semantic),
        _arm(gateway, f"miss_{embedder}", "miss", unknown, new=True),
    ]
    if embedder == STATIC:
        others = (_chat("exact", stranger(number)) for number in itertools.count())
        none = (_chat("off", stranger(number)) for number in itertools.count())
        found += [
            _exact(gateway, "exact"),
            _arm(gateway, "off", "", none, new=True),
            _arm(gateway, "miss_exact", "miss", others, new=True),
        ]
    return found


def _exact(gateway: Running, name: str) -> Arm:
    return _arm(gateway, name, "hit", itertools.repeat(_chat("exact", QUESTION)))


def _arm(gateway: Running, name: str, outcome: str, asked: Any, *, new: bool = False) -> Arm:
    return Arm(
        name=name,
        port=gateway.port,
        asked=lambda count: list(itertools.islice(asked, count)),
        envoy=lambda: gateway.envoy,
        service=lambda: gateway.service,
        outcome=outcome,
        new=new,
        gateway=gateway,
    )


async def _noop(fleet: Fleet) -> Arm:
    """Envoy, and a service that answers every request's body with the same bytes."""
    folder = fleet.folder / "b"
    folder.mkdir()
    (port,) = free_ports(1)
    socket = str(folder / "noop.sock")
    node = envoys.bootstrap("noop", port=port, upstream=port, service=socket)
    (folder / "envoy.yaml").write_bytes(msgspec.json.encode(node))
    return await _answered(fleet, "noop", folder, socket, port)


async def _noop_gateway(fleet: Fleet, gateway: Running) -> Arm:
    """The same service behind the gateway's Envoy: its files, with other ports and paths."""
    here = gateway.stack.options
    folder = fleet.folder / "o"
    folder.mkdir()
    port, admin = free_ports(2)
    changes = (
        (str(here.folder.resolve()), str(folder)),
        (str(here.folder), str(folder)),
        (f"{folder}/envoy/", f"{folder}/"),
        (f"port_value: {here.port}", f"port_value: {port}"),
        (f"port_value: {here.envoy_admin}", f"port_value: {admin}"),
    )
    for file in (here.folder / "envoy").iterdir():
        text = file.read_text()
        for before, after in changes:
            text = text.replace(before, after)
        (folder / file.name).write_text(text)
    socket = f"{folder}/extproc-0.sock"
    return await _answered(fleet, "noop_gateway", folder, socket, port)


async def _answered(fleet: Fleet, name: str, folder: Path, socket: str, port: int) -> Arm:
    """A service of its own that answers at once, behind the Envoy of a folder."""
    binary = find_envoy()
    if binary is None:
        raise NotReadyError("no Envoy found")
    service = await fleet.python(name, "tests.bench.noop", f"unix:{socket}", str(ANSWER))
    envoy = await fleet.start(
        f"envoy-{name}",
        *(str(binary), "-c", str(folder / "envoy.yaml")),
        *("--disable-hot-restart", "--log-level", "warning"),
        env={"BENCH_OPENAI_KEY": "simulated"},
    )
    request = _chat("exact", QUESTION)
    await fleet.ready(f"envoy-{name}", port, request)
    return Arm(
        name=name,
        port=port,
        asked=lambda count: [request] * min(count, CONNECTIONS),
        envoy=lambda: tree(envoy),
        service=lambda: tree(service),
    )


# --- what is asked --------------------------------------------------------------------------


def _chat(route: str, text: str) -> bytes:
    """A chat of four messages, 0.7 kB, that ends with a question."""
    return chat_request(_body(text), ((workload.FEATURE, route),))


def _body(text: str) -> dict[str, object]:
    *earlier, _ = workload.turns()
    messages = [*earlier, {"role": "user", "content": text}]
    return {"model": workload.MODEL, "messages": messages, "temperature": 0.2, "max_tokens": 4000}


async def _warm(arm: Arm) -> None:
    """Ask until the arm comes to what it measures. Raises NotReadyError."""
    assert arm.gateway is not None
    if arm.outcome not in ("hit", "semantic"):
        return
    route = "exact" if arm.outcome == "hit" else "semantic"
    url = f"http://127.0.0.1:{arm.port}/v1/chat/completions"
    said = ""
    async with aiohttp.ClientSession(headers={workload.FEATURE: route}) as session:
        for number in range(_WITHIN):
            # First the question that is stored, then what is to be answered with it.
            text = QUESTION if arm.outcome == "hit" or number < 10 else wordings()[number]
            async with session.post(url, json=_body(text)) as answer:
                said = f"{answer.status} {answer.headers.get('x-tollgate-cache', '')}"
                if number > 10 and said.startswith(f"200 {arm.outcome}"):
                    return
    raise NotReadyError(f"{arm.name}: after {_WITHIN} requests the answer is still {said!r}")


# --- measuring ------------------------------------------------------------------------------


async def measure(arm: Arm, generator: Generator, seconds: float) -> Figures:
    """One turn: `seconds` at 16 connections, half of that at one."""
    before = await _counted(arm)
    envoy, service = arm.envoy(), arm.service()
    spent = cpu_seconds(envoy), cpu_seconds(service)
    many = await generator.run(_job(arm, CONNECTIONS, seconds))
    spent = cpu_seconds(envoy) - spent[0], cpu_seconds(service) - spent[1]
    one = await generator.run(_job(arm, 1, seconds / 2))
    after = await _counted(arm)
    done = max(many.requests, 1)
    came = {name: after[name] - before[name] for name in OUTCOMES}
    return Figures(
        p50_ms=percentile(many.latencies_ms, 0.5),
        p99_ms=percentile(many.latencies_ms, 0.99),
        p50_1_ms=percentile(one.latencies_ms, 0.5),
        p99_1_ms=percentile(one.latencies_ms, 0.99),
        rps=many.rate,
        envoy_cpu_us=spent[0] / done * 1e6,
        service_cpu_us=spent[1] / done * 1e6,
        requests=many.requests + one.requests,
        failed=sum(many.failed.values()) + sum(one.failed.values()),
        other=sum(count for name, count in came.items() if name != arm.outcome),
    )


def _job(arm: Arm, connections: int, seconds: float) -> Job:
    requests = arm.asked(int(FASTEST * seconds))
    return Job(
        port=arm.port,
        requests=requests,
        around=True,
        connections=connections,
        seconds=seconds,
        each=len(requests) // connections if arm.new else 0,
    )


async def _counted(arm: Arm) -> dict[str, int]:
    """Requests by what they came to, as the gateway counts them."""
    found = dict.fromkeys(OUTCOMES, 0)
    if arm.gateway is None:
        return found
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.get(f"{arm.gateway.admin}/metrics") as answer,
    ):
        text = await answer.text()
    for line in text.splitlines():
        if line.startswith(_METRIC):
            for name in OUTCOMES:
                if f'"{name}"' in line:
                    found[name] += int(float(line.rpartition(" ")[2]))
    return found
