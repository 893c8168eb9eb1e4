"""The frame of a stream reader that translates: a provider's events in, a writer's bytes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

import msgspec

from extproc.dialects import Failure, Fault, errors, sse
from extproc.dialects.chat.completion import Writer

HEAD: Final = 65_536
"""Bytes kept of a stream in which no event has come: it may be an error body."""

_MOST: Final = sse.MAX_EVENT
"""Bytes up to which no event in a piece can be too large."""


class EventReader(ABC):
    """A dialect gives `event`, `cut`, `error` and, if its stream has no terminal event of its
    own, `close`. After a failure nothing more is written.

    A stream is one kind of event hundreds of times over. A dialect that says `skims` gives `skim`
    too, which knows that kind as it stands on the wire and does for it what `event` does.
    """

    skims: ClassVar[bool] = False

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
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

    def skim(self, data: bytes, at: int, out: list[bytes]) -> int:  # noqa: ARG002 - what it may give
        """Translate events of the commonest kind that stand in `data` one behind the other from
        `at`, where an event begins. Returns where the first begins that is none, or not whole."""
        return at

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
        size = len(data)
        if not self.skims or size > _MOST:
            return self._feed(data)
        out: list[bytes] = []
        at = 0
        while at < size and self.failure is None:
            if self._parser.between and (at := self.skim(data, at, out)) == size:
                break
            end = data.find(b"\n\n", at) + 2
            if end < 2:  # noqa: PLR2004 - not found
                end = size
            out.append(self._feed(data[at:end]))
            at = end
        return out[0] if len(out) == 1 else b"".join(out)

    def _feed(self, data: bytes) -> bytes:
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
