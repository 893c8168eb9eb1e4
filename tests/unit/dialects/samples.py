"""Requests, answers and streams that the tests of all dialects share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.dialects import Dialect, Failure, Passed, StreamReader, load
from tests.unit.dialects.level import Level

TARGETS: dict[str, dict[str, Any]] = {
    "openai": {"model": "gpt-4.1", "server": "openai"},
    "azure": {"model": "gpt-4.1", "deployment": "ours", "api_version": "2025-04-01-preview"},
    "anthropic": {"model": "claude-sonnet-4-5"},
    "gemini": {"model": "gemini-3-flash-preview"},
    "vertex": {"model": "gemini-3-flash-preview", "project": "p", "location": "global"},
    "bedrock": {"model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
    "cohere": {"model": "command-a-reasoning-08-2025"},
}
"""The target that stands for each dialect, with the model that the table is about."""


def dialects() -> dict[str, Dialect]:
    """Every dialect, at a time and with ids that do not change."""
    clock = lambda: 1_700_000_000.0  # noqa: E731 - given by name
    return {name: type(one)(clock, lambda: "minted") for name, one in load().items()}  # type: ignore[call-arg]


def level(name: str, format_: str = "chat", body: bytes = b"", **target: Any) -> Level:
    """A client's format over a dialect, for a test that sends something."""
    return Level(dialects()[name], format_, body, **{**TARGETS[name], **target})


DIALECTS: dict[str, Level] = {name: level(name) for name in TARGETS}
"""Chat over each dialect, for tests that only read answers to a plain request."""

USER: dict[str, Any] = {"role": "user", "content": "What is the weather in Paris?"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "number", "default": 1.0}},
            "required": ["city"],
        },
    },
}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
CALLS: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": 1.0}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": ""}},
    ],
}
RESULTS: list[dict[str, Any]] = [
    {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "grey", "t": 11.50}'},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
]
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
AUDIO: dict[str, Any] = {
    "type": "input_audio",
    "input_audio": {"data": "UklGRg==", "format": "wav"},
}
FILE: dict[str, Any] = {
    "type": "file",
    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
}
SCHEMA: dict[str, Any] = {
    "name": "x",
    "schema": {"type": "object", "properties": {}},
    "strict": True,
}

FEATURES: dict[str, dict[str, Any]] = {
    "text": {},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, USER]},
    "multi-turn": {
        "messages": [
            USER,
            {"role": "assistant", "content": "Grey."},
            {"role": "user", "content": "And tomorrow?"},
        ]
    },
    "tools": {"tools": [WEATHER]},
    "parallel tools": {"tools": [WEATHER, TIME], "parallel_tool_calls": True},
    "parallel_tool_calls": {"tools": [WEATHER, TIME], "parallel_tool_calls": False},
    "tool choice": {"tools": [WEATHER], "tool_choice": "required"},
    "tool results": {"messages": [USER, CALLS, *RESULTS], "tools": [WEATHER, TIME]},
    "custom_tools": {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
    "vendor_tools": {"tools": [{"type": "openrouter:web_search", "parameters": {"x": 1.0}}]},
    "functions": {"functions": [WEATHER["function"]]},
    "stop": {"stop": ["END", "\n\n."]},
    "temperature and top_p": {"temperature": 0.5, "top_p": 0.9},
    "max_tokens": {"max_completion_tokens": 77},
    "seed": {"seed": 7},
    "n": {"n": 2},
    "penalties": {"presence_penalty": 0.5, "frequency_penalty": -0.5},
    "logit_bias": {"logit_bias": {"42": -100}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "json_object": {"response_format": {"type": "json_object"}},
    "json_schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "vision": {"messages": [{"role": "user", "content": [IMAGE]}]},
    "audio": {"messages": [{"role": "user", "content": [AUDIO]}]},
    "files": {"messages": [{"role": "user", "content": [FILE]}]},
    "reasoning": {"reasoning_effort": "high"},
    "web_search": {"web_search_options": {}},
    "user and metadata": {"user": "u-1", "metadata": {"team": "blue"}},
    "service_tier": {"service_tier": "flex"},
    "cache_control": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
                ],
            }
        ]
    },
    "unknown fields": {"min_p": 0.10, "chat_template_kwargs": {"x": [1e2]}},
}
"""What a request adds to the smallest one to use a feature."""


def drain(value: Any) -> None:
    """Iterate to the bottom: pydantic checks the items of an `Iterable` only when asked for."""
    if isinstance(value, dict):
        for one in value.values():
            drain(one)
    elif not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for one in value:
            drain(one)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "flagship", "messages": [USER], **fields}).encode()


@dataclass
class Run:
    """What a reader made of a stream."""

    out: bytes
    content: bool
    failure: Failure | None
    finished: bool
    refused: bool

    def chunks(self) -> list[ChatCompletionChunk]:
        """The chunks, held against the SDK's type; the end marker must be last if anywhere."""
        datas = [line[6:] for line in self.out.split(b"\n") if line.startswith(b"data: ")]
        if b"[DONE]" in datas:
            assert datas.pop() == b"[DONE]"
        return [ChatCompletionChunk.model_validate_json(data) for data in datas]


def run(reader: StreamReader, *pieces: bytes) -> Run:
    out = b"".join(reader.feed(piece) for piece in pieces) + reader.end()
    return Run(out, reader.content, reader.failure, reader.finished, reader.refused)


