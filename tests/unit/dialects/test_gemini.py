import json
from typing import Any

import pytest
from google.genai import types

from extproc.dialects import BadAnswerError, Fault
from tests.unit.dialects.samples import (
    DIALECTS,
    GEMINI_TEXT,
    GEMINI_THINKING,
    GEMINI_TOOLS,
    STREAMS,
    candidate,
    completion,
    g_answer,
    g_stream,
    joined,
    run,
    usage,
)

GEMINI = DIALECTS["gemini"]
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
GREY = candidate({"text": "Grey."}, finish="STOP")
BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
    "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    "modelVersion": "gemini-2.5-pro",
}


def answer(*candidates: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(g_answer(*candidates, **more)).encode()


def test_samples_are_what_gemini_sends() -> None:
    for stream in STREAMS["gemini"]:
        for line in stream.split(b"\r\n"):
            if line.startswith(b"data: "):
                types.GenerateContentResponse.model_validate_json(line[6:])


def test_answer_text() -> None:
    found = completion(
        GEMINI.answer(answer(candidate({"text": "Grey, "}, {"text": "11 °C."}, finish="STOP")))
    )
    assert found.id == "chatcmpl-r-1"
    assert found.created == 1_700_000_000
    assert found.model == "gemini-2.5-pro"
    [choice] = found.choices
    assert choice.message.content == "Grey, 11 °C."
    assert choice.finish_reason == "stop"


def test_answer_without_an_id_gets_one() -> None:
    assert completion(GEMINI.answer(answer(GREY, responseId=None))).id == "chatcmpl-minted"


def test_answer_tools() -> None:
    body = answer(
        candidate({"text": "Look."}, CALL, {"functionCall": {"name": "t"}}, finish="STOP")
    )
    [choice] = completion(GEMINI.answer(body)).choices
    assert choice.message.content == "Look."
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    one, two = (call.model_dump() for call in choice.message.tool_calls)
    assert json.loads(one["function"]["arguments"]) == {"city": "Paris"}
    assert two["function"] == {"name": "t", "arguments": "{}"}


def ids(body: bytes) -> list[str]:
    [choice] = completion(GEMINI.answer(body)).choices
    return [call.id for call in choice.message.tool_calls or ()]


def test_call_ids_are_the_same_each_time_and_differ_between_calls_and_turns() -> None:
    body = answer(candidate(CALL, CALL, finish="STOP"))
    assert ids(body) == ids(body)
    next_turn = ids(answer(candidate(CALL, CALL, finish="STOP"), responseId="r-2"))
    assert len({*ids(body), *next_turn}) == 4
    assert all(one.startswith("call_") and len(one) <= 40 for one in ids(body))


def test_call_ids_of_gemini_are_kept() -> None:
    named = {"functionCall": {**CALL["functionCall"], "id": "abc"}}
    assert ids(answer(candidate(named, finish="STOP"))) == ["abc"]


def test_thought_signatures_go_to_the_client() -> None:
    body = answer(candidate({**CALL, "thoughtSignature": "c2ln"}, finish="STOP"))
    [choice] = completion(GEMINI.answer(body)).choices
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.model_extra == {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    message = joined(run(GEMINI.stream(), GEMINI_TOOLS).chunks())
    assert message.calls[0]["extra"] == {"google": {"thought_signature": "c2ln"}}


def test_answer_thinking() -> None:
    parts = ({"text": "Hm.", "thought": True}, {"executableCode": {"code": "1"}}, {"text": "Grey."})
    [choice] = completion(GEMINI.answer(answer(candidate(*parts, finish="STOP")))).choices
    assert choice.message.content == "Grey."
    assert choice.message.model_extra == {"reasoning_content": "Hm."}


def test_n() -> None:
    other = candidate({"text": "Wet."}, finish="MAX_TOKENS", index=1)
    found = completion(GEMINI.answer(answer(GREY, other)))
    assert [(one.index, one.message.content, one.finish_reason) for one in found.choices] == [
        (0, "Grey.", "stop"),
        (1, "Wet.", "length"),
    ]


def test_stream_n() -> None:
    got = run(
        GEMINI.stream(),
        g_stream(
            g_answer(candidate({"text": "Gr"}), candidate({"text": "W"}, index=1)),
            g_answer(candidate({"text": "ey."}, finish="STOP")),
            g_answer(candidate({"text": "et."}, finish="MAX_TOKENS", index=1)),
        ),
    )
    assert got.finished
    chunks = got.chunks()
    assert (joined(chunks).text, joined(chunks).finish) == ("Grey.", "stop")
    assert (joined(chunks, 1).text, joined(chunks, 1).finish) == ("Wet.", "length")
    half = g_stream(
        g_answer(candidate({"text": "Gr"}, finish="STOP"), candidate({"text": "W"}, index=1))
    )
    assert not run(GEMINI.stream(), half).finished


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *(
            (reason, "content_filter")
            for reason in (
                "SAFETY",
                "RECITATION",
                "LANGUAGE",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "MODEL_ARMOR",
            )
        ),
        ("OTHER", "stop"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("REASON_OF_THE_FUTURE", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    one = candidate({"text": "Grey."}, finish=reason)
    [choice] = completion(GEMINI.answer(answer(one))).choices
    assert choice.finish_reason == finish
    got = run(GEMINI.stream(), g_stream(g_answer(one)))
    assert joined(got.chunks()).finish == finish
    assert got.finished
    assert not got.refused


def test_every_finish_reason_of_the_sdk_translates() -> None:
    for reason in types.FinishReason:
        completion(GEMINI.answer(answer(candidate({"text": "x"}, finish=reason.value))))


def test_a_model_that_fails_to_call_gave_no_answer() -> None:
    broken = candidate(finish="MALFORMED_FUNCTION_CALL")
    with pytest.raises(BadAnswerError, match="MALFORMED_FUNCTION_CALL"):
        GEMINI.answer(answer(broken))
    got = run(GEMINI.stream(), g_stream(g_answer(broken)))
    assert got.failure is not None
    assert got.failure.fault is Fault.BAD_ANSWER
    assert not got.content


def test_usage_counts_thoughts_as_completion() -> None:
    for found in (
        completion(GEMINI.answer(answer(GREY))).usage,
        usage(run(GEMINI.stream(), GEMINI_TEXT).chunks()),
    ):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (60, 12, 72)
        assert found.prompt_tokens_details is not None
        assert found.prompt_tokens_details.cached_tokens == 30
        assert found.completion_tokens_details is not None
        assert found.completion_tokens_details.reasoning_tokens == 4


def test_usage_counts_prompts_of_tools() -> None:
    reported = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1}
    found = completion(GEMINI.answer(answer(GREY, usageMetadata=reported))).usage
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens) == (15, 1)


def test_answer_without_usage() -> None:
    found = completion(GEMINI.answer(answer(GREY, usageMetadata=None))).usage
    assert found is not None
    assert found.total_tokens == 0


def test_refusal() -> None:
    blocked = GEMINI.answer(json.dumps(BLOCKED).encode())
    assert blocked.refused
    [choice] = completion(blocked).choices
    assert (choice.message.content, choice.message.refusal) == (None, "No.")
    assert choice.finish_reason == "content_filter"
    assert GEMINI.answer(answer({"finishReason": "SAFETY", "index": 0})).refused
    assert not GEMINI.answer(answer(candidate({"text": "So"}, finish="SAFETY"))).refused


def test_stream_refusal() -> None:
    got = run(GEMINI.stream(), g_stream(BLOCKED))
    assert got.refused
    assert got.finished
    message = joined(got.chunks())
    assert (message.refusal, message.finish) == ("No.", "content_filter")
    safety = candidate(finish="SAFETY", finishMessage="Unsafe.")
    assert run(GEMINI.stream(), g_stream(g_answer(safety))).refused
    after = g_stream(g_answer(candidate({"text": "So"})), g_answer(safety))
    assert not run(GEMINI.stream(), after).refused


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b"<html><title>Sorry</title></html>", "Sorry"),
        (b"[]", "not an answer"),
        (b"{}", "without candidates"),
        (b'{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}', "Busy"),
        (b'{"candidates":[{"content":5}]}', "not an answer"),
        (answer(GREY)[:-20], "not an answer"),
    ],
)
def test_answer_that_is_none_raises(body: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        GEMINI.answer(body)


def test_stream_text() -> None:
    got = run(GEMINI.stream(), GEMINI_TEXT)
    chunks = got.chunks()
    assert got.out.endswith(b"data: [DONE]\n\n")
    assert got.finished
    assert {one.id for one in chunks} == {"chatcmpl-r-1"}
    assert {one.model for one in chunks} == {"gemini-2.5-pro"}
    assert [one.choices[0].delta.content for one in chunks[:3]] == ["", "Grey, ", "11 °C."]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1].choices == []


