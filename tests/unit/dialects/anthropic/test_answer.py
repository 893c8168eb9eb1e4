import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from extproc.dialects import BadAnswerError, Fault
from tests.unit.dialects.samples import (
    A_START,
    A_STOP,
    ANTHROPIC_TEXT,
    ANTHROPIC_THINKING,
    ANTHROPIC_TOOLS,
    DIALECTS,
    PING,
    STREAMS,
    Run,
    a_block,
    a_delta,
    a_message,
    a_stream,
    a_text,
    a_tool,
    completion,
    joined,
    run,
    usage,
)

ANTHROPIC = DIALECTS["anthropic"]
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
TEXT = {"type": "text", "text": "Grey, 11 °C."}
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}


def streamed(*events: dict[str, Any]) -> Run:
    return run(ANTHROPIC.stream(), a_stream(A_START, *events))


def test_samples_are_what_anthropic_sends() -> None:
    Message.model_validate_json(a_message([TEXT, USE]))
    for stream in STREAMS["anthropic"]:
        for line in stream.split(b"\n"):
            if line.startswith(b"data: ") and b'"ping"' not in line:
                EVENT.validate_json(line[6:])


def test_answer_text() -> None:
    found = completion(ANTHROPIC.answer(a_message([TEXT])))
    assert found.id == "chatcmpl-01"
    assert found.created == 1_700_000_000
    assert found.model == "claude-sonnet-4-5-20250929"
    [choice] = found.choices
    assert choice.message.content == "Grey, 11 °C."
    assert choice.message.role == "assistant"
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


def test_answer_tools() -> None:
    body = a_message([TEXT, USE, {**USE, "id": "toolu_2", "input": {}}], "tool_use")
    [choice] = completion(ANTHROPIC.answer(body)).choices
    assert choice.message.content == "Grey, 11 °C."
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    made = [one.model_dump() for one in choice.message.tool_calls]
    assert [(one["id"], one["type"]) for one in made] == [
        ("toolu_1", "function"),
        ("toolu_2", "function"),
    ]
    assert [json.loads(one["function"]["arguments"]) for one in made] == [{"city": "Paris"}, {}]


def test_answer_of_calls_alone_has_no_content() -> None:
    [choice] = completion(ANTHROPIC.answer(a_message([USE], "tool_use"))).choices
    assert choice.message.content is None


def test_answer_without_blocks_is_empty() -> None:
    [choice] = completion(ANTHROPIC.answer(a_message([]))).choices
    assert choice.message.content == ""
    assert choice.finish_reason == "stop"


def test_answer_thinking() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "block_of_the_future", "x": 5},
        TEXT,
    ]
    [choice] = completion(ANTHROPIC.answer(a_message(blocks))).choices
    assert choice.message.content == "Grey, 11 °C."
    assert choice.message.model_extra is not None
    assert choice.message.model_extra["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("reason_of_the_future", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    [choice] = completion(ANTHROPIC.answer(a_message([TEXT], reason))).choices
    assert choice.finish_reason == finish
    got = streamed(*a_text(0, "Grey."), a_delta(reason), A_STOP)
    assert joined(got.chunks()).finish == finish
    assert got.finished


def test_usage_counts_cached_tokens_as_prompt() -> None:
    for found in (
        completion(ANTHROPIC.answer(a_message([TEXT]))).usage,
        usage(run(ANTHROPIC.stream(), ANTHROPIC_TEXT).chunks()),
    ):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (60, 12, 72)
        assert found.prompt_tokens_details is not None
        assert found.prompt_tokens_details.cached_tokens == 30
        assert found.prompt_tokens_details.cache_write_tokens == 20


def test_usage_of_a_stream_is_cumulative() -> None:
    last = a_delta("end_turn", 40)
    last["usage"] = {
        "input_tokens": 11,
        "cache_read_input_tokens": 31,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 25},
    }
    found = usage(streamed(*a_text(0, "x"), last, A_STOP).chunks())
    assert (found.prompt_tokens, found.completion_tokens) == (11 + 20 + 31, 40)
    assert found.completion_tokens_details is not None
    assert found.completion_tokens_details.reasoning_tokens == 25


