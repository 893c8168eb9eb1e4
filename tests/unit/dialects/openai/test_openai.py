import json
from typing import Any

import pytest

from extproc.dialects import BadAnswerError, Fault
from extproc.dialects.openai import OpenAI
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import (
    FEATURES,
    OPENAI_TEXT,
    OPENAI_TOOLS,
    OPENAI_USAGE,
    ROLE,
    body,
    chunk,
    completion,
    joined,
    run,
    sse,
    usage,
)

OPENAI = Level(OpenAI())
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Grey.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {**OPENAI_USAGE, "prompt_tokens_details": {"cached_tokens": 5}},
    "system_fingerprint": "fp",
}


def sent(given: bytes, **more: Any) -> tuple[str, bytes]:
    wire = OPENAI.request(given, model="gpt-x", **more)
    assert wire.headers == ()
    assert wire.warnings == ()
    return wire.path, wire.body


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_request_keeps_every_byte_but_the_model(feature: str, stream: bool) -> None:
    given = body(**({"stream": True} if stream else {}), **FEATURES[feature])
    assert OPENAI.lacks(given) is None
    path, made = sent(given)
    assert path == "/v1/chat/completions"
    before, after = json.loads(given), json.loads(made)
    assert after == {**before, "model": "gpt-x"}
    assert list(after) == list(before)
    for name, value in before.items():
        if name != "model":
            assert json.dumps(value).encode() in made


def test_request_keeps_numbers_as_they_were_written() -> None:
    given = (
        b'{"model":"a","messages":[{"role":"user","content":"\\u00e9"}],'
        b'"x":1.0,"y":1e2,"seed":9007199254740993}'
    )
    assert sent(given)[1] == given.replace(b'"a"', b'"gpt-x"')


def test_request_leaves_the_list_of_models_behind() -> None:
    assert "models" not in json.loads(sent(body(models=["a", "b"]))[1])


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (None, "/v1/chat/completions"),
        ("", "/chat/completions"),
        ("/openai/v1/", "/openai/v1/chat/completions"),
    ],
)
def test_path_follows_the_base(base: str | None, path: str) -> None:
    assert OPENAI.request(body(), base_path=base).path == path


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"finish_reason": "length"},
        {
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": "tool_calls",
        },
        {"message": {"role": "assistant", "content": None, "refusal": "No."}},
    ],
    ids=["text", "length", "tools", "refusal"],
)
def test_answer_passes_unchanged(choice: dict[str, Any]) -> None:
    given = json.dumps({**ANSWER, "choices": [{**ANSWER["choices"][0], **choice}]}).encode()
    answer = OPENAI.answer(given)
    assert answer.body is given
    assert not answer.refused
    completion(answer)


def test_answer_that_a_filter_emptied_is_refused() -> None:
    message = {"role": "assistant", "content": None}
    choice = {"index": 0, "message": message, "finish_reason": "content_filter"}
    assert OPENAI.answer(json.dumps({**ANSWER, "choices": [choice]}).encode()).refused
    message["content"] = "Some of i"
    assert not OPENAI.answer(json.dumps({**ANSWER, "choices": [choice]}).encode()).refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "empty body"),
        (b"<html><head><title>Welcome to nginx!</title></head></html>", "Welcome to nginx!"),
        (b"[]", "not a chat completion"),
        (b'{"object":"list","data":[]}', "no choices"),
        (b'{"error":{"message":"Provider returned error","code":502}}', "Provider returned error"),
        (b'{"choices":[', "not a chat completion"),
        (b'{"choices":' + b"[" * 100_000, "not a chat completion"),
    ],
)
def test_answer_that_is_none_raises(given: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        OPENAI.answer(given)


@pytest.mark.parametrize("stream", [OPENAI_TEXT, OPENAI_TOOLS])
def test_stream_passes_unchanged(stream: bytes) -> None:
    got = run(OPENAI.stream(), stream)
    assert got.out == stream
    assert got.content
    assert got.finished
    assert got.failure is None
    assert not got.refused


def test_stream_text_tools_usage_and_finish_reach_the_client() -> None:
    chunks = run(OPENAI.stream(), OPENAI_TEXT).chunks()
    assert joined(chunks).text == "Grey, 11 °C."
    assert joined(chunks).finish == "stop"
    assert usage(chunks).total_tokens == 12
    [call] = joined(run(OPENAI.stream(), OPENAI_TOOLS).chunks()).calls
    assert call == {"id": "c1", "name": "f", "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (b": keep-alive\n\n", False),
        (sse(ROLE), False),
        (sse(chunk(None, prompt_filter_results=[])), False),
        (sse(chunk({})), False),
        (sse(chunk({"content": ""})), False),
        (sse(chunk({"content": None, "tool_calls": None})), False),
        (sse(chunk({"content": "x"})), True),
        (sse(chunk({"content": " "})), True),
        (sse(chunk({"refusal": "No"})), True),
        (sse(chunk({"reasoning_content": "hm"})), True),
        (sse(chunk({"reasoning": "hm"})), True),
        (sse(chunk({"tool_calls": [{"index": 0}]})), True),
        (sse(chunk({}, "stop")), True),
    ],
)
def test_stream_knows_its_first_content_event(event: bytes, content: bool) -> None:
    reader = OPENAI.stream()
    assert reader.feed(event) == event
    assert reader.content is content
    assert reader.failure is None


