"""Reads usage off a chat completion stream on its way to the client.

Server-sent events in OpenAI's format come in as bytes cut anywhere; what the client should get
goes out. Any cutting gives the same bytes and the same figures. What cannot be read passes
unchanged: the meter judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from extproc.accounting.cost import cost, usd
from extproc.accounting.usage import estimated, usage_of
from extproc.catalogue import Price
from extproc.records import Cost, Usage

CAP: Final = 1 << 20
"""Bytes of one event that are held while its end has not come. A longer event passes unread:
chunks of a chat are hundreds of bytes, a whole image in one would be a few hundred thousand."""

_BOUNDARY: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""A line end and an empty line, each ended by CR LF, LF or CR (WHATWG HTML, 9.2.6)."""
_EVENT_ERROR: Final = re.compile(rb"(?:^|[\r\n])event: ?error(?:[\r\n]|$)")
_BOM: Final = b"\xef\xbb\xbf"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


class _Loose(msgspec.Struct):
    """A chunk whose choices are in some other shape."""

    choices: Any = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class StreamMeter:
    """The meter of one stream.

    `hide_usage`: the client did not ask for the chunk that holds nothing but usage, so it is
    swallowed. Otherwise that chunk's usage gets a member `cost`, in US dollars. If the cost has
    not been told that way, a comment in front of `[DONE]` tells it; `epilogue` writes something
    else there instead. `input_estimate` is the prompt's tokens, for streams that give no usage.
    """

    __slots__ = (
        "_ascii",
        "_carry",
        "_epilogue",
        "_hide",
        "_lf",
        "_plain",
        "_price",
        "_raw",
        "_scanned",
        "_wide",
        "content",
        "done",
        "events",
        "failed",
        "finish_reason",
        "input_estimate",
        "model",
        "told",
        "usage",
    )

    def __init__(
        self,
        *,
        hide_usage: bool,
        price: Price | None,
        input_estimate: int = 0,
        epilogue: Callable[[StreamMeter], bytes] | None = None,
    ) -> None:
        self.usage: Usage | None = None
        """What the provider reported last."""
        self.model: str | None = None
        """What the provider says it used."""
        self.finish_reason: str | None = None
        self.content = False
        """Text, a tool call, reasoning, a refusal or a finish reason went by."""
        self.events = 0
        """Events with text, a tool call, reasoning or a refusal in them."""
        self.done = False
        """`[DONE]` went by: the stream is whole."""
        self.failed = False
        """An error event went by."""
        self.told = False
        """The cost stands in the usage chunk that the client asked for."""
        self.input_estimate = input_estimate
        self._ascii = 0
        self._wide = 0
        self._hide = hide_usage
        self._price = price
        self._epilogue = epilogue
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
        if data.find(b"\n") == end and data.startswith(b"data: ") and end <= CAP:
            return self._payload(data[6:end], data)  # one event, as providers send them
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
        if raw or len(event) > CAP:
            return (b"" if raw else event) + b"\n\n"
        data = _data(event)
        return self._event(event.rstrip(b"\r\n") + b"\n\n") if _whole(data) else b""

    def billed(self) -> Usage:
        """The provider's figures, else an estimate of what was produced so far."""
        return self.usage or estimated(self.input_estimate, self._ascii, self._wide)

    def cost(self) -> Cost | None:
        """What `billed` costs; None when the price is unknown."""
        return cost(self.billed(), self._price)

    def comment(self) -> bytes:
        """An SSE comment that tells cost and tokens; clients skip comments."""
        usage, spent = self.billed(), self.cost()
        price = "" if spent is None else f" cost={usd(spent.total)}"
        guess = " estimated" if usage.estimated else ""
        text = f": tollgate{price} input={usage.input} output={usage.output}{guess}\n\n"
        return text.encode()

    def _several(self, data: bytes) -> bytes:
        """`feed` for what may be several whole events with plain ends of line."""
        *events, rest = data.split(b"\n\n")
        if rest:
            return self._general(data)
        out: list[bytes] = []
        changed = False
        for event in events:
            whole = event + b"\n\n"
            if len(event) > CAP:
                sent = whole
            elif event.startswith(b"data: ") and b"\n" not in event:
                sent = self._payload(event[6:], whole)
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
                out.append(b"\n" if self._lf else b"")
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
            long = found.start() - start > CAP
            sent = event if long else self._event(event)
            out.append(sent)
            if scan == len(buffer) and event.endswith(b"\r"):
                self._lf = sent.endswith(event)
            start = scan
        del buffer[:start]
        self._scanned = len(buffer)
        if not self._raw and len(buffer) > CAP + 4:  # 4: it may end in most of a boundary
            self._raw = True
            out.append(bytes(buffer))
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
            out.append(bytes(buffer[2:]))
            return len(buffer) - 2
        self._raw = False
        end = found.end()
        out.append(bytes(buffer[2:end]))
        if end == len(buffer) and buffer.endswith(b"\r"):
            self._lf = True
        return end

    def _event(self, event: bytes) -> bytes:
        """One event of any shape, its ends of line included."""
        if b"event:" in event and _EVENT_ERROR.search(event):
            self.failed = True
        data = _data(event)
        return self._payload(data, event) if data else event

    def _payload(self, data: bytes, event: bytes) -> bytes:
        """The data of one event; returns what goes out in the event's place."""
        if data == b"[DONE]":
            return self._finish(event)
        try:
            chunk: _Chunk | _Loose = _decode(data)
        except msgspec.ValidationError:
            try:
                chunk = _decode_loose(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return event
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event
        if self.model is None and type(chunk.model) is str:
            self.model = chunk.model
        if chunk.error is not None:
            self.failed = True
        if chunk.choices:
            if type(chunk) is _Chunk:
                self._choices(chunk.choices)
            else:
                self.content = True
                self.events += 1
        if chunk.usage is None:
            return event
        return self._used(data, event, chunk)

    def _choices(self, choices: list[_Choice]) -> None:
        seen = False
        for choice in choices:
            if choice.finish_reason is not None:
                self.finish_reason = choice.finish_reason
                self.content = True
            delta = choice.delta
            if delta is None:
                continue
            for text in (delta.content, delta.reasoning_content, delta.refusal):
                if text:
                    seen = True
                    self._measure(text)
            if delta.tool_calls:
                seen = True
                for call in delta.tool_calls:
                    if call.function is not None:
                        self._measure(call.function.name or "")
                        self._measure(call.function.arguments or "")
        if seen:
            self.content = True
            self.events += 1

    def _measure(self, text: str) -> None:
        if text.isascii():
            self._ascii += len(text)
        else:
            narrow = len(text.encode("ascii", "ignore"))
            self._ascii += narrow
            self._wide += len(text) - narrow

    def _used(self, data: bytes, event: bytes, chunk: _Chunk | _Loose) -> bytes:
        """A chunk that holds usage, alone or beside choices."""
        usage = usage_of(chunk.usage)
        if usage is not None:
            self.usage = usage
        if chunk.choices or type(chunk.usage) is not dict:
            return event
        if self._hide:
            return b""
        spent = cost(usage, self._price)
        if spent is None:
            return event
        self.told = True
        members = _decode_raw(data)
        inner = _decode_raw(members["usage"])
        inner["cost"] = msgspec.Raw(usd(spent.total).encode())
        members["usage"] = msgspec.Raw(msgspec.json.encode(inner))
        return b"data: " + msgspec.json.encode(members) + b"\n\n"

    def _finish(self, event: bytes) -> bytes:
        if self.done:
            return event
        self.done = True
        if self._epilogue is not None:
            return self._epilogue(self) + event
        return event if self.told else self.comment() + event


def _data(event: bytes) -> bytes:
    """The data of one event, its lines put together."""
    found: list[bytes] = []
    for line in event.removeprefix(_BOM).splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            found.append(value.removeprefix(b" "))
    return b"\n".join(found).strip()


def _whole(data: bytes) -> bool:
    """Nothing is missing from an event's data: it can be read."""
    if data == b"[DONE]":
        return True
    try:
        _decode_loose(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
