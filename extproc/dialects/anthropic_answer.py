"""Anthropic's messages, whole and streamed, as chat completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from extproc.dialects import Answer, BadAnswerError, Failure, errors
from extproc.dialects.anthropic_errors import of_error
from extproc.dialects.completion import (
    DONE,
    CalledFunction,
    Choice,
    Chunks,
    Count,
    ReplyMessage,
    ToolCall,
    Usage,
    whole,
)
from extproc.dialects.reader import EventReader
from extproc.dialects.sse import Event
from extproc.dialects.tool_arguments import as_text

FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""`stop_reason` to `finish_reason`; one that is not known yet is `stop`."""


class _Thinking(Struct):
    thinking_tokens: Count | None = None


class _Usage(Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens_details: _Thinking | None = None


class _Block(Struct):
    """A content block, or what a delta adds to one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: Any = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    type: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_details: Any = None
    usage: _Usage | None = None
    error: Any = None


class _Event(Struct):
    type: str
    index: Count = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None
    error: Any = None


def _id(message: _Message) -> str:
    return "chatcmpl-" + message.id.removeprefix("msg_")


def _choice(message: _Message) -> Choice:
    text: list[str] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    for block in message.content:
        if block.type == "text" and block.text:
            text.append(block.text)
        elif block.type == "thinking" and block.thinking:
            thinking.append(block.thinking)
        elif block.type == "tool_use":
            called = CalledFunction(block.name or "", as_text(block.input))
            calls.append(ToolCall(id=block.id or "", function=called))
    finish = FINISH.get(message.stop_reason or "", "stop")
    return Choice(
        index=0,
        message=ReplyMessage(
            content="".join(text) or (None if calls or finish == "content_filter" else ""),
            refusal=_explanation(message.stop_details),
            tool_calls=calls or UNSET,
            reasoning_content="".join(thinking) or UNSET,
        ),
        finish_reason=finish,
    )


def _explanation(details: Any) -> str | None:
    return errors.text(errors.mapping(details).get("explanation"))


def _tally(reported: _Usage, known: Usage) -> Usage:
    """Usage in OpenAI's terms. Deltas of a stream are cumulative and may leave fields out, which
    then stay what they were."""

    def last(new: int | None, old: int) -> int:
        return old if new is None else new

    cached = last(reported.cache_read_input_tokens, known.cached)
    written = last(reported.cache_creation_input_tokens, known.cache_write)
    fresh = last(reported.input_tokens, known.prompt - known.cached - known.cache_write)
    details = reported.output_tokens_details
    return Usage(
        prompt=fresh + cached + written,
        completion=last(reported.output_tokens, known.completion),
        cached=cached,
        cache_write=written,
        reasoning=last(details.thinking_tokens if details else None, known.reasoning),
    )


def translate(body: bytes, created: int) -> Answer:
    """A whole message as a chat completion. Raises BadAnswerError, or what msgspec raises."""
    message = _MESSAGE.decode(body)
    if message.type == "error" or message.error:
        raise BadAnswerError(of_error(200, {"error": message.error}, {}).message)
    if message.type != "message":
        raise BadAnswerError("not a message: " + errors.plain(200, body))
    choice = _choice(message)
    refused = message.stop_reason == "refusal" and not (
        choice.message.content or choice.message.tool_calls
    )
    usage = _tally(message.usage or _Usage(), Usage())
    return Answer(whole(_id(message), created, message.model, [choice], usage), refused)


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`."""

    def __init__(self, created: int) -> None:
        super().__init__()
        self._created = created
        self._chunks: Chunks | None = None
        self._usage = Usage()
        self._calls: dict[int, int] = {}
        """Number of a tool call by the index of its block."""
        self._arguments: dict[int, bool] = {}
        """Whether a tool call's block has had any piece of arguments."""
        self._whole_input: dict[int, Raw] = {}
        self._text = False
        self._billed = False
        self._steps: dict[str, Callable[[_Event], bytes]] = {
            "message_start": self._start,
            "content_block_start": self._block,
            "content_block_delta": self._delta,
            "content_block_stop": self._block_end,
            "message_delta": self._ending,
            "message_stop": self._stop,
            "error": self._error,
        }
        """By event type; others (`ping`, and what is to come) say nothing to the client."""

    def event(self, event: Event) -> bytes:
        """One event of the stream. Raises msgspec.MsgspecError when it is none."""
        if self.finished:
            return b""
        read = _EVENT.decode(event.data)
        step = self._steps.get(read.type)
        return b"" if step is None else step(read)

    def cut(self) -> bytes:
        """The stream ended without its last event: what is known of the usage still goes out."""
        if self._billed and self._chunks is not None:
            return self._chunks.usage(self._usage)
        return b""

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _stop(self, _read: _Event) -> bytes:
        self.finished = True
        return self._writer().usage(self._usage) + DONE

    def _error(self, read: _Event) -> bytes:
        self.fail(of_error(200, {"error": read.error}, {}))
        return b""

    def _start(self, read: _Event) -> bytes:
        message = read.message or _Message()
        if message.usage is not None:
            self._usage = _tally(message.usage, self._usage)
        self._chunks = Chunks(_id(message), self._created, message.model)
        return self._chunks.role()

    def _writer(self) -> Chunks:
        if self._chunks is None:
            raise msgspec.ValidationError("an event before message_start")
        return self._chunks

    def _block(self, read: _Event) -> bytes:
        block = read.content_block or _Block()
        if block.type == "tool_use":
            number = self._calls[read.index] = len(self._calls)
            self._arguments[read.index] = False
            self._whole_input[read.index] = block.input
            self.content = self._text = True
            called = CalledFunction(block.name or "", "")
            return self._writer().call(number, ToolCall(id=block.id or "", function=called))
        if block.type == "text" and block.text:
            self.content = self._text = True
            return self._writer().text(block.text)
        if block.type == "thinking" and block.thinking:
            self.content = True
            return self._writer().reasoning(block.thinking)
        return b""

    def _delta(self, read: _Event) -> bytes:
        delta = read.delta or _Block()
        if delta.text and delta.type == "text_delta":
            self.content = self._text = True
            return self._writer().text(delta.text)
        if delta.partial_json and read.index in self._calls:
            self._arguments[read.index] = True
            return self._writer().arguments(self._calls[read.index], delta.partial_json)
        if delta.thinking and delta.type == "thinking_delta":
            self.content = True
            return self._writer().reasoning(delta.thinking)
        return b""

    def _block_end(self, read: _Event) -> bytes:
        """A call whose arguments did not come in pieces: they stood in the block, or are none."""
        index = read.index
        if self._arguments.pop(index, True):
            return b""
        text = as_text(self._whole_input.pop(index))
        return self._writer().arguments(self._calls[index], text)

    def _ending(self, read: _Event) -> bytes:
        if read.usage is not None:
            self._usage = _tally(read.usage, self._usage)
            self._billed = True
        delta = read.delta or _Block()
        if delta.stop_reason is None:
            return b""
        self.content = True
        self.refused = delta.stop_reason == "refusal" and not self._text
        explanation = _explanation(delta.stop_details)
        said = self._writer().refusal(explanation) if explanation else b""
        return said + self._writer().finish(FINISH.get(delta.stop_reason, "stop"))


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_EVENT: Final = msgspec.json.Decoder(_Event)
