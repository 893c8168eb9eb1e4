from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from extproc.state import StateError
from extproc.state.counters import Ask, Counter, Saved, Settled, Take
from extproc.state.embedded.limits import MemoryLimits
from extproc.state.sqlite import SqliteCounters

FAR = 4e9
SOON = 0.01


class Counts:
    """What a store of counters shows of itself."""

    def __init__(self) -> None:
        self.loaded: dict[str, Saved] = {}
        self.changed: dict[str, Saved] = {}

    def load(self, saved: Iterable[Saved]) -> None:
        for one in saved:
            self.loaded[one.key] = one

    def dirty(self) -> list[Saved]:
        found, self.changed = list(self.changed.values()), {}
        return found

    def spend(self, key: str, units: float, expires: float = FAR) -> None:
        self.changed[key] = Saved(key, "window", (1.0, units, 0.0), expires)


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not there():  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.005)


def aside(folder: Path) -> list[str]:
    return [one.name for one in folder.glob("limits.db.corrupt-*Z")]


async def loaded(folder: Path) -> dict[str, Saved]:
    counts = Counts()
    base = SqliteCounters(folder)
    await base.start(counts)
    await base.stop()
    return counts.loaded


async def test_what_is_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    counts = Counts()
    base = SqliteCounters(tmp_path)
    await base.start(counts)
    for number in range(5000):
        counts.spend(f"user {number}", number)
    counts.spend("user 7", 70)
    await base.stop()
    found = await loaded(tmp_path)
    assert len(found) == 5000
    assert found["user 7"] == Saved("user 7", "window", (1.0, 70.0, 0.0), FAR)


async def test_it_is_written_without_being_asked(tmp_path: Path) -> None:
    counts = Counts()
    base = SqliteCounters(tmp_path, every=SOON)
    await base.start(counts)
    counts.spend("a", 3)

    def written() -> bool:
        with sqlite3.connect(tmp_path / "limits.db") as reader:
            (number,) = reader.execute("SELECT count(*) FROM counters").fetchone()
        reader.close()
        return bool(number)

    await until(written)
    await base.stop()


async def test_windows_that_are_over_are_not_loaded_and_go_from_the_file(tmp_path: Path) -> None:
    counts, now = Counts(), 1000.0
    base = SqliteCounters(tmp_path, wall=lambda: now)
    await base.start(counts)
    counts.spend("today", 1, expires=1500.0)
    counts.spend("month", 1, expires=9000.0)
    await base.stop()
    now = 2000.0
    base = SqliteCounters(tmp_path, every=SOON, wall=lambda: now)
    again = Counts()
    await base.start(again)
    assert set(again.loaded) == {"month"}

    def left() -> int:
        with sqlite3.connect(tmp_path / "limits.db") as reader:
            (number,) = reader.execute("SELECT count(*) FROM counters").fetchone()
        reader.close()
        return int(number)

    await until(lambda: left() == 1)
    await base.stop()


async def test_a_corrupt_file_is_moved_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "limits.db").write_bytes(b"not a database" * 1000)
    counts = Counts()
    base = SqliteCounters(tmp_path)
    await base.start(counts)
    counts.spend("a", 1)
    await base.stop()
    assert base.corrupted == 1
    assert "is corrupt" in caplog.text
    assert aside(tmp_path)
    assert set(await loaded(tmp_path)) == {"a"}


async def test_a_counter_that_cannot_be_read_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    base = SqliteCounters(tmp_path)
    await base.start(counts)
    counts.spend("good", 1)
    counts.spend("bad", 1)
    await base.stop()
    with sqlite3.connect(tmp_path / "limits.db") as writer:
        writer.execute("UPDATE counters SET state = x'ff' WHERE key = 'bad'")
    writer.close()
    assert set(await loaded(tmp_path)) == {"good"}
    assert "cannot be read" in caplog.text


async def test_what_the_disk_refuses_is_said_once_and_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    base = SqliteCounters(tmp_path)
    await base.start(counts)
    counts.spend("a", 1)
    real, fails = base._base.write, True

    async def write(work: Callable[[sqlite3.Connection], object]) -> object:
        if fails:
            raise StateError("disk full")
        return await real(work)

    base._base.write = write  # type: ignore[method-assign,assignment]  # a disk that is full
    with caplog.at_level(logging.WARNING):
        await base.save()
        counts.spend("a", 2)
        counts.spend("b", 1)
        await base.save()
        assert caplog.text.count("cannot be saved") == 1
        fails = False
        await base.stop()
    assert "is saved again" in caplog.text
    found = await loaded(tmp_path)
    assert found["a"].state[1] == 2
    assert set(found) == {"a", "b"}


async def test_the_embedded_store_remembers_what_was_used_and_not_what_was_only_reserved(
    tmp_path: Path,
) -> None:
    day = time.time() // 86_400 * 86_400
    bounds = (day - 86_400, day, day + 86_400, day + 2 * 86_400)
    daily = Counter("user a tokens", "window", 1000, params=bounds, lasting=True)
    hourly = Counter("user a tokens h", "bucket", 3600, rate=1.0, period=3600, lasting=True)
    minute = Counter("user a requests", "bucket", 60, rate=1.0, period=60)
    base, memory = SqliteCounters(tmp_path), MemoryLimits()
    await base.start(memory)
    await memory.start(lambda _: None)
    ask = Ask("1", (Take(daily, 600), Take(hourly, 2000), Take(minute, 5)))
    outcome = await memory.admit(ask)
    memory.settle(Settled("1", ask.takes, outcome.takes, (700, 2500, 5)))
    assert (await memory.admit(Ask("2", (Take(daily, 300),)))).what == "granted"
    await base.save()  # and then it is killed
    again, loaded = SqliteCounters(tmp_path), MemoryLimits()
    await again.start(loaded)
    await loaded.start(lambda _: None)
    found = [one.used for one in await loaded.peek([daily, hourly, minute])]
    assert found == [700, pytest.approx(2500, abs=5), 0]
    assert (await loaded.admit(Ask("3", (Take(daily, 301),)))).what == "denied"
    assert (await loaded.admit(Ask("4", (Take(daily, 300),)))).what == "granted"
    for one in (memory, loaded):
        await one.stop()
    for file in (base, again):
        await file.stop()


SPENDS = """
import asyncio, sys, time
from pathlib import Path
from extproc.state.sqlite import SqliteCounters
from tests.unit.state.sqlite.test_counters import Counts

async def main() -> None:
    counts = Counts()
    await SqliteCounters(Path(sys.argv[1])).start(counts)
    for number in range(1, 100_000):
        counts.spend("a", number)
        sys.stdout.write(f"{number} {time.time()}\\n")
        sys.stdout.flush()
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


async def test_a_kill_loses_no_more_than_what_was_spent_since_the_last_write(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SPENDS, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    spent: list[tuple[int, float]] = []
    begun: float | None = None
    async for line in process.stdout:
        number, at = line.split()
        spent.append((int(number), float(at)))
        begun = begun or float(at)
        if float(at) - begun > 1.0:
            break
    killed = time.time()
    os.kill(process.pid, signal.SIGKILL)
    async for line in process.stdout:
        number, at = line.split()
        spent.append((int(number), float(at)))
    await process.wait()
    found = (await loaded(tmp_path))["a"].state[1]
    # 0.2 s between writes, and as much again for a busy machine's disk and threads.
    certain = [number for number, at in spent if at < killed - 0.6]
    assert found >= certain[-1]
