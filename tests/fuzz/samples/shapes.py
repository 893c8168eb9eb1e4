"""How samples are written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tests.fuzz.mutate import framed


@dataclass(frozen=True, slots=True)
class Client:
    """Requests and answers in a client's format."""

    requests: tuple[bytes, ...]
    answers: tuple[bytes, ...]
    streams: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider answers. `headers` as lines of text."""

    answers: tuple[bytes, ...]
    streams: tuple[bytes, ...]
    errors: tuple[bytes, ...]
    headers: tuple[bytes, ...]


def body(*trees: Any) -> tuple[bytes, ...]:
    """Each tree as a body."""
    return tuple(json.dumps(tree).encode() for tree in trees)


def unnamed(*trees: Any, done: bool = True) -> bytes:
    """A stream of events that have no names, as OpenAI's chunks."""
    events = [b"data: " + one + b"\n\n" for one in body(*trees)]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def named(*trees: dict[str, Any]) -> bytes:
    """A stream of events that are named after their type, as Anthropic's."""
    return b"".join(
        b"event: " + tree["type"].encode() + b"\ndata: " + json.dumps(tree).encode() + b"\n\n"
        for tree in trees
    )


def message(kind: str, type_: str, tree: Any) -> bytes:
    """One message of Amazon's event streams: `event` or `exception`, and its type."""
    headers = {
        f":{kind}-type": type_,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    encoded = b"".join(
        bytes([len(name)]) + name.encode() + b"\7" + len(value).to_bytes(2) + value.encode()
        for name, value in headers.items()
    )
    return framed(encoded, json.dumps(tree).encode())


# --- what requests of several formats say

SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "number", "default": 1.0}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Final = {
    "name": "get_weather",
    "description": "Weather.",
    "parameters": SCHEMA,
    "strict": True,
}
TOOL: Final = {"type": "function", "function": FUNCTION}
PNG: Final = "data:image/png;base64,iVBORw0KGgo="
PDF: Final = "data:application/pdf;base64,JVBERg=="
USER: Final = {"role": "user", "content": "Weather in Paris?"}
CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
