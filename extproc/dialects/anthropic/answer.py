"""Anthropic's messages, read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from extproc.dialects import BadAnswerError, Counted, Reply, errors
from extproc.dialects.anthropic.citations import annotation, read
from extproc.dialects.anthropic.problems import of_error
from extproc.dialects.anthropic.turns import FORMAT, SERVER_BLOCKS
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    Count,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
    Usage,
)
from extproc.dialects.tool_arguments import as_text

_B = TypeVar("_B")

FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""`stop_reason` to `finish_reason`; one that is not known is `stop`."""

_KNOWN: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"}) | SERVER_BLOCKS
"""Types of blocks that mean something to a client."""

_TIERS: Final = {"standard": "default", "priority": "priority", "batch": "flex"}
"""`usage.service_tier` in OpenAI's words."""


class _Thinking(Struct):
    thinking_tokens: Count | None = None


class _Created(Struct):
    ephemeral_1h_input_tokens: Count | None = None


class MessageUsage(Struct):
    """`usage`; in a stream any field may be absent, which is as it was."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: _Created | None = None
    output_tokens_details: _Thinking | None = None
    service_tier: str | None = None


class _Block(Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")
    citations: Any = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    type: str = ""
    content: list[Raw] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    usage: MessageUsage | None = None
    error: Any = None


class _Typed(Struct):
    type: str = ""


def block_of(raw: Raw, decoder: msgspec.json.Decoder[_B]) -> _B:
    """A block; one of a type that is not known is empty, whatever is in it. Raises what msgspec
    raises."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        if _TYPED.decode(raw).type in _KNOWN:
            raise
        return decoder.decode(b"{}")


_TYPED: Final = msgspec.json.Decoder(_Typed)


def chat_id(message_id: str) -> str:
    """A message's id as a completion's."""
    return "chatcmpl-" + message_id.removeprefix("msg_")


def explanation(details: Any) -> str | None:
    """Why the provider refused, if it says."""
    return errors.text(errors.mapping(details).get("explanation"))


def service_tier(usage: MessageUsage | None) -> str | None:
    """Which of OpenAI's service tiers it was."""
    return _TIERS.get(usage.service_tier or "") if usage is not None else None


def tally(reported: MessageUsage, known: Usage) -> Usage:
    """Usage in OpenAI's terms. Deltas of a stream are cumulative and may leave fields out, which
    then stay what they were."""

    def last(new: int | None, old: int) -> int:
        return old if new is None else new

    cached = last(reported.cache_read_input_tokens, known.cached)
    written = last(reported.cache_creation_input_tokens, known.cache_write)
    fresh = last(reported.input_tokens, known.prompt - known.cached - known.cache_write)
    created = reported.cache_creation
    details = reported.output_tokens_details
    return Usage(
        prompt=fresh + cached + written,
        completion=last(reported.output_tokens, known.completion),
        cached=cached,
        cache_write=written,
        cache_write_1h=last(
            created.ephemeral_1h_input_tokens if created else None, known.cache_write_1h
        ),
        reasoning=last(details.thinking_tokens if details else None, known.reasoning),
    )


@dataclass(slots=True)
class _Said:
    """What the blocks of a message come to."""

    json_tool: str | None
    text: list[str] = field(default_factory=list)
    length: int = 0
    json: str | None = None
    thinking: list[str] = field(default_factory=list)
    details: list[ReasoningDetail] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, index: int, raw: Raw) -> None:
        """One block more; those that are not known say nothing to the client."""
        block = block_of(raw, _BLOCK)
        if block.type == "text" and block.text:
            self._add_text(block.text, block.citations)
        elif block.type == "thinking":
            if block.thinking:
                self.thinking.append(block.thinking)
            if block.thinking or block.signature:
                self.details.append(
                    ReasoningDetail(
                        type="reasoning.text",
                        text=block.thinking or "",
                        signature=block.signature,
                        format=FORMAT,
                        index=index,
                    )
                )
        elif block.type == "redacted_thinking":
            self.details.append(sealed(block.data or "", index))
        elif block.type == "tool_use":
            self._add_call(block)
        elif block.type in SERVER_BLOCKS:
            self.details.append(sealed(bytes(raw).decode(), index, block.id))

    def _add_text(self, text: str, citations: Any) -> None:
        start, self.length = self.length, self.length + len(text)
        self.text.append(text)
        for citation in read(citations):
            self.annotations.append(annotation(citation, start, self.length))

    def _add_call(self, block: _Block) -> None:
        if block.name is not None and block.name == self.json_tool:
            if self.json is None:
                self.json = as_text(block.input)
            return
        called = CalledFunction(block.name or "", as_text(block.input))
        self.calls.append(ToolCall(id=block.id or "", function=called))


def sealed(data: str, index: int, id_: str | None = None) -> ReasoningDetail:
    """What only the provider reads: redacted thinking, or, told by its first character, a block
    of one of its own tools as JSON. Its next turn may need either."""
    return ReasoningDetail(
        type="reasoning.encrypted", data=data, format=FORMAT, index=index, id=id_
    )


def finish_of(reason: str | None, *, calls: bool, answered: bool) -> str:
    """`finish_reason`. `answered`: a tool was called that stands for the answer."""
    found = FINISH.get(reason or "", "stop")
    return "stop" if found == "tool_calls" and answered and not calls else found


def _choice(message: _Message, json_tool: str | None) -> Choice:
    said = _Said(json_tool)
    for index, raw in enumerate(message.content):
        said.add(index, raw)
    finish = finish_of(message.stop_reason, calls=bool(said.calls), answered=said.json is not None)
    text = said.json if said.json is not None else "".join(said.text)
    empty = None if said.calls or finish == "content_filter" else ""
    return Choice(
        index=0,
        message=ReplyMessage(
            content=text or empty,
            refusal=explanation(message.stop_details),
            tool_calls=said.calls or UNSET,
            reasoning_content="".join(said.thinking) or UNSET,
            reasoning_details=said.details or UNSET,
            annotations=(said.annotations or UNSET) if said.json is None else UNSET,
        ),
        finish_reason=finish,
        stop_sequence=UNSET if message.stop_sequence is None else message.stop_sequence,
    )


def whole(body: bytes, created: int, reply: Reply) -> Completion:
    """A whole message. Raises BadAnswerError, or what msgspec raises."""
    message = _MESSAGE.decode(body)
    if message.type == "error" or message.error:
        raise BadAnswerError(of_error(200, {"error": message.error}, {}).message)
    if message.type != "message":
        raise BadAnswerError("not a message: " + errors.plain(200, body))
    choice = _choice(message, reply.json_tool)
    refused = message.stop_reason == "refusal" and not (
        choice.message.content or choice.message.tool_calls
    )
    return Completion(
        id=chat_id(message.id),
        created=created,
        model=message.model,
        choices=[choice],
        usage=tally(message.usage or MessageUsage(), Usage()),
        refused=refused,
        service_tier=service_tier(message.usage),
    )


class _Count(Struct):
    input_tokens: Count


def counted(body: bytes) -> Counted:
    """A prompt's length. Raises what msgspec raises."""
    return Counted(_COUNT.decode(body).input_tokens)


_COUNT: Final = msgspec.json.Decoder(_Count)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BLOCK: Final = msgspec.json.Decoder(_Block)
