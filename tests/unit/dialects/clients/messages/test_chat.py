"""A messages request as a chat request, and what of it has no other form."""

from typing import Any

import msgspec
import pytest

from extproc.dialects.chat import decode
from tests.unit.dialects.clients.messages.driver import CACHED, CITY, WEATHER, chat, decoded

CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}


def said(**fields: Any) -> dict[str, Any]:
    """The chat request without its messages, as an OpenAI body has it."""
    request = chat(**fields)
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(request))
    assert decode(msgspec.json.encode(request)).model == request.model
    return {key: one for key, one in made.items() if key not in ("model", "messages")}


def test_nothing_is_added_to_a_plain_request() -> None:
    assert said() == {"max_completion_tokens": 99}


def test_parameters() -> None:
    assert said(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop_sequences=["a", "b"],
        stream=True,
        metadata={"user_id": "u-1"},
        service_tier="standard_only",
        cache_control=CACHED,
    ) == {
        "max_completion_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["a", "b"],
        "stream": True,
        "user": "u-1",
        "service_tier": "default",
        "cache_control": CACHED,
    }


def test_any_number_of_stop_sequences_is_handed_on() -> None:
    request = decoded(stop_sequences=list("abcdef")).chat
    assert request is not None
    assert request.stops == list("abcdef")


# --- tools --------------------------------------------------------------------------------


def test_tools() -> None:
    made = said(
        tools=[
            {**WEATHER, "cache_control": CACHED, "eager_input_streaming": True},
            {"type": "custom", "name": "f", "input_schema": CLOSED, "strict": True},
        ]
    )
    assert made["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather of a city.",
                "parameters": CITY,
            },
            "cache_control": CACHED,
        },
        {"type": "function", "function": {"name": "f", "parameters": CLOSED, "strict": True}},
    ]


def test_a_promise_that_openai_does_not_make_is_dropped() -> None:
    request = decoded(
        tools=[{**WEATHER, "strict": True, "input_examples": [{"city": "Paris"}]}],
        output_config={"format": {"type": "json_schema", "schema": CITY}},
    )
    assert request.dropped == (
        "tools.strict (of a schema with optional properties)",
        "tools.input_examples",
        "output_config.format (not strict: a schema with optional properties)",
    )
    assert request.chat is not None
    assert request.chat.tools is not None
    assert request.chat.tools[0].function is not None
    assert request.chat.tools[0].function.strict is None


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "get_weather"},
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": False},
            {"tool_choice": "auto"},
        ),
    ],
)
def test_tool_choice(choice: dict[str, Any], made: dict[str, Any]) -> None:
    found = said(tools=[WEATHER], tool_choice=choice)
    del found["tools"], found["max_completion_tokens"]
    assert found == made


@pytest.mark.parametrize(
    "version", ["web_search_20250305", "web_search_20260209", "web_search_20260318"]
)
def test_web_search(version: str) -> None:
    place = {"type": "approximate", "city": "Paris", "country": "FR", "region": None}
    request = decoded(
        tools=[{**SEARCH, "type": version, "user_location": place, "max_uses": 3}, WEATHER]
    )
    assert request.chat is not None
    assert request.chat.web_search_options == {
        "user_location": {
            "type": "approximate",
            "approximate": {"city": "Paris", "country": "FR"},
        }
    }
    assert len(request.chat.tools or ()) == 1
    assert request.dropped == ("web_search.max_uses",)


@pytest.mark.parametrize("choice", [{"type": "none"}, {"type": "tool", "name": "get_weather"}])
def test_no_search_where_the_choice_leaves_no_room(choice: dict[str, Any]) -> None:
    assert "web_search_options" not in said(tools=[SEARCH, WEATHER], tool_choice=choice)


# --- thinking and form --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
                "output_config": {"effort": "low"},
            },
            {
                "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
                "reasoning_effort": "low",
            },
        ),
        (
            {"thinking": {"type": "adaptive"}},
            {"thinking": {"type": "adaptive"}, "reasoning": {"enabled": True}},
        ),
        (
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "max"},
            },
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "reasoning": {"enabled": True, "effort": "max", "exclude": True},
            },
        ),
        ({"output_config": {"effort": "high"}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "between_tools"}}, {"thinking": {"type": "disabled"}}),
    ],
)
def test_thinking(fields: dict[str, Any], made: dict[str, Any]) -> None:
    assert said(**fields) == {"max_completion_tokens": 99, **made}


