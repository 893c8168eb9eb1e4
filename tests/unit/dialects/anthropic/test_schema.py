import json
from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.anthropic.schema import BeyondError, keep
from tests.unit.dialects.anthropic.sending import sent, text, turn
from tests.unit.dialects.samples import FEATURES, TIME, USER, WEATHER

POINT = {
    "type": "object",
    "properties": {
        "x": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["x", "tags"],
    "additionalProperties": False,
}
OLD = "claude-opus-4-1"


def schema(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = {"name": "point", "schema": given, **more}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def test_json_schema_is_the_models_own_form() -> None:
    tree, warned = sent(schema(POINT, strict=True))
    assert tree["output_config"] == {"format": {"type": "json_schema", "schema": POINT}}
    assert "tools" not in tree
    assert warned == ()


def test_json_schema_stands_beside_tools() -> None:
    tree, warned = sent({**schema(POINT), "tools": [WEATHER], "tool_choice": "required"})
    assert tree["output_config"]["format"]["schema"] == POINT
    assert tree["tool_choice"] == {"type": "any"}
    assert [one["name"] for one in tree["tools"]] == ["get_weather"]
    assert warned == ()


def test_json_schema_closes_objects_and_tells_the_rest_in_words() -> None:
    given = {
        "$schema": "x",
        "type": "object",
        "description": "A person.",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "default": 3},
            "mail": {"type": "string", "format": "email", "pattern": ".+"},
            "kind": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        },
    }
    tree, warned = sent(schema(given))
    made = tree["output_config"]["format"]["schema"]
    assert made["additionalProperties"] is False
    assert made["properties"] == {
        "age": {"type": "integer", "description": "{minimum: 0, default: 3}"},
        "mail": {"type": "string", "format": "email", "description": '{pattern: ".+"}'},
        "kind": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    }
    assert warned == ("response_format (told in words: minimum, pattern)",)


def test_json_that_is_no_object() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    tree, warned = sent(schema(numbers))
    assert tree["output_config"]["format"]["schema"] == numbers
    assert warned == ()


def forced(tree: dict[str, Any]) -> dict[str, Any]:
    [tool] = tree["tools"]
    assert tree["tool_choice"] == {
        "type": "tool",
        "name": tool["name"],
        "disable_parallel_tool_use": True,
    }
    assert "output_config" not in tree
    found: dict[str, Any] = tool
    return found


FORCED = ("response_format (by a forced tool)",)
ANYTHING = {"type": "object", "additionalProperties": {"type": "integer"}}
NODE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/node"}},
        }
    },
}


@pytest.mark.parametrize("given", [ANYTHING, NODE, {"type": "object"}, {}])
def test_json_that_anthropic_cannot_promise_is_made_by_a_forced_tool(given: dict[str, Any]) -> None:
    tree, warned = sent(schema(given, description="A point."))
    tool = forced(tree)
    assert tool["name"] == "point"
    assert tool["input_schema"] == {**given, "type": "object"}
    assert tool["description"].startswith("A point.")
    assert warned == FORCED


def test_json_of_older_models_is_made_by_a_forced_tool() -> None:
    tree, warned = sent(schema(POINT, strict=True), OLD)
    assert forced(tree)["input_schema"] == POINT
    assert warned == FORCED


@pytest.mark.parametrize("model", [OLD, "claude-sonnet-4-5", "claude-haiku-5-5", "claude-opus-5"])
def test_json_object_is_made_by_a_forced_tool(model: str) -> None:
    tree, warned = sent(FEATURES["json_object"], model)
    assert forced(tree)["input_schema"] == {"type": "object"}
    assert warned == FORCED
    # Where thinking is on by default a call can only be forced without it.
    off = {"type": "disabled"} if model.startswith(("claude-haiku-5", "claude-opus-5")) else None
    assert tree.get("thinking") == off


