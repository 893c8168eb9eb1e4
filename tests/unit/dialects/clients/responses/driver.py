"""Drives the client format as a filter does, and holds what it writes against the SDK's types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

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
from extproc.dialects.clients.responses import Responses, ResponsesClientRequest

NOW = 1_700_000_009
FORMAT = Responses(clock=lambda: float(NOW))
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = Usage(prompt=20, completion=7, cached=5, cache_write=3, reasoning=2)

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": CITY,
    "strict": False,
}
SQL: dict[str, Any] = {
    "type": "custom",
    "name": "sql",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
SIGNED = ReasoningDetail(
    type="reasoning.text", text="So: Paris.", signature="c2ln", format="anthropic-claude-v1"
)


def body(**fields: Any) -> bytes:
    given = {"model": "flagship", "input": "Hello?", **fields}
    return json.dumps({name: one for name, one in given.items() if one is not ...}).encode()


def parsed(**fields: Any) -> ResponsesClientRequest:
    found = FORMAT.parse(body(**fields))
    assert isinstance(found, ResponsesClientRequest)
    return found


def decoded(**fields: Any) -> ResponsesClientRequest:
    """A request as the target filter reads it, after the gateway filter has accepted it."""
    FORMAT.parse(body(**fields))
    found = FORMAT.decode(body(**fields))
    assert isinstance(found, ResponsesClientRequest)
    return found


def answer(
    finish: str = "stop", logprobs: dict[str, Any] | None = None, **message: Any
) -> Completion:
    reply = ReplyMessage(**{"content": None, **message})
    choice = Choice(index=0, message=reply, finish_reason=finish, logprobs=logprobs)
    return Completion(
        id="chatcmpl-a-1", created=1_700_000_000, model="m-1", choices=[choice], usage=USAGE
    )


def whole(completion: Completion, **fields: Any) -> Response:
    """The response, as the SDK's own type takes it."""
    return Response.model_validate_json(FORMAT.whole(completion, decoded(**fields)))


def call(id_: str, name: str, arguments: str, **more: Any) -> ToolCall:
    return ToolCall(id=id_, function=CalledFunction(name, arguments), **more)


def lit(text: str) -> bytes:
    """Text as a provider's reader hands it over."""
    return json.dumps(text).encode()


def writer(**fields: Any) -> Writer:
    return FORMAT.writer(decoded(stream=True, **fields))


def stream(drive: Callable[[Writer], list[bytes]], **fields: Any) -> bytes:
    """A whole stream around what `drive` writes."""
    made = writer(**fields)
    out = [made.start("chatcmpl-a-1", 1_700_000_000, "m-1"), made.choice()]
    out += drive(made)
    return b"".join(out)


def ended(made: Writer, finish: str = "stop") -> list[bytes]:
    return [made.finish(finish), made.usage(USAGE), made.done()]


def events(out: bytes) -> list[Any]:
    """The events, each held against the SDK's union, numbered without a gap, named as their
    type says; the SDK's accumulator takes them."""
    found = []
    for number, block in enumerate(out.removesuffix(b"\n\n").split(b"\n\n")):
        name, data = block.split(b"\n")
        event = EVENT.validate_json(data.removeprefix(b"data: "))
        assert name == b"event: " + event.type.encode()
        assert event.sequence_number == number
        found.append(event)
    return found


def final(out: bytes) -> Response:
    """What the last event holds. It must be what the events before it say."""
    *before, last = events(out)
    response: Response = last.response
    done = [one.item for one in before if one.type == "response.output_item.done"]
    done.sort(key=lambda item: [one.id for one in response.output].index(item.id))
    if last.type != "response.failed":
        assert [one.to_dict() for one in response.output] == [one.to_dict() for one in done]
    _joined(before)
    return response


def _joined(before: list[Any]) -> None:
    """Deltas, joined, are what is done."""
    texts: dict[Any, str] = {}
    for one in before:
        at = (getattr(one, "item_id", ""), getattr(one, "content_index", 0))
        if one.type.endswith(".delta"):
            texts[at] = texts.get(at, "") + one.delta
        elif one.type in _DONE:
            assert getattr(one, _DONE[one.type]) == texts.pop(at, "")


_DONE = {
    "response.output_text.done": "text",
    "response.refusal.done": "refusal",
    "response.reasoning_summary_text.done": "text",
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}


def client(out: bytes) -> OpenAI:
    """The SDK, answered with this stream."""
    head = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=out, headers=head))
    return OpenAI(api_key="sk-test", max_retries=0, http_client=httpx2.Client(transport=transport))


def accumulated(out: bytes, **fields: Any) -> Response:
    """What the SDK's own accumulator makes of the stream."""
    with client(out).responses.stream(model="m", input="x", **fields) as found:
        return found.get_final_response()
