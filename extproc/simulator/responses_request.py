"""What OpenAI's `POST /v1/responses` takes, field by field.

Items and tools are read one by one by their `type` (`ITEMS`, `TOOLS`). Those that only OpenAI's
own tools make or use are taken as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from extproc.simulator.openai_request import (
    CacheBreakpoint,
    Effort,
    Metadata,
    Moderation,
    Name,
    Strict,
)

Status = Literal["in_progress", "completed", "incomplete"]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
CallId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Callers = list[Literal["direct", "programmatic"]]


class InputText(Strict, tag_field="type", tag="input_text"):
    """Text from outside."""

    text: str
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class InputImage(Strict, tag_field="type", tag="input_image"):
    """An image by address, data URL or file."""

    detail: Literal["low", "high", "auto", "original"] | UnsetType = UNSET
    file_id: str | None = None
    image_url: str | None = None
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class InputFile(Strict, tag_field="type", tag="input_file"):
    """A file by address, data URL or id."""

    detail: Literal["auto", "low", "high"] | UnsetType = UNSET
    file_data: str | UnsetType = UNSET
    file_id: str | None = None
    file_url: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class OutputText(Strict, tag_field="type", tag="output_text"):
    """The model's text, handed back."""

    text: str
    annotations: list[Any] | UnsetType = UNSET
    logprobs: list[Any] | None = None


class Refusal(Strict, tag_field="type", tag="refusal"):
    """The model's refusal, handed back."""

    refusal: str


class SummaryText(Strict, tag_field="type", tag="summary_text"):
    """A piece of a summary of reasoning."""

    text: str


class ReasoningText(Strict, tag_field="type", tag="reasoning_text"):
    """A piece of reasoning."""

    text: str


PARTS = ("input_text", "input_image", "input_file", "output_text", "refusal")
Part = InputText | InputImage | InputFile | OutputText | Refusal


class Item(Strict):
    """What an item may say of itself."""

    type: str


class Message(Item):
    """A message of either side."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    id: str | UnsetType = UNSET
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Item, rename={"is_async": "async"}):
    """A call of a function."""

    call_id: CallId
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    arguments: str
    id: str | UnsetType = UNSET
    status: Status | None = None
    namespace: str | None = None
    caller: dict[str, Any] | None = None
    is_async: bool | UnsetType = UNSET


class CallOutput(Item):
    """The result of a call, of a function or a custom tool."""

    output: str | list[InputText | InputImage | InputFile]
    call_id: CallId
    id: str | None = None
    status: Status | None = None
    caller: dict[str, Any] | None = None
    name: str | None = None
    namespace: str | None = None


class CustomCall(Item, rename={"is_async": "async"}):
    """A call of a custom tool."""

    call_id: CallId
    name: str
    input: str
    id: str | UnsetType = UNSET
    status: Status | None = None
    """Not in the reference, but taken: it is in every answer that is handed back."""
    namespace: str | None = None
    caller: dict[str, Any] | None = None
    is_async: bool | UnsetType = UNSET


class Reasoning(Item):
    """Reasoning, handed back."""

    summary: list[SummaryText]
    id: str | UnsetType = UNSET
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class Reference(Item):
    """An item by its id."""

    id: str


class Other(msgspec.Struct, kw_only=True):
    """An item or a tool of OpenAI's own tools."""

    type: str


_OWN_ITEMS: Mapping[str, type[msgspec.Struct]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": CallOutput,
    "custom_tool_call": CustomCall,
    "custom_tool_call_output": CallOutput,
    "reasoning": Reasoning,
    "item_reference": Reference,
}
ITEMS: Mapping[str, type[msgspec.Struct]] = {**_OWN_ITEMS} | dict.fromkeys(
    (
        "file_search_call",
        "computer_call",
        "computer_call_output",
        "web_search_call",
        "tool_search_call",
        "tool_search_output",
        "additional_tools",
        "configuration_update",
        "compaction",
        "compaction_trigger",
        "image_generation_call",
        "code_interpreter_call",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "program",
        "program_output",
    ),
    Other,
)


class FunctionTool(Strict, rename={"is_async": "async"}):
    """A function."""

    type: str
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None
    output_schema: dict[str, Any] | None = None
    allowed_callers: Callers | None = None
    defer_loading: bool | UnsetType = UNSET
    is_async: bool | UnsetType = UNSET


class TextInput(Strict, tag_field="type", tag="text"):
    """Free input."""


