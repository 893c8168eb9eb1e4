"""The callers' keys in `keys.db`."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from extproc.state import ExistsError, StoredKey
from extproc.state.sqlite.database import Database, Schema

SCHEMA: Final = Schema(
    version=1,
    statements=(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, record BLOB NOT NULL)",
        (
            "CREATE TABLE digests (digest TEXT PRIMARY KEY, key_id TEXT NOT NULL,"
            " place INTEGER NOT NULL) WITHOUT ROWID"
        ),
        "CREATE INDEX digests_of_key ON digests (key_id, place)",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    # Rare writes that must last: a key is shown once, and a revoked one must stay revoked.
    synchronous="FULL",
    replaceable=False,
)
REVISION: Final = "revision"
"""The setting that changes with the keys."""


class SqliteKeys:
    """Keys in a file of `folder`, which is made if need be. See `KeyStore`.

    A file that cannot be read is left alone, and every call raises StateError saying so: who may
    pass is not a question to begin anew with.
    """

    def __init__(self, folder: Path) -> None:
        self._base = Database(folder / "keys.db", SCHEMA)

    async def add(self, keys: Sequence[StoredKey]) -> None:
        """See `KeyStore`."""

        def work(writer: sqlite3.Connection) -> None:
            for key in keys:
                try:
                    writer.execute("INSERT INTO keys VALUES (?, ?)", (key.id, key.record))
                except sqlite3.IntegrityError as error:
                    raise ExistsError(f"key {key.id} is there already") from error
                _add_digests(writer, key)
            _change(writer)

        await self._base.write(work)

    async def replace(self, key: StoredKey, old: bytes) -> bool:
        """See `KeyStore`. Raises ExistsError if a digest is another key's."""

        def work(writer: sqlite3.Connection) -> bool:
            changed = writer.execute(
                "UPDATE keys SET record = ? WHERE id = ? AND record = ?", (key.record, key.id, old)
            )
            if not changed.rowcount:
                return False
            writer.execute("DELETE FROM digests WHERE key_id = ?", (key.id,))
            _add_digests(writer, key)
            _change(writer)
            return True

        return await self._base.write(work)

    async def find(self, digest: str) -> StoredKey | None:
        """See `KeyStore`."""

        def work(reader: sqlite3.Connection) -> StoredKey | None:
            found = _all(
                reader, "WHERE id = (SELECT key_id FROM digests WHERE digest = ?)", (digest,)
            )
            return found[0] if found else None

        return await self._base.read(work)

    async def get(self, key_id: str) -> StoredKey | None:
        """See `KeyStore`."""

        def work(reader: sqlite3.Connection) -> StoredKey | None:
            found = _all(reader, "WHERE id = ?", (key_id,))
            return found[0] if found else None

        return await self._base.read(work)

    async def list(self) -> list[StoredKey]:
        """See `KeyStore`."""
        return await self._base.read(lambda reader: _all(reader, "", ()))

    async def revision(self) -> str:
        """See `KeyStore`."""

        def work(reader: sqlite3.Connection) -> str:
            found: tuple[str] | None = reader.execute(
                "SELECT value FROM settings WHERE name = ?", (REVISION,)
            ).fetchone()
            return found[0] if found else ""

        return await self._base.read(work)

    async def settle(self, name: str, value: str) -> str:
        """See `KeyStore`."""

        def work(writer: sqlite3.Connection) -> str:
            writer.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
            found: tuple[str] = writer.execute(
                "SELECT value FROM settings WHERE name = ?", (name,)
            ).fetchone()
            return found[0]

        return await self._base.write(work)

    async def ping(self) -> None:
        """See `KeyStore`."""
        await self._base.read(lambda reader: reader.execute("SELECT 1 FROM keys").fetchone())

    async def close(self) -> None:
        """See `KeyStore`."""
        await self._base.close()


def _change(writer: sqlite3.Connection) -> None:
    """Random, not counted: a file that was put back from a copy must not come to a revision that
    somebody has seen with other keys."""
    writer.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (REVISION, uuid.uuid4().hex))


def _add_digests(writer: sqlite3.Connection, key: StoredKey) -> None:
    rows = [(digest, key.id, place) for place, digest in enumerate(key.digests)]
    try:
        writer.executemany("INSERT INTO digests VALUES (?, ?, ?)", rows)
    except sqlite3.IntegrityError as error:
        raise ExistsError(f"a digest of key {key.id} is there already") from error


def _all(reader: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[StoredKey]:
    """One statement, so that a key and its digests are of one moment."""
    found = reader.execute(
        "SELECT id, record, digest FROM"  # noqa: S608 - `where` is this module's own
        f" (SELECT id, record FROM keys {where}) LEFT JOIN digests ON key_id = id"
        " ORDER BY id, place",
        values,
    )
    keys: dict[str, tuple[bytes, list[str]]] = {}
    for key_id, record, digest in found:
        digests = keys.setdefault(key_id, (record, []))[1]
        if digest is not None:
            digests.append(digest)
    return [StoredKey(key_id, record, tuple(digests)) for key_id, (record, digests) in keys.items()]
