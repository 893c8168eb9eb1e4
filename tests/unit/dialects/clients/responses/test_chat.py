from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from extproc.dialects.chat import parse
from tests.unit.dialects.clients.responses.driver import CITY, SQL, WEATHER, decoded

CHAT_WEATHER = {
    "type": "function",
    "function": {name: WEATHER[name] for name in ("name", "description", "parameters", "strict")},
}
FUNCTION = {"type": "function", "name": "get_weather"}


def chat(**fields: Any) -> dict[str, Any]:
    """The request as chat completions say it, which our own reading of those accepts."""
    found = decoded(**fields)
    assert found.native_only is None
    written = msgspec.json.encode(found.chat)
    parse(written)
    tree: dict[str, Any] = json.loads(written)
    return tree


PLAIN = {"model": "flagship", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, {}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"max_output_tokens": 77}, {"max_completion_tokens": 77}),
        ({"stream": True}, {"stream": True}),
        ({"tools": [WEATHER]}, {"tools": [CHAT_WEATHER]}),
        (
            {"tools": [WEATHER], "parallel_tool_calls": False, "tool_choice": "required"},
            {"tools": [CHAT_WEATHER], "parallel_tool_calls": False, "tool_choice": "required"},
        ),
        (
            {"tools": [WEATHER], "tool_choice": FUNCTION},
            {
                "tools": [CHAT_WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
            },
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [FUNCTION]},
            },
            {
                "tools": [CHAT_WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
                    },
                },
            },
        ),
        (
            {"tools": [SQL], "tool_choice": {"type": "custom", "name": "sql"}},
            {
                "tools": [
                    {
                        "type": "custom",
                        "custom": {
                            "name": "sql",
                            "format": {
                                "type": "grammar",
                                "grammar": {"syntax": "lark", "definition": "start: /.+/"},
                            },
                        },
                    }
                ],
                "tool_choice": {"type": "custom", "custom": {"name": "sql"}},
            },
        ),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        (
            {
                "tools": [
                    {
                        "type": "web_search",
                        "search_context_size": "low",
                        "user_location": {"type": "approximate", "country": "FR", "city": None},
                        "filters": {"allowed_domains": []},
                    }
                ]
            },
            {
                "web_search_options": {
                    "search_context_size": "low",
                    "user_location": {"type": "approximate", "approximate": {"country": "FR"}},
                }
            },
        ),
        ({"tools": [{"type": "web_search_preview"}]}, {"web_search_options": {}}),
        ({"tools": [{"type": "web_search"}], "tool_choice": "none"}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "x", "schema": CITY, "strict": True}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": CITY, "strict": True},
                }
            },
        ),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"summary": "auto"}}, {"reasoning": {"enabled": True}}),
        ({"reasoning": {"effort": None, "summary": None}}, {}),
        (
            {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
            {"logprobs": True, "top_logprobs": 3},
        ),
        ({"top_logprobs": 3}, {}),
        ({"include": ["reasoning.encrypted_content"], "store": False}, {}),
        (
            {
                "user": "u",
                "safety_identifier": "s",
                "prompt_cache_key": "k",
                "service_tier": "flex",
            },
            {
                "user": "u",
                "safety_identifier": "s",
                "prompt_cache_key": "k",
                "service_tier": "flex",
            },
        ),
        (
            {"prompt_cache_options": {"ttl": "12h"}, "moderation": {"model": "o"}},
            {"prompt_cache_options": {"ttl": "12h"}, "moderation": {"model": "o"}},
        ),
        ({"metadata": {"team": "blue"}}, {}),
        (
            {"instructions": "Be brief."},
            {"messages": [{"role": "system", "content": "Be brief."}, *PLAIN["messages"]]},
        ),
    ],
)
def test_a_request_as_chat_completions_say_it(fields: dict[str, Any], made: dict[str, Any]) -> None:
    TypeAdapter(ResponseCreateParamsNonStreaming).validate_python(
        {"model": "m", "input": "x", **{k: v for k, v in fields.items() if k != "stream"}}
    )
    assert chat(**fields) == {**PLAIN, **made}
    assert decoded(**fields).dropped == ()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"previous_response_id": "resp_1", "tools": [{"type": "mcp", "server_label": "x"}]},
            "previous_response_id: only a target that keeps responses can go on from one",
        ),
        (
            {"previous_response_id": "", "input": ...},
            "previous_response_id: only a target that keeps responses can go on from one",
        ),
        (
            {"conversation": {"id": "conv_1"}},
            "conversation: only a target that keeps conversations can go on with one",
        ),
        (
            {"prompt": {"id": "pmpt_1"}, "input": ...},
            "prompt: only a target that keeps prompts can fill one in",
        ),
        (
            {"background": True},
            "background: only a target that keeps responses can work on one unwatched",
        ),
        (
            {"prompt_cache_options": {"prewarm": True}},
            (
                "prompt_cache_options: only a target that speaks the Responses API reads a prompt "
                "without answering it"
            ),
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
            "hosted_tools: only a target that speaks the Responses API runs code_interpreter",
        ),
        (
            {"tools": [{"type": "über\n"}]},
            "hosted_tools: only a target that speaks the Responses API runs ?ber?",
        ),
        (
            {"tools": [{**WEATHER, "defer_loading": True}]},
            (
                "hosted_tools: only a target that speaks the Responses API runs tool_search, which "
                "loads tools on demand"
            ),
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "mcp"}],
                },
            },
            "hosted_tools: only a target that speaks the Responses API runs mcp",
        ),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": "required"},
            "web_search: only a target that speaks the Responses API can be made to search",
        ),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search_preview"}},
            "web_search: only a target that speaks the Responses API can be made to search",
        ),
        (
            {"tools": [{"type": "web_search", "filters": {"allowed_domains": ["e.org"]}}]},
            "web_search: only a target that speaks the Responses API holds a search to domains",
        ),
        (
            {"tools": [{"type": "web_search", "external_web_access": False}]},
            "web_search: only a target that speaks the Responses API searches offline",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function"}},
            (
                "tool_choice: only a target that speaks the Responses API runs a choice of no tool "
                "by name"
            ),
        ),
    ],
)
def test_what_only_a_native_target_can_serve(fields: dict[str, Any], why: str) -> None:
    found = decoded(**fields)
    assert found.native_only == why
    assert found.chat is not None
    assert why.partition(":")[0] in found.uses


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"store": True}, "store"),
        ({"truncation": "auto"}, "truncation (too long a prompt is refused)"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"access_programs": {"cyber": "standard"}}, "access_programs"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"image": {"context_compression": "auto"}}, "image"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        (
            {"include": ["web_search_call.action.sources"]},
            "include (web_search_call.action.sources)",
        ),
    ],
)
def test_what_is_dropped_is_said(fields: dict[str, Any], dropped: str) -> None:
    found = decoded(**fields)
    assert found.native_only is None
    assert found.dropped == (dropped,)


@pytest.mark.parametrize("fields", [{"store": False}, {"truncation": "disabled"}, {}])
def test_what_is_so_anyway_is_not_said(fields: dict[str, Any]) -> None:
    assert decoded(**fields).dropped == ()
