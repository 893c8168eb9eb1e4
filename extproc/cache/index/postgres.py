"""The index in Postgres with pgvector: one for all workers, for who has outgrown their memory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import asyncpg
import numpy as np

from extproc.cache import CacheAway, Vectors
from extproc.cache.index import SECONDS, Ids, Near, asked, checked

Answer = TypeVar("Answer")
Connection = Any  # of a pool: asyncpg types it as a proxy of one
Kind = Literal["halfvec", "vector"]

WIDEST: Final = {"halfvec": 4000, "vector": 2000}
"""What pgvector can make an index of."""
_HALVES: Final = (0, 7)
"""The version of pgvector from which on there are half-precision vectors;"""
_ITERATES: Final = (0, 8)
"""and from which on a search goes on until it has found enough of the partition. Before, it may
find fewer in a partition that is too large to be scanned and small beside the others."""
_SEARCHES: Final = 8
"""Connections that search. A question that finds none free is a miss at once."""
_EF_SEARCH: Final = 100
"""Entries that a search holds as candidates. Of pgvector's own 40 few might be left once those of
other partitions are dropped."""
_MAX_TUPLES: Final = 20_000
_STUCK: Final = 1.0
"""Seconds after which a connection that does not answer a search is given up."""
_WRITE: Final = 10.0
_ADDED: Final = 100
"""Rows put with one statement; pgvector takes 0.5 to 3 ms for each."""
_AGAIN: Final = 0.5
"""Seconds between two attempts to connect."""
_AWAY: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    TimeoutError,
    asyncpg.InternalClientError,
)
_LOG: Final = logging.getLogger(__name__)


class PostgresIndex:
    """To be used from one event loop. Connects by itself, and again when Postgres was away."""

    shared: Final = True

    def __init__(self, url: str, embedder: str, dim: int, *, schema: str = "public") -> None:
        """Raises ValueError for a URL that is none of Postgres, and a width it cannot index."""
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise ValueError("the vectors' place is no postgresql:// URL")
        if not 0 < dim <= WIDEST["halfvec"]:
            raise ValueError(
                f"pgvector indexes up to {WIDEST['halfvec']} numbers a vector, not {dim}"
            )
        self.embedder: Final = embedder
        self.dim: Final = dim
        self._url = url
        name = f"tollgate_vectors_{hashlib.sha256(f'{embedder} {dim}'.encode()).hexdigest()[:16]}"
        self._table = f'"{schema}".{name}'
        self._name = name
        self._pool: asyncpg.Pool | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._next = 0.0
        self._searching: set[asyncio.Task[list[Any]]] = set()
        self._closed = False
        self._told = False
        self.iterates = False
        """Whether a search goes on until it has found enough."""

    async def add(self, partition: bytes, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """See `Index`."""
        named, rows = checked(ids, vectors, self.dim)
        # In one order, or two workers that add the same wait for each other's locks.
        last = {int(entry): row for entry, row in zip(named, rows, strict=True)}
        values = [(entry, partition, last[entry]) for entry in sorted(last)]
        sql = (
            f"INSERT INTO {self._table} (id, partition, vector) VALUES ($1, $2, $3) "  # noqa: S608  a hash
            "ON CONFLICT (id) DO UPDATE "
            "SET partition = excluded.partition, vector = excluded.vector"
        )
        for at in range(0, len(values), _ADDED):
            part = values[at : at + _ADDED]
            await self._write(partial(_many, sql=sql, values=part))

    async def remove(self, ids: Sequence[int] | Ids) -> int:
        """See `Index`."""
        sql = f"DELETE FROM {self._table} WHERE id = ANY($1::bigint[])"  # noqa: S608
        named = sorted({int(entry) for entry in ids})
        said = await self._write(lambda connection: connection.execute(sql, named, timeout=_WRITE))
        return int(said.split()[-1])

    async def search(
        self, partition: bytes, vector: Vectors, k: int, within: float = SECONDS
    ) -> list[Near]:
        """See `Index`."""
        row = asked(vector, self.dim)
        pool = self._there()
        if k < 1:
            return []
        if len(self._searching) >= _SEARCHES:
            raise CacheAway("all connections to Postgres are searching")
        # Not cancelled when it is late: that takes a connection of its own and a while.
        task = asyncio.get_running_loop().create_task(self._fetch(pool, partition, row, k))
        self._searching.add(task)
        task.add_done_callback(partial(self._searched, pool))
        done, _ = await asyncio.wait({task}, timeout=within)
        if not done:
            raise CacheAway(f"Postgres took longer than {within} seconds")
        try:
            found = task.result()
        except _AWAY as error:
            self._lost(pool, error)
            raise CacheAway(f"Postgres: {type(error).__name__}") from error
        return [Near(one["id"], min(1.0, one["score"])) for one in found]

    async def size(self) -> int:
        """See `Index`."""
        sql = f"SELECT count(*) FROM {self._table}"  # noqa: S608
        count: int = await self._write(lambda connection: connection.fetchval(sql, timeout=_WRITE))
        return count

    async def ready(self) -> None:
        """Wait for the connection that is being made. Raises CacheAway if that fails."""
        if self._pool is None:
            self._connect_soon()
        if self._connecting is not None:
            await asyncio.wait({self._connecting})
        if self._pool is None:
            raise CacheAway("Postgres does not answer")

    async def close(self) -> None:
        """See `Index`."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._searching:
            await asyncio.wait(self._searching)
        self._drop()

    async def _fetch(self, pool: asyncpg.Pool, partition: bytes, row: Vectors, k: int) -> list[Any]:
        sql = (
            f"SELECT id, 1 - (vector <=> $2) AS score FROM {self._table} "  # noqa: S608
            "WHERE partition = $1 ORDER BY vector <=> $2 LIMIT $3"
        )
        async with pool.acquire(timeout=_STUCK) as connection:
            found: list[Any] = await connection.fetch(sql, partition, row, k, timeout=_STUCK)
            return found

    def _searched(self, pool: asyncpg.Pool, task: asyncio.Task[list[Any]]) -> None:
        self._searching.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), _AWAY):
            self._lost(pool, error)

    async def _write(self, call: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        if self._pool is None:
            await self.ready()
        pool = self._there()
        try:
            async with pool.acquire(timeout=_WRITE) as connection:
                return await call(connection)
        except _AWAY as error:
            self._lost(pool, error)
            raise CacheAway(f"Postgres: {type(error).__name__}") from error

    def _there(self) -> asyncpg.Pool:
        if self._pool is None:
            self._connect_soon()
            raise CacheAway("Postgres does not answer")
        return self._pool

    def _lost(self, pool: asyncpg.Pool, error: BaseException) -> None:
        """Connect anew, unless that is done or Postgres has only turned one statement down."""
        if pool is not self._pool:
            return
        gone = (
            asyncpg.PostgresConnectionError,
            asyncpg.AdminShutdownError,
            asyncpg.CannotConnectNowError,
            asyncpg.UndefinedTableError,
        )
        if isinstance(error, gone) or not isinstance(error, asyncpg.PostgresError):
            self._drop()

    def _drop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    def _connect_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed or self._connecting is not None or loop.time() < self._next:
            return
        self._next = loop.time() + _AGAIN
        self._connecting = loop.create_task(self._connect())
        self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()

    async def _connect(self) -> None:
        try:
            self._pool = await self._opened()
        except _AWAY as error:
            # Once, not twice a second.
            level = logging.DEBUG if self._told else logging.WARNING
            _LOG.log(
                level, "Postgres with the cache's vectors: %s: %s", type(error).__name__, error
            )
            self._told = True
        else:
            self._told = False

    async def _opened(self) -> asyncpg.Pool:
        first: Connection = await asyncpg.connect(self._url, timeout=_WRITE)
        try:
            kind = await self._prepare(first)
        finally:
            first.terminate()
        return await asyncpg.create_pool(
            self._url,
            min_size=1,
            max_size=_SEARCHES + 1,
            timeout=_WRITE,
            init=lambda connection: self._equip(connection, kind),
            reset=_keep,
        )

    async def _prepare(self, connection: Connection) -> Kind:
        """Table and index, made once."""
        async with connection.transaction():
            # Two workers that start at once would both make them.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", self._name)
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            version = await _version(connection)
            self.iterates = version >= _ITERATES
            kind: Kind = "halfvec" if version >= _HALVES else "vector"
            if self.dim > WIDEST[kind]:
                raise asyncpg.InterfaceError(
                    f"this pgvector indexes up to {WIDEST[kind]} numbers a vector"
                )
            found = await connection.fetchval("SELECT to_regclass($1)::oid", self._table)
            if found is None:
                await self._create(connection, kind)
                return kind
            # As it was made: pgvector may have become newer since.
            sql = (
                "SELECT format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = $1 AND attname = 'vector'"
            )
            typed = str(await connection.fetchval(sql, found))
            return "halfvec" if typed.endswith("halfvec") else "vector"

    async def _create(self, connection: Connection, kind: Kind) -> None:
        columns = (
            f"id bigint PRIMARY KEY, partition bytea NOT NULL, vector {kind}({self.dim}) NOT NULL"
        )
        await connection.execute(f"CREATE TABLE {self._table} ({columns})")
        if self.dim * (2 if kind == "halfvec" else 4) < _PAGE:
            await connection.execute(
                f"ALTER TABLE {self._table} ALTER COLUMN vector SET STORAGE PLAIN"
            )
        await connection.execute(f"CREATE INDEX ON {self._table} (partition)")
        await connection.execute(
            f"CREATE INDEX ON {self._table} USING hnsw (vector {kind}_cosine_ops)"
        )
        quoted = await connection.fetchval(
            "SELECT quote_literal($1::text)", f"Embedder: {self.embedder}"
        )
        await connection.execute(f"COMMENT ON TABLE {self._table} IS {quoted}")

    async def _equip(self, connection: Connection, kind: Kind) -> None:
        schema = await connection.fetchval(
            "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'vector'"
        )
        code, width = (">f2", 2) if kind == "halfvec" else (">f4", 4)

        def encode(row: Vectors) -> bytes:
            return struct.pack(">HH", len(row), 0) + row.astype(code).tobytes()

        def decode(given: bytes) -> Vectors:
            return np.frombuffer(given, code, offset=4, count=(len(given) - 4) // width).astype(
                np.float32
            )

        await connection.set_type_codec(
            kind, schema=schema, encoder=encode, decoder=decode, format="binary"
        )
        settings = {"hnsw.ef_search": _EF_SEARCH}
        if self.iterates:
            settings |= {"hnsw.max_scan_tuples": _MAX_TUPLES}
            await connection.execute("SET hnsw.iterative_scan = strict_order")
        for name, value in settings.items():
            await connection.execute(f"SET {name} = {value}")


_PAGE: Final = 7000
"""Bytes of a row that fit into a page, so that it need not be stored apart."""


async def _version(connection: Connection) -> tuple[int, ...]:
    said = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    return tuple(int(part) for part in str(said).split(".")[:2])


async def _many(connection: Connection, *, sql: str, values: Sequence[Any]) -> None:
    await connection.executemany(sql, values, timeout=_WRITE)


async def _keep(connection: Connection) -> None:
    """Between two uses nothing is undone: that costs a round trip, and the settings."""
