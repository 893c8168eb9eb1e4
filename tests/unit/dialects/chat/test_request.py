import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import chat
from extproc.dialects.again import unknown
from extproc.errors import ClientError
from tests.unit.dialects.samples import AUDIO, CALLS, FEATURES, IMAGE, TIME, USER, WEATHER, body


def refused(given: bytes) -> ClientError:
    with pytest.raises(ClientError) as caught:
        chat.parse(given)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


NAMED = {"type": "function", "function": {"name": "nope"}}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", None),
        ({"model": ""}, "model", None),
        ({"model": 1}, "model", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [USER, {}]}, "messages[1].role", "missing_required_parameter"),
        ({"messages": [{"role": "bot"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages[0].content",
            "invalid_type",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}]},
            "messages[0].tool_calls[0].function",
            "missing_required_parameter",
        ),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
        (
            {"max_tokens": 5, "max_completion_tokens": 5},
            "max_tokens",
            "invalid_parameter_combination",
        ),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": 1.1}, "top_p", "decimal_above_max_value"),
        ({"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"stop": [1]}, "stop[0]", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream": False, "stream_options": {}}, "stream_options", None),
        ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
        ({"tools": []}, "tools", "empty_array"),
        ({"tools": [{"type": "magic"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom", "missing_required_parameter"),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "missing_required_parameter",
        ),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice", None),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"logit_bias": {"1": 101}}, "logit_bias", "decimal_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"metadata": {"a": 1}}, "metadata", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        ({"modalities": ["smell"]}, "modalities[0]", "invalid_value"),
        ({"user": 7}, "user", "invalid_type"),
        ({"seed": "x"}, "seed", "invalid_type"),
        ({"models": [1]}, "models[0]", "invalid_type"),
        ({"Model": "expensive"}, "model", "unknown_parameter"),
        ({"MAX_TOKENS": 10**6}, "max_tokens", "unknown_parameter"),
        ({"\u017ftop": ["x"]}, "stop", "unknown_parameter"),
    ],
)
def test_names_the_field_that_is_wrong(
    fields: dict[str, Any], param: str, code: str | None
) -> None:
    error = refused(body(**fields))
    assert error.param == param
    assert error.code == code
    assert len(error.message) < 400


def test_says_it_in_the_words_of_openai() -> None:
    assert refused(body(messages=[])).message == (
        "Invalid 'messages': empty array. Expected an array with minimum length 1, "
        "but got an empty array instead."
    )
    assert refused(body(messages=[{"role": "user", "content": 1}])).message == (
        "Invalid type for 'messages[0].content': expected one of a string or an array, "
        "but got an integer instead."
    )
    assert refused(body(messages=[{"role": "bot"}])).message == (
        "Invalid value: 'bot'. Supported values are: "
        "'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
    )
    assert refused(body(n=0)).message == (
        "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."
    )


def test_a_long_value_is_not_repeated() -> None:
    assert len(refused(body(messages=[{"role": "x" * 10_000}])).message) < 400


def test_ambiguous_json_is_refused_first() -> None:
    assert refused(b'{"model":"a","model":"b","messages":[]}').code == "invalid_json"


@pytest.mark.parametrize("feature", FEATURES)
def test_takes_every_feature_of_the_api(feature: str) -> None:
    given = body(**FEATURES[feature])
    parsed = chat.parse(given)
    assert parsed.model == "flagship"
    assert msgspec.json.encode(chat.decode(given)) == msgspec.json.encode(parsed)


def test_takes_tools_that_a_provider_runs_itself() -> None:
    tool = {"type": "openrouter:web_search", "parameters": {"max_results": 3}}
    assert chat.parse(body(tools=[tool])).needs() == {"tools"}


def test_null_is_the_same_as_absent() -> None:
    nulls = dict.fromkeys(chat.FIELDS - {"model", "messages"})
    assert chat.parse(body(**nulls)) == chat.parse(body())


