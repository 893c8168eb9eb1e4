"""Anthropic's messages."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.dialects.wire.said import COUNTED, PLAIN, Said, Used, pieces

SAYS = PLAIN | {"thinking", "signature", "sealed", "stop_sequence", "refusal", "tier", "cited"}
COUNTS = COUNTED | {"cached", "cache_write", "cache_write_1h", "reasoning"}
TIERS = {"default": "standard", "priority": "priority"}
FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def whole(said: Said) -> bytes:
    content = []
    for block, deltas in _blocks(said, 1 << 20):
        made = dict(block)
        for delta in deltas:
            if delta["type"] == "input_json_delta":
                made["input"] = json.loads(delta["partial_json"])
            elif delta["type"] == "citations_delta":
                made.setdefault("citations", []).append(delta["citation"])
            else:
                name = delta["type"].removesuffix("_delta")
                made[name] = made.get(name, "") + delta[name]
        content.append(made)
    return json.dumps({**_message(said), "content": content, **_end(said)}).encode()


def stream(said: Said, size: int = 4) -> bytes:
    start = {**_message(said), "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(_blocks(said, size)):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": one} for one in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"type": "message_delta", "delta": _end(said), "usage": _usage(said)}
    events += [end, {"type": "message_stop"}]
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


def error(status: int, kind: str, message: str) -> bytes:  # noqa: ARG001 - the writers' shape
    found = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}
    return json.dumps(found).encode()


def _blocks(said: Said, size: int) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if said.thinking or said.signature:
        deltas: list[dict[str, Any]] = [
            {"type": "thinking_delta", "thinking": one} for one in pieces(said.thinking, size)
        ]
        deltas.append({"type": "signature_delta", "signature": said.signature})
        found.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if said.sealed:
        found.append(({"type": "redacted_thinking", "data": said.sealed}, []))
    at = 0
    for start, end, url, title in said.cited:
        found.append(_text(said.text[at:start], size))
        cited: dict[str, Any] = {"type": "web_search_result_location", "url": url, "title": title}
        cited |= {"cited_text": "x", "encrypted_index": "e"}
        block, deltas = _text(said.text[start:end], size)
        deltas.append({"type": "citations_delta", "citation": cited})
        found.append((block, deltas))
        at = end
    if said.text[at:]:
        found.append(_text(said.text[at:], size))
    for call in said.calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        given = json.dumps(call.arguments)
        deltas = [{"type": "input_json_delta", "partial_json": one} for one in pieces(given, size)]
        found.append((block, deltas))
    return found


def _text(text: str, size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "text", "text": ""}, [
        {"type": "text_delta", "text": one} for one in pieces(text, size)
    ]


def _message(said: Said) -> dict[str, Any]:
    head = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude"}
    return {**head, "stop_sequence": None, "usage": _usage(said)}


def _end(said: Said) -> dict[str, Any]:
    reason = "stop_sequence" if said.stop_sequence is not None else FINISH[said.finish]
    found: dict[str, Any] = {"stop_reason": reason, "stop_sequence": said.stop_sequence}
    if said.refusal:
        found["stop_details"] = {"type": "refusal", "explanation": said.refusal}
    return found


def _usage(said: Said) -> dict[str, Any]:
    used: Used = said.used
    found: dict[str, Any] = {
        "input_tokens": used.prompt - used.cached - used.cache_write,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write - used.cache_write_1h,
            "ephemeral_1h_input_tokens": used.cache_write_1h,
        },
        "output_tokens": used.completion,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }
    if said.tier is not None:
        found["service_tier"] = TIERS[said.tier]
    return found
