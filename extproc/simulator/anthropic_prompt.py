"""What Anthropic makes of a prompt: which blocks it caches, what it may cite, what it searches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from extproc.simulator import anthropic_request as wire

_THINKS_UNASKED = re.compile(r"claude-(mythos|\w+-[5-9])")
_OMITS = re.compile(r"claude-(mythos|opus-4-[7-9]|\w+-[5-9])")
_SEARCHING = re.compile(r"\b(search|web_search|look up|news)\b", re.IGNORECASE)


def blocks_of(message: wire.Message) -> list[wire.Block]:
    """The blocks of a message; none when it is plain text."""
    return [] if isinstance(message.content, str) else message.content


def prompt_text(message: wire.Message) -> str:
    """The text of the last message; nothing when it brings tools' results."""
    if isinstance(message.content, str):
        return message.content
    if any(isinstance(one, wire.ToolResult) for one in message.content):
        return ""
    return " ".join(one.text for one in message.content if isinstance(one, wire.Text))


def cached_blocks(body: wire.Body) -> list[tuple[bytes, str | None]]:
    """The prompt block by block, in the order it is cached (tools, system, messages), each with
    the time to live that its mark asks for. The marks are no part of the blocks."""
    found = list(_marked(body))
    if body.cache_control is not None and found:
        found[-1] = found[-1][0], _ttl(msgspec.to_builtins(body.cache_control))
    return found


def _marked(body: wire.Body) -> Iterator[tuple[bytes, str | None]]:
    for tool in body.tools or ():
        yield _block(tool)
    system = body.system
    if isinstance(system, str):
        yield system.encode(), None
    elif system is not UNSET:
        for one in system:
            yield _block(one)
    for message in body.messages:
        yield message.role.encode(), None
        if isinstance(message.content, str):
            text = {"type": "text", "text": message.content}
            yield _block(text)
        for block in blocks_of(message):
            yield _block(block)


def _block(block: Any) -> tuple[bytes, str | None]:
    plain = msgspec.to_builtins(block)
    marks = list(_taken(plain))
    return msgspec.json.encode(plain, order="sorted"), _ttl(marks[0]) if marks else None


def _taken(value: Any) -> Iterator[dict[str, Any]]:
    """Take the marks out of a block, and those of the blocks within it."""
    if isinstance(value, list):
        for one in value:
            yield from _taken(one)
    elif isinstance(value, dict):
        mark = value.pop("cache_control", None)
        if mark is not None:
            yield mark
        for name in ("content", "source"):
            yield from _taken(value.get(name))


def marks(body: wire.Body) -> list[str]:
    """The time to live of each mark, in the order of the prompt."""
    given = [*(body.tools or ()), *([] if isinstance(body.system, str) else body.system or ())]
    for message in body.messages:
        given += blocks_of(message)
    found = [mark for one in given for mark in _taken(msgspec.to_builtins(one))]
    if body.cache_control is not None:
        found.append(msgspec.to_builtins(body.cache_control))
    return [_ttl(one) for one in found]


def _ttl(mark: dict[str, Any]) -> str:
    return str(mark.get("ttl", "5m"))


def documents(body: wire.Body) -> list[wire.Document]:
    """Every document, in order, those in tools' results too."""
    return [one for one in _sources(body) if isinstance(one, wire.Document)]


def _sources(body: wire.Body) -> Iterator[wire.Document | wire.SearchResult]:
    for message in body.messages:
        for block in blocks_of(message):
            inner = block.content if isinstance(block, wire.ToolResult) else [block]
            for one in inner if isinstance(inner, list) else ():
                if isinstance(one, wire.Document | wire.SearchResult):
                    yield one


def cites(source: wire.Document | wire.SearchResult) -> bool:
    """Whether citations are enabled for it."""
    options = source.citations
    return isinstance(options, wire.Citations) and options.enabled is True


def citations(body: wire.Body) -> Iterator[dict[str, Any]]:
    """A citation of each source that may be cited."""
    places = {wire.Document: 0, wire.SearchResult: 0}
    for source in _sources(body):
        place = places[type(source)]
        places[type(source)] += 1
        if not cites(source):
            continue
        if isinstance(source, wire.SearchResult):
            yield {
                "type": "search_result_location",
                "search_result_index": place,
                "source": source.source,
                "title": source.title,
                "start_block_index": 0,
                "end_block_index": 1,
                "cited_text": source.content[0].text if source.content else "",
            }
        else:
            at = {"document_index": place, "document_title": source.title, "file_id": None}
            yield {**_place(source.source), **at}


def _place(source: Any) -> dict[str, Any]:
    """Where in a document: characters, blocks or pages."""
    if isinstance(source, wire.PlainText):
        text = source.data[:40]
        return {
            "type": "char_location",
            "cited_text": text,
            "start_char_index": 0,
            "end_char_index": len(text),
        }
    if isinstance(source, wire.ContentSource):
        first = source.content if isinstance(source.content, str) else source.content[0]
        return {
            "type": "content_block_location",
            "cited_text": first if isinstance(first, str) else getattr(first, "text", ""),
            "start_block_index": 0,
            "end_block_index": 1,
        }
    pages = {"start_page_number": 1, "end_page_number": 2}
    return {"type": "page_location", "cited_text": "The first page.", **pages}


def thinks(body: wire.Body) -> bool:
    """Whether the model thinks: it is asked to, or it is of a family that does unasked. One that
    decides for itself calls a forced tool without a thought."""
    forced = isinstance(body.tool_choice, wire.ChoiceAny | wire.ChoiceTool)
    if body.thinking is UNSET:
        return bool(_THINKS_UNASKED.match(body.model)) and not forced
    adaptive = isinstance(body.thinking, wire.ThinkingAdaptive) and not forced
    return adaptive or isinstance(body.thinking, wire.ThinkingEnabled)


def shows_thinking(body: wire.Body) -> bool:
    """Whether the text of thinking is in the answer. Newer families leave it out unless asked."""
    display = getattr(body.thinking, "display", None)
    if display is None:
        return not _OMITS.match(body.model)
    return bool(display == "summarized")


def web_query(body: wire.Body) -> str | None:
    """What the model searches the web for: the prompt, when it asks for that and the tool is
    there."""
    offered = any(str(one.get("type", "")).startswith("web_search_") for one in body.tools or ())
    text = prompt_text(body.messages[-1])
    return text[:80] if offered and _SEARCHING.search(text) else None