@dataclass
class Message:
    """A stream put together again as a client would."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None


def joined(chunks: list[ChatCompletionChunk], index: int = 0) -> Message:
    found = Message()
    for chunk in chunks:
        for choice in chunk.choices:
            if choice.index != index:
                continue
            found.text += choice.delta.content or ""
            found.refusal += choice.delta.refusal or ""
            found.reasoning += (choice.delta.model_extra or {}).get("reasoning_content", "")
            found.finish = choice.finish_reason or found.finish
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                if call.index == len(found.calls):
                    found.calls.append({"id": call.id, "name": call.function.name, "arguments": ""})
                found.calls[call.index]["arguments"] += call.function.arguments or ""
                if extra := (call.model_extra or {}).get("extra_content"):
                    found.calls[call.index]["extra"] = extra
    return found


def usage(chunks: list[ChatCompletionChunk]) -> CompletionUsage:
    [found] = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return found


def completion(answer: Passed) -> ChatCompletion:
    return ChatCompletion.model_validate_json(answer.body)


def sse(*events: dict[str, Any], named: bool = False, end: str = "\n\n") -> bytes:
    return "".join(
        (f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}{end}"
        for event in events
    ).encode()


# OpenAI


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    return {**head, "choices": choices, **more}


ROLE: dict[str, Any] = chunk({"role": "assistant", "content": "", "refusal": None})
OPENAI_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
OPENAI_TEXT = (
    sse(
        ROLE,
        chunk({"content": "Grey, "}),
        chunk({"content": "11 °C."}),
        chunk({}, "stop"),
        chunk(None, usage=OPENAI_USAGE),
    )
    + b"data: [DONE]\n\n"
)
OPENAI_TOOLS = (
    sse(
        ROLE,
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    }
                ]
            }
        ),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}),
        chunk({}, "tool_calls"),
    )
    + b"data: [DONE]\n\n"
)

# Anthropic

A_USAGE: dict[str, Any] = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "output_tokens": 1,
}
A_START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": A_USAGE,
    },
}
A_STOP: dict[str, Any] = {"type": "message_stop"}
PING: dict[str, Any] = {"type": "ping"}


def a_delta(reason: str, output: int = 12, **more: Any) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None, **more},
        "usage": {"output_tokens": output},
    }


def a_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": one} for one in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def a_text(index: int, *texts: str) -> list[dict[str, Any]]:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return a_block(index, {"type": "text", "text": ""}, *deltas)


def a_tool(index: int, name: str, *pieces: str, given: Any = None) -> list[dict[str, Any]]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": given or {}}
    return a_block(index, block, *deltas)


def a_stream(*events: dict[str, Any]) -> bytes:
    return sse(*events, named=True)


ANTHROPIC_TEXT = a_stream(
    A_START, PING, *a_text(0, "Grey, ", "11 °C."), a_delta("end_turn"), A_STOP
)
ANTHROPIC_TOOLS = a_stream(
    A_START,
    *a_text(0, "Let me look."),
    *a_tool(1, "get_weather", "", '{"city": "Par', 'is"}'),
    *a_tool(2, "get_time", ""),
    a_delta("tool_use"),
    A_STOP,
)
ANTHROPIC_THINKING = a_stream(
    A_START,
    *a_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Paris is "},
        {"type": "thinking_delta", "thinking": "in France."},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *a_block(1, {"type": "redacted_thinking", "data": "eHh4"}),
    *a_block(
        2,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"q": 1}'},
    ),
    *a_text(3, "Grey."),
    a_delta("end_turn"),
    A_STOP,
)


def a_message(content: list[dict[str, Any]], reason: str = "end_turn", **more: Any) -> bytes:
    message = {**A_START["message"], "content": content, "stop_reason": reason, **more}
    return json.dumps({**message, "usage": {**A_USAGE, "output_tokens": 12}}).encode()


# Gemini

G_USAGE: dict[str, Any] = {
    "promptTokenCount": 60,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 8,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 72,
}


def candidate(
    *parts: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    return {**found, **({"finishReason": finish} if finish else {}), **more}


def g_answer(*candidates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "candidates": list(candidates),
        "usageMetadata": G_USAGE,
        "modelVersion": "gemini-2.5-pro",
        "responseId": "r-1",
        **more,
    }


def g_stream(*answers: dict[str, Any]) -> bytes:
    return sse(*answers, end="\r\n\r\n")


GEMINI_TEXT = g_stream(
    g_answer(candidate({"text": "Grey, "}), usageMetadata={"promptTokenCount": 60}),
    g_answer(candidate({"text": "11 °C."}, finish="STOP")),
)
GEMINI_TOOLS = g_stream(
    g_answer(candidate({"text": "Let me look."})),
    g_answer(
        candidate(
            {
                "functionCall": {"name": "get_weather", "args": {"city": "Paris"}},
                "thoughtSignature": "c2ln",
            },
            {"functionCall": {"name": "get_time", "args": {}}},
            finish="STOP",
        )
    ),
)
GEMINI_THINKING = g_stream(
    g_answer(candidate({"text": "Paris is in France.", "thought": True})),
    g_answer(
        candidate({"text": "Grey.", "thoughtSignature": "c2ln"}, {"executableCode": {"code": "1"}})
    ),
    g_answer(candidate({"text": ""}, finish="STOP")),
)

STREAMS: dict[str, list[bytes]] = {
    "openai": [OPENAI_TEXT, OPENAI_TOOLS],
    "anthropic": [ANTHROPIC_TEXT, ANTHROPIC_TOOLS, ANTHROPIC_THINKING],
    "gemini": [GEMINI_TEXT, GEMINI_TOOLS, GEMINI_THINKING],
}
