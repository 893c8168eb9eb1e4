"""A streamed answer as events of the Responses API.

Texts stay JSON string literals on their way; what has come of one is kept as the inside of its
literals, to be repeated where the text is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from extproc.dialects.chat.completion import ReasoningDetail, ToolCall, Usage
from extproc.dialects.clients.responses import output, sealed
from extproc.dialects.clients.responses.frame import Frame, stem
from extproc.dialects.clients.responses.request import Parts, ResponsesRequest
from extproc.dialects.clients.responses.whole import REASONS, custom_tools
from extproc.errors import ClientError

_encode: Final = msgspec.json.encode
_LITERAL: Final = msgspec.json.Decoder(str)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_COMPLETED: Final = b'"completed"'
_INCOMPLETE: Final = b'"incomplete"'
_IN_PROGRESS: Final = b'"in_progress"'


class _Text:
    """A text that is coming. `place` is where it is, as JSON fields with a comma behind."""

    __slots__ = ("annotations", "delta", "kind", "pieces", "place", "tokens")

    def __init__(self, kind: str, place: bytes) -> None:
        self.kind = kind
        self.place = place
        self.delta = b'event: %b.delta\ndata: {"type":"%b.delta",%b"delta":' % (
            kind.encode(),
            kind.encode(),
            place,
        )
        self.pieces: list[bytes] = []
        self.annotations: list[bytes] = []
        self.tokens: list[bytes] = []

    def literal(self) -> bytes:
        return b'"' + b"".join(self.pieces) + b'"'


class _Item:
    """An item that is coming. `id` is a JSON string."""

    __slots__ = ("id", "index", "parts", "place", "text")

    def __init__(self, kind: str, of: str, index: int) -> None:
        self.id = b'"%b_%b%d"' % (kind.encode(), of.encode(), index)
        self.index = index
        self.place = b'"item_id":%b,"output_index":%d,' % (self.id, index)
        self.text: _Text | None = None
        self.parts: list[bytes] = []


class _Message(_Item):
    __slots__ = ()


class _Reasoning(_Item):
    __slots__ = ("block", "details", "extra")

    def __init__(self, of: str, index: int) -> None:
        super().__init__("rs", of, index)
        self.block = 0
        """Pieces of the text that belong to blocks that have ended."""
        self.details: list[Raw] = []
        self.extra: dict[str, dict[str, Any]] = {}


class _Call(_Item):
    __slots__ = ("call", "custom")

    def __init__(self, call: ToolCall, of: str, index: int, *, custom: bool) -> None:
        super().__init__("ctc" if custom else "fc", of, index)
        self.call = call
        self.custom = custom


_AnyItem = TypeVar("_AnyItem", bound=_Item)


class Events:
    """See `extproc.dialects.chat.completion.Writer`. Writes the first answer: the API gives no
    more. `clock` gives seconds since the epoch."""

    def __init__(self, said: ResponsesRequest, parts: Parts, clock: Callable[[], float]) -> None:
        self._said = said
        self._parts = parts
        self._clock = clock
        self._custom = custom_tools(parts)
        self._frame: Frame | None = None
        self._of = ""
        self._number = 0
        self._count = 0
        """Items begun."""
        self._done: dict[int, bytes] = {}
        """Items that are done, by their place."""
        self._open: _Message | _Reasoning | None = None
        self._waiting: list[Raw] = []
        """Details that came when no thought was open."""
        self._calls: dict[int, _Call] = {}
        """Calls that may still get arguments, by number. They are done when those are whole, or
        with the answer: providers may write several at a time."""
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._tier: str | None = None

    # --- what a provider's reader calls ----------------------------------------------------

    def start(self, id_: str, created: int, model: str) -> bytes:
        """See `Writer`."""
        self._of = stem(id_)
        self._frame = Frame(self._said, self._parts, f"resp_{self._of}", created, model)
        shape = b'"response":' + self._frame.object("in_progress")
        return self._event(b"response.created", shape) + self._event(b"response.in_progress", shape)

    def choice(self, index: int = 0) -> bytes:  # noqa: ARG002 - the door's shape
        """Items begin with what is in them."""
        return b""

    def text(self, text: bytes, index: int = 0, logprobs: bytes | None = None) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        item = self._open
        into = item.text if type(item) is _Message else None
        if into is not None and into.kind is _OUTPUT and logprobs is None:
            # Nearly every event of a stream.
            into.pieces.append(text[1:-1])
            number = self._number
            self._number = number + 1
            return into.delta + text + b',"logprobs":[],"sequence_number":%d}\n\n' % number
        begun, item = self._message(_OUTPUT)
        into = item.text
        assert into is not None  # noqa: S101 - `_message` has set it
        into.pieces.append(text[1:-1])
        tokens = b""
        if logprobs is not None and (tokens := output.logprobs(logprobs)):
            into.tokens.append(tokens)
        self._number += 1
        return b'%b%b%b,"logprobs":[%b],"sequence_number":%d}\n\n' % (
            begun,
            into.delta,
            text,
            tokens,
            self._number - 1,
        )

    def reasoning(self, text: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        begun, item = self._reasoning()
        if item.text is None:
            place = item.place + b'"summary_index":0,'
            item.text = _Text(_SUMMARY, place)
            begun += self._event(
                b"response.reasoning_summary_part.added",
                place + b'"part":' + output.summary_part(b'""'),
            )
        return begun + self._delta(item.text, text)

    def detail(self, detail: ReasoningDetail, index: int = 0) -> bytes:
        """Kept for `encrypted_content`, which stands in the item when it is done. What belongs to
        text or calls does not cut them in two: it waits for the next thought, or the end."""
        if index:
            return b""
        made = _encode(detail)
        if self._count and type(self._open) is not _Reasoning:
            self._waiting.append(Raw(made))
            return b""
        begun, item = self._reasoning()
        pieces = [] if item.text is None else item.text.pieces
        if detail.type == "reasoning.text" and detail.text is None:
            made = b'{"text":"%b",%b' % (b"".join(pieces[item.block :]), made[1:])
        item.block = len(pieces)
        item.details.append(Raw(made))
        return begun

    def refusal(self, text: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        begun, item = self._message(_REFUSAL)
        assert item.text is not None  # noqa: S101 - `_message` has set it
        return begun + self._delta(item.text, text)

    def annotations(self, found: list[dict[str, Any]], index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        begun, item = self._message(_OUTPUT)
        into = item.text
        assert into is not None  # noqa: S101 - `_message` has set it
        written = [begun]
        for one in found:
            made = _encode(output.annotation(one))
            fields = b'%b"annotation_index":%d,"annotation":%b' % (
                into.place,
                len(into.annotations),
                made,
            )
            written.append(self._event(b"response.output_text.annotation.added", fields))
            into.annotations.append(made)
        return b"".join(written)

    def image(self, url: str, index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        closed = self._close()
        item = self._new(_Item("ig", self._of, self._count))
        begun = b'{"id":%b,"type":"image_generation_call","status":"in_progress","result":null}'
        made = output.image(item.id, url)
        place = item.place[:-1]
        return b"".join(
            (
                closed,
                self._added(item, begun % item.id),
                self._event(b"response.image_generation_call.in_progress", place),
                self._event(b"response.image_generation_call.completed", place),
                self._ended(item, made),
            )
        )

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        written = self._close() + self._close_whole_calls()
        if isinstance(call.extra_content, dict):
            begun, thought = self._reasoning()
            thought.extra[call.id] = call.extra_content
            written += begun + self._close()
        custom = call.type == "custom" or call.function.name in self._custom
        item = self._new(_Call(call, self._of, self._count, custom=custom))
        item.text = _Text(_INPUT if custom else _ARGUMENTS, item.place)
        self._calls[number] = item
        written += self._added(item, output.call(item.id, call, _IN_PROGRESS, b'""', custom=custom))
        if call.function.arguments:
            written += self._delta(item.text, _encode(call.function.arguments))
        return written

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        item = None if index else self._calls.get(number)
        if item is None or item.text is None:
            return b""
        return self._delta(item.text, piece)

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:  # noqa: ARG002 - no place for it
        """See `Writer`."""
        if index:
            return b""
        self._reason = REASONS.get(reason)
        return self._close_all(_COMPLETED if self._reason is None else _INCOMPLETE)

    def usage(self, usage: Usage, service_tier: str | None = None) -> bytes:
        """Kept for the last event."""
        self._usage = usage
        self._tier = service_tier
        return b""

    def done(self) -> bytes:
        """See `Writer`."""
        status = "completed" if self._reason is None else "incomplete"
        return self._close_all(_COMPLETED) + self._last(
            status, completed=None if self._reason else int(self._clock())
        )

    def error(self, error: ClientError) -> bytes:
        """The error, and, if there was a response, that it failed."""
        written = error_event(error, self._number)
        self._number += 1
        if self._frame is None:
            return written
        # What was being said stays unfinished.
        for item in (self._open, *self._calls.values()):
            if item is not None:
                self._done[item.index] = self._made(item, _INCOMPLETE)
        return written + self._last("failed", error=error)

    # --- items ----------------------------------------------------------------------------

    def _message(self, kind: str) -> tuple[bytes, _Message]:
        """The open message, with a part of that kind open."""
        item = self._open
        if type(item) is _Message:
            if item.text is not None and item.text.kind == kind:
                return b"", item
            written = self._close_part(item)
        else:
            written = self._close() + self._close_whole_calls()
            item = self._open = self._new(_Message("msg", self._of, self._count))
            written += self._added(item, output.message(item.id, _IN_PROGRESS))
        place = item.place + b'"content_index":%d,' % len(item.parts)
        item.text = _Text(kind, place)
        empty = _part(item.text, b'""')
        written += self._event(b"response.content_part.added", place + b'"part":' + empty)
        return written, item

    def _reasoning(self) -> tuple[bytes, _Reasoning]:
        item = self._open
        if type(item) is _Reasoning:
            return b"", item
        written = self._close() + self._close_whole_calls()
        item = self._open = self._new(_Reasoning(self._of, self._count))
        item.details, self._waiting = self._waiting, []
        return written + self._added(item, output.reasoning(item.id)), item

    def _close(self, status: bytes = _COMPLETED) -> bytes:
        """End the open message or thought."""
        item, self._open = self._open, None
        if item is None:
            return b""
        closed = self._close_part(item)
        return closed + self._ended(item, self._made(item, status))

    def _close_part(self, item: _Item) -> bytes:
        """End the text that is coming: its own event, and that of the part it is in."""
        text = item.text
        if text is None:
            return b""
        literal = text.literal()
        kind = text.kind.encode()
        fields = text.place + b'"%b":%b' % (_FIELD[text.kind], literal)
        if text.kind == _OUTPUT:
            fields += b',"logprobs":[%b]' % b",".join(text.tokens)
        written = self._event(kind + b".done", fields)
        part = _part(text, literal)
        if part:
            item.parts.append(part)
            around = (
                b"response.reasoning_summary_part.done"
                if text.kind == _SUMMARY
                else b"response.content_part.done"
            )
            written += self._event(around, text.place + b'"part":' + part)
            item.text = None
        return written

    def _close_whole_calls(self) -> bytes:
        """End the calls whose arguments are a whole JSON object: nothing can follow."""
        ready = [number for number, item in self._calls.items() if _is_whole(item)]
        return b"".join(self._close_call(number, _COMPLETED) for number in ready)

    def _close_call(self, number: int, status: bytes) -> bytes:
        item = self._calls.pop(number)
        closed = self._close_part(item)
        return closed + self._ended(item, self._made(item, status))

    def _close_all(self, status: bytes) -> bytes:
        """End what is open; what was cut short is the last."""
        calls = list(self._calls)
        written = self._close(_COMPLETED if calls else status)
        for number in calls:
            written += self._close_call(number, status if number == calls[-1] else _COMPLETED)
        if self._waiting:
            written += self._reasoning()[0] + self._close()
        return written

    def _made(self, item: _Item, status: bytes) -> bytes:
        """The item as it stands."""
        if isinstance(item, _Call):
            text = item.text
            assert text is not None  # noqa: S101 - `call` has set it
            return output.call(item.id, item.call, status, text.literal(), custom=item.custom)
        parts = item.parts
        if item.text is not None:
            parts = [*parts, _part(item.text, item.text.literal())]
        content = b",".join(parts)
        if isinstance(item, _Reasoning):
            kept = _encode(sealed.seal(item.details, item.extra))
            return output.reasoning(item.id, content, kept)
        return output.message(item.id, status, content)

    # --- events ---------------------------------------------------------------------------

    def _event(self, kind: bytes, fields: bytes) -> bytes:
        self._number += 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (
            kind,
            kind,
            self._number - 1,
            fields,
        )

    def _delta(self, into: _Text, text: bytes) -> bytes:
        into.pieces.append(text[1:-1])
        self._number += 1
        return b'%b%b,"sequence_number":%d}\n\n' % (into.delta, text, self._number - 1)

    def _new(self, item: _AnyItem) -> _AnyItem:
        self._count += 1
        return item

    def _added(self, item: _Item, shape: bytes) -> bytes:
        fields = b'"output_index":%d,"item":%b' % (item.index, shape)
        return self._event(b"response.output_item.added", fields)

    def _ended(self, item: _Item, shape: bytes) -> bytes:
        self._done[item.index] = shape
        fields = b'"output_index":%d,"item":%b' % (item.index, shape)
        return self._event(b"response.output_item.done", fields)

    def _last(
        self, status: str, *, completed: int | None = None, error: ClientError | None = None
    ) -> bytes:
        if self._frame is None:
            return b""
        shape = self._frame.object(
            status,
            b",".join(self._done[index] for index in sorted(self._done)),
            usage=self._usage,
            reason=None if error is not None else self._reason,
            error=error,
            completed=completed,
            tier=self._tier,
        )
        return self._event(b"response." + status.encode(), b'"response":' + shape)


def error_event(error: ClientError, number: int) -> bytes:
    """OpenAI's `error` event. `number` counts the events that went before."""
    shape = {
        "type": "error",
        "code": error.code or error.type,
        "message": error.message,
        "param": error.param,
        "sequence_number": number,
    }
    return b"event: error\ndata: %b\n\n" % _encode(shape)


_OUTPUT: Final = "response.output_text"
_REFUSAL: Final = "response.refusal"
_SUMMARY: Final = "response.reasoning_summary_text"
_ARGUMENTS: Final = "response.function_call_arguments"
_INPUT: Final = "response.custom_tool_call_input"
_FIELD: Final = {
    _OUTPUT: b"text",
    _REFUSAL: b"refusal",
    _SUMMARY: b"text",
    _ARGUMENTS: b"arguments",
    _INPUT: b"input",
}
"""Where the whole text stands in its `.done` event."""


def _part(text: _Text, literal: bytes) -> bytes:
    """The part of an item that the text is; nothing of a call."""
    if text.kind == _OUTPUT:
        return output.text_part(literal, b",".join(text.annotations), b",".join(text.tokens))
    if text.kind == _REFUSAL:
        return output.refusal_part(literal)
    return output.summary_part(literal) if text.kind == _SUMMARY else b""


def _is_whole(item: _Call) -> bool:
    if item.custom or item.text is None or not item.text.pieces:
        return False
    try:
        _OBJECT.decode(_LITERAL.decode(item.text.literal()))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
