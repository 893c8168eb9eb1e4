"""Days and weeks are made when they are over, and late records still reach them."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

from extproc.state import DAY, HOUR
from extproc.state.sqlite import SqliteLedger
from tests.unit.state.entries import START, added, by_key, cell, entry

MONDAY = START // (7 * DAY) * 7 * DAY
"""The start of a week as they are counted here."""


async def test_late_records_reach_days_and_weeks_that_are_over(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    draw = random.Random(7)
    entries = [
        entry(f"{n}", MONDAY + n * 5 * HOUR + 0.5, cell(key=f"{n % 3}", cost=n, d1=1))
        for n in range(100)
    ]
    draw.shuffle(entries)
    for one in entries:
        await ledger.write([one])
    for since, until in (
        (MONDAY, MONDAY + 21 * DAY),
        (MONDAY - DAY, MONDAY + 20 * DAY + 3 * HOUR),
        (MONDAY + HOUR, MONDAY + 14 * DAY),
        (MONDAY + 7 * DAY, MONDAY + 14 * DAY),
    ):
        found = by_key(await ledger.rows("main", since, until, bins=True))
        assert found == added(entries, "main", since, until)
    await ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as file:
        # 90 days are fast because these rows are there.
        for table, periods in (("weeks", 2), ("days", 20), ("weeks_bins", 2), ("days_bins", 20)):
            (count,) = file.execute(
                f"SELECT count(DISTINCT period) FROM {table}"  # noqa: S608
            ).fetchone()
            assert count == periods


async def test_a_week_that_is_partly_forgotten_still_has_the_rest(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    entries = [entry(f"{n}", MONDAY + n * DAY + 60, cell(cost=10**n)) for n in range(16)]
    await ledger.write(entries)
    await ledger.prune(0, MONDAY + 3 * DAY)
    left = added(entries[3:], "main", 0, MONDAY + 30 * DAY)
    assert by_key(await ledger.rows("main", 0, MONDAY + 30 * DAY, bins=True)) == left
    assert by_key(await ledger.rows("main", MONDAY, MONDAY + 14 * DAY, bins=True)) == added(
        entries[3:14], "main", 0, MONDAY + 30 * DAY
    )
    assert min(await ledger.series("main", 0, MONDAY + 30 * DAY, DAY)) == MONDAY + 3 * DAY
    # What comes for a day that is forgotten stays forgotten; pruning earlier brings nothing back.
    await ledger.write([entry("late", MONDAY + 5)])
    await ledger.prune(0, MONDAY)
    assert by_key(await ledger.rows("main", 0, MONDAY + 30 * DAY, bins=True)) == left
    await ledger.close()


async def test_names_that_nobody_uses_any_more_are_forgotten(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    await ledger.write([entry(f"{n}", START, cell(key=f"user {n}")) for n in range(100)])
    await ledger.write([entry("on", START + 2 * DAY, cell(key="user 1"))])
    await ledger.prune(0, START + DAY)
    await ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as file:
        assert file.execute("SELECT key FROM names").fetchall() == [("user 1",)]
