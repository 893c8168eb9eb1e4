"""Requests as Bedrock gets them, its answers and its streams."""

from __future__ import annotations

import json
import struct
from binascii import crc32
from typing import Any

from extproc.dialects.bedrock import Bedrock
from extproc.simulator import bedrock_request as wire
from extproc.simulator.bedrock_rules import broken_rule
from tests.unit.dialects.level import Level
from tests.unit.dialects.recorded.providers import bedrock as validate
from tests.unit.dialects.samples import Run, body, run

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_37 = "anthropic.claude-3-7-sonnet-20250219-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"


def level(model: str = CLAUDE, **fields: Any) -> Level:
    """After a request of these fields."""
    dialect = Bedrock(clock=lambda: 1_700_000_000.0, mint=lambda: "minted")
    found = Level(dialect, model=model)
    if fields:
        found.request(body(**fields))
    return found


def sent(model: str = CLAUDE, /, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as Bedrock gets it, held against the service's own model and the simulator's
    rules, and the warnings."""
    found = level(model)
    given = body(**fields)
    assert found.lacks(given) is None
    made = found.request(given)
    tree = json.loads(made.body)
    validate(tree)
    assert broken_rule(wire.BODY.decode(made.body), model, stream=False) is None
    return tree, made.warnings


def lacks(model: str = CLAUDE, /, **fields: Any) -> str | None:
    return level(model).lacks(body(**fields))


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


USAGE: dict[str, Any] = {
    "inputTokens": 10,
    "outputTokens": 12,
    "totalTokens": 72,
    "cacheReadInputTokens": 30,
    "cacheWriteInputTokens": 20,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}],
}


def answer(*content: dict[str, Any], reason: str = "end_turn", **more: Any) -> bytes:
    message = {"role": "assistant", "content": list(content)}
    found = {"output": {"message": message}, "stopReason": reason, "usage": USAGE}
    return json.dumps({**found, "metrics": {"latencyMs": 5}, **more}).encode()


def frame(payload: bytes, **headers: str) -> bytes:
    """A message of Amazon's event stream."""
    packed = b""
    for name, value in headers.items():
        key = ":" + name.replace("_", "-")
        packed += bytes([len(key)]) + key.encode() + b"\x07"
        packed += struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    prelude += struct.pack(">I", crc32(prelude))
    return prelude + packed + payload + struct.pack(">I", crc32(prelude + packed + payload))


def event(kind: str, **fields: Any) -> bytes:
    """As compact as Bedrock writes it, and padded."""
    told = {**fields, "p": "abcd"}
    payload = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    return frame(payload, event_type=kind, content_type="application/json", message_type="event")


def exception(kind: str, message: str) -> bytes:
    payload = json.dumps({"message": message}).encode()
    return frame(payload, exception_type=kind, message_type="exception")


START = event("messageStart", role="assistant")


def delta(index: int, **piece: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=piece)


def begun(index: int, **start: Any) -> bytes:
    return event("contentBlockStart", contentBlockIndex=index, start=start)


def block_end(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def end(reason: str = "end_turn", **more: Any) -> bytes:
    metadata = event("metadata", usage=USAGE, metrics={"latencyMs": 5}, **more)
    return event("messageStop", stopReason=reason) + metadata


TEXT = START + delta(0, text="Grey, ") + delta(0, text="11 °C.") + block_end(0) + end()
THINKING = (
    START
    + delta(0, reasoningContent={"text": "Paris is "})
    + delta(0, reasoningContent={"text": "in France."})
    + delta(0, reasoningContent={"signature": "c2ln"})
    + block_end(0)
    + delta(1, reasoningContent={"redactedContent": "eHh4"})
    + block_end(1)
    + delta(2, text="Grey.")
    + block_end(2)
    + end()
)
TOOLS = (
    START
    + delta(0, text="Let me look.")
    + block_end(0)
    + begun(1, toolUse={"toolUseId": "t1", "name": "get_weather"})
    + delta(1, toolUse={"input": ""})
    + delta(1, toolUse={"input": '{"city": "Par'})
    + delta(1, toolUse={"input": 'is"}'})
    + block_end(1)
    + begun(2, toolUse={"toolUseId": "t2", "name": "get_time"})
    + block_end(2)
    + end("tool_use")
)
CITED = (
    START
    + delta(0, text="Grey.")
    + delta(
        0,
        citation={
            "title": "Sky",
            "sourceContent": [{"text": "The sky is grey."}],
            "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
        },
    )
    + block_end(0)
    + delta(1, text=" 11 °C.")
    + delta(1, citation={"title": "T", "location": {"web": {"url": "https://e.com/t"}}})
    + block_end(1)
    + end()
)
IMAGE = (
    START
    + begun(0, image={"format": "png"})
    + delta(0, image={"source": {"bytes": "YQ=="}})
    + delta(0, image={"source": {"bytes": "YmM="}})
    + block_end(0)
    + end()
)
STREAMS: dict[str, bytes] = {
    "text": TEXT,
    "thinking": THINKING,
    "tools": TOOLS,
    "cited": CITED,
    "image": IMAGE,
}


def streamed(*pieces: bytes, model: str = CLAUDE, **fields: Any) -> Run:
    return run(level(model, **fields).stream(), *pieces)
