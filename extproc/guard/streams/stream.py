"""An answer's stream on its way to the client, restored and reviewed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from extproc.guard import BlockedError, GuardError, StoppedError
from extproc.guard.placeholders import Mapping
from extproc.guard.streams.chat import ChatReader
from extproc.guard.streams.events import Cutter, LongCutter, Part, Tree, read
from extproc.guard.streams.messages import MessagesReader
from extproc.guard.streams.responses import ResponsesReader
from extproc.guard.streams.texts import Texts
from extproc.guard.streams.window import Review

_SIGNS: Final = re.compile(rb"<|&|\r|\\u|\\\\|\xef\xbc\x9c|\xe2\x80\xb9")
"""What every placeholder begins with, however a model or a server writes it: a bracket (also the
wide and the angular one), an entity, an escape, a backslash. And a CR: lines then end otherwise
than in events that pass unread."""


_RARE: Final = b"<&\\\xef\xe2\r"
"""Their first bytes."""


def _may_begin(data: bytes) -> bool:
    """Whether a placeholder can begin in `data`. To delete the rare bytes and see whether it got
    shorter takes a fifth of the time of a search."""
    if len(data.translate(None, _RARE)) == len(data):
        return False
    return _SIGNS.search(data) is not None


class _Reader(Protocol):
    events: int

    async def read(self, part: Part, tree: Tree) -> bytes: ...

    async def end(self) -> bytes: ...


_READERS: Final[dict[str, Callable[[Texts[Any]], _Reader]]] = {
    "chat": ChatReader,
    "completions": lambda texts: ChatReader(texts, whole=True),
    "responses": ResponsesReader,
    "messages": MessagesReader,
}
_DONE: Final = b"[DONE]"
_NOTHING: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:(?::|event:|id:|retry:)[^\r\n]*|[\r\n])*")
"""Bytes of a stream that say nothing: comments, and fields without data."""
_REPEATED: Final = "responses"
"""The format whose last events say once more what came in pieces."""


class Stream:
    """One stream in a client's format: `feed` its bytes as they come, then `end`.

    However they are cut, the same goes out. What cannot be read passes unchanged: comments, events
    over the cap of `Framing`, data that is no JSON.

    `mapping`: placeholders in the answer become their values again; None: they stay. `review`: what
    the model says is looked through before that; None: it is not. Raises KeyError for a format that
    has no streams.
    """

    __slots__ = ("_cutter", "_idle", "_reader", "_skipped", "_texts")

    def __init__(self, format_: str, mapping: Mapping | None, review: Review | None) -> None:
        repeated = format_ == _REPEATED
        self._texts: Texts[Any] = Texts(mapping or None, review, repeated=repeated)
        self._reader = _READERS[format_](self._texts)
        self._cutter = LongCutter() if repeated else Cutter()
        self._idle = not mapping and review is None
        self._skipped = False  # the last event ends in CR, and did not go out as it came

    @property
    def events(self) -> int:
        """How many events more went out than came in, in a format that numbers them."""
        return self._reader.events

    @property
    def held(self) -> int:
        """Characters of the answer that wait now."""
        return sum(channel.held for channel in self._texts.open)

    async def feed(self, data: bytes) -> bytes:
        """What goes to the client for these bytes, maybe nothing.

        Raises StoppedError with what may go out of `data`: the stream is over.
        """
        if self._idle or self._passes(data):
            return data
        return await self._read(self._cutter.take(data))

    async def end(self) -> bytes:
        """The stream has ended: what still waits. Raises StoppedError."""
        if self._idle:
            return b""
        rest = await self._read(self._cutter.rest())
        try:
            return rest + await self._reader.end()
        except (BlockedError, GuardError) as error:
            raise StoppedError(error, rest) from None

    def _passes(self, data: bytes) -> bool:
        """Whether nothing in these whole events can begin a placeholder, and nothing waits."""
        return (
            self._texts.review is None
            and not self._texts.sniffs
            and not self._texts.open
            and not self._reader.events
            and self._cutter.between
            and data.endswith(b"\n\n")
            and not data.endswith(b"\n\n\n")
            and not _may_begin(data)
        )

    async def _read(self, parts: list[Part]) -> bytes:
        out: list[bytes] = []
        for number, part in enumerate(parts):
            before = self.events
            try:
                out.append(await self._part(part))
            except (BlockedError, GuardError) as error:
                # Those that came and do not go out count in nobody's numbering.
                lost = sum(1 for one in parts[number:] if one.data)
                self._reader.events = before - lost
                raise StoppedError(error, b"".join(out)) from None
        return out[0] if len(out) == 1 else b"".join(out)

    async def _part(self, part: Part) -> bytes:
        if not part.data:
            if self._texts.review is not None and not _NOTHING.fullmatch(part.event):
                self._texts.review.unread()
            skipped, self._skipped = self._skipped, False
            return b"" if skipped and part.event == b"\n" else part.event
        if part.data.strip() == _DONE:
            sent = await self._reader.end() + part.event
        else:
            tree = read(part.data)
            if tree is None and self._texts.review is not None:
                self._texts.review.unread()
            sent = part.event if tree is None else await self._reader.read(part, tree)
        self._skipped = part.event.endswith(b"\r") and not sent.endswith(part.event)
        return sent
