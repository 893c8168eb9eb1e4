"""The events of a streamed response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from extproc.simulator.chat import Ask, Frame, Reply
from extproc.simulator.openai_message import cut
from extproc.simulator.openai_stream import padding
from extproc.simulator.responses_items import Own, output_of, response_of, status_of

_EMPTY: dict[str, dict[str, Any]] = {
    "reasoning": {"summary": []},
    "message": {"content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "web_search_call": {},
}
"""What an item of that type is before its parts come."""


class Stream:
    """Builds the events of one stream, numbered from 0."""

    def __init__(self, ask: Ask, reply: Reply) -> None:
        self._ask = ask
        self._reply = reply
        self._own: Own = ask.own
        self._n = -1

    def frames(self) -> Iterator[Frame]:
        """Every event in order."""
        ask, reply = self._ask, self._reply
        waits = bool(self._own.body.background)
        first = "queued" if waits else "in_progress"
        for name in ("created", "queued", "in_progress") if waits else ("created", "in_progress"):
            status = "in_progress" if name == "in_progress" else first
            yield self._event(f"response.{name}", {"response": response_of(ask, reply, status)})
        status = status_of(reply)
        if status != "failed":
            for index, item in enumerate(output_of(ask, reply)):
                yield from self._item(index, item)
        yield self._event(f"response.{status}", {"response": response_of(ask, reply)})

    def _event(self, kind: str, fields: dict[str, Any], *, content: bool = False) -> Frame:
        self._n += 1
        event = {"type": kind, "sequence_number": self._n, **fields}
        if self._ask.obfuscate and "delta" in fields:
            event["obfuscation"] = padding(self._n)
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(event)), content

    def _item(self, index: int, item: dict[str, Any]) -> Iterator[Frame]:
        kind = item["type"]
        begun = {**item, **_EMPTY[kind]}
        if kind == "reasoning":
            begun.pop("content", None)
        if "status" in item:
            begun["status"] = "in_progress"
        head = {"output_index": index, "item": begun}
        called = kind in ("function_call", "custom_tool_call")
        yield self._event("response.output_item.added", head, content=called)
        at = {"item_id": item["id"], "output_index": index}
        match kind:
            case "reasoning":
                yield from self._reasoning(at, item)
            case "message":
                yield from self._message(at, item["content"][0])
            case "web_search_call":
                for step in ("in_progress", "searching", "completed"):
                    yield self._event(f"response.web_search_call.{step}", at)
            case _:
                yield from self._call(at, item)
        yield self._event("response.output_item.done", {"output_index": index, "item": item})

    def _reasoning(self, at: dict[str, Any], item: dict[str, Any]) -> Iterator[Frame]:
        """A summary; of a self-hosted server, the reasoning itself."""
        if not self._reply.thinking:
            return
        summary = bool(item["summary"])
        part = (item["summary"] if summary else item["content"])[0]
        at = at | {"summary_index" if summary else "content_index": 0}
        outer = "response.reasoning_summary_part" if summary else "response.content_part"
        inner = "response.reasoning_summary_text" if summary else "response.reasoning_text"
        yield self._event(f"{outer}.added", {**at, "part": {**part, "text": ""}})
        for piece in self._reply.thinking:
            yield self._event(f"{inner}.delta", {**at, "delta": piece}, content=True)
        yield self._event(f"{inner}.done", {**at, "text": part["text"]})
        yield self._event(f"{outer}.done", {**at, "part": part})

    def _message(self, at: dict[str, Any], part: dict[str, Any]) -> Iterator[Frame]:
        at = at | {"content_index": 0}
        if part["type"] == "refusal":
            yield self._event("response.content_part.added", {**at, "part": part | {"refusal": ""}})
            for piece in self._reply.pieces:
                yield self._event("response.refusal.delta", {**at, "delta": piece}, content=True)
            yield self._event("response.refusal.done", {**at, "refusal": part["refusal"]})
        else:
            yield from self._text(at, part)
        yield self._event("response.content_part.done", {**at, "part": part})

    def _text(self, at: dict[str, Any], part: dict[str, Any]) -> Iterator[Frame]:
        begun = part | {"text": "", "annotations": [], "logprobs": []}
        yield self._event("response.content_part.added", {**at, "part": begun})
        shown = part["logprobs"]
        for n, piece in enumerate(self._reply.pieces):
            yield self._event(
                "response.output_text.delta",
                {**at, "delta": piece, "logprobs": shown[n : n + 1]},
                content=True,
            )
        for n, one in enumerate(part["annotations"]):
            yield self._event(
                "response.output_text.annotation.added",
                {**at, "annotation_index": n, "annotation": one},
            )
        done = {**at, "text": part["text"], "logprobs": shown}
        yield self._event("response.output_text.done", done)

    def _call(self, at: dict[str, Any], item: dict[str, Any]) -> Iterator[Frame]:
        custom = item["type"] == "custom_tool_call"
        key = "input" if custom else "arguments"
        name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        for piece in cut(item[key]):
            yield self._event(f"{name}.delta", {**at, "delta": piece}, content=True)
        yield self._event(f"{name}.done", {**at, key: item[key]})
