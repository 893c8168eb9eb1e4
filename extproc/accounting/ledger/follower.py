"""A follower reads what is settled in a spool, in order, and hands it on in batches.

It keeps a cursor of its own on disk, written after what it points behind has been taken: so
everything is handed on at least once. What it reads comes from the segments, never from a queue,
so one that is hours behind costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from extproc.accounting.ledger.frames import FILLER, RESERVE, parts, scan
from extproc.accounting.ledger.pace import PACE, Pace
from extproc.accounting.ledger.segments import Segment
from extproc.accounting.ledger.spool import Spool

log = logging.getLogger(__name__)

WINDOW: Final = 512 * 1024
"""Bytes that are read, and handed on, at once; a single frame may be longer."""
SLICE: Final = 64
"""Frames, or records, that are worked on before others get their turn on the event loop."""
_NOT_SETTLED: Final = frozenset({RESERVE, FILLER})


class AwayError(Exception):
    """Whoever is to take the records does not, for now; the text says why."""


class Cursor(msgspec.Struct, frozen=True):
    """Everything before it has been taken."""

    segment: int = 0
    offset: int = 0
    taken: int = 0
    """Settled records before `offset` in the segment."""
    generation: str | None = None
    """The store's, when it took them."""


class Settled(NamedTuple):
    """A finished request."""

    record: bytes
    """As JSON."""
    content: bytes | None


class Batch(NamedTuple):
    """What is handed on at once, and where it stands."""

    start: Cursor
    end: Cursor
    settled: tuple[Settled, ...]
    more: bool = False
    """There was more than it holds when it was read."""


