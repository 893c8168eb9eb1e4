"""Entries to write and what they add up to, the slow and obvious way."""

from __future__ import annotations

from collections.abc import Iterable

from extproc.state import MEASURES, Cell, Entry, LedgerStore, Row

START = 1_790_000_000 // 86_400 * 86_400
"""The start of a UTC day."""


def cell(view: str = "main", key: str = '["chat"]', *, cost: int = 7, **bins: int) -> Cell:
    sums = [0] * len(MEASURES)
    sums[0] = 1
    sums[MEASURES.index("cost")] = cost
    return Cell(view, key, tuple(sums), bins)


def entry(
    name: str, started: float = START + 1.5, *cells: Cell, content: bytes | None = None
) -> Entry:
    return Entry(name, started, b'{"id": "%s"}' % name.encode(), cells or (cell(),), content)


def added(entries: Iterable[Entry], view: str, since: int, until: int) -> dict[str, Row]:
    """Rows by key: every cell of every entry whose hour starts in the span."""
    rows: dict[str, Row] = {}
    for one in entries:
        if not since <= one.started // 3600 * 3600 < until:
            continue
        for found in one.cells:
            if found.view != view:
                continue
            row = rows.get(found.key, Row(found.key, (0,) * len(MEASURES), {}))
            names = {*row.bins, *found.bins}
            rows[found.key] = Row(
                found.key,
                tuple(map(sum, zip(row.sums, found.sums, strict=True))),
                {name: row.bins.get(name, 0) + found.bins.get(name, 0) for name in names},
            )
    return rows


def by_key(rows: Iterable[Row]) -> dict[str, Row]:
    found = list(rows)
    named = {row.key: row for row in found}
    assert len(named) == len(found), "a key came twice"
    return named


async def all_records(ledger: LedgerStore, since: float, until: float) -> list[bytes]:
    return [record async for batch in ledger.records(since, until) for record in batch]
