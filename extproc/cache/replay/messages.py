"""Messages as events, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from extproc.cache.replay.deltas import Joined, settled
from extproc.cache.replay.pieces import StreamError, encode, objects, pieces

_AT_END: Final = ("stop_reason", "stop_sequence", "stop_details", "container")
"""What `message_delta` says of a message."""
_TOLD_AGAIN: Final = frozenset(
    {
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "server_tool_use",
        "output_tokens_details",
    }
)
"""Usage that `message_delta` repeats beside the output's."""
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks whose input comes in pieces."""
_SAID: Final = {"text_delta": "text", "thinking_delta": "thinking"}
"""Deltas that are pieces of text, and the field that it stands in."""


def write(answer: dict[str, Any], *, usage: bool) -> bytes:  # noqa: ARG001 - messages always tell
    """The events of a message."""
    told = answer.get("usage") or {}
    begun = {**answer, "content": [], "stop_reason": None, "stop_sequence": None}
    if "stop_details" in answer:
        begun["stop_details"] = None
    if told:
        begun["usage"] = {**told, "output_tokens": 0}
    written = [_event("message_start", {"message": begun})]
    for index, block in enumerate(answer["content"]):
        written += _block(index, block)
    ended = {name: answer[name] for name in _AT_END if name in answer}
    last = {"output_tokens": told.get("output_tokens", 0)}
    last |= {name: one for name, one in told.items() if name in _TOLD_AGAIN and one is not None}
    written.append(_event("message_delta", {"delta": ended, "usage": last}))
    written.append(_event("message_stop", {}))
    return b"".join(written)


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))


def _block(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    kind = block["type"]
    deltas: list[bytes] = []
    begun = block
    if kind == "text":
        citations = block.get("citations")
        begun = {**block, "text": ""}
        if citations:
            begun["citations"] = []
        deltas += _deltas(index, "text_delta", "text", block.get("text", ""))
        deltas += [
            _delta(index, {"type": "citations_delta", "citation": one}) for one in citations or ()
        ]
    elif kind == "thinking":
        begun = {**block, "thinking": "", "signature": ""}
        deltas += _deltas(index, "thinking_delta", "thinking", block.get("thinking", ""))
        signed = {"type": "signature_delta", "signature": block.get("signature", "")}
        deltas.append(_delta(index, signed))
    elif kind in _CALLS and isinstance(block.get("input"), dict):
        begun = {**block, "input": {}}
        given = encode(block["input"]).decode()
        deltas += _deltas(index, "input_json_delta", "partial_json", given)
    yield _event("content_block_start", {"index": index, "content_block": begun})
    yield from deltas
    yield _event("content_block_stop", {"index": index})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", {"index": index, "delta": delta})


def _deltas(index: int, kind: str, name: str, text: str) -> Iterator[bytes]:
    head = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":' % (index, kind.encode(), name.encode())
    )
    return (b"%b%b}}\n\n" % (head, encode(piece)) for piece in pieces(text))


# --- back ---------------------------------------------------------------------------------


class _Reader:
    """Puts blocks together."""

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.blocks: dict[int, dict[str, Any]] = {}
        self.inputs: dict[int, list[str]] = {}
        self.open: set[int] = set()
        self.stopped = False

    def take(self, one: dict[str, Any]) -> None:
        kind = one.get("type")
        if kind == "message_start":
            self.message = dict(one["message"])
        elif kind == "content_block_start":
            self.blocks[one["index"]] = dict(one["content_block"])
            self.open.add(one["index"])
        elif kind == "content_block_delta":
            self._delta(one["index"], one["delta"])
        elif kind == "content_block_stop":
            self.open.discard(one["index"])
        elif kind == "message_delta":
            self._end(one)
        elif kind == "message_stop":
            self.stopped = True

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        block, kind = self.blocks[index], delta["type"]
        if kind in _SAID:
            name = _SAID[kind]
            if not isinstance(block[name], Joined):
                block[name] = Joined((block[name],))
            block[name].append(delta[name])
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "citations_delta":
            if not block.get("citations"):
                block["citations"] = []
            block["citations"].append(delta["citation"])
        elif kind == "input_json_delta":
            self.inputs.setdefault(index, []).append(delta["partial_json"])
        else:
            raise StreamError("a delta of an unknown kind")

    def _end(self, one: dict[str, Any]) -> None:
        if self.message is None:
            raise StreamError("no message has begun")
        for name, value in one["delta"].items():
            if value is not None or name not in self.message:
                self.message[name] = value
        more = {
            name: value for name, value in (one.get("usage") or {}).items() if value is not None
        }
        if more:
            self.message["usage"] = {**(self.message.get("usage") or {}), **more}
        for name, value in one.items():
            if name not in ("type", "delta", "usage"):
                self.message[name] = value

    def whole(self) -> dict[str, Any] | None:
        if self.message is None or not self.stopped or self.open:
            return None
        if self.message.get("stop_reason") is None:
            return None
        for index, given in self.inputs.items():
            if text := "".join(given):
                self.blocks[index]["input"] = msgspec.json.decode(text)
        content = [settled(self.blocks[index]) for index in sorted(self.blocks)]
        return {**self.message, "content": content}


def read(stream: bytes) -> dict[str, Any] | None:
    """The message of events. None: they did not come to their end."""
    reader = _Reader()
    for one in objects(stream):
        reader.take(one)
    return reader.whole()