def test_effort_without_thinking_is_dropped() -> None:
    request = decoded(
        thinking={"type": "disabled", "block_binding": {}}, output_config={"effort": "low"}
    )
    assert request.dropped == ("output_config.effort (thinking is off)",)


@pytest.mark.parametrize("where", ["output_config", "output_format"])
def test_format(where: str) -> None:
    form = {"type": "json_schema", "schema": CLOSED}
    made = said(**{where: form if where == "output_format" else {"format": form}})
    assert made["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
    }


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({"type": "array", "items": CLOSED}, True),
        ({"type": "array", "items": CITY}, False),
        ({**CLOSED, "properties": {"city": {"anyOf": [CLOSED, CITY]}}}, False),
        ({**CLOSED, "properties": {"properties": {"type": "string"}}, "required": []}, False),
        ({**CLOSED, "properties": {"required": CLOSED}, "required": ["required"]}, True),
        ({**CLOSED, "required": 3}, False),
        ({**CLOSED, "properties": {"city": {"enum": [{"type": "object"}]}}}, True),
    ],
)
def test_strict_where_openai_takes_it(schema: dict[str, Any], strict: bool) -> None:
    request = chat(output_config={"format": {"type": "json_schema", "schema": schema}})
    form: Any = request.response_format
    assert bool(form.json_schema.strict) is strict


# --- what has no other form ---------------------------------------------------------------

ONLY = "only a target that speaks the Messages API"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"container": "c_1"}, f"container: {ONLY} runs code in one"),
        (
            {"mcp_servers": [{"type": "url", "url": "https://x", "name": "s"}]},
            f"mcp_servers: {ONLY} talks to MCP servers itself",
        ),
        ({"thread": {"type": "create"}}, f"thread: {ONLY} keeps conversations"),
        (
            {"compaction": {"type": "summarize"}},
            f"compaction: {ONLY} makes a block of a conversation",
        ),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            f"context_management: {ONLY} edits a prompt",
        ),
        ({"inference_geo": "us"}, f"inference_geo: {ONLY} can be told where to run"),
        ({"max_tokens": 0}, f"max_tokens: {ONLY} reads a prompt without answering it"),
        (
            {"tools": [{**SEARCH, "allowed_domains": ["x.org"]}]},
            f"web_search: {ONLY} keeps a search to domains",
        ),
        (
            {"tools": [SEARCH, WEATHER], "tool_choice": {"type": "tool", "name": "web_search"}},
            f"web_search: {ONLY} can be made to search",
        ),
        (
            {"tools": [SEARCH], "tool_choice": {"type": "any"}},
            f"web_search: {ONLY} can be made to search",
        ),
        (
            {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
            f"hosted_tools: {ONLY} has code_execution_20250825",
        ),
        (
            {"tools": [{"type": "mcp_toolset", "mcp_server_name": "s"}]},
            f"hosted_tools: {ONLY} has mcp_toolset",
        ),
        (
            {"tools": [{"type": "bash_20250124", "name": "bash"}]},
            f"hosted_tools: {ONLY} has bash_20250124",
        ),
        (
            {"tools": [{**WEATHER, "defer_loading": True}]},
            f"hosted_tools: {ONLY} loads tools on demand",
        ),
    ],
)  # fmt: skip
def test_what_only_native_targets_serve(fields: dict[str, Any], why: str) -> None:
    request = decoded(**fields)
    assert request.native_only == why
    assert why.partition(":")[0] in request.uses


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"speed": "fast"}, ("speed",)),
        ({"speed": "standard", "inference_geo": "global", "mcp_servers": []}, ()),
        ({"context_management": {"edits": []}}, ()),
        ({"fallbacks": [{"model": "x"}], "diagnostics": {"a": None}}, ("diagnostics", "fallbacks")),
        ({"user_profile_id": "u", "workspace_id": "w"}, ("user_profile_id", "workspace_id")),
        ({"output_config": {"task_budget": {"total": 9}}}, ("output_config.task_budget",)),
        (
            {"thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "x"}}},
            ("thinking.block_binding",),
        ),
    ],
)
def test_what_goes_without_is_named(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    request = decoded(**fields)
    assert request.dropped == names
    assert request.native_only is None
