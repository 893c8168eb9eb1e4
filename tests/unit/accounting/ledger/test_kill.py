from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from extproc.accounting.ledger import LedgerError
from tests.unit.accounting.ledger.fakes import FakeStore, ledger, number, until


async def flood(folder: Path, first: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.accounting.ledger.flood",
        str(folder),
        str(first),
        stdout=asyncio.subprocess.PIPE,
    )


async def test_what_a_killed_process_said_it_recorded_is_there_once(tmp_path: Path) -> None:
    said: dict[str, set[str | None]] = {}
    for round_, many in enumerate((1, 333, 2000)):
        process = await flood(tmp_path, round_ * 1_000_000)
        assert process.stdout is not None
        lines = [await process.stdout.readline() for _ in range(many)]
        process.kill()
        lines += (await process.stdout.read()).splitlines()
        await process.wait()
        for line in lines:
            # Between the two it may be killed before it says that it has settled.
            said[number(int(line[1:]))] = {None} if line[:1] == b"s" else {"lost", None}
    store = FakeStore()
    one = ledger(tmp_path, store, limit=64 * 1024 * 1024)
    await one.start()
    await until(lambda: one.figures()["waiting"] == 0 and one.figures()["open"] == 0, 30)
    await one.stop()
    found = store.errors()
    assert set(said) <= set(found)
    assert len(set(found) - set(said)) <= 3, "each kill may leave one that was not said"
    assert "lost" in found.values()
    assert {id_ for id_, errors in said.items() if found[id_] not in errors} == set()
    assert one.figures()["corrupt"] == 0


async def test_two_processes_on_one_folder_are_one_too_many(tmp_path: Path) -> None:
    process = await flood(tmp_path, 0)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        with pytest.raises(LedgerError, match=rf"in use by another process \({process.pid}\)"):
            await ledger(tmp_path, FakeStore()).start()
    finally:
        process.kill()
        await process.stdout.read()
        await process.wait()
