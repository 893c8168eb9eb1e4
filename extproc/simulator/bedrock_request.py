"""What Amazon Bedrock's `Converse`, `ConverseStream` and `CountTokens` take, field by field.

The fields are those of the service model as the official SDK carries it; a test holds the two
against each other. A union takes exactly one of its members. Blobs are base64.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


class _Strict(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Takes no field that it does not name."""


ONE_MEMBER = "exactly one member of the union must be set"


class _Union(_Strict):
    """Takes exactly one of its fields."""

    def __post_init__(self) -> None:
        """Count the fields."""
        if sum(getattr(self, name) is not None for name in self.__struct_fields__) != 1:
            raise ValueError(f"Wrong value {ONE_MEMBER}")


Blob = Annotated[bytes, msgspec.Meta(min_length=1)]
ToolId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.:-]+$")]
ToolName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]


class S3Location(_Strict):
    """An object in S3."""

    uri: Annotated[
        str,
        msgspec.Meta(max_length=1024, pattern=r"^s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?$"),
    ]
    bucket_owner: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12}$")] | None = None


class BytesSource(_Union):
    """An image, a video or a sound: bytes or S3."""

    bytes: Blob | None = None
    s3_location: S3Location | None = msgspec.field(default=None, name="s3Location")


class ErrorBlock(_Strict):
    """Why a block could not be made."""

    message: str | None = None


class Image(_Strict):
    """An image."""

    format: Literal["png", "jpeg", "gif", "webp"]
    source: BytesSource
    error: ErrorBlock | None = None


class Video(_Strict):
    """A video."""

    format: Literal["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"]
    source: BytesSource


class Audio(_Strict):
    """A sound."""

    format: Literal[
        "mp3",
        "opus",
        "wav",
        "aac",
        "flac",
        "mp4",
        "ogg",
        "mkv",
        "mka",
        "x-aac",
        "m4a",
        "mpeg",
        "mpga",
        "pcm",
        "webm",
    ]
    source: BytesSource
    error: ErrorBlock | None = None


class TextOnly(_Union):
    """A union of one member."""

    text: str | None = None


class DocumentSource(_Union):
    """A document's bytes, its place, or its text."""

    bytes: Blob | None = None
    s3_location: S3Location | None = msgspec.field(default=None, name="s3Location")
    text: str | None = None
    content: list[TextOnly] | None = None


class CitationsConfig(_Strict):
    """Whether to cite."""

    enabled: bool


class Document(_Strict):
    """A document."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    source: DocumentSource
    format: Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | None = None
    context: str | None = None
    citations: CitationsConfig | None = None


class ToolUse(_Strict):
    """A tool call, handed back."""

    tool_use_id: ToolId
    name: ToolName
    input: Any
    type: Literal["server_tool_use"] | None = None


class SearchText(_Strict):
    """A piece of a search result."""

    text: str


class SearchResult(_Strict):
    """A search result."""

    source: str
    title: str
    content: list[SearchText]
    citations: CitationsConfig | None = None


class ResultBlock(_Union):
    """A piece of a tool's result."""

    json: Any = None
    text: str | None = None
    image: Image | None = None
    document: Document | None = None
    video: Video | None = None
    search_result: SearchResult | None = None


class ToolResult(_Strict):
    """A tool's result."""

    tool_use_id: ToolId
    content: list[ResultBlock]
    status: Literal["success", "error"] | None = None
    type: str | None = None


class GuardText(_Strict):
    """A text for the guardrail."""

    text: str
    qualifiers: list[Literal["grounding_source", "query", "guard_content"]] | None = None


class GuardImageSource(_Union):
    """An image's bytes."""

    bytes: Blob | None = None


class GuardImage(_Strict):
    """An image for the guardrail."""

    format: Literal["png", "jpeg"]
    source: GuardImageSource


class GuardContent(_Union):
    """What the guardrail looks at."""

    text: GuardText | None = None
    image: GuardImage | None = None


class CachePoint(_Strict):
    """Where a cached prefix ends."""

    type: Literal["default"]
    ttl: Literal["5m", "1h"] | None = None


class ReasoningText(_Strict):
    """Reasoning, handed back."""

    text: str
    signature: str | None = None


class Reasoning(_Union):
    """Reasoning, or hidden reasoning."""

    reasoning_text: ReasoningText | None = None
    redacted_content: Blob | None = None


class CitationsContent(_Strict):
    """A text with its citations, handed back."""

    content: list[TextOnly] | None = None
    citations: list[dict[str, Any]] | None = None


