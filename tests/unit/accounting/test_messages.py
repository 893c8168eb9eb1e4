import json
from typing import Any

import pytest

from extproc.accounting import Meter, Usage, meter_of
from extproc.catalogue import compile_price
from extproc.policy import Price as PriceText

PRICE = compile_price(
    PriceText(input="3", output="15", cached_input="0.30", cache_write="3.75", cache_write_1h="6")
)
BEGUN = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
    "output_tokens": 1,
}
READ = Usage(160, 40, 100, 50, 15, cache_write_1h=30)
COMMENT = b": tollgate cost=0.000915 input=160 output=40\n\n"


def event(kind: str, **members: Any) -> bytes:
    body = json.dumps({"type": kind} | members, ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n".encode()


def started(usage: Any) -> bytes:
    message = {"id": "msg_1", "model": "claude-sonnet-4-5-20250929", "content": []}
    return event("message_start", message=message | {"usage": usage})


def delta(kind: str, **members: Any) -> bytes:
    return event("content_block_delta", index=0, delta={"type": kind} | members)


def stopped(usage: Any, reason: str | None = "end_turn") -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


START = started(BEGUN) + event("ping")
PLAIN = (
    START
    + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + delta("text_delta", text="Hello")
    + event("content_block_stop", index=0)
    + stopped({"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 15}})
)
STOP = event("message_stop")


def run(*pieces: bytes, tokens: int = 0) -> tuple[bytes, Meter]:
    one = meter_of("messages", price=PRICE, input_estimate=tokens)
    return b"".join([one.feed(piece) for piece in pieces]) + one.end(), one


def test_the_cost_is_told_in_front_of_the_last_event() -> None:
    out, one = run(PLAIN, STOP)
    assert out == PLAIN + COMMENT + STOP
    assert one.usage == one.billed() == READ
    assert (one.model, one.finish_reason) == ("claude-sonnet-4-5-20250929", "end_turn")
    assert (one.done, one.failed, one.events, one.told) == (True, False, 1, False)


def test_the_last_sums_count() -> None:
    last = stopped(
        {
            "input_tokens": 11,
            "cache_read_input_tokens": 90,
            "cache_creation_input_tokens": None,
            "output_tokens": 7,
        }
    )
    _, one = run(START, stopped({"output_tokens": 3}, None), last, STOP)
    assert one.usage == Usage(151, 7, 90, 50, cache_write_1h=30)


def test_figures_that_come_only_at_the_end_are_read() -> None:
    _, one = run(
        started({"input_tokens": 0, "output_tokens": 0}),
        stopped({"input_tokens": 12, "output_tokens": 34}),
        STOP,
    )
    assert one.usage == Usage(12, 34)


def test_an_aborted_stream_is_billed_its_input_and_what_came() -> None:
    _, one = run(START, delta("text_delta", text="x" * 400), tokens=7)
    assert one.usage is None
    assert one.billed() == Usage(160, 100, 100, 50, cache_write_1h=30, estimated=True)
    _, early = run(START)
    assert early.billed().output == 1


def test_without_figures_all_is_estimated() -> None:
    for first in (started(None), started({"input_tokens": 0, "output_tokens": 0}), b""):
        _, one = run(first, delta("text_delta", text="x" * 40), STOP, tokens=7)
        assert one.billed() == Usage(7, 10, estimated=True)


@pytest.mark.parametrize(
    "piece",
    [
        delta("text_delta", text="x" * 12),
        delta("thinking_delta", thinking="x" * 12),
        delta("input_json_delta", partial_json="x" * 12),
        event("content_block_start", content_block={"type": "tool_use", "name": "x" * 12}),
        event("content_block_start", content_block={"type": "text", "text": "x" * 12}),
    ],
)
def test_text_thoughts_and_calls_are_output(piece: bytes) -> None:
    _, one = run(piece)
    assert (one.events, one.content) == (1, True)
    assert one.billed().output == 3


@pytest.mark.parametrize(
    "piece",
    [
        START,
        event("content_block_start", content_block={"type": "text", "text": ""}),
        event("content_block_start", content_block={"type": "thinking", "thinking": ""}),
        delta("signature_delta", signature="x" * 100),
        delta("input_json_delta", partial_json=""),
    ],
)
def test_what_only_announces_is_no_content(piece: bytes) -> None:
    _, one = run(piece)
    assert not one.content


def test_thoughts_that_are_hidden_are_content() -> None:
    block = {"type": "redacted_thinking", "data": "EmwKAhgB"}
    assert run(event("content_block_start", content_block=block))[1].content


@pytest.mark.parametrize(
    "wrong",
    [
        event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        b'data: {"type": "error", "error": {"type": "api_error"}}\n\n',
        b"event: error\ndata: overloaded\n\n",
    ],
)
def test_an_error_event_fails_the_stream(wrong: bytes) -> None:
    out, one = run(START, wrong)
    assert out == START + wrong
    assert one.failed
    assert not one.done


@pytest.mark.parametrize(
    "strange",
    [
        b"data: not json\n\n",
        b"data: [DONE]\n\n",
        b'data: {"type": "message_start", "message": 3}\n\n',
        b'data: {"type": "message_start"}\n\n',
        b'data: {"type": "message_start", "message": {"usage": [], "model": 3}}\n\n',
        b'data: {"type": "content_block_delta", "delta": 3}\n\n',
        b'data: {"type": "content_block_start", "content_block": []}\n\n',
        b'data: {"type": "message_delta", "delta": [], "usage": 3}\n\n',
        b'data: {"type": "message_delta", "usage": {"output_tokens": null}}\n\n',
        b"data: " + b"[" * 10_000 + b"\n\n",
    ],
)
def test_what_is_not_understood_passes_unchanged(strange: bytes) -> None:
    out, one = run(PLAIN, strange, STOP)
    assert out == PLAIN + strange + COMMENT + STOP
    assert one.usage == READ
    assert not one.failed


def test_the_end_is_told_once() -> None:
    out, _ = run(PLAIN, STOP, STOP)
    assert out.count(b": tollgate") == 1


def test_the_end_without_its_blank_line_still_counts() -> None:
    out, one = run(PLAIN, STOP.rstrip(b"\n"))
    assert out == PLAIN + COMMENT + STOP
    assert one.done
