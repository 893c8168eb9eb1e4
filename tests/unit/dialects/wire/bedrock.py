"""Bedrock's Converse."""

from __future__ import annotations

import json
import struct
from typing import Any

from extproc.simulator.event_stream import event, exception
from tests.unit.dialects.wire.said import COUNTED, PLAIN, Said, pieces

SAYS = PLAIN | {"thinking", "signature", "sealed", "tier", "cited"}
COUNTS = COUNTED | {"cached", "cache_write", "cache_write_1h"}
FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "guardrail_intervened",
}


def whole(said: Said) -> bytes:
    content: list[dict[str, Any]] = []
    if said.thinking or said.signature:
        text = {"text": said.thinking, "signature": said.signature}
        content.append({"reasoningContent": {"reasoningText": text}})
    if said.sealed:
        content.append({"reasoningContent": {"redactedContent": said.sealed}})
    at = 0
    for start, end, url, title in said.cited:
        content.append({"text": said.text[at:start]})
        cited = {"content": [{"text": said.text[start:end]}], "citations": [_citation(url, title)]}
        content.append({"citationsContent": cited})
        at = end
    if said.text[at:]:
        content.append({"text": said.text[at:]})
    content += [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
        for call in said.calls
    ]
    message = {"role": "assistant", "content": content}
    found = {"output": {"message": message}, "stopReason": FINISH[said.finish], **_end(said)}
    return json.dumps(found).encode()


def stream(said: Said, size: int = 4) -> bytes:
    blocks: list[tuple[dict[str, Any] | None, list[dict[str, Any]]]] = []
    if said.thinking or said.signature:
        deltas = [{"reasoningContent": {"text": one}} for one in pieces(said.thinking, size)]
        deltas.append({"reasoningContent": {"signature": said.signature}})
        blocks.append((None, deltas))
    if said.sealed:
        blocks.append((None, [{"reasoningContent": {"redactedContent": said.sealed}}]))
    at = 0
    for start, end, url, title in said.cited:
        blocks.append((None, _texts(said.text[at:start], size)))
        cited = {"citation": _citation(url, title)}
        blocks.append((None, [*_texts(said.text[start:end], size), cited]))
        at = end
    if said.text[at:]:
        blocks.append((None, _texts(said.text[at:], size)))
    for call in said.calls:
        given = pieces(json.dumps(call.arguments), size)
        begun = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        blocks.append((begun, [{"toolUse": {"input": one}} for one in given]))
    out = event("messageStart", {"role": "assistant"})
    for index, (start_, deltas) in enumerate(blocks):
        if start_ is not None:
            out += event("contentBlockStart", {"contentBlockIndex": index, "start": start_})
        for delta in deltas:
            out += event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        out += event("contentBlockStop", {"contentBlockIndex": index})
    out += event("messageStop", {"stopReason": FINISH[said.finish]})
    return out + event("metadata", _end(said))


def error(status: int, kind: str, message: str) -> bytes:  # noqa: ARG001 - the writers' shape
    return json.dumps({"message": message}).encode()


def broken(kind: str, message: str) -> bytes:
    """An error within a stream."""
    return exception(kind, json.dumps({"message": message}).encode())


def messages(stream: bytes) -> list[bytes]:
    """The messages of an event stream, by the lengths they begin with."""
    found = []
    while stream:
        [size] = struct.unpack_from(">I", stream)
        found.append(stream[:size])
        stream = stream[size:]
    return found


def _texts(text: str, size: int) -> list[dict[str, Any]]:
    return [{"text": one} for one in pieces(text, size)]


def _citation(url: str, title: str) -> dict[str, Any]:
    return {"title": title, "location": {"web": {"url": url}}}


def _end(said: Said) -> dict[str, Any]:
    used = said.used
    usage: dict[str, Any] = {
        "inputTokens": used.prompt - used.cached - used.cache_write,
        "outputTokens": used.completion,
        "totalTokens": used.prompt + used.completion,
        "cacheReadInputTokens": used.cached,
        "cacheWriteInputTokens": used.cache_write,
    }
    if used.cache_write_1h:
        usage["cacheDetails"] = [{"ttl": "1h", "inputTokens": used.cache_write_1h}]
    found: dict[str, Any] = {"usage": usage, "metrics": {"latencyMs": 1}}
    return found if said.tier is None else {**found, "serviceTier": {"type": said.tier}}