def test_json_by_a_tool_beside_other_tools() -> None:
    fields = {**FEATURES["json_object"], "tools": [WEATHER, TIME]}
    tree, warned = sent(fields, OLD)
    assert [one["name"] for one in tree["tools"]] == ["get_weather", "get_time", "json"]
    assert tree["tool_choice"] == {"type": "any"}
    assert warned == FORCED
    tree, _ = sent({**fields, "parallel_tool_calls": False}, OLD)
    assert tree["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    tree, _ = sent({**fields, "tool_choice": "none"}, OLD)
    assert tree["tool_choice"]["name"] == "json"
    named = {"type": "function", "function": {"name": "get_time"}}
    for choice in ("required", named):
        tree, warned = sent({**fields, "tool_choice": choice}, OLD)
        assert [one["name"] for one in tree["tools"]] == ["get_weather", "get_time"]
        assert warned == ()


def test_the_tool_for_json_has_a_name_of_its_own() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("json", "json_")]
    tree, _ = sent({**FEATURES["json_object"], "tools": tools}, OLD)
    names = [one["name"] for one in tree["tools"]]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("model", "fields"),
    [("claude-opus-5-5", {}), ("claude-sonnet-4-5", {"reasoning_effort": "low"})],
)
def test_json_is_asked_for_where_it_cannot_be_forced(model: str, fields: dict[str, Any]) -> None:
    tree, warned = sent({**FEATURES["json_object"], **fields}, model)
    assert tree["system"] == [text('You must call the tool "json" before you end your turn.')]
    assert tree["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "response_format (by a tool, asked for in words)" in warned


def test_json_from_cited_documents_is_made_by_a_forced_tool() -> None:
    part = {
        "type": "file",
        "file": {"file_data": "data:,abc"},
        "citations": {"enabled": True},
    }
    tree, warned = sent({**schema(POINT), "messages": [{"role": "user", "content": [part]}]})
    forced(tree)
    assert warned == FORCED


def test_json_is_not_a_continuation() -> None:
    messages = [USER, {"role": "assistant", "content": "Here:"}]
    for fields in (schema(POINT), FEATURES["json_object"]):
        tree, _ = sent({**fields, "messages": messages})
        assert tree["messages"][-1] == turn("user", "Continue.")


def strict(parameters: dict[str, Any], name: str = "f") -> dict[str, Any]:
    function = {"name": name, "strict": True, "parameters": parameters}
    return {"type": "function", "function": function}


def test_strict_tools() -> None:
    tree, warned = sent({"tools": [strict(POINT), strict({}, "g")]})
    assert tree["tools"][0] == {"name": "f", "input_schema": POINT, "strict": True}
    assert tree["tools"][1]["strict"] is True
    assert warned == ()


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (OLD, POINT),
        ("claude-sonnet-4-5", ANYTHING),
        (
            "claude-sonnet-4-5",
            {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}},
        ),
    ],
)
def test_a_strict_tool_that_anthropic_cannot_promise_is_sent_without(
    model: str, parameters: dict[str, Any]
) -> None:
    tree, warned = sent({"tools": [strict(parameters), strict(parameters, "g")]}, model)
    assert [one["input_schema"] for one in tree["tools"]] == [parameters, parameters]
    assert all("strict" not in one for one in tree["tools"])
    assert warned == ("tools.function.strict",)


def test_no_more_tools_are_strict_than_anthropic_takes() -> None:
    tree, warned = sent({"tools": [strict(POINT, f"f{number}") for number in range(25)]})
    assert sum(one.get("strict", False) for one in tree["tools"]) == 20
    assert warned == ("tools.function.strict",)


def test_no_more_is_optional_or_of_two_types_than_anthropic_takes() -> None:
    def fields(count: int, kind: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {f"a{number}": {"type": kind} for number in range(count)},
        }

    for made, fits in (
        (fields(24, "string"), True),
        (fields(25, "string"), False),
        ({**fields(16, ["string", "null"]), "required": [f"a{n}" for n in range(16)]}, True),
        ({**fields(17, ["string", "null"]), "required": [f"a{n}" for n in range(17)]}, False),
    ):
        assert ("output_config" in sent(schema(made))[0]) is fits


SCHEMAS: list[dict[str, Any]] = [
    POINT,
    {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/a"},
            "b": {"enum": ["x", "y"]},
            "c": {"type": "array", "items": {"type": "number"}, "minItems": 1},
            "d": {"anyOf": [{"type": "string", "title": "D"}, {"type": "null"}]},
        },
        "$defs": {"a": {"type": "string", "format": "date"}},
        "required": ["a"],
    },
]


@pytest.mark.parametrize("given", SCHEMAS)
def test_what_is_kept_is_what_anthropics_sdk_sends(given: dict[str, Any]) -> None:
    assert keep(given).schema == transform_schema(given)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "properties",
                        "items",
                        "required",
                        "enum",
                        "const",
                        "$ref",
                        "$defs",
                        "anyOf",
                        "additionalProperties",
                        "format",
                        "minItems",
                        "description",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_schema_is_kept_or_known_to_be_beyond(tree: Any) -> None:
    if not isinstance(tree, dict):
        return
    try:
        kept = keep(tree)
    except BeyondError:
        return
    json.dumps(kept.schema)
