"""Sums by the hour, the day and the week: a column a measure, sketches in tables of their own.

Only the hour's rows are written with each record. A day's are made of its hours when the day is
over, a week's of its days: days from then on are *closed*, and a record that comes late is added
to those too. A query takes weeks, then days, then hours, so that 90 days are some twenty periods.
Periods are numbers of hours, days or weeks since 1970 (UTC). Rows stand by (view, period, key), so
that what is written together lies together; keys are texts that come again and again, and stand
once.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec

from extproc.state import DAY, HOUR, MEASURES, Entry, Row
from extproc.state.spans import (
    DAYS_A_WEEK,
    HOURS_A_DAY,
    Parts,
    Place,
    Sum,
    by_hour,
    coarser,
    merge,
)
from extproc.state.sqlite.names import Names
from extproc.state.sqlite.statements import among, insert

TABLES: Final = ("hours", "days", "weeks")
SECONDS: Final = {"hours": HOUR, "days": DAY}
_PLACE: Final = "view TEXT NOT NULL, period INTEGER NOT NULL, key_id INTEGER NOT NULL"
_PRIMARY: Final = "PRIMARY KEY (view, period, key_id)) WITHOUT ROWID"
_COLUMNS: Final = ", ".join(MEASURES)
_SUMS: Final = ", ".join(f"sum({measure})" for measure in MEASURES)

STATEMENTS: Final = (
    # `last`: the last day that has a row of this key.
    "CREATE TABLE names (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, last INTEGER NOT NULL)",
    "CREATE INDEX names_by_last ON names (last)",
    *(
        f"CREATE TABLE {table} ({_PLACE}, "
        + "".join(f"{measure} INTEGER NOT NULL, " for measure in MEASURES)
        + _PRIMARY
        for table in TABLES
    ),
    # MessagePack {name: count}. Apart: most queries want no sketches, and they are most of a row.
    *(f"CREATE TABLE {table}_bins ({_PLACE}, bins BLOB NOT NULL, {_PRIMARY}" for table in TABLES),
    # `closed`: days before it have rows of their own, and so have weeks that end before it.
    # `kept`: days before it were forgotten.
    "CREATE TABLE bounds (name TEXT PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO bounds VALUES ('closed', 0), ('kept', 0)",
)

_ADD: Final = "ON CONFLICT DO UPDATE SET " + ", ".join(
    f"{measure} = {measure} + excluded.{measure}" for measure in MEASURES
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, int]).decode


def bound(connection: sqlite3.Connection, name: str) -> int:
    """The day of a bound."""
    (day,) = connection.execute("SELECT day FROM bounds WHERE name = ?", (name,)).fetchone()
    return int(day)


def move_bound(writer: sqlite3.Connection, name: str, day: int) -> int:
    """Forward only; returns how many were moved."""
    return writer.execute(
        "UPDATE bounds SET day = ? WHERE name = ? AND day < ?", (day, name, day)
    ).rowcount


def add(writer: sqlite3.Connection, entries: Sequence[Entry], names: Names) -> bool:
    """Add entries' cells, in the caller's transaction. True if there are days to be closed."""
    hours = by_hour(entries)
    closed = bound(writer, "closed")
    late = coarser(hours, HOURS_A_DAY, closed)
    last: dict[str, int] = {}
    for _, hour, key in hours:
        last[key] = max(hour // HOURS_A_DAY, last.get(key, 0))
    numbers = names.numbers(writer, last)
    for table, found in (
        ("hours", hours),
        ("days", late),
        ("weeks", coarser(late, DAYS_A_WEEK, closed // DAYS_A_WEEK)),
    ):
        if not found:
            continue
        insert(
            writer,
            f"INSERT INTO {table}",
            [(view, period, numbers[key], *row.sums) for (view, period, key), row in found.items()],
            _ADD,
        )
        _add_bins(writer, f"{table}_bins", found, numbers)
    return any(hour // HOURS_A_DAY > closed for _, hour, _ in hours)


def close(writer: sqlite3.Connection) -> None:
    """Make rows of all days before the last that has any, and of the weeks that end with them."""
    since = bound(writer, "closed")
    views = _views(writer, "hours")
    until = since
    for view in views:
        (last,) = writer.execute("SELECT max(period) FROM hours WHERE view = ?", (view,)).fetchone()
        until = max(until, last // HOURS_A_DAY)
    for view in views:
        _roll_up(writer, view, ("hours", "days", HOURS_A_DAY), range(since, until))
        weeks = range(since // DAYS_A_WEEK, until // DAYS_A_WEEK)
        _roll_up(writer, view, ("days", "weeks", DAYS_A_WEEK), weeks)
    move_bound(writer, "closed", until)


def _roll_up(
    writer: sqlite3.Connection, view: str, levels: tuple[str, str, int], periods: range
) -> None:
    fine, coarse, times = levels
    writer.execute(
        f"INSERT INTO {coarse} SELECT view, period / {times} AS whole, key_id, {_SUMS} FROM {fine}"  # noqa: S608
        " WHERE view = ? AND period >= ? AND period < ? GROUP BY whole, key_id",
        (view, periods.start * times, periods.stop * times),
    )
    found = writer.execute(
        f"SELECT period / {times} AS whole, key_id, bins FROM {fine}_bins"  # noqa: S608
        " WHERE view = ? AND period >= ? AND period < ? ORDER BY whole, key_id",
        (view, periods.start * times, periods.stop * times),
    )

    def merged() -> Iterator[tuple[str, int, int, bytes]]:
        for (period, number), rows in groupby(found, itemgetter(0, 1)):
            bins: dict[str, int] = {}
            for _, _, more in rows:
                merge(bins, _decode(more))
            yield view, period, number, _encode(bins)

    writer.executemany(f"INSERT INTO {coarse}_bins VALUES (?, ?, ?, ?)", merged())  # noqa: S608


def summed(
    reader: sqlite3.Connection, view: str, span: Parts
) -> list[tuple[int, str, tuple[int, ...]]]:
    """Each key's number, text and sums over a span."""
    pieces = list(_pieces(span))
    if not pieces:
        return []
    union = " UNION ALL ".join(
        f"SELECT key_id, {_COLUMNS} FROM {table} WHERE view = ? AND period >= ? AND period < ?"  # noqa: S608
        for table, _ in pieces
    )
    found = reader.execute(
        f"SELECT id, key, sums.* FROM (SELECT key_id, {_SUMS} FROM ({union}) GROUP BY key_id) sums"  # noqa: S608
        " JOIN names ON id = key_id",
        [value for _, periods in pieces for value in (view, periods.start, periods.stop)],
    )
    return [(row[0], row[1], row[3:]) for row in found]


