import itertools
import struct
from binascii import crc32
from collections.abc import Mapping
from time import process_time

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.eventstream import ParserError as BotocoreError
from hypothesis import example, given
from hypothesis import strategies as st

from extproc.dialects.event_stream import (
    ChecksumError,
    FramingError,
    HeaderError,
    HeaderValue,
    LengthError,
    Message,
    MessageTooLargeError,
    Parser,
    TruncatedError,
)

Typed = tuple[int, HeaderValue]
"""A type as the format numbers it, and a value of it."""

INTEGERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}
EXCEPTION = {
    ":exception-type": (7, "throttlingException"),
    ":content-type": (7, "application/json"),
    ":message-type": (7, "exception"),
}
EVENT = {
    ":event-type": (7, "contentBlockDelta"),
    ":content-type": (7, "application/json"),
    ":message-type": (7, "event"),
}


def header(name: str, kind: int, value: HeaderValue) -> bytes:
    encoded = name.encode()
    if kind in INTEGERS:
        body = struct.pack(INTEGERS[kind], value)
    elif kind in {6, 7}:
        text = value.encode() if isinstance(value, str) else value
        assert isinstance(text, bytes)
        body = struct.pack(">H", len(text)) + text
    else:
        body = value if isinstance(value, bytes) else b""
    return bytes([len(encoded)]) + encoded + bytes([kind]) + body


def packed(headers: bytes, payload: bytes = b"") -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    return sealed(prelude, headers + payload)


def sealed(prelude: bytes, rest: bytes) -> bytes:
    """The checksums of whatever it is."""
    started = prelude + struct.pack(">I", crc32(prelude)) + rest
    return started + struct.pack(">I", crc32(started))


def message(headers: Mapping[str, Typed], payload: bytes = b"") -> bytes:
    return packed(b"".join(header(name, *one) for name, one in headers.items()), payload)


def fed(pieces: list[bytes], limit: int = 1 << 20) -> tuple[list[Message], type | None]:
    """Messages, and the error that was met."""
    parser = Parser(limit)
    found: list[Message] = []
    try:
        for piece in pieces:
            found += parser.feed(piece)
        parser.end()
    except FramingError as error:
        return found + error.messages, type(error)
    return found, None


