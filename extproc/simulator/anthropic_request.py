"""What Anthropic's `POST /v1/messages` takes, field by field.

The fields are those of the API's reference as the official SDK types them; a test holds the two
against each other. Results of the provider's own tools are taken as they are inside: a gateway
never makes them. `| None` stands only where the API takes null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Takes no field that it does not name."""


class CacheControl(_Strict, tag_field="type", tag="ephemeral"):
    """Where a cached prefix ends."""

    ttl: Literal["5m", "1h"] | UnsetType = UNSET


class Citations(_Strict):
    """Whether to cite."""

    enabled: bool | UnsetType = UNSET


class Text(_Strict, tag_field="type", tag="text"):
    """Text."""

    text: str
    cache_control: CacheControl | None = None
    citations: list[dict[str, Any]] | None = None


class Base64Image(_Strict, tag_field="type", tag="base64"):
    """An image in base64."""

    data: str
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


class URLImage(_Strict, tag_field="type", tag="url"):
    """An image by URL."""

    url: str


class FileImage(_Strict, tag_field="type", tag="file"):
    """An image by file id."""

    file_id: str


class ImageTransformations(_Strict):
    """What to do with a large image."""

    oversized_image: Literal["downsize", "error"] | UnsetType = UNSET


class Image(_Strict, tag_field="type", tag="image"):
    """An image."""

    source: Base64Image | URLImage | FileImage
    cache_control: CacheControl | None = None
    transformations: ImageTransformations | None = None


class Base64PDF(_Strict, tag_field="type", tag="base64"):
    """A PDF in base64."""

    data: str
    media_type: Literal["application/pdf"]


class PlainText(_Strict, tag_field="type", tag="text"):
    """A text document."""

    data: str
    media_type: Literal["text/plain"]


class ContentSource(_Strict, tag_field="type", tag="content"):
    """A document made of blocks."""

    content: str | list[Text | Image]


class URLPDF(_Strict, tag_field="type", tag="url"):
    """A PDF by URL."""

    url: str


class FileDocument(_Strict, tag_field="type", tag="file"):
    """A document by file id."""

    file_id: str


class Document(_Strict, tag_field="type", tag="document"):
    """A document."""

    source: Base64PDF | PlainText | ContentSource | URLPDF | FileDocument
    cache_control: CacheControl | None = None
    citations: Citations | None = None
    context: str | None = None
    title: str | None = None


class SearchResult(_Strict, tag_field="type", tag="search_result"):
    """A search result."""

    content: list[Text]
    source: str
    title: str
    cache_control: CacheControl | None = None
    citations: Citations | UnsetType = UNSET


class Thinking(_Strict, tag_field="type", tag="thinking"):
    """Thinking, handed back."""

    signature: str
    thinking: str


class RedactedThinking(_Strict, tag_field="type", tag="redacted_thinking"):
    """Hidden thinking, handed back."""

    data: str


Id = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]+$")]


class ToolUse(_Strict, tag_field="type", tag="tool_use"):
    """A tool call, handed back."""

    id: Id
    input: dict[str, Any]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    cache_control: CacheControl | None = None
    caller: dict[str, Any] | UnsetType = UNSET
    toolset_name: str | None = None


class ToolReference(_Strict, tag_field="type", tag="tool_reference"):
    """A tool by name."""

    tool_name: str
    cache_control: CacheControl | None = None


class BrowserState(_Strict, tag_field="type", tag="browser_state"):
    """What the browser shows."""

    tabs: list[dict[str, Any]]
    cache_control: CacheControl | None = None
    state_changes: list[dict[str, Any]] | None = None


class ToolResult(_Strict, tag_field="type", tag="tool_result"):
    """A tool's result."""

    tool_use_id: Id
    cache_control: CacheControl | None = None
    content: (
        str
        | list[Text | Image | SearchResult | Document | ToolReference | BrowserState]
        | UnsetType
    ) = UNSET
    is_error: bool | UnsetType = UNSET
    toolset_name: str | None = None


class ServerToolUse(_Strict, tag_field="type", tag="server_tool_use"):
    """A call of the provider's own tool, handed back."""

    id: str
    input: dict[str, Any]
    name: Literal[
        "web_search",
        "web_fetch",
        "code_execution",
        "bash_code_execution",
        "text_editor_code_execution",
        "advisor",
        "tool_search_tool_regex",
        "tool_search_tool_bm25",
    ]
    cache_control: CacheControl | None = None
    caller: dict[str, Any] | UnsetType = UNSET


class _ServerResult(_Strict):
    tool_use_id: str
    content: list[dict[str, Any]] | dict[str, Any]
    cache_control: CacheControl | None = None


