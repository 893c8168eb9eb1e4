"""One sentence for all readers: any cutting of any stream gives the same result."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError
from extproc.simulator.event_stream import exception, message
from tests.unit.dialects.cells import DIALECTS as NAMES
from tests.unit.dialects.cohere import samples as cohere
from tests.unit.dialects.samples import DIALECTS, STREAMS, completion, run
from tests.unit.dialects.table_answers import SAID
from tests.unit.dialects.wire import WRITERS, bedrock, sayable

BINARY = "bedrock"
"""Its streams are messages with lengths and checksums; all others' are lines of text."""
SAMPLES = {**STREAMS, "cohere": [cohere.TEXT, cohere.THINKING, cohere.TOOLS]}


def streams(name: str) -> list[bytes]:
    """What the dialect's package has, and what every provider can say."""
    alike = {"azure": "openai", "vertex": "gemini"}.get(name, name)
    features = ("parallel calls", "thinking", "sealed thinking", "citations", "refusal")
    said = [sayable(name, SAID[one]) for one in features]
    return SAMPLES.get(alike, []) + [WRITERS[name].stream(one) for one in said]


def terminal(name: str, stream: bytes) -> int:
    """Bytes without which the stream has no end. With Bedrock what comes last is the usage, and
    with Cohere `[DONE]` may follow."""
    if name == BINARY:
        return len(stream) - len(bedrock.messages(stream)[-1])
    if name == "cohere":
        stream = stream.removesuffix(b"data: [DONE]\n\n")
    return len(stream.rstrip(b"\r\n"))


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def singly(stream: bytes, size: int = 1) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def check(name: str, stream: bytes, cut: list[bytes]) -> None:
    assert b"".join(cut) == stream
    assert run(DIALECTS[name].stream(), *cut) == run(DIALECTS[name].stream(), stream)


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_byte(name: str) -> None:
    for stream in streams(name):
        whole = run(DIALECTS[name].stream(), stream)
        assert whole.finished
        assert whole.failure is None
        for at in range(len(stream) + 1):
            assert run(DIALECTS[name].stream(), stream[:at], stream[at:]) == whole
        assert run(DIALECTS[name].stream(), *singly(stream)) == whole


@pytest.mark.parametrize("name", [name for name in NAMES if name != BINARY])
@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_line_ends_do_not_matter(name: str, end: bytes) -> None:
    for given_ in streams(name):
        stream = given_.replace(b"\r\n", b"\n")
        other = stream.replace(b"\n", end)
        for one in (other, b"\xef\xbb\xbf" + other, b": hello" + end + end + other):
            got = run(DIALECTS[name].stream(), *singly(one))
            assert got.finished
            if not DIALECTS[name].native:
                assert got.out == run(DIALECTS[name].stream(), stream).out


@pytest.mark.parametrize("name", NAMES)
def test_cut_off_at_every_byte_is_never_a_clean_end(name: str) -> None:
    for stream in streams(name):
        for at in range(terminal(name, stream)):
            got = run(DIALECTS[name].stream(), stream[:at])
            assert not got.finished
            if at:
                assert b"[DONE]" not in got.out


NOISE = st.sampled_from(
    [
        b": ping",
        b"event: ping\ndata: {}",
        b'data: {"type": "ping"}',
        b'data: {"error": {"message": "x", "type": "overloaded_error"}}',
        b'data: {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}',
        b"data: [DONE]",
        b"data: nonsense",
        b'data: {"choices": 5}',
        b'data: {"candidates": [{"finishReason": "SAFETY"}]}',
        b'data: {"type": "message-end", "delta": {"finish_reason": "ERROR"}}',
        b"data: {\ndata: }",
        b"<html>",
        b"",
    ]
)
FRAMES = st.sampled_from(
    [one for name in NAMES if name != BINARY for one in streams(name)]
).flatmap(lambda stream: st.sampled_from(stream.replace(b"\r\n", b"\n").split(b"\n\n")))
LINES = st.builds(
    lambda frames, end, last: (b"\n\n".join(frames) + last).replace(b"\n", end),
    st.lists(FRAMES | NOISE, max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)
MESSAGES = st.lists(
    st.sampled_from(
        [
            *(one for stream in streams(BINARY) for one in bedrock.messages(stream)),
            exception("throttlingException", b'{"message":"x"}'),
            message({":message-type": "error", ":error-code": "x"}, b""),
            message({}, b"nonsense"),
            b"\0\0",
            b'{"message":"x"}',
        ]
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), places=st.lists(st.integers(0, 5000), max_size=12))
@settings(max_examples=100)
def test_any_cutting_of_any_stream(name: str, data: st.DataObject, places: list[int]) -> None:
    stream = data.draw((MESSAGES if name == BINARY else LINES) | st.binary(max_size=60))
    check(name, stream, pieces(stream, places))
    check(name, stream, singly(stream))


FIELDS = {
    "openai": "choices error delta content finish_reason usage tool_calls index function",
    "anthropic": "type message delta content_block index usage text id content citations",
    "gemini": "candidates content parts text finishReason functionCall usageMetadata",
    "bedrock": "delta start stopReason usage contentBlockIndex text toolUse output message",
    "cohere": "type delta message content text tool_calls finish_reason usage index id citations",
}
KINDS = {
    "openai": "chat.completion.chunk stop error",
    "anthropic": "message_start content_block_start content_block_delta message_delta error text",
    "gemini": "STOP SAFETY model",
    "bedrock": "end_turn",
    "cohere": "message-start content-delta tool-call-start message-end COMPLETE text",
}
EVENTS = ["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


def trees(name: str) -> st.SearchStrategy[bytes]:
    """JSON of the dialect's shape with anything in its fields."""
    alike = {"azure": "openai", "vertex": "gemini"}.get(name, name)
    keys = st.sampled_from(FIELDS[alike].split())
    tree: st.SearchStrategy[Any] = st.recursive(
        SCALARS | st.sampled_from(KINDS[alike].split()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=15,
    )
    return tree.map(lambda one: json.dumps(one).encode())


def event(name: str) -> st.SearchStrategy[bytes]:
    if name != BINARY:
        return trees(name).map(lambda one: b"data: " + one + b"\n\n")
    return st.builds(
        lambda kind, one: message({":message-type": "event", ":event-type": kind}, one),
        st.sampled_from(EVENTS),
        trees(name),
    )


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=100)
def test_a_stream_of_anything_gives_a_result_and_never_raises(
    name: str, data: st.DataObject
) -> None:
    stream = b"".join(data.draw(st.lists(event(name), max_size=6)))
    got = run(DIALECTS[name].stream(), stream)
    if not DIALECTS[name].native:
        got.chunks()
    check(name, stream, singly(stream, 3))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=100)
def test_an_answer_of_anything_is_one_or_the_typed_error(name: str, data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=60) | trees(name))
    try:
        answer = DIALECTS[name].answer(body)
    except BadAnswerError as error:
        assert len(str(error)) <= 600  # noqa: PT017 - the other way is fine as well
        return
    if not DIALECTS[name].native:
        completion(answer)
