"""Where an answer's text is from, as OpenAI's annotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct


class Citation(Struct):
    """One of Anthropic's five: from the web, a search result, a PDF, a text, or a document in
    blocks."""

    type: str = ""
    cited_text: str | None = None
    url: str | None = None
    title: str | None = None
    source: str | None = None
    document_title: str | None = None
    document_index: int | None = None
    file_id: str | None = None
    start_char_index: int | None = None
    end_char_index: int | None = None
    start_page_number: int | None = None
    end_page_number: int | None = None
    start_block_index: int | None = None
    end_block_index: int | None = None


_PLACES: Final = (
    "document_index",
    "file_id",
    "start_char_index",
    "end_char_index",
    "start_page_number",
    "end_page_number",
    "start_block_index",
    "end_block_index",
)


def read(given: Any) -> Iterator[Citation]:
    """The citations of a list of them; one of a form that is not known is none."""
    for one in given if isinstance(given, list) else ():
        try:
            yield msgspec.convert(one, Citation)
        except msgspec.ValidationError:
            continue


def annotation(citation: Citation, start: int, end: int) -> dict[str, Any]:
    """A `url_citation` of the text from `start` to `end`, in characters of the whole answer.
    `content` is what the source says. A document has no URL: `file:<id>` or `document:<index>`
    stands in its place, with the page or the characters as a fragment (RFC 8118, RFC 5147), and
    its place in full as Anthropic gives it."""
    found: dict[str, Any] = {
        "start_index": start,
        "end_index": end,
        "title": citation.title or citation.document_title or "",
        "url": citation.url or citation.source or _document(citation),
    }
    if citation.cited_text is not None:
        found["content"] = citation.cited_text
    for name in _PLACES:
        if (value := getattr(citation, name)) is not None:
            found[name] = value
    return {"type": "url_citation", "url_citation": found}


def _document(citation: Citation) -> str:
    if citation.file_id is not None:
        where = f"file:{citation.file_id}"
    else:
        where = f"document:{citation.document_index or 0}"
    if citation.start_page_number is not None:
        return f"{where}#page={citation.start_page_number}"
    if citation.start_char_index is not None:
        return f"{where}#char={citation.start_char_index},{citation.end_char_index}"
    return where
