"""Anthropic's Messages API."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.samples.shapes import SCHEMA, USER, Client, body, named

REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    {"model": "m", "max_tokens": 100, "messages": [USER]},
    {
        "model": "m",
        "max_tokens": 2000,
        "system": [{"type": "text", "text": "Brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
                    {
                        "type": "document",
                        "source": {
                            "type": "base64",
                            "media_type": "application/pdf",
                            "data": "JVBERg==",
                        },
                        "title": "a.pdf",
                        "citations": {"enabled": True},
                    },
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "plain"},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "c2VhbGVk"},
                    {
                        "type": "tool_use",
                        "id": "toolu_1",
                        "name": "get_weather",
                        "input": {"city": "Paris"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "grey"}],
                        "is_error": False,
                    },
                    {"type": "text", "text": "So?"},
                ],
            },
        ],
        "tools": [
            {
                "name": "get_weather",
                "description": "Weather.",
                "input_schema": SCHEMA,
                "cache_control": {"type": "ephemeral", "ttl": "1h"},
            }
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stream": True,
    },
    {
        "model": "m",
        "max_tokens": 10,
        "system": "Brief.",
        "messages": [USER, {"role": "assistant", "content": "Gr"}],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 5,
        "top_p": 0.9,
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "tool_choice": {"type": "tool", "name": "web_search"},
    },
)
_ANTHROPIC_USAGE: Final = {
    "input_tokens": 6,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
    "output_tokens": 5,
    "service_tier": "standard",
}


def _anthropic(*content: dict[str, Any], stop: str | None) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": "END" if stop == "stop_sequence" else None,
        "usage": _ANTHROPIC_USAGE,
    }


ANSWERS: Final = body(
    _anthropic({"type": "text", "text": "Grey."}, stop="end_turn"),
    _anthropic(
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VhbGVk"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1.0, None]}},
        stop="tool_use",
    ),
    _anthropic(
        {
            "type": "text",
            "text": "See.",
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "x",
                    "document_index": 0,
                    "document_title": "t",
                    "start_char_index": 0,
                    "end_char_index": 1,
                },
                {
                    "type": "web_search_result_location",
                    "url": "https://example.com",
                    "title": "t",
                    "cited_text": "x",
                    "encrypted_index": "eA==",
                },
            ],
        },
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        stop="stop_sequence",
    ),
    _anthropic(stop="refusal"),
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
)


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": one} for one in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _ended(reason: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]


_STARTED: Final = {"type": "message_start", "message": _anthropic(stop=None)}
STREAMS: Final = (
    named(
        _STARTED,
        {"type": "ping"},
        *_block(
            0,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Gr\u00fc"},
            {"type": "text_delta", "text": "n."},
        ),
        *_ended("end_turn"),
    ),
    named(
        _STARTED,
        *_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        *_block(1, {"type": "redacted_thinking", "data": "c2VhbGVk"}),
        *_block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a"'},
            {"type": "input_json_delta", "partial_json": ": 1}"},
        ),
        *_ended("tool_use"),
    ),
    named(
        _STARTED,
        *_block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "x"},
            {
                "type": "citations_delta",
                "citation": {
                    "type": "web_search_result_location",
                    "url": "https://example.com",
                    "title": "t",
                    "cited_text": "x",
                    "encrypted_index": "eA==",
                },
            },
        ),
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ),
)
COUNTED: Final = body({"input_tokens": 14})
MESSAGES: Final = Client(body(*REQUESTS), ANSWERS, STREAMS)
COUNT_TOKENS: Final = Client(
    body(
        {"model": "m", "messages": [USER]},
        *(
            {
                name: value
                for name, value in one.items()
                if name in {"model", "messages", "system", "tools", "tool_choice", "thinking"}
            }
            for one in REQUESTS[1:]
        ),
    ),
    COUNTED,
)
