"""Answers kept for the cache in `cache.db`, which several workers of a machine may have open.

What is forgotten is served no more from the moment on at which a row in `pending` says so; the
entries themselves are looked for a page at a time, so that no request waits behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from extproc.state import StateError
from extproc.state.answer_frames import (
    DamagedError,
    Frames,
    check,
    is_forgotten,
    matches,
)
from extproc.state.answers import (
    MOST_CHANGES,
    Change,
    Changes,
    Entry,
    Listed,
    Match,
    Page,
    Placed,
    Room,
    Stats,
)
from extproc.state.sqlite.answer_puts import Puts
from extproc.state.sqlite.answer_rows import (
    SCHEMA,
    Put,
    Rows,
    change_of,
    pending,
    vectors_of,
)
from extproc.state.sqlite.blobs import Blobs
from extproc.state.sqlite.database import Database
from extproc.state.touches import TIDY_EVERY, Hits, Touches

PATIENCE: Final = 5.0
"""Seconds that anything but `get` and `find` waits for the file."""
SCANNED: Final = 256
"""Entries looked at in one go, during which a request waits: 1 ms."""

_SELECT: Final = (
    # No join: an entry whose body is gone is damaged.
    "SELECT id, exact, number, (SELECT CAST(body AS BLOB) FROM bodies"
    " WHERE bodies.id = entries.id), EXISTS (SELECT 1 FROM pending) FROM entries WHERE"
)
_LISTED: Final = "SELECT id, CAST(head AS BLOB), number, size, hits, saved FROM entries WHERE"

Answer = TypeVar("Answer")


class SqliteAnswers:
    """Entries in a file of `folder`, which is made if need be. See `CacheStore`.

    A file that cannot be read is moved aside as `cache.db.corrupt-<UTC time>`, said in the log and
    counted in `corrupted`.
    """

    def __init__(
        self,
        folder: Path,
        room: Room = Room(),  # noqa: B008 - it is frozen
        *,
        secret: bytes = b"",
        wall: Callable[[], float] = time.time,
        changes: int = MOST_CHANGES,
        every: float = TIDY_EVERY,
    ) -> None:
        """`secret`: see `Frames`. `wall`: epoch seconds. `changes`: how many are remembered.
        `every`: seconds between two looks for what is over."""
        self._base = Database(folder / "cache.db", SCHEMA)
        self._frames = Frames(secret)
        self._rows = Rows(self._frames, room, changes)
        self._blobs = Blobs(self._base, self._frames, wall, self._damaged)
        self._wall = wall
        self._puts = Puts(self._put)
        self._touches = Touches(self._tell, self.tidy, every)
        self._closing: set[asyncio.Task[None]] = set()
        self.corrupt = 0
        """See `CacheStore`."""

    @property
    def corrupted(self) -> int:
        """How often a file was moved aside since the start."""
        return self._base.corrupted

    async def get(self, exact: bytes) -> Entry | None:
        """See `CacheStore`."""
        return await self._entry("exact", exact)

    async def find(self, entry: int) -> Entry | None:
        """See `CacheStore`."""
        return await self._entry("id", entry)

    async def _entry(self, column: str, value: bytes | int) -> Entry | None:
        now, select = self._wall(), f"{_SELECT} {column} = ? AND expires > ?"

        def work(reader: sqlite3.Connection) -> tuple[tuple[Any, ...] | None, dict[str, float]]:
            row: tuple[Any, ...] | None = reader.execute(select, (value, now)).fetchone()
            if row is None or not row[-1]:
                return row, {}
            # Something is being forgotten: what it is, and the entry again, as of one moment.
            reader.execute("BEGIN")
            try:
                return reader.execute(select, (value, now)).fetchone(), pending(reader)
            finally:
                reader.execute("COMMIT")

        self._touches.begin()
        found, forgotten = await self._base.peek(work)
        if found is None:
            return None
        name, exact, number, body, _ = found
        try:
            entry = self._frames.read_body(name, body or b"", exact)
        except DamagedError:
            self._lose(name)
            return None
        if entry.head.expires <= now or is_forgotten(entry.head, number, forgotten):
            return None
        return entry

    async def show(self, entry: int) -> Listed | None:
        """See `CacheStore`."""
        found = (await self._listed(f"{_LISTED} id = ?", (entry,), None))[0]
        return found[0] if found else None

    async def put(self, entry: Entry, *, since: str = "", of: int = 0) -> bool:
        """See `CacheStore`."""
        check(entry)
        if entry.head.expires <= self._wall():
            return False
        return await self._puts.add(self._rows.packed(entry, since, of))

    async def _put(self, puts: Sequence[Put]) -> list[bool]:
        now = self._wall()
        return await self._write(lambda writer: self._rows.put(writer, puts, now))

    def touch(self, entry: int, saved: int) -> None:
        """See `CacheStore`."""
        self._touches.begin()
        self._touches.add(entry, saved)

    async def flush(self) -> None:
        """See `CacheStore`."""
        await self._touches.flush()

    async def _tell(self, hits: Hits) -> None:
        await self._write(lambda writer: self._rows.touch(writer, hits))

    async def drop(self, ids: Sequence[int]) -> int:
        """See `CacheStore`."""
        return await self._write(lambda writer: self._rows.remove(writer, ids))

    async def forget(self, match: Match) -> int:
        """See `CacheStore`."""
        await self._write(lambda writer: self._rows.forget(writer, match))
        return await self._sweep()

    async def _sweep(self) -> int:
        """Remove what is forgotten; returns how many entries went."""
        forgotten = await self._read(pending)
        if not forgotten:
            return 0
        gone, after = 0, 0
        while True:
            found = await self._read(
                lambda reader, after=after: self._rows.forgotten(reader, after, SCANNED, forgotten)  # type: ignore[misc]
            )
            ids, after = found
            if ids:
                gone += await self._write(
                    lambda writer, ids=ids: self._rows.remove(writer, ids, "forgotten")  # type: ignore[misc]
                )
            if not after:
                break
        await self._write(lambda writer: self._rows.swept(writer, forgotten))
        return gone

    async def tidy(self) -> None:
        """Remove what is over or was forgotten. Raises StateError."""
        now = self._wall()
        while await self._write(lambda writer: self._rows.expire(writer, now, SCANNED)):
            pass
        await self._sweep()
        await self._blobs.tidy()

    async def page(self, after: str = "", most: int = 200, match: Match | None = None) -> Page:
        """See `CacheStore`."""
        most = min(most, SCANNED)
        values = (int(after or 0), most)
        found, rows = await self._listed(f"{_LISTED} id > ? ORDER BY id LIMIT ?", values, match)
        return Page(found, str(rows[-1][0]) if len(rows) == most else "")

    async def _listed(
        self, select: str, values: tuple[int, ...], match: Match | None
    ) -> tuple[list[Listed], list[Any]]:
        """Those that match of the rows, and the rows."""

        def work(reader: sqlite3.Connection) -> tuple[list[Any], Mapping[str, float]]:
            return reader.execute(select, values).fetchall(), pending(reader)

        rows, forgotten = await self._read(work)
        now, listed = self._wall(), []
        for name, sealed, number, size, hits, saved in rows:
            try:
                head = self._frames.read_head(name, sealed)
            except DamagedError:
                self._lose(name)
                continue
            lives = head.expires > now and not is_forgotten(head, number, forgotten)
            if lives and matches(match, head):
                listed.append(Listed(head, size, hits, saved))
        return listed, rows

    async def stats(self) -> Stats:
        """See `CacheStore`."""
        return await self._read(self._rows.stats)

    async def cursor(self) -> str:
        """See `CacheStore`."""
        return await self._read(self._rows.cursor)

    async def changes(self, after: str, most: int = 1000) -> Changes:
        """See `CacheStore`."""
        now = self._wall()
        epoch, _, number = after.partition(":")

        def work(reader: sqlite3.Connection) -> tuple[Changes | None, list[Any], int]:
            here, _, last = self._rows.cursor(reader).partition(":")
            (first,) = reader.execute("SELECT min(number) FROM log").fetchone()
            start = int(number or 0)
            if here != epoch or start > int(last) or start + 1 < (first or int(last) + 1):
                return Changes((), f"{here}:{last}", reload=True), [], 0
            found = reader.execute(
                "SELECT log.number, what, data, CAST(vector AS BLOB), CAST(head AS BLOB) FROM log"
                " LEFT JOIN entries ON what = 'p' AND entries.id = log.data"
                " LEFT JOIN vectors ON vectors.id = entries.id"
                " WHERE log.number > ? ORDER BY log.number LIMIT ?",
                (start, most),
            ).fetchall()
            return None, found, found[-1][0] if found else start

        reload, rows, last = await self._read(work)
        if reload is not None:
            return reload
        found: list[Change] = []
        for _, what, data, vector, head in rows:
            with self._noticing():
                change = change_of(self._frames, what, data, vector, head)
                if change is not None and not (
                    isinstance(change, Placed) and change.expires <= now
                ):
                    found.append(change)
        return Changes(found, f"{epoch}:{last}", more=len(rows) == most)

    async def vectors(self) -> AsyncIterator[Sequence[Placed]]:
        """See `CacheStore`."""
        after = 0
        while True:
            rows, after = await self._read(
                lambda reader, after=after: vectors_of(reader, after, SCANNED)  # type: ignore[misc]
            )
            found, now = [], self._wall()
            for name, head, vector in rows:
                with self._noticing():
                    change = change_of(self._frames, "p", name, vector, head)
                    if isinstance(change, Placed) and change.expires > now:
                        found.append(change)
            if found:
                yield found
            if not after:
                return

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """See `CacheStore`."""
        return await self._blobs.read(name)

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """See `CacheStore`."""
        return await self._blobs.write(name, blob, version)

    async def append(self, name: str, labels: Sequence[bytes], keep: int = 10_000) -> None:
        """See `CacheStore`."""
        await self._blobs.append(name, labels, keep)

    async def labels(
        self, name: str, after: str = "", most: int = 10_000
    ) -> tuple[list[bytes], str]:
        """See `CacheStore`."""
        return await self._blobs.labels(name, after, most)

    async def discard(self, name: str) -> None:
        """See `CacheStore`."""
        await self._blobs.discard(name)

    async def ping(self) -> None:
        """See `CacheStore`."""
        await self._read(pending)

    async def close(self) -> None:
        """See `CacheStore`."""
        await self._puts.close()
        await self._touches.close()
        await asyncio.gather(*self._closing)
        await self._base.close()

    async def _read(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        self._touches.begin()
        async with _in_time():
            return await self._base.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        self._touches.begin()
        async with _in_time():
            return await self._base.write(work)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except DamagedError:
            self._damaged()

    def _damaged(self) -> None:
        self.corrupt += 1

    def _lose(self, entry: int) -> None:
        """Count a damaged entry and remove it, while nobody waits."""
        self.corrupt += 1

        async def remove() -> None:
            with contextlib.suppress(StateError):
                await self.drop([entry])

        task = asyncio.get_running_loop().create_task(remove())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        raise StateError(f"cache.db does not answer within {PATIENCE:g} s") from error
