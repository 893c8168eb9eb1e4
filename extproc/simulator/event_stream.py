"""Amazon's event-stream framing, as a server writes it.

A message is a prelude (total length, length of the headers, CRC-32 of both), headers, the payload,
and a CRC-32 of everything before it; all numbers are big-endian. Header values here are texts
(type 7), which is all that the runtime APIs send.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import msgspec

_TEXT = 7
_OVERHEAD = 16
"""Bytes of a message beside headers and payload: two lengths and two checksums."""


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", _OVERHEAD + len(packed) + len(payload), len(packed))
    whole = lengths + struct.pack(">I", zlib.crc32(lengths)) + packed + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def event(kind: str, fields: Mapping[str, object]) -> bytes:
    """An event of that type; its members are JSON."""
    headers = {
        ":event-type": kind,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return message(headers, msgspec.json.encode(fields))


def exception(kind: str, payload: bytes) -> bytes:
    """An error within a stream; it ends it."""
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return message(headers, payload)


def _header(name: str, value: str) -> bytes:
    key, text = name.encode("ascii"), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _TEXT, len(text)) + text