class GrammarInput(Strict, tag_field="type", tag="grammar"):
    """Input that fits a grammar."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomTool(Strict, rename={"is_async": "async"}):
    """A tool that takes free text."""

    type: str
    name: Name
    description: str | UnsetType = UNSET
    format: TextInput | GrammarInput | UnsetType = UNSET
    allowed_callers: Callers | None = None
    defer_loading: bool | UnsetType = UNSET
    is_async: bool | UnsetType = UNSET


class Place(Strict):
    """About where the user is."""

    type: Literal["approximate"] | UnsetType = UNSET
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class Domains(Strict):
    """Where to search."""

    allowed_domains: list[str] | None = None


class WebSearch(Strict):
    """Search the web."""

    type: str
    external_web_access: bool | UnsetType = UNSET
    filters: Domains | None = None
    search_context_size: Literal["low", "medium", "high"] | UnsetType = UNSET
    user_location: Place | None = None


class WebSearchPreview(Strict):
    """Search the web, as it was before."""

    type: str
    search_content_types: list[Literal["text", "image"]] | UnsetType = UNSET
    search_context_size: Literal["low", "medium", "high"] | UnsetType = UNSET
    user_location: Place | None = None


class FileSearch(Strict):
    """Search files."""

    type: str
    vector_store_ids: list[str]
    filters: dict[str, Any] | None = None
    max_num_results: Annotated[int, msgspec.Meta(ge=1, le=50)] | UnsetType = UNSET
    ranking_options: dict[str, Any] | UnsetType = UNSET


_OWN_TOOLS: Mapping[str, type[msgspec.Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "web_search": WebSearch,
    "web_search_2025_08_26": WebSearch,
    "web_search_preview": WebSearchPreview,
    "web_search_preview_2025_03_11": WebSearchPreview,
    "file_search": FileSearch,
}
TOOLS: Mapping[str, type[msgspec.Struct]] = {**_OWN_TOOLS} | dict.fromkeys(
    (
        "computer",
        "computer_use_preview",
        "mcp",
        "code_interpreter",
        "programmatic_tool_calling",
        "image_generation",
        "local_shell",
        "shell",
        "namespace",
        "tool_search",
        "apply_patch",
    ),
    Other,
)


class Named(Strict, tag_field="type", tag="function"):
    """Choose this function."""

    name: str


class NamedCustom(Strict, tag_field="type", tag="custom"):
    """Choose this custom tool."""

    name: str


class NamedServer(Strict, tag_field="type", tag="mcp"):
    """Choose a tool of this server."""

    server_label: str
    name: str | None = None


class Allowed(Strict, tag_field="type", tag="allowed_tools"):
    """Choose among some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


BUILT_IN_CHOICES = (
    "file_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "computer",
    "computer_use",
    "computer_use_preview",
    "image_generation",
    "code_interpreter",
    "programmatic_tool_calling",
    "apply_patch",
    "shell",
)


class TextFormat(Strict, tag_field="type", tag="text"):
    """Plain text."""


class SchemaFormat(Strict, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    name: Name
    schema: dict[str, Any]
    description: str | UnsetType = UNSET
    strict: bool | None = None


class JSONFormat(Strict, tag_field="type", tag="json_object"):
    """Any JSON object."""


class TextConfig(Strict):
    """How the text is to be."""

    format: TextFormat | SchemaFormat | JSONFormat | UnsetType = UNSET
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(Strict):
    """How to reason."""

    context: Literal["auto", "current_turn", "all_turns"] | None = None
    effort: Effort | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    mode: Literal["standard", "pro"] | UnsetType = UNSET
    summary: Literal["auto", "concise", "detailed"] | None = None


class StreamOptions(Strict):
    """How to stream."""

    include_obfuscation: bool | UnsetType = UNSET


class Prompt(Strict):
    """A prompt that is kept at OpenAI."""

    id: str
    variables: dict[str, Any] | None = None
    version: str | None = None


class ConversationId(Strict):
    """A conversation by its id."""

    id: str


class CacheOptions(Strict):
    """How the prompt is cached."""

    comparison_response_id: str | None = None
    mode: Literal["implicit", "explicit"] | UnsetType = UNSET
    prewarm: bool | UnsetType = UNSET
    ttl: Literal["30m", "12h"] | UnsetType = UNSET


class Compaction(Strict):
    """When to make the context smaller."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, msgspec.Meta(ge=1000)] | None = None


class Shared(Strict):
    """What creating a response and counting its input take alike."""

    conversation: str | ConversationId | None = None
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    model: str | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    reasoning: ReasoningConfig | None = None
    text: TextConfig | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    truncation: Literal["auto", "disabled"] | None = None


class CountBody(Shared):
    """The body of `POST /v1/responses/input_tokens`."""

    personality: str | UnsetType = UNSET


class Body(Shared):
    """The body of `POST /v1/responses`."""

    access_programs: dict[str, Any] | UnsetType = UNSET
    background: bool | None = None
    background_options: dict[str, Any] | UnsetType = UNSET
    context_management: list[Compaction] | None = None
    image: dict[str, Any] | UnsetType = UNSET
    include: list[Include] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=16)] | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: Metadata | None = None
    moderation: Moderation | None = None
    prompt: Prompt | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    safety_identifier: str | None = None
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None
    ) = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | UnsetType = UNSET
