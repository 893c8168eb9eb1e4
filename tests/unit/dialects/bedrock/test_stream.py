"""Streams, and whole answers that say the same."""

import json
from contextlib import suppress
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import create_parser
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion_message import ChatCompletionMessage

from extproc.dialects import BadAnswerError, Fault
from tests.unit.dialects.bedrock.samples import (
    CITED,
    CLAUDE,
    IMAGE,
    NOVA,
    NOVA_2,
    START,
    STREAMS,
    TEXT,
    THINKING,
    TOOLS,
    answer,
    begun,
    block_end,
    delta,
    end,
    event,
    exception,
    frame,
    level,
    streamed,
)
from tests.unit.dialects.samples import Run, completion, joined, run, usage

SCHEMA = {"type": "json_object"}


def whole(*content: dict[str, Any], model: str = CLAUDE, **more: Any) -> ChatCompletionMessage:
    return completion(level(model).answer(answer(*content, **more))).choices[0].message


def extra(got: Run, name: str) -> list[Any]:
    return [
        one
        for chunk in got.chunks()
        for choice in chunk.choices
        for one in (choice.delta.model_extra or {}).get(name, ())
    ]


def test_the_samples_are_what_the_service_sends() -> None:
    service = get_session().get_service_model("bedrock-runtime")
    shape = service.operation_model("ConverseStream").output_shape.members["stream"]
    parser = create_parser("rest-json")
    for stream in STREAMS.values():
        buffer = EventStreamBuffer()
        buffer.add_data(stream)
        for message in buffer:
            [(name, read)] = parser._event_stream_parser.parse(
                message.to_response_dict(), shape
            ).items()
            told = set(json.loads(message.payload)) - {"p"}
            assert name in shape.members
            assert told == set(read)


# --- text ---------------------------------------------------------------------------------


def test_text() -> None:
    got = streamed(TEXT)
    found = joined(got.chunks())
    assert (found.text, found.finish) == ("Grey, 11 °C.", "stop")
    assert (got.content, got.finished, got.refused, got.failure) == (True, True, False, None)
    assert got.chunks()[0].id == "chatcmpl-minted"
    assert whole({"text": "Grey, "}, {"text": "11 °C."}).content == "Grey, 11 °C."


def test_usage_counts_the_cache_within_the_prompt() -> None:
    for found in (
        usage(streamed(TEXT).chunks()),
        completion(level().answer(answer({"text": "x"}))).usage,
    ):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (60, 12, 72)
        assert found.prompt_tokens_details is not None
        assert found.prompt_tokens_details.model_dump(exclude_none=True) == {
            "cached_tokens": 30,
            "cache_write_tokens": 20,
            "cache_write_1h_tokens": 5,
        }


def test_the_service_tier_is_told() -> None:
    got = streamed(START, delta(0, text="x"), end(serviceTier={"type": "priority"}))
    assert got.chunks()[-1].service_tier == "priority"
    told = level().answer(answer({"text": "x"}, serviceTier={"type": "flex"}))
    assert completion(told).service_tier == "flex"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("tool_use", "stop"),
        ("new_one", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    got = streamed(START, delta(0, text="x"), end(reason))
    assert joined(got.chunks()).finish == finish
    assert not got.refused
    told = level().answer(answer({"text": "x"}, reason=reason))
    assert completion(told).choices[0].finish_reason == finish
    assert not told.refused


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
def test_a_refusal_without_a_word(reason: str) -> None:
    assert streamed(START, end(reason)).refused
    assert level().answer(answer(reason=reason)).refused


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_model_that_failed(reason: str) -> None:
    got = streamed(START, end(reason))
    assert got.failure is not None
    assert got.failure.fault is Fault.BAD_ANSWER
    with pytest.raises(BadAnswerError):
        level().answer(answer(reason=reason))


def test_which_stop_sequence_it_was() -> None:
    fields = {"additionalModelResponseFields": {"stop_sequence": "END"}}
    stop = event("messageStop", stopReason="stop_sequence", **fields)
    [found] = [
        choice.model_extra
        for chunk in streamed(START, delta(0, text="x"), stop).chunks()
        for choice in chunk.choices
        if choice.finish_reason
    ]
    assert found == {"stop_sequence": "END"}
    told = completion(level().answer(answer({"text": "x"}, reason="stop_sequence", **fields)))
    assert told.choices[0].model_extra == {"stop_sequence": "END"}
    strangers: list[Any] = [[], {"stop_sequence": 1}, "x", None]
    for strange in strangers:
        told = completion(
            level().answer(answer({"text": "x"}, additionalModelResponseFields=strange))
        )
        assert told.choices[0].model_extra == {}


# --- tools --------------------------------------------------------------------------------


def test_calls() -> None:
    got = joined(streamed(TOOLS).chunks())
    assert got.text == "Let me look."
    assert got.calls == [
        {"id": "t1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"id": "t2", "name": "get_time", "arguments": "{}"},
    ]
    assert got.finish == "tool_calls"
    told = completion(
        level().answer(
            answer(
                {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"t": 1.50}}},
                {"toolUse": {"toolUseId": "t2", "name": "get_time", "input": {}}},
                reason="tool_use",
            )
        )
    ).choices[0]
    assert told.finish_reason == "tool_calls"
    assert told.message.content is None
    calls = [
        (one.id, one.function.name, one.function.arguments)
        for one in told.message.tool_calls or ()
        if one.type == "function"
    ]
    assert calls == [("t1", "get_weather", '{"t":1.5}'), ("t2", "get_time", "{}")]


