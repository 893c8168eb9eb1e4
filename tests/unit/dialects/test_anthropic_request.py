import itertools
import json
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from pydantic import TypeAdapter, ValidationError

from extproc.dialects import chat
from extproc.dialects.anthropic import Anthropic
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

ANTHROPIC = Anthropic()
PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsBase)
MODEL = "claude-sonnet-4-5"


def sent(
    fields: dict[str, Any], model: str = MODEL, cap: int | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as Anthropic gets it, held against the SDK's type, and the warnings."""
    given = body(**fields)
    assert ANTHROPIC.lacks(chat.parse(given)) is None
    wire = ANTHROPIC.request(given, model, base_path=None, output_cap=cap)
    assert wire.path == "/v1/messages"
    assert dict(wire.headers) == {
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    tree = json.loads(wire.body)
    drain(PARAMS.validate_python(tree))
    for turn in tree["messages"]:
        assert turn["content"]
        if isinstance(turn["content"], str):
            turn["content"] = [text(turn["content"])]
    roles = [turn["role"] for turn in tree["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in itertools.pairwise(roles))
    return tree, wire.warnings


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def turn(role: str, *said: str) -> dict[str, Any]:
    return {"role": role, "content": [text(one) for one in said]}


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
    wire = ANTHROPIC.request(body(), MODEL, base_path="/proxy/v1/", output_cap=None)
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


def test_a_strict_schema_is_sent_without_the_promise() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}
    tree, warnings = sent({"tools": [tool, tool]})
    assert "strict" not in tree["tools"][0]
    assert warnings == ("tools.function.strict",)


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
    made = ANTHROPIC.request(given, MODEL, base_path=None, output_cap=None).body
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
        ("minimax-m2", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
    ],
)
def test_temperature_and_top_p(
    model: str, given: dict[str, Any], expected: dict[str, Any], warnings: tuple[str, ...]
) -> None:
    tree, warned = sent(given, model)
    assert {name: tree[name] for name in ("temperature", "top_p") if name in tree} == expected
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
        ({"models": ["a"], "prompt_cache_key": "k"}, ()),
    ],
)
def test_what_is_dropped_is_said(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    tree, warned = sent(fields)
    assert warned == warnings
    assert set(tree) == {"model", "max_tokens", "messages"}


def test_cache_control_is_kept() -> None:
    cached = {**text("long"), "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "system", "content": [cached]}, {"role": "user", "content": [cached]}]
    tree, _ = sent({"messages": messages})
    assert tree["system"] == [cached]
    assert tree["messages"][0]["content"] == [cached]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stop": "\n"}, "stop: Anthropic takes no stop sequence of white space alone"),
        ({"tools": [{"type": "custom", "custom": {"name": "s"}}]}, "custom_tools: "),
    ],
)
def test_lacks(fields: dict[str, Any], says: str) -> None:
    detail = ANTHROPIC.lacks(chat.parse(body(**fields)))
    assert detail is not None
    assert detail.startswith(says)


@pytest.mark.parametrize("bad", ["{", "[]", "null", '"x"', "{} {}", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_by_name(bad: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": bad}}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}]
    assert ANTHROPIC.lacks(chat.parse(body(messages=messages))) == (
        "tools: messages[1].tool_calls[0].function.arguments is not a JSON object"
    )
