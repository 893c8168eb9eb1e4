import json
from typing import Any

import pytest

from extproc.accounting import Meter, Usage, meter_of
from extproc.accounting.responses import ResponsesMeter
from extproc.catalogue import compile_price
from extproc.policy import Price as PriceText

PRICE = compile_price(PriceText(input="0.15", output="0.60", cached_input="0.075"))
USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 34,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 46,
}
READ = Usage(12, 34, 4, 2, 20)
COMMENT = b": tollgate cost=0.0000219 input=12 output=34\n\n"


def event(kind: str, **members: Any) -> bytes:
    body = json.dumps({"type": kind} | members, ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n".encode()


def response(status: str, usage: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    known = {"id": "resp_1", "model": "gpt-5-2025-08-07", "status": status, "usage": usage}
    return known | {"output": [], "instructions": "be kind", "error": None} | members


START = (
    event("response.created", sequence_number=0, response=response("in_progress"))
    + event("response.in_progress", sequence_number=1, response=response("in_progress"))
    + event("response.output_item.added", item={"type": "message", "content": []})
    + event("response.content_part.added", part={"type": "output_text", "text": ""})
)
PLAIN = START + event("response.output_text.delta", delta="Hello")
COMPLETED = event("response.completed", response=response("completed", USAGE))


def run(*pieces: bytes, tokens: int = 0) -> tuple[bytes, Meter]:
    one = meter_of("responses", price=PRICE, input_estimate=tokens)
    return b"".join([one.feed(piece) for piece in pieces]) + one.end(), one


def test_the_cost_is_told_in_front_of_the_last_event() -> None:
    out, one = run(PLAIN, COMPLETED)
    assert out == PLAIN + COMMENT + COMPLETED
    assert one.usage == one.billed() == READ
    assert (one.model, one.finish_reason) == ("gpt-5-2025-08-07", "completed")
    assert (one.done, one.failed, one.events, one.told) == (True, False, 1, False)


def test_an_incomplete_response_says_why() -> None:
    last = event(
        "response.incomplete",
        response=response("incomplete", USAGE, incomplete_details={"reason": "max_output_tokens"}),
    )
    out, one = run(PLAIN, last)
    assert out == PLAIN + COMMENT + last
    assert (one.finish_reason, one.done, one.failed) == ("max_output_tokens", True, False)


def test_a_failed_response_is_over_and_failed() -> None:
    last = event("response.failed", response=response("failed", error={"code": "server_error"}))
    out, one = run(PLAIN, last, tokens=7)
    assert one.done
    assert one.failed
    assert one.billed() == Usage(7, 2, estimated=True)
    assert out.startswith(PLAIN + b": tollgate cost=")
    assert out.endswith(b" estimated\n\n" + last)


@pytest.mark.parametrize(
    "wrong",
    [
        event("error", code="server_error", message="overloaded", param=None),
        b'data: {"error": {"message": "overloaded"}}\n\n',
        b'event: error\ndata: {"message": "overloaded"}\n\n',
    ],
)
def test_an_error_event_fails_the_stream(wrong: bytes) -> None:
    out, one = run(PLAIN, wrong)
    assert out == PLAIN + wrong
    assert one.failed
    assert not one.done


def test_content_begins_with_the_first_text() -> None:
    _, one = run(START)
    assert not one.content
    one.feed(event("response.reasoning_summary_text.delta", delta="Hm"))
    assert one.content


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("response.output_text.delta", {"delta": "x" * 12}),
        ("response.refusal.delta", {"delta": "x" * 12}),
        ("response.reasoning_text.delta", {"delta": "x" * 12}),
        ("response.reasoning_summary_text.delta", {"delta": "x" * 12}),
        ("response.function_call_arguments.delta", {"delta": "x" * 12}),
        ("response.custom_tool_call_input.delta", {"delta": "x" * 12}),
        ("response.output_item.added", {"item": {"type": "function_call", "name": "x" * 12}}),
    ],
)
def test_text_thoughts_refusals_and_calls_are_output(kind: str, members: dict[str, Any]) -> None:
    _, one = run(event(kind, **members))
    assert (one.events, one.content) == (1, True)
    assert one.billed().output == 3


def test_sound_is_content_that_is_no_text() -> None:
    _, one = run(event("response.audio.delta", delta="UklGRg==" * 10))
    assert (one.content, one.billed().output) == (True, 0)


def test_a_name_beside_the_data_is_enough() -> None:
    stream = b'event: response.completed\ndata: {"response": {"model": "m"}}\n\n'
    assert run(stream)[1].done


def test_a_whole_told_at_once_without_figures_is_estimated() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "x" * 40}]}]
    _, one = run(event("response.completed", response=response("completed", output=output)))
    assert one.billed() == Usage(0, 10, estimated=True)


def test_an_end_larger_than_a_chunk_is_read() -> None:
    image = [{"type": "image_generation_call", "result": "A" * (3 << 20)}]
    last = event("response.completed", response=response("completed", USAGE, output=image))
    out, one = run(PLAIN, last[: 2 << 20], last[2 << 20 :])
    assert out == PLAIN + COMMENT + last
    assert one.usage == READ
    assert ResponsesMeter.cap < 64 << 20


@pytest.mark.parametrize(
    "strange",
    [
        b"data: not json\n\n",
        b"data: [DONE]\n\n",
        b"data: [1]\n\n",
        b'data: {"type": 3}\n\n',
        b'data: {"type": "response.output_text.delta"}\n\n',
        b'data: {"type": "response.output_text.delta", "delta": null}\n\n',
        b'data: {"type": "response.output_item.added", "item": 3}\n\n',
        b'data: {"type": "response.created", "response": [1]}\n\n',
        b"data: " + b"[" * 10_000 + b"\n\n",
    ],
)
def test_what_is_not_understood_passes_unchanged(strange: bytes) -> None:
    out, one = run(PLAIN, strange, COMPLETED)
    assert out == PLAIN + strange + COMMENT + COMPLETED
    assert one.usage == READ
    assert not one.failed


def test_the_end_is_told_once() -> None:
    out, _ = run(COMPLETED, COMPLETED)
    assert out.count(b": tollgate") == 1


def test_the_epilogue_can_be_another() -> None:
    one = meter_of("responses", price=PRICE, epilogue=lambda it: f": {it.model}\n\n".encode())
    assert one.feed(COMPLETED) == b": gpt-5-2025-08-07\n\n" + COMPLETED


def test_knows_the_number_of_the_event_that_would_come_next() -> None:
    meter = meter_of("responses", price=None)
    assert meter.position == 0
    meter.feed(START)
    assert meter.position == 2
    meter.feed(event("response.output_text.delta", sequence_number=2, delta="x"))
    assert meter.position == 3
    assert meter_of("chat", price=None).position == 0