def test_calls_that_bedrock_answers_itself_are_not_the_clients() -> None:
    own = {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}
    got = streamed(
        START, begun(0, toolUse=own), delta(0, toolUse={"input": "{}"}), block_end(0),
        delta(1, text="x"), end(),
    )  # fmt: skip
    assert joined(got.chunks()).calls == []
    assert whole({"toolUse": {**own, "input": {}}}, {"text": "x"}).tool_calls is None


@pytest.mark.parametrize("model", [NOVA, "anthropic.claude-3-7-sonnet-20250219-v1:0"])
def test_json_by_a_forced_tool_is_text(model: str) -> None:
    use = {"toolUseId": "t", "name": "json"}
    got = streamed(
        START, begun(0, toolUse=use), delta(0, toolUse={"input": '{"a"'}),
        delta(0, toolUse={"input": ": 1}"}), block_end(0), end("tool_use"),
        model=model, response_format=SCHEMA,
    )  # fmt: skip
    found = joined(got.chunks())
    assert (json.loads(found.text), found.calls, found.finish) == ({"a": 1}, [], "stop")
    told = level(model, response_format=SCHEMA).answer(
        answer({"toolUse": {**use, "input": {"a": 1}}}, reason="tool_use")
    )
    message = completion(told).choices[0].message
    assert json.loads(message.content or "") == {"a": 1}
    assert message.tool_calls is None


# --- thinking, citations, images ----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "format_"), [(CLAUDE, "anthropic-claude-v1"), (NOVA_2, "aws-bedrock-v1")]
)
def test_thinking_and_what_goes_back(model: str, format_: str) -> None:
    got = streamed(THINKING, model=model)
    assert joined(got.chunks()).reasoning == "Paris is in France."
    sealed = {"type": "reasoning.encrypted", "data": "eHh4", "format": format_}
    assert extra(got, "reasoning_details") == [
        {"type": "reasoning.text", "signature": "c2ln", "format": format_, "index": 0},
        {**sealed, "index": 1},
    ]
    said = {"text": "Hm.", "signature": "c2ln"}
    told = whole(
        {"reasoningContent": {"reasoningText": said}},
        {"reasoningContent": {"redactedContent": "eHh4"}},
        {"text": "Grey."},
        model=model,
    ).model_extra
    assert told == {
        "reasoning_content": "Hm.",
        "reasoning_details": [{"type": "reasoning.text", **said, "format": format_}, sealed],
    }


def test_citations() -> None:
    expected = [
        {"start_index": 0, "end_index": 5, "url": "Sky", "title": "Sky"},
        {"start_index": 5, "end_index": 12, "url": "https://e.com/t", "title": "T"},
    ]
    found = extra(streamed(CITED), "annotations")
    assert [one["url_citation"] for one in found] == expected
    told = whole(
        {"citationsContent": {"content": [{"text": "Grey."}], "citations": [{"title": "Sky"}]}},
        {
            "citationsContent": {
                "content": [{"text": " 11 °C."}],
                "citations": [{"title": "T", "location": {"web": {"url": "https://e.com/t"}}}],
            }
        },
    )
    assert told.content == "Grey. 11 °C."
    assert [one.url_citation.model_dump() for one in told.annotations or ()] == expected


def test_images() -> None:
    url = "data:image/png;base64,YWJj"
    [found] = extra(streamed(IMAGE), "images")
    assert found["image_url"] == {"url": url}
    told = whole({"image": {"format": "png", "source": {"bytes": "YWJj"}}})
    assert (told.model_extra or {})["images"] == [{"type": "image_url", "image_url": {"url": url}}]


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fault", "status"),
    [
        ("internalServerException", Fault.SERVER, 500),
        ("modelStreamErrorException", Fault.SERVER, 424),
        ("modelTimeoutException", Fault.TIMEOUT, 408),
        ("serviceUnavailableException", Fault.OVERLOADED, 503),
        ("throttlingException", Fault.RATE_LIMIT, 429),
        ("validationException", Fault.INVALID, 400),
    ],
)
@pytest.mark.parametrize("before", [b"", START + delta(0, text="x")])
def test_exceptions_in_the_stream(kind: str, fault: Fault, status: int, before: bytes) -> None:
    got = streamed(before + exception(kind, "No."))
    assert got.failure is not None
    assert (got.failure.fault, got.failure.status, got.failure.message) == (fault, status, "No.")
    assert got.content is bool(before)


