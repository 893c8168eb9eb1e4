"""Content blocks and tools of a request to Anthropic."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

CacheControl = dict[str, Any]
"""`{"type": "ephemeral"}`, perhaps with `"ttl": "1h"`: sent as the client wrote it."""


class TextBlock(Struct, frozen=True, gc=False, tag_field="type", tag="text", omit_defaults=True):
    """Text."""

    text: str
    cache_control: CacheControl | None = None


class Source(Struct, frozen=True, gc=False, omit_defaults=True):
    """Where an image or document is: `base64`, `text`, `url` or `file` (of the Files API)."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class ImageBlock(Struct, frozen=True, gc=False, tag_field="type", tag="image", omit_defaults=True):
    """An image."""

    source: Source
    cache_control: CacheControl | None = None


class DocumentBlock(
    Struct, frozen=True, gc=False, tag_field="type", tag="document", omit_defaults=True
):
    """A PDF or a text."""

    source: Source
    title: str | None = None
    citations: dict[str, Any] | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(Struct, frozen=True, gc=False, tag_field="type", tag="thinking"):
    """What the model thought, with its seal."""

    thinking: str
    signature: str


class RedactedThinking(Struct, frozen=True, gc=False, tag_field="type", tag="redacted_thinking"):
    """What it thought and nobody may read."""

    data: str


class ToolUse(Struct, frozen=True, gc=False, tag_field="type", tag="tool_use", omit_defaults=True):
    """A call that the model made in an earlier turn."""

    id: str
    name: str
    input: Raw
    cache_control: CacheControl | None = None


class ToolResult(
    Struct, frozen=True, gc=False, tag_field="type", tag="tool_result", omit_defaults=True
):
    """What a call gave."""

    tool_use_id: str
    content: list[TextBlock | ImageBlock | DocumentBlock] | str = ""
    is_error: bool | None = None
    cache_control: CacheControl | None = None


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ThinkingBlock
    | RedactedThinking
    | ToolUse
    | ToolResult
    | Raw
)
"""`Raw`: a block of the provider's own, as an answer gave it."""


class Turn(Struct, gc=False):
    """Consecutive messages of one side. A single text stands as it is."""

    role: str
    content: list[Block] | str

    def blocks(self) -> list[Block]:
        """The content as a list that can be added to."""
        if isinstance(self.content, str):
            self.content = [TextBlock(self.content)]
        return self.content


class Tool(Struct, frozen=True, gc=False, omit_defaults=True):
    """A tool that the model may call."""

    name: str
    input_schema: dict[str, Any] | Raw
    description: str | None = None
    strict: bool = False
    cache_control: CacheControl | None = None


class WebSearch(Struct, frozen=True, gc=False, omit_defaults=True):
    """The search that Anthropic runs itself."""

    type: str
    name: str
    user_location: dict[str, Any] | None = None


class ToolChoice(Struct, frozen=True, gc=False, omit_defaults=True):
    """`auto`, `any`, `tool` (named) or `none`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool = False
