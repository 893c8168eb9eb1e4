"""Any cutting of a stream gives the same bytes and the same figures, in every format."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import METERS, Meter, meter_of
from extproc.catalogue import compile_price
from extproc.policy import Price as PriceText

PRICE = compile_price(PriceText(input="0.15", output="0.60", cached_input="0.075"))
COMMENT = re.compile(rb": tollgate [^\n]*\n\n")
IN_EVENT = re.compile(rb": tollgate [^\n]*\n")
"""The same where events have ids: it is a line of the event that follows."""


def data(**members: object) -> bytes:
    return b"data: " + json.dumps(members, ensure_ascii=False).encode() + b"\n\n"


def named(kind: str, **members: object) -> bytes:
    return f"event: {kind}\n".encode() + data(type=kind, **members)


CHAT_USAGE = {"prompt_tokens": 12, "completion_tokens": 34}
USAGE = {"input_tokens": 12, "output_tokens": 34}
RESPONSE = {"model": "m", "status": "completed", "usage": USAGE}
MESSAGE = {"model": "m", "usage": {"input_tokens": 12, "output_tokens": 1}}

KNOWN = {
    "chat": [
        data(choices=[{"delta": {"role": "assistant", "content": ""}}], model="m", usage=None),
        data(choices=[{"delta": {}, "finish_reason": "stop"}]),
        data(choices=[], usage=CHAT_USAGE),
        data(choices=[{"delta": {"content": "y" * 20}}], usage=CHAT_USAGE),
        data(choices=[{"delta": {"content": "añ日"}}]),
        b"data: [DONE]\n\n",
        b"data: [DONE] \n\n",
    ],
    "completions": [
        data(choices=[{"text": "añ日"}], model="m"),
        data(choices=[{"text": "", "finish_reason": "stop"}]),
        data(choices=[], usage=CHAT_USAGE),
        b"data: [DONE]\n\n",
    ],
    "responses": [
        named("response.created", response={"model": "m", "status": "queued", "usage": None}),
        named("response.output_item.added", item={"type": "function_call", "name": "find"}),
        named("response.output_text.delta", delta="añ日"),
        named("response.completed", response=RESPONSE),
        named("response.failed", response=RESPONSE),
        data(type="response.completed", response=RESPONSE),
        named("error", message="no"),
    ],
    "messages": [
        named("message_start", message=MESSAGE),
        named("content_block_start", content_block={"type": "tool_use", "name": "find"}),
        named("content_block_delta", delta={"type": "text_delta", "text": "añ日"}),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 34}),
        named("message_stop"),
        named("ping"),
        named("error", error={"type": "overloaded_error"}),
    ],
}
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
junk = st.one_of(
    st.sampled_from(
        [
            b": ping\n\n",
            b"\n",
            b"\n\n\n",
            b"data: nonsense\n\n",
            b"event: error\ndata: {}\n\n",
            b"event: error\n\n",
            b"event: x\nevent: error\ndata: {}\n\n",
            b"id: 1\ndata: {}\ndata: [DONE]\n\n",
            b"id: 1\n\n",
            b"x" * 70 + b"\n\n",
        ]
    ),
    st.binary(max_size=6),
    st.lists(ends, max_size=4).map(b"".join),
)


@st.composite
def streams(draw: st.DrawFn, format_: str) -> bytes:
    end = draw(ends)
    parts = draw(st.lists(st.sampled_from(KNOWN[format_]) | junk, max_size=8))
    return b"".join(part.replace(b"\n", end) if draw(st.booleans()) else part for part in parts)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[str, bytes, list[bytes]]:
    format_ = draw(st.sampled_from(sorted(METERS)))
    stream = draw(streams(format_))
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    bounds = [0, *places, len(stream)]
    return format_, stream, [stream[a:b] for a, b in pairwise(bounds)]


def run(format_: str, *pieces: bytes, hide: bool = False) -> tuple[bytes, Meter]:
    one = meter_of(format_, hide_usage=hide, price=PRICE, input_estimate=3)
    return b"".join([one.feed(piece) for piece in pieces]) + one.end(), one


def figures(one: Meter) -> tuple[object, ...]:
    return (
        one.usage,
        one.billed(),
        one.cost(),
        one.model,
        one.finish_reason,
        one.content,
        one.events,
        one.done,
        one.failed,
        one.told,
    )


@given(cut=cuts(), hide=st.booleans(), cap=st.sampled_from([1 << 20, 60, 5]))
def test_any_cutting_gives_the_same(
    *, cut: tuple[str, bytes, list[bytes]], hide: bool, cap: int
) -> None:
    format_, stream, pieces = cut
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METERS[format_], "cap", cap)
        whole, first = run(format_, stream, hide=hide)
        parts, second = run(format_, *pieces, hide=hide)
        bytewise, third = run(format_, *(stream[i : i + 1] for i in range(len(stream))), hide=hide)
    assert parts == whole
    assert bytewise == whole
    assert figures(second) == figures(first) == figures(third)


@given(cut=cuts())
def test_nothing_changes_but_the_comment_that_tells_the_cost(
    cut: tuple[str, bytes, list[bytes]],
) -> None:
    format_, stream, pieces = cut
    if format_ in ("responses", "messages"):
        ping = b"\n\n: ping\n\n"  # ends whatever was left open
        whole = stream + ping
        out, one = run(format_, *pieces, ping)
        found = [shape.subn(b"", out) for shape in (COMMENT, IN_EVENT)]
        assert (whole, one.done) in found


@pytest.mark.parametrize("format_", sorted(METERS))
def test_all_that_is_known_of_a_format_is_read_whole_or_in_bytes(format_: str) -> None:
    stream = b"".join(KNOWN[format_])
    whole, one = run(format_, stream)
    assert one.done
    assert one.content
    assert one.model == "m"
    assert one.billed().input == 12
    assert run(format_, *(stream[i : i + 1] for i in range(len(stream))))[0] == whole


def test_there_is_no_meter_for_what_has_no_streams() -> None:
    with pytest.raises(KeyError):
        meter_of("embeddings", price=None)


@pytest.mark.parametrize("format_", sorted(METERS))
def test_after_an_id_the_comment_is_part_of_the_last_event(format_: str) -> None:
    last = {"responses": KNOWN["responses"][3], "messages": named("message_stop")}
    end = last.get(format_, b"data: [DONE]\n\n")
    first = b"id: 7\n" + KNOWN[format_][0]
    out, _ = run(format_, first + end, hide=True)
    assert out.startswith(first + b": tollgate ")
    assert out.endswith(b"\n" + end)
    assert out.count(b"\n\n") == 2
