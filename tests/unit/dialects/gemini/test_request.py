import json
from typing import Any

import pytest

from extproc.errors import ClientError
from tests.unit.dialects.gemini.samples import (
    GEMINI,
    MODEL,
    NEW,
    USER,
    asked,
    sent,
    target,
    turn,
    user,
    wire,
)
from tests.unit.dialects.samples import TIME, WEATHER

OLD = "gemini-2.0-flash"
NAMED = {"type": "function", "function": {"name": "get_time"}}
SCHEMA: dict[str, Any] = {
    "name": "x",
    "description": "Two numbers.",
    "schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "strict": True,
}
AS_SCHEMA: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}
AS_OBJECT: dict[str, Any] = {"response_format": {"type": "json_object"}}


def test_text() -> None:
    found = wire()
    assert json.loads(found.body) == {"contents": [turn("user", USER["content"])]}
    assert found.warnings == ()


def test_tools() -> None:
    found = wire(tools=[WEATHER, TIME])
    tree = json.loads(found.body)
    assert tree["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "The weather of a city.",
                    "parametersJsonSchema": WEATHER["function"]["parameters"],
                },
                {"name": "get_time"},
            ]
        }
    ]
    assert "toolConfig" not in tree
    assert found.warnings == ()


def test_a_tools_references_have_no_neighbours() -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/City", "description": "Which."}},
        "$defs": {"City": {"const": "Paris"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    [declared] = sent(tools=[tool])["tools"][0]["functionDeclarations"]
    assert declared["parametersJsonSchema"] == {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/City"}},
        "$defs": {"City": {"enum": ["Paris"]}},
    }


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
    tree = sent(tools=[WEATHER, TIME], tool_choice=choice)
    assert tree["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(("mode", "expected"), [("auto", "AUTO"), ("required", "ANY")])
def test_allowed_tools(mode: str, expected: str) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}
    tree = sent(tools=[WEATHER, TIME], tool_choice=choice)
    assert tree["tools"] == [{"functionDeclarations": [{"name": "get_time"}]}]
    assert tree["toolConfig"] == {"functionCallingConfig": {"mode": expected}}


STRICT = {"type": "function", "function": {"name": "f", "strict": True}}


def test_strict_tools_are_validated() -> None:
    found = wire(tools=[STRICT, TIME])
    calling = json.loads(found.body)["toolConfig"]["functionCallingConfig"]
    assert calling == {"mode": "VALIDATED"}
    assert found.warnings == ()
    forced = sent(tools=[STRICT], tool_choice="required")
    assert forced["toolConfig"]["functionCallingConfig"] == {"mode": "ANY"}
    assert wire(OLD, tools=[STRICT]).warnings == ("tools.function.strict",)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ({"name": "get_time"}, {"mode": "ANY", "allowedFunctionNames": ["get_time"]}),
    ],
)
def test_functions_are_tools(choice: Any, expected: Any) -> None:
    tree = sent(functions=[TIME["function"]], function_call=choice)
    assert tree["tools"] == [{"functionDeclarations": [{"name": "get_time"}]}]
    assert tree.get("toolConfig", {}).get("functionCallingConfig") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 1.5, "top_p": 0.9}, {"temperature": 1.5, "topP": 0.9}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_k": 40}, {"topK": 40}),
        ({"max_tokens": 7}, {"maxOutputTokens": 7}),
        ({"max_completion_tokens": 8}, {"maxOutputTokens": 8}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["a", "\n"]}, {"stopSequences": ["a", "\n"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"seed": 2**40 + 3}, {"seed": 3}),
        ({"seed": -1}, {"seed": 2**31 - 1}),
        ({"n": 3}, {"candidateCount": 3}),
        (
            {"presence_penalty": 0.5, "frequency_penalty": -0.5},
            {"presencePenalty": 0.5, "frequencyPenalty": -0.5},
        ),
        ({"logprobs": True}, {"responseLogprobs": True}),
        ({"logprobs": True, "top_logprobs": 2}, {"responseLogprobs": True, "logprobs": 2}),
        ({"logprobs": True, "top_logprobs": 0}, {"responseLogprobs": True}),
        (AS_OBJECT, {"responseMimeType": "application/json"}),
        (
            AS_SCHEMA,
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA["schema"]},
        ),
    ],
)
def test_sampling_bounds_and_shape(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = wire(**fields)
    assert json.loads(found.body)["generationConfig"] == expected
    assert found.warnings == ()


@pytest.mark.parametrize(
    "fields", [{"response_format": {"type": "text"}}, {"logprobs": False}, {"modalities": ["text"]}]
)
def test_what_is_so_anyway_is_not_said(fields: dict[str, Any]) -> None:
    assert set(sent(**fields)) == {"contents"}


def test_a_penalty_of_two_is_a_little_less() -> None:
    found = wire(presence_penalty=2)
    assert json.loads(found.body)["generationConfig"] == {"presencePenalty": 1.999}
    assert found.warnings == ("presence_penalty (2: 1.999 was sent)",)


@pytest.mark.parametrize(
    ("asked_for", "tier", "warnings"),
    [
        ("auto", None, ()),
        ("default", "standard", ()),
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("scale", None, ("service_tier",)),
    ],
)
def test_service_tier(asked_for: str, tier: str | None, warnings: tuple[str, ...]) -> None:
    found = wire(service_tier=asked_for)
    assert json.loads(found.body).get("serviceTier") == tier
    assert found.warnings == warnings


NAME = [{**USER, "name": "ann"}]
DETAIL = [user({"type": "image_url", "image_url": {"url": "gs://a/b.png", "detail": "low"}})]
CITED = [user({"type": "file", "file": {"file_url": "gs://a/b.pdf"}, "citations": {"x": True}})]


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({"verbosity": "low"}, ("verbosity",)),
        ({"prediction": {"type": "content", "content": "x"}}, ("prediction",)),
        ({"store": True}, ("store",)),
        ({"moderation": {"x": 1}}, ("moderation",)),
        ({"user": "u-1", "metadata": {"team": "blue"}}, ()),
        ({"n": 1, "stream_options": {}, "stream": True}, ()),
        ({"min_p": 0.1, "x\n": 1}, ("min_p", "x?")),
        ({"cached_content": "cachedContents/1"}, ("cached_content",)),
        ({"messages": NAME}, ("messages.name",)),
        ({"messages": DETAIL}, ("image_url.detail",)),
        ({"messages": CITED}, ("file.citations",)),
    ],
)
def test_what_is_dropped_is_said(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    found = wire(**fields)
    assert found.warnings == warnings
    assert set(json.loads(found.body)) == {"contents"}


def test_cache_control_is_left_out_because_caching_is_implicit() -> None:
    part = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    found = wire(messages=[user(part)])
    assert json.loads(found.body) == {"contents": [turn("user", "long")]}
    assert found.warnings == ()


# --- JSON, functions and search in one request --------------------------------------------


def test_a_schema_beside_tools_is_native_from_gemini_3_on() -> None:
    tree = sent(NEW, tools=[WEATHER], **AS_SCHEMA)
    assert tree["generationConfig"]["responseJsonSchema"] == SCHEMA["schema"]
    assert len(tree["tools"][0]["functionDeclarations"]) == 1
    assert "toolConfig" not in tree


def test_a_schema_beside_tools_is_a_forced_tool_before() -> None:
    found = wire(tools=[WEATHER], **AS_SCHEMA)
    tree = json.loads(found.body)
    assert "generationConfig" not in tree
    assert tree["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert tree["tools"][0]["functionDeclarations"][1] == {
        "name": "answer_in_json",
        "description": "Gives the final answer. Two numbers.",
        "parametersJsonSchema": SCHEMA["schema"],
    }
    assert found.warnings == ("response_format (by a forced tool)",)
    assert found.reply.json_tool == "answer_in_json"


def test_the_forced_tool_has_a_name_of_its_own() -> None:
    mine = {"type": "function", "function": {"name": "answer_in_json"}}
    assert wire(tools=[mine], **AS_SCHEMA).reply.json_tool == "answer_in_json_"


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_where_a_tool_must_be_called_no_text_is_json(choice: Any) -> None:
    found = wire(tools=[TIME], tool_choice=choice, **AS_SCHEMA)
    assert "generationConfig" not in json.loads(found.body)
    assert found.reply.json_tool is None


def test_where_no_tool_may_be_called_json_is_native() -> None:
    tree = sent(tools=[TIME], tool_choice="none", **AS_SCHEMA)
    assert tree["generationConfig"]["responseJsonSchema"] == SCHEMA["schema"]
    assert "tools" not in tree


def test_what_of_a_schema_does_not_bind_is_said() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert wire(response_format=form).warnings == (
        "response_format.json_schema.schema (not binding: pattern)",
    )


def test_models_before_2_5_get_openapis_subset() -> None:
    config = sent(OLD, **AS_SCHEMA)["generationConfig"]
    assert config == {
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
            "required": ["a"],
        },
    }


