"""The meter of Anthropic's Messages API."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from extproc.accounting.meter import UNREADABLE, Meter
from extproc.accounting.usage import Tree, estimated, usage_of
from extproc.catalogue import estimate
from extproc.records import Usage


class _Message(msgspec.Struct):
    model: Any = None
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    content_block: Any = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class MessagesMeter(Meter):
    """Events of a message; `message_stop` ends them.

    Figures begin in `message_start`; those of `message_delta` are the sums up to there, and what
    they leave out still stands. Only with these is usage known: before, the input is, and the
    output is estimated.
    """

    __slots__ = ("_begun", "_figures")

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._begun: Usage | None = None  # what `message_start` told
        self._figures: Tree = {}  # the sums so far

    def billed(self) -> Usage:
        """The provider's figures; before the last of them, its input and what came so far."""
        if self.usage is not None:
            return self.usage
        begun = self._begun
        if begun is None or not begun.input:
            return estimated(self.input_estimate, self._ascii, self._wide)
        output = max(begun.output, estimate(self._ascii, self._wide))
        return replace(begun, output=output, estimated=True)

    def _payload(self, data: bytes, event: bytes, name: bytes) -> bytes:
        try:
            found = _decode(data)
        except UNREADABLE:
            return event
        kind = found.type or name.decode("ascii", "replace")
        if kind == "content_block_delta":
            if type(found.delta) is dict:
                self._piece(found.delta)
        elif kind == "content_block_start":
            if type(found.content_block) is dict:
                self._block(found.content_block)
        elif kind == "message_delta":
            self._sums(found)
        elif kind == "message_start":
            self._start(found.message)
        elif kind == "message_stop":
            return self._finish(event)
        elif kind == "error" or found.error is not None:
            self.failed = True
        return event

    def _start(self, message: _Message | None) -> None:
        if message is None:
            return
        if self.model is None and type(message.model) is str:
            self.model = message.model
        if type(message.usage) is dict:
            self._figures = message.usage
            self._begun = usage_of(message.usage, "messages")

    def _sums(self, found: _Event) -> None:
        if type(found.delta) is dict and type(reason := found.delta.get("stop_reason")) is str:
            self.finish_reason = reason
            self.content = True
        if type(found.usage) is dict:
            known = {name: figure for name, figure in found.usage.items() if figure is not None}
            self._figures = self._figures | known
            self.usage = usage_of(self._figures, "messages") or self.usage

    def _block(self, block: Tree) -> None:
        """A block begins: a tool call by its name, text mostly empty."""
        kind = block.get("type")
        if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self._produced(block.get("name"))
        elif kind == "redacted_thinking":
            self._produced()
        elif text := block.get("text") or block.get("thinking"):
            self._produced(text)

    def _piece(self, delta: Tree) -> None:
        if text := delta.get("text") or delta.get("thinking") or delta.get("partial_json"):
            self._produced(text)
