"""Lasting counters of the embedded store in `limits.db`: windows over a minute survive a restart.

What changed is written each `EVERY` seconds, so a process that is killed loses at most that much
spending. The file is written without waiting for the disk (`synchronous = NORMAL`): when the power
fails, the last writes may be lost too, never the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from extproc.state import StateError
from extproc.state.counters import Saved
from extproc.state.sqlite.database import Database, Schema

log = logging.getLogger(__name__)

EVERY: Final = 0.2
"""Seconds between two writes."""
PRUNE_EVERY: Final = 60.0
"""Seconds between two looks for counters that are over."""
PRUNED: Final = 2000
"""Rows deleted in one transaction, so that writing goes on in between."""
BATCH: Final = 2000
"""Rows written in one transaction and loaded at a time: some 10 ms, off the event loop."""

SCHEMA: Final = Schema(
    version=1,
    statements=(
        (
            "CREATE TABLE counters (key TEXT PRIMARY KEY, state BLOB NOT NULL,"
            " expires REAL NOT NULL) WITHOUT ROWID"
        ),
        "CREATE INDEX counters_by_expiry ON counters (expires)",
    ),
    synchronous="NORMAL",
    replaceable=True,
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode


class Lasting(Protocol):
    """What has counters that last."""

    def load(self, saved: Iterable[Saved]) -> None:
        """Take counters as they were when they were saved."""
        ...

    def dirty(self) -> list[Saved]:
        """Those that changed since it was asked last."""
        ...


class SqliteCounters:
    """Keeps a store's lasting counters in a file of `folder`, which is made if need be.

    A file that cannot be read is moved aside as `limits.db.corrupt-<UTC time>`, said in the log and
    counted in `corrupted`; its windows begin anew.
    """

    def __init__(
        self, folder: Path, every: float = EVERY, wall: Callable[[], float] = time.time
    ) -> None:
        """`every`: seconds between two writes. `wall`: epoch seconds."""
        self._base = Database(folder / "limits.db", SCHEMA)
        self._every = every
        self._wall = wall
        self._store: Lasting | None = None
        self._unsaved: dict[str, Saved] = {}
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._pruned = float("-inf")

    @property
    def corrupted(self) -> int:
        """How often a file was moved aside since the start."""
        return self._base.corrupted

    async def start(self, store: Lasting) -> None:
        """Load what was saved into `store`, before it is asked anything, and begin to save.
        Raises StateError: without what was counted before, limits would begin anew in silence."""
        now, last = self._wall(), ""
        while True:
            after = last

            def work(
                reader: sqlite3.Connection, after: str = after
            ) -> list[tuple[str, bytes, float]]:
                return reader.execute(
                    "SELECT key, state, expires FROM counters WHERE key > ? AND expires > ?"
                    " ORDER BY key LIMIT ?",
                    (after, now, BATCH),
                ).fetchall()

            found = await self._base.read(work)
            if not found:
                break
            store.load(_readable(found))
            last = found[-1][0]
        self._store = store
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Save what changed last, and close. The store must have stopped."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self.save()
        with contextlib.suppress(StateError):
            await self._base.close()

    async def save(self) -> None:
        """Write what changed. What cannot be written is kept and written later."""
        if self._store is None:
            return
        for one in self._store.dirty():
            self._unsaved[one.key] = one
        try:
            while self._unsaved:
                await self._write(list(itertools.islice(self._unsaved.values(), BATCH)))
        except StateError as error:
            if not self._failing:
                self._failing = True
                log.error("what counts for limits cannot be saved: a restart would forget it",  # noqa: TRY400 - the reason is all there is to tell
                          extra={"reason": str(error), "counters": len(self._unsaved)})  # fmt: skip
            return
        if self._failing:
            self._failing = False
            log.warning("what counts for limits is saved again")

    async def _write(self, rows: Sequence[Saved]) -> None:
        def work(writer: sqlite3.Connection) -> None:
            writer.executemany(
                "INSERT INTO counters (key, state, expires) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET state = excluded.state,"
                " expires = excluded.expires",
                [(one.key, _encode(one), one.expires) for one in rows],
            )

        await self._base.write(work)
        for one in rows:
            if self._unsaved.get(one.key) is one:
                del self._unsaved[one.key]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.save()
                if time.monotonic() - self._pruned >= PRUNE_EVERY:
                    await self._prune()
            except Exception:
                log.exception("what counts for limits could not be saved")

    async def _prune(self) -> None:
        now = self._wall()

        def work(writer: sqlite3.Connection) -> int:
            return writer.execute(
                "DELETE FROM counters WHERE key IN"
                " (SELECT key FROM counters WHERE expires <= ? ORDER BY expires LIMIT ?)",
                (now, PRUNED),
            ).rowcount

        self._pruned = time.monotonic()
        with contextlib.suppress(StateError):
            while await self._base.write(work):
                pass


def _readable(rows: Iterable[tuple[str, bytes, float]]) -> list[Saved]:
    found: list[Saved] = []
    for key, state, _ in rows:
        try:
            found.append(_decode(state))
        except msgspec.DecodeError:
            log.error("a counter of a limit cannot be read, it begins anew", extra={"key": key})  # noqa: TRY400 - the reason is all there is to tell
    return found
