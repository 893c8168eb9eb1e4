"""The gRPC server of one worker: readiness, drain.

Start-up and shutdown are lists of steps. A worker that drains takes no new request, but still
serves the next levels of the requests it has, so the two filters have a health name each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from grpc_health.v1 import _async as health
from grpc_health.v1 import health_pb2, health_pb2_grpc

from extproc import addresses, catalogue, dialects
from extproc.admin.http import serve
from extproc.cache.settings import Caching
from extproc.caching import MARKS, OpenCache
from extproc.filters.exchange import Handler
from extproc.filters.gateway import GatewayFilter
from extproc.filters.large import Large
from extproc.filters.last import Last
from extproc.filters.rooms import Rooms as GatewayRooms
from extproc.filters.settlement import NoLedger
from extproc.filters.target import Rooms as TargetRooms
from extproc.filters.target import TargetFilter
from extproc.guard import GuardError
from extproc.guarding import open_guard
from extproc.headers import FILTER, HEALTH_GATEWAY, HEALTH_TARGET
from extproc.identity import Identify
from extproc.limiting import Limiting
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.routing import Routes
from extproc.state import Notes, StateError
from extproc.state.memory import MemoryNotes
from extproc.stores import Keeping, Stores, open_stores
from extproc.stream import SERVICE, Stream
from extproc.telemetry import Telemetry

log = logging.getLogger(__name__)

METHOD: Final = f"/{SERVICE}/Process"
LARGEST_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes: twice the largest body, since gRPC's own limit of 4 MiB would cut at a request of that."""
OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # A second worker on the same address is a mistake, not load balancing.
    ("grpc.so_reuseport", 0),
)


LAG_EVERY: Final = 0.5
"""Seconds between two looks at how late the event loop is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One worker. Times in seconds."""

    listen: str
    """`unix:PATH` or `HOST:PORT`."""
    admin: str
    """`unix:PATH` or `HOST:PORT` of the admin HTTP server."""
    slot: int = 0
    """The worker's number, whose spool is its own."""
    slots: int = 1
    """Workers of the service."""
    keeping: Keeping = field(default_factory=Keeping)
    guard: str = "default"
    """What personal data and secrets are found with: `default`, `presidio` or `http`."""
    guard_url: str | None = None
    """The endpoint of `http`."""
    guard_timeout: float = 2.0
    """What Presidio or the endpoint has for the texts of a body."""
    cache: Caching = field(default_factory=Caching)
    drain_timeout: float = 30.0
    log_level: str = "info"


class Filter(Protocol):
    """Makes a handler for each stream."""

    def open(self) -> Handler:
        """A handler for one stream."""
        ...


