"""The meter of OpenAI's chunks, of chat completions and of completions."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.accounting.answer import message_texts
from extproc.accounting.cost import cost, usd
from extproc.accounting.meter import UNREADABLE, Meter
from extproc.accounting.usage import usage_of


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None
    custom: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: Any = None
    images: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None
    x_groq: Any = None


class _Loose(msgspec.Struct):
    """A chunk whose choices are in some other shape."""

    choices: Any = None
    usage: Any = None
    model: Any = None
    error: Any = None
    x_groq: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ChatMeter(Meter):
    """Chunks of chat completions, and of completions, whose text stands in the choices
    themselves; `[DONE]` ends them."""

    __slots__ = ()

    def _payload(self, data: bytes, event: bytes, name: bytes) -> bytes:  # noqa: ARG002 - chunks have no names
        if data == b"[DONE]":
            return self._finish(event)
        chunk: _Chunk | _Loose | None
        try:
            chunk = _decode(data)
        except UNREADABLE:
            chunk = _loosely(data)
        if chunk is None:
            return self._finish(event) if data.strip() == b"[DONE]" else event
        if self.model is None and type(chunk.model) is str:
            self.model = chunk.model
        if chunk.error is not None:
            self.failed = True
        if chunk.choices:
            if type(chunk) is _Chunk:
                self._choices(chunk.choices)
            else:
                self._loose(chunk.choices)
        if chunk.usage is None:
            if type(chunk.x_groq) is dict:
                self.usage = usage_of(chunk.x_groq.get("usage")) or self.usage
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
                if choice.text:
                    seen = True
                    self._measure(choice.text)
            elif delta.content:
                seen = True
                self._measure(delta.content)
                self._others(delta)
            elif self._others(delta):
                seen = True
        if seen:
            self.content = True
            self.events += 1

    def _others(self, delta: _Delta) -> bool:
        """Count what is not content; was there any?"""
        seen = False
        if text := delta.reasoning_content or delta.reasoning:  # some servers say it twice
            seen = True
            self._measure(text)
        if delta.refusal:
            seen = True
            self._measure(delta.refusal)
        if delta.tool_calls:
            seen = True
            for one in delta.tool_calls:
                self._call(one.function or one.custom)
        if delta.function_call is not None:
            seen = True
            self._call(delta.function_call)
        if delta.audio or delta.images:
            seen = True
            if type(delta.audio) is dict and type(delta.audio.get("transcript")) is str:
                self._measure(delta.audio["transcript"])
        return seen

    def _call(self, call: _Function | None) -> None:
        if call is not None:
            self._measure(call.name or "")
            self._measure(call.arguments or call.input or "")

    def _loose(self, choices: Any) -> None:
        self._produced()
        for choice in choices if type(choices) is list else ():
            if type(choice) is dict:
                if type(choice.get("finish_reason")) is str:
                    self.finish_reason = choice["finish_reason"]
                for text in message_texts(choice.get("delta")):
                    self._measure(text)

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


def _loosely(data: bytes) -> _Loose | None:
    try:
        return _decode_loose(data)
    except UNREADABLE:
        return None
