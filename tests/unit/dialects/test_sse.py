import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.sse import Event, EventTooLargeError, Parser


def whole(stream: bytes, limit: int = 1 << 20) -> tuple[list[Event], bool]:
    """Events, and whether the cap was met."""
    return fed([stream], limit)


def fed(pieces: list[bytes], limit: int = 1 << 20) -> tuple[list[Event], bool]:
    parser = Parser(limit)
    events: list[Event] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
        events += parser.end()
    except EventTooLargeError as error:
        return events + error.events, True
    return events, False


def cuts(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b"data: a\n\n", [Event(b"a")]),
        (b"data:a\n\ndata:  b\n\n", [Event(b"a"), Event(b" b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\n\ndata: b\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
        (b"data\n\n", [Event(b"")]),
        (b"data\ndata\n\n", [Event(b"\n")]),
        (b"data:\n\n", [Event(b"")]),
        (b": comment\n\ndata: a\n\n", [Event(b"a")]),
        (b":\n:\ndata: a\n:\n\n", [Event(b"a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [Event(b"a", b"x"), Event(b"b")]),
        (b"event: x\n\ndata: b\n\n", [Event(b"b")]),
        (b"data: a\nevent: x\n\n", [Event(b"a", b"x")]),
        (b"foo: bar\nDATA: no\n data: no\ndata: a\n\n", [Event(b"a")]),
        (b"data: a", [Event(b"a")]),
        (b"data: a\n", [Event(b"a")]),
        (b"event: x", []),
        (b"data: a\n\n\n\n\ndata: b\n\n\n", [Event(b"a"), Event(b"b")]),
        (b"data: \xff\n\n", [Event(b"\xff")]),
        (b"data: a\x0bb\x0c\x1c\x85\n\n", [Event(b"a\x0bb\x0c\x1c\x85")]),
    ],
)
def test_reads_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert whole(stream) == (events, False)
    assert fed([stream[i : i + 1] for i in range(len(stream))]) == (events, False)


def test_keeps_the_last_id_and_the_retry_time() -> None:
    parser = Parser()
    parser.feed(b"id: 1\nretry: 250\ndata: a\n\nid: 2\0\nretry: 1s\n\n")
    assert (parser.last_id, parser.retry) == (b"1", 250)
    parser.feed(b"id\nretry: " + b"9" * 10_000 + b"\n")
    assert (parser.last_id, parser.retry) == (b"", 250)


def test_an_event_goes_out_with_its_last_byte() -> None:
    parser = Parser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [Event(b"a")]
    assert parser.feed(b"data: b\r") == []
    assert parser.feed(b"\n\r") == [Event(b"b")]
    assert parser.feed(b"\ndata: c\n\n") == [Event(b"c")]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 100,
        b"data: " + b"x" * 100 + b"\n\n",
        b"data: xxxxxxxxxx\n" * 10 + b"\n",
        b": " + b"x" * 100 + b"\n\n",
        b"x" * 100,
    ],
)
def test_an_event_over_the_cap_is_an_error_wherever_it_is_cut(stream: bytes) -> None:
    stream = b"data: a\n\n" + stream + b"data: never\n\n"
    for size in (1, 7, 64, len(stream)):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert fed(pieces, 64) == ([Event(b"a")], True)


def test_small_events_in_a_large_chunk_are_no_error() -> None:
    assert whole(b"data: a\n\n" * 100, 64) == ([Event(b"a")] * 100, False)
    assert whole(b": ping\n" * 100 + b"data: a\n\n", 64) == ([Event(b"a")], False)


def test_a_line_in_single_bytes_costs_linear_time() -> None:
    parser = Parser()
    for _ in range(200_000):
        parser.feed(b"x")
    assert parser.feed(b"\ndata: a\n\n") == [Event(b"a")]


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": c", b"event: e", b"id: 7", b"retry: 3", b"x", b"", b""]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r", b"\r\n"])
STREAMS = st.builds(
    lambda mark, lines, last: mark + b"".join(itertools.chain(*lines)) + last,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(LINES, ENDS), max_size=30),
    LINES,
)


@given(STREAMS | st.binary(max_size=100), st.lists(st.integers(0, 1000), max_size=20))
def test_any_cutting_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    assert fed(cuts(stream, places)) == whole(stream)
    assert fed(cuts(stream, places), 12) == whole(stream, 12)


@given(STREAMS)
def test_agrees_with_a_plain_reading_of_the_standard(stream: bytes) -> None:
    assert whole(stream)[0] == plain(stream)


def plain(stream: bytes) -> list[Event]:
    """The standard's algorithm, without increments, and our rule for the end."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, data, kind = [], None, b""
    for line in [*text.split(b"\n"), b""]:
        if line == b"":
            if data is not None:
                events.append(Event(data.removesuffix(b"\n"), kind))
            data, kind = None, b""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data = (data or b"") + value + b"\n"
        elif name == b"event":
            kind = value
    return events
