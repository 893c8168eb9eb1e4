"""The numbers of the rollups' keys, which come again and again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from extproc.state.sqlite.statements import among, insert

KEPT: Final = 4096
"""Keys whose numbers are remembered, those that were asked for first forgotten first."""
LONGEST: Final = 512
"""Characters of a key that is remembered. With `KEPT` it bounds the memory to a few MB."""
_SELECT: Final = "SELECT key, id, last FROM names WHERE key"


class Names:
    """Knows numbers for as long as nobody else can have changed them.

    Used on the writer's thread only. What it remembers holds when the connection is the same, no
    transaction was undone since (`undone` is another number then), no other connection has
    committed, and this one has changed nothing between two calls.
    """

    __slots__ = ("_known", "_state", "_writer")

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}
        """Number, and last day that has a row."""
        self._state: tuple[int, int, int] | None = None
        self._writer: sqlite3.Connection | None = None

    def begin(self, writer: sqlite3.Connection, undone: int) -> None:
        """A transaction has begun. Nothing is remembered of it unless `end` is reached."""
        if self._writer is not writer or self._state != _state(writer, undone):
            self._known.clear()
        self._state = None

    def end(self, writer: sqlite3.Connection, undone: int) -> None:
        """The transaction's last change was made; if it is undone all the same, `undone` tells."""
        self._writer, self._state = writer, _state(writer, undone)

    def numbers(self, writer: sqlite3.Connection, last: Mapping[str, int]) -> dict[str, int]:
        """Each key's number, a new one if it has none. `last`: the last day of its rows. Between
        `begin` and `end`."""
        known = self._known
        found = {key: known[key] for key in last if key in known}
        missing = [key for key in last if key not in found]
        found.update((key, (number, day)) for key, number, day in among(writer, _SELECT, missing))
        later = [key for key, (_, day) in found.items() if last[key] > day]
        for key in later:
            number, _ = found[key]
            writer.execute("UPDATE names SET last = ? WHERE id = ?", (last[key], number))
            found[key] = number, last[key]
        new = [key for key in missing if key not in found]
        insert(writer, "INSERT INTO names (key, last)", [(key, last[key]) for key in new])
        found.update((key, (number, day)) for key, number, day in among(writer, _SELECT, new))
        self._remember(found, (*missing, *later))
        return {key: number for key, (number, _) in found.items()}

    def _remember(self, found: Mapping[str, tuple[int, int]], changed: tuple[str, ...]) -> None:
        known = self._known
        for key in changed:
            if len(key) <= LONGEST:
                known[key] = found[key]
        while len(known) > KEPT:
            del known[next(iter(known))]


def _state(writer: sqlite3.Connection, undone: int) -> tuple[int, int, int]:
    (others,) = writer.execute("PRAGMA data_version").fetchone()
    return undone, writer.total_changes, others
