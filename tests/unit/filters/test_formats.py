"""Both filters, for clients of every format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message

from extproc import dialects
from extproc.filters.large import Large
from extproc.filters.target import Rooms, TargetFilter
from extproc.filters.verdict import decode
from extproc.simulator import event_stream
from extproc.state.memory import MemoryNotes
from extproc.telemetry import Telemetry
from tests.unit.dialects.level import PLAIN
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import gate, inner
from tests.unit.filters.test_gateway import Gateway

NOTES = MemoryNotes()
FILTER = TargetFilter(
    Rooms(dialects.load(), dialects.formats(), NOTES, Telemetry(), Large(), gate())
)
JSON = {"content-type": "application/json", "content-length": "9"}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-x",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
}
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "count_tokens": "/v1/messages/count_tokens",
}


async def level(
    dialect: str,
    format_: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    **policy: Any,
) -> Envoy:
    envoy = Envoy(FILTER.open())
    given = body or PLAIN[format_]
    stream = "1" if json.loads(given).get("stream") else "0"
    sent = {
        "x-tollgate-i-id": "id-1",
        "x-tollgate-i-format": format_,
        "x-tollgate-i-stream": stream,
        **(headers or {}),
    }
    await envoy.request(sent, given, inner(dialect, **policy))
    return envoy


def streaming(format_: str) -> bytes:
    return json.dumps({**json.loads(PLAIN[format_]), "stream": True}).encode()


# --- a level ------------------------------------------------------------------------------


async def test_a_message_over_a_server_of_chats() -> None:
    envoy = await level("openai", "messages")
    assert envoy.headers[":path"] == "/v1/chat/completions"
    sent = json.loads(envoy.body)
    assert sent["messages"] == [{"role": "user", "content": "hi"}]
    await envoy.head(200, JSON)
    await envoy.chunk(json.dumps(ANSWER).encode(), end=True)
    message = Message.model_validate_json(envoy.body)
    assert message.content[0].type == "text"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 7)


async def test_an_error_is_in_the_clients_format() -> None:
    envoy = await level("openai", "messages")
    await envoy.head(400, JSON)
    await envoy.chunk(b'{"error":{"message":"no","type":"invalid_request_error"}}', end=True)
    assert envoy.answer is not None
    told = {"type": "invalid_request_error", "message": "no"}
    assert json.loads(envoy.answer.body) == {"type": "error", "error": told}


async def test_what_the_provider_speaks_passes() -> None:
    envoy = await level("anthropic", "messages", PLAIN["messages"][:-1] + b',"new":{"a":1.0}}')
    assert envoy.headers[":path"] == "/v1/messages"
    assert b'"new":{"a":1.0}' in envoy.body
    answer = b'{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}'
    await envoy.head(200, {"content-type": "application/json"})
    await envoy.chunk(answer, end=True)
    assert envoy.body == answer


async def test_a_vendors_headers_go_to_that_vendor_alone() -> None:
    sent = {"anthropic-version": "2026-10-21", "anthropic-beta": "x", "openai-beta": "y"}
    own = await level("anthropic", "messages", headers=sent)
    assert own.headers["anthropic-version"] == "2026-10-21"
    assert own.headers["anthropic-beta"] == "x"
    other = await level("openai", "messages", headers=sent)
    assert not [name for name in other.headers if name.startswith(("anthropic-", "openai-"))]


async def test_the_version_is_said_where_the_client_does_not() -> None:
    envoy = await level("anthropic", "messages")
    assert envoy.headers["anthropic-version"] == "2023-06-01"


async def test_tokens_are_estimated_where_nobody_counts() -> None:
    envoy = await level("openai", "count_tokens")
    assert envoy.answer is not None
    assert envoy.answer.status == 200
    assert json.loads(envoy.answer.body)["input_tokens"] > 0
    headers = dict(envoy.answer.headers)
    assert headers["x-tollgate-i-target"] == "t-openai"
    assert "estimated" in headers["x-tollgate-warning"]


@pytest.mark.parametrize(("strict", "refused"), [("0", False), ("1", True)])
async def test_a_strict_route_leaves_nothing_out(strict: str, refused: bool) -> None:
    body = json.dumps({**json.loads(PLAIN["chat"]), "seed": 7}).encode()
    envoy = await level("anthropic", "chat", body, {"x-tollgate-i-strict": strict})
    assert (envoy.answer is not None) is refused
    if refused:
        (note,) = decode(await NOTES.take("id-1"))
        assert note.detail == "seed: the route is strict, and this target lacks it"


async def test_what_a_provider_says_of_its_limits_has_openais_names() -> None:
    envoy = await level("anthropic", "chat")
    limits = {"anthropic-ratelimit-requests-limit": "50", "retry-after": "3"}
    await envoy.head(200, {"content-type": "application/json", **limits})
    answer = {
        "type": "message",
        "id": "m",
        "model": "c",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    await envoy.chunk(json.dumps(answer).encode(), end=True)
    assert envoy.headers["x-ratelimit-limit-requests"] == "50"


async def test_an_event_stream_of_amazons_becomes_the_clients() -> None:
    envoy = await level("bedrock", "chat", streaming("chat"))
    assert envoy.headers[":path"].endswith("/converse-stream")
    await envoy.head(200, {"content-type": "application/vnd.amazon.eventstream"})
    for kind, payload in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}}),
    ):
        await envoy.chunk(frame(kind, payload), end=kind == "metadata")
    assert envoy.headers["content-type"] == "text/event-stream"
    assert b'"content":"Hi"' in envoy.body
    assert envoy.body.endswith(b"data: [DONE]\n\n")


def frame(kind: str, payload: dict[str, Any]) -> bytes:
    return event_stream.event(kind, payload)


# --- the gateway --------------------------------------------------------------------------


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.mark.parametrize("format_", PATHS.keys() - {"embeddings"})
async def test_every_format_has_its_path(gateway: Gateway, format_: str) -> None:
    body = PLAIN[format_].replace(b'"m"', b'"t-openai"')
    envoy, _ = await gateway.ask(body, {":path": f"{PATHS[format_]}?beta=true"})
    assert envoy.answer is None
    assert envoy.headers["x-tollgate-i-format"] == format_


async def test_what_no_level_can_do_names_the_field(gateway: Gateway) -> None:
    asked = {"model": "t-anthropic", "input": "hi", "previous_response_id": "resp_1"}
    envoy, _ = await gateway.ask(json.dumps(asked).encode(), {":path": PATHS["responses"]})
    assert envoy.answer is not None
    assert envoy.answer.status == 400
    error = json.loads(envoy.answer.body)["error"]
    assert error["param"] == "previous_response_id"
    assert "only a target that keeps responses can go on from one" in error["message"]


async def test_a_model_that_chats_makes_no_embeddings(gateway: Gateway) -> None:
    body = PLAIN["embeddings"].replace(b'"m"', b'"t-openai"')
    envoy, _ = await gateway.ask(body, {":path": PATHS["embeddings"]})
    assert envoy.answer is not None
    assert envoy.answer.status == 400
    assert "the model has no embeddings" in json.loads(envoy.answer.body)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/v1/messages/batches", {}), ("/v1/files", {"anthropic-version": "2023-06-01"})],
)
async def test_an_unknown_path_is_told_in_the_format_of_its_client(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    envoy, _ = await gateway.ask(b"{}", {":path": path, **headers})
    assert envoy.answer is not None
    assert envoy.answer.status == 404
    assert json.loads(envoy.answer.body)["error"]["type"] == "not_found_error"


async def test_a_wrong_field_is_told_in_the_format_of_its_client(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(b'{"model":"main"}', {":path": "/v1/messages"})
    assert envoy.answer is not None
    assert json.loads(envoy.answer.body)["type"] == "error"


BAD = {
    "no JSON": b"{",
    "two readings": b'{"model":"t-openai","model":"t-gemini"}',
    "an array": b"[]",
    "another case": b'{"Model":"t-openai"}',
    "a wrong type": b'{"model":5}',
    "no model": b"{}",
    "trailing bytes": b"{}{}",
    "bad UTF-8": b'{"model":"\xff"}',
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("format_", PATHS)
async def test_a_body_that_is_none_is_told_so_and_costs_nothing(
    gateway: Gateway, format_: str, bad: str
) -> None:
    envoy, _ = await gateway.ask(BAD[bad], {":path": PATHS[format_]})
    assert envoy.answer is not None
    assert envoy.answer.status == 400
    error = json.loads(envoy.answer.body)["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if format_ in ("messages", "count_tokens"):
        assert json.loads(envoy.answer.body)["type"] == "error"
    (record,) = gateway.records.kept
    assert record.cost is None


async def test_models_are_listed_as_the_client_knows_lists(gateway: Gateway) -> None:
    get = {":path": "/v1/models", ":method": "GET", "anthropic-version": "2023-06-01"}
    envoy, _ = await gateway.ask(b"", get)
    assert envoy.answer is not None
    page = json.loads(envoy.answer.body)
    assert page["has_more"] is False
    assert {one["type"] for one in page["data"]} == {"model"}
    assert page["first_id"] == page["data"][0]["id"]


async def test_usage_is_read_in_the_clients_format(gateway: Gateway) -> None:
    body = PLAIN["messages"].replace(b'"m"', b'"t-anthropic"')
    envoy, _ = await gateway.ask(body, {":path": "/v1/messages"})
    await envoy.head(200, {"x-tollgate-i-target": "t-anthropic", **JSON})
    answer = {
        "type": "message",
        "model": "claude-sonnet-4-5",
        "content": [],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 7},
    }
    await envoy.chunk(json.dumps(answer).encode(), end=True)
    (record,) = gateway.records.kept
    assert record.usage is not None
    assert (record.usage.input, record.usage.cached_input, record.usage.output) == (100, 90, 7)
    assert record.operation == "chat"
    assert record.cost is not None


async def test_a_stream_that_stalls_ends_with_an_event_of_the_clients_format(
    gateway: Gateway,
) -> None:
    body = streaming("responses").replace(b'"m"', b'"t-openai"')
    envoy, handler = await gateway.ask(body, {":path": "/v1/responses"})
    head = {"x-tollgate-i-target": "t-openai", "content-type": "text/event-stream"}
    await envoy.head(200, head)
    delta = {"type": "response.output_text.delta", "sequence_number": 4, "delta": "x"}
    await envoy.chunk(b"data: " + json.dumps(delta).encode() + b"\n\n")
    (emit,) = await handler.ring()
    event = emit.data.decode()  # type: ignore[union-attr]
    assert event.startswith("event: error\n")
    told = json.loads(event.partition("data: ")[2])
    assert (told["code"], told["sequence_number"]) == ("provider_stalled", 5)