def test_refusal() -> None:
    answer = ANTHROPIC.answer(a_message([], "refusal"))
    assert answer.refused
    details = {"type": "refusal", "category": "bio", "explanation": "I may not."}
    answer = ANTHROPIC.answer(a_message([], "refusal", stop_details=details))
    [choice] = completion(answer).choices
    assert (choice.message.content, choice.message.refusal) == (None, "I may not.")
    assert not ANTHROPIC.answer(a_message([TEXT], "refusal")).refused


def test_stream_refusal() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "I may not."}
    got = streamed(a_delta("refusal", stop_details=details), A_STOP)
    assert got.refused
    assert got.finished
    message = joined(got.chunks())
    assert (message.refusal, message.finish) == ("I may not.", "content_filter")
    assert not streamed(*a_text(0, "So"), a_delta("refusal"), A_STOP).refused


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b"<html><title>Sorry</title></html>", "Sorry"),
        (b"[]", "not an answer"),
        (b"{}", "not a message"),
        (b'{"type":"error","error":{"type":"api_error","message":"Internal"}}', "Internal"),
        (b'{"type":"message","content":5}', "not an answer"),
        (a_message([TEXT])[:-20], "not an answer"),
    ],
)
def test_answer_that_is_none_raises(body: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        ANTHROPIC.answer(body)


def test_stream_text() -> None:
    got = run(ANTHROPIC.stream(), ANTHROPIC_TEXT)
    chunks = got.chunks()
    assert got.out.endswith(b"data: [DONE]\n\n")
    assert got.finished
    assert got.failure is None
    assert {one.id for one in chunks} == {"chatcmpl-01"}
    assert {one.created for one in chunks} == {1_700_000_000}
    assert {one.model for one in chunks} == {"claude-sonnet-4-5-20250929"}
    assert [one.choices[0].delta.content for one in chunks[:3]] == ["", "Grey, ", "11 °C."]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1].choices == []


def test_stream_tools() -> None:
    message = joined(run(ANTHROPIC.stream(), ANTHROPIC_TOOLS).chunks())
    assert message.text == "Let me look."
    assert message.finish == "tool_calls"
    assert message.calls == [
        {"id": "toolu_1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"id": "toolu_2", "name": "get_time", "arguments": "{}"},
    ]


def test_stream_of_a_call_whose_arguments_come_at_once() -> None:
    got = streamed(*a_tool(0, "f", given={"a": 1}), a_delta("tool_use"), A_STOP)
    assert joined(got.chunks()).calls == [{"id": "toolu_0", "name": "f", "arguments": '{"a":1}'}]


def test_stream_thinking() -> None:
    message = joined(run(ANTHROPIC.stream(), ANTHROPIC_THINKING).chunks())
    assert message.reasoning == "Paris is in France."
    assert message.text == "Grey."
    assert message.calls == []


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], False),
        ([PING], False),
        (a_text(0, ""), False),
        (a_text(0, "x"), True),
        (a_tool(0, "f"), True),
        (a_block(0, {"type": "thinking", "thinking": "", "signature": ""}), False),
        (
            a_block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "x"},
            ),
            True,
        ),
        ([{"type": "event_of_the_future", "x": 1}], False),
        ([a_delta("end_turn")], True),
    ],
)
def test_stream_knows_its_first_content_event(events: list[Any], content: bool) -> None:
    reader = ANTHROPIC.stream()
    reader.feed(a_stream(A_START, *events))
    assert reader.content is content
    assert reader.failure is None


def test_stream_cut_short_has_no_clean_end() -> None:
    for last in range(1, ANTHROPIC_TOOLS.count(b"\n\n") - 1):
        part = b"\n\n".join(ANTHROPIC_TOOLS.split(b"\n\n")[:last]) + b"\n\n"
        got = run(ANTHROPIC.stream(), part)
        assert not got.finished
        assert got.failure is None
        assert b"[DONE]" not in got.out
    before_stop = run(ANTHROPIC.stream(), ANTHROPIC_TOOLS.rpartition(b"event:")[0])
    assert not before_stop.finished
    assert usage(before_stop.chunks()).completion_tokens == 12


def test_stream_may_leave_out_the_last_blank_line() -> None:
    assert run(ANTHROPIC.stream(), ANTHROPIC_TEXT.rstrip(b"\n")).finished


