"""The admin HTTP server: `/metrics`, `/healthz`, `/readyz`, and what `Admin` brings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from extproc import addresses
from extproc.admin.answers import LARGEST, Handler, in_one_form
from extproc.admin.cache import Entries
from extproc.admin.capabilities import Admin
from extproc.admin.guard import Guard, Peer, peer_of
from extproc.admin.keys import Keys
from extproc.admin.tail import Tails
from extproc.admin.usage import Usage

Parts = Callable[[], Awaitable[dict[str, bool]]]
Expose = Callable[[], Awaitable[tuple[bytes, str]]]
Close = Callable[[], Awaitable[None]]

STOP_WITHIN: Final = 1.0
"""Seconds that answers under way get when the service stops."""


def application(
    expose: Expose, parts: Parts, admin: Admin | None = None, *, peer: Peer = peer_of
) -> web.Application:
    """All routes behind their guard. `peer` tells who is at the other end of a request."""
    admin = admin or Admin()
    guard = Guard((admin.token or "").strip() or None)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        guard.admit(request.path, peer(request), request.headers)
        return await handler(request)

    app = web.Application(middlewares=[in_one_form, guarded], client_max_size=LARGEST)
    _add_open(app, expose, parts)
    Keys(admin.keys).add_to(app)
    Usage(admin.ledger).add_to(app)
    Entries(admin.cache).add_to(app)
    Tails(admin.tail).add_to(app)
    return app


def _add_open(app: web.Application, expose: Expose, parts: Parts) -> None:
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

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)


async def serve(address: str, expose: Expose, parts: Parts, admin: Admin | None = None) -> Close:
    """Serve on `address` (`unix:PATH` or `HOST:PORT`). Raises OSError.

    `expose`: the metrics and their content type. `parts`: what readiness is made of, ready when all
    are true. `admin`: what else there is.
    """
    runner = web.AppRunner(
        application(expose, parts, admin),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=STOP_WITHIN,
        auto_decompress=False,  # a small body may unfold to one that stops the service for seconds
    )
    await runner.setup()
    await _site(runner, address).start()
    return runner.cleanup


def _site(runner: web.AppRunner, address: str) -> web.BaseSite:
    if address.startswith(addresses.UNIX):
        path = Path(address.removeprefix(addresses.UNIX))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return web.UnixSite(runner, str(path))
    host, port = addresses.host_port(address)
    return web.TCPSite(runner, host.strip("[]"), port)
