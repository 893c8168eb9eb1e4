"""What a request adds to the smallest one to use a feature: a row of the table each."""

from __future__ import annotations

from typing import Any

from tests.unit.dialects.samples import (
    AUDIO,
    CALLS,
    FILE,
    IMAGE,
    RESULTS,
    TIME,
    USER,
    WEATHER,
)

PIXEL = "iVBORw0KGgo="
INLINE: dict[str, Any] = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{PIXEL}"},
}
SCHEMA: dict[str, Any] = {
    "name": "x",
    "schema": {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "strict": True,
}
STRICT: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "strict": True, "parameters": SCHEMA["schema"]},
}
ONE: dict[str, Any] = {"type": "function", "function": {"name": "get_weather"}}
THOUGHT: dict[str, Any] = {
    "role": "assistant",
    "content": "Grey.",
    "reasoning_content": "Look up.",
    "reasoning_details": [
        {
            "type": "reasoning.text",
            "text": "Look up.",
            "signature": "c2ln",
            "format": "anthropic-claude-v1",
        },
        {"type": "reasoning.encrypted", "data": "Z29v", "format": "google-gemini-v1"},
        {"type": "reasoning.text", "text": "Look up.", "format": "cohere-v2"},
    ],
}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "text", "text": "See."}
    return {"messages": [{"role": "user", "content": [text, *parts]}]}


def file(**fields: Any) -> dict[str, Any]:
    return user({"type": "file", "file": fields})


CONVERSATION: dict[str, dict[str, Any]] = {
    "text": {},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, USER]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, USER]},
    "multi-turn": {
        "messages": [
            USER,
            {"role": "assistant", "content": "Grey."},
            {"role": "user", "content": "And tomorrow?"},
        ]
    },
    "refusal of an earlier turn": {
        "messages": [USER, {"role": "assistant", "refusal": "No."}, {**USER, "content": "Why?"}]
    },
    "image by URL": user(IMAGE),
    "image as base64": user(INLINE),
    "image detail": user(
        {"type": "image_url", "image_url": {**INLINE["image_url"], "detail": "high"}}
    ),
    "PDF as base64": user(FILE),
    "PDF by URL": file(filename="a.pdf", file_data="https://example.com/a.pdf"),
    "text file": file(filename="a.txt", file_data="data:text/plain;base64,aGk="),
    "other file": file(filename="a.zip", file_data="data:application/zip;base64,UEs="),
    "file by id": file(file_id="file-abc123"),
    "audio in": user(AUDIO),
    "audio out": {"modalities": ["text", "audio"], "audio": {"voice": "ash", "format": "wav"}},
}
TOOLS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [WEATHER]},
    "strict schemas": {"tools": [STRICT]},
    "parallel calls": {"tools": [WEATHER, TIME], "parallel_tool_calls": True},
    "one call at a time": {"tools": [WEATHER, TIME], "parallel_tool_calls": False},
    "a tool must be called": {"tools": [WEATHER], "tool_choice": "required"},
    "one tool must be called": {"tools": [WEATHER, TIME], "tool_choice": ONE},
    "no tool may be called": {"tools": [WEATHER], "tool_choice": "none"},
    "allowed tools": {
        "tools": [WEATHER, TIME],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [ONE]},
        },
    },
    "tool results": {"messages": [USER, CALLS, *RESULTS], "tools": [WEATHER, TIME]},
    "results with images": {
        "messages": [
            USER,
            CALLS,
            RESULTS[0],
            {"role": "tool", "tool_call_id": "call_2", "content": [INLINE]},
        ],
        "tools": [WEATHER, TIME],
    },
    "failed results": {
        "messages": [USER, CALLS, {**RESULTS[0], "is_error": True}, RESULTS[1]],
        "tools": [WEATHER, TIME],
    },
    "custom tools": {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
    "vendor tools": {"tools": [{"type": "openrouter:web_search", "parameters": {"x": 1.0}}]},
    "functions": {"functions": [WEATHER["function"]], "function_call": {"name": "get_weather"}},
    "web search": {"web_search_options": {}},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "JSON object": {"response_format": {"type": "json_object"}},
    "JSON schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "JSON schema beside tools": {
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
        "tools": [WEATHER],
    },
    "reasoning effort": {"reasoning_effort": "high"},
    "reasoning budget": {"reasoning": {"max_tokens": 2000}},
    "thinking, Anthropic's way": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "thinking off": {"reasoning_effort": "none"},
    "thinking of earlier turns": {
        "messages": [USER, THOUGHT, {"role": "user", "content": "And tomorrow?"}],
        "reasoning_effort": "high",
    },
    "verbosity": {"verbosity": "low"},
    "prediction": {"prediction": {"type": "content", "content": "Grey."}},
    "n": {"n": 2},
    "stop": {"stop": ["END", "\n\n."]},
    "max tokens": {"max_completion_tokens": 77},
}
SAMPLING: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.5},
    "temperature above 1": {"temperature": 1.5},
    "top_p": {"top_p": 0.9},
    "top_k": {"top_k": 40},
    "seed": {"seed": 7},
    "penalties": {"presence_penalty": 0.5, "frequency_penalty": 0.25},
    "logit_bias": {"logit_bias": {"42": -100}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
}
SERVICE: dict[str, dict[str, Any]] = {
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
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "user": {"user": "u-1"},
    "safety_identifier": {"safety_identifier": "s-1"},
    "metadata of what is stored": {"metadata": {"team": "blue"}, "store": True},
    "store": {"store": True},
    "unknown fields": {"min_p": 0.10, "chat_template_kwargs": {"x": [1e2]}},
}
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "Conversation": CONVERSATION,
    "Tools": TOOLS,
    "The answer": ANSWERS,
    "Sampling": SAMPLING,
    "Service": SERVICE,
}
FEATURES: dict[str, dict[str, Any]] = {
    name: fields for group in GROUPS.values() for name, fields in group.items()
}