class Worker:
    """The rooms of one worker, and the streams it serves."""

    def __init__(self, settings: Settings, stores: Stores) -> None:
        """Raises LedgerError for a ledger that cannot be."""
        self.settings = settings
        self.stores = stores
        self.telemetry = Telemetry()
        self.ledger = stores.worker_ledger(settings.slot, settings.slots)
        if self.ledger is not None:
            self.telemetry.watch_ledger(self._figures)
        self.limiting = Limiting(settings.keeping, self.telemetry.limits, settings.slots)
        self.notes: Notes = _notes(settings.keeping.redis)
        self.draining = False
        self._live = 0
        self._idle = asyncio.Event()
        self._idle.set()
        known = dialects.load()
        models = catalogue.load()
        routes = Routes(models)
        spoken = dialects.formats()
        large = Large()
        self.guard = open_guard(
            stores,
            large,
            self.telemetry.guard,
            name=settings.guard,
            url=settings.guard_url,
            timeout=settings.guard_timeout,
        )
        self.caching = OpenCache(stores, settings.cache, self.telemetry.cache, models)
        gateway = GatewayRooms(
            known,
            spoken,
            routes,
            self.notes,
            self.telemetry,
            Identify(stores.keyring),
            self.ledger or NoLedger(),
            self.limiting.gate,
            large,
            self.guard,
            self.caching.cache,
            Last(),
            stores.secret.derive(MARKS),
        )
        self._filters: dict[str, Filter] = {
            "gateway": GatewayFilter(gateway),
            "target": TargetFilter(
                TargetRooms(known, spoken, self.notes, self.telemetry, large, self.limiting.gate)
            ),
        }

    async def process(self, _: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Serve one ext_proc stream."""
        name = _filter_name(context)
        chosen = self._filters.get(name)
        if chosen is None:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"{FILTER}: no filter '{name[:40]}'"
            )
        if name != "gateway":
            await Stream(context, chosen.open()).run()
            return
        if self.draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        self._live += 1
        self._idle.clear()
        try:
            await Stream(context, chosen.open()).run()
        finally:
            self._live -= 1
            if not self._live:
                self._idle.set()

    async def idle(self, seconds: float) -> bool:
        """Wait until no request is live; False if some still are after `seconds`."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _figures(self) -> Mapping[str, float]:
        found = self.ledger.figures() if self.ledger is not None else {}
        return {**found, "store_corrupt": float(self.stores.corrupted)}

    @property
    def live(self) -> int:
        """Requests being served."""
        return self._live

    async def expose(self) -> tuple[bytes, str]:
        """Metrics, and their content type."""
        return self.telemetry.expose()

    async def parts(self) -> dict[str, bool]:
        """What readiness is made of; ready when all are true."""
        found = {"accepting": not self.draining}
        for name, store in (("state", self.notes), ("keys", self.stores.keys)):
            try:
                await store.ping()
                found[name] = True
            except StateError:
                found[name] = False
        return found


def _filter_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == FILTER:
            return value if isinstance(value, str) else value.decode("latin-1")
    return ""


def _notes(redis: str | None) -> Notes:
    if redis is None:
        return MemoryNotes()
    from extproc.state.shared import SharedNotes, connect  # noqa: PLC0415 - 40 ms that one worker need not spend

    return SharedNotes(connect(redis))


class _Routes(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # no class to subscript at run time
    """The one method, with replies that are serialised already."""

    def __init__(self, worker: Worker) -> None:
        self._handler = grpc.stream_stream_rpc_method_handler(
            worker.process, ProcessingRequest.FromString, None
        )

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._handler if details.method == METHOD else None


@dataclass(slots=True)
class Running:
    """A worker that serves. `stop` drains it."""

    worker: Worker
    server: grpc.aio.Server
    health: Any
    closing: list[Callable[[], Any]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def stop(self) -> None:
        """Drain: no new requests, live ones finish within the drain timeout, then close."""
        worker = self.worker
        worker.draining = True
        await _say(self.health, health_pb2.HealthCheckResponse.NOT_SERVING, HEALTH_GATEWAY, "")
        log.info("draining", extra={"live": worker.live})
        if not await worker.idle(worker.settings.drain_timeout):
            log.warning("drain timeout", extra={"cut": worker.live})
        await _say(self.health, health_pb2.HealthCheckResponse.NOT_SERVING, HEALTH_TARGET)
        await self.server.stop(0.2)
        for task in self.tasks:
            task.cancel()
        for close in self.closing:
            await close()
        await worker.caching.stop()  # what it still learns is paid for, and recorded
        if worker.ledger is not None:
            await worker.ledger.stop()
        await worker.limiting.stop()
        await worker.guard.close()
        await worker.stores.close()
        await worker.notes.close()
        log.info("stopped")


async def start(settings: Settings) -> Running:
    """Open the worker's doors in order; raises OSError when an address cannot be had, and what
    the stores raise when they cannot be used."""
    # For what waits for a disk.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4, "aside"))
    stores = open_stores(settings.keeping)
    await stores.start()
    worker = Worker(settings, stores)
    admin = stores.admin(worker.ledger, worker.caching.admin)
    if worker.ledger is not None:
        await worker.ledger.start()
    await worker.limiting.start()
    await worker.caching.start(worker.limiting.alerts)
    try:
        await worker.guard.ping()
    except GuardError as error:
        log.warning("the guard's detector does not answer", extra={"reason": str(error)})
    server = grpc.aio.server(options=OPTIONS)
    checks = health.HealthServicer()
    await _say(
        checks, health_pb2.HealthCheckResponse.NOT_SERVING, "", HEALTH_GATEWAY, HEALTH_TARGET
    )
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_generic_rpc_handlers((_Routes(worker),))
    _bind(server, settings.listen)
    await server.start()
    running = Running(worker, server, checks)
    running.closing.append(await serve(settings.admin, worker.expose, worker.parts, admin))
    running.tasks.append(asyncio.create_task(_watch_lag(worker.telemetry)))
    if settings.slot == 0:
        running.tasks.append(asyncio.create_task(stores.forget()))
    await _say(checks, health_pb2.HealthCheckResponse.SERVING, "", HEALTH_GATEWAY, HEALTH_TARGET)
    log.info("serving", extra={"listen": settings.listen, "admin": settings.admin})
    return running


def _bind(server: grpc.aio.Server, listen: str) -> None:
    if listen.startswith(addresses.UNIX):
        Path(listen.removeprefix(addresses.UNIX)).parent.mkdir(parents=True, exist_ok=True)
    try:
        bound = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: {error}") from error
    if not bound and not listen.startswith(addresses.UNIX):
        raise OSError(f"cannot listen on {listen}")


async def _say(checks: Any, status: Any, *names: str) -> None:
    for name in names:
        await checks.set(name, status)


async def _watch_lag(telemetry: Telemetry) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        telemetry.lag(max(0.0, loop.time() - due))


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    running = await start(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with contextlib.suppress(asyncio.CancelledError):
        await stop.wait()
    await running.stop()
