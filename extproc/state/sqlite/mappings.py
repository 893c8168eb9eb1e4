"""The sealed placeholders of sessions in `sessions.db`.

An entry is gone for readers when its time is over, and from the file within `EVERY` seconds more
while a process has it open. `MOST` bounds what lies in it: beyond that, entries that end first go
first, so that nobody who opens many sessions keeps others from going on. (A session whose entry is
gone begins with new placeholders; its next request is redacted as well as before.) The file itself
may be up to three times as large, since SQLite fills its pages at least to a third.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, TypeVar

from extproc.state import StateError, check_mapping, new_version
from extproc.state.sqlite.database import Database, Schema

log = logging.getLogger(__name__)

EVERY: Final = 30.0
"""Seconds between two looks for entries that are over."""
SWEPT: Final = 64
"""Entries deleted in one transaction, so that requests go on in between: 64 MiB at the worst."""
MOST: Final = 1 << 30
"""Bytes of all entries, each with `ROW` on top: a million sessions of some dozen values."""
ROW: Final = 256
"""Bytes that a name, its numbers and its places in three trees come to, and then some. Stands in
the schema as a number."""
PATIENCE: Final = 2.0
"""Seconds that a request waits for the file. A call takes less than a millisecond, or tens of them
when the disk is busy with a checkpoint."""

SCHEMA: Final = Schema(
    version=1,
    statements=(
        (
            "CREATE TABLE mappings (name TEXT PRIMARY KEY, version INTEGER NOT NULL,"
            " expires REAL NOT NULL, sealed BLOB NOT NULL)"
        ),
        "CREATE INDEX mappings_by_expiry ON mappings (expires)",
        # One row: what all entries come to.
        "CREATE TABLE total (bytes INTEGER NOT NULL)",
        "INSERT INTO total VALUES (0)",
        (
            "CREATE TRIGGER more AFTER INSERT ON mappings BEGIN"
            " UPDATE total SET bytes = bytes + length(new.sealed) + 256; END"
        ),
        (
            "CREATE TRIGGER other AFTER UPDATE OF sealed ON mappings BEGIN"
            " UPDATE total SET bytes = bytes + length(new.sealed) - length(old.sealed); END"
        ),
        (
            "CREATE TRIGGER less AFTER DELETE ON mappings BEGIN"
            " UPDATE total SET bytes = bytes - length(old.sealed) - 256; END"
        ),
    ),
    synchronous="NORMAL",
    replaceable=True,
    wiped=True,
)

Answer = TypeVar("Answer")


class SqliteMappings:
    """Mappings in a file of `folder`, which is made if need be. See `Mappings`.

    A file that cannot be read is moved aside as `sessions.db.corrupt-<UTC time>`, said in the log
    and counted in `corrupted`; its sessions begin anew. The first call begins to sweep.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall: Callable[[], float] = time.time,
        most: int = MOST,
        every: float = EVERY,
    ) -> None:
        """`wall`: epoch seconds. `most`: bytes of all entries. `every`: seconds between sweeps."""
        self._base = Database(folder / "sessions.db", SCHEMA)
        self._wall = wall
        self._most = most
        self._every = every
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False
        self.evicted = 0
        """Entries that went before their time since the start."""

    @property
    def corrupted(self) -> int:
        """How often a file was moved aside since the start."""
        return self._base.corrupted

    async def get(self, name: str) -> tuple[bytes, int] | None:
        """See `Mappings`."""
        values = (name, self._wall())

        def work(reader: sqlite3.Connection) -> tuple[bytes, int] | None:
            found: tuple[bytes, int] | None = reader.execute(
                "SELECT sealed, version FROM mappings WHERE name = ? AND expires > ?", values
            ).fetchone()
            return found

        return await self._read(work)

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:
        """See `Mappings`."""
        check_mapping(sealed)
        now, new = self._wall(), new_version()

        def work(writer: sqlite3.Connection) -> int:
            found = writer.execute(
                "SELECT version FROM mappings WHERE name = ? AND expires > ?", (name, now)
            ).fetchone()
            if (found[0] if found else 0) != version:
                return 0
            writer.execute(
                "INSERT INTO mappings VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " version = excluded.version, expires = excluded.expires,"
                " sealed = excluded.sealed",
                (name, new, now + ttl, sealed),
            )
            self.evicted += _make_room(writer, self._most, name)
            return new

        return await self._write(work)

    async def touch(self, name: str, ttl: float) -> bool:
        """See `Mappings`."""
        now = self._wall()

        def work(writer: sqlite3.Connection) -> bool:
            changed = writer.execute(
                "UPDATE mappings SET expires = ? WHERE name = ? AND expires > ?",
                (now + ttl, name, now),
            )
            return changed.rowcount > 0

        return await self._write(work)

    async def forget(self, name: str) -> None:
        """See `Mappings`."""

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("DELETE FROM mappings WHERE name = ?", (name,))

        await self._write(work)

    async def sweep(self) -> int:
        """Delete all that is over; returns how many entries were. Raises StateError."""
        now = self._wall()

        def work(writer: sqlite3.Connection) -> int:
            return writer.execute(
                "DELETE FROM mappings WHERE name IN"
                " (SELECT name FROM mappings WHERE expires <= ? ORDER BY expires LIMIT ?)",
                (now, SWEPT),
            ).rowcount

        gone = 0
        while found := await self._base.write(work):
            gone += found
        return gone

    async def ping(self) -> None:
        """See `Mappings`."""
        await self._read(lambda reader: reader.execute("SELECT bytes FROM total").fetchone())

    async def close(self) -> None:
        """See `Mappings`."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self._base.close()

    async def _read(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        self._begin()
        async with _in_time():
            return await self._base.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        self._begin()
        async with _in_time():
            return await self._base.write(work)

    def _begin(self) -> None:
        if self._sweeping is None and not self._closed:
            self._sweeping = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        told = 0
        while True:
            try:
                await self.sweep()
            except StateError as error:
                log.warning("sessions that are over stay", extra={"reason": str(error)})
            except Exception:
                log.exception("sessions that are over could not be swept")
            if self.evicted > told:
                told = self.evicted
                log.warning("sessions' placeholders went early: too many are kept",
                            extra={"evicted": told})  # fmt: skip
            await asyncio.sleep(self._every)


def _make_room(writer: sqlite3.Connection, most: int, name: str) -> int:
    """Let go of what ends first until the rest is within bounds; returns how many went. As large
    an entry as may be is as much as some 4,000 of the smallest: 20 ms."""
    (total,) = writer.execute("SELECT bytes FROM total").fetchone()
    if total <= most:
        return 0
    gone: list[tuple[str]] = []
    for other, size in writer.execute(
        "SELECT name, length(sealed) FROM mappings WHERE name <> ? ORDER BY expires", (name,)
    ):
        gone.append((other,))
        total -= size + ROW
        if total <= most:
            break
    writer.executemany("DELETE FROM mappings WHERE name = ?", gone)
    return len(gone)


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        raise StateError(f"sessions.db does not answer within {PATIENCE:g} s") from error
