"""Policies and streams for the filters' tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from extproc.cache import CacheAway
from extproc.cache.flights import Flights
from extproc.cache.room import Cache
from extproc.cache.words import Words
from extproc.filters.large import Large
from extproc.guard.local import LocalScanner
from extproc.guard.room import Guard
from extproc.guard.sessions import Sessions
from extproc.limits.gate import Gate
from extproc.pb.metadata_pb2 import Metadata
from extproc.state.embedded.limits import MemoryLimits
from extproc.state.flights import MemoryLeases
from extproc.state.memory import MemoryMappings
from extproc.state.memory_answers import MemoryAnswers
from extproc.telemetry import Telemetry

if TYPE_CHECKING:
    from extproc.cache.semantic import Semantics

DIALECTS = {
    "openai": ("openai", "gpt-4o"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gcp.gemini", "gemini-2.5-pro"),
}


SYSTEMS = {
    **DIALECTS,
    "bedrock": ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
"""Those, and one whose streams are none of server-sent events."""


def gate(told: Telemetry | None = None) -> Gate:
    """Limits that are counted in memory."""
    return Gate(MemoryLimits(), (told or Telemetry()).limits)


def guard(told: Telemetry | None = None) -> Guard:
    """The default detector, and sessions in memory."""
    told = told or Telemetry()
    key = b"key of the tests"
    large = Large()
    return Guard(LocalScanner(), Sessions(MemoryMappings(), key, large), key, large, told.guard)


async def _no_semantics() -> Semantics:
    raise CacheAway("these tests compare no vectors")


def cache(told: Telemetry | None = None) -> Cache:
    """Answers in memory, exact alone."""
    store = MemoryAnswers()
    flights = Flights(MemoryLeases(), store.get)
    key = Words(b"key of the tests")
    return Cache(store, flights, key, _no_semantics, (told or Telemetry()).cache)


def metadata(policy: dict[str, Any]) -> str:
    """A policy as Envoy hands it over."""
    found = Metadata()
    found.filter_metadata["tollgate"].CopyFrom(ParseDict(policy, Struct()))
    return text_format.MessageToString(found)


def target(dialect: str, **more: Any) -> dict[str, Any]:
    system, model = SYSTEMS[dialect]
    return {
        "provider": dialect,
        "system": system,
        "dialect": dialect,
        "model": model,
        "timeout": 5,
        "stall": 7,
        **more,
    }


def inner(dialect: str, **more: Any) -> dict[str, str]:
    """Attributes of a level's request."""
    return {"xds.route_metadata": metadata({"target": f"t-{dialect}", **target(dialect, **more)})}


def outer(host: dict[str, Any] | None = None, **route: Any) -> dict[str, str]:
    """Attributes of a gateway's request; `host` is what its virtual host says beside targets."""
    targets = {f"t-{name}": target(name, cluster=f"target-t-{name}") for name in DIALECTS}
    chains = {"main": [{name: 1} for name in targets]}
    policy = {"route": "r", "chain": "main", "models": {"*": "main"}, **route}
    return {
        "xds.route_metadata": metadata(policy),
        "xds.virtual_host_metadata": metadata(
            {"chains": chains, "targets": targets, "identity": "open", **(host or {})}
        ),
        "source.address": "127.0.0.1:4711",
    }


def chat(**more: Any) -> bytes:
    messages = [{"role": "user", "content": "Hello"}]
    return json.dumps({"model": "main", "messages": messages, **more}).encode()


def event(data: Any, name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def openai_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-x"}
    return event({**body, "choices": [choice], "usage": None})


USAGE = event(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-x",
        "choices": [],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }
)

STREAMS: dict[str, bytes] = {
    "openai": b"".join(
        [
            b": a comment\n\n",
            openai_chunk({"role": "assistant", "content": ""}),
            openai_chunk({"content": "Grüße, "}),
            openai_chunk({"content": "東京"}),
            openai_chunk({}, "stop"),
            USAGE,
            b"data: [DONE]\n\n",
        ]
    ),
    "anthropic": b"".join(
        event({"type": name, **data}, name)
        for name, data in (
            (
                "message_start",
                {
                    "message": {
                        "id": "msg_1",
                        "type": "message",
                        "role": "assistant",
                        "model": "claude-x",
                        "content": [],
                        "stop_reason": None,
                        "usage": {"input_tokens": 100, "output_tokens": 1},
                    }
                },
            ),
            ("ping", {}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            (
                "content_block_delta",
                {"index": 0, "delta": {"type": "text_delta", "text": "Grüße, "}},
            ),
            ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "東京"}}),
            ("content_block_stop", {"index": 0}),
            (
                "message_delta",
                {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            ),
            ("message_stop", {}),
        )
    ),
    "gemini": b"".join(
        event({**data, "modelVersion": "gemini-x", "responseId": "g1"})
        for data in (
            {"candidates": [{"content": {"parts": [{"text": "Grüße, "}], "role": "model"}}]},
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": "東京"}], "role": "model"},
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 100,
                    "candidatesTokenCount": 7,
                    "totalTokenCount": 107,
                },
            },
        )
    ),
}
