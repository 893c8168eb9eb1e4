"""What befalls files: damage, other versions, full disks; nothing is lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extproc.state import StateError, StoredKey
from extproc.state.sqlite import SqliteKeys, SqliteLedger
from tests.unit.state.entries import START, all_records, cell, entry

EVER = (0, START + 10**8)
Damage = Callable[[Path], object]


def named(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def of_another_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def overwritten_behind_its_head(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


DAMAGES = [garbage, cut, emptied, of_another_version, overwritten_behind_its_head]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_corrupt_ledger_is_moved_aside_loudly(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    before = SqliteLedger(tmp_path)
    await before.write([entry(str(n), START, cell(key=f"{n}")) for n in range(500)])
    generation = await before.generation()
    await before.close()
    damage(tmp_path / "ledger.db")
    damaged = (tmp_path / "ledger.db").read_bytes()

    after = SqliteLedger(tmp_path)
    with caplog.at_level(logging.ERROR):
        # The first thing that needs the damaged part finds out, and is done all the same.
        assert await after.rows("main", *EVER) == []
        assert await after.write([entry("new")]) == 1
    assert await all_records(after, *EVER) == [entry("new").record]
    assert after.corrupted == 1
    (aside,) = named(tmp_path, "ledger.db.corrupt-*Z")
    assert aside.read_bytes() == damaged
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert aside.name in caplog.text
    assert await after.generation() != generation
    await after.close()

    again = SqliteLedger(tmp_path)
    assert len(await again.rows("main", *EVER)) == 1
    assert again.corrupted == 0
    await again.close()


async def test_damage_found_by_a_write_loses_no_write(tmp_path: Path) -> None:
    before = SqliteLedger(tmp_path)
    await before.write([entry(str(n), START, cell(key=f"{n}")) for n in range(500)])
    await before.close()
    overwritten_behind_its_head(tmp_path / "ledger.db")
    after = SqliteLedger(tmp_path)
    assert await after.write([entry("1"), entry("new")]) == 2
    assert after.corrupted == 1
    assert len(await all_records(after, *EVER)) == 2
    await after.close()


async def test_what_a_crash_left_beside_goes_aside_too(tmp_path: Path) -> None:
    crashed, found = tmp_path / "crashed", tmp_path / "found"
    ledger = SqliteLedger(crashed)
    await ledger.write([entry("1")])
    shutil.copytree(crashed, found)
    await ledger.close()
    # The copy is what kill -9 leaves: with its log, all is there.
    survivor = SqliteLedger(found)
    assert await survivor.record("1") is not None
    assert survivor.corrupted == 0
    await survivor.close()
    shutil.rmtree(found)

    # A log without its file must not be taken for the new file's.
    ledger = SqliteLedger(crashed)
    await ledger.write([entry("2")])
    shutil.copytree(crashed, found)
    await ledger.close()
    (found / "ledger.db").unlink()
    other = SqliteLedger(found)
    assert await other.write([entry("1")]) == 1
    assert await other.record("2") is None
    assert other.corrupted == 1
    assert len(named(found, "ledger.db.corrupt-*Z-wal")) == 1
    await other.close()


async def test_nobody_moves_a_file_that_another_has_open(tmp_path: Path) -> None:
    one, two = SqliteLedger(tmp_path), SqliteLedger(tmp_path)
    await one.write([entry("1")])
    of_another_version(tmp_path / "ledger.db")
    with pytest.raises(StateError, match="another process"):
        await two.ping()
    assert await one.record("1") is not None
    await one.close()
    await two.ping()
    assert two.corrupted == 1
    await two.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_corrupt_keys_close_the_gate_and_are_left_alone(
    tmp_path: Path, damage: Damage
) -> None:
    before = SqliteKeys(tmp_path)
    await before.add([StoredKey(f"{n}", b"x" * 100, (f"d{n}",)) for n in range(500)])
    await before.close()
    damage(tmp_path / "keys.db")
    damaged = (tmp_path / "keys.db").read_bytes()
    after = SqliteKeys(tmp_path)
    for _ in range(2):
        with pytest.raises(StateError, match=r"keys\.db cannot be read .* restored"):
            await after.find("d1")
        with pytest.raises(StateError, match=r"keys\.db cannot be read"):
            await after.add([StoredKey("new", b"", ())])
        with pytest.raises(StateError, match=r"keys\.db cannot be read"):
            await after.ping()
    await after.close()
    assert (tmp_path / "keys.db").read_bytes() == damaged
    assert not named(tmp_path, "*corrupt*")


@contextlib.contextmanager
def full_disk(free: int, path: Path) -> Iterator[None]:
    """No file of this process grows beyond this; SQLite is told the same as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_on_a_full_disk_nothing_is_half_written(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    await ledger.write([entry("1")])
    many = [entry(f"many {n}", START, cell(key=f"{n}"), content=b"x" * 5000) for n in range(200)]
    with full_disk(100_000, tmp_path / "ledger.db-wal"):
        for _ in range(3):
            with pytest.raises(StateError, match=r"ledger\.db"):
                await ledger.write(many)
        assert len(await all_records(ledger, *EVER)) == 1
        assert len(await ledger.rows("main", *EVER)) == 1
    assert await ledger.write(many) == 200
    assert len(await ledger.rows("main", *EVER)) == 201
    assert ledger.corrupted == 0
    await ledger.close()


async def test_a_folder_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for store in (SqliteLedger(tmp_path / "file" / "data"), SqliteKeys(Path("/proc/nobody"))):
        with pytest.raises(StateError):
            await store.ping()
        await store.close()


async def test_a_folder_that_comes_back_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    keys = SqliteKeys(tmp_path / "data")
    with pytest.raises(StateError):
        await keys.ping()
    (tmp_path / "data").unlink()
    await keys.ping()
    await keys.close()


async def test_what_is_kept_is_for_the_owner_only(tmp_path: Path) -> None:
    keys, ledger = SqliteKeys(tmp_path / "data"), SqliteLedger(tmp_path / "data")
    await keys.ping()
    await ledger.write([entry("1")])
    found = list((tmp_path / "data").iterdir())
    assert len(found) >= 2
    assert {path.name: path.stat().st_mode & 0o077 for path in found} == {
        path.name: 0 for path in found
    }
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    await keys.close()
    await ledger.close()


async def test_two_who_begin_at_once_share_one_file(tmp_path: Path) -> None:
    stores = [SqliteKeys(tmp_path) for _ in range(6)]
    agreed = await asyncio.gather(*(s.settle("x", f"{n}") for n, s in enumerate(stores)))
    assert len(set(agreed)) == 1
    for store in stores:
        await store.close()
    assert not named(tmp_path, "*.new-*")


WRITING = """
import asyncio, itertools, sys
from pathlib import Path
from extproc.state.sqlite import SqliteLedger
from tests.unit.state.entries import START, cell, entry

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]))
    for number in itertools.count():
        entries = [
            entry(f"{sys.argv[2]} {number} {n}", START + number * 3600, cell(key=f"{n}", d1=1))
            for n in range(20)
        ]
        await ledger.write(entries)
        print("written", flush=True)

asyncio.run(main())
"""


async def test_kill_9_leaves_records_and_sums_that_agree(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    written = 0
    for life in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITING, str(tmp_path), str(life), cwd=root, stdout=PIPE
        )
        assert process.stdout is not None
        for _ in range(10 + life * 7):
            assert await process.stdout.readline() == b"written\n"
        process.kill()
        rest, _ = await process.communicate()
        written += 10 + life * 7 + rest.count(b"\n")
    ledger = SqliteLedger(tmp_path)
    records = len(await all_records(ledger, *EVER))
    rows = await ledger.rows("main", *EVER, bins=True)
    assert records == sum(row.sums[0] for row in rows) == sum(row.bins["d1"] for row in rows)
    # What was said to be written is; of each life one more batch may be.
    assert 0 <= records - written * 20 <= 3 * 20
    assert ledger.corrupted == 0
    await ledger.close()
