"""The tables of `cache.db`, and what is done with them in one transaction."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from extproc.state.answer_frames import (
    OLDER,
    DamagedError,
    Frames,
    attribute,
    attributes,
    is_forgotten,
    limit_of,
    match_of,
    priority,
    size_of,
    worth_of,
)
from extproc.state.answers import (
    MOST_FORGOTTEN,
    Change,
    Entry,
    Forgotten,
    Gone,
    Head,
    Match,
    Placed,
    Room,
    Stats,
)
from extproc.state.sqlite.database import Schema
from extproc.state.sqlite.statements import among, insert
from extproc.state.touches import Hits

EVICTED: Final = 256
"""Entries looked at in one go to make room."""

SCHEMA: Final = Schema(
    version=1,
    statements=(
        (
            "CREATE TABLE entries (id INTEGER PRIMARY KEY, exact BLOB NOT NULL UNIQUE,"
            " number INTEGER NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,"
            " size INTEGER NOT NULL, worth INTEGER NOT NULL, hits INTEGER NOT NULL DEFAULT 0,"
            " saved INTEGER NOT NULL DEFAULT 0, priority REAL NOT NULL, head BLOB NOT NULL)"
        ),
        "CREATE INDEX entries_by_expiry ON entries (expires)",
        "CREATE INDEX entries_by_priority ON entries (priority)",
        # Apart, so that what looks at many entries does not read their answers.
        "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        "CREATE TABLE log (number INTEGER PRIMARY KEY, what TEXT NOT NULL, data BLOB NOT NULL)",
        # What is served no more and not removed yet; `value` is a number, for `older` a time.
        "CREATE TABLE pending (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID",
        "CREATE TABLE recent (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX recent_by_number ON recent (number)",
        # One row.
        (
            "CREATE TABLE state (number INTEGER NOT NULL, first INTEGER NOT NULL,"
            " inflation REAL NOT NULL, older REAL NOT NULL, entries INTEGER NOT NULL,"
            " bytes INTEGER NOT NULL, hits INTEGER NOT NULL, saved INTEGER NOT NULL,"
            " evicted INTEGER NOT NULL, expired INTEGER NOT NULL, forgotten INTEGER NOT NULL)"
        ),
        "INSERT INTO state VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        (
            "CREATE TABLE blobs (name BLOB PRIMARY KEY, version INTEGER NOT NULL,"
            " expires REAL NOT NULL, blob BLOB NOT NULL)"
        ),
        (
            "CREATE TABLE labels (number INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL,"
            " expires REAL NOT NULL, label BLOB NOT NULL)"
        ),
        "CREATE INDEX labels_by_name ON labels (name, number)",
        "CREATE INDEX labels_by_expiry ON labels (expires)",
    ),
    # Whoever loses the last answers when power fails asks again.
    synchronous="NORMAL",
    replaceable=True,
)

_INTO: Final = (
    "INSERT INTO entries (id, exact, number, created, expires, size, worth, priority, head)"
)


@dataclass(frozen=True, slots=True)
class Put:
    """An entry ready to be written."""

    head: Head
    size: int
    sealed: bytes
    body: bytes
    vector: bytes
    since: str
    of: int


class Rows:
    """Changes entries, each method within a transaction of the caller's."""

    def __init__(self, frames: Frames, room: Room, changes: int) -> None:
        self._frames = frames
        self._room = room
        self._changes = changes

    def packed(self, entry: Entry, since: str, of: int) -> Put:
        """What is written of an entry."""
        head = entry.head
        vector = self._frames.vector(head.id, entry.vector) if entry.vector else b""
        sealed, body = self._frames.head(head), self._frames.body(entry)
        return Put(head, size_of(entry), sealed, body, vector, since, of)

    def put(self, writer: sqlite3.Connection, puts: Sequence[Put], now: float) -> list[bool]:
        """See `CacheStore.put`; the answer for each. As many steps for many as for one: beside a
        busy loop every step waits for Python's lock."""
        may = self._who_may_come(writer, puts, now)
        # Of several with one key the last stays.
        kept = {put.head.exact: put for put, good in zip(puts, may, strict=True) if good}
        if not kept:
            return may
        before = among(writer, "SELECT id FROM entries WHERE exact", list(kept))
        self.remove(
            writer, [*(name for (name,) in before), *(put.head.id for put in kept.values())]
        )
        number, inflation = writer.execute("SELECT number, inflation FROM state").fetchone()
        entries, log = [], []
        for put in kept.values():
            number += 1
            head, worth = put.head, worth_of(put.head)
            rank = priority(inflation, worth, 0, put.size, number)
            times = (number, head.created, head.expires)
            entries.append((head.id, head.exact, *times, put.size, worth, rank, put.sealed))
            log.append((number, "p", head.id))
        insert(writer, _INTO, entries)
        insert(writer, "INSERT INTO bodies", [(put.head.id, put.body) for put in kept.values()])
        vectors = [(put.head.id, put.vector) for put in kept.values() if put.vector]
        insert(writer, "INSERT INTO vectors", vectors)
        insert(writer, "INSERT INTO log", log)
        writer.execute("DELETE FROM log WHERE number <= ?", (number - self._changes,))
        writer.execute(
            "UPDATE state SET number = ?, entries = entries + ?, bytes = bytes + ?",
            (number, len(kept), sum(put.size for put in kept.values())),
        )
        self._make_room(writer, entries[-1][0], now)
        return may

    def _who_may_come(
        self, writer: sqlite3.Connection, puts: Sequence[Put], now: float
    ) -> list[bool]:
        older, first = writer.execute("SELECT older, first FROM state").fetchone()
        epoch = _made(writer) if any(put.since for put in puts) else ""
        cursors = [put.since.partition(":") for put in puts]
        since = [
            int(number) if here == epoch and number.isdecimal() else -1
            for here, _, number in cursors
        ]
        recent = {}
        if epoch:
            recent = dict(
                writer.execute("SELECT name, number FROM recent WHERE number > ?", (min(since),))
            )
        there = self._there(writer, [put.of for put in puts if put.of], now)
        return [
            put.size <= self._room.bytes
            and put.head.created >= older
            and (not put.of or put.of in there)
            and (not put.since or (number >= first and not _later(put.head, recent, number)))
            for put, number in zip(puts, since, strict=True)
        ]

    def _there(self, writer: sqlite3.Connection, ids: Sequence[int], now: float) -> set[int]:
        """Those of them that are neither over nor forgotten."""
        if not ids:
            return set()
        forgotten = pending(writer)
        heads = (
            self._lives(name, sealed, number, forgotten)
            for name, sealed, number in among(
                writer, "SELECT id, CAST(head AS BLOB), number FROM entries WHERE id", ids
            )
        )
        return {head.id for head in heads if head is not None and head.expires > now}

    def _lives(
        self, entry: int, sealed: bytes, number: int, forgotten: Mapping[str, float]
    ) -> Head | None:
        try:
            head = self._frames.read_head(entry, sealed)
        except DamagedError:
            return None
        return None if is_forgotten(head, number, forgotten) else head

    def touch(self, writer: sqlite3.Connection, hits: Hits) -> None:
        """Note hits of entries that are there."""
        inflation, number = writer.execute("SELECT inflation, number FROM state").fetchone()
        found = among(writer, "SELECT id, size, worth, saved FROM entries WHERE id", list(hits))
        rows = {name: (size, worth, saved) for name, size, worth, saved in found}
        for name, (size, worth, before) in rows.items():
            count, saved = hits[name]
            rank = priority(inflation, worth, before + saved, size, number)
            writer.execute(
                "UPDATE entries SET hits = hits + ?, saved = ?, priority = ? WHERE id = ?",
                (count, before + saved, rank, name),
            )
        some = [hits[name] for name in rows]
        writer.execute(
            "UPDATE state SET hits = hits + ?, saved = saved + ?",
            (sum(count for count, _ in some), sum(saved for _, saved in some)),
        )

    def remove(self, writer: sqlite3.Connection, ids: Sequence[int], why: str = "") -> int:
        """Remove entries; returns how many there were. `why`: the column of `state` that counts
        them."""
        found = dict(among(writer, "SELECT id, size FROM entries WHERE id", ids))
        if not found:
            return 0
        for table in ("entries", "bodies", "vectors"):
            list(among(writer, f"DELETE FROM {table} WHERE id", list(found)))  # noqa: S608 - one of three
        writer.execute(
            "UPDATE state SET entries = entries - ?, bytes = bytes - ?",
            (len(found), sum(found.values())),
        )
        if why:
            writer.execute(f"UPDATE state SET {why} = {why} + ?", (len(found),))  # noqa: S608 - a column
        self._record(writer, "g", struct.pack(f">{len(found)}Q", *found))
        return len(found)

    def expire(self, writer: sqlite3.Connection, now: float, most: int) -> int:
        """Remove some of what is over."""
        found = writer.execute(
            "SELECT id FROM entries WHERE expires <= ? ORDER BY expires LIMIT ?", (now, most)
        ).fetchall()
        return self.remove(writer, [name for (name,) in found], "expired")

    def forget(self, writer: sqlite3.Connection, match: Match) -> None:
        """Say that what matches is served no more."""
        name = attribute(match)
        number = self._record(writer, "f", name)
        if match.what == OLDER:
            limit = limit_of(match)
            writer.execute("UPDATE state SET older = max(older, ?)", (limit,))
            writer.execute(
                "INSERT INTO pending VALUES (?, ?) ON CONFLICT DO UPDATE"
                " SET value = max(value, excluded.value)",
                (OLDER, limit),
            )
            return
        writer.execute("INSERT OR REPLACE INTO pending VALUES (?, ?)", (name, number))
        writer.execute("INSERT OR REPLACE INTO recent VALUES (?, ?)", (name, number))
        found = writer.execute(
            "SELECT number FROM recent ORDER BY number DESC LIMIT 1 OFFSET ?", (MOST_FORGOTTEN,)
        ).fetchone()
        if found is not None:
            writer.execute("DELETE FROM recent WHERE number <= ?", found)
            writer.execute("UPDATE state SET first = ?", found)

    def forgotten(
        self, reader: sqlite3.Connection, after: int, most: int, forgotten: Mapping[str, float]
    ) -> tuple[list[int], int]:
        """Those of the next entries that are forgotten or damaged, and the last looked at; 0: it
        was the last that there is."""
        rows = reader.execute(
            "SELECT id, CAST(head AS BLOB), number FROM entries WHERE id > ? ORDER BY id LIMIT ?",
            (after, most),
        ).fetchall()
        found = [
            name
            for name, sealed, number in rows
            if self._lives(name, sealed, number, forgotten) is None
        ]
        return found, rows[-1][0] if len(rows) == most else 0

    def swept(self, writer: sqlite3.Connection, forgotten: Mapping[str, float]) -> None:
        """All of these are removed; what was forgotten anew since is not."""
        writer.executemany(
            "DELETE FROM pending WHERE name = ? AND value = ?", list(forgotten.items())
        )

    def stats(self, reader: sqlite3.Connection) -> Stats:
        """See `CacheStore`."""
        fields = Stats.__struct_fields__
        row = reader.execute(f"SELECT {', '.join(fields)} FROM state").fetchone()  # noqa: S608 - columns
        return Stats(**dict(zip(fields, row, strict=True)))

    def cursor(self, reader: sqlite3.Connection) -> str:
        """See `CacheStore`."""
        (number,) = reader.execute("SELECT number FROM state").fetchone()
        return f"{_made(reader)}:{number}"

    def _record(self, writer: sqlite3.Connection, what: str, data: int | bytes | str) -> int:
        writer.execute("UPDATE state SET number = number + 1")
        (number,) = writer.execute("SELECT number FROM state").fetchone()
        writer.execute("INSERT INTO log VALUES (?, ?, ?)", (number, what, data))
        writer.execute("DELETE FROM log WHERE number <= ?", (number - self._changes,))
        return int(number)

    def _make_room(self, writer: sqlite3.Connection, new: int, now: float) -> None:
        """Let go of what is over, then of what saved least, until the rest is within bounds."""
        most = self._room
        entries, size = writer.execute("SELECT entries, bytes FROM state").fetchone()
        if entries <= most.entries and size <= most.bytes:
            return
        self.expire(writer, now, EVICTED)
        while True:
            entries, size = writer.execute("SELECT entries, bytes FROM state").fetchone()
            gone, last = [], 0.0
            rows = writer.execute(
                "SELECT id, size, priority FROM entries WHERE id <> ? ORDER BY priority, id"
                " LIMIT ?",
                (new, EVICTED),
            ).fetchall()
            for name, own, rank in rows:
                if entries <= most.entries and size <= most.bytes:
                    break
                gone.append(name)
                last = rank
                entries, size = entries - 1, size - own
            if not gone:
                return
            self.remove(writer, gone, "evicted")
            writer.execute("UPDATE state SET inflation = ?", (last,))