class Follower(ABC):
    """Hands the settled records of one spool to one taker."""

    def __init__(self, name: str, spool: Spool, pace: Pace = PACE) -> None:
        self.name = name
        self.cursor = Cursor()
        self.errors = 0
        """Times that the taker was away."""
        self._spool = spool
        self._pace = pace
        self._batch: Batch | None = None
        self._away = False
        self._behind = False
        self._pause = pace.first_pause
        self._saved = Cursor()
        self._stopping = asyncio.Event()

    @abstractmethod
    async def deliver(self, batch: Batch) -> None:
        """Hand a batch on. Raises AwayError: the same batch comes again, later."""

    async def prepare(self) -> None:
        """Before each look for records. Raises AwayError."""
        await asyncio.sleep(0)

    @property
    def path(self) -> Path:
        """Where the cursor is kept."""
        return self._spool.folder / f"{self.name}.cursor"

    @property
    def waiting(self) -> int:
        """Settled records that were not taken."""
        return sum(
            each.settled - (self.cursor.taken if number == self.cursor.segment else 0)
            for number, each in self._spool.segments.items()
            if number >= self.cursor.segment
        )

    def past(self, segment: Segment) -> bool:
        """Whether everything in a segment that is written no more has been taken."""
        return self.cursor.segment > segment.number or (
            self.cursor.segment == segment.number and self.cursor.offset >= segment.size
        )

    def load(self) -> None:
        """Go on where the last process stopped; from the oldest record if that is not known."""
        try:
            self.cursor = msgspec.json.decode(self.path.read_bytes(), type=Cursor)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.warning(
                "cursor unreadable, everything is shipped again",
                extra={"cursor": str(self.path), "reason": str(error)},
            )
        self._saved = self.cursor

    def save(self) -> None:
        """Keep the cursor. Blocks; may run in another thread. Failing is harmless: what has been
        taken is handed on again."""
        cursor = self.cursor
        if cursor == self._saved:
            return
        beside = self.path.with_suffix(".new")
        with suppress(OSError):
            beside.write_bytes(msgspec.json.encode(cursor))
            beside.replace(self.path)
            self._saved = cursor

    def read_again(self) -> None:
        """Make the batch that could not be handed on anew, with what has come since."""
        self._batch = None

    def stop(self) -> None:
        """Let `run` end when nothing is left, or at the next failure."""
        self._stopping.set()

    async def run(self) -> None:
        """Hand on until `stop`."""
        while True:
            moved, pause = False, self._pace.tick
            self._behind = False
            try:
                moved = await self.step()
            except AwayError:
                pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret
                self._pause = min(self._pause * 2, self._pace.longest_pause)
                if self._stopping.is_set():
                    return
            # What came meanwhile waits for the next batch: each has a price of its own.
            if self._behind or (moved and self._stopping.is_set()):
                continue
            if self._stopping.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def step(self) -> bool:
        """Hand on one batch; False if there was none. Raises AwayError."""
        try:
            await self.prepare()
            if self._batch is None or self._batch.start != self.cursor:
                self._batch = await self._read()
            batch = self._batch
            if batch.settled:
                await self.deliver(batch)
        except AwayError as error:
            self._failed(str(error), None)
            raise
        except Exception as error:  # a mistake; nothing else would ever ship again
            self._failed(type(error).__name__, error)
            raise AwayError(type(error).__name__) from error
        self._batch = None
        if self._away:
            self._away = False
            log.warning("%s takes records again", self.name, extra={"waiting": self.waiting})
        self._pause = self._pace.first_pause
        self._behind = batch.more
        moved = batch.end != batch.start
        if self.cursor == batch.start:  # else it was sent elsewhere meanwhile
            self.cursor = batch.end
        return moved

    def _failed(self, reason: str, mistake: Exception | None) -> None:
        self.errors += 1
        if not self._away:
            self._away = True
            log.error(
                "%s takes no records",
                self.name,
                exc_info=mistake,
                extra={"reason": reason, "waiting": self.waiting},
            )

    async def _read(self) -> Batch:
        """The next batch, which may be without records: then its end is where to look next."""
        start = self.cursor
        segment = self._segment(start.segment)
        if segment is None:
            return Batch(start, start, ())
        at, taken = start.offset, start.taken
        if segment.number != start.segment:
            at = taken = 0
        size = segment.size
        if at >= size:
            after = self._segment(segment.number + 1)
            if after is None or segment is self._spool.current:
                return Batch(start, start, ())
            there = msgspec.structs.replace(start, segment=after.number, offset=0, taken=0)
            return Batch(start, there, (), more=True)
        settled, at = await self._settled(segment, at, size)
        end = msgspec.structs.replace(
            start, segment=segment.number, offset=at, taken=taken + len(settled)
        )
        more = at < size or segment is not self._spool.current
        return Batch(start, end, tuple(settled), more)

    def _segment(self, least: int) -> Segment | None:
        """The oldest from a number on."""
        return next((one for n, one in self._spool.segments.items() if n >= least), None)

    async def _settled(self, segment: Segment, start: int, size: int) -> tuple[list[Settled], int]:
        """Records from `start` on, a window full at most, and where the next ones are."""
        length = min(WINDOW, size - start)
        settled: list[Settled] = []
        while True:
            data = self._pread(segment, start, length)
            whole = start + length >= size
            at = 0
            while at < len(data) and len(settled) < self._pace.batch:
                found = scan(data, at, whole=whole, most=SLICE)
                for gap in found.gaps:
                    self._spool.broken(segment, start + gap.at, gap.end - gap.at)
                settled += [
                    Settled(*parts(each)) for each in found.frames if each.kind not in _NOT_SETTLED
                ]
                moved, at = found.end > at, found.end
                await asyncio.sleep(0)
                if found.need or not moved:
                    break
            if at or whole or not data:
                break
            length = min(max(found.need, length * 2), size - start)
        return settled, start + at if data else size

    def _pread(self, segment: Segment, at: int, length: int) -> bytes:
        """Nothing, and loudly so, if the file is gone or shorter than it was."""
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(fd, length, at)
            finally:
                os.close(fd)
        except OSError:
            data = b""
        if not data:
            self._spool.broken(segment, at, segment.size - at)
        return data
