"""Bedrock's answers, typed, whole and streamed.

Amazon's API reference: `Converse`, `ConverseStream`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects import errors
from extproc.dialects.chat.completion import Count, ReasoningDetail, Usage
from extproc.dialects.text import NONE

FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
"""`stopReason` in chat completions' words; one that is not known is `stop`."""
SERVERS_OWN: Final = "server_tool_use"
"""`type` of a call that Bedrock made and answered itself."""
BROKEN: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Of a model that failed."""


class CacheDetail(Struct, rename="camel"):
    """Of what was written to the cache: how long it is kept."""

    ttl: str = ""
    input_tokens: Count | None = None


class Reported(Struct, rename="camel"):
    """`inputTokens` counts neither what was read from the cache nor what was written to it."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_details: list[CacheDetail] | None = None


class ReasoningText(Struct):
    """Thinking and its seal."""

    text: str | None = None
    signature: str | None = None


class Reasoning(Struct, rename="camel"):
    """Thinking, or what nobody may read of it (base64)."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class Use(Struct, rename="camel"):
    """A call of a tool."""

    tool_use_id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")
    type: str | None = None


class Said(Struct):
    """A piece of cited text."""

    text: str | None = None


class Citation(Struct):
    """Where text is from."""

    title: str | None = None
    source: str | None = None
    location: dict[str, Any] | None = None


class Cited(Struct):
    """Text and where it is from."""

    content: list[Said] | None = None
    citations: list[Citation] | None = None


class Source(Struct):
    """Base64."""

    bytes: str | None = None


class Image(Struct):
    """A picture that the model made."""

    format: str = "png"
    source: Source | None = None


class Block(Struct, rename="camel"):
    """A content block: one of these."""

    text: str | None = None
    image: Image | None = None
    tool_use: Use | None = None
    reasoning_content: Reasoning | None = None
    citations_content: Cited | None = None


class Received(Struct):
    """A message."""

    content: list[Block] | None = None


class Output(Struct):
    """What the model made."""

    message: Received | None = None


class Tier(Struct):
    """A service tier."""

    type: str | None = None


class Own(Struct):
    """What was asked for of the model's own answer."""

    stop_sequence: str | None = None


class Answer(Struct, rename="camel"):
    """A whole answer; `message` is an error's."""

    output: Output | None = None
    stop_reason: str | None = None
    usage: Reported | None = None
    service_tier: Tier | None = None
    additional_model_response_fields: Raw = NONE
    message: Any = None


class Input(Struct):
    """A piece of a call's input."""

    input: Raw = NONE


class Thought(Struct, rename="camel"):
    """A piece of thinking."""

    text: Raw = NONE
    signature: str | None = None
    redacted_content: str | None = None


class Delta(Struct, rename="camel"):
    """A piece of a block."""

    text: Raw = NONE
    tool_use: Input | None = None
    reasoning_content: Thought | None = None
    citation: Citation | None = None
    image: Image | None = None


class Begun(Struct, rename="camel"):
    """A block begins."""

    image: Image | None = None
    tool_use: Use | None = None


class Piece(Struct, rename="camel"):
    """What any of the events may hold."""

    content_block_index: Count = 0
    start: Begun | None = None
    delta: Delta | None = None
    stop_reason: str | None = None
    usage: Reported | None = None
    service_tier: Tier | None = None
    additional_model_response_fields: Raw = NONE


ANSWER: Final = msgspec.json.Decoder(Answer)
PIECE: Final = msgspec.json.Decoder(Piece)
_OWN: Final = msgspec.json.Decoder(Own)


# --- in the gateway's terms ---------------------------------------------------------------


def usage_of(reported: Reported | None) -> Usage:
    """Usage in OpenAI's terms."""
    if reported is None:
        return Usage()
    cached = reported.cache_read_input_tokens or 0
    written = reported.cache_write_input_tokens or 0
    hour = sum(one.input_tokens or 0 for one in reported.cache_details or () if one.ttl == "1h")
    return Usage(
        prompt=(reported.input_tokens or 0) + cached + written,
        completion=reported.output_tokens or 0,
        cached=cached,
        cache_write=written,
        cache_write_1h=min(hour, written),
    )


def annotation(citation: Citation, start: int, end: int) -> dict[str, Any]:
    """A citation in the shape of OpenAI's `url_citation`; of a document that has no address its
    name stands there."""
    web = errors.mapping(errors.mapping(citation.location).get("web"))
    url = errors.text(web.get("url")) or citation.source or citation.title or ""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": start,
            "end_index": end,
            "url": url,
            "title": citation.title or citation.source or "",
        },
    }


def finish_of(reason: str | None, *, called: bool) -> str:
    """`finish_reason`. A call that stood for the answer's text is none."""
    finish = FINISH.get(reason or "", "stop")
    return "stop" if finish == "tool_calls" and not called else finish


def stop_of(own: Raw) -> str | None:
    """The stop sequence that ended the answer, where the model tells. The fields are the model's:
    whatever else they are is nobody's fault."""
    try:
        return _OWN.decode(own).stop_sequence if own else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def sealed(data: str, format_: str) -> ReasoningDetail:
    """Thinking that nobody may read."""
    return ReasoningDetail(type="reasoning.encrypted", data=data, format=format_)


def picture(format_: str, data: str) -> str:
    """An image as a `data:` URL."""
    return f"data:image/{format_};base64,{data}"
