"""Cohere's answers and streams."""

from __future__ import annotations

import json
from typing import Any

USAGE: dict[str, Any] = {
    "billed_units": {"input_tokens": 60, "output_tokens": 12},
    "tokens": {"input_tokens": 560, "output_tokens": 14},
    "cached_tokens": 30,
}


def message(*content: dict[str, Any], reason: str = "COMPLETE", **more: Any) -> bytes:
    said = {"role": "assistant", "content": list(content), **more}
    return json.dumps(
        {"id": "r-1", "finish_reason": reason, "message": said, "usage": USAGE}
    ).encode()


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def event(kind: str, index: int | None = None, **piece: Any) -> bytes:
    """As compact as Cohere writes it."""
    place = {} if index is None else {"index": index}
    found = {"type": kind, **place, "delta": {"message": piece}}
    data = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


EMPTY: dict[str, Any] = {
    "role": "assistant",
    "content": [],
    "tool_plan": "",
    "tool_calls": [],
    "citations": [],
}
START = (
    "event: message-start\ndata: "
    + json.dumps({"id": "r-1", "type": "message-start", "delta": {"message": EMPTY}})
    + "\n\n"
).encode()


def end(reason: str = "COMPLETE", **more: Any) -> bytes:
    found = {"type": "message-end", "delta": {"finish_reason": reason, "usage": USAGE, **more}}
    return f"event: message-end\ndata: {json.dumps(found)}\n\ndata: [DONE]\n\n".encode()


TEXT = (
    START
    + event("content-start", 0, content={"type": "text", "text": ""})
    + event("content-delta", 0, content={"text": "Grey, "})
    + event("content-delta", 0, content={"text": "11 °C."})
    + event(
        "citation-start",
        0,
        citations={
            "start": 6,
            "end": 12,
            "text": "11 °C.",
            "sources": [{"type": "document", "id": "d:0", "document": {"title": "Sky"}}],
        },
    )
    + event("citation-end", 0)
    + event("content-end", 0)
    + end()
)
THINKING = (
    START
    + event("content-start", 0, content={"type": "thinking", "thinking": ""})
    + event("content-delta", 0, content={"thinking": "Paris is "})
    + event("content-delta", 0, content={"thinking": "in France."})
    + event("content-end", 0)
    + event("content-start", 1, content={"type": "text", "text": ""})
    + event("content-delta", 1, content={"text": "Grey."})
    + event("content-end", 1)
    + end()
)
TOOLS = (
    START
    + event("tool-plan-delta", tool_plan="I will ")
    + event("tool-plan-delta", tool_plan="look.")
    + event(
        "tool-call-start",
        0,
        tool_calls={
            "id": "c1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        },
    )
    + event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"city":'}})
    + event("tool-call-delta", 0, tool_calls={"function": {"arguments": ' "Paris"}'}})
    + event("tool-call-end", 0)
    + event(
        "tool-call-start",
        1,
        tool_calls={
            "id": "c2",
            "type": "function",
            "function": {"name": "get_time", "arguments": "{}"},
        },
    )
    + event("tool-call-end", 1)
    + end("TOOL_CALL")
)

STREAMS: dict[str, bytes] = {"text": TEXT, "thinking": THINKING, "tools": TOOLS}
