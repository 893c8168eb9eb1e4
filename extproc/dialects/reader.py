"""The frame of a stream reader that translates: events in, OpenAI chunks out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from extproc.dialects import Failure, Fault, errors, sse

HEAD: Final = 65_536
"""Bytes kept of a stream in which no event has come: it may be an error body."""


class EventReader(ABC):
    """A dialect gives `event`, `cut`, `error` and, if its stream has no terminal event of its
    own, `close`. After a failure nothing more is written."""

    def __init__(self) -> None:
        self.content = False
        self.failure: Failure | None = None
        self.finished = False
        self.refused = False
        self._parser = sse.Parser()
        self._head: bytearray | None = bytearray()

    @property
    def _failed(self) -> bool:
        return self.failure is not None

    @abstractmethod
    def event(self, event: sse.Event) -> bytes:
        """Translate one event. Raises msgspec.MsgspecError if it is none of this dialect."""

    def cut(self) -> bytes:
        """What still goes out when the stream ended before its terminal event."""
        return b""

    def close(self) -> bytes:
        """What goes out when the stream ended after its terminal event."""
        return b""

    @abstractmethod
    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """Read an error body that came instead of a stream."""

    def fail(self, failure: Failure) -> None:
        """Nothing more is read or written."""
        self.failure = failure

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return what can go to the client now."""
        if self.failure is not None or not data:
            return b""
        if self._head is not None and len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        try:
            events = self._parser.feed(data)
        except sse.EventTooLargeError as error:
            written = self._translate(error.events)
            self._too_large(error)
            return written
        return self._translate(events) if events else b""

    def end(self) -> bytes:
        """The provider ended its stream. An unfinished last event still counts."""
        if self._failed:
            return b""
        try:
            written = self._translate(self._parser.end(), last=True)
        except sse.EventTooLargeError as error:
            self._too_large(error)
            return b""
        if self._head is not None:
            self.fail(self._no_stream(bytes(self._head)))
        return written + self._last()

    def _last(self) -> bytes:
        if self._failed:
            return b""
        return self.close() if self.finished else self.cut()

    def _translate(self, events: list[sse.Event], *, last: bool = False) -> bytes:
        written = []
        for event in events:
            self._head = None
            try:
                written.append(self.event(event))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                # What a stream was cut in the middle of is no error of its own.
                if not last:
                    shown = errors.plain(200, event.data)
                    self.fail(Failure(Fault.BAD_ANSWER, 502, f"not an event of a stream: {shown}"))
            if self._failed:
                break
        return written[0] if len(written) == 1 else b"".join(written)

    def _too_large(self, error: sse.EventTooLargeError) -> None:
        if not self._failed:
            self.fail(Failure(Fault.BAD_ANSWER, 502, str(error)))

    def _no_stream(self, head: bytes) -> Failure:
        tree = errors.parsed(head)
        if isinstance(tree, dict) and "error" in tree:
            return self.error(tree, head)
        return Failure(Fault.BAD_ANSWER, 502, "no event in the stream: " + errors.plain(200, head))