def _later(head: Head, recent: Mapping[str, int], number: int) -> bool:
    """One of its attributes was forgotten after a change."""
    return bool(recent) and any(recent.get(name, 0) > number for name in attributes(head))


def pending(reader: sqlite3.Connection) -> dict[str, float]:
    """What is served no more and not removed yet; see `is_forgotten`."""
    return dict(reader.execute("SELECT name, value FROM pending").fetchall())


def vectors_of(
    reader: sqlite3.Connection, after: int, most: int
) -> tuple[list[tuple[int, bytes, bytes]], int]:
    """The next entries with vectors: id, head, vector; and the last looked at, 0 at the end."""
    rows = reader.execute(
        "SELECT vectors.id, CAST(head AS BLOB), CAST(vector AS BLOB) FROM vectors"
        " JOIN entries ON entries.id = vectors.id WHERE vectors.id > ? ORDER BY vectors.id LIMIT ?",
        (after, most),
    ).fetchall()
    return rows, rows[-1][0] if len(rows) == most else 0


def change_of(
    frames: Frames, what: str, data: Any, vector: bytes | None, sealed: bytes | None
) -> Change | None:
    """A row of the log; None for an entry that is no more or has no vector. Raises DamagedError."""
    try:
        if what == "g":
            return Gone(struct.unpack(f">{len(data) // 8}Q", data))
        if what == "f":
            return Forgotten(match_of(data))
    except (struct.error, msgspec.MsgspecError) as error:
        raise DamagedError from error
    if vector is None or sealed is None:
        return None
    head = frames.read_head(data, sealed)
    return Placed(
        *(head.id, head.exact, head.family, head.answer, head.expires, head.embedder),
        frames.read_vector(data, vector),
    )


def _made(reader: sqlite3.Connection) -> str:
    (made,) = reader.execute("SELECT value FROM about WHERE name = 'made'").fetchone()
    return str(made)
