import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Heard, Talk

MODEL = "command-a-03-2025"
KEY = {"authorization": "Bearer key"}
USER: Any = {"role": "user", "content": "hello"}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator({"cohere": 0}) as simulator:
        yield simulator


async def send(talk: Talk, body: Any, script: Any = None, path: str = "/v2/chat") -> Heard:
    sent = {"model": MODEL, "messages": [USER]} | body if path == "/v2/chat" else body
    return await talk.send("cohere", path, sent, script=script, headers=KEY)


async def test_a_whole_answer(talk: Talk) -> None:
    figures = {"input": 2935, "output": 4, "cached": 2928}
    heard = await send(talk, {}, {"text": "Hello!", "usage": figures})
    assert heard.json["finish_reason"] == "COMPLETE"
    assert heard.json["message"] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello!"}],
    }
    assert heard.json["usage"]["tokens"] == {"input_tokens": 2935, "output_tokens": 4}
    assert heard.json["usage"]["cached_tokens"] == 2928


async def test_a_stream_ends_with_its_usage_and_done(talk: Talk) -> None:
    heard = await send(
        talk, {"stream": True}, {"text": "one two", "usage": {"input": 9, "output": 4}}
    )
    kinds = [event["type"] for event in heard.events]
    assert kinds == [
        "message-start",
        "content-start",
        "content-delta",
        "content-delta",
        "content-end",
        "message-end",
    ]
    assert heard.events[-1]["delta"]["usage"]["tokens"] == {"input_tokens": 9, "output_tokens": 4}
    assert heard.body.endswith(b"data: [DONE]\n\n")


async def test_tools_whole_and_streamed_and_their_results(talk: Talk) -> None:
    ask = {"messages": [{"role": "user", "content": "use get_weather"}], "tools": [WEATHER]}
    whole = (await send(talk, ask)).json
    assert whole["finish_reason"] == "TOOL_CALL"
    assert whole["message"]["tool_plan"]
    call = whole["message"]["tool_calls"][0]
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)
    streamed = (await send(talk, {**ask, "stream": True})).events
    assert any(event["type"] == "tool-plan-delta" for event in streamed)
    pieces = [
        event["delta"]["message"]["tool_calls"]["function"]["arguments"]
        for event in streamed
        if event["type"] in ("tool-call-start", "tool-call-delta")
    ]
    assert "".join(pieces) == call["function"]["arguments"]
    result = {
        "role": "tool",
        "tool_call_id": call["id"],
        "content": [{"type": "document", "document": {"id": "d1", "data": {"n": 1}}}],
    }
    answer = await send(talk, {**ask, "messages": [*ask["messages"], whole["message"], result]})
    assert answer.json["message"]["citations"][0]["sources"] == [
        {"type": "tool", "id": "d1", "tool_output": {"n": 1}}
    ]


async def test_documents_are_cited_unless_told_not_to(talk: Talk) -> None:
    documents = ["a text", {"id": "d", "data": {"text": "b"}}]
    whole = (await send(talk, {"documents": documents})).json["message"]
    citation = whole["citations"][0]
    assert whole["content"][0]["text"][: citation["end"]] == citation["text"]
    assert [one["id"] for one in citation["sources"]] == ["doc:0", "d"]
    streamed = (await send(talk, {"documents": documents, "stream": True})).events
    assert "citation-start" in [event["type"] for event in streamed]
    silent = {"documents": documents, "citation_options": {"mode": "OFF"}}
    assert "citations" not in (await send(talk, silent)).json["message"]


async def test_thinking_json_stops_and_probabilities(talk: Talk) -> None:
    thought = await send(talk, {"model": "command-a-reasoning-08-2025"})
    assert [one["type"] for one in thought.json["message"]["content"]] == ["thinking", "text"]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_object", "json_schema": schema}
    made = await send(talk, {"response_format": form})
    assert json.loads(made.json["message"]["content"][0]["text"]) == {"n": 7}
    stopped = await send(talk, {"stop_sequences": ["two"], "logprobs": True}, {"text": "one two"})
    assert stopped.json["finish_reason"] == "STOP_SEQUENCE"
    assert stopped.json["message"]["content"][0]["text"] == "one "
    assert stopped.json["logprobs"][0]["text"] == "one"