class WebSearchResult(_ServerResult, tag_field="type", tag="web_search_tool_result"):
    """Of web search."""

    caller: dict[str, Any] | UnsetType = UNSET


class WebFetchResult(_ServerResult, tag_field="type", tag="web_fetch_tool_result"):
    """Of web fetch."""

    caller: dict[str, Any] | UnsetType = UNSET


class CodeResult(_ServerResult, tag_field="type", tag="code_execution_tool_result"):
    """Of code execution."""


class BashResult(_ServerResult, tag_field="type", tag="bash_code_execution_tool_result"):
    """Of bash."""


class EditorResult(_ServerResult, tag_field="type", tag="text_editor_code_execution_tool_result"):
    """Of the text editor."""


class ToolSearchResult(_ServerResult, tag_field="type", tag="tool_search_tool_result"):
    """Of tool search."""


class AdvisorResult(_ServerResult, tag_field="type", tag="advisor_tool_result"):
    """Of a stronger model (beta)."""


class McpToolUse(_Strict, tag_field="type", tag="mcp_tool_use"):
    """A call of an MCP server's tool, handed back (beta)."""

    id: str
    input: dict[str, Any]
    name: str
    server_name: str
    cache_control: CacheControl | None = None


class McpToolResult(_Strict, tag_field="type", tag="mcp_tool_result"):
    """Of an MCP server's tool (beta)."""

    tool_use_id: str
    content: str | list[Text] | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    cache_control: CacheControl | None = None


class ContainerUpload(_Strict, tag_field="type", tag="container_upload"):
    """A file for the container."""

    file_id: str
    cache_control: CacheControl | None = None


Block = (
    Text
    | Image
    | Document
    | SearchResult
    | Thinking
    | RedactedThinking
    | ToolUse
    | ToolResult
    | ServerToolUse
    | WebSearchResult
    | WebFetchResult
    | CodeResult
    | BashResult
    | EditorResult
    | ToolSearchResult
    | AdvisorResult
    | McpToolUse
    | McpToolResult
    | ContainerUpload
)


class Message(_Strict):
    """One message. `system` within the conversation is for operators' later instructions."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Container(_Strict):
    """Where code runs."""

    id: str | None = None
    skills: list[dict[str, Any]] | None = None


class Diagnostics(_Strict):
    """For finding cache misses."""

    previous_message_id: str | None = None


class ContextManagement(_Strict):
    """What to drop of a long conversation."""

    edits: list[dict[str, Any]] | UnsetType = UNSET


class Metadata(_Strict):
    """About the request."""

    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class JSONFormat(_Strict, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    schema: dict[str, Any]


class OutputConfig(_Strict):
    """How to answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JSONFormat | None = None


Display = Literal["summarized", "omitted"]


class ThinkingEnabled(_Strict, tag_field="type", tag="enabled"):
    """Think, within a budget."""

    budget_tokens: Annotated[int, msgspec.Meta(ge=1024)]
    display: Display | None = None


class ThinkingDisabled(_Strict, tag_field="type", tag="disabled"):
    """Do not think."""


class ThinkingBetweenTools(_Strict, tag_field="type", tag="between_tools"):
    """Think between tool calls."""


class ThinkingAdaptive(_Strict, tag_field="type", tag="adaptive"):
    """Think as needed."""

    display: Display | None = None


