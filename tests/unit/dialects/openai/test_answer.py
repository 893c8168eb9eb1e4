"""Chat completions of a provider, read for a client of another format."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError, Fault, StreamReader
from extproc.dialects.chat.completion import Chunks, Completion, Usage
from extproc.dialects.openai import answer
from tests.unit.dialects.samples import (
    OPENAI_TEXT,
    OPENAI_TOOLS,
    OPENAI_USAGE,
    ROLE,
    Message,
    Run,
    chunk,
    joined,
    run,
    sse,
    usage,
)

DONE = b"data: [DONE]\n\n"
CALL: dict[str, Any] = {
    "index": 0,
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a":'},
}


def reader() -> StreamReader:
    return answer.Reader(Chunks(), 1_700_000_000)


def stream(*events: dict[str, Any], end: bytes = DONE) -> Run:
    return run(reader(), sse(*events) + end)


def message(*deltas: dict[str, Any], finish: str = "stop") -> Message:
    got = stream(ROLE, *map(chunk, deltas), chunk({}, finish))
    assert got.finished
    return joined(got.chunks())


def read(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> Completion:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {"id": "x", "created": 1, "model": "gpt", "choices": [choice], **more}
    return answer.translate(json.dumps(body).encode(), 1_700_000_000)


# --- what it says -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_under_either_name(name: str) -> None:
    [choice] = read({"content": "Grey.", name: "Hm."}).choices
    assert (choice.message.content, choice.message.reasoning_content) == ("Grey.", "Hm.")
    found = message({name: "H"}, {name: "m."}, {"content": "Grey."})
    assert (found.text, found.reasoning) == ("Grey.", "Hm.")


def test_thinking_under_both_names_is_said_once() -> None:
    both = {"reasoning_content": "Hm.", "reasoning": "Hm."}
    assert read(both).choices[0].message.reasoning_content == "Hm."
    assert message(both).reasoning == "Hm."


def test_parts_of_mistrals_thinking_models() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"text": "."}]},
        {"type": "text", "text": "Grey "},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "é."},
    ]
    [choice] = read({"content": content}).choices
    assert (choice.message.content, choice.message.reasoning_content) == ("Grey é.", "Hm.")
    found = message({"content": content[:1]}, {"content": "Grey "}, {"content": content[2:]})
    assert (found.text, found.reasoning) == ("Grey é.", "Hm.")


def test_details_of_openrouter_come_along() -> None:
    sealed = {"type": "reasoning.encrypted", "data": "eHh4", "format": "openai-responses-v1"}
    shown = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "f"}
    details = read({"content": "x", "reasoning_details": [shown, sealed]}).choices[0].message
    assert [one.data for one in details.reasoning_details or ()] == [None, "eHh4"]
    unsigned = {"type": "reasoning.text", "text": "Hm."}
    got = stream(
        chunk({"reasoning": "Hm.", "reasoning_details": [unsigned]}),
        chunk({"reasoning_details": [sealed]}),
        chunk({}, "stop"),
    )
    found = [
        one
        for piece in got.chunks()
        for one in (piece.choices[0].delta.model_extra or {}).get("reasoning_details", [])
        if piece.choices
    ]
    assert [one["data"] for one in found] == ["eHh4"]
    assert joined(got.chunks()).reasoning == "Hm."


def test_refusals() -> None:
    [choice] = read({"content": None, "refusal": "No."}).choices
    assert (choice.message.content, choice.message.refusal) == (None, "No.")
    assert message({"refusal": "N"}, {"refusal": "o."}).refusal == "No."


def test_a_filter_that_left_nothing_refused() -> None:
    assert read({"content": None}, "content_filter").refused
    assert not read({"content": "Some of i"}, "content_filter").refused
    assert not read({"content": None}, "stop").refused
    assert stream(ROLE, chunk({}, "content_filter")).refused
    assert not stream(ROLE, chunk({"content": "So"}), chunk({}, "content_filter")).refused


def test_probabilities() -> None:
    found = {"content": [{"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "logprobs": found}]}
    [choice] = answer.translate(json.dumps(body).encode(), 1).choices
    assert choice.logprobs == found
    one = chunk({"content": "x"})
    one["choices"][0]["logprobs"] = found
    [told] = [
        piece.choices[0].logprobs
        for piece in stream(one, chunk({}, "stop")).chunks()
        if piece.choices and piece.choices[0].logprobs
    ]
    assert told.content is not None
    assert told.content[0].logprob == -0.5


# --- calls ------------------------------------------------------------------------------------


def test_calls_in_pieces() -> None:
    rest = {"index": 0, "function": {"arguments": "1}"}}
    other = {**CALL, "index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}}
    found = message(
        {"tool_calls": [CALL]},
        {"tool_calls": [rest]},
        {"tool_calls": [other]},
        finish="tool_calls",
    )
    assert found.calls == [
        {"id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"id": "c2", "name": "g", "arguments": "{}"},
    ]


def test_calls_without_index_or_id() -> None:
    """As servers give them that send a call whole."""
    whole = {"function": {"name": "f", "arguments": "{}"}}
    found = message({"tool_calls": [whole]}, {"tool_calls": [whole]}, finish="tool_calls")
    assert [one["name"] for one in found.calls] == ["f", "f"]
    assert [one["arguments"] for one in found.calls] == ["{}", "{}"]
    assert len({one["id"] for one in found.calls}) == 2


def test_calls_whose_numbers_do_not_begin_at_zero() -> None:
    late = {**CALL, "index": 3, "function": {"name": "f", "arguments": "{}"}}
    [found] = message({"tool_calls": [late]}, finish="tool_calls").calls
    assert found == {"id": "c1", "name": "f", "arguments": "{}"}


def test_calls_of_several_answers_are_numbered_apart() -> None:
    def of(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        made = chunk(delta, finish)
        made["choices"][0]["index"] = index
        return made

    whole = {**CALL, "function": {"name": "f", "arguments": "{}"}}
    got = stream(
        of(0, {"tool_calls": [whole]}),
        of(1, {"tool_calls": [{**whole, "id": "d1"}]}),
        of(0, {}, "tool_calls"),
        of(1, {}, "tool_calls"),
    )
    chunks = got.chunks()
    assert [one["id"] for one in joined(chunks, 0).calls] == ["c1"]
    assert [one["id"] for one in joined(chunks, 1).calls] == ["d1"]


def test_signatures_of_calls_come_along() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    signed = {**CALL, "extra_content": extra}
    [call] = (
        read({"content": None, "tool_calls": [signed]}, "tool_calls").choices[0].message.tool_calls
        or []
    )
    assert call.extra_content == extra
    assert message({"tool_calls": [signed]}, finish="tool_calls").calls[0]["extra"] == extra


def test_a_finish_that_is_not_told() -> None:
    assert read({"content": "x"}, None).choices[0].finish_reason == "stop"
    assert read({"tool_calls": [CALL]}, None).choices[0].finish_reason == "tool_calls"


# --- what it cost -----------------------------------------------------------------------------

REPORTED = [
    (OPENAI_USAGE, Usage(prompt=9, completion=3)),
    ({"prompt_tokens": 9, "completion_tokens": None}, Usage(prompt=9)),
    (
        {**OPENAI_USAGE, "prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 4},
        Usage(prompt=9, completion=3, cached=5),
    ),
    (
        {
            **OPENAI_USAGE,
            "prompt_tokens_details": {
                "cached_tokens": 4,
                "cache_write_tokens": 3,
                "cache_write_1h_tokens": 2,
                "audio_tokens": 1,
            },
            "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 1},
        },
        Usage(
            prompt=9,
            completion=3,
            cached=4,
            cache_write=3,
            cache_write_1h=2,
            reasoning=2,
            audio_prompt=1,
            audio_completion=1,
        ),
    ),
    ({**OPENAI_USAGE, "prompt_tokens_details": None}, Usage(prompt=9, completion=3)),
]


@pytest.mark.parametrize(("reported", "used"), REPORTED)
def test_usage(reported: dict[str, Any], used: Usage) -> None:
    assert read({"content": "x"}, usage=reported).usage == used
    got = stream(ROLE, chunk({"content": "x"}), chunk({}, "stop"), chunk(None, usage=reported))
    assert usage(got.chunks()).model_dump(exclude_none=True) == used.shape()


def test_usage_where_groq_has_it() -> None:
    last = chunk({}, "stop", x_groq={"id": "r", "usage": OPENAI_USAGE})
    assert usage(stream(chunk({"content": "x"}), last).chunks()).total_tokens == 12


def test_usage_that_comes_with_every_chunk_is_told_once() -> None:
    early = {**OPENAI_USAGE, "completion_tokens": 1}
    got = stream(
        chunk({"content": "x"}, usage=early),
        chunk({"content": "y"}, usage=early),
        chunk({}, "stop", usage=OPENAI_USAGE),
    )
    assert usage(got.chunks()).completion_tokens == 3


def test_service_tier() -> None:
    assert read({"content": "x"}, service_tier="flex").service_tier == "flex"
    got = stream(chunk({}, "stop", service_tier="flex"), chunk(None, usage=OPENAI_USAGE))
    assert [one.service_tier for one in got.chunks() if one.usage] == ["flex"]


# --- the end ----------------------------------------------------------------------------------


def test_a_stream_without_the_marker_ends_with_its_reason() -> None:
    got = stream(ROLE, chunk({"content": "x"}), chunk({}, "stop", usage=OPENAI_USAGE), end=b"")
    assert got.finished
    assert got.out.endswith(DONE)
    assert usage(got.chunks()).total_tokens == 12


def test_a_stream_that_is_cut_has_no_end() -> None:
    got = stream(ROLE, chunk({"content": "x"}, usage=OPENAI_USAGE), end=b"")
    assert not got.finished
    assert DONE not in got.out
    assert usage(got.chunks()).total_tokens == 12


def test_an_error_ends_it() -> None:
    error = b'data: {"error":{"message":"engine died","type":"server_error"}}\n\n'
    got = run(reader(), sse(ROLE, chunk({"content": "x"})) + error + sse(chunk({"content": "y"})))
    assert got.failure is not None
    assert (got.failure.fault, got.failure.message) == (Fault.SERVER, "engine died")
    assert joined(got.chunks()).text == "x"
    assert not got.finished


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"error":{"message":"no capacity","code":503}}', "no capacity"),
        (b'{"error":"model not loaded"}', "model not loaded"),
        (b'{"object":"list"}', "no choices"),
    ],
)
def test_a_body_that_is_no_completion(body: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        answer.translate(body, 1)
    got = run(reader(), body)
    assert got.failure is not None
    assert not got.content


def test_a_completion_with_no_choice_is_empty() -> None:
    """As a filter of the prompt leaves it."""
    found = answer.translate(b'{"choices":[],"model":"gpt"}', 1_700_000_000)
    assert found.choices == []
    assert not found.refused
    assert (found.created, found.usage) == (1_700_000_000, Usage())


STREAMS = [
    OPENAI_TEXT,
    OPENAI_TOOLS,
    sse(chunk({"reasoning": "é"}), chunk({"content": [{"type": "text", "text": "x"}]})) + DONE,
    sse(chunk({"content": "x"}), chunk({}, "stop")),
]


@given(
    given=st.sampled_from(STREAMS),
    places=st.lists(st.integers(0, 2000), max_size=8),
)
@settings(max_examples=100)
def test_any_cutting_gives_the_same(given: bytes, places: list[int]) -> None:
    edges = sorted({0, len(given), *(one % len(given) for one in places)})
    cut = [given[a:b] for a, b in itertools.pairwise(edges)]
    assert run(reader(), *cut) == run(reader(), given)
