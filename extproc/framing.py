"""Events of a stream, whole, however its bytes were cut.

Server-sent events come in as bytes cut anywhere; what the client should get goes out. Any cutting
gives the same bytes. What cannot be read passes unchanged.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Final

import msgspec

_BOUNDARY: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""A line end and an empty line, each ended by CR LF, LF or CR (WHATWG HTML, 9.2.6)."""
_BOM: Final = b"\xef\xbb\xbf"
_ERROR: Final = b"error"

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Framing(ABC):
    """Cuts a stream into events; what is in them is for those that derive from it to read."""

    __slots__ = ("_carry", "_ids", "_lf", "_plain", "_raw", "_scanned", "failed")

    cap: ClassVar[int] = 1 << 20
    """Bytes of one event that are held while its end has not come. A longer event passes unread:
    chunks of a chat are hundreds of bytes, a whole image in one would be a few hundred
    thousand."""

    def __init__(self) -> None:
        self.failed = False
        """An error event went by."""
        self._ids = False  # an event had an id
        self._plain = True  # nothing is left over from the last feed
        self._carry = bytearray()  # an event whose end has not come
        self._scanned = 0  # bytes of it known to hold no boundary
        self._raw = False  # the rest of an event over the cap is going by
        self._lf: bool | None = None  # a LF that may follow belongs to the last event: pass it?

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return what goes to the client now, maybe nothing."""
        if not self._plain or not data.endswith(b"\n\n") or b"\r" in data:
            return self._general(data)
        end = len(data) - 2
        if data.find(b"\n") == end and data.startswith(b"data: ") and end <= self.cap:
            return self._payload(data[6:end], data, b"")  # one event, as providers send them
        return self._several(data)

    def end(self) -> bytes:
        """The stream has ended; return what is still to go out.

        An event that is whole but for its blank line gets one. What is left of a broken event is
        dropped, as every client would; the rest of one over the cap is ended, so that whatever
        follows is read as an event of its own.
        """
        raw, event = self._raw, bytes(self._carry)
        self._carry.clear()
        self._scanned = 0
        self._raw, self._lf, self._plain = False, None, True
        if raw or len(event) > self.cap:
            return self._passed((b"" if raw else event) + b"\n\n")
        _, data, _ = _fields(event)
        return self._event(event.rstrip(b"\r\n") + b"\n\n") if _whole(data) else b""

    @abstractmethod
    def _payload(self, data: bytes, event: bytes, name: bytes) -> bytes:
        """Read the data of one event, and its name if it has one; return what goes out in the
        event's place, `event` itself if nothing changes."""

    def _passed(self, piece: bytes) -> bytes:
        """What goes by unread: events with no data, events over the cap, an LF that comes late."""
        return piece

    def _several(self, data: bytes) -> bytes:
        """`feed` for what may be several whole events with plain ends of line."""
        *events, rest = data.split(b"\n\n")
        if rest:
            return self._general(data)
        out: list[bytes] = []
        changed = False
        for event in events:
            whole = event + b"\n\n"
            lines = event.count(b"\n")
            if len(event) > self.cap:
                sent = self._passed(whole)
            elif not lines and event.startswith(b"data: "):
                sent = self._payload(event[6:], whole, b"")
            elif lines == 1 and event.startswith(b"event: ") and b"\ndata: " in event:
                line = event.index(b"\n")
                name = event[7:line]
                if name == _ERROR:
                    self.failed = True
                sent = self._payload(event[line + 7 :], whole, name)
            else:
                sent = self._event(whole)
            changed = changed or sent is not whole
            out.append(sent)
        return b"".join(out) if changed else data

    def _general(self, data: bytes) -> bytes:
        """`feed` for anything else: an event that is cut, other ends of line."""
        if not data:
            return b""
        out: list[bytes] = []
        if self._lf is not None:
            if data.startswith(b"\n"):
                out.append(self._passed(b"\n") if self._lf else b"")
                data = data[1:]
            self._lf = None
        buffer = self._carry
        buffer += data
        start = 0
        if self._raw:
            start = self._skip(buffer, out)
        scan = start if self._raw or start else max(0, self._scanned - 2)
        while not self._raw and (found := _BOUNDARY.search(buffer, scan)):
            scan = found.end()
            event = bytes(buffer[start:scan])
            long = found.start() - start > self.cap
            sent = self._passed(event) if long else self._event(event)
            out.append(sent)
            if scan == len(buffer) and event.endswith(b"\r"):
                self._lf = sent.endswith(event)
            start = scan
        del buffer[:start]
        self._scanned = len(buffer)
        if not self._raw and len(buffer) > self.cap + 4:  # 4: it may end in most of a boundary
            self._raw = True
            out.append(self._passed(bytes(buffer)))
            del buffer[:-2]
        self._plain = not buffer and not self._raw and self._lf is None
        return out[0] if len(out) == 1 else b"".join(out)

    def _skip(self, buffer: bytearray, out: list[bytes]) -> int:
        """Pass the rest of an event over the cap; return where the next one starts.

        The first two bytes of the buffer have gone out already; they are there because a
        boundary may begin in them.
        """
        found = _BOUNDARY.search(buffer)
        if found is None:
            out.append(self._passed(bytes(buffer[2:])))
            return len(buffer) - 2
        self._raw = False
        end = found.end()
        out.append(self._passed(bytes(buffer[2:end])))
        if end == len(buffer) and buffer.endswith(b"\r"):
            self._lf = True
        return end

    def _event(self, event: bytes) -> bytes:
        """One event of any shape, its ends of line included."""
        name, data, ids = _fields(event)
        self._ids = self._ids or ids
        if name == _ERROR:
            self.failed = True
        return self._payload(data, event, name) if data else self._passed(event)


def _fields(event: bytes) -> tuple[bytes, bytes, bool]:
    """The name of one event, the last one given, its data, the lines put together, and whether it
    has an id."""
    name, ids = b"", False
    found: list[bytes] = []
    for line in event.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            found.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif field == b"id":
            ids = True
    return name, b"\n".join(found).strip(), ids


def _whole(data: bytes) -> bool:
    """Nothing is missing from an event's data: it can be read."""
    if data == b"[DONE]":
        return True
    try:
        _decode_raw(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
