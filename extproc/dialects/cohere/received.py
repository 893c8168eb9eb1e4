"""Cohere's answers, typed, whole and streamed (docs.cohere.com/reference/chat)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from extproc.dialects import text
from extproc.dialects.chat.completion import Count, ReasoningDetail, Usage
from extproc.dialects.cohere.request import FORMAT, PLAN
from extproc.dialects.text import NONE

FINISH: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
"""`finish_reason` in chat completions' words; one that is not known is `stop`."""
BROKEN: Final = frozenset({"ERROR", "TIMEOUT"})
"""Of an answer that the provider failed to make."""
OF_TEXT: Final = ("", "TEXT_CONTENT")
"""`type` of citations of what the user sees, and not of thinking or a plan."""

Tokens = Annotated[float, Meta(ge=0, le=1 << 53)]
"""Cohere gives its counts as floating-point numbers."""


class Counted(Struct):
    """Tokens by direction."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class Reported(Struct):
    """What was used, and of it what is paid for."""

    billed_units: Counted | None = None
    tokens: Counted | None = None
    cached_tokens: Tokens | None = None


class Function(Struct):
    """The function of a call."""

    name: str | None = None
    arguments: Raw = NONE


class Call(Struct):
    """A call of a tool, or more of its arguments."""

    id: str | None = None
    function: Function | None = None


class Content(Struct):
    """Text or thinking, or more of it."""

    text: Raw = NONE
    thinking: Raw = NONE


class Source(Struct):
    """What is cited: a document, or a tool's result."""

    id: str | None = None
    document: dict[str, Any] | None = None
    tool_output: dict[str, Any] | None = None


class Citation(Struct):
    """From where what stands between two places of the text is."""

    start: Count = 0
    end: Count = 0
    sources: list[Source] | None = None
    type: str | None = None


class Likely(Struct):
    """The probabilities of the tokens of a piece of text."""

    text: str = ""
    logprobs: list[float] | None = None


class Received(Struct):
    """A message."""

    content: list[Content] | None = None
    tool_calls: list[Call] | None = None
    tool_plan: Raw = NONE
    citations: list[Citation] | None = None


class Answer(Struct):
    """A whole answer. `message` is text in an error."""

    id: str | None = None
    finish_reason: str | None = None
    message: Raw = NONE
    usage: Reported | None = None
    logprobs: list[Likely] | None = None


class Piece(Struct):
    """What an event adds: one of each at most, where a whole answer has lists."""

    content: Content | list[Any] | None = None
    tool_calls: Call | list[Any] | None = None
    tool_plan: Raw = NONE
    citations: Citation | list[Any] | None = None


class Delta(Struct):
    """What an event says."""

    message: Piece | None = None
    finish_reason: str | None = None
    usage: Reported | None = None
    error: Any = None


class Told(Struct):
    """An event."""

    type: str
    index: Count = 0
    id: str | None = None
    delta: Delta | None = None
    logprobs: Likely | None = None


ANSWER: Final = msgspec.json.Decoder(Answer)
MESSAGE: Final = msgspec.json.Decoder(Received)
TOLD: Final = msgspec.json.Decoder(Told)


# --- in the gateway's terms ---------------------------------------------------------------


def usage_of(reported: Reported | None) -> Usage:
    """Tokens count what Cohere adds to a prompt, as the cached ones do; billed units do not, and
    may be fewer than the cached tokens."""
    if reported is None:
        return Usage()
    counted = reported.tokens or reported.billed_units or Counted()
    cached = int(reported.cached_tokens or 0)
    prompt = max(int(counted.input_tokens or 0), cached)
    return Usage(prompt=prompt, completion=int(counted.output_tokens or 0), cached=cached)


def cites(citation: Citation) -> Iterator[dict[str, Any]]:
    """A citation in the shape of OpenAI's `url_citation`, one for each source. What is cited is a
    document or a tool's result, which may have no address: then its id stands there."""
    if (citation.type or "") not in OF_TEXT:
        return
    for source in citation.sources or (Source(),):
        shown = source.document or source.tool_output or {}
        yield {
            "type": "url_citation",
            "url_citation": {
                "start_index": citation.start,
                "end_index": citation.end,
                "url": str(shown.get("url") or source.id or ""),
                "title": str(shown.get("title") or source.id or ""),
            },
        }


def probabilities(found: list[Likely]) -> dict[str, Any]:
    """OpenAI's `logprobs`. Cohere tells of pieces of text, mostly of one token each: the
    probability of a piece is the product of those of its tokens."""
    content = [
        {
            "token": one.text,
            "logprob": sum(one.logprobs or ()),
            "bytes": list(one.text.encode()),
            "top_logprobs": [],
        }
        for one in found
    ]
    return {"content": content, "refusal": None}


def string(raw: Raw) -> str:
    """A field that should be a string. Raises msgspec.MsgspecError if it is none."""
    literal = text.literal(raw)
    return msgspec.json.decode(literal, type=str) if literal else ""


def thinking(thought: str) -> ReasoningDetail:
    """Thinking, as Cohere wants it back."""
    return ReasoningDetail(type="reasoning.text", text=thought, format=FORMAT)


def plan(thought: str) -> ReasoningDetail:
    """The plan of a turn's calls, as Cohere wants it back."""
    return ReasoningDetail(type="reasoning.text", text=thought, id=PLAN, format=FORMAT)
