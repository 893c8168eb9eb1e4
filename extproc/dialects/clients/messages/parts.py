"""Blocks of a user's turn, and of a tool's result, as parts of a chat message."""

from __future__ import annotations

import base64
from typing import Final

from extproc.dialects.chat.messages import (
    FilePart,
    FileRef,
    ImagePart,
    ImageURL,
    TextPart,
)
from extproc.dialects.clients.messages import problems
from extproc.dialects.clients.messages.request import (
    Block,
    CacheControl,
    Source,
    cited,
    content_of,
    link_of,
    source_of,
)

Part = TextPart | ImagePart | FilePart
KNOWN: Final = frozenset({"text", "image", "document", "search_result"})
_ONLY: Final = "only a target that speaks the Messages API"
_NAME: Final = "document.pdf"
"""Of a PDF without a title: some providers take no file without a name."""


class NativeError(Exception):
    """Only a native target can serve the block. The text is a refusal's detail."""


def of(block: Block) -> list[Part]:
    """The parts that a block of a type in KNOWN is: one, but for documents in blocks. Raises
    NativeError."""
    if block.type == "text":
        return [TextPart(block.text or "", block.cache_control)]
    if block.type == "image":
        return [_image(source_of(block), block.cache_control)]
    if block.type == "document":
        return _document(block)
    return _search_result(block)


def _image(source: Source, cache: CacheControl | None) -> ImagePart:
    if source.type == "base64":
        url = f"data:{source.media_type};base64,{source.data}"
    elif source.type == "url":
        url = source.url or ""
    else:
        raise NativeError(f"vision: {_ONLY} has an image by its id")
    return ImagePart(ImageURL(url), cache)


def _document(block: Block) -> list[Part]:
    source = source_of(block)
    cites = cited(block)
    cache = block.cache_control
    if source.type in ("text", "content") and not cites:
        return _told(block, source)
    if source.type == "base64":
        data = f"data:{source.media_type};base64,{source.data}"
        file = FileRef(file_data=data, filename=block.title or _NAME)
    elif source.type == "text":
        encoded = base64.b64encode((source.data or "").encode()).decode()
        file = FileRef(file_data=f"data:text/plain;base64,{encoded}", filename=block.title)
    elif source.type == "url":
        file = FileRef(file_url=source.url, filename=block.title)
    elif source.type == "file":
        file = FileRef(file_id=source.file_id, filename=block.title)
    elif source.type == "content":
        raise NativeError(f"files: {_ONLY} cites documents given in blocks")
    else:
        raise NativeError(f"files: {_ONLY} knows the source {problems.shown(source.type)}")
    made: list[Part] = [TextPart(block.context)] if block.context else []
    made.append(FilePart(file, cache, {"enabled": True} if cites else None))
    return made


def _told(block: Block, source: Source) -> list[Part]:
    """A text that need not be cited is text to every model, in the form that Anthropic's guide to
    prompts gives documents."""
    inner = (source.data or "") if source.type == "text" else content_of(source)
    head = "<document>\n"
    if block.title:
        head += f"<source>{block.title}</source>\n"
    if block.context:
        head += f"<context>{block.context}</context>\n"
    end = "\n</document_content>\n</document>"
    head += "<document_content>\n"
    return _framed(head, inner, end, block.cache_control)


def _search_result(block: Block) -> list[Part]:
    if cited(block):
        raise NativeError(f"search_results: {_ONLY} cites search results")
    head = f"<search_result>\n<title>{block.title}</title>\n"
    head += f"<source>{link_of(block)}</source>\n<content>\n"
    end = "\n</content>\n</search_result>"
    return _framed(head, content_of(block), end, block.cache_control)


def _framed(
    head: str, inner: str | list[Block], end: str, cache: CacheControl | None
) -> list[Part]:
    """Text around what is inside, in one part if that is text alone."""
    if isinstance(inner, str) or all(one.type == "text" for one in inner):
        text = inner if isinstance(inner, str) else "\n".join(one.text or "" for one in inner)
        return [TextPart(f"{head}{text}{end}", cache)]
    made: list[Part] = [TextPart(head)]
    for one in inner:
        if one.type not in ("text", "image"):
            raise NativeError(f"files: {_ONLY} takes a {problems.shown(one.type)} in a document")
        made += of(one)
    made.append(TextPart(end, cache))
    return made
