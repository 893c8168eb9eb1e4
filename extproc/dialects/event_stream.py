"""Amazon's event streams (`application/vnd.amazon.eventstream`), incrementally.

A message is, all integers big-endian: total length (4 bytes), length of the headers (4), CRC-32
of those eight (4), headers, payload, CRC-32 of everything before it (4). A header is its name
(length in 1 byte, then UTF-8), the type of its value (1 byte) and the value. Source: the
appendix on event stream encoding of the Amazon Transcribe developer guide and the Smithy
specification of `eventStream`.

Both checksums are checked, the first before its lengths are believed. What is wrong once leaves
no way to find where the next message begins: the stream is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct as Layout
from struct import error as LayoutError  # noqa: N812 - an exception, named as one
from typing import Final
from zlib import crc32

from msgspec import Struct

MAX_MESSAGE: Final = 1 << 20
"""Bytes of one message, as for server-sent events. The format allows 24 MB; a model's messages
are hundreds of bytes, and a length that nobody checked would fill the memory."""

MAX_HEADERS: Final = 128 * 1024
"""Bytes of a message's headers: the format's own limit."""

HeaderValue = bool | int | bytes | str
"""A timestamp is an integer, milliseconds since 1970; a UUID is its 16 bytes."""

_PRELUDE: Final = Layout(">III")
_CHECKSUM: Final = Layout(">I")
_OVERHEAD: Final = _PRELUDE.size + _CHECKSUM.size

_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_INTEGERS: Final = {
    2: Layout(">b"),
    3: Layout(">h"),
    4: Layout(">i"),
    5: Layout(">q"),
    8: Layout(">q"),
}
_LENGTH: Final = Layout(">H")
_UUID_SIZE: Final = 16

_KEPT: Final = 64
_KEPT_SIZE: Final = 512
"""Readings of headers that are kept, and bytes of one. The messages of all streams share a dozen
of about a hundred bytes each, which say no more than a message's kind."""


class Message(Struct, frozen=True, gc=False):
    """`headers` by their whole names (`:event-type`); messages may share them."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class FramingError(ValueError):
    """The bytes are no event stream. `messages` came whole before."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.messages: list[Message] = []


class ChecksumError(FramingError):
    """A CRC-32 is not that of the bytes."""


class LengthError(FramingError):
    """Lengths that contradict each other, or headers over the format's limit."""


class MessageTooLargeError(FramingError):
    """A message is over the cap."""


class HeaderError(FramingError):
    """Headers that cannot be read: an unknown type, a length that leads out of them, a name that
    comes twice, text that is not UTF-8."""


class TruncatedError(FramingError):
    """The stream ended inside a message."""


class Parser:
    """Feed bytes as they come; the messages are the same however they were cut."""

    __slots__ = ("_held", "_limit", "_need", "_pieces")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        """Of a message that has not ended."""
        self._held = 0
        self._need = 0
        """Bytes held from which on something can be told."""

    @property
    def missing(self) -> int:
        """Bytes without which nothing more can be told: of a message's lengths, or of a message."""
        return self._need - self._held

    def feed(self, chunk: bytes) -> list[Message]:
        """Messages that this chunk completes. Raises FramingError, and again when fed after it."""
        if self._held:
            self._pieces.append(chunk)
            self._held += len(chunk)
            if self._held < self._need:
                return []
            chunk = b"".join(self._pieces)
        messages: list[Message] = []
        at, size, need = 0, len(chunk), _PRELUDE.size
        try:
            while size - at >= _PRELUDE.size:
                total, headers, told = _PRELUDE.unpack_from(chunk, at)
                checksum = crc32(chunk[at : at + 8])
                if checksum != told or headers > total - _OVERHEAD or total > self._limit:
                    raise self._refused(total, headers, intact=checksum == told)
                end = at + total
                if end > size:
                    need = total
                    break
                messages.append(self._message(chunk, at, end, headers, checksum))
                at = end
        except FramingError as error:
            need = 0
            error.messages = messages
            raise
        finally:
            rest = chunk[at:]
            self._pieces = [rest] if rest else []
            self._held, self._need = len(rest), need
        return messages

    @property
    def between(self) -> bool:
        """Nothing is held: what comes next begins a message."""
        return not self._held

    def end(self) -> None:
        """The stream ended. Raises TruncatedError if it did so inside a message."""
        if self._held:
            raise TruncatedError(f"the stream ended {self._held} bytes into a message")

    def _refused(self, total: int, headers: int, *, intact: bool) -> FramingError:
        """What is wrong with a message's lengths, which are believed only if they are intact."""
        if not intact:
            return ChecksumError("the checksum of a message's lengths is wrong")
        if headers > total - _OVERHEAD:
            return LengthError(f"headers of {headers} bytes in a message of {total}")
        return MessageTooLargeError(f"a message of more than {self._limit} bytes")

    def _message(self, chunk: bytes, at: int, end: int, headers: int, checksum: int) -> Message:
        payload_end = end - _CHECKSUM.size
        # The second checksum continues the first.
        checksum = crc32(chunk[at + 8 : payload_end], checksum)
        if checksum != _CHECKSUM.unpack_from(chunk, payload_end)[0]:
            raise ChecksumError("the checksum of a message is wrong")
        payload_at = at + _PRELUDE.size + headers
        text = chunk[at + _PRELUDE.size : payload_at]
        if headers > MAX_HEADERS:
            raise LengthError(f"headers of {headers} bytes")
        read = _known(text) if headers <= _KEPT_SIZE else _headers(text)
        return Message(read, chunk[payload_at:payload_end])


@lru_cache(maxsize=_KEPT)
def _known(text: bytes) -> Mapping[str, HeaderValue]:
    return _headers(text)


def _headers(text: bytes) -> dict[str, HeaderValue]:
    found: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(text):
            name_end = at + 1 + text[at]
            name = str(text[at + 1 : name_end], "utf-8")
            value, at = _value(text[name_end], text, name_end + 1)
            if name in found:
                raise HeaderError("a header comes twice")
            found[name] = value
    except (IndexError, LayoutError):
        at = len(text) + 1
    except UnicodeDecodeError:
        raise HeaderError("a header is not UTF-8") from None
    if at != len(text):
        raise HeaderError("a header leads out of the headers")
    return found


def _value(kind: int, text: bytes, at: int) -> tuple[HeaderValue, int]:
    """A header's value and where it ends, which may be behind the end of the text."""
    if kind in {_STRING, _BYTES}:
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(text, at)[0]
        value = text[start:end]
        return (str(value, "utf-8") if kind == _STRING else value), end
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, at
    if layout := _INTEGERS.get(kind):
        return layout.unpack_from(text, at)[0], at + layout.size
    if kind == _UUID:
        return text[at : at + _UUID_SIZE], at + _UUID_SIZE
    raise HeaderError(f"a header's value has the unknown type {kind}")