class ChoiceAuto(_Strict, tag_field="type", tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceAny(_Strict, tag_field="type", tag="any"):
    """Some tool."""

    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceTool(_Strict, tag_field="type", tag="tool"):
    """The named tool."""

    name: str
    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceNone(_Strict, tag_field="type", tag="none"):
    """No tool."""


Callers = list[
    Literal[
        "direct",
        "code_execution_20250825",
        "code_execution_20260120",
        "code_execution_20260521",
    ]
]


class InputSchema(msgspec.Struct, kw_only=True):
    """The arguments' JSON Schema; only its outside is checked."""

    type: Literal["object"]
    properties: dict[str, Any] | None = None
    required: list[str] | None = None


class CustomTool(_Strict):
    """The client's own tool."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str | UnsetType = UNSET
    allowed_callers: Callers | UnsetType = UNSET
    cache_control: CacheControl | None = None
    defer_loading: bool | UnsetType = UNSET
    eager_input_streaming: bool | None = None
    input_examples: list[dict[str, Any]] | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class ServerTool(_Strict):
    """A tool that the provider defines."""

    name: str
    type: str
    allowed_callers: Callers | UnsetType = UNSET
    cache_control: CacheControl | None = None
    defer_loading: bool | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class ExampleTool(ServerTool):
    """bash, memory and the text editor."""

    input_examples: list[dict[str, Any]] | UnsetType = UNSET
    max_characters: int | None = None


class Toolset(_Strict):
    """Browser and computer."""

    type: str
    cache_control: CacheControl | None = None
    configs: dict[str, dict[str, Any] | None] | None = None


class WebTool(ServerTool):
    """Web search and fetch."""

    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    max_uses: int | None = None
    user_location: dict[str, Any] | None = None
    citations: Citations | None = None
    max_content_tokens: int | None = None
    url_sources: dict[str, Any] | None = None
    use_cache: bool | UnsetType = UNSET
    response_inclusion: Literal["full", "excluded"] | UnsetType = UNSET


class AdvisorTool(ServerTool, kw_only=True):
    """A stronger model to ask (beta)."""

    model: str
    caching: CacheControl | None = None
    max_tokens: int | None = None
    max_uses: int | None = None


class McpToolset(_Strict):
    """The tools of an MCP server (beta)."""

    type: Literal["mcp_toolset"]
    mcp_server_name: str
    cache_control: CacheControl | None = None
    configs: dict[str, Any] | None = None
    default_config: dict[str, Any] | UnsetType = UNSET


TOOLS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("bash_", ExampleTool),
    ("memory_", ExampleTool),
    ("text_editor_", ExampleTool),
    ("code_execution_", ServerTool),
    ("tool_search_tool_", ServerTool),
    ("advisor_", AdvisorTool),
    ("mcp_toolset", McpToolset),
    ("browser_toolset_", Toolset),
    ("computer_toolset_", Toolset),
    ("web_search_", WebTool),
    ("web_fetch_", WebTool),
)
"""What a tool's `type` begins with, and its fields. No type, or `custom`, is `CustomTool`."""

Temperature = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Body(_Strict):
    """The whole body. `temperature`, `top_k` and `top_p` are gone from API version 2026-10-21 and
    from the newest models; version 2023-06-01 still has them for older ones."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: list[Message]
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    cache_control: CacheControl | None = None
    container: Container | str | None = None
    diagnostics: Diagnostics | None = None
    inference_geo: str | None = None
    metadata: Metadata | UnsetType = UNSET
    output_config: OutputConfig | UnsetType = UNSET
    service_tier: Literal["auto", "standard_only"] | UnsetType = UNSET
    speed: Literal["fast", "standard"] | None = None
    stop_sequences: list[str] | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    system: str | list[Text] | UnsetType = UNSET
    temperature: Temperature | UnsetType = UNSET
    thinking: (
        ThinkingEnabled | ThinkingDisabled | ThinkingBetweenTools | ThinkingAdaptive | UnsetType
    ) = UNSET
    tool_choice: ChoiceAuto | ChoiceAny | ChoiceTool | ChoiceNone | UnsetType = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET
    top_k: Annotated[int, msgspec.Meta(ge=0)] | UnsetType = UNSET
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | UnsetType = UNSET
    user_profile_id: str | UnsetType = UNSET
    workspace_id: str | UnsetType = UNSET
    context_management: ContextManagement | None = None
    """Beta `context-management-2025-06-27`."""
    mcp_servers: list[dict[str, Any]] | UnsetType = UNSET
    """Beta `mcp-client-2025-11-20`."""


class CountBody(_Strict):
    """The whole body of `POST /v1/messages/count_tokens`."""

    messages: list[Message]
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    cache_control: CacheControl | None = None
    output_config: OutputConfig | UnsetType = UNSET
    speed: Literal["fast", "standard"] | None = None
    system: str | list[Text] | UnsetType = UNSET
    thinking: (
        ThinkingEnabled | ThinkingDisabled | ThinkingBetweenTools | ThinkingAdaptive | UnsetType
    ) = UNSET
    tool_choice: ChoiceAuto | ChoiceAny | ChoiceTool | ChoiceNone | UnsetType = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET
    user_profile_id: str | UnsetType = UNSET
    workspace_id: str | UnsetType = UNSET
    context_management: ContextManagement | None = None
    mcp_servers: list[dict[str, Any]] | UnsetType = UNSET

    def whole(self) -> Body:
        """The request whose tokens are counted; it may write all that a budget allows for."""
        thinking = self.thinking
        budget = thinking.budget_tokens if isinstance(thinking, ThinkingEnabled) else 0
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return Body(max_tokens=budget + 1, **given)


BODY = msgspec.json.Decoder(Body)
COUNT_BODY = msgspec.json.Decoder(CountBody)
