"""Arguments of calls: what counts as an object, and what is left out of it on the way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.chat.messages import AssistantMessage, CallFunction, FunctionCall
from extproc.dialects.tool_arguments import arguments_object, arguments_problem, compact

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def call(arguments: str) -> AssistantMessage:
    return AssistantMessage(tool_calls=[FunctionCall("a", CallFunction("f", arguments))])


@given(VALUES, st.sampled_from([None, 0, 1, "\t"]), st.sampled_from(["", " ", "\n"]))
def test_only_white_space_between_tokens_goes(
    value: object, indent: int | str | None, around: str
) -> None:
    given_ = f"{around}{json.dumps(value, indent=indent)}{around}".encode()
    assert compact(given_) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("text", ['{"a":2.50}', '{"a":1e2}', '{"a":"x y"}'])
def test_what_has_none_stays_as_it_is(text: str) -> None:
    assert compact(text.encode()) == text


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_text_is_a_call_without_arguments(text: str) -> None:
    assert bytes(arguments_object(text)) == b"{}"
    assert arguments_problem([call(text)]) is None


@pytest.mark.parametrize("text", ["[1]", "null", '{"a":', "x", '"{}"', "{} {}"])
def test_what_is_no_object_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        arguments_object(text)
    found = arguments_problem([call("{}"), call(text)])
    assert found == "tools: messages[1].tool_calls[0].function.arguments is not a JSON object"


def test_an_object_goes_on_as_it_stands() -> None:
    text = '{ "a" : 2.50, "b": "\u00e9" }'
    assert bytes(arguments_object(text)) == text.encode()
