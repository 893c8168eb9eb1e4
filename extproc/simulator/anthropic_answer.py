"""What Anthropic answers with: content blocks, whole and as events, and usage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from extproc.simulator.chat import NOTHING, Ask, Reply, Usage
from extproc.simulator.signatures import seal, sign

_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_PIECE = 12
_CITED = 2
"""Pieces of the text that the citations stand on."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What only Anthropic knows of a request."""

    counting: bool = False
    citations: tuple[dict[str, Any], ...] = ()
    """What the text will cite."""
    query: str | None = None
    """What is searched for on the web, if anything is."""
    shows_thinking: bool = True
    redacts: bool = False
    """Thinking is hidden: the prompt holds the documented word that makes it so."""
    runs_code: bool = False
    edits_context: bool = False


Block = tuple[dict[str, Any], list[dict[str, Any]]]
"""A content block as it starts in a stream, and its deltas."""


def blocks(ask: Ask, reply: Reply) -> Iterator[Block]:
    """Each content block as a stream tells it."""
    own: Own = ask.own
    if reply.thinking:
        yield _thinking(own, reply, shown=own.shows_thinking or not ask.thinks)
    citations = list(own.citations)
    if own.query is not None:
        yield from _search(own.query, reply)
        citations = [_web_citation(), *citations]
    cited = reply.pieces[:_CITED] if citations else ()
    if cited:
        deltas = [_text(one) for one in cited]
        deltas += [{"type": "citations_delta", "citation": one} for one in citations]
        yield {"type": "text", "text": "", "citations": []}, deltas
    rest = reply.pieces[len(cited) :]
    if rest:
        yield {"type": "text", "text": ""}, [_text(one) for one in rest]
    for call in reply.calls:
        block = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}
        yield block, _input_deltas(call.arguments)


def content(ask: Ask, reply: Reply) -> list[dict[str, Any]]:
    """The content blocks of an answer that is not streamed."""
    return [_joined(block, deltas) for block, deltas in blocks(ask, reply)]


def message(
    ask: Ask, reply: Reply, parts: list[dict[str, Any]], usage: Usage, *, done: bool
) -> dict[str, Any]:
    """A `message`, finished or at its start."""
    return {
        "model": reply.model,
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "content": parts,
        "stop_reason": stop_reason(reply) if done else None,
        "stop_sequence": reply.stopped if done else None,
        **(ending(ask, reply) if done else {}),
        "usage": {
            **usage_of(ask, usage),
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write - usage.cache_write_1h,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            },
            "service_tier": "standard",
        },
    }


def stop_reason(reply: Reply) -> str:
    """Why it ended, in Anthropic's words."""
    if reply.stopped is not None:
        return "stop_sequence"
    return _FINISH.get(reply.finish, reply.finish)


def ending(ask: Ask, reply: Reply) -> dict[str, Any]:
    """What else a finished message says."""
    found: dict[str, Any] = {}
    if stop_reason(reply) == "refusal":
        details = {"type": "refusal", "category": "general_harms", "explanation": None}
        found["stop_details"] = details
    if ask.own.runs_code:
        found["container"] = {"id": "container_011Sim", "expires_at": "2030-01-01T00:00:00Z"}
    if ask.own.edits_context:
        found["context_management"] = {"applied_edits": []}
    return found


def usage_of(ask: Ask, usage: Usage) -> dict[str, Any]:
    """Anthropic counts cached tokens beside `input_tokens`, not within."""
    found: dict[str, Any] = {
        "input_tokens": usage.input - usage.cached - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if ask.own.query is not None and usage is not NOTHING:
        found["server_tool_use"] = {"web_search_requests": 1, "web_fetch_requests": 0}
    return found


def is_content(delta: dict[str, Any]) -> bool:
    """Whether a delta is a content event."""
    return delta["type"] not in ("signature_delta", "citations_delta")


def _text(piece: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": piece}


def _thinking(own: Own, reply: Reply, *, shown: bool) -> Block:
    """What a script makes a model think that was not asked to is always shown."""
    text = "".join(reply.thinking)
    if own.redacts:
        return {"type": "redacted_thinking", "data": seal(text, "redacted")}, []
    pieces = reply.thinking if shown else ()
    deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": one} for one in pieces]
    deltas.append({"type": "signature_delta", "signature": sign("".join(pieces))})
    return {"type": "thinking", "thinking": "", "signature": ""}, deltas


_PAGE = {"url": "https://example.com/", "title": "Example Domain"}


def _search(query: str, reply: Reply) -> Iterator[Block]:
    """The provider's own search: its call and what it found."""
    call_id = f"srvtoolu_{reply.id}"
    call = {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}}
    yield call, _input_deltas(msgspec.json.encode({"query": query}).decode())
    found = {
        "type": "web_search_result",
        **_PAGE,
        "encrypted_content": seal("Example", "search"),
        "page_age": None,
    }
    yield {"type": "web_search_tool_result", "tool_use_id": call_id, "content": [found]}, []


def _web_citation() -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        **_PAGE,
        "encrypted_index": seal("Example", "search"),
        "cited_text": "This domain is for use in documentation examples.",
    }


def _input_deltas(text: str) -> list[dict[str, Any]]:
    pieces = ["", *(text[n : n + _PIECE] for n in range(0, len(text), _PIECE))]
    return [{"type": "input_json_delta", "partial_json": one} for one in pieces]


def _joined(block: dict[str, Any], deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """The block with its deltas in it."""
    whole = dict(block)
    arguments = ""
    for delta in deltas:
        match delta["type"]:
            case "text_delta":
                whole["text"] += delta["text"]
            case "thinking_delta":
                whole["thinking"] += delta["thinking"]
            case "signature_delta":
                whole["signature"] = delta["signature"]
            case "citations_delta":
                whole["citations"] = [*whole["citations"], delta["citation"]]
            case _:
                arguments += delta["partial_json"]
    if "input" in whole:
        whole["input"] = _input(arguments)
    return whole


def _input(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {"_raw": arguments}
