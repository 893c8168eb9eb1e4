"""The frame of a reader of a stream that passes: every byte goes on as it came, and is looked at
until there is nothing left to learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors, sse

LIMIT: Final = 32 << 20
"""Bytes of one event. Images come whole in one, and the event that ends a response repeats all of
it."""
HEAD: Final = 65_536
"""Bytes kept of a stream in which no event has come: it may be an error body."""


class Watch(ABC):
    """See `extproc.dialects.StreamReader`. A format gives `event` and `error`, and sets `content`,
    `finished` and `refused`."""

    def __init__(self) -> None:
        self.content = False
        self.failure: Failure | None = None
        self.finished = False
        self.refused = False
        self._parser: sse.Parser | None = sse.Parser(LIMIT)
        self._head: list[bytes] | None = []
        self._head_size = 0

    @abstractmethod
    def event(self, event: sse.Event) -> bool:
        """Look at one event. False: it is none of this format."""

    @abstractmethod
    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """Read an error body that came instead of a stream."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; they go on as they came."""
        if self._parser is not None and data:
            if self._head is not None and self._head_size < HEAD:
                piece = data[: HEAD - self._head_size]
                self._head.append(piece)
                self._head_size += len(piece)
            try:
                events = self._parser.feed(data)
            except sse.EventTooLargeError as error:
                self._events(error.events)
                self.fail(Failure(Fault.BAD_ANSWER, 502, str(error)))
            else:
                self._events(events)
        return data

    def end(self) -> bytes:
        """The provider ended its stream. Nothing is added."""
        if self._parser is not None:
            try:
                self._events(self._parser.end(), last=True)
            except sse.EventTooLargeError as error:
                self.fail(Failure(Fault.BAD_ANSWER, 502, str(error)))
        if self._head is not None and self.failure is None:
            self.fail(self._no_stream(b"".join(self._head)))
        return b""

    def fail(self, failure: Failure) -> None:
        """Nothing more is looked at."""
        self.failure = failure
        self._parser = None

    def _events(self, events: list[sse.Event], *, last: bool = False) -> None:
        for event in events:
            self._head = None
            if self._parser is None:
                return
            # What a stream was cut in the middle of is no error of its own: it did not finish.
            if not self.event(event) and not last:
                shown = errors.plain(200, event.data)
                self.fail(Failure(Fault.BAD_ANSWER, 502, f"not an event of a stream: {shown}"))

    def _no_stream(self, head: bytes) -> Failure:
        tree = errors.parsed(head)
        if isinstance(tree, dict) and "error" in tree:
            return self.error(tree, head)
        return Failure(Fault.BAD_ANSWER, 502, "no event in the stream: " + errors.plain(200, head))
