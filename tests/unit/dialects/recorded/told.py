"""What a client gets, read with its SDK's own types: each validates before anything is compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.unit.dialects.recorded.expected import Said, chat, messages, responses

CHAT_EVENT = TypeAdapter(ChatCompletionChunk)
MESSAGES_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
RESPONSES_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

WHOLE: dict[str, tuple[Any, Callable[[list[dict[str, Any]]], Said | None]]] = {
    "chat": (TypeAdapter(ChatCompletion), chat),
    "messages": (TypeAdapter(Message), messages),
    "responses": (TypeAdapter(Response), responses),
}
EVENTS: dict[str, Any] = {
    "chat": CHAT_EVENT,
    "messages": MESSAGES_EVENT,
    "responses": RESPONSES_EVENT,
}


def whole(format_: str, body: bytes) -> Said | None:
    kind, read = WHOLE[format_]
    kind.validate_json(body)
    return read([json.loads(body)])


def streamed(format_: str, out: bytes) -> Said | None:
    datas = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: ")]
    datas = [data for data in datas if data != b"[DONE]"]
    for data in datas:
        EVENTS[format_].validate_json(data)
    return WHOLE[format_][1]([json.loads(data) for data in datas])
