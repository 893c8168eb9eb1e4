"""Server-sent events as the WHATWG HTML standard, section 9.2.6, reads them, incrementally.

One deviation: an event that the stream ends in, with no blank line behind it, counts (the
standard drops it, but providers and proxies leave the last line end out). Data stays bytes:
who reads it as JSON finds bad UTF-8 there.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_EVENT: Final = 1 << 20
"""Bytes of one event. The largest that providers send are single tool calls and whole images
of some hundred kB; without a cap a provider could fill the memory with one line."""

_BOM: Final = b"\xef\xbb\xbf"
_MAX_RETRY_DIGITS: Final = 12


class Event(Struct, frozen=True, gc=False):
    """`type` is empty where the stream names none (the standard's `message`)."""

    data: bytes
    type: bytes = b""


class EventTooLargeError(ValueError):
    """An event, or a line, is over the cap. `events` came whole before it."""

    def __init__(self, events: list[Event], limit: int) -> None:
        super().__init__(f"an event of more than {limit} bytes")
        self.events = events


class Parser:
    """Feed bytes as they come; the events are the same however they were cut."""

    __slots__ = (
        "_after_cr",
        "_data",
        "_limit",
        "_lines_size",
        "_start",
        "_tail",
        "_tail_size",
        "_type",
        "between",
        "last_id",
        "retry",
    )

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._start: bytes | None = b""
        """What came first while it may still become a byte order mark; None after that."""
        self._tail: list[bytes] = []
        """Pieces of a line that has not ended."""
        self._tail_size = 0
        self._after_cr = False
        """The last byte was CR: an LF that comes next belongs to it."""
        self.between = True
        """No event has begun and no line is open: what comes next begins one."""
        self._data: list[bytes] = []
        self._lines_size = 0
        self._type = b""
        self.last_id = b""
        self.retry: int | None = None
        """Milliseconds."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that this chunk completes. Raises EventTooLargeError."""
        if self._start is not None:
            chunk = self._skip_mark(chunk)
        events: list[Event] = []
        if self.between and len(chunk) <= self._limit:
            # Whole events, as they nearly always come: no line has to be looked at twice.
            if (only := _only(chunk)) is not None:
                return [only]
            plain = chunk.replace(b"\r\n", b"\n")
            end = plain.rfind(b"\n\n")
            if end >= 0 and b"\r" not in plain:
                for block in plain[:end].split(b"\n\n"):
                    if block.startswith(b"data: ") and b"\n" not in block:
                        events.append(Event(block[6:]))
                    else:
                        self._block(block, events)
                chunk = plain[end + 2 :]
        if chunk:
            self._lines(chunk, events)
            self.between = not (self._tail or self._data or self._type or self._after_cr)
        return events

    def end(self) -> list[Event]:
        """The event that the stream ended in, if it has data. Raises EventTooLargeError."""
        events: list[Event] = []
        if self._start:
            self._lines(self._start, events)
        self._start = None
        if self._tail:
            line = b"".join(self._tail)
            self._tail, self._tail_size = [], 0
            self._line(line, events)
        self._dispatch(events)
        return events

    def _skip_mark(self, chunk: bytes) -> bytes:
        head = (self._start or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._start = head
            return b""
        self._start = None
        return head.removeprefix(_BOM)

    def _block(self, block: bytes, events: list[Event]) -> None:
        """A whole event, or several blank lines' worth of nothing."""
        head, _, rest = block.partition(b"\n")
        if head.startswith(b"event: ") and rest.startswith(b"data: ") and b"\n" not in rest:
            events.append(Event(rest[6:], head[7:]))
            return
        for line in block.split(b"\n"):
            self._line(line, events)
        self._dispatch(events)

    def _lines(self, chunk: bytes, events: list[Event]) -> None:
        if self._after_cr:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return
        if b"\n" not in chunk and b"\r" not in chunk:
            self._hold(chunk, events)
            return
        self._after_cr = chunk.endswith(b"\r")
        if self._tail:
            chunk = b"".join((*self._tail, chunk))
            self._tail, self._tail_size = [], 0
        # bytes.splitlines knows CR, LF and CRLF, and nothing else.
        lines = chunk.splitlines()
        rest = lines.pop() if chunk[-1] not in b"\r\n" else b""
        for line in lines:
            self._line(line, events)
        if rest:
            self._hold(rest, events)

    def _hold(self, piece: bytes, events: list[Event]) -> None:
        self._tail.append(piece)
        self._tail_size += len(piece)
        if self._lines_size + self._tail_size > self._limit:
            raise EventTooLargeError(events, self._limit)

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            self._dispatch(events)
            return
        if self._lines_size + len(line) > self._limit:
            raise EventTooLargeError(events, self._limit)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._lines_size += len(line)
        elif field == b"event":
            self._type = value
        elif field == b"id":
            if b"\0" not in value:
                self.last_id = value
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry = int(value)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(Event(data, self._type))
            self._data = []
            self._lines_size = 0
        self._type = b""


def _only(chunk: bytes) -> Event | None:
    """The chunk as the one event that it is, if it is in one of the two usual shapes."""
    if not chunk.endswith(b"\n\n") or b"\r" in chunk:
        return None
    end = len(chunk) - 2
    line = chunk.find(b"\n")
    if line == end:
        return Event(chunk[6:end]) if chunk.startswith(b"data: ") else None
    if (
        chunk.startswith(b"event: ")
        and chunk.startswith(b"data: ", line + 1)
        and chunk.find(b"\n", line + 1) == end
    ):
        return Event(chunk[line + 7 : end], chunk[7:line])
    return None