def singly(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def botocores(stream: bytes) -> tuple[list[Message], bool]:
    """Messages as botocore reads them, and whether it met an error."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    found = []
    try:
        for one in buffer:
            found.append(Message(one.headers, one.payload))  # noqa: PERF401 - kept at an error
    except (BotocoreError, KeyError, struct.error, UnicodeDecodeError):
        return found, True
    return found, False


VALUES: st.SearchStrategy[Typed] = st.one_of(
    st.just((0, True)),
    st.just((1, False)),
    st.tuples(st.just(2), st.integers(-(1 << 7), (1 << 7) - 1)),
    st.tuples(st.just(3), st.integers(-(1 << 15), (1 << 15) - 1)),
    st.tuples(st.just(4), st.integers(-(1 << 31), (1 << 31) - 1)),
    st.tuples(st.sampled_from([5, 8]), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just(6), st.binary(max_size=40)),
    st.tuples(st.just(7), st.text(max_size=40)),
    st.tuples(st.just(9), st.binary(min_size=16, max_size=16)),
)
NAMES = st.text(max_size=40).filter(lambda name: len(name.encode()) < 256)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=5) | st.just(EVENT)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=60)), max_size=6)
PLACES = st.lists(st.integers(0, 2000), max_size=20)


def test_reads_each_type_of_value() -> None:
    headers: dict[str, Typed] = {
        "true": (0, True),
        "false": (1, False),
        "byte": (2, -128),
        "short": (3, -32768),
        "integer": (4, -2_147_483_648),
        "long": (5, -(1 << 63)),
        "bytes": (6, b"\0\xff"),
        "string": (7, "größer"),
        "timestamp": (8, 1_797_984_000_000),
        "uuid": (9, bytes(range(16))),
    }
    [found], error = fed([message(headers, b"{}")])
    assert error is None
    assert found.headers == {name: value for name, (_, value) in headers.items()}
    assert found.headers["true"] is True
    assert found.payload == b"{}"


def test_a_message_goes_out_with_its_last_byte() -> None:
    parser = Parser()
    first, second = message(EVENT, b"a"), message(EXCEPTION, b"b")
    assert parser.feed(first[:-1]) == []
    [one] = parser.feed(first[-1:] + second[:20])
    assert (one.headers[":event-type"], one.payload) == ("contentBlockDelta", b"a")
    [two] = parser.feed(second[20:])
    assert (two.headers[":exception-type"], two.payload) == ("throttlingException", b"b")
    parser.end()


@pytest.mark.parametrize("stream", [b"\0", message(EVENT, b"a")[:-1], message({}) + b"\0\0\0"])
def test_a_stream_that_ends_inside_a_message_is_told(stream: bytes) -> None:
    whole = [message(EVENT, b"first")]
    for pieces in ([stream], singly(stream)):
        found, error = fed([*whole, *pieces])
        assert error is TruncatedError
        assert found[0].payload == b"first"


def headers_of(length: int) -> bytes:
    return (
        header("a", 6, bytes(60_000))
        + header("b", 6, bytes(60_000))
        + header("c", 6, bytes(length))
    )


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (message(EVENT, b"a")[:-1] + b"\0", ChecksumError),
        (b"\0\0\0\x10\0\0\0\0\0\0\0\0", ChecksumError),
        # Garbage is told with its twelfth byte, not after the length it seems to tell.
        (b"<html><body>502 Bad Gateway", ChecksumError),
        (b'{"message": "no"}', ChecksumError),
        (sealed(struct.pack(">II", 15, 0), b""), LengthError),
        (sealed(struct.pack(">II", 0, 0), b""), LengthError),
        (sealed(struct.pack(">II", 20, 5), b"\0\0\0\0"), LengthError),
        (sealed(struct.pack(">II", 20, 0xFFFFFFFF), b"\0\0\0\0"), LengthError),
        (packed(headers_of(20_000)), LengthError),
        (sealed(struct.pack(">II", 0xFFFFFFFF, 0), b""), MessageTooLargeError),
        (message(EVENT, bytes(1 << 20)), MessageTooLargeError),
        (packed(b"\1a\x0a"), HeaderError),
        (packed(b"\1a\xff"), HeaderError),
        (packed(b"\1a"), HeaderError),
        (packed(b"\5a\0"), HeaderError),
        (packed(b"\1a\4\0\0\0"), HeaderError),
        (packed(b"\1a\7\0"), HeaderError),
        (packed(b"\1a\7\0\2a"), HeaderError),
        (packed(b"\1a\6\0\2a"), HeaderError),
        (packed(b"\1a\x09" + bytes(15)), HeaderError),
        (packed(b"\1a\7\0\1\xff"), HeaderError),
        (packed(b"\1\xff\0"), HeaderError),
        (packed(b"\1a\0\1a\1"), HeaderError),
    ],
)
def test_what_is_wrong_is_an_error_after_what_was_right(
    stream: bytes, error: type[FramingError]
) -> None:
    first = message(EVENT, b"first")
    for pieces in ([first + stream], [first, stream, b"more"], [first, stream[:9], stream[9:]]):
        found, met = fed(pieces)
        assert met is error
        assert [one.payload for one in found] == [b"first"]


def test_an_error_stays() -> None:
    parser = Parser()
    for _ in range(2):
        with pytest.raises(ChecksumError) as caught:
            parser.feed(b"<html></html>")
        assert caught.value.messages == []
    with pytest.raises(ChecksumError):
        parser.feed(message(EVENT, b"a"))


def test_the_cap_holds_to_the_byte() -> None:
    stream = message(EVENT, b"12345")
    assert fed([stream], len(stream))[1] is None
    assert fed([stream], len(stream) - 1)[1] is MessageTooLargeError
    # Before the rest of the message has come.
    assert fed([stream[:12]], len(stream) - 1)[1] is MessageTooLargeError


def test_a_message_in_single_bytes_costs_linear_time() -> None:
    stream = message(EVENT, bytes(200_000))
    begun = process_time()
    found, error = fed(singly(stream))
    assert (len(found), error) == (1, None)
    assert process_time() - begun < 5


@given(MESSAGES, PLACES)
def test_any_cutting_gives_the_messages_that_botocore_reads(
    messages: list[tuple[dict[str, Typed], bytes]], places: list[int]
) -> None:
    stream = b"".join(message(headers, payload) for headers, payload in messages)
    expected = [
        Message({name: value for name, (_, value) in headers.items()}, payload)
        for headers, payload in messages
    ]
    assert botocores(stream) == (expected, False)
    assert fed([stream]) == (expected, None)
    assert fed(cuts(stream, places)) == (expected, None)
    assert fed(singly(stream)) == (expected, None)


@given(st.data(), MESSAGES.filter(bool), PLACES)
def test_a_corrupt_byte_is_an_error_here_as_in_botocore(
    data: st.DataObject, messages: list[tuple[dict[str, Typed], bytes]], places: list[int]
) -> None:
    frames = [message(headers, payload) for headers, payload in messages]
    stream = bytearray(b"".join(frames))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] ^= data.draw(st.integers(1, 255))
    ends = itertools.accumulate(map(len, frames))
    whole = sum(end <= place for end in ends)
    for pieces in ([bytes(stream)], cuts(bytes(stream), places)):
        found, error = fed(pieces)
        assert error is ChecksumError
        assert len(found) == whole
    assert botocores(bytes(stream)) == (found, True)


@given(st.binary(max_size=60), st.integers(-3, 3), st.binary(max_size=10))
@example(b"\1a\7\0\2a", 0, b"")
def test_headers_that_are_any_bytes_are_read_as_botocore_reads_them_or_refused(
    headers: bytes, off: int, payload: bytes
) -> None:
    length = max(len(headers) + off, 0)
    total = 16 + len(headers) + len(payload)
    stream = sealed(struct.pack(">II", total, length), headers + payload)
    found, error = fed([stream])
    assert fed(singly(stream)) == (found, error)
    if error is None:
        assert botocores(stream) == (found, False)
    else:
        assert found == []


@given(st.binary(max_size=200), PLACES)
def test_any_bytes_are_cut_anywhere(stream: bytes, places: list[int]) -> None:
    assert fed(cuts(stream, places)) == fed([stream])


def cuts(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]
