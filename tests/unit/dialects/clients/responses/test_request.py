from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.clients.responses.items import Item
from extproc.dialects.clients.responses.request import FIELDS
from extproc.errors import ClientError
from tests.unit.dialects.clients.responses.driver import (
    FORMAT,
    SQL,
    WEATHER,
    answer,
    body,
    decoded,
    parsed,
)

MESSAGE = {"role": "user", "content": "x"}


def refused(given: bytes) -> ClientError:
    with pytest.raises(ClientError) as found:
        FORMAT.parse(given)
    assert found.value.status == 400
    assert found.value.type == "invalid_request_error"
    return found.value


@pytest.mark.parametrize(
    ("fields", "param", "code", "message"),
    [
        (
            {"model": ...},
            "model",
            "missing_required_parameter",
            "Missing required parameter: 'model'.",
        ),
        (
            {"input": ...},
            "input",
            "missing_required_parameter",
            "One of 'input', 'previous_response_id', 'prompt' or 'conversation' must be provided.",
        ),
        (
            {"input": []},
            "input",
            "empty_array",
            (
                "Invalid 'input': empty array. Expected an array with minimum length 1, but got an "
                "empty array instead."
            ),
        ),
        (
            {"input": 7},
            "input",
            "invalid_type",
            (
                "Invalid type for 'input': expected one of a string or an array, but got an "
                "integer instead."
            ),
        ),
        (
            {"input": [MESSAGE, {"role": "robot", "content": "x"}]},
            "input[1].role",
            "invalid_value",
            (
                "Invalid value: 'robot'. Supported values are: 'assistant', 'system', 'developer', "
                "and 'user'."
            ),
        ),
        (
            {"input": [MESSAGE, {"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[1].content[0].type",
            "invalid_value",
            (
                "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', "
                "'input_file', 'input_audio', 'output_text', 'refusal', 'summary_text', "
                "'reasoning_text', and 'computer_screenshot'."
            ),
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].content[0].text'.",
        ),
        (
            {"input": [{"role": "user"}]},
            "input[0].content",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].content'.",
        ),
        (
            {"input": [{"content": "x"}]},
            "input[0].type",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].type'.",
        ),
        (
            {"input": [{"type": "message", "content": "x"}]},
            "input[0].role",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].role'.",
        ),
        (
            {"input": [{"type": "item_reference"}]},
            "input[0].id",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].id'.",
        ),
        (
            {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
            "input[0].call_id",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].call_id'.",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
            "input[0].arguments",
            "invalid_type",
            "Invalid type for 'input[0].arguments': expected a string, but got an object instead.",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c"}]},
            "input[0].output",
            "missing_required_parameter",
            "Missing required parameter: 'input[0].output'.",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": 4}]},
            "input[0].output",
            "invalid_type",
            (
                "Invalid type for 'input[0].output': expected one of a string or array, but got an "
                "integer instead."
            ),
        ),
        (
            {
                "input": [
                    {"type": "function_call_output", "call_id": "c", "output": [{"type": "x"}]}
                ]
            },
            "input[0].output[0].type",
            "invalid_value",
            (
                "Invalid value: 'x'. Supported values are: 'input_text', 'input_image', "
                "'input_file', 'input_audio', 'output_text', 'refusal', 'summary_text', "
                "'reasoning_text', and 'computer_screenshot'."
            ),
        ),
        (
            {"input": [{"type": "reasoning", "id": "r", "summary": "x"}]},
            "input[0].summary",
            "invalid_type",
            "Invalid type for 'input[0].summary': expected an array, but got a string instead.",
        ),
        (
            {"tools": [{"type": "function"}]},
            "tools[0].name",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].name'.",
        ),
        (
            {"tools": {}},
            "tools",
            "invalid_type",
            "Invalid type for 'tools': expected an array, but got an object instead.",
        ),
        (
            {"tool_choice": "required"},
            "tool_choice",
            None,
            "'tool_choice' is only allowed when 'tools' are specified.",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}},
            "tool_choice",
            None,
            "Tool choice 'x' not found in 'tools' parameter.",
        ),
        (
            {"text": {"format": {"type": "xml"}}},
            "text.format.type",
            "invalid_value",
            "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}},
            "text.format.schema",
            "missing_required_parameter",
            "Missing required parameter: 'text.format.schema'.",
        ),
        (
            {"max_output_tokens": 0},
            "max_output_tokens",
            "integer_below_min_value",
            (
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1, "
                "but got 0 instead."
            ),
        ),
        (
            {"stream_options": {"include_obfuscation": False}},
            "stream_options",
            None,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
        (
            {"previous_response_id": "resp_1", "conversation": "conv_1"},
            None,
            "mutually_exclusive_parameters",
            (
                "Mutually exclusive parameters. Ensure you are only providing one of: "
                "'previous_response_id' or 'conversation'."
            ),
        ),
        (
            {"Model": "y"},
            "model",
            "unknown_parameter",
            "Unrecognized request argument supplied: 'Model'. Did you mean 'model'?",
        ),
    ],
)
def test_what_is_wrong_is_named(
    fields: dict[str, Any], param: str | None, code: str | None, message: str
) -> None:
    found = refused(body(**fields))
    assert (found.param, found.code, found.message) == (param, code, message)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"[]",
        b'{"model":"m","input":"x","input":"y"}',
        b'{"model":"m","input":"x","temperature":NaN}',
        b'{"model":"m","input":"\\ud800"}',
        b'{"model":"m","input":' + b"[" * 80 + b"]" * 80 + b"}",
    ],
)
def test_a_body_has_one_reading(given: bytes) -> None:
    assert refused(given).code == "invalid_json"


