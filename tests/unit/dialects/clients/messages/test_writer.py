"""Streams: every event is the SDK's, its accumulators take them, and nothing is lost."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.chat.completion import ReasoningDetail, Usage, Writer
from extproc.dialects.clients.messages import thoughts
from extproc.errors import ClientError
from tests.unit.dialects.clients.messages.driver import (
    CLAUDE,
    FORMAT,
    GEMINI,
    SIGNED,
    USAGE,
    accumulated,
    answer,
    assistant,
    call,
    chat,
    decoded,
    events,
    lit,
    shapes,
    stream,
    whole,
)

WEB = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 5, "title": "T", "url": "https://x"},
}


def test_text() -> None:
    out = stream(lambda to: [to.text(lit("Hel")), to.text(lit("lo ☃"))])
    kinds = [one.type for one in events(out)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    made = accumulated(out)
    assert made.id == "msg_a-1"
    assert made.model == "m-1"
    assert shapes(made) == [{"type": "text", "text": "Hello ☃", "citations": None}]
    assert made.stop_reason == "end_turn"


def test_usage_is_told_at_the_end_in_anthropics_counting() -> None:
    found = events(stream(lambda to: [to.text(lit("x"))]))
    assert found[0].message.usage.input_tokens == 0
    usage = found[-2].usage
    assert usage.input_tokens == 12
    assert usage.cache_read_input_tokens == 5
    assert usage.cache_creation_input_tokens == 3
    assert usage.output_tokens == 7
    assert usage.output_tokens_details.thinking_tokens == 2


def test_usage_that_never_came_is_zero() -> None:
    out = stream(lambda to: [to.text(lit("x")), to.finish("stop"), to.done()], None)
    assert accumulated(out).usage.output_tokens == 0


def test_an_empty_answer() -> None:
    made = accumulated(stream(lambda to: [to.text(lit(""))]))
    assert made.content == []
    assert made.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "end_turn"),
        ("what_is_this", "end_turn"),
    ],
)
def test_finish_reasons(finish: str, reason: str) -> None:
    assert accumulated(stream(lambda to: [to.text(lit("x"))], finish)).stop_reason == reason


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call"])
def test_a_call_is_the_reason_whatever_the_server_says(finish: str) -> None:
    out = stream(lambda to: [to.call(0, call("t1", "f", "{}"))], finish)
    assert accumulated(out).stop_reason == "tool_use"


def test_stop_sequence() -> None:
    out = stream(
        lambda to: [to.text(lit("x")), to.finish("stop", 0, "END"), to.usage(USAGE), to.done()],
        None,
    )
    made = accumulated(out)
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", "END")


def test_a_refusal_in_words() -> None:
    made = accumulated(stream(lambda to: [to.refusal(lit("I can")), to.refusal(lit("not."))]))
    assert made.stop_reason == "refusal"
    assert made.stop_details is not None
    assert made.stop_details.explanation == "I cannot."
    assert made.content == []


def test_only_the_first_answer_is_written() -> None:
    out = stream(
        lambda to: [
            to.text(lit("a"), 1),
            to.reasoning(lit("b"), 1),
            to.detail(GEMINI, 1),
            to.annotations([WEB], 1),
            to.call(0, call("t", "f", "{}"), 1),
            to.arguments(0, lit("x"), 1),
            to.refusal(lit("no"), 1),
            to.finish("length", 1),
            to.image("data:image/png;base64,aa"),
        ]
    )
    assert accumulated(out).content == []


# --- calls --------------------------------------------------------------------------------


def test_calls_one_after_another_go_out_as_they_come() -> None:
    made = FORMAT.writer(decoded())
    made.start("chatcmpl-1", 0, "m")
    assert b"tool_use" in made.call(0, call("t1", "f", ""))
    assert b'"partial_json":"{\\"a\\":"' in made.arguments(0, lit('{"a":'))
    assert b"1}" in made.arguments(0, lit("1}"))
    assert b"content_block_stop" in (second := made.call(1, call("t2", "g", "")))
    assert b'"id":"t2"' in second


def test_calls_that_interleave_lose_nothing() -> None:
    out = stream(
        lambda to: [
            to.call(0, call("t1", "f", "")),
            to.call(1, call("t2", "g", "")),
            to.arguments(1, lit('{"b":')),
            to.arguments(0, lit('{"a":1}')),
            to.arguments(1, lit("2}")),
        ],
        "tool_calls",
    )
    assert shapes(accumulated(out)) == [
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {"b": 2}},
    ]


def test_text_behind_a_call_that_is_not_finished() -> None:
    out = stream(
        lambda to: [
            to.call(0, call("t1", "f", "")),
            to.text(lit("wait")),
            to.text(lit(" a bit")),
            to.arguments(0, lit("{}")),
            to.text(lit("!")),
        ]
    )
    assert [one.type for one in accumulated(out).content] == ["tool_use", "text"]
    assert shapes(accumulated(out))[1]["text"] == "wait a bit!"


def test_arguments_that_are_not_whole_for_long_lose_nothing() -> None:
    def drive(to: Writer) -> list[bytes]:
        begun = [to.call(0, call("t1", "f", "")), to.call(1, call("t2", "g", '{"b":2}'))]
        pieces = [to.arguments(0, lit('{"a":[{}' if not n else ",{}")) for n in range(100)]
        return [*begun, *pieces, to.arguments(0, lit("]}"))]

    first, second = shapes(accumulated(stream(drive)))
    assert first["input"] == {"a": [{}] * 100}
    assert second["input"] == {"b": 2}


def test_a_call_without_arguments() -> None:
    out = stream(lambda to: [to.call(0, call("t1", "f", "")), to.call(1, call("t2", "g", "{}"))])
    assert [one["input"] for one in shapes(accumulated(out))] == [{}, {}]


def test_ids_that_anthropic_would_not_take_back_are_made_to_fit() -> None:
    out = stream(
        lambda to: [
            to.call(0, call("functions.f:0", "f", "{}")),
            to.call(1, call("functions.f_0", "f", "{}")),
            to.call(2, call("", "f", "{}")),
        ]
    )
    ids = [one["id"] for one in shapes(accumulated(out))]
    assert len(set(ids)) == 3
    assert all(id_.replace("_", "").isalnum() for id_ in ids)


# --- thinking -----------------------------------------------------------------------------


def claude(signature: str) -> ReasoningDetail:
    return ReasoningDetail(type="reasoning.text", signature=signature, format=CLAUDE)


def test_claudes_thinking_keeps_its_blocks() -> None:
    out = stream(
        lambda to: [
            to.reasoning(lit("So: ")),
            to.reasoning(lit("Paris.")),
            to.detail(claude("c2ln")),
            to.detail(ReasoningDetail(type="reasoning.encrypted", data="c2VjcmV0", format=CLAUDE)),
            to.reasoning(lit("Then?")),
            to.detail(claude("dHdv")),
            to.text(lit("Paris.")),
        ]
    )
    assert shapes(accumulated(out)) == [
        {"type": "thinking", "thinking": "So: Paris.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "thinking", "thinking": "Then?", "signature": "dHdv"},
        {"type": "text", "text": "Paris.", "citations": None},
    ]


def test_claudes_thinking_that_is_not_shown() -> None:
    out = stream(lambda to: [to.detail(claude("c2ln")), to.text(lit("Paris."))])
    assert shapes(accumulated(out))[0] == {
        "type": "thinking",
        "thinking": "",
        "signature": "c2ln",
    }


def test_claudes_web_search_keeps_its_blocks() -> None:
    block = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    detail = ReasoningDetail(
        type="reasoning.encrypted", data=json.dumps(block), id="s1", format=CLAUDE
    )
    out = stream(lambda to: [to.detail(detail), to.text(lit("x"))])
    assert shapes(accumulated(out))[0] == block


def test_thinking_of_others_is_sealed_and_comes_back() -> None:
    summary = ReasoningDetail(type="reasoning.summary", summary="Hm.", format="openai-responses-v1")
    sealed = ReasoningDetail(
        type="reasoning.encrypted", data="gAAAA", id="rs_1", format="openai-responses-v1"
    )
    out = stream(
        lambda to: [
            to.reasoning(lit("Hm.")),
            to.detail(summary),
            to.detail(sealed),
            to.text(lit("x")),
        ]
    )
    blocks = shapes(accumulated(out))
    assert [one["type"] for one in blocks] == ["thinking", "text"]
    assert blocks[0]["thinking"] == "Hm."
    message: Any = chat(assistant(*blocks)).messages[0]
    assert message.reasoning_content == "Hm."
    assert message.reasoning_details == [summary, sealed]


def test_a_seal_that_came_without_its_text_gets_it_back() -> None:
    signed = ReasoningDetail(type="reasoning.text", signature="s1", format="google-gemini-v1")
    again = ReasoningDetail(type="reasoning.text", signature="s2", format="google-gemini-v1")
    out = stream(
        lambda to: [
            to.reasoning(lit("One.")),
            to.detail(signed),
            to.reasoning(lit("Two.")),
            to.detail(again),
        ]
    )
    blocks = shapes(accumulated(out))
    assert [one["thinking"] for one in blocks] == ["One.", "Two."]
    message: Any = chat(assistant(*blocks)).messages[0]
    assert [(one.text, one.signature) for one in message.reasoning_details] == [
        ("One.", "s1"),
        ("Two.", "s2"),
    ]


def test_what_belongs_to_a_call_comes_back_with_it() -> None:
    extra = {"google": {"thought_signature": "Z2Vt"}}
    out = stream(
        lambda to: [
            to.text(lit("Let me see.")),
            to.call(0, call("f:1", "f", '{"a":1}', extra_content=extra)),
            to.call(1, call("t2", "g", "{}")),
        ],
        "tool_calls",
    )
    blocks = shapes(accumulated(out))
    kinds = ["text", "redacted_thinking", "tool_use", "tool_use"]
    assert [one["type"] for one in blocks] == kinds
    message: Any = chat(assistant(*blocks)).messages[0]
    assert [one.extra_content for one in message.tool_calls] == [extra, None]
    assert not message.reasoning_details


def test_what_belongs_to_a_call_rides_with_the_thinking_before_it() -> None:
    extra = {"google": {"thought_signature": "Z2Vt"}}
    out = stream(
        lambda to: [
            to.reasoning(lit("Hm.")),
            to.call(0, call("t1", "f", "{}", extra_content=extra)),
            to.detail(GEMINI),
        ]
    )
    blocks = shapes(accumulated(out))
    assert [one["type"] for one in blocks] == ["thinking", "tool_use", "redacted_thinking"]
    message: Any = chat(assistant(*blocks)).messages[0]
    assert message.tool_calls[0].extra_content == extra
    assert message.reasoning_details == [GEMINI]


# --- citations ----------------------------------------------------------------------------


def test_citations_end_a_block_of_text() -> None:
    out = stream(
        lambda to: [
            to.text(lit("Paris")),
            to.annotations([WEB]),
            to.annotations([WEB]),
            to.text(lit(" it is.")),
        ]
    )
    first, second = shapes(accumulated(out))
    assert [one["url"] for one in first["citations"]] == ["https://x", "https://x"]
    assert first["citations"][0]["type"] == "web_search_result_location"
    assert (first["text"], second["text"]) == ("Paris", " it is.")
    assert second["citations"] is None


def test_citations_without_text_before() -> None:
    out = stream(lambda to: [to.annotations([WEB]), to.call(0, call("t", "f", ""))])
    assert [one["type"] for one in shapes(accumulated(out))] == ["text", "tool_use"]


def test_citations_behind_a_call_that_is_not_finished() -> None:
    out = stream(
        lambda to: [
            to.call(0, call("t", "f", "")),
            to.text(lit("Paris")),
            to.annotations([WEB]),
            to.text(lit("!")),
        ]
    )
    _, first, second = shapes(accumulated(out))
    assert len(first["citations"]) == 1
    assert second["text"] == "!"


# --- the end ------------------------------------------------------------------------------


def test_an_error_ends_the_stream_in_anthropics_shape() -> None:
    error = ClientError(503, "server_error", None, "busy")
    made = FORMAT.writer(decoded())
    assert made.error(error) == FORMAT.error_event(error, 3)
    name, data = made.error(error).removesuffix(b"\n\n").split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
    }


def test_a_stream_that_is_cut_tells_its_usage_and_no_reason() -> None:
    made = FORMAT.writer(decoded())
    out = made.start("chatcmpl-a-1", 0, "m") + made.text(lit("x")) + made.usage(USAGE)
    last = events(out)[-1]
    assert last.type == "message_delta"
    assert last.delta.stop_reason is None
    assert last.usage.output_tokens == 7


def test_usage_before_the_reason_is_told_again_with_it() -> None:
    out = stream(
        lambda to: [to.text(lit("x")), to.usage(USAGE), to.finish("length"), to.done()], None
    )
    made = accumulated(out)
    assert (made.stop_reason, made.usage.output_tokens) == ("max_tokens", 7)


def test_service_tier() -> None:
    made = FORMAT.writer(decoded())
    made.start("chatcmpl-a-1", 0, "m")
    made.finish("stop")
    assert b'"service_tier":"priority"' in made.usage(Usage(), "priority")


# --- whatever a provider does -------------------------------------------------------------

WORDS = st.text(max_size=8)
STEPS = st.one_of(
    st.tuples(st.just("text"), WORDS),
    st.tuples(st.just("reasoning"), WORDS),
    st.tuples(st.just("detail"), st.sampled_from([SIGNED, GEMINI])),
    st.tuples(st.just("annotations"), st.just(WEB)),
    st.tuples(st.just("call"), st.dictionaries(WORDS, WORDS, max_size=2)),
    st.tuples(st.just("arguments"), st.integers(0, 3)),
)


def _drive(to: Writer, steps: list[tuple[str, Any]]) -> tuple[list[bytes], list[Any], str]:
    """What goes out, the calls' inputs and the text that went in. Arguments come in two pieces,
    the second when a step says so or at the end."""
    out: list[bytes] = []
    rest: dict[int, bytes] = {}
    inputs: list[Any] = []
    said = ""
    for name, value in steps:
        if name == "text":
            said += value
            out.append(to.text(lit(value)))
        elif name == "reasoning":
            out.append(to.reasoning(lit(value)))
        elif name == "detail":
            out.append(to.detail(value))
        elif name == "annotations":
            out.append(to.annotations([value]))
        elif name == "call":
            number, data = len(inputs), json.dumps(value)
            inputs.append(value)
            out.append(to.call(number, call(f"t{number}", "f", "")))
            out.append(to.arguments(number, lit(data[:2])))
            rest[number] = lit(data[2:])
        elif value in rest:
            out.append(to.arguments(value, rest.pop(value)))
    out += [to.arguments(number, piece) for number, piece in rest.items()]
    return out, inputs, said


@given(st.lists(STEPS, max_size=12))
def test_nothing_is_lost_whatever_comes(steps: list[tuple[str, Any]]) -> None:
    told: list[Any] = []

    def drive(to: Writer) -> list[bytes]:
        out, *rest = _drive(to, steps)
        told.extend(rest)
        return out

    made = accumulated(stream(drive))
    inputs, said = told
    assert [one.input for one in made.content if one.type == "tool_use"] == inputs
    assert "".join(one.text for one in made.content if one.type == "text") == said
    thought = "".join(value for name, value in steps if name == "reasoning")
    shown = "".join(one.thinking for one in made.content if one.type == "thinking")
    assert shown.replace("So: Paris.", "") == thought.replace("So: Paris.", "")
    sealed = [one for name, one in steps if name == "detail" and one is GEMINI]
    assert _unsealed(made).count(GEMINI) == len(sealed)


def _unsealed(made: Message) -> list[ReasoningDetail]:
    found: list[ReasoningDetail] = []
    for block in made.content:
        content = (
            block.signature
            if block.type == "thinking"
            else block.data
            if block.type == "redacted_thinking"
            else ""
        )
        if thoughts.is_sealed(content):
            found += thoughts.unseal(content, "", None).details
    return found


@given(st.text(), st.text())
def test_a_stream_says_what_a_whole_answer_says(thought: str, said: str) -> None:
    out = stream(lambda to: [to.reasoning(lit(thought)), to.text(lit(said))])
    streamed = accumulated(out)
    given = whole(answer(content=said, reasoning_content=thought))
    assert shapes(streamed) == shapes(given)
    assert streamed.stop_reason == given.stop_reason