class ToolReference(_Strict):
    """A tool by name."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    server_name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class ToolChange(_Strict):
    """A tool that comes or goes within the conversation."""

    tool: ToolReference


class Block(_Union):
    """A piece of a message."""

    text: str | None = None
    image: Image | None = None
    document: Document | None = None
    video: Video | None = None
    audio: Audio | None = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None
    guard_content: GuardContent | None = None
    cache_point: CachePoint | None = None
    reasoning_content: Reasoning | None = None
    citations_content: CitationsContent | None = None
    search_result: SearchResult | None = None
    tool_addition: ToolChange | None = None
    tool_removal: ToolChange | None = None


class Message(_Strict):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: list[Block]


class SystemBlock(_Union):
    """A piece of the system prompt."""

    text: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    guard_content: GuardContent | None = None
    cache_point: CachePoint | None = None


class Inference(_Strict):
    """How to generate."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop_sequences: (
        Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(max_length=2500)]
        | None
    ) = None


class InputSchema(_Union):
    """A JSON Schema."""

    json: dict[str, Any] | None = None


class ToolSpec(_Strict):
    """A function."""

    name: ToolName
    input_schema: InputSchema
    description: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    strict: bool | None = None


class SystemTool(_Strict):
    """One of the provider's own tools."""

    name: ToolName


class Tool(_Union):
    """A tool, or where a cached prefix ends."""

    tool_spec: ToolSpec | None = None
    system_tool: SystemTool | None = None
    cache_point: CachePoint | None = None


class Empty(_Strict):
    """No fields."""


class NamedChoice(_Strict):
    """The named tool."""

    name: ToolName


class ToolChoice(_Union):
    """Whether to call."""

    auto: Empty | None = None
    any: Empty | None = None
    tool: NamedChoice | None = None


class ToolConfig(_Strict):
    """The tools."""

    tools: Annotated[list[Tool], msgspec.Meta(min_length=1)]
    tool_choice: ToolChoice | None = None


class Guardrail(_Strict):
    """A guardrail; only a stream has a processing mode."""

    guardrail_identifier: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=2048,
                pattern=r"^(|[a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+)$",
            ),
        ]
        | None
    ) = None
    guardrail_version: (
        Annotated[str, msgspec.Meta(pattern=r"^(|[1-9][0-9]{0,7}|DRAFT)$")] | None
    ) = None
    trace: Literal["enabled", "disabled", "enabled_full"] | None = None
    stream_processing_mode: Literal["sync", "async"] | None = None


class Performance(_Strict):
    """How fast."""

    latency: Literal["standard", "optimized"] | None = None


class ServiceTier(_Strict):
    """Which tier."""

    type: Literal["priority", "default", "flex", "reserved"]


class JsonSchema(_Strict):
    """A JSON Schema, as text."""

    schema: str
    name: str | None = None
    description: str | None = None


class FormatStructure(_Union):
    """A union of one member."""

    json_schema: JsonSchema | None = None


class TextFormat(_Strict):
    """What form the answer has."""

    type: Literal["json_schema"]
    structure: FormatStructure


class OutputConfig(_Strict):
    """How to answer."""

    text_format: TextFormat | None = None
    effort: Annotated[str, msgspec.Meta(max_length=16)] | None = None


class Body(_Strict):
    """The whole body of `Converse` and `ConverseStream`."""

    messages: list[Message] | None = None
    system: list[SystemBlock] | None = None
    inference_config: Inference | None = None
    tool_config: ToolConfig | None = None
    guardrail_config: Guardrail | None = None
    additional_model_request_fields: dict[str, Any] | None = None
    prompt_variables: dict[str, TextOnly] | None = None
    additional_model_response_field_paths: (
        Annotated[list[str], msgspec.Meta(max_length=10)] | None
    ) = None
    request_metadata: (
        Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=16)] | None
    ) = None
    performance_config: Performance | None = None
    service_tier: ServiceTier | None = None
    output_config: OutputConfig | None = None


class CountConverse(_Strict):
    """What to count."""

    messages: list[Message] | None = None
    system: list[SystemBlock] | None = None
    tool_config: ToolConfig | None = None
    additional_model_request_fields: dict[str, Any] | None = None


class CountInvoke(_Strict):
    """A body of the model's own format."""

    body: Annotated[bytes, msgspec.Meta(max_length=25_000_000)]


class CountInput(_Union):
    """What to count, in one of two formats."""

    invoke_model: CountInvoke | None = None
    converse: CountConverse | None = None


class CountBody(_Strict):
    """The whole body of `CountTokens`."""

    input: CountInput


BODY = msgspec.json.Decoder(Body)
COUNT_BODY = msgspec.json.Decoder(CountBody)
