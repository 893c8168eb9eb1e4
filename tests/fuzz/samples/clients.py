"""Requests in each client's format, and answers as its providers give them."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.samples import messages, responses
from tests.fuzz.samples.shapes import CALL, PDF, PNG, SCHEMA, TOOL, USER, Client, body, unnamed

# --- OpenAI chat completions --------------------------------------------------------------

_CHAT_REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    {"model": "m", "messages": [USER]},
    {
        "model": "m",
        "messages": [{"role": "developer", "content": "Be brief."}, USER],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
        "max_completion_tokens": 7,
    },
    {
        "model": "m",
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [CALL],
                "reasoning_content": "Hm.",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "Hm.",
                        "signature": "c2ln",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                    },
                    {
                        "type": "reasoning.encrypted",
                        "data": "c2VhbGVk",
                        "id": "rs_1",
                        "format": "openai-responses-v1",
                    },
                ],
            },
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": [{"type": "text", "text": "grey"}],
            },
        ],
        "tools": [TOOL],
        "reasoning_effort": "high",
    },
    {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
                ],
            }
        ],
    },
    {
        "model": "m",
        "messages": [USER],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
        },
        "stop": ["END", "\n\n."],
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "user": "u-1",
        "metadata": {"team": "blue"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "verbosity": "low",
        "min_p": 0.1,
    },
    {
        "model": "m",
        "models": ["a", "b"],
        "messages": [USER],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {"42": -100},
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "service_tier": "flex",
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
        "web_search_options": {},
        "prediction": {"type": "content", "content": "x"},
        "store": True,
    },
)
_USAGE: Final = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
}


def _completion(message: dict[str, Any], finish: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _USAGE,
        **fields,
    }


_COMPLETIONS_OF_CHAT: Final = (
    _completion({"role": "assistant", "content": "Grey.", "refusal": None}, "stop"),
    _completion(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL],
            "reasoning_content": "Hm.",
            "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm.", "index": 0}],
        },
        "tool_calls",
        service_tier="default",
    ),
    _completion(
        {
            "role": "assistant",
            "content": "See [1].",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://example.com",
                        "title": "t",
                        "start_index": 0,
                        "end_index": 3,
                    },
                }
            ],
            "images": [{"type": "image_url", "image_url": {"url": PNG}}],
        },
        "length",
    ),
    _completion({"role": "assistant", "content": "", "refusal": "No."}, "content_filter"),
    _completion({"role": "assistant", "content": None, "reasoning": "Hm."}, "stop"),
    _completion(
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                {"type": "text", "text": "Grey."},
            ],
        },
        "stop",
    ),
    {"error": {"message": "slow down", "type": "rate_limit_error", "code": 429}},
)


def _chunk(*deltas: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m-1",
        "choices": [
            {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            for index, delta in enumerate(deltas)
        ],
        **fields,
    }


CHUNKS: Final = (
    unnamed(
        _chunk({"role": "assistant", "content": "", "refusal": None}),
        _chunk({"content": "Gr\u00fc"}),
        _chunk({"content": "n."}),
        _chunk({}, finish="stop"),
        _chunk(usage=_USAGE),
    ),
    unnamed(
        _chunk({"role": "assistant", "reasoning_content": "Hm."}),
        _chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        _chunk({}, finish="tool_calls", usage=_USAGE),
    ),
    unnamed(
        _chunk({"role": "assistant", "reasoning": "Hm."}, {"content": "b"}),
        _chunk({"refusal": "No."}, {"content": [{"type": "text", "text": "c"}]}),
        _chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "eA=="}]}),
        _chunk({}, {}, finish="content_filter", x_groq={"usage": _USAGE}),
        {"error": {"message": "overloaded", "type": "server_error", "code": None}},
        done=False,
    ),
)
CHAT_ANSWERS: Final = body(*_COMPLETIONS_OF_CHAT)

# --- OpenAI completions and embeddings ----------------------------------------------------

_COMPLETIONS: Final = Client(
    body(
        {"model": "m", "prompt": "Once"},
        {
            "model": "m",
            "prompt": ["a", "b"],
            "suffix": "end",
            "max_tokens": 5,
            "logprobs": 2,
            "echo": True,
            "best_of": 2,
            "n": 2,
            "stop": "\n",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        {"model": "m", "prompt": [1, 2, 3], "temperature": 0, "seed": 1},
        {"model": "m", "prompt": [[1, 2], [3]], "user": "u"},
    ),
    body(
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1700000000,
            "model": "m-1",
            "choices": [{"text": "upon", "index": 0, "logprobs": None, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ),
    (
        unnamed(
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1700000000,
                "model": "m-1",
                "choices": [{"text": "up", "index": 0, "logprobs": None, "finish_reason": None}],
            },
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1700000000,
                "model": "m-1",
                "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            },
        ),
    ),
)
EMBEDDED: Final = body(
    {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -0.25, 1e-05]},
            {"object": "embedding", "index": 1, "embedding": "AAAAPwAAgL4="},
        ],
        "model": "m-1",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
)
_EMBEDDINGS: Final = Client(
    body(
        {"model": "m", "input": "a"},
        {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 256},
        {"model": "m", "input": [1, 2], "encoding_format": "float", "user": "u"},
        {"model": "m", "input": [[1, 2], [3]], "input_type": "query"},
    ),
    EMBEDDED,
)

# --- all ----------------------------------------------------------------------------------

CLIENTS: Final[dict[str, Client]] = {
    "chat": Client(body(*_CHAT_REQUESTS), CHAT_ANSWERS, CHUNKS),
    "completions": _COMPLETIONS,
    "embeddings": _EMBEDDINGS,
    "responses": responses.RESPONSES,
    "messages": messages.MESSAGES,
    "count_tokens": messages.COUNT_TOKENS,
}
