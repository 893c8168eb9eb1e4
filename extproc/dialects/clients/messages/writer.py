"""A streamed answer as events of a message.

Its blocks come one after another, while a provider may write several calls at a time: the first
that is not finished goes out as it comes, and what follows it is kept until it is. Texts stay JSON
string literals on their way.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec
from msgspec import Raw

from extproc.dialects.chat.completion import ReasoningDetail, ToolCall, Usage
from extproc.dialects.clients.messages import output, thoughts
from extproc.errors import ClientError

_encode: Final = msgspec.json.encode
_STRING: Final = msgspec.json.Decoder(str)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_EMPTY: Final = b'""'

_TEXT: Final = b'{"type":"text_delta","text":'
_THINKING: Final = b'{"type":"thinking_delta","thinking":'
_INPUT: Final = b'{"type":"input_json_delta","partial_json":'
_ALL: Final = b""
"""Of a block that has no deltas: it begins with all that is in it."""

_TRIES: Final = 64
"""Arguments that are not whole after so many looks are taken to be so at the answer's end only: a
look takes time with their length."""


class _Block:
    """A block that is coming. `kind` is how its deltas begin; `pieces` are the insides of literals
    that have not gone out, or, of a call, all of them."""

    __slots__ = ("cited", "details", "extra", "kind", "pieces", "signature", "start", "tried")

    def __init__(self, kind: bytes, start: bytes) -> None:
        self.kind = kind
        self.start = start
        self.pieces: list[bytes] = []
        self.cited: list[bytes] = []
        self.details: list[ReasoningDetail] = []
        self.extra: dict[str, dict[str, Any]] = {}
        self.signature: str | None = None
        self.tried = 0
        """How often arguments were read that were not whole."""

    def literal(self) -> bytes:
        return b'"' + b"".join(self.pieces) + b'"'

    @property
    def sealed(self) -> bool:
        """Nothing of the text can follow: where it is from, or its seal, has come."""
        return bool(self.cited or self.details or self.signature)

    def is_whole(self) -> bool:
        """Nothing can follow: arguments of a call are a whole object."""
        if self.kind is not _INPUT:
            return True
        if not self.pieces or not self.pieces[-1].rstrip().endswith(b"}"):
            return False
        if self.tried >= _TRIES:
            return False
        try:
            _OBJECT.decode(_STRING.decode(self.literal()))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.tried += 1
            return False
        return True


class Events:
    """See `extproc.dialects.chat.completion.Writer`. Writes the first answer: the API gives no
    more."""

    def __init__(self) -> None:
        self._count = 0
        """Blocks begun."""
        self._live: _Block | None = None
        """The block that goes out as it comes."""
        self._head = b""
        """How an event with a delta of that block begins."""
        self._flows = False
        """It is text, and more text can go out at once."""
        self._kept: deque[_Block] = deque()
        """Blocks that follow it."""
        self._calls: dict[int, _Block] = {}
        self._details: list[ReasoningDetail] = []
        self._extra: dict[str, dict[str, Any]] = {}
        """What belongs to no block that is open, until the next one begins."""
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._refusal: list[str] = []
        self._answered = False
        """There is text, or a call."""
        self._usage = Usage()
        self._tier: str | None = None
        self._told = False
        """The last of `message_delta` is out."""

    # --- what a provider's reader calls ----------------------------------------------------

    def start(self, id_: str, created: int, model: str) -> bytes:  # noqa: ARG002 - messages have no time
        """See `Writer`."""
        message: dict[str, Any] = {
            "id": output.message_id(id_),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": output.usage(Usage(), None),
        }
        return _event(b"message_start", b'"message":' + _encode(message))

    def choice(self, index: int = 0) -> bytes:  # noqa: ARG002 - the door's shape
        """Blocks begin with what is in them."""
        return b""

    def text(self, text: bytes, index: int = 0, logprobs: bytes | None = None) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        if index:
            return b""
        if self._flows:
            return self._head + text + b"}}\n\n"
        if text == _EMPTY:
            return b""
        self._answered = True
        return self._more(_TEXT, b'{"type":"text","text":"","citations":null}', text)

    def reasoning(self, text: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        if index or text == _EMPTY:
            return b""
        return self._more(_THINKING, _THOUGHT, text)

    def detail(self, detail: ReasoningDetail, index: int = 0) -> bytes:
        """Claude's is a block, or ends one; another's goes into a seal, in the signature of the
        thinking that it belongs to or else in a block of its own."""
        if index:
            return b""
        if thoughts.is_own(detail):
            return self._own(detail)
        thought = self._thinking()
        (self._details if thought is None else thought.details).append(detail)
        return b""

    def refusal(self, text: bytes, index: int = 0) -> bytes:
        """Kept for `stop_details`."""
        if not index:
            self._refusal.append(_STRING.decode(text))
        return b""

    def annotations(self, found: list[dict[str, Any]], index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        block = self._last()
        written = b""
        if block is None or block.kind is not _TEXT:
            block = _Block(_TEXT, b'{"type":"text","text":"","citations":null}')
            written = self._begin(block)
        self._flows = False
        out = [written]
        for one in found:
            made = b'{"type":"citations_delta","citation":%b' % _encode(output.citation(one))
            block.cited.append(made)
            if block is self._live:
                out.append(self._delta(made))
        return b"".join(out)

    def image(self, url: str, index: int = 0) -> bytes:  # noqa: ARG002 - the door's shape
        """Images that a model made have no place in a message."""
        return b""

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """See `Writer`."""
        if index:
            return b""
        self._answered = True
        id_ = output.call_id(call.id)
        if isinstance(call.extra_content, dict):
            thought = self._thinking()
            (self._extra if thought is None else thought.extra)[id_] = call.extra_content
        shape = {"type": "tool_use", "id": id_, "name": call.function.name, "input": {}}
        block = self._calls[number] = _Block(_INPUT, _encode(shape))
        written = self._begin(block)
        if call.function.arguments:
            written += self._add(block, _encode(call.function.arguments))
        return written

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        block = None if index else self._calls.get(number)
        if block is None or piece == _EMPTY:
            return b""
        written = self._add(block, piece)
        return written + self._go_on() if self._kept else written

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:
        """Kept for `message_delta`; every block ends."""
        if index:
            return b""
        self._finish, self._stop_sequence = reason, stop_sequence
        return self._end_all()

    def usage(self, usage: Usage, service_tier: str | None = None) -> bytes:
        """With why the answer ended; when the stream was cut, without."""
        self._usage, self._tier = usage, service_tier
        self._told = self._finish is not None
        return self._message_delta()

    def done(self) -> bytes:
        """See `Writer`."""
        written = self._end_all()
        if not self._told:
            self._finish = self._finish or "stop"
            written += self._message_delta()
        return written + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def error(self, error: ClientError) -> bytes:
        """Anthropic's `error` event."""
        return error_event(error)

    # --- blocks ---------------------------------------------------------------------------

    def _last(self) -> _Block | None:
        """The block that what comes belongs to."""
        return self._kept[-1] if self._kept else self._live

    def _thinking(self) -> _Block | None:
        """That block, if it is thinking and not Claude's."""
        block = self._last()
        mine = block is not None and block.kind is _THINKING and block.signature is None
        return block if mine else None

    def _more(self, kind: bytes, start: bytes, text: bytes) -> bytes:
        """More of a text, in the block that is open if it is of this kind."""
        block = self._last()
        written = b""
        if block is None or block.kind is not kind or block.sealed:
            block = _Block(kind, start)
            written = self._begin(block)
        return written + self._add(block, text)

    def _add(self, block: _Block, literal: bytes) -> bytes:
        if block is not self._live:
            block.pieces.append(literal[1:-1])
            return b""
        if block.kind is _INPUT:
            block.pieces.append(literal[1:-1])
        return self._head + literal + b"}}\n\n"

    def _own(self, detail: ReasoningDetail) -> bytes:
        thought = self._thinking()
        if detail.type == "reasoning.text" and thought is not None and not thought.details:
            thought.signature = detail.signature
            return b""
        shape = output.claude_block(detail)
        if shape is None:
            return b""
        if detail.type == "reasoning.text":
            block = _Block(_THINKING, _THOUGHT)
            block.signature = detail.signature
            begun = self._begin(block)
            text = _encode(detail.text or "")
            return begun if text == _EMPTY else begun + self._add(block, text)
        return self._begin(_Block(_ALL, _encode(shape)))

    def _begin(self, block: _Block) -> bytes:
        """Put a block behind all others: it goes out at once if they are whole."""
        if self._details or self._extra:
            data = thoughts.seal(self._details, self._extra)
            self._details, self._extra = [], {}
            self._kept.append(_Block(_ALL, _redacted(data)))
        self._flows = False
        self._kept.append(block)
        return self._go_on()

    def _go_on(self) -> bytes:
        """Begin the blocks whose turn it is."""
        written = []
        while self._kept and (self._live is None or self._live.is_whole()):
            written += [self._end(), self._open(self._kept.popleft())]
        return b"".join(written)

    def _open(self, block: _Block) -> bytes:
        index = self._count
        self._count += 1
        self._live = block
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b'
            % (index, block.kind)
        )
        self._flows = block.kind is _TEXT and not self._kept and not block.cited
        written = _event(
            b"content_block_start", b'"index":%d,"content_block":%b' % (index, block.start)
        )
        if block.pieces:
            written += self._head + block.literal() + b"}}\n\n"
            if block.kind is not _INPUT:
                block.pieces.clear()
        return written + b"".join(map(self._delta, block.cited))

    def _delta(self, delta: bytes) -> bytes:
        """A delta of the live block that is none of its text."""
        return _event(b"content_block_delta", b'"index":%d,"delta":%b}' % (self._count - 1, delta))

    def _end(self) -> bytes:
        """End the live block."""
        block, self._live = self._live, None
        self._flows = False
        if block is None:
            return b""
        written = b""
        if block.kind is _THINKING:
            signature = block.signature
            if signature is None:
                signature = thoughts.seal(block.details, block.extra)
            written = self._signed(signature)
        return written + _event(b"content_block_stop", b'"index":%d' % (self._count - 1))

    def _signed(self, signature: str) -> bytes:
        return self._delta(b'{"type":"signature_delta","signature":%b' % _encode(signature))

    def _end_all(self) -> bytes:
        """End what is open, and all that was kept."""
        if self._details or self._extra:
            data = thoughts.seal(self._details, self._extra)
            self._details, self._extra = [], {}
            self._kept.append(_Block(_ALL, _redacted(data)))
        written = [self._end()]
        while self._kept:
            written += [self._open(self._kept.popleft()), self._end()]
        return b"".join(written)

    def _message_delta(self) -> bytes:
        reason = None
        if self._finish is not None:
            finish = self._finish
            if self._refusal and not self._answered:
                # A refusal in words is one whatever it is said to be.
                finish = "content_filter"
            reason = output.stop_reason(
                finish, calls=bool(self._calls), stop_sequence=self._stop_sequence
            )
        delta = {
            "stop_reason": reason,
            "stop_sequence": self._stop_sequence if reason == "stop_sequence" else None,
            "stop_details": output.stop_details(reason, "".join(self._refusal) or None),
        }
        usage = _encode(output.usage(self._usage, self._tier))
        return _event(b"message_delta", b'"delta":%b,"usage":%b' % (_encode(delta), usage))


_THOUGHT: Final = b'{"type":"thinking","thinking":"","signature":""}'


def _redacted(data: str) -> bytes:
    return _encode({"type": "redacted_thinking", "data": data})


def _event(kind: bytes, fields: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b",%b}\n\n' % (kind, kind, fields)


def error_event(error: ClientError) -> bytes:
    """Anthropic's `error` event."""
    return b"event: error\ndata: %b\n\n" % error.anthropic()
