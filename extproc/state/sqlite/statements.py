"""Statements over many values at once.

Python lets go of its lock at each step of a statement, and on a loop that is busy every step waits
for its turn again: so what is many rows is few steps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

AMONG: Final = (8, 64, 512)
"""Values in one statement, padded with the last; as few different ones for the same reason."""
SIZES: Final = (64, 8, 1)
"""Rows of one statement. Few different ones, so that SQLite's program for each is kept."""


def among(
    connection: sqlite3.Connection,
    select: str,
    values: Sequence[str | int | bytes],
    *before: str | int,
) -> Iterator[tuple[Any, ...]]:
    """Rows of a statement that ends in a column's name, where that is one of the values. `before`:
    what the statement itself asks for."""
    at = 0
    while at < len(values):
        some = values[at : at + AMONG[-1]]
        size = next(size for size in AMONG if size >= len(some))
        padded = (*before, *some, *([some[-1]] * (size - len(some))))
        yield from connection.execute(f"{select} IN ({', '.join('?' * size)})", padded)
        at += len(some)


def insert(
    writer: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], after: str = ""
) -> None:
    """Insert rows of the same length. `into`: the statement up to `VALUES`; `after`: what follows
    the values."""
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    at = 0
    for size in SIZES:
        statement = f"{into} VALUES {', '.join([row] * size)} {after}"
        while len(rows) - at >= size:
            writer.execute(statement, tuple(chain.from_iterable(rows[at : at + size])))
            at += size