def test_a_list_of_models_may_stand_for_the_model() -> None:
    given = json.dumps({"models": ["a", "b"], "messages": [USER]}).encode()
    parsed = chat.parse(given)
    assert (parsed.model, parsed.models) == ("a", ["a", "b"])
    assert chat.parse(body(models=["a"])).model == "flagship"


def test_what_the_filter_reads() -> None:
    parsed = chat.parse(
        body(stream=True, stream_options={"include_usage": True}, user="u", metadata={"a": "b"})
    )
    assert parsed.stream
    assert parsed.include_usage
    assert (parsed.user, parsed.metadata) == ("u", {"a": "b"})
    assert parsed.max_output is None
    assert not chat.parse(body(stream=True)).include_usage
    assert chat.parse(body(max_tokens=5)).max_output == 5
    assert chat.parse(body(max_completion_tokens=6)).max_output == 6


@pytest.mark.parametrize(
    ("feature", "needs"),
    [
        ("text", set()),
        ("system", {"system"}),
        ("tools", {"tools"}),
        ("parallel tools", {"tools", "parallel_tool_calls"}),
        ("parallel_tool_calls", {"tools"}),
        ("tool results", {"tools", "parallel_tool_calls"}),
        ("functions", {"tools"}),
        ("seed", {"seed"}),
        ("n", {"n"}),
        ("penalties", {"penalties"}),
        ("logit_bias", {"logit_bias"}),
        ("logprobs", {"logprobs"}),
        ("json_object", {"json_object"}),
        ("json_schema", {"json_schema"}),
        ("vision", {"vision"}),
        ("audio", {"audio"}),
        ("files", {"files"}),
        ("reasoning", {"reasoning"}),
        ("unknown fields", set()),
    ],
)
def test_says_which_features_a_target_needs(feature: str, needs: set[str]) -> None:
    assert chat.parse(body(**FEATURES[feature])).needs() == needs
    streamed = chat.parse(body(stream=True, **FEATURES[feature]))
    assert streamed.needs() == needs | {"streaming"}


def test_defaults_need_nothing() -> None:
    given = body(n=1, reasoning_effort="none", presence_penalty=0, stream=False, logprobs=False)
    assert chat.parse(given).needs() == set()
    assert chat.parse(body(modalities=["text", "audio"])).needs() == {"audio"}


def test_counts_all_text_that_is_prompt() -> None:
    messages = [
        {"role": "system", "content": "abc"},
        {"role": "user", "content": [{"type": "text", "text": "é中😀d"}, IMAGE, AUDIO]},
        CALLS,
        {"role": "tool", "tool_call_id": "call_1", "content": "grey"},
    ]
    plain = chat.parse(body(messages=messages))
    calls = len('get_weather{"city": "Paris", "days": 1.0}get_time')
    assert plain.text_bytes() == (3 + 1 + calls + 4, 3)
    with_tools = chat.parse(body(messages=messages, tools=[WEATHER, TIME]))
    added = with_tools.text_bytes()[0] - plain.text_bytes()[0]
    assert added == len(msgspec.json.encode([WEATHER, TIME]))


def test_names_unknown_fields_in_a_way_that_fits_a_header() -> None:
    given = body(min_p=0.1, **{"a\r\nb": 1, "é" * 100: 2})
    chat.parse(given)
    assert unknown(chat.decode(given), given, chat.FIELDS) == ("min_p", "a??b", "?" * 40)
    many = body(**{f"x{i}": i for i in range(1000)})
    assert len(unknown(chat.decode(many), many, chat.FIELDS)) == 16
    known = body(seed=1)
    assert unknown(chat.decode(known), known, chat.FIELDS) == ()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-3, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(chat.FIELDS)), JSON, max_size=4))
def test_anything_in_any_field_is_taken_or_refused_with_its_name(fields: dict[str, Any]) -> None:
    given = body(**fields)
    try:
        parsed = chat.parse(given)
    except ClientError as error:
        json.loads(error.openai())
        return
    assert chat.decode(given).messages == parsed.messages
    parsed.needs()
    parsed.text_bytes()
