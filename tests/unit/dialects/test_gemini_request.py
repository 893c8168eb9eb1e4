import itertools
import json
from typing import Any

import pytest
from google.genai import types

from extproc.dialects import chat
from extproc.dialects.gemini import Gemini
from tests.unit.dialects.samples import CALLS, FEATURES, RESULTS, TIME, USER, WEATHER, body

GEMINI = Gemini()
MODEL = "gemini-2.5-pro"
FIELDS: dict[str, Any] = {
    "systemInstruction": types.Content,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
}


def sent(fields: dict[str, Any], model: str = MODEL) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as Gemini gets it, held against the SDK's types, and the warnings."""
    given = body(**fields)
    assert GEMINI.lacks(chat.parse(given)) is None
    wire = GEMINI.request(given, model, base_path=None, output_cap=None)
    assert wire.headers == (("content-type", "application/json"),)
    tree = json.loads(wire.body)
    for name, value in tree.items():
        if name == "contents":
            for one in value:
                types.Content.model_validate(one)
                assert one["parts"]
        elif name == "tools":
            for one in value:
                types.Tool.model_validate(one)
        else:
            FIELDS[name].model_validate(value)
    roles = [one["role"] for one in tree["contents"]]
    assert roles[0] == "user"
    assert set(roles) <= {"user", "model"}
    assert all(one != other for one, other in itertools.pairwise(roles))
    return tree, wire.warnings


def turn(role: str, *said: str) -> dict[str, Any]:
    return {"parts": [{"text": one} for one in said], "role": role}


@pytest.mark.parametrize(
    ("model", "stream", "base", "path"),
    [
        (MODEL, False, None, "/v1beta/models/gemini-2.5-pro:generateContent"),
        (MODEL, True, None, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (MODEL, False, "/v1/", "/v1/models/gemini-2.5-pro:generateContent"),
        ("tunedModels/x", False, None, "/v1beta/tunedModels/x:generateContent"),
        ("a b?c#d", False, None, "/v1beta/models/a%20b%3Fc%23d:generateContent"),
    ],
)
def test_path(model: str, stream: bool, base: str | None, path: str) -> None:
    wire = GEMINI.request(body(stream=stream), model, base_path=base, output_cap=None)
    assert wire.path == path


def test_text() -> None:
    tree, warnings = sent({})
    assert tree == {"contents": [turn("user", "What is the weather in Paris?")]}
    assert warnings == ()


def test_system_and_developer_messages_come_first() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    ]
    tree, _ = sent({"messages": messages})
    assert tree["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert [one["role"] for one in tree["contents"]] == ["user"]


def test_instructions_alone_are_said_by_the_user() -> None:
    tree, _ = sent({"messages": [{"role": "developer", "content": "Hello"}]})
    assert tree == {"contents": [turn("user", "Hello")]}


def test_multi_turn() -> None:
    assert sent(FEATURES["multi-turn"])[0]["contents"] == [
        turn("user", "What is the weather in Paris?"),
        turn("model", "Grey."),
        turn("user", "And tomorrow?"),
    ]


def test_empty_text_is_left_out_and_neighbours_meet() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "c"}]},
    ]
    assert sent({"messages": messages})[0]["contents"] == [
        turn("user", "a", "b"),
        turn("model", "c"),
    ]
    assert sent({"messages": [{"role": "user", "content": ""}]})[0]["contents"] == [
        turn("user", ".")
    ]


def test_the_first_turn_is_the_users() -> None:
    messages = [{"role": "assistant", "content": "How can I help?"}, USER]
    assert sent({"messages": messages})[0]["contents"][0] == turn("user", ".")


def test_tools() -> None:
    tree, warnings = sent({"tools": [WEATHER, TIME]})
    function = WEATHER["function"]
    assert tree["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "The weather of a city.",
                    "parametersJsonSchema": function["parameters"],
                },
                {"name": "get_time"},
            ]
        }
    ]
    assert "toolConfig" not in tree
    assert warnings == ()


def test_a_strict_schema_is_sent_without_the_promise() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    assert sent({"tools": [tool]})[1] == ("tools.function.strict",)


NAMED = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NAMED, {"mode": "ANY", "allowedFunctionNames": ["get_time"]}),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    tree, _ = sent({"tools": [WEATHER, TIME], "tool_choice": choice})
    assert tree["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(("mode", "expected"), [("auto", "AUTO"), ("required", "ANY")])
def test_allowed_tools(mode: str, expected: str) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}
    tree, _ = sent({"tools": [WEATHER, TIME], "tool_choice": choice})
    assert tree["tools"] == [{"functionDeclarations": [{"name": "get_time"}]}]
    assert tree["toolConfig"] == {"functionCallingConfig": {"mode": expected}}


