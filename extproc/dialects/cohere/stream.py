"""Cohere's streams."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from extproc.dialects import Failure, Fault, Reply, errors, text
from extproc.dialects.chat.completion import (
    CalledFunction,
    ReasoningDetail,
    ToolCall,
    Writer,
)
from extproc.dialects.cohere.problems import of_error
from extproc.dialects.cohere.received import (
    BROKEN,
    FINISH,
    TOLD,
    Call,
    Citation,
    Content,
    Delta,
    Function,
    Piece,
    Told,
    cites,
    plan,
    probabilities,
    thinking,
    usage_of,
)
from extproc.dialects.reader import EventReader
from extproc.dialects.sse import Event

_DELTA: Final = re.compile(
    rb"(?:event: content-delta\n)?"
    rb'data: \{"type":"content-delta","index":(?:0|[1-9][0-9]{0,5}),'
    rb'"delta":\{"message":\{"content":\{"(?:text|(thinking))":(%b)\}\}\}\}\n\n' % text.PLAIN
)
"""The commonest events exactly as Cohere writes them: their string needs no decoding. Whatever else
an event is, the decoder reads it."""


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`."""

    skims = True

    def __init__(self, writer: Writer, created: int, reply: Reply) -> None:
        super().__init__(writer)
        self._created = created
        self._model = reply.model
        self._json_tool = reply.json_tool
        self._started = False
        self._calls: dict[int, int] = {}
        """Number of a call by the index of its events."""
        self._unsaid: set[int] = set()
        """Indices of calls of which no arguments have come."""
        self._json: int | None = None
        """The index of the call whose arguments are the answer's text."""
        self._thoughts: list[bytes] = []
        self._kind: Callable[[str], ReasoningDetail] = thinking
        self._text = False
        self._steps: dict[str, Callable[[Told, Piece], bytes]] = {
            "content-start": self._content,
            "content-delta": self._content,
            "tool-plan-delta": self._plan,
            "tool-call-start": self._call,
            "tool-call-delta": self._arguments,
            "tool-call-end": self._call_end,
            "citation-start": self._citation,
        }

    def skim(self, data: bytes, at: int, out: list[bytes]) -> int:
        """See `EventReader`."""
        if not self._started or self.finished:
            return at
        while (found := _DELTA.match(data, at)) is not None:
            kind, literal = found.groups()
            if literal == text.EMPTY or not (literal.isascii() or text.is_utf8(literal)):
                break
            if kind is not None:
                written = self._think(literal, thinking)
            elif self._thoughts:
                break
            else:
                self._text = True
                written = self.writer.text(literal)
            if written:
                self.content = True
            out.append(written)
            at = found.end()
        return at

    def event(self, event: Event) -> bytes:
        """One event of the stream. Raises msgspec.MsgspecError when it is none."""
        if self.finished or event.data == b"[DONE]":
            return b""
        read = TOLD.decode(event.data)
        if not self._started:
            self._started = True
            id_ = f"chatcmpl-{read.id or ''}"
            start = self.writer.start(id_, self._created, self._model) + self.writer.choice()
            return start + self._step(read)
        return self._step(read)

    def cut(self) -> bytes:
        """Usage comes with the last event alone."""
        return b""

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _step(self, read: Told) -> bytes:
        delta = read.delta or Delta()
        if read.type == "message-end":
            return self._end(delta)
        step = self._steps.get(read.type)
        if step is None:
            return b""
        out = step(read, delta.message or Piece())
        self.content = self.content or bool(out)
        return out

    def _content(self, read: Told, piece: Piece) -> bytes:
        if not isinstance(piece.content, Content):
            return b""
        if thought := text.literal(piece.content.thinking):
            return self._think(thought, thinking)
        if said := text.literal(piece.content.text):
            self._text = True
            likely = None
            if read.logprobs is not None:
                likely = msgspec.json.encode(probabilities([read.logprobs]))
            return self._thought() + self.writer.text(said, logprobs=likely)
        return b""

    def _plan(self, read: Told, piece: Piece) -> bytes:  # noqa: ARG002 - the steps' shape
        thought = text.literal(piece.tool_plan)
        return self._think(thought, plan) if thought else b""

    def _think(self, thought: bytes, made: Callable[[str], ReasoningDetail]) -> bytes:
        out = b"" if made is self._kind else self._thought()
        self._kind = made
        self._thoughts.append(thought[1:-1])
        return out + self.writer.reasoning(thought)

    def _thought(self) -> bytes:
        """The thinking is over: Cohere wants it back whole."""
        if not self._thoughts:
            return b""
        whole = msgspec.json.decode(b'"' + b"".join(self._thoughts) + b'"', type=str)
        self._thoughts = []
        return self.writer.detail(self._kind(whole))

    def _call(self, read: Told, piece: Piece) -> bytes:
        call = piece.tool_calls if isinstance(piece.tool_calls, Call) else Call()
        function = call.function or Function()
        arguments = text.literal(function.arguments)
        self._text = True
        out = self._thought()
        if function.name == self._json_tool and function.name is not None:
            self._json = read.index
            return out + (self.writer.text(arguments) if arguments else b"")
        number = self._calls[read.index] = len(self._calls)
        begun = ToolCall(id=call.id or "", function=CalledFunction(function.name or "", ""))
        out += self.writer.call(number, begun)
        if not arguments:
            self._unsaid.add(read.index)
            return out
        return out + self.writer.arguments(number, arguments)

    def _arguments(self, read: Told, piece: Piece) -> bytes:
        call = piece.tool_calls
        if not isinstance(call, Call) or call.function is None:
            return b""
        arguments = text.literal(call.function.arguments)
        if not arguments:
            return b""
        if read.index == self._json:
            return self.writer.text(arguments)
        if read.index not in self._calls:
            return b""
        self._unsaid.discard(read.index)
        return self.writer.arguments(self._calls[read.index], arguments)

    def _call_end(self, read: Told, piece: Piece) -> bytes:  # noqa: ARG002 - the steps' shape
        """A call without arguments has an empty object of them."""
        if read.index not in self._unsaid:
            return b""
        self._unsaid.discard(read.index)
        return self.writer.arguments(self._calls[read.index], b'"{}"')

    def _citation(self, read: Told, piece: Piece) -> bytes:  # noqa: ARG002 - the steps' shape
        if not isinstance(piece.citations, Citation):
            return b""
        found = list(cites(piece.citations))
        return self.writer.annotations(found) if found else b""

    def _end(self, delta: Delta) -> bytes:
        reason = delta.finish_reason or ""
        if reason in BROKEN or delta.error:
            said = errors.text(delta.error) or f"the model ended with {reason}"
            self.fail(Failure(Fault.SERVER, 502, errors.bounded(said)))
            return b""
        finish = FINISH.get(reason, "stop")
        if finish == "tool_calls" and not self._calls:
            finish = "stop"
        self.refused = finish == "content_filter" and not self._text
        self.content = self.finished = True
        writer = self.writer
        closed = self._thought() + writer.finish(finish)
        return closed + writer.usage(usage_of(delta.usage)) + writer.done()
