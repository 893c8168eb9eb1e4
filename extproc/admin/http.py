"""The admin HTTP server: `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from extproc import addresses

if TYPE_CHECKING:
    from extproc.server import Worker

Parts = Callable[[], Awaitable[dict[str, bool]]]
Expose = Callable[[], Awaitable[tuple[bytes, str]]]
Close = Callable[[], Awaitable[None]]


async def serve(address: str, expose: Expose, parts: Parts) -> Close:
    """Serve the three paths on `address` (`unix:PATH` or `HOST:PORT`). Raises OSError.

    `parts` are what readiness is made of: ready when all are true.
    """

    async def metrics(_: web.Request) -> web.Response:
        body, content_type = await expose()
        return web.Response(body=body, headers={"content-type": content_type})

    async def healthy(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        found = await parts()
        good = all(found.values())
        status = "ready" if good else "not ready"
        return web.json_response({"status": status, "parts": found}, status=200 if good else 503)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await _site(runner, address).start()
    return runner.cleanup


def _site(runner: web.AppRunner, address: str) -> web.BaseSite:
    if address.startswith(addresses.UNIX):
        path = Path(address.removeprefix(addresses.UNIX))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return web.UnixSite(runner, str(path), shutdown_timeout=1.0)
    host, port = addresses.host_port(address)
    return web.TCPSite(runner, host.strip("[]"), port, shutdown_timeout=1.0)


async def serve_worker(worker: Worker, address: str) -> Close:
    """The admin server of one worker."""

    async def expose() -> tuple[bytes, str]:
        return worker.telemetry.expose()

    return await serve(address, expose, worker.parts)