async def test_embeddings(talk: Talk, sim: Simulator) -> None:
    body = {
        "model": "embed-v4.0",
        "input_type": "search_query",
        "texts": ["a", "b"],
        "embedding_types": ["float", "base64", "int8", "ubinary"],
        "output_dimension": 256,
    }
    made = (await send(talk, body, path="/v2/embed")).json
    floats = made["embeddings"]["float"]
    assert [len(one) for one in floats] == [256, 256]
    packed = struct.unpack("<256f", base64.b64decode(made["embeddings"]["base64"][0]))
    assert packed == pytest.approx(floats[0], abs=1e-6)
    assert len(made["embeddings"]["ubinary"][0]) == 32
    assert made["meta"]["billed_units"]["input_tokens"] == sim.totals()["cohere"].input
    assert sim.totals()["cohere"].output == 0


async def test_keys_and_models(talk: Talk) -> None:
    missing = await talk.send("cohere", "/v2/chat", {"model": MODEL, "messages": [USER]})
    assert (missing.status, missing.json["message"]) == (401, "no api key supplied")
    gone = await send(talk, {"model": "command-gone"})
    assert gone.status == 404
    assert gone.json["message"].startswith("model 'command-gone' not found")
    listed = await talk.send("cohere", "/v1/models", method="GET", headers=KEY)
    assert MODEL in [one["name"] for one in listed.json["models"]]


async def test_errors_as_answers_and_within_a_stream(talk: Talk) -> None:
    limited = await send(talk, {}, {"error": "rate_limit", "retry_after": 3})
    assert (limited.status, limited.headers["retry-after"]) == (429, "3")
    assert set(limited.json) == {"id", "message"}
    broken = await send(talk, {"stream": True}, {"error_at": 2, "error": "server"})
    end = broken.events[-1]
    assert (end["type"], end["delta"]["finish_reason"]) == ("message-end", "ERROR")
    assert "internal server error" in end["delta"]["error"]


CALL: Any = {
    "role": "assistant",
    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
IMAGE: Any = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"foo": 1}, "unknown field: parameter 'foo' is not a valid field"),
        ({"max_tokens": "x"}, "parameter max_tokens is of type string but should be of type int"),
        ({"temperature": 1.5}, "temperature must satisfy"),
        ({"p": 1}, "p must satisfy"),
        ({"n": 2}, "parameter 'n'"),
        ({"messages": []}, "list of messages must not be empty"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}]}, "last message must be"),
        ({"messages": [{"role": "user", "content": ""}]}, "at least 1 token long"),
        ({"messages": [USER, CALL, USER]}, "all tool calls must have tool results"),
        (
            {"messages": [USER, {"role": "tool", "tool_call_id": "t1", "content": "x"}]},
            "tool call id t1 not found",
        ),
        ({"tool_choice": "REQUIRED"}, "tool_choice can only be specified"),
        ({"tools": [WEATHER, WEATHER]}, "tool names must be unique"),
        (
            {"tools": [WEATHER], "response_format": {"type": "json_object"}},
            "response_format is not supported in combination",
        ),
        ({"tools": [WEATHER], "safety_mode": "STRICT"}, "safety_mode is not configurable"),
        (
            {"response_format": {"type": "json_object", "json_schema": {"type": "object"}}},
            "at least one required field",
        ),
        ({"thinking": {"type": "enabled"}}, "thinking is not supported with model"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "image content is not supported"),
    ],
)
async def test_refuses_as_cohere_does(talk: Talk, body: Any, words: str) -> None:
    heard = await send(talk, body)
    assert heard.status == 400
    assert words in heard.json["message"]