def test_stream_without_its_end_marker_is_not_finished() -> None:
    got = run(OPENAI.stream(), OPENAI_TEXT.removesuffix(b"data: [DONE]\n\n"))
    assert not got.finished
    assert got.failure is None


def test_stream_may_leave_out_the_last_blank_line() -> None:
    assert run(OPENAI.stream(), OPENAI_TEXT.rstrip(b"\n")).finished


def test_stream_that_a_filter_ended_before_any_text_is_refused() -> None:
    assert run(OPENAI.stream(), sse(ROLE, chunk({}, "content_filter"))).refused
    after = sse(ROLE, chunk({"content": "So"}), chunk({}, "content_filter"))
    assert not run(OPENAI.stream(), after).refused


@pytest.mark.parametrize(
    ("stream", "fault", "status"),
    [
        (
            b'data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n',
            Fault.SERVER,
            502,
        ),
        (
            b'data: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}\n\n',
            Fault.RATE_LIMIT,
            429,
        ),
        (b'data: {"error":{"message":"No instances","code":503}}\n\n', Fault.OVERLOADED, 503),
        (
            b'data: {"error":{"message":"b","type":"invalid_request_error","status_code":400}}\n\n',
            Fault.INVALID,
            400,
        ),
        (
            b'data: {"error":{"message":"the maximum context length is 8192 tokens"}}\n\n',
            Fault.CONTEXT,
            400,
        ),
        (b'event: error\ndata: {"message":"boom"}\n\n', Fault.SERVER, 502),
        (b'{"error":{"message":"overloaded","type":"overloaded_error"}}', Fault.OVERLOADED, 503),
        (b"<html><title>502 Bad Gateway</title></html>", Fault.BAD_ANSWER, 502),
        (b"", Fault.BAD_ANSWER, 502),
        (b"data: garbage\n\n", Fault.BAD_ANSWER, 502),
        (b"data: [1]\n\n", Fault.BAD_ANSWER, 502),
        (b"data: " + b"x" * (33 << 20), Fault.BAD_ANSWER, 502),
    ],
)
def test_stream_that_fails_says_why(stream: bytes, fault: Fault, status: int) -> None:
    got = run(OPENAI.stream(), stream)
    assert got.failure is not None
    assert (got.failure.fault, got.failure.status) == (fault, status)
    assert got.failure.message
    assert not got.content
    assert not got.finished
    assert got.out == stream


def test_stream_sees_an_error_after_content() -> None:
    error = b'data: {"error":{"message":"engine died","type":"server_error"}}\n\n'
    got = run(OPENAI.stream(), sse(ROLE, chunk({"content": 'a "error" in text'})) + error)
    assert got.content
    assert got.failure is not None
    assert got.failure.message == "engine died"
