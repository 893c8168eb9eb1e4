"""Bedrock's streams."""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Callable
from functools import lru_cache
from struct import Struct as Layout
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Raw

from extproc.dialects import Failure, Fault, Reply, errors, text
from extproc.dialects.bedrock import models
from extproc.dialects.bedrock.problems import of_error
from extproc.dialects.bedrock.received import (
    BROKEN,
    PIECE,
    SERVERS_OWN,
    Piece,
    Thought,
    annotation,
    finish_of,
    picture,
    sealed,
    stop_of,
    usage_of,
)
from extproc.dialects.chat.completion import CalledFunction, ReasoningDetail, ToolCall, Writer
from extproc.dialects.event_stream import MAX_MESSAGE, FramingError, Message, Parser, TruncatedError
from extproc.dialects.reader import HEAD, EventReader
from extproc.dialects.sse import Event
from extproc.dialects.tool_arguments import as_text

_PRELUDE: Final = Layout(">III")
_CHECKSUM: Final = Layout(">I")
_AROUND: Final = _PRELUDE.size + _CHECKSUM.size


def _header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2, "big") + value


_HEADERS: Final = (
    _header(b":event-type", b"contentBlockDelta")
    + _header(b":content-type", b"application/json")
    + _header(b":message-type", b"event")
)
_DELTA: Final = re.compile(
    rb'\{"contentBlockIndex":(0|[1-9][0-9]{0,5}),"delta":\{'
    rb'(?:"text":|("toolUse":\{"input":|"reasoningContent":\{"text":))'
    rb'(%b)(?(2)\})\}(?:,"p":"[a-zA-Z0-9]*")?\}' % text.PLAIN
)
"""The commonest messages exactly as Bedrock writes them, down to what it pads them with: their
string needs no decoding. Whatever else a message is, the decoder reads it."""
_INPUT: Final = b'"toolUse":{"input":'
_TEXT: Final = re.compile(rb'\{"contentBlockIndex":[0-9],"delta":\{"text":')
_WORDS: Final = re.compile(rb'"[^"\\\x00-\x1f]++"')
_PADDING: Final = string.ascii_letters.encode() + string.digits.encode()
_ENDS: Final = frozenset(
    {b"}}", *(b'},"p":"%b"}' % _PADDING[:size] for size in range(len(_PADDING) + 1))}
)
"""The commonest of all: text without escapes. How it begins, is said, and ends."""

_HEAD: Final = _PRELUDE.size + len(_HEADERS)
_LOOK: Final = _HEAD + len(b'{"contentBlockIndex":0,"delta":{"text":')


