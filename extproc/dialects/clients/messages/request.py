"""A request to Anthropic's Messages API, typed and validated.

Fields that the API does not have are let through (a target that speaks it may know them); fields
that it has must have its types and ranges, whoever serves. A block may be of any type; those that
can be translated must have what theirs requires.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from extproc.dialects.again import Again
from extproc.dialects.chat.messages import Named
from extproc.dialects.text import NONE

CacheControl = dict[str, Any]


class Source(Struct, frozen=True, gc=False):
    """Where an image or a document is."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Raw = NONE


class Citations(Struct, frozen=True, gc=False):
    """Whether a document or search result is to be cited from."""

    enabled: bool | None = None


class Block(Struct, frozen=True, gc=False):
    """A content block of any type, with the fields of those that can be translated. What is of
    another shape in another type is left as it stands."""

    type: str
    text: str | None = None
    source: Raw = NONE
    title: str | None = None
    context: str | None = None
    citations: Raw = NONE
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NONE
    caller: Raw = NONE
    tool_use_id: str | None = None
    content: Raw = NONE
    is_error: bool | None = None
    toolset_name: str | None = None
    transformations: dict[str, Any] | None = None
    cache_control: CacheControl | None = None


class Message(Struct, frozen=True, gc=False):
    """A turn, or instructions that come between turns."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block] | None = None
    clear_at: Literal["next_user_message", "never"] | None = None
    output_config: dict[str, Any] | None = None


class Thinking(Struct, frozen=True, gc=False):
    """How the model should think."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: str | None = None
    block_binding: dict[str, Any] | None = None


class Format(Struct, frozen=True, gc=False):
    """The answer's schema."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, gc=False):
    """What the answer should be like."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None
    task_budget: dict[str, Any] | None = None


class Tool(Struct, frozen=True, gc=False):
    """A tool of any type, with the fields of those that can be translated: `custom`, which is the
    type of one that gives none, and web search."""

    type: str | None = None
    name: Named | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    input_examples: list[Any] | None = None
    defer_loading: bool | None = None
    max_uses: int | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    user_location: dict[str, Any] | None = None

    @property
    def custom(self) -> bool:
        """The client runs it, and says what it takes."""
        return self.type in (None, "custom")

    @property
    def search(self) -> bool:
        """Web search, of whichever version."""
        return self.type is not None and self.type.startswith("web_search_")


class ToolChoice(Struct, frozen=True, gc=False):
    """Whether, or which, tools must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: Named | None = None
    disable_parallel_tool_use: bool | None = None


class ContextManagement(Struct, frozen=True, gc=False):
    """What the provider may take out of a prompt."""

    edits: list[dict[str, Any]] | None = None


class MessagesRequest(Struct, frozen=True, kw_only=True):
    """A request. Absent and `null` are the same. `metadata` may hold labels for the gateway beside
    the `user_id` that the API knows."""

    model: Named
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    """Only a request to count may leave it out."""

    billing_policy: Any = None
    cache_control: CacheControl | None = None
    compaction: dict[str, Any] | None = None
    container: str | dict[str, Any] | None = None
    context_management: ContextManagement | None = None
    diagnostics: dict[str, Any] | None = None
    fallback_credit_token: Any = None
    fallbacks: Any = None
    inference_geo: str | None = None
    mcp_servers: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    """The older name of `output_config.format`."""
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    system: str | list[Block] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    thinking: Thinking | None = None
    thread: dict[str, Any] | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None

    @property
    def user(self) -> str | None:
        """Who the user is."""
        return None if self.metadata is None else self.metadata.get("user_id")

    @property
    def labels(self) -> dict[str, str] | None:
        """What stands in `metadata` for the gateway alone."""
        found = {
            name: value
            for name, value in (self.metadata or {}).items()
            if name != "user_id" and isinstance(value, str)
        }
        return found or None


FIELDS: Final = frozenset(MessagesRequest.__struct_fields__)
_REQUEST: Final = msgspec.json.Decoder(MessagesRequest)
_AGAIN: Final = Again(MessagesRequest)


def decode(body: bytes) -> MessagesRequest:
    """Read a body, which `parsing` has accepted before unless it is what reads it now. Raises
    msgspec.MsgspecError."""
    return _AGAIN.decode(body)


# --- what stands inside a block -----------------------------------------------------------

_BLOCKS: Final = msgspec.json.Decoder(str | list[Block] | None)
_SOURCE: Final = msgspec.json.Decoder(Source)
_LINK: Final = msgspec.json.Decoder(str)
_CITATIONS: Final = msgspec.json.Decoder(Citations | None)


def content_of(block: Block | Source) -> str | list[Block]:
    """What a tool gave, or what stands in a source or search result. Raises msgspec's
    ValidationError."""
    return (_BLOCKS.decode(block.content) or "") if block.content else ""


def source_of(block: Block) -> Source:
    """An image's or document's source. Raises msgspec's ValidationError."""
    return _SOURCE.decode(block.source)


def link_of(block: Block) -> str:
    """Where a search result is from. Raises msgspec's ValidationError."""
    return _LINK.decode(block.source)


def cited(block: Block) -> bool:
    """A document or search result is to be cited from. Raises msgspec's ValidationError."""
    found = _CITATIONS.decode(block.citations) if block.citations else None
    return found is not None and bool(found.enabled)
