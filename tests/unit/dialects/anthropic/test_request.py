from typing import Any

import pytest
from pydantic import ValidationError

from extproc.dialects.anthropic import Anthropic
from extproc.errors import ClientError
from tests.unit.dialects.anthropic.sending import MODEL, PARAMS, sent, text, turn
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import (
    CALLS,
    FEATURES,
    RESULTS,
    TIME,
    USER,
    WEATHER,
    body,
    drain,
)

ANTHROPIC = Level(Anthropic(), model="claude-sonnet-4-5")
ANTHROPIC = Level(Anthropic(), model=MODEL)


def test_the_check_against_the_sdk_bites() -> None:
    wrong = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": [{"type": 1}]}],
    }
    with pytest.raises(ValidationError):
        drain(PARAMS.validate_python(wrong))


def test_text() -> None:
    tree, warnings = sent({})
    assert tree == {
        "model": MODEL,
        "max_tokens": 4096,
        "messages": [turn("user", "What is the weather in Paris?")],
    }
    assert warnings == ()


def test_stream_is_asked_for() -> None:
    assert sent({"stream": True, "stream_options": {"include_usage": True}})[0]["stream"] is True


def test_base_path() -> None:
    wire = ANTHROPIC.request(body(), base_path="/proxy/v1/")
    assert wire.path == "/proxy/v1/messages"


def test_system_and_developer_messages_come_first() -> None:
    tree, _ = sent(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                USER,
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            ]
        }
    )
    assert tree["system"] == [text("Be brief."), text("Be kind.")]
    assert [one["role"] for one in tree["messages"]] == ["user"]


def test_instructions_alone_are_said_by_the_user() -> None:
    tree, _ = sent({"messages": [{"role": "developer", "content": "Hello"}]})
    assert "system" not in tree
    assert tree["messages"] == [turn("user", "Hello")]


def test_multi_turn() -> None:
    assert sent(FEATURES["multi-turn"])[0]["messages"] == [
        turn("user", "What is the weather in Paris?"),
        turn("assistant", "Grey."),
        turn("user", "And tomorrow?"),
    ]


def test_neighbours_of_one_role_are_one_turn() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [text("b"), text("c")]},
        {"role": "assistant", "content": "d"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "e"}]},
        {"role": "user", "content": "f"},
    ]
    assert sent({"messages": messages})[0]["messages"] == [
        turn("user", "a", "b", "c"),
        turn("assistant", "d", "e"),
        turn("user", "f"),
    ]


def test_empty_text_is_left_out() -> None:
    messages = [
        {"role": "system", "content": "  "},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [text("\n"), text("b")]},
    ]
    tree, _ = sent({"messages": messages})
    assert "system" not in tree
    assert tree["messages"] == [turn("user", "a", "b")]
    assert sent({"messages": [{"role": "user", "content": ""}]})[0]["messages"] == [
        turn("user", ".")
    ]


def test_the_first_turn_is_the_users() -> None:
    messages = [{"role": "assistant", "content": "How can I help?"}, USER]
    assert sent({"messages": messages})[0]["messages"][0] == turn("user", ".")


def test_the_last_assistant_turn_does_not_end_in_white_space() -> None:
    messages = [USER, {"role": "assistant", "content": "The weather is \n"}]
    assert sent({"messages": messages})[0]["messages"][-1] == turn("assistant", "The weather is")


def test_tools() -> None:
    tree, warnings = sent({"tools": [WEATHER, TIME]})
    function = WEATHER["function"]
    assert tree["tools"] == [
        {
            "name": "get_weather",
            "description": "The weather of a city.",
            "input_schema": function["parameters"],
        },
        {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in tree
    assert warnings == ()


NAMED = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (NAMED, None, {"type": "tool", "name": "get_time"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (None, None, None),
    ],
)
def test_tool_choice(choice: Any, parallel: bool | None, expected: Any) -> None:
    fields = {"tools": [WEATHER, TIME], "tool_choice": choice, "parallel_tool_calls": parallel}
    assert sent(fields)[0].get("tool_choice") == expected


@pytest.mark.parametrize(("mode", "expected"), [("auto", "auto"), ("required", "any")])
def test_allowed_tools(mode: str, expected: str) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}
    tree, _ = sent({"tools": [WEATHER, TIME], "tool_choice": choice})
    assert [one["name"] for one in tree["tools"]] == ["get_time"]
    assert tree["tool_choice"] == {"type": expected}


def test_tool_results() -> None:
    after = {"role": "user", "content": "And?"}
    tree, _ = sent({"messages": [USER, CALLS, *RESULTS, after], "tools": [WEATHER, TIME]})
    assert tree["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "call_1",
                    "name": "get_weather",
                    "input": {"city": "Paris", "days": 1.0},
                },
                {"type": "tool_use", "id": "call_2", "name": "get_time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": '{"sky": "grey", "t": 11.50}',
                },
                {"type": "tool_result", "tool_use_id": "call_2", "content": [text("noon")]},
                text("And?"),
            ],
        },
    ]


