"""The meter of OpenAI's Responses API."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from extproc.accounting.answer import measured, produced
from extproc.accounting.meter import UNREADABLE, Meter
from extproc.accounting.usage import usage_of

_EMPTY: Final = msgspec.Raw(b"{}")
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_SOUND: Final = "response.audio.delta"


class _Event(msgspec.Struct):
    """An event. What can be large is left unread until it is known to matter."""

    type: str = ""
    sequence_number: Any = None
    delta: Any = None
    item: msgspec.Raw = _EMPTY
    response: msgspec.Raw = _EMPTY
    error: Any = None


class _Incomplete(msgspec.Struct):
    reason: Any = None


class _Response(msgspec.Struct):
    model: Any = None
    usage: Any = None
    status: Any = None
    incomplete_details: _Incomplete | None = None


class _Item(msgspec.Struct):
    type: str = ""
    name: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_item = msgspec.json.Decoder(_Item).decode


class ResponsesMeter(Meter):
    """Events of a response; `response.completed`, `.incomplete` or `.failed` ends them.

    `finish_reason` is the reason why a response is incomplete, else its status.
    """

    __slots__ = ("_number",)

    cap: ClassVar[int] = 32 << 20
    """The event that ends a response repeats the whole of it, images in base64 included."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._number = -1

    @property
    def position(self) -> int:
        """See `Meter`."""
        return self._number + 1

    def _payload(self, data: bytes, event: bytes, name: bytes) -> bytes:
        try:
            found = _decode(data)
        except UNREADABLE:
            return event
        if type(found.sequence_number) is int:
            self._number = found.sequence_number
        kind = found.type or name.decode("ascii", "replace")
        if kind.endswith(".delta"):
            if found.delta:
                self._produced(None if kind == _SOUND else found.delta)
        elif kind == "response.output_item.added":
            self._item(found.item)
        elif kind in _TERMINAL:
            return self._last(kind, found.response, event)
        elif kind == "error" or found.error is not None:
            self.failed = True
        elif self.model is None and found.response is not _EMPTY:
            self._read(found.response)
        return event

    def _item(self, item: msgspec.Raw) -> None:
        """A tool call begins; of other items only the beginning has come, as yet empty."""
        try:
            found = _decode_item(item)
        except UNREADABLE:
            return
        if found.type.endswith("_call"):
            self._produced(found.name)

    def _last(self, kind: str, response: msgspec.Raw, event: bytes) -> bytes:
        if self.done:
            return event
        self.content = True
        if kind == "response.failed":
            self.failed = True
        self._read(response, last=True)
        if self.usage is None and not self.events:
            # A server that only tells the whole at its end, and no figures.
            self._ascii, self._wide = measured(produced(bytes(response), "responses"))
        return self._finish(event)

    def _read(self, response: msgspec.Raw, *, last: bool = False) -> None:
        try:
            found = _decode_response(response)
        except UNREADABLE:
            return
        if type(found.model) is str:
            self.model = found.model
        self.usage = usage_of(found.usage, "responses") or self.usage
        if last:
            reason = found.incomplete_details.reason if found.incomplete_details else found.status
            self.finish_reason = reason if type(reason) is str else None
