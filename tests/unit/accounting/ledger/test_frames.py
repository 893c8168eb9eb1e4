from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting.ledger.frames import (
    CONTENT,
    HEADER,
    MAGIC,
    MOST_PAYLOAD,
    RESERVE,
    SETTLE,
    Frame,
    frame,
    parts,
    scan,
    with_content,
)

PAYLOADS = st.lists(st.binary(max_size=60), max_size=8)


def written(payloads: list[bytes]) -> bytes:
    return b"".join(frame(SETTLE, each) for each in payloads)


def found_in(data: bytes) -> list[bytes]:
    return [each.payload for each in scan(data, whole=True).frames]


@given(PAYLOADS)
def test_what_was_written_is_found(payloads: list[bytes]) -> None:
    scanned = scan(written(payloads), whole=True)
    assert [each.payload for each in scanned.frames] == payloads
    assert scanned.gaps == []


def test_a_frame_cut_at_any_byte_costs_itself_only_and_is_said_to_be_torn() -> None:
    before, last = written([b'{"a":1}', b'{"b":2}']), frame(RESERVE, b'{"c":3}')
    for cut in range(1, len(last)):
        scanned = scan(before + last[:cut], whole=True)
        assert [each.payload for each in scanned.frames] == [b'{"a":1}', b'{"b":2}']
        assert [(gap.at, gap.torn) for gap in scanned.gaps] == [(len(before), True)]


def test_zeros_in_the_place_of_a_last_frame_are_a_torn_one() -> None:
    before = written([b'{"a":1}'])
    (gap,) = scan(before + bytes(300), whole=True).gaps
    assert gap.torn


@given(st.integers(0), st.integers(1, 255))
def test_any_changed_byte_loses_one_frame_and_is_not_taken_for_a_torn_one(
    place: int, change: int
) -> None:
    payloads = [b'{"first":1}', b'{"second":2}', b'{"third":3}']
    data = bytearray(written(payloads))
    second = range(len(frame(SETTLE, payloads[0])), len(data) - len(frame(SETTLE, payloads[2])))
    data[second[place % len(second)]] ^= change
    scanned = scan(bytes(data), whole=True)
    assert [each.payload for each in scanned.frames] == [payloads[0], payloads[2]]
    assert [(gap.at, gap.end, gap.torn) for gap in scanned.gaps] == [
        (second.start, second.stop, False)
    ]


@given(PAYLOADS, st.binary(max_size=40))
def test_rubbish_before_frames_is_skipped(payloads: list[bytes], rubbish: bytes) -> None:
    if MAGIC[:1] not in rubbish:
        assert found_in(rubbish + written(payloads)) == payloads


@given(PAYLOADS, st.integers(1, 100), st.binary(max_size=30))
def test_any_window_finds_the_same(payloads: list[bytes], window: int, rubbish: bytes) -> None:
    data = written(payloads) + rubbish + written(payloads)
    expected = found_in(data)
    found: list[Frame] = []
    at, size = 0, window
    while at < len(data):
        piece = data[at : at + size]
        scanned = scan(piece, whole=at + size >= len(data), most=3)
        found += scanned.frames
        size = max(window, scanned.need) if scanned.end == 0 or scanned.need else window
        at += scanned.end
    assert [each.payload for each in found] == expected


@given(st.binary())
def test_nothing_that_lies_in_a_file_breaks_it(data: bytes) -> None:
    scanned = scan(data, whole=True)
    assert scanned.end == len(data)


@given(st.binary(max_size=50))
def test_a_length_that_nobody_wrote_is_not_waited_for(payload: bytes) -> None:
    data = bytearray(frame(SETTLE, payload))
    data[5:9] = (MOST_PAYLOAD + 1).to_bytes(4, "little")
    assert scan(bytes(data), whole=False).need <= HEADER


@pytest.mark.parametrize("content", [b"", b"{}", b'"' + b"x" * 1000 + b'"'])
def test_a_record_and_its_content_come_apart_again(content: bytes) -> None:
    (one,) = scan(frame(CONTENT, with_content(b'{"id":"a"}', content)), whole=True).frames
    assert parts(one) == (b'{"id":"a"}', content)


def test_a_record_without_content_has_none() -> None:
    assert parts(Frame(SETTLE, HEADER, b"{}")) == (b"{}", None)


def test_content_without_a_length_is_no_reason_to_fail() -> None:
    assert parts(Frame(CONTENT, HEADER, b"ab")) == (b"ab", None)