@lru_cache(maxsize=1024)
def _begun(head: bytes) -> tuple[int, int, bool] | None:
    """Lengths and headers of a delta, and how it begins: the message's length, the checksum so
    far, and whether it is one of text, whose beginning is in the checksum then. None: they are
    those of another message, or wrong. There are as many as there are lengths of deltas, and most
    are short."""
    if len(head) < _LOOK or head[_PRELUDE.size : _HEAD] != _HEADERS:
        return None
    total, headers, told = _PRELUDE.unpack_from(head)
    if headers != len(_HEADERS) or not _LOOK + _CHECKSUM.size <= total <= MAX_MESSAGE:
        return None
    checksum = crc32(head[:8])
    if checksum != told:
        return None
    is_text = _TEXT.match(head, _HEAD) is not None
    return total, crc32(head[8:] if is_text else head[8:_HEAD], checksum), is_text


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`. The bytes are Amazon's event stream; the last event is
    `metadata`, with the usage."""

    def __init__(
        self,
        writer: Writer,
        created: int,
        mint: Callable[[], str],
        reply: Reply,
    ) -> None:
        super().__init__(writer)
        self._frames = Parser()
        self._created = created
        self._mint = mint
        self._model = reply.model
        self._json_tool = reply.json_tool
        self._format = models.of(reply.model).format
        self._started = False
        self._within = False
        """A message, or its lengths, has begun and not ended."""
        self._calls: dict[int, int] = {}
        """Number of a call by the index of its block."""
        self._unsaid: dict[int, Raw] = {}
        """Input of a call that has not come in pieces."""
        self._json: int | None = None
        """The block whose input is the answer's text."""
        self._images: dict[int, tuple[str, list[str]]] = {}
        """Format and pieces, each base64 of its own, of an image by the index of its block."""
        self._text = False
        self._size = 0
        self._cited = 0
        self._ended = False
        self._steps: dict[bytes, Callable[[Piece], bytes]] = {
            b"contentBlockDelta": self._delta,
            b"contentBlockStart": self._block,
            b"contentBlockStop": self._block_end,
            b"messageStart": lambda _: b"",
            b"messageStop": self._stop,
            b"metadata": self._metadata,
        }

    # --- framing --------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return what can go to the client now."""
        if self._failed or not data:
            return b""
        if self._head is not None and (self._head or data)[:1] == b"{":
            # An error object in place of a stream, whose first byte is that of a length under
            # 16 MB. Read when it is whole.
            self._head += data[: HEAD - len(self._head)]
            return b""
        out: list[bytes] = []
        at, size = 0, len(data)
        while at < size and self.failure is None:
            if self._within:
                end = at + max(self._frames.missing, 1)
            elif self._started and (at := self.skim(data, at, out)) == size:
                break
            else:
                # One message, which is none of those or not whole.
                end = at + max(int.from_bytes(data[at : at + 4]), _AROUND)
            out.append(self._read(data[at:end]))
            self._within = not self._frames.between
            at = end
        return out[0] if len(out) == 1 else b"".join(out)

    def skim(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Translate whole messages of the commonest kind, as in `EventReader`. Both checksums are
        checked; what is wrong is left to the parser to tell."""
        if self.finished:
            return at
        size, write, unpack = len(data), self.writer.text, _CHECKSUM.unpack_from
        said = 0
        while at < size and (known := _begun(data[at : at + _LOOK])) is not None:
            total, checksum, is_text = known
            start = at + (_LOOK if is_text else _HEAD)
            after = at + total
            if after > size:
                break
            end = after - 4
            if crc32(data[start:end], checksum) != unpack(data, end)[0]:
                break
            if is_text and (words := _WORDS.match(data, start)) is not None:
                literal = words[0]
                if literal.isascii() and data[words.end() : end] in _ENDS:
                    said += len(literal) - 2
                    out.append(write(literal))
                    at = after
                    continue
            made = self._skimmed(data, at + _HEAD, end)
            if made is None:
                break
            out.append(made)
            at = after
        if said:
            self.content = self._text = True
            self._size += said
        return at

    def _skimmed(self, data: bytes, at: int, end: int) -> bytes | None:
        """A payload that is one of the commonest; None: it is none of them."""
        found = _DELTA.fullmatch(data, at, end)
        if found is None:
            return None
        kind, literal = found.group(2, 3)
        if literal == text.EMPTY or not (literal.isascii() or text.is_utf8(literal)):
            return None
        if kind is None:
            return self._say(literal)
        if kind == _INPUT:
            return self._piece(int(found[1]), literal)
        self.content = True
        return self.writer.reasoning(literal)

    def _read(self, data: bytes) -> bytes:
        if self._head is not None and len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        try:
            messages = self._frames.feed(data)
        except FramingError as error:
            written = self._translate([_event(one) for one in error.messages])
            self._broken(error)
            return written
        return self._translate([_event(one) for one in messages]) if messages else b""

    def end(self) -> bytes:
        """The provider ended its stream."""
        if self._failed:
            return b""
        try:
            self._frames.end()
        except TruncatedError as error:
            # What a stream was cut in the middle of is no error of its own.
            if self._head is not None:
                self._broken(error)
                return b""
        if self._head is not None:
            self.fail(self._no_stream(bytes(self._head)))
        return self._last()

    def _broken(self, error: FramingError) -> None:
        """The bytes are no event stream."""
        if not self._failed:
            self.fail(Failure(Fault.BAD_ANSWER, 502, str(error)))

    # --- events ---------------------------------------------------------------------------

    def event(self, event: Event) -> bytes:
        """One event of the stream. Raises msgspec.MsgspecError when it is none."""
        if event.type.startswith(_EXCEPTION):
            name = event.type.removeprefix(_EXCEPTION).decode("ascii", "replace")
            tree = errors.mapping(errors.parsed(event.data))
            self.fail(of_error(200, tree, {}, event.data, name))
            return b""
        step = self._steps.get(event.type)
        if step is None or self.finished:
            return b""
        out = b"" if self._started else self._start()
        return out + step(PIECE.decode(event.data))

    def cut(self) -> bytes:
        """The stream ended after its message and before its metadata."""
        if not self._ended:
            return b""
        self.finished = True
        return self.writer.done()

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _start(self) -> bytes:
        self._started = True
        id_ = f"chatcmpl-{self._mint()}"
        return self.writer.start(id_, self._created, self._model) + self.writer.choice()

    def _block(self, read: Piece) -> bytes:
        if read.start is not None and read.start.image is not None:
            self._images[read.content_block_index] = (read.start.image.format, [])
        use = read.start.tool_use if read.start else None
        if use is None or use.type == SERVERS_OWN:
            return b""
        self.content = self._text = True
        if use.name == self._json_tool and use.name is not None:
            self._json = read.content_block_index
            return b""
        number = self._calls[read.content_block_index] = len(self._calls)
        self._unsaid[read.content_block_index] = use.input
        function = CalledFunction(use.name or "", "")
        return self.writer.call(number, ToolCall(id=use.tool_use_id or "", function=function))

    def _delta(self, read: Piece) -> bytes:
        delta = read.delta
        if delta is None:
            return b""
        if said := text.literal(delta.text):
            return self._say(said)
        if delta.tool_use is not None:
            return self._piece(read.content_block_index, text.literal(delta.tool_use.input))
        if delta.reasoning_content is not None:
            return self._think(delta.reasoning_content)
        if delta.citation is not None:
            found = annotation(delta.citation, self._cited, self._size)
            self._cited = self._size
            return self.writer.annotations([found])
        image = self._images.get(read.content_block_index)
        if image and delta.image and delta.image.source and delta.image.source.bytes:
            image[1].append(delta.image.source.bytes)
        return b""

    def _say(self, said: bytes) -> bytes:
        self.content = self._text = True
        self._size += len(said) - 2 if said.isascii() and b"\\" not in said else _length(said)
        return self.writer.text(said)

    def _piece(self, index: int, piece: bytes) -> bytes:
        if not piece:
            return b""
        if index == self._json:
            return self._say(piece)
        if index not in self._calls:
            return b""
        self._unsaid.pop(index, None)
        return self.writer.arguments(self._calls[index], piece)

    def _think(self, thought: Thought) -> bytes:
        out = b""
        if said := text.literal(thought.text):
            self.content = True
            out = self.writer.reasoning(said)
        if thought.signature:
            out += self.writer.detail(
                ReasoningDetail(
                    type="reasoning.text", signature=thought.signature, format=self._format
                )
            )
        if thought.redacted_content:
            self.content = True
            out += self.writer.detail(sealed(thought.redacted_content, self._format))
        return out

    def _block_end(self, read: Piece) -> bytes:
        """A call whose input did not come in pieces stood in its block, or has none."""
        index = read.content_block_index
        self._cited = self._size
        if image := self._images.pop(index, None):
            return self._show(*image)
        given = self._unsaid.pop(index, None)
        if given is None:
            return b""
        return self.writer.arguments(self._calls[index], text.encode(as_text(given)))

    def _show(self, format_: str, pieces: list[str]) -> bytes:
        """Raises ValueError for what is no base64."""
        if not pieces:
            return b""
        self.content = self._text = True
        whole = b"".join(base64.b64decode(one, validate=True) for one in pieces)
        return self.writer.image(picture(format_, base64.b64encode(whole).decode()))

    def _stop(self, read: Piece) -> bytes:
        reason = read.stop_reason or ""
        if reason in BROKEN and not self.content:
            self.fail(Failure(Fault.BAD_ANSWER, 502, f"the model ended with {reason}"))
            return b""
        finish = finish_of(reason, called=bool(self._calls))
        self.refused = finish == "content_filter" and not self._text
        self.content = self._ended = True
        stop = stop_of(read.additional_model_response_fields)
        return self.writer.finish(finish, stop_sequence=stop)

    def _metadata(self, read: Piece) -> bytes:
        tier = read.service_tier.type if read.service_tier else None
        out = self.writer.usage(usage_of(read.usage), tier)
        if not self._ended:
            return out
        self.finished = True
        return out + self.writer.done()


_EXCEPTION: Final = b"exception:"


def _event(message: Message) -> Event:
    """A message as an event: its type, or that it is an exception and which."""
    headers = message.headers
    kind = headers.get(":message-type")
    if kind == "exception":
        return Event(message.payload, _EXCEPTION + str(headers.get(":exception-type", "")).encode())
    if kind == "error":
        said = {"message": str(headers.get(":error-message", ""))}
        code = str(headers.get(":error-code", ""))
        return Event(msgspec.json.encode(said), _EXCEPTION + code.encode())
    return Event(message.payload, str(headers.get(":event-type", "")).encode())


def _length(literal: bytes) -> int:
    return len(msgspec.json.decode(literal, type=str))
