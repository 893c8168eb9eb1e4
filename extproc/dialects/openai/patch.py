"""Answers of servers that tell the thinking in their own way: as they came, with the thinking
added where clients look for it (`reasoning_content`), and content as text.

An event without thinking keeps its bytes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from extproc.dialects import sse
from extproc.dialects.clients.chat import ChatWatch

_TIER: Final = b'"on_demand"'
"""What Groq calls the tier that OpenAI calls `default`."""
_THINKING: Final = b'"reasoning"'
_PARTS: Final = b'"content":['
_SPACED_PARTS: Final = b'"content": ['


class PatchReader(ChatWatch):
    """See `extproc.dialects.StreamReader`. Watches as for a stream that passes, but events go out
    whole, and those with thinking changed."""

    def __init__(self) -> None:
        super().__init__()
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return the events that they complete."""
        super().feed(data)
        return self._take()

    def end(self) -> bytes:
        """The provider ended its stream."""
        super().end()
        return self._take()

    def event(self, event: sse.Event) -> bool:
        """See `Watch`."""
        known = super().event(event)
        if known and self.failure is None:
            head = b"event: " + event.type + b"\n" if event.type else b""
            self._out.append(head + b"data: " + patched(event.data) + b"\n\n")
        return known

    def _take(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out


def patched(body: bytes) -> bytes:
    """A completion, or a chunk of one, with its thinking as `reasoning_content` and its tier in
    OpenAI's words."""
    if not (_THINKING in body or _PARTS in body or _SPACED_PARTS in body or _TIER in body):
        return body
    try:
        tree = _TREE.decode(body)
        choices = msgspec.json.decode(tree["choices"], type=list[dict[str, Any]])
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError):
        return body
    for choice in choices:
        for name in ("delta", "message"):
            if isinstance(choice.get(name), dict):
                _message(choice[name])
    tree["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    if bytes(tree.get("service_tier", b"")) == _TIER:
        tree["service_tier"] = msgspec.Raw(b'"default"')
    return msgspec.json.encode(tree)


_TREE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _message(message: dict[str, Any]) -> None:
    thinking = message.get("reasoning")
    if isinstance(thinking, str) and "reasoning_content" not in message:
        message["reasoning_content"] = thinking
    parts = message.get("content")
    if not isinstance(parts, list):
        return
    thoughts = "".join(_texts(part.get("thinking")) for part in parts if isinstance(part, dict))
    message["content"] = _texts(parts)
    if thoughts:
        message["reasoning_content"] = thoughts


def _texts(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(one for one in found if isinstance(one, str))
