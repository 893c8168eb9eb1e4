"""The format over providers' dialects: what an Anthropic SDK sends, gets, and sends back."""

import json
from typing import Any

import pytest
from anthropic.types import Message

from extproc.dialects import Counted, Wire, load
from extproc.dialects.clients.messages import thoughts
from extproc.errors import ClientError
from tests.unit.dialects.clients.messages.driver import (
    CACHED,
    GEMINI,
    WEATHER,
    accumulated,
    assistant,
    body,
    shapes,
    text,
    user,
)
from tests.unit.dialects.level import Level

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
}
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
SIGNED_CALL = {
    "functionCall": {"name": "get_weather", "args": {"city": "Paris"}},
    "thoughtSignature": "Z2Vt",
}


def level(dialect: str, given: bytes = b"", **target: Any) -> Level:
    return Level(load()[dialect], "messages", given, **target)


def sent(wire: Wire) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wire.body)
    return found


def completion(**message: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **message},
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
    }
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt"}
    return json.dumps({**whole, "choices": [choice], "usage": USAGE}).encode()


def chunks(*deltas: dict[str, Any], finish: str = "stop") -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    every = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    every.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    every.append({**head, "choices": [], "usage": USAGE})
    data = [b"data: " + json.dumps(one).encode() for one in every]
    return b"\n\n".join([*data, b"data: [DONE]", b""])


def streamed(one: Level, data: bytes) -> Message:
    reader = one.stream()
    out = reader.feed(data) + reader.end()
    assert reader.failure is None
    assert reader.finished
    return accumulated(out)


# --- OpenAI -------------------------------------------------------------------------------


def test_a_request_to_openai() -> None:
    wire = level("openai").request(
        body(
            user(text("Weather?", cache_control=CACHED)),
            system="Be brief.",
            tools=[WEATHER],
            tool_choice={"type": "any"},
            new_thing=1,
            speed="fast",
        )
    )
    made = sent(wire)
    assert wire.path.endswith("/chat/completions")
    assert made["messages"][0] == {"role": "system", "content": "Be brief."}
    assert made["messages"][1]["content"][0]["text"] == "Weather?"
    assert made["tools"][0]["function"]["name"] == "get_weather"
    assert made["tool_choice"] == "required"
    assert {"speed", "new_thing"} <= set(wire.warnings)
    assert "new_thing" not in made


def test_an_answer_of_openai() -> None:
    passed = level("openai").answer(completion(content="Let me see.", tool_calls=[CALL]))
    made = Message.model_validate_json(passed.body, strict=True)
    assert made.stop_reason == "tool_use"
    assert shapes(made)[1] == {
        "type": "tool_use",
        "id": "call_1",
        "name": "get_weather",
        "input": {"city": "Paris"},
    }
    assert (made.usage.input_tokens, made.usage.cache_read_input_tokens) == (15, 5)