def sketches(reader: sqlite3.Connection, view: str, span: Parts) -> dict[int, dict[str, int]]:
    """Each key's bins over a span, by its number."""
    merged: dict[int, dict[str, int]] = defaultdict(dict)
    for table, periods in _pieces(span):
        found = reader.execute(
            f"SELECT key_id, bins FROM {table}_bins"  # noqa: S608 - a table's name
            " WHERE view = ? AND period >= ? AND period < ?",
            (view, periods.start, periods.stop),
        )
        for number, bins in found:
            merge(merged[number], _decode(bins))
    return merged


def by_period(
    reader: sqlite3.Connection, view: str, table: str, periods: range
) -> dict[int, list[Row]]:
    """Rows by the start (epoch seconds) of their hour or day."""
    found: dict[int, list[Row]] = defaultdict(list)
    rows = reader.execute(
        f"SELECT period, key, {_COLUMNS} FROM {table} JOIN names ON id = key_id"  # noqa: S608
        " WHERE view = ? AND period >= ? AND period < ? ORDER BY period",
        (view, periods.start, periods.stop),
    )
    for row in rows:
        found[row[0] * SECONDS[table]].append(Row(row[1], row[2:], {}))
    return dict(found)


def prune(writer: sqlite3.Connection, table: str, before: int, most: int) -> int:
    """Forget up to `most` rows of each view of periods before one; returns how many were."""
    gone = 0
    for name in (table, f"{table}_bins"):
        for view in _views(writer, name):
            gone += writer.execute(
                f"DELETE FROM {name} WHERE (view, period, key_id) IN (SELECT view, period, key_id"  # noqa: S608
                f" FROM {name} WHERE view = ? AND period < ? ORDER BY period, key_id LIMIT ?)",
                (view, before, most),
            ).rowcount
    return gone


def prune_names(writer: sqlite3.Connection, before: int, most: int) -> int:
    """Forget up to `most` keys whose rows are all of days before one; returns how many were."""
    return writer.execute(
        "DELETE FROM names WHERE id IN (SELECT id FROM names WHERE last < ? LIMIT ?)",
        (before, most),
    ).rowcount


def _pieces(span: Parts) -> Iterator[tuple[str, range]]:
    if span.weeks:
        yield "weeks", span.weeks
    yield from (("days", days) for days in span.days)
    yield from (("hours", hours) for hours in span.hours)


def _views(reader: sqlite3.Connection, table: str) -> list[str]:
    """One look a view, where DISTINCT would read every row."""
    found: list[str] = []
    view = ""
    while True:
        row = reader.execute(
            f"SELECT view FROM {table} WHERE view > ? ORDER BY view LIMIT 1",  # noqa: S608
            (view,),
        ).fetchone()
        if row is None:
            return found
        view = row[0]
        found.append(view)


def _add_bins(
    writer: sqlite3.Connection,
    table: str,
    found: Mapping[Place, Sum],
    numbers: Mapping[str, int],
) -> None:
    periods: dict[tuple[str, int], dict[int, Mapping[str, int]]] = defaultdict(dict)
    for (view, period, key), row in found.items():
        if row.bins:
            periods[view, period][numbers[key]] = row.bins
    changed: list[tuple[str, int, int, bytes]] = []
    for (view, period), rows in periods.items():
        select = f"SELECT key_id, bins FROM {table} WHERE view = ? AND period = ? AND key_id"  # noqa: S608
        for number, before in list(among(writer, select, list(rows), view, period)):
            bins = _decode(before)
            merge(bins, rows[number])
            rows[number] = bins
        changed += [(view, period, number, _encode(bins)) for number, bins in rows.items()]
    insert(writer, f"INSERT OR REPLACE INTO {table}", changed)