def test_stream_tools() -> None:
    message = joined(run(GEMINI.stream(), GEMINI_TOOLS).chunks())
    assert message.text == "Let me look."
    assert message.finish == "tool_calls"
    assert [(one["name"], one["arguments"]) for one in message.calls] == [
        ("get_weather", '{"city":"Paris"}'),
        ("get_time", "{}"),
    ]
    assert len({one["id"] for one in message.calls}) == 2


def test_stream_thinking() -> None:
    message = joined(run(GEMINI.stream(), GEMINI_THINKING).chunks())
    assert (message.reasoning, message.text) == ("Paris is in France.", "Grey.")


def test_text_goes_out_as_it_comes() -> None:
    reader = GEMINI.stream()
    assert b"Grey" in reader.feed(g_stream(g_answer(candidate({"text": "Grey"}))))


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (candidate(), False),
        (candidate({"text": ""}), False),
        (candidate({"text": "x"}), True),
        (candidate({"text": "x", "thought": True}), True),
        (candidate(CALL), True),
        (candidate(finish="STOP"), True),
    ],
)
def test_stream_knows_its_first_content_event(given: dict[str, Any], content: bool) -> None:
    reader = GEMINI.stream()
    reader.feed(g_stream(g_answer(given)))
    assert reader.content is content


