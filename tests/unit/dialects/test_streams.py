"""One sentence for all readers: any cutting of any stream gives the same result."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError
from tests.unit.dialects.samples import DIALECTS, STREAMS, completion, run

NAMES = sorted(DIALECTS)
CORPUS = [(name, number) for name in NAMES for number in range(len(STREAMS[name]))]


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def check(name: str, stream: bytes, cut: list[bytes]) -> None:
    assert b"".join(cut) == stream
    assert run(DIALECTS[name].stream(), *cut) == run(DIALECTS[name].stream(), stream)


@pytest.mark.parametrize(("name", "number"), CORPUS)
def test_cut_at_every_byte(name: str, number: int) -> None:
    stream = STREAMS[name][number]
    whole = run(DIALECTS[name].stream(), stream)
    assert whole.finished
    for at in range(len(stream) + 1):
        assert run(DIALECTS[name].stream(), stream[:at], stream[at:]) == whole
    assert run(DIALECTS[name].stream(), *(stream[i : i + 1] for i in range(len(stream)))) == whole


@pytest.mark.parametrize(("name", "number"), CORPUS)
@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_line_ends_do_not_matter(name: str, number: int, end: bytes) -> None:
    stream = STREAMS[name][number].replace(b"\r\n", b"\n")
    other = stream.replace(b"\n", end)
    for one in (other, b"\xef\xbb\xbf" + other, b": hello" + end + end + other):
        got = run(DIALECTS[name].stream(), *(one[i : i + 1] for i in range(len(one))))
        assert got.finished
        if not DIALECTS[name].passes_client:
            assert got.out == run(DIALECTS[name].stream(), stream).out


@pytest.mark.parametrize(("name", "number"), CORPUS)
def test_cut_off_at_every_byte_is_never_a_clean_end(name: str, number: int) -> None:
    stream = STREAMS[name][number].rstrip(b"\r\n")
    # The last event is whole only with its last byte.
    for at in range(len(stream)):
        got = run(DIALECTS[name].stream(), stream[:at])
        assert not got.finished
        if at:
            assert b"[DONE]" not in got.out


FRAMES = st.sampled_from([stream for name in NAMES for stream in STREAMS[name]]).flatmap(
    lambda stream: st.sampled_from(stream.replace(b"\r\n", b"\n").split(b"\n\n"))
)
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
        b"data: {\ndata: }",
        b"<html>",
        b"",
    ]
)
MIXED = st.builds(
    lambda frames, end, last: (b"\n\n".join(frames) + last).replace(b"\n", end),
    st.lists(FRAMES | NOISE, max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


@pytest.mark.parametrize("name", NAMES)
@given(stream=MIXED | st.binary(max_size=60), places=st.lists(st.integers(0, 5000), max_size=12))
@settings(max_examples=200)
def test_any_cutting_of_any_stream(name: str, stream: bytes, places: list[int]) -> None:
    check(name, stream, pieces(stream, places))
    check(name, stream, [stream[i : i + 1] for i in range(len(stream))])


def event(name: str, field: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """An event of the dialect's shape with anything in its fields."""
    names = {
        "openai": ["choices", "error", "delta", "content", "finish_reason", "usage"],
        "anthropic": ["type", "message", "delta", "content_block", "index", "usage", "text", "id"],
        "gemini": ["candidates", "content", "parts", "text", "finishReason", "functionCall"],
    }[name]
    kinds = st.sampled_from(
        ["message_start", "content_block_start", "content_block_delta", "message_delta", "error"]
    )
    tree = st.recursive(
        field | kinds,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5)
        ),
        max_leaves=15,
    )
    return tree.map(lambda one: b"data: " + json.dumps(one).encode() + b"\n\n")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=200)
def test_a_stream_of_anything_gives_a_result_and_never_raises(
    name: str, data: st.DataObject
) -> None:
    stream = b"".join(data.draw(st.lists(event(name, SCALARS), max_size=6)))
    got = run(DIALECTS[name].stream(), stream)
    if not DIALECTS[name].passes_client:
        got.chunks()
    check(name, stream, [stream[i : i + 3] for i in range(0, len(stream), 3)])


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=200)
def test_an_answer_of_anything_is_one_or_the_typed_error(name: str, data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=60) | event(name, SCALARS).map(lambda one: one[6:].strip()))
    try:
        answer = DIALECTS[name].answer(body)
    except BadAnswerError as error:
        assert len(str(error)) <= 600  # noqa: PT017 - the other way is fine as well
        return
    if not DIALECTS[name].passes_client:
        completion(answer)
