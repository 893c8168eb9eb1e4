"""Messages that pass: every byte goes on, and is looked at."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError, Fault, StreamReader
from tests.unit.dialects.clients.messages.driver import FORMAT, lit, stream

START = {"type": "message_start", "message": {"type": "message", "content": []}}
STOP = {"type": "message_stop"}


def begin(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **more}}


def end(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}}


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    return b"".join(
        (b"event: %b\n" % one["type"].encode() if named else b"")
        + b"data: %b\n\n" % json.dumps(one).encode()
        for one in events
    )


def fed(data: bytes, size: int = 1 << 20) -> StreamReader:
    reader = FORMAT.watch()
    out = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join(out) + reader.end() == data
    return reader


TEXT = begin({"type": "text", "text": ""})
CONTENT = [
    delta("text_delta", text="x"),
    delta("thinking_delta", thinking="x"),
    delta("citations_delta", citation={}),
    delta("input_json_delta", partial_json="{"),
    begin({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    begin({"type": "redacted_thinking", "data": "x"}),
    begin({"type": "text", "text": "x"}),
    end("end_turn"),
]


@pytest.mark.parametrize("event", CONTENT)
@pytest.mark.parametrize("named", [True, False])
def test_the_first_content_is_seen(event: dict[str, Any], named: bool) -> None:
    before = sse(START, {"type": "ping"}, TEXT, begin({"type": "thinking", "thinking": ""}))
    assert not fed(before).content
    reader = fed(before + sse(event, named=named))
    assert reader.content
    assert not reader.finished
    assert reader.failure is None


def test_the_end_is_seen() -> None:
    reader = fed(sse(START, TEXT, delta("text_delta", text="x"), end("end_turn"), STOP))
    assert (reader.finished, reader.refused) == (True, False)


@pytest.mark.parametrize(
    ("events", "refused"),
    [
        ([], True),
        ([TEXT], True),
        ([begin({"type": "thinking"}), delta("thinking_delta"), delta("signature_delta")], True),
        ([TEXT, delta("text_delta")], False),
        ([begin({"type": "tool_use"})], False),
    ],
)
def test_a_refusal_is_one_before_any_text(events: list[dict[str, Any]], refused: bool) -> None:
    assert fed(sse(START, *events, end("refusal"), STOP)).refused is refused


@pytest.mark.parametrize("before", [[], [TEXT, delta("text_delta")]])
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", Fault.OVERLOADED),
        ("rate_limit_error", Fault.RATE_LIMIT),
        ("api_error", Fault.SERVER),
    ],
)
def test_errors_are_seen(before: list[dict[str, Any]], kind: str, fault: Fault) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "no"}}
    reader = fed(sse(START, *before, error))
    assert reader.failure is not None
    assert (reader.failure.fault, reader.failure.message) == (fault, "no")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', Fault.OVERLOADED),
        (b"<html>no</html>", Fault.BAD_ANSWER),
        (b"", Fault.BAD_ANSWER),
        (b"data: {}\n\n", Fault.BAD_ANSWER),
        (b"data: [DONE]\n\n", Fault.BAD_ANSWER),
    ],
)
def test_what_is_no_stream(data: bytes, fault: Fault) -> None:
    reader = fed(data)
    assert reader.failure is not None
    assert reader.failure.fault is fault


@given(st.integers(1, 60))
def test_cuts_do_not_matter(size: int) -> None:
    data = sse(START, TEXT, delta("text_delta", text="x"), end("refusal"), STOP)
    reader = fed(data, size)
    assert (reader.content, reader.finished, reader.refused) == (True, True, False)


def test_what_the_writer_writes_passes() -> None:
    reader = fed(stream(lambda to: [to.reasoning(lit("x")), to.text(lit("y"))]))
    assert (reader.content, reader.finished, reader.failure) == (True, True, None)


def message(**fields: Any) -> bytes:
    return json.dumps({"type": "message", "role": "assistant", "content": [], **fields}).encode()


@pytest.mark.parametrize(
    ("content", "reason", "refused"),
    [
        ([], "refusal", True),
        ([{"type": "text", "text": ""}, {"type": "thinking", "thinking": "x"}], "refusal", True),
        ([{"type": "text", "text": "x"}], "refusal", False),
        ([{"type": "tool_use"}], "refusal", False),
        ([], "end_turn", False),
    ],
)
def test_a_whole_refusal(content: list[Any], reason: str, refused: bool) -> None:
    assert FORMAT.look(message(content=content, stop_reason=reason)) is refused


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"{}",
        b'{"choices":[]}',
        b'{"type":"message"}',
        b'{"type":"error","error":{"type":"api_error","message":"no"}}',
        message(content=3),
        message(new="").replace(b'"new": ""', b'"new": "\xff"'),
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        FORMAT.look(data)
