"""How a record stands in a segment: a frame with its kind, its length and a checksum.

`magic (4) kind (1) length (4) crc (4) payload (length)`, integers little-endian. The CRC-32 covers
kind, length and payload, so a frame that was written in part, or whose bits have changed, is known
for what it is. The magic begins with a byte that UTF-8 never has (RFC 3629, section 1), hence no
payload of JSON holds it: behind a broken frame the next one is found by looking for it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"\xf5TG\x01"
"""The last byte is the version of the format."""
RESERVE: Final = 1
"""What to record of a request if nothing else comes: a record as JSON."""
SETTLE: Final = 2
"""The record of a finished request, as JSON."""
CONTENT: Final = 3
"""A record's length (4 bytes), the record as JSON, then what was asked and answered as JSON."""
FILLER: Final = 4
"""Nothing; written to find out whether the disk takes anything."""
MOST_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes. Contents of 2 x 256 KiB are six times as long where each character must be escaped."""

_HEADER: Final = struct.Struct("<4sBII")
_HEAD: Final = struct.Struct("<4sBI")
_LENGTH: Final = struct.Struct("<I")
_HEAD_SIZE: Final = _HEAD.size
HEADER: Final = _HEADER.size
"""Bytes before the payload."""
_KINDS: Final = frozenset({RESERVE, SETTLE, CONTENT, FILLER})


class Frame(NamedTuple):
    """A whole frame that was found."""

    kind: int
    end: int
    """Where the next one begins."""
    payload: bytes


class Gap(NamedTuple):
    """Bytes that are no frame."""

    at: int
    end: int
    torn: bool
    """The beginning of a frame and nothing after it: a write that was cut off."""


class Scan(NamedTuple):
    """What was found in a piece of a segment."""

    frames: list[Frame]
    gaps: list[Gap]
    end: int
    """Everything before it has been looked at."""
    need: int
    """Bytes from `end` on that must be there to go on, if the piece ends within a frame; else 0."""


def frame(kind: int, payload: bytes) -> bytes:
    """A frame as it is written."""
    head = _HEAD.pack(MAGIC, kind, len(payload))
    return b"".join((head, _LENGTH.pack(crc32(payload, crc32(head))), payload))


def with_content(record: bytes, content: bytes) -> bytes:
    """The payload of a `CONTENT` frame."""
    return b"".join((_LENGTH.pack(len(record)), record, content))


def parts(found: Frame) -> tuple[bytes, bytes | None]:
    """The record and the content of a `SETTLE` or `CONTENT` frame."""
    start = _LENGTH.size
    if found.kind != CONTENT or len(found.payload) < start:
        return found.payload, None
    (length,) = _LENGTH.unpack_from(found.payload)
    return found.payload[start : start + length], found.payload[start + length :]


def scan(data: bytes, at: int = 0, *, whole: bool, most: int | None = None) -> Scan:
    """Find frames in `data` from `at` on, at most `most`.

    `whole`: nothing follows `data` in its segment, so a frame that is not all there never will be.
    """
    frames: list[Frame] = []
    gaps: list[Gap] = []
    while at < len(data) and (most is None or len(frames) < most):
        found, need = _frame_at(data, at)
        if found is not None:
            frames.append(found)
            at = found.end
            continue
        if need and not whole:
            return Scan(frames, gaps, at, need)
        after = _next(data, at + 1, whole=whole)
        cut_off = whole and after == len(data) and (need > 0 or not any(data[at:]))
        if gaps and gaps[-1].end == at and not cut_off:
            gaps[-1] = Gap(gaps[-1].at, after, torn=False)
        else:
            gaps.append(Gap(at, after, cut_off))
        at = after
    return Scan(frames, gaps, at, 0)


def _frame_at(data: bytes, at: int) -> tuple[Frame | None, int]:
    """The frame at `at`; or None and how many bytes it would take, 0 if there is none at all."""
    if len(data) - at < HEADER:
        begins = MAGIC.startswith(data[at : at + len(MAGIC)])
        return None, HEADER if begins else 0
    magic, kind, length, crc = _HEADER.unpack_from(data, at)
    if magic != MAGIC or kind not in _KINDS or length > MOST_PAYLOAD:
        return None, 0
    end = at + HEADER + length
    if end > len(data):
        return None, end - at
    payload = data[at + HEADER : end]
    if crc32(payload, crc32(data[at : at + _HEAD_SIZE])) != crc:
        return None, 0
    return Frame(kind, end, payload), 0


def _next(data: bytes, at: int, *, whole: bool) -> int:
    """Where a frame may begin, from `at` on."""
    found = data.find(MAGIC, at)
    if found >= 0:
        return found
    # The last bytes may be the beginning of a magic that is cut by the end of this piece.
    return len(data) if whole else max(at, len(data) - len(MAGIC) + 1)
