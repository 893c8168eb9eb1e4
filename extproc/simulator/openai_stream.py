"""The events of a streamed chat completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Ask, Frame, Reply
from extproc.simulator.openai_message import (
    audio_of,
    citations,
    cut,
    finish_of,
    logprobs_of,
    moderation,
    old_way,
    searches,
    sound,
    speaks,
)
from extproc.simulator.openai_service import Service, tier

_PADDING = "kT9xQ2mZpL4sVb7R"


def padding(n: int) -> str:
    """The nth event's obfuscation: random characters that hide how long the tokens are."""
    return _PADDING[: 4 + n * 7 % 12]


def content_events(ask: Ask, reply: Reply) -> int:
    """Text pieces, heads of calls and pieces of arguments, for each choice."""
    calls = sum(1 + len(cut(call.arguments)) for call in reply.calls)
    return ask.choices * (len(reply.thinking) + len(reply.pieces) + calls)


class Stream:
    """Builds the events of one stream. The parts that do not change are encoded once."""

    def __init__(
        self, service: Service, ask: Ask, reply: Reply, usage: dict[str, Any] | None
    ) -> None:
        self._service = service
        self._ask = ask
        self._chat: wire.Body = ask.own
        self._reply = reply
        self._usage = usage
        self._fields: dict[str, Any] = {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.model,
        }
        if service.reports_system:
            self._fields["service_tier"] = tier(self._chat.service_tier)
            self._fields["system_fingerprint"] = "fp_51e1070cf2"
        fields = service.whole(self._fields, reply)
        self._head = b"data: " + msgspec.json.encode(fields)[:-1] + b',"choices":'
        self._tail = b',"usage":null' if ask.include_usage else b""
        self._n = 0

    def frames(self) -> Iterator[Frame]:
        """Every event in order."""
        ask, reply, service = self._ask, self._reply, self._service
        choices = range(ask.choices)
        yield from service.opening(self._fields)
        opening = None if reply.calls and not reply.pieces else ""
        marks = service.marks(reply, first=True, usage=None)
        for n in choices:
            first = service.message({"role": "assistant", "content": opening, "refusal": None})
            yield self._delta(n, first, marks=marks if n == 0 else None), False
        yield from self._content()
        finish = finish_of(self._chat, reply)
        marks = service.marks(reply, first=False, usage=self._usage)
        for n in choices:
            last = n == ask.choices - 1
            usage = self._usage if last and service.usage_at_finish else None
            yield self._delta(n, {}, finish, marks=marks if last else None, usage=usage), False
        if self._chat.moderation is not None:
            found = moderation(self._chat.moderation.model)
            yield self._event([], marks={"moderation": found}), False
        if ask.include_usage and self._usage is not None and not service.usage_at_finish:
            yield self._event([], self._usage), False
        yield b"data: [DONE]\n\n", False

    # events

    def _event(self, choices: Any, usage: Any = None, marks: dict[str, Any] | None = None) -> bytes:
        text = self._head + msgspec.json.encode(choices)
        text += self._tail if usage is None else b',"usage":' + msgspec.json.encode(usage)
        if marks:
            text += b"," + msgspec.json.encode(marks)[1:-1]
        if self._ask.obfuscate:
            self._n += 1
            text += b',"obfuscation":"' + padding(self._n).encode() + b'"'
        return text + b"}\n\n"

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        finish: str | None = None,
        *,
        logprobs: Any = None,
        marks: dict[str, Any] | None = None,
        usage: Any = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._event([self._service.choice(choice)], usage, marks)

    # content

    def _content(self) -> Iterator[Frame]:
        choices = range(self._ask.choices)
        for piece in self._reply.thinking:
            for n in choices:
                yield self._delta(n, self._service.thought(piece, delta=True)), True
        if speaks(self._chat) and self._reply.finish != "refusal" and self._reply.pieces:
            yield from self._audio()
        else:
            yield from self._text()
        for position in range(len(self._reply.calls)):
            for n in choices:
                yield from self._call(n, position)

    def _text(self) -> Iterator[Frame]:
        ask, reply = self._ask, self._reply
        choices = range(ask.choices)
        key = "refusal" if reply.finish == "refusal" else "content"
        top = self._chat.top_logprobs or 0
        for piece in reply.pieces:
            shown = logprobs_of(reply, (piece,), top) if ask.logprobs else None
            for n in choices:
                yield self._delta(n, {key: piece}, logprobs=shown), True
        if searches(self._chat) and reply.pieces:
            for n in choices:
                yield self._delta(n, {"annotations": citations(reply.text)}), False

    def _audio(self) -> Iterator[Frame]:
        """Words and sound by turns, then when it expires."""
        made = audio_of(self._reply)
        for n in range(self._ask.choices):
            yield self._delta(n, {"audio": {"id": made["id"]}}), False
            for piece in self._reply.pieces:
                yield self._delta(n, {"audio": {"transcript": piece}}), True
                yield self._delta(n, {"audio": {"data": sound(piece)}}), False
            yield self._delta(n, {"audio": {"expires_at": made["expires_at"]}}), False

    def _call(self, choice: int, position: int) -> Iterator[Frame]:
        call = self._reply.calls[position]
        if old_way(self._chat):
            first: dict[str, Any] = {"function_call": {"name": call.name, "arguments": ""}}
            parts: list[Any] = [
                {"function_call": {"arguments": piece}} for piece in cut(call.arguments)
            ]
        else:
            kind, key = ("custom", "input") if call.custom else ("function", "arguments")
            head = {"index": position, "id": f"call_{call.id}", "type": kind}
            first = {"tool_calls": [head | {kind: {"name": call.name, key: ""}}]}
            parts = [
                {"tool_calls": [{"index": position, kind: {key: piece}}]}
                for piece in cut(call.arguments)
            ]
        yield self._delta(choice, first), True
        for part in parts:
            yield self._delta(choice, part), True
