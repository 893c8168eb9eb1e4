"""Turns of a conversation as Converse takes them, from those of Anthropic's Messages API."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from msgspec import Raw, Struct

from extproc.dialects.anthropic.blocks import (
    Block,
    CacheControl,
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

    def close(self, control: CacheControl | None, last: dict[str, Any]) -> None:
        """The mark of the whole request stands behind its last turn."""
        content = last["content"]
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


def turn(one: Turn, points: Points, names: media.Names) -> dict[str, Any]:
    """A message. Raises ValueError for what Bedrock lacks."""
    if isinstance(one.content, str):
        return {"role": one.role, "content": [{"text": one.content}]}
    content: list[Any] = []
    for block in one.content:
        content += _block(block, points, names)
    if any("document" in made for made in content if type(made) is dict) and not any(
        "text" in made for made in content if type(made) is dict
    ):
        # A document needs a text beside it.
        content.insert(0, {"text": FILLER})
    return {"role": one.role, "content": content}


def words(block: TextBlock, points: Points) -> list[Any]:
    """Text, and the cache point behind it."""
    return [{"text": block.text}, *points.of(block.cache_control)]


def _block(block: Block, points: Points, names: media.Names) -> list[Any]:
    if isinstance(block, TextBlock):
        return words(block, points)
    if isinstance(block, ToolUse):
        use = {"toolUseId": _id(block.id), "name": block.name, "input": block.input}
        return [{"toolUse": use}, *points.of(block.cache_control)]
    if isinstance(block, ToolResult):
        return _result(block, points, names)
    if isinstance(block, ThinkingBlock):
        said = {"text": block.thinking, "signature": block.signature}
        return [{"reasoningContent": {"reasoningText": said}}]
    if isinstance(block, RedactedThinking):
        return [{"reasoningContent": {"redactedContent": block.data}}]
    if isinstance(block, Raw):
        raise ValueError("a block that Bedrock lacks")  # noqa: TRY004 - becomes a refusal
    return [media.block(block, names), *points.of(block.cache_control)]


def _result(block: ToolResult, points: Points, names: media.Names) -> list[Any]:
    control = block.cache_control
    content: list[Any] = []
    if isinstance(block.content, str):
        content = [{"text": block.content or FILLER}]
    else:
        for one in block.content:
            # A result has no cache points in it: what is marked there is cached to its end.
            control = control or one.cache_control
            content.append(
                {"text": one.text} if isinstance(one, TextBlock) else media.block(one, names)
            )
    result: dict[str, Any] = {
        "toolUseId": _id(block.tool_use_id),
        "content": content or [{"text": FILLER}],
    }
    if block.is_error:
        result["status"] = "error"
    return [{"toolResult": result}, *points.of(control)]


def _id(one: str) -> str:
    if len(one) <= _ID_LENGTH:
        return one
    digest = hashlib.blake2b(one.encode(), digest_size=8).hexdigest()
    return f"{one[: _ID_LENGTH - len(digest) - 1]}_{digest}"
