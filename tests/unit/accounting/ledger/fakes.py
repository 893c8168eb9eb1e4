"""A store in memory that can go away, forget what it took last, and choke on what it is given."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from extproc.accounting.ledger import Ledger, Pace
from extproc.accounting.ledger.sinks import Sink
from extproc.accounting.ledger.tail import Publish
from extproc.records import RequestRecord
from extproc.state import Entry, LedgerStore, Row, StateError

FAST = Pace(
    tick=0.005,
    tell=0.005,
    sync=0.01,
    keep=0.0,
    keep_least=0.0,
    first_pause=0.005,
    longest_pause=0.02,
    stop=5.0,
    lock=0.0,
    orphans=0.02,
    batch=7,
)


class FakeStore(LedgerStore):
    def __init__(self) -> None:
        self.taken: dict[str, Entry] = {}
        self.away = False
        self.number = 1
        self.writes = 0
        self.chokes_on: set[str] = set()

    async def write(self, entries: Sequence[Entry]) -> int:
        await asyncio.sleep(0)
        if self.away:
            raise StateError("connection refused")
        self.writes += 1
        if any(each.id in self.chokes_on for each in entries):
            raise ValueError("what is this?")
        new = [each for each in entries if each.id not in self.taken]
        self.taken.update({each.id: each for each in new})
        return len(new)

    async def generation(self) -> str:
        if self.away:
            raise StateError("connection refused")
        return str(self.number)

    def restart(self, forgets: int = 0) -> None:
        """Another generation, without the last `forgets` records."""
        self.number += 1
        for id_ in list(self.taken)[len(self.taken) - forgets :]:
            del self.taken[id_]

    def errors(self) -> dict[str, str | None]:
        """`error_type` by id."""
        return {
            id_: msgspec.json.decode(each.record, type=RequestRecord).error_type
            for id_, each in self.taken.items()
        }

    async def record(self, record_id: str) -> tuple[bytes, bytes | None] | None:
        entry = self.taken.get(record_id)
        return None if entry is None else (entry.record, entry.content)

    async def records(self, since: float, until: float) -> AsyncIterator[Sequence[bytes]]:
        yield [each.record for each in self.taken.values() if since <= each.started < until]

    async def rows(self, view: str, since: int, until: int, *, bins: bool = False) -> list[Row]:
        del view, since, until, bins
        return []

    async def series(self, view: str, since: int, until: int, step: int) -> Mapping[int, list[Row]]:
        del view, since, until, step
        return {}

    async def prune(self, records_before: float, rollups_before: float) -> None:
        del records_before, rollups_before

    async def ping(self) -> None:
        await self.generation()

    async def close(self) -> None:
        self.away = True


class Disk:
    """`os.write` of a disk that may be full, or take a part of what is written."""

    def __init__(self) -> None:
        self.full = False
        self.takes: int | None = None

    def write(self, fd: int, data: bytes) -> int:
        if self.takes is not None:
            return os.write(fd, data[: self.takes])
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)


class ListSink(Sink):
    def __init__(self, name: str = "sink-list") -> None:
        self._name = name
        self.lines: list[bytes] = []
        self.fails: Exception | None = None

    @property
    def name(self) -> str:
        return self._name

    async def send(self, lines: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.lines.extend(lines)

    async def close(self) -> None:
        self.lines = list(self.lines)

    @property
    def ids(self) -> list[str]:
        return [id_of(line) for line in self.lines]


def id_of(line: bytes) -> str:
    id_ = msgspec.json.decode(line)["id"]
    assert isinstance(id_, str)
    return id_


def number(of: int) -> str:
    return f"{of:032x}"


def record(of: int, *, error: str | None = None, route: str = "chat") -> RequestRecord:
    return RequestRecord(
        id=number(of), started=1_700_000_000.0 + of, duration=0.5, route=route, error_type=error
    )


def reservation(of: int) -> RequestRecord:
    return msgspec.structs.replace(record(of), error_type="lost", aborted=True)


def entry_of(record: RequestRecord, content: bytes | None, *, raw: bytes) -> Entry:
    return Entry(record.id, record.started, raw, (), content)


def ledger(
    folder: Path,
    store: LedgerStore,
    *,
    pace: Pace = FAST,
    slot: int = 0,
    slots: int = 1,
    limit: int = 1024 * 1024,
    sinks: Sequence[Sink] = (),
    publish: Publish | None = None,
    write: Callable[[int, bytes], int] = os.write,
) -> Ledger:
    return Ledger(
        folder,
        store,
        entry_of,
        slot=slot,
        slots=slots,
        limit=limit,
        sinks=sinks,
        publish=publish,
        pace=pace,
        write=write,
    )


def kill(of: Ledger) -> None:
    """What is left of a process after kill -9: the files, and no lock on them."""
    for each in (of._own, *of._orphans):
        for task in each._tasks:
            task.cancel()
        for fd in (each.spool._lock, *each.spool._rolled):
            if fd is not None:
                os.close(fd)
        if each.spool._current is not None:
            os.close(each.spool._current.fd)
        each.spool._current = None
        each.spool._lock = None
        each.spool._rolled = []
    for task in of._tasks:
        task.cancel()


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - whatever a user could see, not an event
            await asyncio.sleep(0.002)
