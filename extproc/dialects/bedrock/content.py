"""Turns of a conversation as Converse takes them, from those of Anthropic's Messages API."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw, Struct

from extproc.dialects.anthropic.blocks import (
    Block,
    CacheControl,
    DocumentBlock,
    ImageBlock,
    RedactedThinking,
    TextBlock,
    ThinkingBlock,
    ToolResult,
    ToolUse,
    Turn,
)
from extproc.dialects.anthropic.turns import FILLER
from extproc.dialects.bedrock import media
from extproc.dialects.bedrock.models import Model

_ID_LENGTH: Final = 64
"""Characters of a tool use id."""
_POINTS: Final = 4
"""Cache points that a request may have."""


class CachePoint(Struct, frozen=True):
    """The prompt up to here is cached."""

    cachePoint: dict[str, str]  # noqa: N815 - the API's name


class Text(Struct, frozen=True, gc=False):
    """Text, of a message or of what a tool gave."""

    text: str


class _Use(Struct, frozen=True, gc=False, rename="camel"):
    tool_use_id: str
    name: str
    input: Raw


class UsePart(Struct, frozen=True, gc=False, rename="camel"):
    """A call that the model made."""

    tool_use: _Use


class _Result(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    tool_use_id: str
    content: list[Any]
    status: str | None = None


class ResultPart(Struct, frozen=True, gc=False, rename="camel"):
    """What a call gave."""

    tool_result: _Result


class Points:
    """The cache points of one request. `dropped`: one was left out, as the model takes none
    there."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._made = 0
        self.dropped = False

    def of(self, control: CacheControl | None) -> list[CachePoint]:
        """What stands behind a block with this mark."""
        return [] if control is None else self._point(control, takes=self._model.caches)

    def of_tool(self, control: CacheControl | None) -> list[CachePoint]:
        """The same behind a tool."""
        takes = self._model.caches and self._model.caches_tools
        return [] if control is None else self._point(control, takes=takes)

    def close(self, control: CacheControl | None, last: Turn) -> None:
        """The mark of the whole request stands behind its last turn."""
        content: Any = last.content
        if control is None or isinstance(content[-1], CachePoint):
            return
        if self._model.caches and self._made >= _POINTS:
            return
        content += self._point(control, takes=self._model.caches)

    def _point(self, control: CacheControl, *, takes: bool) -> list[CachePoint]:
        if not takes:
            self.dropped = True
            return []
        self._made += 1
        point = {"type": "default"}
        if control.get("ttl") in ("5m", "1h"):
            point["ttl"] = control["ttl"]
        return [CachePoint(point)]


def translate(turns: Sequence[Turn], points: Points) -> None:
    """Put what all turns say into Converse's words. Raises ValueError for what Bedrock lacks."""
    names = media.Names()
    for one in turns:
        said = one.content
        made: list[Any] = [Text(said)] if isinstance(said, str) else _content(said, points, names)
        one.content = made


def _content(blocks: Sequence[Block], points: Points, names: media.Names) -> list[Any]:
    content: list[Any] = []
    documents = False
    for block in blocks:
        control = None
        if type(block) is ToolUse:
            id_ = block.id if len(block.id) <= _ID_LENGTH else _shortened(block.id)
            content.append(UsePart(_Use(id_, block.name, block.input)))
            control = block.cache_control
        elif type(block) is ToolResult:
            made, control = _result(block, names)
            content.append(ResultPart(made))
        elif type(block) is TextBlock:
            content.append(Text(block.text))
            control = block.cache_control
        elif isinstance(block, ThinkingBlock | RedactedThinking):
            content.append(_thought(block))
        elif isinstance(block, ImageBlock | DocumentBlock):
            found = media.block(block, names)
            documents |= "document" in found
            content.append(found)
            control = block.cache_control
        else:
            raise ValueError("a block that Bedrock lacks")
        if control is not None:
            content += points.of(control)
    if documents and not any(type(made) is Text for made in content):
        # A document needs a text beside it.
        content.insert(0, Text(FILLER))
    return content


def words(block: TextBlock, points: Points) -> list[Any]:
    """Text, and the cache point behind it."""
    return [Text(block.text), *points.of(block.cache_control)]


def _thought(block: ThinkingBlock | RedactedThinking) -> dict[str, Any]:
    if isinstance(block, RedactedThinking):
        return {"reasoningContent": {"redactedContent": block.data}}
    said = {"text": block.thinking, "signature": block.signature}
    return {"reasoningContent": {"reasoningText": said}}


def _result(block: ToolResult, names: media.Names) -> tuple[_Result, CacheControl | None]:
    """What a call gave, and the mark of its end: a result has no cache points in it, and what is
    marked there is cached to its end."""
    control, id_ = block.cache_control, block.tool_use_id
    if len(id_) > _ID_LENGTH:
        id_ = _shortened(id_)
    status = "error" if block.is_error else None
    given = block.content
    if isinstance(given, str):
        return _Result(id_, [Text(given or FILLER)], status), control
    content: list[Any] = []
    for one in given:
        control = control or one.cache_control
        if type(one) is TextBlock:
            content.append(Text(one.text))
        else:
            content.append(media.block(one, names))  # type: ignore[arg-type]  # it is no text
    return _Result(id_, content or [Text(FILLER)], status), control


def _shortened(one: str) -> str:
    digest = hashlib.blake2b(one.encode(), digest_size=8).hexdigest()
    return f"{one[: _ID_LENGTH - len(digest) - 1]}_{digest}"
