"""What only the file does: sweeping, its bound, damage."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from extproc.state import StateError
from extproc.state.sqlite import SqliteMappings, mappings
from extproc.state.sqlite.mappings import ROW, SWEPT

LONG = 1e6
MANY = 3 * SWEPT


def entries(folder: Path) -> dict[str, int]:
    """Names and sizes, of entries that are over too."""
    with closing(sqlite3.connect(folder / "sessions.db")) as reader:
        found = dict(reader.execute("SELECT name, length(sealed) FROM mappings").fetchall())
        (total,) = reader.execute("SELECT bytes FROM total").fetchone()
    assert total == sum(found.values()) + ROW * len(found)
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("sessions.db*") if path.suffix != ".lock"]


async def test_what_is_over_goes_from_the_file_without_being_asked(tmp_path: Path) -> None:
    now = 1000.0
    store = SqliteMappings(tmp_path, wall=lambda: now, every=0.01)
    for number in range(MANY):
        await store.put(f"short {number}", b"x" * 100, version=0, ttl=10.0)
    await store.put("long", b"x", version=0, ttl=LONG)
    now = 1011.0
    async with asyncio.timeout(10):
        while len(entries(tmp_path)) > 1:  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.005)
    assert set(entries(tmp_path)) == {"long"}
    await store.close()


async def test_sweeping_says_how_much_went(tmp_path: Path) -> None:
    now = 1000.0
    store = SqliteMappings(tmp_path, wall=lambda: now)
    assert await store.sweep() == 0
    for number in range(MANY):
        await store.put(str(number), b"x", version=0, ttl=10.0)
    now = 1010.0
    assert await store.sweep() == MANY
    assert entries(tmp_path) == {}
    await store.close()


async def test_what_was_deleted_is_not_left_in_the_file(tmp_path: Path) -> None:
    store = SqliteMappings(tmp_path)
    secret = b"sealed-and-then-forgotten" * 1000
    version = await store.put("a", secret, version=0, ttl=LONG)
    await store.put("b", secret, version=0, ttl=LONG)
    await store.put("a", b"new", version=version, ttl=LONG)
    await store.forget("b")
    await store.close()
    assert secret[:25] not in b"".join(path.read_bytes() for path in files(tmp_path))


async def test_when_there_are_too_many_those_go_that_end_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteMappings(tmp_path, most=10 * (1000 + ROW), every=0.01)
    for number in range(10):
        await store.put(f"{number}", bytes(1000), version=0, ttl=LONG + number)
    assert len(entries(tmp_path)) == 10
    # It ends before all others, but it is the one that is asked for now.
    version = await store.put("new", bytes(1000), version=0, ttl=10.0)
    assert set(entries(tmp_path)) == {*"123456789", "new"}
    assert await store.put("new", bytes(3000), version=version, ttl=10.0)
    assert set(entries(tmp_path)) == {*"3456789", "new"}
    assert store.evicted == 3
    async with asyncio.timeout(10):
        while "went early" not in caplog.text:  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.005)
    await store.close()


async def test_a_damaged_file_is_moved_aside_and_sessions_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sessions.db").write_bytes(b"not a database" * 1000)
    store = SqliteMappings(tmp_path)
    assert await store.get("a") is None
    version = await store.put("a", b"x", version=0, ttl=LONG)
    assert await store.get("a") == (b"x", version)
    assert store.corrupted == 1
    assert len([path for path in files(tmp_path) if ".corrupt-" in path.name]) == 1
    assert "is corrupt" in caplog.text
    await store.close()


async def test_a_file_that_cannot_be_made_is_a_state_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = SqliteMappings(tmp_path / "file", every=0.01)
    with pytest.raises(StateError):
        await store.ping()
    with pytest.raises(StateError):
        await store.put("a", b"x", version=0, ttl=LONG)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(10):
            while "that are over stay" not in caplog.text:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.005)
    await store.close()


async def test_a_file_that_does_not_answer_is_a_state_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteMappings(tmp_path)
    await store.put("a", b"x", version=0, ttl=LONG)
    monkeypatch.setattr(mappings, "PATIENCE", 0.05)
    begun, going = threading.Event(), threading.Event()

    def work(_: sqlite3.Connection) -> bool:
        begun.set()
        return going.wait(10)

    busy = asyncio.create_task(store._base.write(work))
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(StateError, match="does not answer"):
        await store.touch("a", LONG)
    assert await store.get("a") is not None
    going.set()
    assert await busy
    await store.close()


async def test_a_closed_store_is_a_state_error(tmp_path: Path) -> None:
    store = SqliteMappings(tmp_path)
    await store.ping()
    await store.close()
    await store.close()
    with pytest.raises(StateError):
        await store.get("a")
    with pytest.raises(StateError):
        await store.put("a", b"x", version=0, ttl=LONG)