def test_tool_results() -> None:
    after = {"role": "user", "content": "And?"}
    tree, _ = sent({"messages": [USER, CALLS, *RESULTS, after], "tools": [WEATHER, TIME]})
    assert tree["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {
                        "name": "get_weather",
                        "args": {"city": "Paris", "days": 1.0},
                        "id": "call_1",
                    }
                },
                {"functionCall": {"name": "get_time", "args": {}, "id": "call_2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "name": "get_weather",
                        "response": {"sky": "grey", "t": 11.5},
                        "id": "call_1",
                    }
                },
                {
                    "functionResponse": {
                        "name": "get_time",
                        "response": {"output": "noon"},
                        "id": "call_2",
                    }
                },
                {"text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize("content", ["[1]", "{broken", "", "11", '{"a":1} tail'])
def test_a_result_that_is_no_object_goes_under_output(content: str) -> None:
    results = [{**RESULTS[0], "content": content}, RESULTS[1]]
    tree, _ = sent({"messages": [USER, CALLS, *results], "tools": [WEATHER]})
    response = tree["contents"][-1]["parts"][0]["functionResponse"]["response"]
    assert response == {"output": content}


def test_thought_signatures_come_back_to_the_call_they_came_with() -> None:
    signed = json.loads(json.dumps(CALLS))
    signed["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "c2ln"}}
    tree, _ = sent({"messages": [USER, signed, *RESULTS], "tools": [WEATHER]}, "gemini-3-pro")
    parts = tree["contents"][1]["parts"]
    assert [one.get("thoughtSignature") for one in parts] == ["c2ln", None]


def test_calls_of_other_models_carry_the_documented_dummy_from_gemini_3_on() -> None:
    fields = {"messages": [USER, CALLS, *RESULTS], "tools": [WEATHER]}
    for model in ("gemini-3-pro-preview", "models/gemini-3.5-flash"):
        parts = json.loads(
            GEMINI.request(body(**fields), model, base_path=None, output_cap=None).body
        )["contents"][1]["parts"]
        assert [one.get("thoughtSignature") for one in parts] == [
            "skip_thought_signature_validator",
            None,
        ]
    parts = sent(fields)[0]["contents"][1]["parts"]
    assert [one.get("thoughtSignature") for one in parts] == [None, None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 1.5, "top_p": 0.9}, {"temperature": 1.5, "topP": 0.9}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"max_tokens": 7}, {"maxOutputTokens": 7}),
        ({"max_completion_tokens": 8}, {"maxOutputTokens": 8}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["a", "\n"]}, {"stopSequences": ["a", "\n"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"seed": 2**40 + 3}, {"seed": 3}),
        ({"seed": -1}, {"seed": 2**31 - 1}),
        ({"n": 3}, {"candidateCount": 3}),
        (FEATURES["penalties"], {"presencePenalty": 0.5, "frequencyPenalty": -0.5}),
    ],
)
def test_sampling_and_bounds(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    tree, warnings = sent(fields)
    assert tree["generationConfig"] == expected
    assert warnings == ()


def test_a_penalty_of_two_is_a_little_less() -> None:
    tree, warnings = sent({"presence_penalty": 2})
    assert tree["generationConfig"] == {"presencePenalty": 1.999}
    assert warnings == ("presence_penalty (2: 1.999 was sent)",)


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({"service_tier": "auto"}, ()),
        ({"service_tier": "flex"}, ("service_tier",)),
        ({"verbosity": "low"}, ("verbosity",)),
        (FEATURES["user and metadata"], ()),
        ({"n": 1, "stream_options": {}, "stream": True}, ()),
        ({"min_p": 0.1, "x\n": 1}, ("min_p", "x?")),
    ],
)
def test_what_is_dropped_is_said(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    tree, warned = sent(fields)
    assert warned == warnings
    assert set(tree) == {"contents"}


def test_cache_control_is_left_out() -> None:
    assert sent(FEATURES["cache_control"])[0] == {"contents": [turn("user", "long")]}


def lacks(**fields: Any) -> str | None:
    return GEMINI.lacks(chat.parse(body(**fields)))


@pytest.mark.parametrize("bad", ["{", "[]", "null", '"x"', "{} {}", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_by_name(bad: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": bad}}
    assert lacks(messages=[USER, {"role": "assistant", "tool_calls": [call]}]) == (
        "tools: messages[1].tool_calls[0].function.arguments is not a JSON object"
    )


def test_a_result_of_no_call_is_refused_by_name() -> None:
    assert lacks(messages=[USER, RESULTS[0]]) == (
        "tools: messages[1].tool_call_id answers no earlier tool call"
    )


def test_more_answers_than_it_gives() -> None:
    assert lacks(n=9) == "n: Gemini gives at most 8 answers a request"


def test_thinking_cannot_be_switched_off_yet() -> None:
    assert lacks(reasoning_effort="none") == "reasoning: not yet for Gemini"