def test_nothing_is_written_after_the_end() -> None:
    more = ANTHROPIC_TEXT + a_stream(*a_text(0, "more"), A_STOP)
    assert run(ANTHROPIC.stream(), more).out == run(ANTHROPIC.stream(), ANTHROPIC_TEXT).out


def error(kind: str, message: str = "Sorry") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("stream", "fault", "status"),
    [
        (a_stream(error("overloaded_error")), Fault.OVERLOADED, 529),
        (a_stream(A_START, PING, error("api_error")), Fault.SERVER, 500),
        (a_stream(A_START, error("rate_limit_error")), Fault.RATE_LIMIT, 429),
        (a_stream(error("error_of_the_future")), Fault.SERVER, 502),
        (json.dumps(error("overloaded_error")).encode(), Fault.OVERLOADED, 529),
        (b"<html><h1>502</h1></html>", Fault.BAD_ANSWER, 502),
        (b"", Fault.BAD_ANSWER, 502),
        (b"data: garbage\n\n", Fault.BAD_ANSWER, 502),
        (b'data: {"type":"message_delta","delta":{"stop_reason":"x"}}\n\n', Fault.BAD_ANSWER, 502),
        (b"data: " + b"x" * (1 << 21), Fault.BAD_ANSWER, 502),
    ],
)
def test_stream_that_fails_says_why(stream: bytes, fault: Fault, status: int) -> None:
    got = run(ANTHROPIC.stream(), stream)
    assert got.failure is not None
    assert (got.failure.fault, got.failure.status) == (fault, status)
    assert got.failure.message
    assert not got.finished
    assert b"[DONE]" not in got.out


def test_stream_that_fails_after_content_keeps_what_came() -> None:
    got = streamed(*a_text(0, "Grey"), error("overloaded_error"), *a_text(1, "more"))
    assert got.content
    assert got.failure is not None
    assert joined(got.chunks()).text == "Grey"


ERRORS = [
    (400, "invalid_request_error", "max_tokens: must be positive", Fault.INVALID),
    (
        400,
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
        Fault.CONTEXT,
    ),
    (
        400,
        "invalid_request_error",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        Fault.CONTEXT,
    ),
    (400, "invalid_request_error", "Output blocked by content filtering policy", Fault.CONTENT),
    (400, "invalid_request_error", "Your credit balance is too low to access", Fault.BILLING),
    (401, "authentication_error", "invalid x-api-key", Fault.AUTHENTICATION),
    (402, "billing_error", "Pay", Fault.BILLING),
    (403, "permission_error", "No", Fault.PERMISSION),
    (404, "not_found_error", "model: claude-nope", Fault.NOT_FOUND),
    (413, "request_too_large", "Request exceeds the maximum size", Fault.TOO_LARGE),
    (422, "invalid_request_error", "Unprocessable", Fault.UNPROCESSABLE),
    (429, "rate_limit_error", "Slow down", Fault.RATE_LIMIT),
    (500, "api_error", "Internal server error", Fault.SERVER),
    (504, "timeout_error", "Too slow", Fault.TIMEOUT),
    (529, "overloaded_error", "Overloaded", Fault.OVERLOADED),
]


@pytest.mark.parametrize(("status", "kind", "message", "fault"), ERRORS)
def test_errors_by_status(status: int, kind: str, message: str, fault: Fault) -> None:
    body = json.dumps({**error(kind, message), "request_id": "req_1"}).encode()
    found = ANTHROPIC.failure(status, {"retry-after": "7"}, body)
    assert (found.fault, found.status, found.message) == (fault, status, message)
    assert (found.code, found.retry_after) == (kind, 7.0)


def test_wait_for_the_limit_that_is_used_up() -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=20)).isoformat().replace("+00:00", "Z")
    later = (datetime.now(UTC) + timedelta(seconds=50)).isoformat()
    headers = {
        "anthropic-ratelimit-requests-remaining": "12",
        "anthropic-ratelimit-requests-reset": later,
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": soon,
    }
    wait = ANTHROPIC.failure(429, headers, json.dumps(error("rate_limit_error")).encode())
    assert wait.retry_after is not None
    assert 15 < wait.retry_after <= 20