def test_a_stream_of_openai() -> None:
    first = {**CALL, "index": 0, "function": {"name": "get_weather", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"city":"Paris"}'}}
    made = streamed(
        level("openai"),
        chunks(
            {"role": "assistant", "content": ""},
            {"content": "Let me "},
            {"content": "see."},
            {"tool_calls": [first]},
            {"tool_calls": [rest]},
            finish="tool_calls",
        ),
    )
    assert [one.type for one in made.content] == ["text", "tool_use"]
    assert made.stop_reason == "tool_use"
    assert (made.usage.input_tokens, made.usage.output_tokens) == (15, 7)


def test_thinking_of_a_compatible_server_comes_back() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "format": "acme-v1", "index": 0}]
    one = level("openai")
    passed = one.answer(
        completion(content="Paris.", reasoning_content="Hm.", reasoning_details=details)
    )
    blocks = json.loads(passed.body)["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    again = one.asked(body(assistant(*blocks), user(text("And?"))))
    assert isinstance(again, Wire)


@pytest.mark.parametrize("status", [400, 429, 500])
def test_errors_reach_the_client_in_anthropics_shape(status: int) -> None:
    one = level("openai")
    failure = one.failure(status, {}, b'{"error":{"message":"no","type":"x","code":null}}')
    told = json.loads(one.format.error(ClientError(failure.status, "x", None, failure.message)))
    assert told["type"] == "error"
    assert told["error"]["message"] == "no"


# --- Gemini -------------------------------------------------------------------------------


def gemini(*parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": [
            {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": 20,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 2,
            "totalTokenCount": 27,
        },
        "modelVersion": "gemini-3-pro",
        "responseId": "r1",
    }


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_gets_its_signatures_back(stream: bool) -> None:
    asked = body(user(text("Weather?")), tools=[WEATHER], stream=stream)
    one = level("gemini", asked, model="gemini-3-pro-preview")
    answer = gemini({"text": "Hm.", "thought": True}, SIGNED_CALL)
    if stream:
        made = streamed(one, b"data: " + json.dumps(answer).encode() + b"\n\n")
    else:
        passed = one.answer(json.dumps(answer).encode())
        made = Message.model_validate_json(passed.body, strict=True)
    blocks = shapes(made)
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
    assert made.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": blocks[1]["id"], "content": "grey"}
    wire = one.request(
        body(user(text("Weather?")), assistant(*blocks), user(result), tools=[WEATHER])
    )
    assert b'"thoughtSignature":"Z2Vt"' in wire.body.replace(b" ", b"")


# --- Anthropic ----------------------------------------------------------------------------


def test_a_native_target_gets_the_clients_own_body() -> None:
    given = body(
        user(text("x"), {"type": "container_upload", "file_id": "file_1"}),
        container="c_1",
        new_thing={"a": 1.50},
    )
    one = level("anthropic", given, model="claude-x")
    assert one.native
    assert one.lacks(given) is None
    wire = one.request(given)
    assert sent(wire) == {**json.loads(given), "model": "claude-x"}
    assert not wire.warnings


def test_what_only_a_native_target_serves_is_refused_elsewhere() -> None:
    given = body(container="c_1")
    one = level("openai")
    assert (one.lacks(given) or "").startswith("container: ")
    with pytest.raises(ClientError, match="container"):
        one.request(given)


def test_native_answers_pass() -> None:
    whole = {"type": "message", "content": [text("x")], "stop_reason": "end_turn", "new": 1}
    data = json.dumps(whole).encode()
    assert level("anthropic").answer(data).body is data


@pytest.mark.parametrize("dialect", ["openai", "cohere"])
def test_a_count_without_an_endpoint_is_an_estimate(dialect: str) -> None:
    one = Level(load()[dialect], "count_tokens")
    made = one.asked(b'{"model":"m","messages":[{"role":"user","content":"Hello, world!"}]}')
    assert isinstance(made, Counted)
    assert made.estimated
    assert made.tokens == 8
    request = one.format.decode(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    assert json.loads(one.format.whole(made, request)) == {"input_tokens": 8}


def test_a_count_of_claude_passes() -> None:
    one = Level(load()["anthropic"], "count_tokens", model="claude-x")
    wire = one.request(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    assert wire.path.endswith("/v1/messages/count_tokens")
    assert sent(wire)["model"] == "claude-x"
    assert one.answer(b'{"input_tokens":3}').body == b'{"input_tokens":3}'


@pytest.mark.parametrize("dialect", ["anthropic", "vertex"])
@pytest.mark.parametrize("format_", ["messages", "count_tokens"])
def test_claude_does_not_see_what_was_sealed_for_others(dialect: str, format_: str) -> None:
    sealed = {"type": "thinking", "thinking": "Hm.", "signature": thoughts.seal([GEMINI])}
    given = body(assistant(sealed, text("x")))
    where = {"project": "p", "location": "us-east5"} if dialect == "vertex" else {}
    one = Level(load()[dialect], format_, given, model="claude-sonnet-4-5", **where)
    assert one.native
    assert one.format.parse(given).sealed
    assert not one.format.parse(body()).sealed
    assert sent(one.request(given))["messages"] == [assistant(text("x"))]
