"""Keys' numbers are remembered, and forgotten when they may have changed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from extproc.state import DAY, Cell, StateError
from extproc.state.sqlite import SqliteLedger
from extproc.state.sqlite.names import KEPT, LONGEST, Names
from extproc.state.sqlite.rollups import STATEMENTS
from tests.unit.state.entries import START, by_key, cell, entry


async def requests(ledger: SqliteLedger, since: int = 0, view: str = "main") -> dict[str, int]:
    """Requests by key."""
    rows = by_key(await ledger.rows(view, since, START + 90 * DAY))
    return {key: row.sums[0] for key, row in rows.items()}


async def write(ledger: SqliteLedger, name: str, keys: Iterable[str], day: int = 0) -> None:
    await ledger.write([entry(f"{name} {key}", START + day * DAY, cell(key=key)) for key in keys])


async def test_another_connection_gave_the_numbers_to_others(tmp_path: Path) -> None:
    one, other = SqliteLedger(tmp_path), SqliteLedger(tmp_path)
    for name in ("a", "again"):  # the first closes the days before, which is a change of its own
        await write(one, name, ["x", "y"])
    await other.prune(0, START + DAY)
    await write(other, "b", ["z", "y", "x"], day=2)
    await write(one, "c", ["x", "y"], day=2)
    assert await requests(one) == {"x": 2, "y": 2, "z": 1}
    await one.close()
    await other.close()


async def test_its_own_pruning(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    for name in ("a", "again"):
        await write(ledger, name, ["x", "y"])
    await ledger.prune(0, START + DAY)
    await write(ledger, "b", ["z"], day=2)
    await write(ledger, "c", ["x", "y"], day=2)
    assert await requests(ledger) == {"x": 1, "y": 1, "z": 1}
    await ledger.close()


async def test_a_write_that_was_undone(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    for name in ("a", "again"):
        await write(ledger, name, ["x"])
    torn = Cell("main", "torn", (1,))  # fails when its number has been given
    with pytest.raises(StateError):
        await ledger.write([entry("b", START, cell(key="y"), cell(key="z"), torn)])
    await write(ledger, "c", ["z", "x", "y"])
    assert await requests(ledger) == {"x": 3, "y": 1, "z": 1}
    await ledger.close()


def test_a_commit_that_failed() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as writer:
        writer.execute(STATEMENTS[0])
        names = Names()
        for undone, end in ((1, "ROLLBACK"), (2, "COMMIT"), (2, "COMMIT")):
            writer.execute("BEGIN IMMEDIATE")
            names.begin(writer, undone)
            found = names.numbers(writer, {"x": 5, "y": 5})
            names.end(writer, undone)
            writer.execute(end)
        assert dict(writer.execute("SELECT key, id FROM names")) == found


async def test_a_key_that_is_still_used_outlives_its_first_day(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    for day in range(4):
        await write(ledger, f"a{day}", ["x"], day=day)
    await write(ledger, "late", ["x"], day=1)
    await ledger.prune(0, START + 3 * DAY)
    assert await requests(ledger) == {"x": 1}
    await ledger.close()


async def test_more_keys_than_are_remembered(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    keys = [f"{number}" for number in range(KEPT + 10)]
    long = ["l" * (LONGEST + 1), "l" * (LONGEST + 2)]
    for turn in range(3):
        await write(ledger, f"{turn}", [*keys, *long])
    assert await requests(ledger) == dict.fromkeys([*keys, *long], 3)
    await ledger.close()


async def test_ids_known_and_twice_in_one_batch(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    assert await ledger.write([entry("a", START), entry("b", START)]) == 2
    batch = [
        entry("b", START),
        entry("c", START, content=b"first"),
        entry("c", START, content=b"second"),
        *(entry(f"d{number}", START) for number in range(100)),
    ]
    assert await ledger.write(batch) == 101
    assert await ledger.write(batch) == 0
    assert await requests(ledger) == {'["chat"]': 103}
    found = await ledger.record("c")
    assert found is not None
    assert found[1] == b"first"
    await ledger.close()