def test_stream_cut_short_has_no_clean_end() -> None:
    got = run(GEMINI.stream(), GEMINI_TEXT.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert got.content
    assert not got.finished
    assert got.failure is None
    assert b"[DONE]" not in got.out
    assert usage(got.chunks()).prompt_tokens == 60


def test_stream_may_leave_out_the_last_blank_line() -> None:
    assert run(GEMINI.stream(), GEMINI_TEXT.rstrip(b"\r\n")).finished


BUSY = {"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    ("stream", "fault", "status"),
    [
        (g_stream(BUSY), Fault.OVERLOADED, 503),
        (json.dumps(BUSY).encode(), Fault.OVERLOADED, 503),
        (json.dumps([BUSY], indent=2).encode(), Fault.OVERLOADED, 503),
        (b'data: {"error":{"message":"?"}}\n\n', Fault.SERVER, 502),
        (b"<html><h1>502</h1></html>", Fault.BAD_ANSWER, 502),
        (b"", Fault.BAD_ANSWER, 502),
        (b"data: garbage\n\n", Fault.BAD_ANSWER, 502),
        (b"data: " + b"x" * (1 << 21), Fault.BAD_ANSWER, 502),
    ],
)
def test_stream_that_fails_says_why(stream: bytes, fault: Fault, status: int) -> None:
    got = run(GEMINI.stream(), stream)
    assert got.failure is not None
    assert (got.failure.fault, got.failure.status) == (fault, status)
    assert got.failure.message
    assert not got.finished
    assert got.out == b""


def test_stream_that_fails_after_content_keeps_what_came() -> None:
    got = run(GEMINI.stream(), g_stream(g_answer(candidate({"text": "Grey"})), BUSY))
    assert got.content
    assert got.failure is not None
    assert joined(got.chunks()).text == "Grey"


def error(status: int, name: str, message: str, *details: dict[str, Any]) -> bytes:
    found = {"code": status, "message": message, "status": name, "details": list(details)}
    return json.dumps({"error": found}).encode()


ERRORS = [
    (400, "INVALID_ARGUMENT", "Unknown name", Fault.INVALID),
    (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        Fault.CONTEXT,
    ),
    (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid key.", Fault.AUTHENTICATION),
    (400, "INVALID_ARGUMENT", "API key expired.", Fault.AUTHENTICATION),
    (
        400,
        "FAILED_PRECONDITION",
        "User location is not supported for the API use.",
        Fault.PERMISSION,
    ),
    (400, "FAILED_PRECONDITION", "Please enable billing on your project.", Fault.PERMISSION),
    (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 9.", Fault.TOO_LARGE),
    (400, "INVALID_ARGUMENT", "It goes against the content policy.", Fault.CONTENT),
    (413, "INVALID_ARGUMENT", "Too large", Fault.TOO_LARGE),
    (401, "UNAUTHENTICATED", "No key", Fault.AUTHENTICATION),
    (403, "PERMISSION_DENIED", "No", Fault.PERMISSION),
    (404, "NOT_FOUND", "models/nope is not found", Fault.NOT_FOUND),
    (429, "RESOURCE_EXHAUSTED", "Quota exceeded", Fault.RATE_LIMIT),
    (499, "CANCELLED", "Cancelled", Fault.SERVER),
    (500, "INTERNAL", "Oops", Fault.SERVER),
    (503, "UNAVAILABLE", "The model is overloaded.", Fault.OVERLOADED),
    (504, "DEADLINE_EXCEEDED", "Too slow", Fault.TIMEOUT),
]


@pytest.mark.parametrize(("status", "name", "message", "fault"), ERRORS)
def test_errors_by_status(status: int, name: str, message: str, fault: Fault) -> None:
    found = GEMINI.failure(status, {}, error(status, name, message))
    assert (found.fault, found.status, found.message) == (fault, status, message)
    assert found.code == name


def test_retry_info_says_how_long_to_wait() -> None:
    details = (
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
    )
    body = error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", *details)
    assert GEMINI.failure(429, {}, body).retry_after == 34.07
    assert GEMINI.failure(429, {"retry-after": "5"}, body).retry_after == 5


def test_error_info_names_a_wrong_key() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    body = error(400, "INVALID_ARGUMENT", "Bad", info)
    assert GEMINI.failure(400, {}, body).fault is Fault.AUTHENTICATION


def test_an_error_in_a_list_is_read() -> None:
    body = b"[" + error(429, "RESOURCE_EXHAUSTED", "Quota exceeded") + b"]"
    assert GEMINI.failure(429, {}, body).message == "Quota exceeded"
