"""Where an answer is from: Gemini's grounding and citation metadata as OpenAI's annotations.

Gemini counts bytes of UTF-8 from the beginning of a part, and says which part it means only
sometimes; OpenAI's indexes are characters of the whole text. A segment's own text settles it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects import text as literals

_MOST: Final = 1000
"""Annotations of one answer."""


class _Segment(Struct, rename="camel"):
    start_index: int = 0
    end_index: int = 0
    part_index: int = 0
    text: str = ""


class _Support(Struct, rename="camel"):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class _Source(Struct):
    uri: str | None = None
    title: str | None = None


class _Chunk(Struct, rename="camel"):
    web: _Source | None = None
    retrieved_context: _Source | None = None
    maps: _Source | None = None
    image: _Source | None = None

    def source(self) -> _Source | None:
        return self.web or self.retrieved_context or self.maps or self.image


class _Grounding(Struct, rename="camel"):
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None


class _Citation(Struct, rename="camel"):
    start_index: int = 0
    end_index: int = 0
    uri: str | None = None
    title: str | None = None


class _Citations(Struct, rename="camel"):
    citations: list[_Citation] | None = None
    citation_sources: list[_Citation] | None = None


class _Retrieved(Struct, rename="camel"):
    retrieved_url: str | None = None
    url_retrieval_status: str | None = None


class _UrlContext(Struct, rename="camel"):
    url_metadata: list[_Retrieved] | None = None


class _Span(Struct):
    """Bytes of the whole text."""

    start: int
    end: int
    url: str
    title: str


class Sources(Struct):
    """What a candidate told of its sources, in all its events."""

    grounding: bytes = b""
    citations: list[bytes] = []
    urls: bytes = b""

    def add(self, grounding: Raw, citations: Raw, urls: Raw) -> None:
        """Grounding replaces what came before: a stream's later events say all of it again."""
        self.grounding = bytes(grounding) or self.grounding
        self.urls = bytes(urls) or self.urls
        if bytes(citations):
            self.citations.append(bytes(citations))

    def __bool__(self) -> bool:
        return bool(self.grounding or self.citations or self.urls)

    def annotations(self, text: str, parts: list[int]) -> list[dict[str, Any]]:
        """OpenAI's `url_citation`s. `parts`: where each part's text begins in the whole one, in
        bytes; -1 for a part that is none of it. Metadata that cannot be read counts for nothing:
        the answer is worth more."""
        data = text.encode("utf-8", "replace")
        spans: list[_Span] = []
        if (grounding := _read(_GROUNDING, self.grounding)) is not None:
            spans += _grounded(grounding, data, parts)
        for one in self.citations:
            if (found := _read(_CITATIONS, one)) is not None:
                spans += _cited(found, len(data))
        if (context := _read(_URLS, self.urls)) is not None:
            spans += _retrieved(context, {span.url for span in spans}, len(data))
        return _annotations(spans[:_MOST], data, ascii_only=len(data) == len(text))


def _read(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    if not data:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _grounded(grounding: _Grounding, data: bytes, parts: list[int]) -> list[_Span]:
    chunks = [chunk.source() for chunk in grounding.grounding_chunks or ()]
    spans: list[_Span] = []
    for support in (grounding.grounding_supports or ())[:_MOST]:
        if support.segment is None:
            continue
        start, end = _located(support.segment, data, parts)
        for index in support.grounding_chunk_indices or ():
            source = chunks[index] if 0 <= index < len(chunks) else None
            if source is not None and source.uri:
                spans.append(_Span(start, end, source.uri, source.title or ""))
    if not grounding.grounding_supports:
        # Sources of the whole answer.
        spans += [
            _Span(0, len(data), source.uri, source.title or "")
            for source in chunks
            if source is not None and source.uri
        ]
    return spans


def _located(segment: _Segment, data: bytes, parts: list[int]) -> tuple[int, int]:
    """Where a segment is in the whole text, in bytes."""
    index = segment.part_index
    base = parts[index] if 0 <= index < len(parts) else 0
    start = max(0, base) + max(0, segment.start_index)
    end = max(0, base) + max(0, segment.end_index)
    said = segment.text.encode("utf-8", "replace")
    if said and data[start:end] != said:
        # Often the part is not named, or a stream's pieces were counted through.
        for guess in (max(0, segment.start_index), *_beginnings(data, said)):
            if data[guess : guess + len(said)] == said:
                return guess, guess + len(said)
    return min(start, len(data)), min(max(start, end), len(data))


def _beginnings(data: bytes, said: bytes) -> Iterable[int]:
    at = data.find(said)
    if at >= 0:
        yield at


def _cited(found: _Citations, size: int) -> list[_Span]:
    every = (found.citations or []) + (found.citation_sources or [])
    return [
        _Span(
            min(max(0, one.start_index), size),
            min(max(0, one.end_index), size),
            one.uri,
            one.title or "",
        )
        for one in every
        if one.uri
    ]


def _retrieved(found: _UrlContext, known: set[str], size: int) -> list[_Span]:
    """Pages that the model was given to read, if nothing says which words are from them."""
    return [
        _Span(0, size, one.retrieved_url, "")
        for one in found.url_metadata or ()
        if one.retrieved_url
        and one.retrieved_url not in known
        and one.url_retrieval_status == "URL_RETRIEVAL_STATUS_SUCCESS"
    ]


def _annotations(spans: list[_Span], data: bytes, *, ascii_only: bool) -> list[dict[str, Any]]:
    offsets = {span.start for span in spans} | {span.end for span in spans}
    characters = {at: at for at in offsets} if ascii_only else _characters(data, offsets)
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": characters[span.start],
                "end_index": characters[span.end],
                "title": span.title,
                "url": span.url,
            },
        }
        for span in spans
    ]


def _characters(data: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """How many characters begin before each offset, in one walk."""
    found: dict[int, int] = {}
    at = count = 0
    for offset in sorted(offsets):
        # A byte 10xxxxxx continues a character.
        count += sum(byte & 0xC0 != 0x80 for byte in data[at:offset])  # noqa: PLR2004
        at = offset
        found[offset] = count
    return found


def joined(pieces: Iterable[bytes]) -> str:
    """JSON string literals as one text."""
    return "".join([_STRING.decode(piece) for piece in pieces])


_STRING: Final = msgspec.json.Decoder(str)
_GROUNDING: Final = msgspec.json.Decoder(_Grounding)
_CITATIONS: Final = msgspec.json.Decoder(_Citations)
_URLS: Final = msgspec.json.Decoder(_UrlContext)
EMPTY: Final = literals.NONE
