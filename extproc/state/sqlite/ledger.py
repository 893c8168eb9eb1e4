"""Records and rollups in `ledger.db`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from extproc.state import DAY, HOUR, Entry, Row, StateError
from extproc.state.spans import DAYS_A_WEEK, HOURS_A_DAY, Parts, parts, total
from extproc.state.sqlite import rollups
from extproc.state.sqlite.database import Database, Schema
from extproc.state.sqlite.names import Names
from extproc.state.sqlite.statements import insert

BATCH: Final = 500
"""Records read at a time."""
PRUNED: Final = 2000
"""Rows deleted in one transaction, so that writing goes on in between."""

SCHEMA: Final = Schema(
    version=1,
    statements=(
        (
            "CREATE TABLE records (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
            " started REAL NOT NULL, record BLOB NOT NULL)"
        ),
        "CREATE INDEX records_by_start ON records (started)",
        # Apart: a scan of the records does not read what was said in them.
        "CREATE TABLE contents (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",
        *rollups.STATEMENTS,
    ),
    synchronous="NORMAL",
    replaceable=True,
)


class SqliteLedger:
    """A ledger in a file of `folder`, which is made if need be. See `LedgerStore`.

    A file that cannot be read is moved aside as `ledger.db.corrupt-<UTC time>`, a new one is begun
    and `generation` changes.
    """

    def __init__(self, folder: Path) -> None:
        self._base = Database(folder / "ledger.db", SCHEMA)
        self._names = Names()

    @property
    def corrupted(self) -> int:
        """How often a file was moved aside since the start."""
        return self._base.corrupted

    async def write(self, entries: Sequence[Entry]) -> int:
        """See `LedgerStore`."""
        if not entries:
            return 0
        base = self._base
        taken, over = await base.write(
            lambda writer: _write(writer, entries, self._names, base.undone)
        )
        if over:
            # A day is over. What is written is written; if this fails, the next write does it.
            with contextlib.suppress(StateError):
                await self._base.write(rollups.close)
        return taken

    async def record(self, record_id: str) -> tuple[bytes, bytes | None] | None:
        """See `LedgerStore`."""

        def work(reader: sqlite3.Connection) -> tuple[bytes, bytes | None] | None:
            found: tuple[bytes, bytes | None] | None = reader.execute(
                "SELECT record, content FROM records LEFT JOIN contents USING (number)"
                " WHERE id = ?",
                (record_id,),
            ).fetchone()
            return found

        return await self._base.read(work)

    async def records(self, since: float, until: float) -> AsyncIterator[Sequence[bytes]]:
        """See `LedgerStore`. What is written meanwhile may or may not be among them."""
        place: tuple[float, int] = (since, -1)
        while True:
            after = place

            def work(
                reader: sqlite3.Connection, after: tuple[float, int] = after
            ) -> list[tuple[float, int, bytes]]:
                return reader.execute(
                    "SELECT started, number, record FROM records"
                    " WHERE (started, number) > (?, ?) AND started < ?"
                    " ORDER BY started, number LIMIT ?",
                    (*after, until, BATCH),
                ).fetchall()

            found = await self._base.read(work)
            if not found:
                return
            yield [record for _, _, record in found]
            place = found[-1][:2]

    async def rows(self, view: str, since: int, until: int, *, bins: bool = False) -> list[Row]:
        """See `LedgerStore`."""

        def work(reader: sqlite3.Connection) -> list[Row]:
            span = _span(reader, since, until, weeks=True)
            found = rollups.summed(reader, view, span)
            sketches = rollups.sketches(reader, view, span) if bins else {}
            return [Row(key, sums, sketches.get(number, {})) for number, key, sums in found]

        return await self._base.read(work)

    async def series(self, view: str, since: int, until: int, step: int) -> Mapping[int, list[Row]]:
        """See `LedgerStore`. Raises ValueError for a step that is neither."""
        if step not in {HOUR, DAY}:
            raise ValueError(f"a step of {step} seconds")

        def work(reader: sqlite3.Connection) -> dict[int, list[Row]]:
            span = _span(reader, since, until, days=step == DAY)
            found: dict[int, list[Row]] = {}
            for days in span.days:
                found.update(rollups.by_period(reader, view, "days", days))
            rest: dict[int, dict[str, list[tuple[int, ...]]]] = defaultdict(
                lambda: defaultdict(list)
            )
            for hours in span.hours:
                for start, rows in rollups.by_period(reader, view, "hours", hours).items():
                    for row in rows:
                        rest[start // step * step][row.key].append(row.sums)
            for start, sums in rest.items():
                found[start] = [Row(key, total(each), {}) for key, each in sums.items()]
            return dict(sorted(found.items()))

        return await self._base.read(work)

    async def prune(self, records_before: float, rollups_before: float) -> None:
        """See `LedgerStore`. Rollups go by whole days, so that hours and days always agree."""
        day = int(rollups_before // DAY)
        steps: list[Callable[[sqlite3.Connection], int]] = [
            lambda writer: _prune_records(writer, records_before),
            lambda writer: rollups.move_bound(writer, "kept", day),
            lambda writer: rollups.prune(writer, "hours", day * HOURS_A_DAY, PRUNED),
            lambda writer: rollups.prune(writer, "days", day, PRUNED),
            lambda writer: rollups.prune(writer, "weeks", day // DAYS_A_WEEK, PRUNED),
            lambda writer: rollups.prune_names(writer, day, PRUNED),
        ]
        for step in steps:
            while await self._base.write(step):
                pass

    async def generation(self) -> str:
        """See `LedgerStore`."""
        return await self._base.generation()

    async def ping(self) -> None:
        """See `LedgerStore`."""
        await self._base.read(lambda reader: reader.execute("SELECT 1 FROM records").fetchone())

    async def close(self) -> None:
        """See `LedgerStore`."""
        await self._base.close()


def _span(
    reader: sqlite3.Connection, since: int, until: int, *, days: bool = True, weeks: bool = False
) -> Parts:
    """The periods that have rows of their own."""
    closed = rollups.bound(reader, "closed") if days else 0
    kept = rollups.bound(reader, "kept")
    return parts(max(since, kept * DAY), until, closed=closed, weeks=weeks)


def _new(writer: sqlite3.Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Write records whose id is new; returns their entries."""
    (last,) = writer.execute("SELECT ifnull(max(number), 0) FROM records").fetchone()
    before = writer.total_changes
    insert(
        writer,
        "INSERT INTO records (id, started, record)",
        [(entry.id, entry.started, entry.record) for entry in entries],
        "ON CONFLICT (id) DO NOTHING",
    )
    if writer.total_changes - before == len(entries):
        return entries
    # Some were there: new are those with a number of their own, the first of each id.
    found = writer.execute("SELECT id FROM records WHERE number > ?", (last,))
    new = {record_id for (record_id,) in found}
    first = {entry.id: entry for entry in reversed(entries) if entry.id in new}
    return list(reversed(first.values()))


def _write(
    writer: sqlite3.Connection, entries: Sequence[Entry], names: Names, undone: int
) -> tuple[int, bool]:
    """How many were new, and whether there are days to be closed."""
    names.begin(writer, undone)
    new = _new(writer, entries)
    writer.executemany(
        "INSERT INTO contents SELECT number, ? FROM records WHERE id = ?",
        [(entry.content, entry.id) for entry in new if entry.content is not None],
    )
    over = rollups.add(writer, new, names)
    names.end(writer, undone)
    return len(new), over


def _prune_records(writer: sqlite3.Connection, before: float) -> int:
    old = "(SELECT number FROM records WHERE started < ? ORDER BY started LIMIT ?)"
    for table in ("contents", "records"):
        gone = writer.execute(f"DELETE FROM {table} WHERE number IN {old}", (before, PRUNED))  # noqa: S608
    return gone.rowcount
