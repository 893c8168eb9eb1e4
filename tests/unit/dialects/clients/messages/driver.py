"""Drives the client format as a filter does, and holds what it writes against the SDK's types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anthropic.lib.streaming._beta_messages import accumulate_event as accumulate_beta
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from pydantic import TypeAdapter

from extproc.dialects import ClientRequest
from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
    Usage,
    Writer,
)
from extproc.dialects.clients.messages import Messages
from extproc.errors import ClientError

FORMAT = Messages()
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
BETA_EVENT: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)
USAGE = Usage(prompt=20, completion=7, cached=5, cache_write=3, cache_write_1h=1, reasoning=2)

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": CITY,
}
CACHED = {"type": "ephemeral", "ttl": "1h"}
CLAUDE = "anthropic-claude-v1"
SIGNED = ReasoningDetail(
    type="reasoning.text", text="So: Paris.", signature="c2ln", format=CLAUDE, index=0
)
GEMINI = ReasoningDetail(
    type="reasoning.encrypted", data="Z2Vt", format="google-gemini-v1", index=0
)


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def body(*messages: dict[str, Any], **fields: Any) -> bytes:
    given = {
        "model": "flagship",
        "max_tokens": 99,
        "messages": messages or [{"role": "user", "content": "Hello?"}],
        **fields,
    }
    return json.dumps({name: one for name, one in given.items() if one is not ...}).encode()


def decoded(*messages: dict[str, Any], **fields: Any) -> ClientRequest:
    """A request as the target filter reads it, after the gateway filter has accepted it."""
    given = body(*messages, **fields)
    FORMAT.parse(given)
    return FORMAT.decode(given)


def chat(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    """As `decoded`, of what any target can serve."""
    request = decoded(*messages, **fields)
    assert request.native_only is None
    assert request.chat is not None
    return request.chat


def refused(given: bytes) -> str:
    """What a body that is refused is told, as an SDK reads it."""
    with pytest.raises(ClientError) as caught:
        FORMAT.parse(given)
    assert caught.value.status == 400
    told = json.loads(FORMAT.error(caught.value))
    assert told["type"] == "error"
    assert told["error"]["type"] == "invalid_request_error"
    found: str = told["error"]["message"]
    return found


def answer(finish: str = "stop", stop_sequence: str | None = None, **message: Any) -> Completion:
    reply = ReplyMessage(**{"content": None, **message})
    choice = Choice(index=0, message=reply, finish_reason=finish)
    if stop_sequence is not None:
        choice = Choice(index=0, message=reply, finish_reason=finish, stop_sequence=stop_sequence)
    return Completion(
        id="chatcmpl-a-1", created=1_700_000_000, model="m-1", choices=[choice], usage=USAGE
    )


def whole(completion: Completion) -> Message:
    """The message, as the SDK's own types take it, without any leeway."""
    made = FORMAT.whole(completion, decoded())
    BetaMessage.model_validate_json(made, strict=True)
    return Message.model_validate_json(made, strict=True)


def call(id_: str, name: str, arguments: str, **more: Any) -> ToolCall:
    return ToolCall(id=id_, function=CalledFunction(name, arguments), **more)


def lit(words: str) -> bytes:
    """Text as a provider's reader hands it over."""
    return json.dumps(words).encode()


def stream(drive: Callable[[Writer], list[bytes]], finish: str | None = "stop") -> bytes:
    """A whole stream around what `drive` writes."""
    made = FORMAT.writer(decoded(stream=True))
    out = [made.start("chatcmpl-a-1", 1_700_000_000, "m-1"), made.choice(), *drive(made)]
    if finish is not None:
        out += [made.finish(finish), made.usage(USAGE), made.done()]
    return b"".join(out)


def events(out: bytes) -> list[Any]:
    """The events, each held against the SDK's unions and named as its type says; blocks come one
    after another."""
    found = []
    begun, opened = 0, False
    for block in out.removesuffix(b"\n\n").split(b"\n\n"):
        name, data = block.split(b"\n")
        data = data.removeprefix(b"data: ")
        BETA_EVENT.validate_json(data, strict=True)
        event = EVENT.validate_json(data, strict=True)
        assert name == b"event: " + event.type.encode()
        if event.type == "content_block_start":
            assert not opened
            assert event.index == begun
            begun, opened = begun + 1, True
        elif event.type in ("content_block_delta", "content_block_stop"):
            assert opened
            assert event.index == begun - 1
            opened = event.type == "content_block_delta"
        elif event.type == "message_stop":
            assert not opened
        found.append(event)
    return found


def accumulated(out: bytes) -> Message:
    """What the SDK's accumulators, the beta one as well, make of the stream."""
    found = events(out)
    assert found[0].type == "message_start"
    assert found[-1].type == "message_stop"
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in found:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    other: Any = None
    buffers = {}
    for event in found:
        given = BETA_EVENT.validate_python(event.to_dict())
        other = accumulate_beta(
            event=given,
            current_snapshot=other,
            json_bufs=buffers,
            request_headers=_NO_HEADERS,
        )
    made = Message.model_validate(snapshot.to_dict())
    assert [one.to_dict() for one in made.content] == [
        {key: value for key, value in one.to_dict().items() if key in sent.to_dict()}
        for one, sent in zip(other.content, made.content, strict=True)
    ]
    return made


_NO_HEADERS = httpx2.Headers()


def shapes(message: Message) -> list[dict[str, Any]]:
    """The message's blocks, as the SDK would send them back."""
    return [one.to_dict(exclude_unset=True) for one in message.content]