def test_results_stand_before_text_of_their_turn() -> None:
    between = {"role": "user", "content": "Hurry."}
    tree, _ = sent(
        {"messages": [USER, CALLS, RESULTS[0], between, RESULTS[1]], "tools": [WEATHER, TIME]}
    )
    kinds = [one["type"] for one in tree["messages"][-1]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]


def test_an_empty_result_is_a_result() -> None:
    results = [{**one, "content": ""} for one in RESULTS]
    tree, _ = sent({"messages": [USER, CALLS, *results], "tools": [WEATHER, TIME]})
    assert [one["tool_use_id"] for one in tree["messages"][-1]["content"]] == ["call_1", "call_2"]


def test_arguments_keep_their_digits() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.50}'}}
    result = {"role": "tool", "tool_call_id": "a", "content": "ok"}
    given = body(messages=[USER, {"role": "assistant", "tool_calls": [call]}, result])
    made = ANTHROPIC.request(given).body
    assert b'"input":{"x": 1.50}' in made


def test_calls_without_tools_get_tools_that_may_not_be_called() -> None:
    tree, _ = sent({"messages": [USER, CALLS, *RESULTS]})
    assert [one["name"] for one in tree["tools"]] == ["get_time", "get_weather"]
    assert tree["tool_choice"] == {"type": "none"}


def test_ids_of_other_providers_are_made_to_fit_and_still_match() -> None:
    def history(one: str) -> list[dict[str, Any]]:
        call = {"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": one, "content": "ok"}
        return [USER, {"role": "assistant", "tool_calls": [call]}, result]

    seen = set()
    for one in ("functions.f:0", "functions.f.0", "", "é" * 300):
        tree, _ = sent({"messages": history(one)})
        [use], [result] = (tree["messages"][i]["content"] for i in (1, 2))
        assert use["id"] == result["tool_use_id"]
        assert set(use["id"]) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
        )
        assert 0 < len(use["id"]) <= 64
        seen.add(use["id"])
    assert len(seen) == 4


def test_ids_that_come_again_are_told_apart() -> None:
    call = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    step = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0", "content": "ok"},
    ]
    tree, _ = sent({"messages": [USER, *step, *step, *step]})
    turns = [one["content"][0] for one in tree["messages"][1:]]
    pairs = [
        (use["id"], result["tool_use_id"])
        for use, result in zip(turns[::2], turns[1::2], strict=True)
    ]
    assert all(use == result for use, result in pairs)
    assert len(set(pairs)) == 3


def test_a_conversation_that_ends_with_the_assistant_goes_on() -> None:
    messages = [USER, {"role": "assistant", "content": "The weather is"}]
    assert sent({"messages": messages})[0]["messages"][-1]["role"] == "assistant"
    for model in ("claude-opus-4-6", "claude-sonnet-5"):
        tree, _ = sent({"messages": messages}, model)
        assert tree["messages"][-1] == turn("user", "Continue.")


def test_stop() -> None:
    assert sent({"stop": "END"})[0]["stop_sequences"] == ["END"]
    assert sent({"stop": ["a", "b"]})[0]["stop_sequences"] == ["a", "b"]


def test_max_tokens() -> None:
    assert sent({"max_tokens": 7})[0]["max_tokens"] == 7
    assert sent({"max_completion_tokens": 8}, cap=100)[0]["max_tokens"] == 8
    assert sent({}, cap=64_000)[0]["max_tokens"] == 64_000
    assert sent({"max_tokens": 200}, cap=100)[0]["max_tokens"] == 200