def test_errors_that_the_protocol_does_not_model() -> None:
    one = frame(b"", message_type="error", error_code="InternalFailure", error_message="Oh.")
    got = streamed(one)
    assert got.failure is not None
    assert got.failure.message == "Oh."


def test_an_error_body_instead_of_a_stream() -> None:
    got = streamed(b'{"message": "No."}')
    assert got.failure is not None
    assert got.failure.fault is Fault.BAD_ANSWER
    assert streamed(b"").failure is not None


@pytest.mark.parametrize("name", STREAMS)
def test_streams_cut_anywhere(name: str) -> None:
    stream = STREAMS[name]
    at_once = streamed(stream)
    assert at_once.failure is None
    for cut in range(len(stream) + 1):
        assert streamed(stream[:cut], stream[cut:]) == at_once
    assert streamed(*(stream[at : at + 1] for at in range(len(stream)))) == at_once


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_end_early(name: str) -> None:
    stream = STREAMS[name]
    at_once = streamed(stream)
    for cut in range(len(stream)):
        got = streamed(stream[:cut])
        assert at_once.out.startswith(got.out.removesuffix(b"data: [DONE]\n\n"))
        # All was said: only the usage is missing.
        said = got.out.endswith(b"[DONE]\n\n")
        assert got.finished is said
        assert (got.failure is not None) is (not got.out)


@pytest.mark.parametrize("name", STREAMS)
def test_every_flipped_byte_is_seen(name: str) -> None:
    stream = STREAMS[name]
    at_once = streamed(stream)
    for at in range(0, len(stream), 7):
        broken = stream[:at] + bytes([stream[at] ^ 0x20]) + stream[at + 1 :]
        got = streamed(broken)
        assert got.failure is not None or not got.finished
        assert at_once.out.startswith(got.out)


@pytest.mark.parametrize("name", STREAMS)
def test_the_quick_way_is_the_same(name: str) -> None:
    """With other blanks it is not taken."""
    buffer = EventStreamBuffer()
    buffer.add_data(STREAMS[name])
    slow = [
        frame(
            json.dumps(json.loads(one.payload), ensure_ascii=False).encode(),
            event_type=one.headers[":event-type"],
            message_type="event",
        )
        for one in buffer
    ]
    frames = []
    stream = STREAMS[name]
    while stream:
        size = int.from_bytes(stream[:4], "big")
        frames.append(stream[:size])
        stream = stream[size:]
    assert streamed(*frames) == streamed(*slow)


@given(st.data())
def test_however_it_is_cut(data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from(list(STREAMS.values())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [
        stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    assert streamed(*pieces) == streamed(stream)


NAMES = st.sampled_from(
    [
        "contentBlockIndex", "start", "delta", "stopReason", "usage", "text", "toolUse", "input",
        "toolUseId", "name", "reasoningContent", "signature", "redactedContent", "citation",
        "title", "location", "web", "url", "image", "source", "bytes", "format", "output",
        "message", "content", "inputTokens", "cacheDetails", "ttl", "serviceTier", "type",
        "additionalModelResponseFields", "stop_sequence", "citationsContent", "citations",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
     "metadata", "other"]
)  # fmt: skip


@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, JSON, max_size=4)), max_size=6))
def test_any_events_are_a_stream_or_a_failure(events: list[tuple[str, dict[str, Any]]]) -> None:
    frames = [
        frame(json.dumps(fields).encode(), event_type=kind, message_type="event")
        for kind, fields in events
    ]
    for fields in ({}, {"response_format": SCHEMA}):
        got = run(level(NOVA, **fields).stream(), *frames)
        if got.failure is None:
            got.chunks()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_failure(data: bytes) -> None:
    got = streamed(data)
    assert got.failure is not None
    assert got.out == b""


@given(st.dictionaries(NAMES, JSON, max_size=5) | JSON)
def test_any_answer_is_one_or_is_refused(tree: Any) -> None:
    bodies = [tree, {"output": {"message": tree}}, {"output": {"message": {"content": [tree]}}}]
    for one in bodies:
        with suppress(BadAnswerError):
            completion(level().answer(json.dumps(one).encode()))