def test_what_filters_ask_of_a_request() -> None:
    found = parsed(
        input=[{"role": "user", "content": [{"type": "input_image", "image_url": "https://e/c"}]}],
        stream=True,
        user="u-1",
        metadata={"team": "blue"},
        max_output_tokens=77,
        tools=[WEATHER],
    )
    assert (found.format, found.model, found.stream) == ("responses", "flagship", True)
    assert (found.user, found.metadata, found.max_output) == ("u-1", {"team": "blue"}, 77)
    assert found.needs == {"streaming", "vision", "tools"}
    assert not found.hide_usage
    assert found.messages == 1
    assert found.text[0] > 0


def test_fields_that_the_api_does_not_have_are_told() -> None:
    assert decoded(min_p=0.1, chat_template_kwargs={"x": 1}).unknown == (
        "min_p",
        "chat_template_kwargs",
    )


def test_models_to_try_in_order() -> None:
    found = parsed(model=..., models=["a", "b"])
    assert (found.model, found.models) == ("a", ["a", "b"])
    given = body(model=..., models=["a", "b"])
    assert FORMAT.forwarded(found, given, None) == b'{"input":"Hello?","model":"a"}'


def test_only_the_model_changes_on_the_way() -> None:
    given = b'{"model": "m", "input": "x",  "temperature": 1.0, "min_p": 1e2}'
    found = FORMAT.parse(given)
    assert FORMAT.forwarded(found, given, None) is None
    assert FORMAT.forwarded(found, given, "m") is None
    assert FORMAT.forwarded(found, given, "n") == (
        b'{"model":"n","input":"x","temperature":1.0,"min_p":1e2}'
    )


def test_a_tool_choice_may_name_what_is_kept_elsewhere() -> None:
    choice = {"type": "function", "name": "kept"}
    parsed(previous_response_id="resp_1", tool_choice=choice)
    parsed(
        input=[{"type": "additional_tools", "role": "developer", "tools": []}], tool_choice=choice
    )


def test_custom_tools_can_be_chosen() -> None:
    parsed(tools=[SQL], tool_choice={"type": "custom", "name": "sql"})


# --- anything -------------------------------------------------------------------------------

WORDS = ["function", "custom", "web_search", "message", "user", "reasoning", "input_text", "auto"]
LEAF = st.none() | st.booleans() | st.integers(-2, 30) | st.floats(0, 2) | st.sampled_from(WORDS)
NAMES = ["type", "role", "content", "name", "text", "id", *Item.__struct_fields__]
JSON = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=4))
def test_any_body_is_refused_with_a_reason_or_can_be_served(fields: dict[str, Any]) -> None:
    given_ = body(**fields)
    try:
        FORMAT.parse(given_)
    except ClientError:
        refused(given_)
        return
    found = FORMAT.decode(given_)
    assert found.chat is not None
    msgspec.json.encode(found.chat)
    msgspec.json.decode(FORMAT.whole(answer(content="x"), found))
