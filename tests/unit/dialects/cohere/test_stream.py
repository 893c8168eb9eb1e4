"""Streams, and whole answers that say the same."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion import Choice

from extproc.dialects import BadAnswerError, Fault
from tests.unit.dialects.cohere.samples import (
    START,
    STREAMS,
    TEXT,
    THINKING,
    TOOLS,
    end,
    event,
    message,
    text,
)
from tests.unit.dialects.cohere.sending import level
from tests.unit.dialects.samples import WEATHER, Run, completion, joined, run, usage


def streamed(*pieces: bytes, **fields: Any) -> Run:
    return run(level(**fields).stream(), *pieces)


def whole(*content: dict[str, Any], reason: str = "COMPLETE", **more: Any) -> Choice:
    return completion(level().answer(message(*content, reason=reason, **more))).choices[0]


def extra(got: Run, name: str) -> list[Any]:
    return [
        one
        for chunk in got.chunks()
        for choice in chunk.choices
        for one in (choice.delta.model_extra or {}).get(name, ())
    ]


def said(piece: str) -> bytes:
    return event("content-delta", 0, content={"text": piece})


def test_text() -> None:
    got = streamed(TEXT)
    found = joined(got.chunks())
    assert (found.text, found.finish) == ("Grey, 11 °C.", "stop")
    assert (got.content, got.finished, got.refused, got.failure) == (True, True, False, None)
    assert got.chunks()[0].id == "chatcmpl-r-1"
    told = completion(level().answer(message(text("Grey, "), text("11 °C."))))
    assert told.id == "chatcmpl-r-1"
    assert told.choices[0].message.content == "Grey, 11 °C."


def test_usage() -> None:
    for found in (
        usage(streamed(TEXT).chunks()),
        completion(level().answer(message(text("x")))).usage,
    ):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens) == (560, 14)
        assert found.prompt_tokens_details is not None
        assert found.prompt_tokens_details.cached_tokens == 30


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("TOOL_CALL", "stop"),
        ("NEW", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    got = streamed(START + said("x") + end(reason))
    assert (joined(got.chunks()).finish, got.refused) == (finish, False)
    assert whole(text("x"), reason=reason).finish_reason == finish


def test_a_refusal_without_a_word() -> None:
    assert streamed(START + end("ERROR_TOXIC")).refused
    assert level().answer(message(reason="ERROR_TOXIC")).refused


@pytest.mark.parametrize("reason", ["ERROR", "TIMEOUT"])
def test_an_answer_that_failed(reason: str) -> None:
    got = streamed(START + said("x") + end(reason, error="Oh."))
    assert got.failure is not None
    assert (got.failure.fault, got.failure.message) == (Fault.SERVER, "Oh.")
    with pytest.raises(BadAnswerError):
        level().answer(message(text("x"), reason=reason))


# --- tools, thinking, citations -----------------------------------------------------------


def call(name: str, arguments: str, id_: str = "c1") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


PLAN = {"type": "reasoning.text", "id": "tool_plan", "format": "cohere-v2"}
THOUGHT = {"type": "reasoning.text", "format": "cohere-v2"}


def test_calls_and_their_plan() -> None:
    got = streamed(TOOLS)
    found = joined(got.chunks())
    assert found.calls == [
        {"id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"id": "c2", "name": "get_time", "arguments": "{}"},
    ]
    assert (found.reasoning, found.finish) == ("I will look.", "tool_calls")
    assert extra(got, "reasoning_details") == [{**PLAN, "text": "I will look.", "index": 0}]
    calls = [call("get_weather", '{"city": "Paris"}'), call("get_time", "", "c2")]
    told = whole(tool_calls=calls, tool_plan="I will look.", reason="TOOL_CALL")
    assert told.finish_reason == "tool_calls"
    assert told.message.content is None
    assert told.message.model_extra == {
        "reasoning_content": "I will look.",
        "reasoning_details": [{**PLAN, "text": "I will look."}],
    }
    given_ = [
        one.function.arguments for one in told.message.tool_calls or () if one.type == "function"
    ]
    assert given_ == ['{"city": "Paris"}', "{}"]


def test_a_call_without_arguments() -> None:
    begun = event("tool-call-start", 0, tool_calls=call("f", ""))
    got = streamed(START + begun + event("tool-call-end", 0) + end("TOOL_CALL"))
    assert joined(got.chunks()).calls[0]["arguments"] == "{}"


def test_thinking() -> None:
    got = streamed(THINKING)
    found = joined(got.chunks())
    assert (found.reasoning, found.text) == ("Paris is in France.", "Grey.")
    (thought,) = extra(got, "reasoning_details")
    assert thought == {**THOUGHT, "text": "Paris is in France.", "index": 0}
    told = whole({"type": "thinking", "thinking": "Hm."}, text("Grey."), tool_plan="So.")
    assert told.message.model_extra == {
        "reasoning_content": "Hm.So.",
        "reasoning_details": [{**THOUGHT, "text": "Hm."}, {**PLAN, "text": "So."}],
    }


def test_thinking_and_a_plan_are_two() -> None:
    thought = event("content-delta", 0, content={"thinking": "Hm."})
    planned = event("tool-plan-delta", tool_plan="So.")
    got = streamed(START + thought + planned + said("x") + end())
    assert extra(got, "reasoning_details") == [
        {**THOUGHT, "text": "Hm.", "index": 0},
        {**PLAN, "text": "So.", "index": 1},
    ]


def test_citations() -> None:
    [found] = extra(streamed(TEXT), "annotations")
    expected = {"start_index": 6, "end_index": 12, "url": "d:0", "title": "Sky"}
    assert found == {"type": "url_citation", "url_citation": expected}
    sources = [
        {"type": "document", "id": "d", "document": {"url": "https://e.com", "title": "E"}},
        {"type": "tool", "id": "c1:0", "tool_output": {"t": 1}},
    ]
    cited = {"start": 0, "end": 4, "text": "Grey", "sources": sources}
    planned = {**cited, "type": "PLAN"}
    told = whole(text("Grey."), citations=[{**cited, "type": "TEXT_CONTENT"}, planned])
    assert [one.url_citation.url for one in told.message.annotations or ()] == [
        "https://e.com",
        "c1:0",
    ]
    got = streamed(START + said("x") + event("citation-start", 0, citations=planned) + end())
    assert extra(got, "annotations") == []


def test_json_by_a_forced_tool_is_text() -> None:
    fields: dict[str, Any] = {"response_format": {"type": "json_object"}, "tools": [WEATHER]}
    got = streamed(
        START
        + event("tool-call-start", 0, tool_calls=call("json", ""))
        + event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"a"'}})
        + event("tool-call-delta", 0, tool_calls={"function": {"arguments": ": 1}"}})
        + event("tool-call-end", 0)
        + end("TOOL_CALL"),
        **fields,
    )
    found = joined(got.chunks())
    assert (found.text, found.calls, found.finish) == ('{"a": 1}', [], "stop")
    answer = message(tool_calls=[call("json", '{"a": 1}')], reason="TOOL_CALL")
    [told] = completion(level(**fields).answer(answer)).choices
    assert (told.message.content, told.finish_reason) == ('{"a": 1}', "stop")
    assert told.message.tool_calls is None


def test_probabilities() -> None:
    likely = {"text": "Gré", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    expected = {
        "token": "Gré",
        "logprob": -0.75,
        "bytes": [71, 114, 195, 169],
        "top_logprobs": [],
    }
    tree = json.loads(message(text("Gré")))
    answer = json.dumps({**tree, "logprobs": [likely]}).encode()
    told = completion(level().answer(answer)).choices[0].logprobs
    assert told is not None
    assert [one.model_dump() for one in told.content or ()] == [expected]
    fields = {"type": "content-delta", "index": 0, "logprobs": likely}
    delta = {"message": {"content": {"text": "Gré"}}}
    one = f"data: {json.dumps({**fields, 'delta': delta})}\n\n".encode()
    [found] = [
        choice.logprobs
        for chunk in streamed(START + one + end()).chunks()
        for choice in chunk.choices
        if choice.logprobs is not None
    ]
    assert [each.model_dump() for each in found.content or ()] == [expected]


# --- streams and bytes --------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_streams_cut_anywhere(name: str) -> None:
    stream = STREAMS[name]
    at_once = streamed(stream)
    assert at_once.failure is None
    for cut in range(len(stream) + 1):
        assert streamed(stream[:cut], stream[cut:]) == at_once
    # With other blanks the quick way is not taken.
    assert streamed(stream.replace(b'"index":', b'"index": ')) == at_once
    assert streamed(*(stream[at : at + 1] for at in range(len(stream)))) == at_once


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_end_early(name: str) -> None:
    stream = STREAMS[name]
    at_once = streamed(stream)
    for cut in range(stream.index(b"message-end")):
        got = streamed(stream[:cut])
        assert at_once.out.startswith(got.out)
        assert not got.finished


def test_an_error_body_instead_of_a_stream() -> None:
    got = streamed(b'{"id":"x","message":"No."}')
    assert got.failure is not None
    assert got.failure.fault is Fault.BAD_ANSWER


NAMES = st.sampled_from(
    [
        "type", "index", "id", "delta", "message", "content", "text", "thinking", "tool_calls",
        "function", "name", "arguments", "tool_plan", "citations", "start", "end", "sources",
        "document", "tool_output", "finish_reason", "usage", "tokens", "billed_units",
        "input_tokens", "cached_tokens", "logprobs", "error",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
        "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "message-end",
        "other",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, JSON, max_size=4), JSON), max_size=6))
def test_any_events_are_a_stream_or_a_failure(
    events: list[tuple[str, dict[str, Any], Any]],
) -> None:
    tree = [{**fields, "type": kind, "delta": {"message": piece}} for kind, fields, piece in events]
    data = [f"data: {json.dumps(one)}\n\n".encode() for one in tree]
    forced: dict[str, Any] = {"response_format": {"type": "json_object"}, "tools": [WEATHER]}
    for fields in ({}, forced):
        got = run(level(**fields).stream(), *data)
        if got.failure is None:
            got.chunks()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_stream_or_a_failure(data: bytes) -> None:
    got = streamed(data)
    assert got.failure is not None or not got.finished


@given(st.dictionaries(NAMES, JSON, max_size=5) | JSON)
def test_any_answer_is_one_or_is_refused(tree: Any) -> None:
    for one in (tree, {"message": tree, "usage": tree}, {"message": {"content": [tree]}}):
        with suppress(BadAnswerError):
            completion(level().answer(json.dumps(one).encode()))
