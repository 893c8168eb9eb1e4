"""What all streams have in common: events in bytes, and texts in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

encode: Final = msgspec.json.encode

_PIECE: Final = 40
"""Characters of a piece, or some more up to the end of a word. Providers send a token each, some
four characters; what is there at once need not be sent in so many events."""
_CUT: Final = re.compile(rf"(?s:.{{{_PIECE}}})\S{{0,{_PIECE}}}\s?|(?s:.+)")
_BOM: Final = b"\xef\xbb\xbf"
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class StreamError(ValueError):
    """A stream, or an answer, that is not of its format."""


def pieces(text: str) -> list[str]:
    """A text in pieces that end where words do; together they are the text. None of an empty
    one."""
    return _CUT.findall(text)


def data(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, data) of each event of a whole stream, as WHATWG HTML, 9.2.6, reads them; one at the
    very end needs no blank line."""
    name, found = b"", []
    # bytes.splitlines knows CR, LF and CRLF, and nothing else.
    for line in (*stream.removeprefix(_BOM).splitlines(), b""):
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                found.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
            continue
        if found:
            yield name, b"\n".join(found)
        name, found = b"", []


def objects(stream: bytes) -> Iterator[dict[str, Any]]:
    """The objects that the events are, up to `[DONE]`, which is an empty one. Raises StreamError
    for an error event, and msgspec.DecodeError."""
    for name, given in data(stream):
        if given.strip() == b"[DONE]":
            yield {}
            return
        one = _decode(given)
        if name == b"error" or one.get("error") or one.get("type") == "error":
            raise StreamError("an error within the stream")
        yield one


def chunk(given: dict[str, Any]) -> bytes:
    """An event without a name."""
    return b"data: %b\n\n" % encode(given)


def cut_chunks(given: dict[str, Any], text: str, sample: str) -> Iterator[bytes]:
    """Events of one shape, `given`, in which `sample` stands where a piece of the text is to stand:
    the last place, whatever came before."""
    head, found, tail = encode(given).rpartition(encode(sample))
    if not found:
        raise StreamError("no place for the text")
    head, tail = b"data: " + head, tail + b"\n\n"
    for piece in pieces(text):
        yield head + encode(piece) + tail