@pytest.mark.parametrize(
    ("model", "given", "expected", "warnings"),
    [
        (MODEL, {"temperature": 0.5}, {"temperature": 0.5}, ()),
        (MODEL, {"top_p": 0.9}, {"top_p": 0.9}, ()),
        (MODEL, {"temperature": 0.5, "top_p": 1}, {"temperature": 0.5}, ()),
        (MODEL, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ("top_p",)),
        (
            "claude-3-5-haiku-20241022",
            {"temperature": 0.5, "top_p": 0.9},
            {"temperature": 0.5, "top_p": 0.9},
            (),
        ),
        (
            "claude-sonnet-4-20250514",
            {"temperature": 0.5, "top_p": 0.9},
            {"temperature": 0.5, "top_p": 0.9},
            (),
        ),
        (MODEL, {"temperature": 1.5}, {"temperature": 1.0}, ("temperature (above 1: 1 was sent)",)),
        ("claude-opus-4-7", {"temperature": 0.5, "top_p": 0.9}, {}, ("temperature", "top_p")),
        ("claude-sonnet-5", {"temperature": 0}, {}, ("temperature",)),
        ("claude-opus-4-8-20260901", {"temperature": 1, "top_p": 1}, {}, ()),
        ("claude-next", {"temperature": 0.5}, {}, ("temperature",)),
        (MODEL, {"top_k": 40}, {"top_k": 40}, ()),
        ("claude-sonnet-5", {"top_k": 40}, {}, ("top_k",)),
        ("minimax-m2", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
    ],
)
def test_temperature_and_top_p(
    model: str, given: dict[str, Any], expected: dict[str, Any], warnings: tuple[str, ...]
) -> None:
    tree, warned = sent(given, model)
    assert {
        name: tree[name] for name in ("temperature", "top_p", "top_k") if name in tree
    } == expected
    assert warned == warnings


def test_user_goes_along_and_metadata_stays() -> None:
    tree, warnings = sent(FEATURES["user and metadata"])
    assert tree["metadata"] == {"user_id": "u-1"}
    assert sent({"safety_identifier": "s-1"})[0]["metadata"] == {"user_id": "s-1"}
    assert warnings == ()


@pytest.mark.parametrize(
    ("given", "expected", "warnings"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("flex", "standard_only", ("service_tier",)),
    ],
)
def test_service_tier(given: str, expected: str, warnings: tuple[str, ...]) -> None:
    tree, warned = sent({"service_tier": given})
    assert (tree["service_tier"], warned) == (expected, warnings)


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({"seed": 7}, ("seed",)),
        (FEATURES["penalties"], ("presence_penalty", "frequency_penalty")),
        ({"presence_penalty": 0, "frequency_penalty": 0}, ()),
        ({"verbosity": "low"}, ("verbosity",)),
        ({"store": True}, ("store",)),
        ({"min_p": 0.1, "x\n": 1}, ("min_p", "x?")),
        ({"prompt_cache_retention": "24h"}, ("prompt_cache_retention",)),
        ({"prediction": {"type": "content", "content": "x"}}, ("prediction",)),
        ({"models": ["a"], "prompt_cache_key": "k"}, ()),
    ],
)
def test_what_is_dropped_is_said(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    tree, warned = sent(fields)
    assert warned == warnings
    assert set(tree) == {"model", "max_tokens", "messages"}


HOUR = {"type": "ephemeral", "ttl": "1h"}


def test_cache_control_is_kept() -> None:
    cached = {**text("long"), "cache_control": HOUR}
    plain: dict[str, Any] = {"type": "ephemeral"}
    call = {**CALLS["tool_calls"][0], "cache_control": plain}
    messages = [
        {"role": "system", "content": [cached]},
        {"role": "developer", "content": "b", "cache_control": plain},
        {"role": "user", "content": [cached]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {**RESULTS[0], "cache_control": HOUR},
        {"role": "assistant", "content": "c", "cache_control": plain},
        {"role": "user", "content": [text("d"), text("e")], "cache_control": HOUR},
    ]
    tree, warned = sent(
        {
            "messages": messages,
            "tools": [{**WEATHER, "cache_control": HOUR}],
            "cache_control": plain,
        }
    )
    assert tree["system"] == [cached, {**text("b"), "cache_control": plain}]
    marks = [[block.get("cache_control") for block in turn["content"]] for turn in tree["messages"]]
    assert marks == [[HOUR], [plain], [HOUR], [plain], [None, HOUR]]
    assert tree["tools"][0]["cache_control"] == HOUR
    assert tree["cache_control"] == plain
    assert warned == ()


def test_legacy_functions_are_tools() -> None:
    function = WEATHER["function"]
    messages = [
        USER,
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
        },
        {"role": "function", "name": "get_weather", "content": "grey"},
    ]
    tree, warned = sent({"messages": messages, "functions": [function]})
    assert tree["tools"][0]["input_schema"] == function["parameters"]
    assert tree["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    [use], [result] = (turn["content"] for turn in tree["messages"][1:])
    assert (use["type"], use["name"], use["input"]) == (
        "tool_use",
        "get_weather",
        {"city": "Paris"},
    )
    assert (result["tool_use_id"], result["content"]) == (use["id"], "grey")
    assert warned == ()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("none", {"type": "none"}),
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"name": "get_weather"},
            {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_function_call_is_a_tool_choice(call: Any, expected: Any) -> None:
    tree, _ = sent({"functions": [WEATHER["function"]], "function_call": call})
    assert tree["tool_choice"] == expected


def test_a_tool_that_failed_is_told_so() -> None:
    results = [{**RESULTS[0], "is_error": True}, {**RESULTS[1], "is_error": False}]
    tree, _ = sent({"messages": [USER, CALLS, *results], "tools": [WEATHER, TIME]})
    assert [one.get("is_error") for one in tree["messages"][-1]["content"]] == [True, None]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1"])
def test_a_choice_that_the_model_cannot_be_forced_to_is_asked_for(model: str) -> None:
    tools = {"tools": [WEATHER, TIME]}
    tree, warned = sent({**tools, "tool_choice": "required"}, model)
    assert "tool_choice" not in tree
    assert tree["system"] == [
        text("You must call at least one of your tools before you end your turn.")
    ]
    assert warned == ("tool_choice (asked for in words)",)
    tree, warned = sent({**tools, "tool_choice": NAMED, "parallel_tool_calls": False}, model)
    assert tree["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert [one["name"] for one in tree["tools"]] == ["get_time"]
    assert tree["system"] == [text('You must call the tool "get_time" before you end your turn.')]
    assert warned == ("tool_choice (asked for in words)",)


def test_web_search() -> None:
    location = {
        "country": "FR",
        "city": "Paris",
        "region": "Île-de-France",
        "timezone": "Europe/Paris",
    }
    options = {
        "user_location": {"type": "approximate", "approximate": location},
        "search_context_size": "low",
    }
    tree, warned = sent({"web_search_options": options, "tools": [TIME]})
    assert tree["tools"][1] == {
        "type": "web_search_20250305",
        "name": "web_search",
        "user_location": {"type": "approximate", **location},
    }
    assert "tool_choice" not in tree
    assert warned == ("web_search_options.search_context_size",)
    plain, warned = sent({"web_search_options": {"search_context_size": "medium"}})
    assert plain["tools"] == [{"type": "web_search_20250305", "name": "web_search"}]
    assert warned == ()


VENDOR = {"type": "openrouter:web_search"}
NO_LIST = {"name": "x", "schema": {"type": "array"}}


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        (MODEL, {"stop": "\n"}, "stop: Anthropic takes no stop sequence of white space alone"),
        (MODEL, {"tools": [{"type": "custom", "custom": {"name": "s"}}]}, "custom_tools: "),
        (MODEL, {"tools": [VENDOR]}, "vendor_tools: "),
        (MODEL, {"n": 2}, "n: Anthropic gives one answer a request"),
        (MODEL, FEATURES["logprobs"], "logprobs: Anthropic has no log probabilities"),
        (MODEL, FEATURES["logit_bias"], "logit_bias: Anthropic has no logit bias"),
        (MODEL, FEATURES["audio"], "audio: Anthropic neither hears nor speaks"),
        (
            MODEL,
            {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "x"}},
            "audio: Anthropic neither hears nor speaks",
        ),
        (
            "claude-3-opus-20240229",
            {"reasoning_effort": "low"},
            "reasoning: this model of Anthropic does not think",
        ),
        (
            "claude-3-opus-20240229",
            {"web_search_options": {}},
            "web_search: this model of Anthropic cannot search",
        ),
        (
            MODEL,
            {
                "web_search_options": {},
                "functions": [{"name": "web_search"}],
            },
            "web_search: a tool of the client has the name of Anthropic's own",
        ),
        (
            "claude-opus-4-1",
            {"response_format": {"type": "json_schema", "json_schema": NO_LIST}},
            "json_schema: Anthropic can be made to give objects, not 'array'",
        ),
        (
            MODEL,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "array", "items": {}}},
                },
            },
            "json_schema: Anthropic can be made to give objects, not 'array'",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(model: str, fields: dict[str, Any], says: str) -> None:
    level = Level(Anthropic(), model=model)
    detail = level.lacks(body(**fields))
    assert detail is not None
    assert detail.startswith(says)
    with pytest.raises(ClientError) as raised:
        level.request(body(**fields))
    assert raised.value.message == detail
    assert raised.value.status == 400


@pytest.mark.parametrize("bad", ["{", "[]", "null", '"x"', "{} {}", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_by_name(bad: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": bad}}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}]
    assert ANTHROPIC.lacks(body(messages=messages)) == (
        "tools: messages[1].tool_calls[0].function.arguments is not a JSON object"
    )
    old = {"role": "assistant", "content": None, "function_call": call["function"]}
    assert ANTHROPIC.lacks(body(messages=[USER, old])) == (
        "functions: messages[1].function_call.arguments is not a JSON object"
    )
