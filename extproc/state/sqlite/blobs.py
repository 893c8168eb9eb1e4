"""Blobs and labels by name, in the tables `blobs` and `labels` of a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from extproc.state.answer_frames import DamagedError, Frames, check_blob, name_of
from extproc.state.answers import BLOB_SECONDS, new_id
from extproc.state.sqlite.database import Database


class Blobs:
    """See `CacheStore`. `damaged` is called for each that is not what was written."""

    def __init__(
        self,
        base: Database,
        frames: Frames,
        wall: Callable[[], float],
        damaged: Callable[[], None],
    ) -> None:
        self._base = base
        self._frames = frames
        self._wall = wall
        self._damaged = damaged

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """See `CacheStore`. One that is damaged is empty, so that it can be replaced."""
        key = name_of(name)
        found = await self._base.read(
            lambda reader: reader.execute(
                "SELECT CAST(blob AS BLOB), version FROM blobs WHERE name = ?", (key,)
            ).fetchone()
        )
        if found is None:
            return None
        return self._opened(key, found[0]) or b"", found[1]

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """See `CacheStore`."""
        check_blob(blob)
        key, new, until = name_of(name), new_id(), self._wall() + BLOB_SECONDS
        sealed = self._frames.seal(key, blob)

        def work(writer: sqlite3.Connection) -> int:
            found = writer.execute("SELECT version FROM blobs WHERE name = ?", (key,)).fetchone()
            if (found[0] if found else 0) != version:
                return 0
            writer.execute(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", (key, new, until, sealed)
            )
            return new

        return await self._base.write(work)

    async def append(self, name: str, labels: Sequence[bytes], keep: int) -> None:
        """See `CacheStore`."""
        key, until = name_of(name), self._wall() + BLOB_SECONDS
        rows = [(key, until, self._frames.seal(key, label)) for label in labels]

        def work(writer: sqlite3.Connection) -> None:
            writer.executemany("INSERT INTO labels (name, expires, label) VALUES (?, ?, ?)", rows)
            writer.execute(
                "DELETE FROM labels WHERE name = ? AND number <= (SELECT number FROM labels"
                " WHERE name = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (key, key, keep),
            )

        await self._base.write(work)

    async def labels(self, name: str, after: str, most: int) -> tuple[list[bytes], str]:
        """See `CacheStore`."""
        key = name_of(name)
        rows: list[Any] = await self._base.read(
            lambda reader: reader.execute(
                "SELECT number, CAST(label AS BLOB) FROM labels WHERE name = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                (key, int(after or 0), most),
            ).fetchall()
        )
        opened = (self._opened(key, sealed) for _, sealed in rows)
        found = [label for label in opened if label is not None]
        return found, str(rows[-1][0]) if rows else after

    async def discard(self, name: str) -> None:
        """See `CacheStore`."""
        key = name_of(name)

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("DELETE FROM blobs WHERE name = ?", (key,))
            writer.execute("DELETE FROM labels WHERE name = ?", (key,))

        await self._base.write(work)

    async def tidy(self) -> None:
        """Let go of what nobody has written to for long."""
        now = self._wall()

        def work(writer: sqlite3.Connection) -> None:
            for table in ("blobs", "labels"):
                writer.execute(
                    f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608 - one of two
                    f" (SELECT rowid FROM {table} WHERE expires <= ? LIMIT 500)",
                    (now,),
                )

        await self._base.write(work)

    def _opened(self, key: bytes, sealed: bytes) -> bytes | None:
        try:
            return self._frames.open(key, sealed)
        except DamagedError:
            self._damaged()
            return None
