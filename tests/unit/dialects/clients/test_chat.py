import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion

from extproc.dialects import BadAnswerError, Fault
from extproc.dialects.clients.chat import Chat
from extproc.errors import ClientError
from tests.unit.dialects.features import FEATURES
from tests.unit.dialects.samples import (
    OPENAI_TEXT,
    ROLE,
    USER,
    WEATHER,
    body,
    chunk,
    level,
    run,
    sse,
)
from tests.unit.dialects.wire import WRITERS
from tests.unit.dialects.wire.said import Call, Said

CHAT = Chat()
FUNCTIONS: dict[str, Any] = {"functions": [WEATHER["function"]]}
CALLS = Said(
    text="Let me look.",
    calls=(Call("c1", "get_weather", {"city": "Paris"}), Call("c2", "get_time", {})),
    finish="tool_calls",
)
OTHERS = ("anthropic", "gemini", "bedrock", "cohere")


def forwarded(given: bytes, model: str | None = None) -> bytes | None:
    return CHAT.forwarded(CHAT.parse(given), given, model)


# --- requests -------------------------------------------------------------------------------


def test_what_the_gateway_wants_to_know_is_in_the_request() -> None:
    given = body(
        models=["flagship", "cheap"],
        stream=True,
        user="u-1",
        metadata={"team": "blue"},
        max_completion_tokens=77,
        **FEATURES["image by URL"],
    )
    found = CHAT.parse(given)
    assert (found.format, found.model, found.models) == ("chat", "flagship", ["flagship", "cheap"])
    assert (found.user, found.metadata, found.max_output) == ("u-1", {"team": "blue"}, 77)
    assert found.stream
    assert found.hide_usage
    assert found.messages == 1
    assert found.text == (len("See."), 0)
    assert set(found.uses) == {"streaming", "vision"}
    assert found.needs == {"streaming", "vision"}
    assert found.native_only is None


def test_usage_is_hidden_from_who_did_not_ask_for_it() -> None:
    assert not CHAT.parse(body()).hide_usage
    assert CHAT.parse(body(stream=True)).hide_usage
    asked = body(stream=True, stream_options={"include_usage": True})
    assert not CHAT.parse(asked).hide_usage


def test_fields_that_the_api_does_not_have_are_named() -> None:
    given = body(min_p=0.1, **{"x\n": 1})
    assert CHAT.decode(given).unknown == ("min_p", "x?")
    decoded, parsed = CHAT.decode(given).chat, CHAT.parse(given).chat
    assert msgspec.json.encode(decoded) == msgspec.json.encode(parsed)


