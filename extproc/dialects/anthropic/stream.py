"""Anthropic's stream of events, read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects import Failure, Reply
from extproc.dialects.anthropic.answer import (
    MessageUsage,
    block_of,
    chat_id,
    explanation,
    finish_of,
    sealed,
    service_tier,
    tally,
)
from extproc.dialects.anthropic.citations import annotation, read
from extproc.dialects.anthropic.problems import of_error
from extproc.dialects.anthropic.turns import FORMAT, SERVER_BLOCKS
from extproc.dialects.chat.completion import (
    CalledFunction,
    Count,
    ReasoningDetail,
    ToolCall,
    Usage,
    Writer,
)
from extproc.dialects.reader import EventReader
from extproc.dialects.sse import Event
from extproc.dialects.text import EMPTY, NONE, PLAIN, encode, is_utf8
from extproc.dialects.text import literal as literal_of
from extproc.dialects.tool_arguments import as_text

_DELTA: Final = re.compile(
    rb"event: content_block_delta\ndata: "
    rb'\{"type":"content_block_delta","index":(0|[1-9][0-9]{0,5}),"delta":\{"type":"'
    rb'(?:text_delta","text|(input_json_delta","partial_json|thinking_delta","thinking))":'
    rb"(%b)\}[ ]*\}[ ]*\n\n" % PLAIN
)
"""The commonest events exactly as Anthropic writes them, down to the blanks that it pads them
with: their string needs no decoding. Whatever else an event is, the decoder reads it."""

_JSON: Final = b'input_json_delta","partial_json'
_TEXT: Final = (
    b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
_WORDS: Final = re.compile(rb'("[^"\\\x00-\x1f]++")\}[ ]*\}[ ]*\n\n')
"""The commonest of all: text without escapes. How it begins, and what comes behind that."""


class _Block(Struct):
    type: str = ""
    text: Raw = NONE
    thinking: Raw = NONE
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")
    citations: Any = None


class _Delta(Struct):
    type: str = ""
    text: Raw = NONE
    thinking: Raw = NONE
    partial_json: Raw = NONE
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: MessageUsage | None = None


class _Event(Struct):
    type: str
    index: Count = 0
    message: _Message | None = None
    content_block: Raw = NONE
    delta: _Delta | None = None
    usage: MessageUsage | None = None
    error: Any = None


class _Open:
    """A block that has begun and not ended."""

    __slots__ = ("began", "block", "citations", "kind", "number", "pieces", "raw", "signature")

    def __init__(self, kind: str, block: _Block, raw: Raw, began: int) -> None:
        self.kind = kind
        """Its type; of tool calls `json` if it stands for the answer, `over` if one did before."""
        self.block = block
        self.raw = raw
        self.began = began
        """Characters of text that came before it."""
        self.number = 0
        self.pieces: list[bytes] | None = None
        """What its deltas added, for those that are read as a whole; for calls, whether any did."""
        self.signature = block.signature
        self.citations = block.citations if isinstance(block.citations, list) else []


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`. `created` in seconds since the epoch."""

    skims = True

    def __init__(self, writer: Writer, created: int, reply: Reply) -> None:
        super().__init__(writer)
        self._created = created
        self._json_tool = reply.json_tool
        self._text = writer.text
        self._begins = _TEXT % 0
        """How events of the block of text that is coming begin."""
        self._started = False
        self._usage = Usage()
        self._tier: str | None = None
        self._billed = False
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._thoughts = 0
        self._answered = False
        """A tool that stands for the answer was called."""
        self._held: list[bytes] = []
        """Text that counts only if no such tool is called."""
        self._spoke = False
        """There was text or a call."""
        self._length = 0
        """Characters of text so far."""

    def skim(self, data: bytes, at: int, out: list[bytes]) -> int:
        """See `EventReader`."""
        if not self._started or self.finished:
            return at
        size, text, begins = len(data), self._text, self._begins
        plain = self._json_tool is None
        said = 0
        while at < size:
            if plain and data.startswith(begins, at):
                words = _WORDS.match(data, at + len(begins))
                if words is not None and (literal := words[1]).isascii():
                    said += len(literal) - 2
                    out.append(text(literal))
                    at = words.end()
                    continue
            if (found := _DELTA.match(data, at)) is None:
                break
            kind, literal = found.group(2, 3)
            if literal == EMPTY or not (literal.isascii() or is_utf8(literal)):
                break
            if kind is None:
                out.append(self._say(literal))
            elif kind == _JSON:
                out.append(self._arguments(int(found[1]), literal))
            else:
                out.append(self._think(int(found[1]), literal))
            at = found.end()
        if said:
            self.content = self._spoke = True
            self._length += said
        return at

    def event(self, event: Event) -> bytes:
        """One event of the stream. Raises msgspec.MsgspecError or ValueError when it is none."""
        if self.finished:
            return b""
        found = _EVENT.decode(event.data)
        step = _STEPS.get(found.type)
        return b"" if step is None else step(self, found)

    def cut(self) -> bytes:
        """The stream ended without its last event: what is known of the usage still goes out."""
        if not self._started:
            return b""
        held = self._release()
        return held + self.writer.usage(self._usage, self._tier) if self._billed else held

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    # --- the message ----------------------------------------------------------------------

    def _start(self, event: _Event) -> bytes:
        message = event.message or _Message()
        if message.usage is not None:
            self._usage = tally(message.usage, self._usage)
            self._tier = service_tier(message.usage)
        if self._started:
            return b""
        self._started = True
        begun = self.writer.start(chat_id(message.id), self._created, message.model)
        return begun + self.writer.choice()

    def _must_have_started(self) -> None:
        if not self._started:
            raise msgspec.ValidationError("an event before message_start")

    def _ending(self, event: _Event) -> bytes:
        self._must_have_started()
        if event.usage is not None:
            self._usage = tally(event.usage, self._usage)
            self._billed = True
        delta = event.delta or _Delta()
        if delta.stop_reason is None:
            return b""
        self.content = True
        self.refused = delta.stop_reason == "refusal" and not self._spoke
        said = self._release()
        if why := explanation(delta.stop_details):
            said += self.writer.refusal(encode(why))
        finish = finish_of(delta.stop_reason, calls=self._calls > 0, answered=self._answered)
        return said + self.writer.finish(finish, 0, delta.stop_sequence)

    def _stop(self, _event: _Event) -> bytes:
        self._must_have_started()
        self.finished = True
        return self.writer.usage(self._usage, self._tier) + self.writer.done()

    def _error(self, event: _Event) -> bytes:
        self.fail(of_error(200, {"error": event.error}, {}))
        return b""

    # --- its blocks -----------------------------------------------------------------------

    def _block_start(self, event: _Event) -> bytes:
        self._must_have_started()
        block = block_of(event.content_block, _BLOCK) if event.content_block else _Block()
        opened = _Open(block.type, block, event.content_block, self._length)
        self._open[event.index] = opened
        if block.type == "text":
            self._begins = _TEXT % event.index
            literal = literal_of(block.text)
            return self._say(literal) if literal else b""
        if block.type == "thinking":
            if self._thoughts:
                opened.pieces = []
            self._thoughts += 1
            literal = literal_of(block.thinking)
            return self._think(event.index, literal) if literal else b""
        if block.type == "redacted_thinking":
            self.content = True
            return self.writer.detail(sealed(block.data or "", event.index))
        if block.type == "tool_use":
            return self._call(opened)
        if block.type in SERVER_BLOCKS:
            opened.pieces = []
        return b""

    def _call(self, opened: _Open) -> bytes:
        self.content = self._spoke = True
        name = opened.block.name or ""
        if name and name == self._json_tool:
            opened.kind = "over" if self._answered else "json"
            self._answered = True
            self._held.clear()
            return b""
        opened.number = self._calls
        self._calls += 1
        called = CalledFunction(name, "")
        return self.writer.call(opened.number, ToolCall(id=opened.block.id or "", function=called))

    def _delta(self, event: _Event) -> bytes:
        delta = event.delta or _Delta()
        kind = delta.type
        if kind == "text_delta":
            literal = literal_of(delta.text)
            return self._say(literal) if literal else b""
        if kind == "input_json_delta":
            literal = literal_of(delta.partial_json)
            return self._arguments(event.index, literal) if literal else b""
        if kind == "thinking_delta":
            literal = literal_of(delta.thinking)
            return self._think(event.index, literal) if literal else b""
        opened = self._open.get(event.index)
        if opened is not None:
            if kind == "signature_delta" and delta.signature is not None:
                opened.signature = (opened.signature or "") + delta.signature
            elif kind == "citations_delta" and delta.citation is not None:
                opened.citations.append(delta.citation)
        return b""

    def _say(self, literal: bytes) -> bytes:
        self._must_have_started()
        self.content = self._spoke = True
        if b"\\" in literal:
            self._length += len(_STRING.decode(literal))
        else:
            self._length += (len(literal) if literal.isascii() else len(literal.decode())) - 2
        if self._json_tool is None:
            return self._text(literal)
        if not self._answered:
            self._held.append(literal)
        return b""

    def _think(self, index: int, literal: bytes) -> bytes:
        self._must_have_started()
        self.content = True
        opened = self._open.get(index)
        if opened is not None and opened.pieces is not None:
            opened.pieces.append(literal)
        return self.writer.reasoning(literal)

    def _arguments(self, index: int, literal: bytes) -> bytes:
        opened = self._open.get(index)
        if opened is None:
            return b""
        if opened.kind == "tool_use":
            opened.pieces = _SOME
            return self.writer.arguments(opened.number, literal)
        if opened.kind == "json":
            opened.pieces = _SOME
            return self.writer.text(literal)
        if opened.pieces is not None:
            opened.pieces.append(literal)
        return b""

    def _block_end(self, event: _Event) -> bytes:
        opened = self._open.pop(event.index, None)
        if opened is None:
            return b""
        kind = opened.kind
        if kind == "text" and opened.citations and not self._answered:
            began, end = opened.began, self._length
            found = [annotation(one, began, end) for one in read(opened.citations)]
            return self.writer.annotations(found)
        if kind in ("tool_use", "json") and opened.pieces is None:
            # Arguments that did not come in pieces stood in the block, or there are none.
            literal = encode(as_text(opened.block.input))
            return (
                self.writer.text(literal)
                if kind == "json"
                else self.writer.arguments(opened.number, literal)
            )
        if kind == "thinking" and opened.signature:
            return self.writer.detail(_signed(opened, event.index))
        if kind in SERVER_BLOCKS:
            return self.writer.detail(sealed(_whole(opened), event.index, opened.block.id))
        return b""

    def _release(self) -> bytes:
        """Text that was held back, now that no tool was called for it."""
        held = b"".join(map(self.writer.text, self._held))
        self._held.clear()
        return held


