"""The spool: what has been recorded and not yet shipped, on this worker's disk.

All of it is meant for the thread of the event loop, but for `lock`, `recover`, `close` and `sync`,
which wait for the disk. `reserve` and `settle` cost one `write` into the page cache each: what they
say survives the death of the process, and after the next `sync` that of the machine too.

Room is bounded. A reservation is taken only if its settlement will find room as well, so what is
accepted is also finished. When the limit is reached, or the disk refuses, new ones are refused
until segments have been shipped and deleted, or the disk takes something again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from extproc.accounting.ledger.frames import (
    CONTENT,
    FILLER,
    HEADER,
    MOST_PAYLOAD,
    RESERVE,
    SETTLE,
    frame,
    with_content,
)
from extproc.accounting.ledger.segments import (
    Found,
    LedgerError,
    Segment,
    lock,
    path_of,
    recover,
    tell,
)

log = logging.getLogger(__name__)

MOST_SEGMENT: Final = 4 * 1024 * 1024
"""Bytes after which a new segment is begun: the unit in which room is given back."""
SETTLE_MORE: Final = 2048
"""Bytes by which a settled record may be longer than its reservation: usage, cost, refusals."""
LEAST_ROOM: Final = 8 * 1024
"""Bytes; with less than that the spool is said to be full."""


class _Open(NamedTuple):
    payload: bytes
    segment: Segment | None
    """Where the reservation stands."""
    head: int
    """Bytes kept free for its settlement."""


class Spool:
    """One folder of segments, held by one process."""

    def __init__(
        self, folder: Path, limit: int, write: Callable[[int, bytes], int] = os.write
    ) -> None:
        self.folder = folder
        self.limit = limit
        self.segments: dict[int, Segment] = {}
        """Oldest first."""
        self.used = 0
        """Bytes of all segments."""
        self.unreserved = 0
        """Reservations that were refused."""
        self.unrecorded = 0
        """Records that were refused: nothing will ever say what became of these requests."""
        self.contents_dropped = 0
        """Contents for which there was no room; their records were taken."""
        self.recovered = 0
        """Reservations of a process that died, settled as lost."""
        self.corrupt = 0
        """Broken places that were found in segments."""
        self.disk_errors = 0
        """Times that the disk began to refuse."""
        self._segment_size = max(4096, min(MOST_SEGMENT, limit // 8))
        self._write = write
        self._lock: int | None = None
        self._current: Segment | None = None
        self._rolled: list[int] = []
        self._next = 1
        self._open: dict[str, _Open] = {}
        self._head = 0
        self._pending: dict[str, bytes] = {}
        self._refused = False
        self._told_refused = False
        self._told_full = False
        self._dirty = False
        self._new = False

    @property
    def open_count(self) -> int:
        """Requests that are reserved and not settled."""
        return len(self._open)

    @property
    def room(self) -> int:
        """Bytes that are free and not kept for what is open."""
        return self.limit - self.used - self._head

    @property
    def full(self) -> bool:
        """Whether the next reservation would be refused."""
        return self._lock is None or self._refused or self.room < LEAST_ROOM

    @property
    def current(self) -> Segment | None:
        """The segment that is written to."""
        return self._current

    def lock(self) -> None:
        """Take the folder. Raises LedgerError. Blocks."""
        self._lock = lock(self.folder)

    def recover(self, least_number: int = 1) -> None:
        """Settle what a dead process left open in the folder, which must be locked. New segments
        are numbered from `least_number` at least. Raises LedgerError. Blocks."""
        try:
            found = recover(self.folder)
        except OSError as error:
            self.close()
            raise LedgerError(f"the spool folder {self.folder} cannot be read: {error}") from error
        self.segments = found.segments
        self.used = sum(each.size for each in self.segments.values())
        self._next = max(found.next, least_number)
        self.corrupt += found.corrupt
        self._settle_lost(found)

    def _settle_lost(self, found: Found) -> None:
        for id_, (payload, number) in found.open.items():
            self._keep_open(id_, payload, self.segments.get(number))
        for id_, (payload, _) in found.open.items():
            self.settle(id_, payload)
        self.recovered += len(found.open)
        if found.open:
            log.warning(
                "requests were in flight when the service died; recorded as lost",
                extra={"requests": len(found.open), "folder": str(self.folder)},
            )

    def close(self) -> None:
        """Give the folder back. Blocks."""
        if self._lock is None:
            return
        if self._pending:
            self._settle_pending()
        self.seal()
        self.sync()
        os.close(self._lock)
        self._lock = None

    # The path of a request.

    def reserve(self, id_: str, payload: bytes) -> bool:
        """Write a reservation; False if there is no room. Never raises OSError."""
        if id_ in self._open:
            return True
        size = len(payload) + HEADER
        if self.full or self.room < 2 * size + SETTLE_MORE:
            self.unreserved += 1
            self._tell_full()
            return False
        segment = self._append(RESERVE, payload)
        if segment is None:
            self.unreserved += 1
            return False
        self._keep_open(id_, payload, segment)
        return True

    def settle(self, id_: str, payload: bytes, content: bytes | None = None) -> bool:
        """Write the record of a finished request; False if it is lost. Never raises OSError.

        What was reserved is always taken: if the disk refuses, it waits in memory for the disk,
        while the reservation stands. A content is dropped where there is no room for it.
        """
        entry = self._open.get(id_)
        free = self.room + (entry.head if entry else 0)
        if self._lock is None or (entry is None and (self._refused or free < len(payload))):
            self.unrecorded += 1
            self._tell_full()
            return False
        if content is not None and len(content) + len(payload) > min(free, MOST_PAYLOAD - HEADER):
            self.contents_dropped += 1
            content = None
        whole = payload if content is None else with_content(payload, content)
        segment = None
        if not self._refused:
            segment = self._append(SETTLE if content is None else CONTENT, whole)
        if segment is not None:
            segment.settled += 1
            self._forget_open(id_)
            return True
        if entry is None:
            self.unrecorded += 1
            return False
        self.contents_dropped += content is not None
        self._pending[id_] = payload
        return True

    def _keep_open(self, id_: str, payload: bytes, segment: Segment | None) -> None:
        head = len(payload) + HEADER + SETTLE_MORE
        self._open[id_] = _Open(payload, segment, head)
        self._head += head
        if segment is not None:
            segment.open += 1

    def _forget_open(self, id_: str) -> None:
        entry = self._open.pop(id_, None)
        if entry is None:
            return
        self._head -= entry.head
        if entry.segment is not None:
            entry.segment.open -= 1

    def _append(self, kind: int, payload: bytes) -> Segment | None:
        """Write a frame; None if the disk does not take all of it."""
        data = frame(kind, payload)
        try:
            segment = self._current
            if segment is None or segment.size >= self._segment_size:
                segment = self._begin()
            written = self._write(segment.fd, data)
            if written != len(data):
                self._refuse("the disk took a part only")
                self._cut_back(segment)
                return None
        except OSError as error:
            self._refuse(str(error))
            return None
        segment.size += written
        self.used += written
        self._dirty = True
        return segment

    def _begin(self) -> Segment:
        """The next segment. Raises OSError."""
        path = path_of(self.folder, self._next)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        self.seal()
        segment = Segment(self._next, path, fd=fd)
        self._next += 1
        self.segments[segment.number] = segment
        self._current = segment
        self._new = True
        return segment

    def _cut_back(self, segment: Segment) -> None:
        """Take back what was written in part. Raises OSError."""
        try:
            os.ftruncate(segment.fd, segment.size)
        except OSError:
            self.seal()  # readers stop before it, and the next process cuts it off
            raise

    def _refuse(self, reason: str) -> None:
        self._refused = True
        if not self._told_refused:
            self._told_refused = True
            self.disk_errors += 1
            log.error("the disk refuses the spool", extra={"reason": reason})

    def _tell_full(self) -> None:
        if not self._told_full and not self._refused and self._lock is not None:
            self._told_full = True
            log.error("spool full", extra={"bytes": self.used, "limit": self.limit})

    # The housekeeping.

    def look_again(self) -> None:
        """Find out whether the disk takes something again; say so when there is room again."""
        if self._lock is None:
            return
        if self._refused:
            self._refused = False
            self._settle_pending()
            if not self._refused:
                self._append(FILLER, bytes(LEAST_ROOM // 2))
        if self._told_refused and not self._refused:
            self._told_refused = False
            log.warning("the disk takes the spool again", extra={"folder": str(self.folder)})
        if self.room < LEAST_ROOM:
            self._tell_full()
        elif self._told_full:
            self._told_full = False
            log.warning("spool has room again", extra={"bytes": self.used, "limit": self.limit})

    def _settle_pending(self) -> None:
        for id_, payload in list(self._pending.items()):
            segment = self._append(SETTLE, payload)
            if segment is None:
                return
            segment.settled += 1
            del self._pending[id_]
            self._forget_open(id_)

    def roll(self) -> None:
        """Close the segment that is written to if it is long enough, so that it can be deleted."""
        if self._current is not None and self._current.size >= self._segment_size:
            self.seal()

    def seal(self) -> None:
        """Write to the segment no more."""
        if self._current is not None:
            self._rolled.append(self._current.fd)
            self._current = None

    def sync(self) -> None:
        """Wait until the disk has what was written. Blocks; may run in another thread."""
        rolled, self._rolled = self._rolled, []
        current = self._current.fd if self._current is not None else None
        dirty, self._dirty = self._dirty, False
        new, self._new = self._new, False
        try:
            for fd in (*rolled, current):
                if fd is not None and (dirty or fd != current):
                    os.fdatasync(fd)
            if new:
                fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                os.fsync(fd)
                os.close(fd)
        except OSError:
            self._dirty = True
            log.exception("the disk did not take the spool for good")
        finally:
            for fd in rolled:
                os.close(fd)

    def carry(self, segment: Segment) -> bool:
        """Write the open reservations of an old segment again, so that it can be deleted."""
        if segment.open and self._refused:
            return False
        for id_, entry in list(self._open.items()):
            if entry.segment is not segment:
                continue
            target = self._append(RESERVE, entry.payload)
            if target is None:
                return False
            self._open[id_] = entry._replace(segment=target)
            target.open += 1
            segment.open -= 1
        return True

    def forget(self, segment: Segment) -> None:
        """A segment whose file is to be deleted."""
        if self.segments.pop(segment.number, None) is not None:
            self.used -= segment.size

    def broken(self, segment: Segment, at: int, length: int) -> None:
        """A reader found bytes that are no frame."""
        self.corrupt += tell(segment, at, length)
