"""What a client may say, and what it is told if it says it wrongly."""

import json
from typing import Any

import pytest

from extproc.errors import ClientError
from tests.unit.dialects.clients.messages.driver import (
    CITY,
    FORMAT,
    WEATHER,
    body,
    refused,
    text,
    user,
)

EMPTY = (
    "messages.0: all messages must have non-empty content except for the optional final "
    "assistant message"
)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"model": ...}, "model: Field required"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"messages": ...}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "messages.0.content: Input should be a valid string or list",
        ),
        (
            {"messages": [user({"text": "x"})]},
            "messages.0.content.0.type: Field required",
        ),
        (
            {"messages": [user(text("a"), {"type": "text"})]},
            "messages.0.content.1.text.text: Field required",
        ),
        (
            {"messages": [user(IMAGE)]},
            "messages.0.content.0.image.source.base64.data: Field required",
        ),
        (
            {"messages": [user({"type": "document", "source": 1})]},
            "messages.0.content.0.document.source: Input should be a valid dictionary",
        ),
        (
            {"messages": [user({"type": "tool_result", "content": "x"})]},
            "messages.0.content.0.tool_result.tool_use_id: Field required",
        ),
        (
            {
                "messages": [
                    user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]})
                ]
            },
            "messages.0.content.0.tool_result.content.0.text.text: Field required",
        ),
        (
            {"messages": [user({"type": "tool_use", "id": "a", "name": "b", "input": "{}"})]},
            "messages.0.content.0.tool_use.input: Input should be a valid dictionary",
        ),
        (
            {"messages": [user({"type": "search_result", "content": [], "title": "t"})]},
            "messages.0.content.0.search_result.source: Field required",
        ),
        (
            {"messages": [{"role": "user", "content": ""}]},
            EMPTY,
        ),
        (
            {"messages": [{"role": "assistant", "content": []}, user(text("x"))]},
            EMPTY,
        ),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"top_p": "x"}, "top_p: Input should be a valid number"),
        ({"system": 1}, "system: Input should be a valid string or list"),
        ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
        ({"system": [{"type": "text"}]}, "system.0.text.text: Field required"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"service_tier": "flex"}, "service_tier: Input should be 'auto' or 'standard_only'"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id: Input should be a valid string"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 12}},
            "thinking.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            {"thinking": {"type": "hard"}},
            "thinking.type: Input should be 'enabled', 'adaptive', 'disabled' or 'between_tools'",
        ),
        (
            {"output_config": {"effort": "none"}},
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        ({"output_config": {"format": {"type": "json_schema"}}},
         "output_config.format.schema: Field required"),
        ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"input_schema": CITY}]}, "tools.0.custom.name: Field required"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name: Field required"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}},
            "tool_choice: Tool 'other' not found in provided tools",
        ),
        (
            {"tool_choice": {"type": "any"}},
            "tool_choice: tool_choice may only be specified while providing tools",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "required"}},
            "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_path(fields: dict[str, Any], message: str) -> None:
    assert refused(body(**fields)) == message


@pytest.mark.parametrize(
    "given", [b"", b"[]", b'{"model":"m","model":"n"}', b'{"model":"\\ud800"}', b"\xff"]
)
def test_what_can_be_read_in_two_ways_is_refused(given: bytes) -> None:
    assert refused(given).startswith("The body is not valid JSON")


def test_a_field_in_other_letters_is_refused() -> None:
    assert "Did you mean 'model'?" in refused(body(Model="x"))


def test_a_clients_words_cannot_break_out_of_a_message() -> None:
    told = refused(
        body(tools=[WEATHER], tool_choice={"type": "tool", "name": "\n\u2028é" + "x" * 500})
    )
    assert told.isprintable()
    assert len(told) < 200


def test_fields_that_are_not_known_are_let_through_and_named() -> None:
    request = FORMAT.decode(body(new_thing={"a": 1}))
    assert request.unknown == ("new_thing",)


def test_blocks_that_are_not_known_are_for_native_targets() -> None:
    request = FORMAT.parse(body(user({"type": "hologram", "source": 3, "citations": "x"})))
    assert request.native_only == (
        "hosted_items: only a target that speaks the Messages API knows what a hologram is"
    )


def test_what_the_gateway_wants_to_know() -> None:
    request = FORMAT.parse(
        body(
            user(text("One word."), {"type": "image", "source": {"type": "url", "url": "https://x"}}),
            {"role": "assistant", "content": "é"},
            {"role": "user", "content": "Another."},
            system="Be brief.",
            stream=True,
            metadata={"user_id": "u-1"},
            tools=[WEATHER],
        )
    )  # fmt: skip
    assert (request.model, request.stream, request.user) == ("flagship", True, "u-1")
    assert (request.max_output, request.messages) == (99, 4)
    assert request.needs == {"streaming", "vision", "system", "tools"}
    ascii_bytes, others = request.text
    assert others == 1
    assert ascii_bytes > len("One word.Another.Be brief.")


def test_an_answer_not_streamed_is_asked_for_by_leaving_stream_out() -> None:
    assert not FORMAT.parse(body()).stream


def test_labels_are_read_and_do_not_go_on() -> None:
    given = body(metadata={"user_id": "u-1", "team": "search", "n": 4})
    request = FORMAT.parse(given)
    assert request.metadata == {"team": "search"}
    made = FORMAT.forwarded(request, given, None)
    assert made is not None
    assert json.loads(made)["metadata"] == {"user_id": "u-1"}
    given = body(metadata={"team": "search"})
    made = FORMAT.forwarded(FORMAT.parse(given), given, None)
    assert made is not None
    assert "metadata" not in json.loads(made)


def test_a_body_goes_on_untouched_but_for_the_model() -> None:
    given = (
        b' {"max_tokens" : 1.0e0, "model":"flagship", "messages": [{"role":"user","content":"x"}]}'
    )
    with pytest.raises(ClientError):
        FORMAT.parse(given)
    given = given.replace(b"1.0e0", b"1")
    request = FORMAT.parse(given)
    assert FORMAT.forwarded(request, given, None) is None
    assert FORMAT.forwarded(request, given, "flagship") is None
    made = FORMAT.forwarded(request, given, "m-2")
    assert made == b'{"max_tokens":1,"model":"m-2","messages":[{"role":"user","content":"x"}]}'


def test_metadata_for_the_provider_alone_stays() -> None:
    given = body(metadata={"user_id": "u-1"})
    assert FORMAT.forwarded(FORMAT.parse(given), given, None) is None
