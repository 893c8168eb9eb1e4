"""An admin port that is asked over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.unit.admin.serving import Stores, app, stores
from tests.unit.state.conftest import redis_session, redis_url

__all__ = ["redis_session", "redis_url"]

Asked = TestClient[web.Request, web.Application]
Open = Callable[[web.Application], Awaitable[Asked]]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores(tmp_path) as found:
        yield found


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Serves any application."""
    clients: list[Asked] = []

    async def serve(one: web.Application) -> Asked:
        server = TestServer(one)
        await server.start_server(access_log=None)
        client: Asked = TestClient(server)
        clients.append(client)
        return client

    yield serve
    for client in clients:
        await client.close()


@pytest.fixture
async def asked(kept: Stores, opened: Open) -> Asked:
    """A port without a token, on the stores."""
    return await opened(app(kept))