@pytest.mark.parametrize(
    "bar",
    [
        {"tools": [TIME], "tool_choice": "none"},
        {"functions": [TIME["function"]], "function_call": "none"},
    ],
)
def test_a_search_where_no_tool_may_be_called(bar: dict[str, Any]) -> None:
    assert sent(web_search_options={}, **bar)["tools"] == [{"googleSearch": {}}]


def test_web_search() -> None:
    options = {"search_context_size": "low", "user_location": None}
    found = wire(web_search_options=options)
    assert json.loads(found.body)["tools"] == [{"googleSearch": {}}]
    assert found.warnings == ("web_search_options.search_context_size",)


def test_web_search_beside_functions() -> None:
    tree = sent(NEW, web_search_options={}, tools=[TIME])
    assert tree["tools"] == [
        {"functionDeclarations": [{"name": "get_time"}]},
        {"googleSearch": {}},
    ]
    assert tree["toolConfig"] == {"includeServerSideToolInvocations": True}


# --- refusals -----------------------------------------------------------------------------

ARRAY = {"name": "x", "schema": {"type": "array", "items": {}}}
LOOP = {
    "name": "x",
    "schema": {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
}


@pytest.mark.parametrize(
    ("model", "fields", "refusal"),
    [
        (MODEL, {"logit_bias": {"42": -100}}, "logit_bias: Gemini has no logit bias"),
        (
            MODEL,
            {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
            "custom_tools: Gemini's tools take JSON, not free text",
        ),
        (
            MODEL,
            {"tools": [{"type": "openrouter:web_search"}]},
            "vendor_tools: Gemini has none of another vendor's tools",
        ),
        (
            MODEL,
            {"tools": [{"type": "function", "function": {"name": "1st"}}]},
            "tools: Gemini's functions do not begin as '1st' does",
        ),
        (MODEL, {"n": 9}, "n: Gemini gives at most 8 answers a request"),
        (
            MODEL,
            {"tools": [TIME], "parallel_tool_calls": False},
            "parallel_tool_calls: Gemini cannot be held to one call at a time",
        ),
        (
            MODEL,
            {"modalities": ["text", "audio"], "audio": {"format": "mp3", "voice": "x"}},
            "audio: Gemini's chat models do not answer in sound",
        ),
        (
            MODEL,
            {"messages": [USER, {"role": "assistant", "audio": {"id": "a"}}, USER]},
            "audio: an earlier answer in sound is known by its id to OpenAI only",
        ),
        (
            MODEL,
            {"tools": [TIME], **AS_OBJECT},
            "json_object: gemini-2.5-pro does not give JSON beside functions",
        ),
        (
            MODEL,
            {
                "tools": [TIME],
                "response_format": {"type": "json_schema", "json_schema": ARRAY},
            },
            "json_schema: beside functions gemini-2.5-pro gives objects only",
        ),
        (
            MODEL,
            {"web_search_options": {}, **AS_OBJECT},
            "json_object: gemini-2.5-pro does not search and give JSON in one request",
        ),
        (
            MODEL,
            {"web_search_options": {}, "tools": [TIME]},
            "web_search: gemini-2.5-pro does not search and call functions in one request",
        ),
        (OLD, {"reasoning_effort": "high"}, "reasoning: gemini-2.0-flash does not think"),
        (
            OLD,
            {"response_format": {"type": "json_schema", "json_schema": LOOP}},
            "json_schema: '#/$defs/A' cannot be replaced by what it stands for",
        ),
    ],
)
def test_refusals(model: str, fields: dict[str, Any], refusal: str) -> None:
    request = asked(**fields)
    assert GEMINI.lacks(request, target(model)) == refusal
    with pytest.raises(ClientError) as caught:
        GEMINI.write(request, b"", target(model))
    assert (caught.value.status, caught.value.message) == (400, refusal)
