"""The files of a spool: numbered segments that are only ever appended to, and what a process finds
in those that another one left.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from extproc.accounting.ledger.frames import FILLER, RESERVE, Frame, parts, scan

log = logging.getLogger(__name__)

LOCK: Final = "lock"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NAME: Final = re.compile(r"(\d{12})\.spool")


class LedgerError(Exception):
    """The ledger cannot be used; the text says why, for whoever starts the service."""


class _Id(msgspec.Struct):
    id: str


_ID: Final = msgspec.json.Decoder(_Id)


@dataclass(slots=True, eq=False)
class Segment:
    """One file."""

    number: int
    path: Path
    size: int = 0
    """Bytes of whole frames."""
    settled: int = 0
    """Records of finished requests in it."""
    open: int = 0
    """Reservations in it that are not settled."""
    fd: int = -1
    """For writing; only good while it is the spool's current one."""
    told: set[int] = field(default_factory=set)
    """Where it is broken, as far as that has been said."""


@dataclass(slots=True)
class Found:
    """What was left in a folder."""

    segments: dict[int, Segment] = field(default_factory=dict)
    open: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Reservations that were not settled, by id, each with the number of its segment."""
    next: int = 1
    corrupt: int = 0
    """Broken places."""


def path_of(folder: Path, number: int) -> Path:
    """Where a segment lies; the names sort by number."""
    return folder / f"{number:012d}.spool"


def lock(folder: Path) -> int:
    """Take a folder for this process, making it if need be; gives the lock's file descriptor.

    Raises LedgerError if another process has it or it cannot be written to; BlockingIOError is the
    cause of the former.
    """
    path = folder / LOCK
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"the spool folder {folder} cannot be used: {error}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                os.ftruncate(fd, 0)
                os.pwrite(fd, b"%d\n" % os.getpid(), 0)
                return fd
        except BlockingIOError as error:
            holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "?"
            os.close(fd)
            raise LedgerError(
                f"the spool folder {folder} is in use by another process ({holder}); "
                "every service needs a data folder of its own"
            ) from error
        except FileNotFoundError:
            pass  # whoever had it has just removed the folder
        except OSError as error:
            if error.errno not in _NO_ROOM:
                os.close(fd)
                raise LedgerError(f"the spool folder {folder} cannot be used: {error}") from error
            return fd  # the lock holds; only the number of its process could not be written
        os.close(fd)


def recover(folder: Path) -> Found:
    """Read everything that lies in a folder, cutting off what was written in part.

    A settled record always stands behind its reservation, because segments are deleted oldest
    first; so a reservation with nothing behind it was never settled. Blocks.
    """
    found = Found()
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name is None or not path.is_file() or path.is_symlink():
            continue
        number = int(name[1])
        found.next = max(found.next, number + 1)
        try:
            data = path.read_bytes()
        except OSError:
            log.exception("segment unreadable", extra={"segment": str(path)})
            found.corrupt += 1
            continue
        segment = Segment(number, path, size=len(data))
        _take_in(found, segment, data)
        if segment.size == 0:
            with suppress(OSError):
                path.unlink()
        else:
            found.segments[number] = segment
    return found


def _take_in(found: Found, segment: Segment, data: bytes) -> None:
    scanned = scan(data, whole=True)
    for gap in scanned.gaps:
        if gap.torn and gap.end == len(data):
            segment.size = gap.at
            with suppress(OSError):
                os.truncate(segment.path, gap.at)
            log.info("segment cut off", extra={"segment": str(segment.path), "at": gap.at})
        elif tell(segment, gap.at, gap.end - gap.at):
            found.corrupt += 1
    for each in scanned.frames:
        if each.kind == FILLER:
            continue
        id_ = id_of(each)
        if id_ is None:
            found.corrupt += tell(segment, each.end - len(each.payload), len(each.payload))
        elif each.kind == RESERVE:
            found.open[id_] = (each.payload, segment.number)
        else:
            found.open.pop(id_, None)
    segment.settled = sum(each.kind not in (RESERVE, FILLER) for each in scanned.frames)


def id_of_record(record: bytes) -> str:
    """The id of a record as JSON. Raises msgspec.DecodeError or ValueError: it is none."""
    return _ID.decode(record).id


def id_of(found: Frame) -> str | None:
    """The id of the record in a frame; None if there is no record in it."""
    try:
        return id_of_record(parts(found)[0])
    except (msgspec.DecodeError, ValueError):
        return None


def tell(segment: Segment, at: int, length: int) -> bool:
    """Say, once, that a segment is broken somewhere; False if that has been said."""
    if at in segment.told:
        return False
    segment.told.add(at)
    log.error(
        "segment corrupt",
        extra={"segment": str(segment.path), "at": at, "bytes": length},
    )
    return True
