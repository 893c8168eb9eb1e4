import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from extproc.dialects import BadAnswerError, Fault
from extproc.dialects.openai import OpenAI
from extproc.errors import ClientError
from tests.unit.dialects.level import FORMATS, Level, policy

FORMAT = FORMATS["completions"]
INSTRUCT = "gpt-3.5-turbo-instruct"
ANSWER: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"text": "Four.", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHAT: dict[str, Any] = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 1,
    "model": "llama",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Four."},
            "finish_reason": "length",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "2 + 2 =", **fields}).encode()


def sse(*events: dict[str, Any]) -> bytes:
    made = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    return made + b"data: [DONE]\n\n"


def test_passes_where_the_server_has_it() -> None:
    level = Level(OpenAI(), "completions", server="openai", model=INSTRUCT)
    assert level.native
    wire = level.request(body(suffix="!", echo=True, logprobs=2, x=1.0))
    assert wire.path == "/v1/completions"
    assert wire.body == body(suffix="!", echo=True, logprobs=2, x=1.0).replace(
        b'"m"', b'"gpt-3.5-turbo-instruct"'
    ).replace(b": ", b":").replace(b", ", b",")
    given = json.dumps(ANSWER).encode()
    assert level.answer(given).body is given


def test_is_a_chat_where_the_server_has_only_that() -> None:
    level = Level(OpenAI(), "completions", server="groq")
    wire = level.request(body(max_tokens=5, stop=["a"], seed=1))
    assert wire.path == "/openai/v1/chat/completions"
    assert json.loads(wire.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "2 + 2 ="}],
        "max_completion_tokens": 5,
        "stop": ["a"],
        "seed": 1,
    }
    made = Completion.model_validate_json(level.answer(json.dumps(CHAT).encode()).body)
    assert (made.id, made.choices[0].text, made.choices[0].finish_reason) == (
        "cmpl-9",
        "Four.",
        "length",
    )
    assert made.usage is not None
    assert made.usage.total_tokens == 5


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 1}, "logprobs"),
    ],
)
def test_what_a_chat_cannot_say_is_refused_there(fields: dict[str, Any], name: str) -> None:
    refusal = Level(OpenAI(), "completions", server="groq").lacks(body(**fields))
    assert refusal is not None
    assert refusal.startswith(f"{name}: ")
    assert (
        Level(OpenAI(), "completions", server="openai", model=INSTRUCT).lacks(body(**fields))
        is None
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"n": 0}, "n"),
        ({"logprobs": 6}, "logprobs"),
        ({"Prompt": "x"}, "prompt"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": ["a"] * 5}, "stop"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as caught:
        FORMAT.parse(body(**fields))
    assert caught.value.status == 400
    assert caught.value.param == param


def test_usage_is_asked_for_and_hidden() -> None:
    given = body(stream=True)
    request = FORMAT.parse(given)
    assert request.hide_usage
    made = FORMAT.forwarded(request, given, None)
    assert made is not None
    assert json.loads(made)["stream_options"] == {"include_usage": True}
    null = body(stream=True, stream_options=None)
    made = FORMAT.forwarded(FORMAT.parse(null), null, None)
    assert made is not None
    assert json.loads(made)["stream_options"] == {"include_usage": True}
    kept = body(stream=True, stream_options={"include_usage": True})
    assert FORMAT.forwarded(FORMAT.parse(kept), kept, None) is None


def test_tokens_count_as_prompt() -> None:
    assert FORMAT.parse(body(prompt=[1] * 10)).text == (40, 0)
    assert FORMAT.parse(body(prompt=[[1] * 10, [2]])).text == (44, 0)
    assert FORMAT.parse(body(prompt=["ab", "é"])).text == (2, 1)


def delta(text: str | None, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "chatcmpl-9", "created": 1, "model": "llama", "choices": [choice]}


def test_streams_as_text() -> None:
    level = Level(OpenAI(), "completions", body(stream=True), server="groq")
    usage = {"id": "chatcmpl-9", "choices": [], "usage": CHAT["usage"]}
    reader = level.stream()
    given = sse(delta("Fo"), delta("ur\u00e9"), delta(None, "tool_calls"), usage)
    out = reader.feed(given) + reader.end()
    lines = [one[6:] for one in out.split(b"\n\n") if one]
    assert lines.pop() == b"[DONE]"
    made = [json.loads(one) for one in lines]
    texts = [one["choices"][0] for one in made if one["choices"]]
    assert "".join(one["text"] for one in texts) == "Four\u00e9"
    assert [one["finish_reason"] for one in texts] == [None, None, "stop"]
    assert made[-1]["usage"]["total_tokens"] == 5
    assert reader.finished


NATIVE = sse(
    {**ANSWER, "choices": [{"text": "Fo", "index": 0}], "usage": None},
    {**ANSWER, "choices": [{"text": "", "index": 0, "finish_reason": "stop"}], "usage": None},
)


@given(st.integers(0, len(NATIVE)))
def test_a_stream_that_passes_is_looked_at_however_it_is_cut(cut: int) -> None:
    reader = FORMAT.watch()
    assert reader.feed(NATIVE[:cut]) + reader.feed(NATIVE[cut:]) + reader.end() == NATIVE
    assert reader.content
    assert reader.finished
    assert reader.failure is None


def test_an_error_in_the_stream_is_seen() -> None:
    reader = FORMAT.watch()
    reader.feed(b'data: {"error": {"message": "slow", "type": "rate_limit_error"}}\n\n')
    assert reader.failure is not None
    assert reader.failure.fault is Fault.RATE_LIMIT
    filtered = FORMAT.watch()
    filtered.feed(sse({"choices": [{"text": "", "finish_reason": "content_filter"}]}))
    assert filtered.refused


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"x":1}',
        b'{"error":{"message":"a"}}',
        b'{"choices":[],"new":"\xff"}',
    ],
)
def test_an_answer_that_is_none_raises(given: bytes) -> None:
    with pytest.raises(BadAnswerError):
        FORMAT.look(given)


def test_a_model_that_only_chats_is_chatted_with() -> None:
    level = Level(OpenAI(), "completions", server="openai", model="gpt-4-turbo")
    assert level.request(body()).path == "/v1/chat/completions"


def test_unknown_servers_are_taken_to_have_it() -> None:
    assert OpenAI().native("completions", policy())