_STEPS: Final[dict[str, Callable[[Reader, _Event], bytes]]] = {
    "message_start": Reader._start,  # noqa: SLF001 - its own methods, once for all readers
    "content_block_start": Reader._block_start,  # noqa: SLF001
    "content_block_delta": Reader._delta,  # noqa: SLF001
    "content_block_stop": Reader._block_end,  # noqa: SLF001
    "message_delta": Reader._ending,  # noqa: SLF001
    "message_stop": Reader._stop,  # noqa: SLF001
    "error": Reader._error,  # noqa: SLF001
}
"""By event type; others (`ping`, and what is to come) say nothing to the client."""

_SOME: Final[list[bytes]] = []
"""Stands for pieces that have gone out."""


def _signed(opened: _Open, index: int) -> ReasoningDetail:
    """The seal of a block of thinking. The text of the first is all of `reasoning_content` that
    is not told to be of a later one."""
    said = None
    if opened.pieces is not None:
        said = "".join(map(_STRING.decode, opened.pieces))
    return ReasoningDetail(
        type="reasoning.text", text=said, signature=opened.signature, format=FORMAT, index=index
    )


def _whole(opened: _Open) -> str:
    """A block of a server's tool, with the input that came in pieces."""
    raw = bytes(opened.raw)
    if not opened.pieces:
        return raw.decode()
    block: dict[str, Raw] = _FIELDS.decode(raw)
    given = "".join(map(_STRING.decode, opened.pieces)).encode()
    try:
        _FIELDS.decode(given)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return raw.decode()
    return msgspec.json.encode({**block, "input": Raw(given)}).decode()


_EVENT: Final = msgspec.json.Decoder(_Event)
_BLOCK: Final = msgspec.json.Decoder(_Block)
_STRING: Final = msgspec.json.Decoder(str)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