@pytest.mark.parametrize("given", [b"", b"[]", b"{}", b'{"model":"m"}', b'{"a":1,"a":2}'])
def test_a_body_that_is_no_request_is_refused(given: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        CHAT.parse(given)
    assert caught.value.status == 400


def test_a_body_is_forwarded_as_it_is() -> None:
    assert forwarded(body()) is None
    assert forwarded(body(), "flagship") is None
    assert forwarded(body(stream=True, stream_options={"include_usage": True})) is None


def test_forwarded_changes_keep_the_bytes_of_everything_else() -> None:
    given = (
        b'{"x": 1.0,  "model":"a", "stream":true,"messages":[{"role":"user","content":"\\u00e9"}]}'
    )
    made = forwarded(given, "b")
    assert made is not None
    assert b"1.0" in made
    assert b'"\\u00e9"' in made
    options = {"include_usage": True}
    assert json.loads(made) == {**json.loads(given), "model": "b", "stream_options": options}


def test_other_options_of_the_stream_stay() -> None:
    made = forwarded(body(stream=True, stream_options={"include_obfuscation": False}))
    assert made is not None
    assert json.loads(made)["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_what_was_for_the_gateway_stays_here() -> None:
    made = forwarded(body(models=["a"], metadata={"team": "blue"}))
    assert made == body() or json.loads(made or b"") == json.loads(body())
    stored = forwarded(body(metadata={"team": "blue"}, store=True))
    assert stored is None


# --- answers that pass ----------------------------------------------------------------------


def completion(finish: str = "stop", **message: Any) -> bytes:
    said = {"role": "assistant", "content": None, **message}
    return json.dumps(
        {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}
    ).encode()


@pytest.mark.parametrize(
    "message",
    [
        {"content": "x"},
        {"refusal": "No."},
        {"tool_calls": [{}]},
        {"function_call": {"name": "f", "arguments": ""}},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"audio": {"id": "a"}},
        {"images": [{}]},
    ],
)
def test_a_filter_that_left_something_did_not_refuse(message: dict[str, Any]) -> None:
    assert not CHAT.look(completion("content_filter", **message))
    assert CHAT.look(completion("content_filter"))
    assert not CHAT.look(completion("stop"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b'{"error":"model not loaded"}', "model not loaded"),
        (b'{"error":{"message":"broke"}}', "broke"),
        (b'{"object":"list"}', "no choices"),
        (b"<html><title>Sorry</title></html>", "Sorry"),
        (b'{"choices":[],"new":"\xff"}', "not a chat completion"),
    ],
)
def test_an_answer_that_is_none_says_what_it_is(given: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        CHAT.look(given)


def test_a_stream_passes_with_every_byte() -> None:
    got = run(CHAT.watch(), OPENAI_TEXT[:50], OPENAI_TEXT[50:])
    assert got.out == OPENAI_TEXT
    assert (got.content, got.finished, got.refused, got.failure) == (True, True, False, None)


def test_functions_are_content_of_a_stream_too() -> None:
    call = {"function_call": {"name": "f", "arguments": ""}}
    reader = CHAT.watch()
    reader.feed(sse(ROLE))
    assert not reader.content
    reader.feed(sse(chunk(call)))
    assert reader.content


def test_a_late_error_is_seen() -> None:
    error = b'data: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}\n\n'
    got = run(CHAT.watch(), sse(ROLE, chunk({"content": "x"})) + error)
    assert got.failure is not None
    assert got.failure.fault is Fault.RATE_LIMIT
    assert got.content
    assert not got.finished


# --- functions, for clients from before there were tools ------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_functions_are_answered_with_a_function_call(name: str) -> None:
    answer = level(name, body=body(**FUNCTIONS)).answer(WRITERS[name].whole(CALLS)).body
    [choice] = ChatCompletion.model_validate_json(answer).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "get_weather"
    assert json.loads(choice.message.function_call.arguments) == {"city": "Paris"}
    assert choice.message.content == "Let me look."
    usage = json.loads(answer)["usage"]
    assert usage["total_tokens"] == 72


@pytest.mark.parametrize("name", OTHERS)
def test_a_stream_gives_the_first_function_call_alone(name: str) -> None:
    there = level(name, body=body(stream=True, **FUNCTIONS))
    got = run(there.stream(), WRITERS[name].stream(CALLS))
    called, arguments, finish = "", "", None
    for one in got.chunks():
        for choice in one.choices:
            assert choice.delta.tool_calls is None
            if choice.delta.function_call is not None:
                called += choice.delta.function_call.name or ""
                arguments += choice.delta.function_call.arguments or ""
            finish = choice.finish_reason or finish
    assert (called, json.loads(arguments), finish) == (
        "get_weather",
        {"city": "Paris"},
        "function_call",
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_conversation_of_functions_goes_up_as_calls_and_results(name: str) -> None:
    called = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    turns = [
        USER,
        {"role": "assistant", "content": None, "function_call": called},
        {"role": "function", "name": "get_weather", "content": "grey skies"},
    ]
    wire = level(name).request(body(messages=turns, **FUNCTIONS))
    made = wire.body.decode()
    assert made.count('"Paris"') + made.count('\\"Paris\\"') == 1
    assert made.count("grey skies") == 1
    assert wire.warnings == ()


# --- errors ---------------------------------------------------------------------------------


def test_errors_have_openais_shape() -> None:
    error = ClientError(429, "rate_limit_error", "rate_limit_exceeded", "Slow down", None, 3.0)
    whole = json.loads(CHAT.error(error))["error"]
    assert whole["message"] == "Slow down"
    assert whole["code"] == "rate_limit_exceeded"
    event = CHAT.error_event(error, 7)
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert json.loads(event[6:])["error"] == whole
