"""A whole answer as a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from extproc.dialects.chat.completion import (
    Choice,
    Completion,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
)
from extproc.dialects.clients.messages import output, thoughts

_NOTHING: Final = Choice(index=0, message=ReplyMessage(content=None), finish_reason="stop")


def message(answer: Completion) -> bytes:
    """The message. Images that a model made have no place in it."""
    # The API gives one answer a request.
    choice = answer.choices[0] if answer.choices else _NOTHING
    said = choice.message
    calls = [] if said.tool_calls is UNSET else said.tool_calls
    stopped = None if choice.stop_sequence is UNSET else choice.stop_sequence
    # A refusal in words is one whatever it is said to be.
    finish = "content_filter" if said.refusal and not said.content else choice.finish_reason
    reason = output.stop_reason(finish, calls=bool(calls), stop_sequence=stopped)
    return msgspec.json.encode(
        {
            "id": output.message_id(answer.id),
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": [*_thought(said, calls), *_text(said), *map(_call, calls)],
            "stop_reason": reason,
            "stop_sequence": stopped if reason == "stop_sequence" else None,
            "stop_details": output.stop_details(reason, said.refusal),
            "usage": output.usage(answer.usage, answer.service_tier),
        }
    )


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": output.call_id(call.id),
        "name": call.function.name,
        "input": output.arguments(call.function.arguments),
    }


# --- thinking -----------------------------------------------------------------------------


def _thought(said: ReplyMessage, calls: Sequence[ToolCall]) -> Iterator[dict[str, Any] | Raw]:
    """Claude's blocks as they are; of others one block, with all that is to be handed back in its
    seal, and what belongs to calls."""
    details = [] if said.reasoning_details is UNSET else said.reasoning_details
    own = [one for one in details if thoughts.is_own(one)]
    for detail in own:
        block = output.claude_block(detail)
        if block is not None:
            yield block
    others = [one for one in details if not thoughts.is_own(one)]
    extra = {
        output.call_id(call.id): call.extra_content
        for call in calls
        if call.extra_content is not UNSET
    }
    text = _shown(said, others, own)
    if text:
        yield {"type": "thinking", "thinking": text, "signature": thoughts.seal(others, extra)}
    elif others or extra:
        yield {"type": "redacted_thinking", "data": thoughts.seal(others, extra)}


def _shown(
    said: ReplyMessage, others: Sequence[ReasoningDetail], own: Sequence[ReasoningDetail]
) -> str:
    """The thinking that can be read and that no block of Claude's holds."""
    if any(one.type == "reasoning.text" and one.signature for one in own):
        return ""
    if said.reasoning_content is not UNSET and said.reasoning_content:
        return said.reasoning_content
    return "".join(one.text or one.summary or "" for one in others)


# --- text ---------------------------------------------------------------------------------


def _text(said: ReplyMessage) -> Iterator[dict[str, Any]]:
    """Blocks of text: one, or, as Anthropic cites, one for each piece that has citations and one
    for each between them."""
    text = said.content
    if not text:
        return
    found = [] if said.annotations is UNSET else said.annotations
    if not found:
        yield _block(text, None)
        return
    at = 0
    for (start, end), citations in _spans(text, found):
        if start > at:
            yield _block(text[at:start], None)
        yield _block(text[start:end], citations)
        at = end
    if at < len(text):
        yield _block(text[at:], None)


def _block(text: str, citations: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": citations}


_Span = tuple[int, int]


def _spans(text: str, found: Sequence[dict[str, Any]]) -> list[tuple[_Span, list[dict[str, Any]]]]:
    """Citations by the piece of text that they are about, in order. Where they do not say, or
    pieces overlap, the whole text is one piece."""
    whole = (0, len(text))
    by_span: dict[_Span, list[dict[str, Any]]] = {}
    for one in found:
        by_span.setdefault(output.span(one, len(text)) or whole, []).append(output.citation(one))
    spans = sorted(by_span)
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        return [(whole, [output.citation(one) for one in found])]
    return [(one, by_span[one]) for one in spans]
