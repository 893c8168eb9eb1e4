"""A client's body on its way to a target that speaks the Messages API."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc import strict_json
from extproc.dialects import ClientRequest
from extproc.dialects.anthropic.thinking import MIN_BUDGET
from extproc.dialects.clients.responses.sealed import PREFIX, is_sealed
from extproc.dialects.text import NONE


class MessagesClientRequest(ClientRequest, frozen=True, kw_only=True):
    """Knows what such a target may not see."""

    def passing(self, body: bytes) -> bytes:
        """See `ClientRequest`."""
        return for_native(body) if self.sealed else body


def thinking_within(body: bytes, cap: int) -> dict[str, Any] | None:
    """What `thinking` has to become where an answer may have no more than `cap` tokens, of which
    thinking must leave some: half of them, or none where that would be less than a model thinks.
    None: it may stay."""
    thinking = _THINKING.decode(body).thinking
    if thinking is None or (thinking.get("budget_tokens") or 0) < cap:
        return None
    if cap <= MIN_BUDGET:
        return {"type": "disabled"}
    return {**thinking, "budget_tokens": max(cap // 2, MIN_BUDGET)}


def is_sealed_in(body: bytes) -> bool:
    """Something may have been sealed; `for_native` looks closer."""
    return _MARK in body


def for_native(body: bytes) -> bytes:
    """A body that has been parsed, without what was sealed for other providers: thinking, and
    places in search results, which such a target refuses because it did not write them. A turn
    of which nothing is left goes too."""
    if not is_sealed_in(body):
        return body
    kept: list[Any] = []
    changed = False
    for raw in _BODY.decode(body).messages:
        message = _MESSAGE.decode(raw)
        if _MARK not in bytes(raw) or not isinstance(message.content, list):
            kept.append(raw)
            continue
        blocks = [made for block in message.content if (made := _own(block)) is not None]
        changed = True
        if blocks:
            kept.append(Raw(strict_json.splice(bytes(raw), {"content": blocks})))
    return strict_json.splice(body, {"messages": kept}) if changed else body


def _own(raw: Raw) -> Raw | None:
    """The block without what was sealed; None if it was no more than that."""
    if _MARK not in bytes(raw):
        return raw
    block = _BLOCK.decode(raw)
    if block.type == "thinking" and is_sealed(block.signature):
        return None
    if block.type == "redacted_thinking" and is_sealed(block.data):
        return None
    if block.type != "text" or not block.citations:
        return raw
    citations = [one for one in _CITATIONS.decode(block.citations) or () if not _foreign(one)]
    if citations:
        return Raw(strict_json.splice(bytes(raw), {"citations": citations}))
    return Raw(strict_json.splice(bytes(raw), remove=("citations",)))


def _foreign(citation: Raw) -> bool:
    return is_sealed(_CITATION.decode(citation).encrypted_index)


class _Body(Struct):
    messages: list[Raw]


class _Thinking(Struct):
    thinking: dict[str, Any] | None = None


class _Message(Struct):
    content: str | list[Raw] | None = None


class _Block(Struct):
    type: str
    signature: str | None = None
    data: str | None = None
    citations: Raw = NONE


class _Citation(Struct):
    encrypted_index: str | None = None


_MARK: Final = PREFIX.encode()
_BODY: Final = msgspec.json.Decoder(_Body)
_THINKING: Final = msgspec.json.Decoder(_Thinking)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BLOCK: Final = msgspec.json.Decoder(_Block)
_CITATIONS: Final = msgspec.json.Decoder(list[Raw] | None)
_CITATION: Final = msgspec.json.Decoder(_Citation)
