from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError, Fault, StreamReader
from tests.unit.dialects.clients.responses.driver import (
    FORMAT,
    WEATHER,
    answer,
    call,
    decoded,
    ended,
    lit,
    stream,
)

CREATED = {"type": "response.created", "response": {"status": "in_progress", "output": []}}
MESSAGE = {"type": "response.output_item.added", "item": {"type": "message"}}
PART = {"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}}
DELTA = {"type": "response.output_text.delta", "delta": "x"}
COMPLETED = {"type": "response.completed", "response": {"status": "completed", "output": []}}


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    return b"".join(
        (b"event: " + one.get("type", "").encode() + b"\n" if named else b"")
        + b"data: "
        + json.dumps(one).encode()
        + b"\n\n"
        for one in events
    )


def watch(*pieces: bytes) -> StreamReader:
    reader = FORMAT.watch()
    out = b"".join(reader.feed(one) for one in pieces) + reader.end()
    assert out == b"".join(pieces)
    return reader


# --- whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "completed", "output": [{"type": "message"}]},
        {"status": "queued", "output": []},
        {"status": {"new": 1}, "output": []},
        {
            "status": "incomplete",
            "output": [],
            "incomplete_details": {"reason": "max_output_tokens"},
        },
        {
            "status": "incomplete",
            "output": [{"type": "message"}],
            "incomplete_details": {"reason": "content_filter"},
        },
    ],
)
def test_an_answer(fields: dict[str, Any]) -> None:
    assert not FORMAT.look(json.dumps({"object": "response", "error": None, **fields}).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "incomplete", "output": [], "incomplete_details": {"reason": "content_filter"}},
        {"status": "failed", "output": [], "error": {"code": "bio_policy", "message": "No."}},
        {"status": "failed", "output": [], "error": {"code": "invalid_prompt", "message": "No."}},
    ],
)
def test_an_answer_that_a_filter_emptied_is_refused(fields: dict[str, Any]) -> None:
    assert FORMAT.look(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a response: the provider answered 200 with an empty body"),
        (b"<h1>Bad gateway</h1>", "not a response: Bad gateway"),
        (b"{}", "not a response: no output"),
        (b'{"error":{"message":"Overloaded"}}', "Overloaded"),
        (b'{"status":"failed","output":[],"error":{"code":"server_error","message":"Oh"}}', "Oh"),
        (b'{"status":"failed","output":[]}', "the response was failed"),
        (b'{"status":"cancelled","output":[]}', "the response was cancelled"),
        (b'{"output":[],"x":"\xff"}', 'not a response: {"output":[],"x":"\ufffd"}'),
    ],
)
def test_an_answer_that_is_none_raises(body: bytes, message: str) -> None:
    with pytest.raises(BadAnswerError) as found:
        FORMAT.look(body)
    assert str(found.value) == message


@given(st.binary(max_size=60))
def test_any_body_is_judged_or_refused(body: bytes) -> None:
    try:
        FORMAT.look(body)
    except BadAnswerError:
        return


# --- streamed -------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_stream(named: bool) -> None:
    found = watch(sse(CREATED, MESSAGE, PART, DELTA, COMPLETED, named=named))
    assert (found.content, found.finished, found.refused, found.failure) == (
        True,
        True,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (CREATED, False),
        ({"type": "response.queued", "response": {}}, False),
        (MESSAGE, False),
        (PART, False),
        (DELTA, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, True),
        ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, True),
        ({"type": "response.refusal.delta", "delta": "x"}, True),
        ({"type": "response.reasoning_summary_text.delta", "delta": "x"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "x"}, True),
        ({"type": "response.web_search_call.searching"}, True),
        (COMPLETED, True),
    ],
)
def test_where_the_answer_begins(event: dict[str, Any], content: bool) -> None:
    assert watch(sse(CREATED, event)).content is content


@pytest.mark.parametrize("before", [[CREATED], [CREATED, MESSAGE, PART, DELTA]])
@pytest.mark.parametrize(
    ("error", "fault", "status"),
    [
        ({"code": "rate_limit_exceeded", "message": "m"}, Fault.RATE_LIMIT, 429),
        ({"code": "server_error", "message": "m"}, Fault.SERVER, 502),
        ({"code": "context_length_exceeded", "message": "m"}, Fault.CONTEXT, 400),
        ({"code": "invalid_prompt", "message": "m"}, Fault.CONTENT, 400),
        ({"code": "bio_policy", "message": "m"}, Fault.CONTENT, 400),
        ({"code": "image_too_large", "message": "m"}, Fault.INVALID, 400),
        ({"code": "vector_store_timeout", "message": "m"}, Fault.TIMEOUT, 504),
    ],
)
def test_a_stream_that_fails_says_why(
    before: list[dict[str, Any]], error: dict[str, Any], fault: Fault, status: int
) -> None:
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    for last in (failed, {"type": "error", **error}, {"type": "error", "error": error}):
        found = watch(sse(*before, last))
        assert found.failure is not None
        assert (found.failure.fault, found.failure.status) == (fault, status)
        assert found.failure.message == "m"
        assert not found.finished


def test_a_stream_that_a_filter_ended_before_any_text_is_refused() -> None:
    response = {
        "status": "incomplete",
        "output": [],
        "incomplete_details": {"reason": "content_filter"},
    }
    found = watch(sse(CREATED, {"type": "response.incomplete", "response": response}))
    assert found.refused
    assert found.finished
    assert not watch(
        sse(CREATED, DELTA, {"type": "response.incomplete", "response": response})
    ).refused


def test_a_stream_without_its_last_event_is_not_finished() -> None:
    found = watch(sse(CREATED, MESSAGE, DELTA), b'event: response.comp\ndata: {"type":"resp')
    assert found.content
    assert not found.finished
    assert found.failure is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"<h1>Bad gateway</h1>", Fault.BAD_ANSWER),
        (b"data: [1]\n\n", Fault.BAD_ANSWER),
        (b'data: {"id":"x"}\n\n', Fault.BAD_ANSWER),
        (b'{"error":{"code":"rate_limit_exceeded","message":"m"}}', Fault.RATE_LIMIT),
        (b'data: {"error":{"code":"rate_limit_exceeded","message":"m"}}\n\n', Fault.RATE_LIMIT),
    ],
)
def test_what_is_no_stream(body: bytes, fault: Fault) -> None:
    found = watch(body)
    assert found.failure is not None
    assert found.failure.fault is fault


def test_what_the_gateway_writes_itself_it_reads() -> None:
    """Two gateways in a row."""
    out = stream(
        lambda w: [w.reasoning(lit("a")), w.call(0, call("c", "get_weather", "{}")), *ended(w)],
        tools=[WEATHER],
    )
    found = watch(out)
    assert (found.content, found.finished, found.failure) == (True, True, None)
    assert not FORMAT.look(FORMAT.whole(answer(content="x"), decoded()))


SEEN = sse(CREATED, MESSAGE, PART, DELTA, COMPLETED)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(SEEN)), max_size=6))
def test_any_cutting_is_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SEEN)]
    found = watch(*(SEEN[a:b] for a, b in itertools.pairwise(edges)))
    assert (found.content, found.finished, found.failure) == (True, True, None)


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_anything_passes_and_is_judged(pieces: list[bytes]) -> None:
    watch(*pieces)
