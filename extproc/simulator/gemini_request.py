"""What Gemini's `generateContent` takes, field by field, on the Developer API.

The fields are those of the API's reference as the official SDK sends them; a test holds the two
against each other. Like every Google API it takes `snake_case` names too, null for "not set",
and 64-bit integers as strings.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel", gc=False):
    """Takes no field that it does not name."""


class MediaResolution(Strict):
    """Resolution of one part."""

    level: str | None = None
    num_tokens: int | None = None


class CodeExecutionResult(Strict):
    """What code gave."""

    outcome: str | None = None
    output: str | None = None
    id: str | None = None


class ExecutableCode(Strict):
    """Code to run."""

    code: str | None = None
    language: str | None = None
    id: str | None = None


class FileData(Strict):
    """A file by URI."""

    display_name: str | None = None
    file_uri: str | None = None
    mime_type: str | None = None


class Blob(Strict):
    """Bytes in base64."""

    data: str | None = None
    display_name: str | None = None
    mime_type: str | None = None


class FunctionCall(Strict):
    """A tool call, handed back."""

    id: str | None = None
    name: str | None = None
    args: dict[str, Any] | None = None


class ResponseBlob(Strict):
    """Bytes of a tool's result, in base64."""

    data: str | None = None
    display_name: str | None = None
    mime_type: str | None = None


class ResponsePart(Strict):
    """A file of a tool's result."""

    inline_data: ResponseBlob | None = None
    file_data: FileData | None = None
    media_processing: dict[str, Any] | None = None
    media_resolution: MediaResolution | None = None
    video_metadata: dict[str, Any] | None = None
    document_metadata: dict[str, Any] | None = None
    spreadsheet_metadata: dict[str, Any] | None = None
    audio_metadata: dict[str, Any] | None = None


class FunctionResponse(Strict):
    """A tool's result."""

    id: str | None = None
    name: str | None = None
    response: dict[str, Any] | None = None
    parts: list[ResponsePart] | None = None
    scheduling: str | None = None
    will_continue: bool | None = None


class ServerToolCall(Strict):
    """A call of the provider's own tool, handed back."""

    id: str | None = None
    tool_type: str | None = None
    args: dict[str, Any] | None = None


class ServerToolResponse(Strict):
    """The result of the provider's own tool, handed back."""

    id: str | None = None
    tool_type: str | None = None
    response: dict[str, Any] | None = None


class VideoMetadata(Strict):
    """Which part of a video."""

    start_offset: str | None = None
    end_offset: str | None = None
    fps: float | None = None
    content_layers: list[str] | None = None


class Part(Strict):
    """A part. At most one of the data fields is set."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: ExecutableCode | None = None
    code_execution_result: CodeExecutionResult | None = None
    tool_call: ServerToolCall | None = None
    tool_response: ServerToolResponse | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    part_metadata: dict[str, Any] | None = None
    media_resolution: MediaResolution | None = None
    video_metadata: VideoMetadata | None = None
    audio_transcription: dict[str, Any] | None = None
    media_processing: dict[str, Any] | None = None
    speech_metadata: dict[str, Any] | None = None
    document_metadata: dict[str, Any] | None = None
    spreadsheet_metadata: dict[str, Any] | None = None
    audio_metadata: dict[str, Any] | None = None


DATA_FIELDS = (
    "text",
    "inline_data",
    "file_data",
    "function_call",
    "function_response",
    "executable_code",
    "code_execution_result",
    "tool_call",
    "tool_response",
)


class Content(Strict):
    """A turn."""

    parts: list[Part] | None = None
    role: str | None = None


class Schema(Strict):
    """Gemini's own schema dialect. It knows no `additionalProperties`, `$ref` or `$defs`: JSON
    Schema goes into the `…JsonSchema` fields instead."""

    any_of: list[Schema] | None = None
    default: Any = None
    description: str | None = None
    enum: list[str] | None = None
    example: Any = None
    format: str | None = None
    items: Schema | None = None
    max_items: int | str | None = None
    max_length: int | str | None = None
    max_properties: int | str | None = None
    maximum: float | None = None
    min_items: int | str | None = None
    min_length: int | str | None = None
    min_properties: int | str | None = None
    minimum: float | None = None
    nullable: bool | None = None
    pattern: str | None = None
    properties: dict[str, Schema] | None = None
    property_ordering: list[str] | None = None
    required: list[str] | None = None
    title: str | None = None
    type: (
        Literal[
            "TYPE_UNSPECIFIED",
            "STRING",
            "NUMBER",
            "INTEGER",
            "BOOLEAN",
            "ARRAY",
            "OBJECT",
            "NULL",
            "string",
            "number",
            "integer",
            "boolean",
            "array",
            "object",
            "null",
        ]
        | None
    ) = None


class FunctionDeclaration(Strict):
    """A function."""

    name: str | None = None
    description: str | None = None
    parameters: Schema | None = None
    parameters_json_schema: Any = None
    response: Schema | None = None
    response_json_schema: Any = None
    behavior: Literal["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"] | None = None


class Tool(Strict):
    """Functions, or one of the provider's own tools."""

    function_declarations: list[FunctionDeclaration] | None = None
    code_execution: dict[str, Any] | None = None
    computer_use: dict[str, Any] | None = None
    file_search: dict[str, Any] | None = None
    google_maps: dict[str, Any] | None = None
    google_search: dict[str, Any] | None = None
    google_search_retrieval: dict[str, Any] | None = None
    mcp_servers: list[dict[str, Any]] | None = None
    url_context: dict[str, Any] | None = None


class FunctionCallingConfig(Strict):
    """Whether to call."""

    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] | None = None
    allowed_function_names: list[str] | None = None
    stream_function_call_arguments: bool | None = None


class LatLng(Strict):
    """A place."""

    latitude: float | None = None
    longitude: float | None = None


class RetrievalConfig(Strict):
    """Where the user is."""

    lat_lng: LatLng | None = None
    language_code: str | None = None


class ToolConfig(Strict):
    """How tools are used."""

    function_calling_config: FunctionCallingConfig | None = None
    retrieval_config: RetrievalConfig | None = None
    include_server_side_tool_invocations: bool | None = None


class SafetySetting(Strict):
    """A filter's threshold."""

    category: (
        Literal[
            "HARM_CATEGORY_UNSPECIFIED",
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
            "HARM_CATEGORY_JAILBREAK",
        ]
        | None
    ) = None
    threshold: (
        Literal[
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ]
        | None
    ) = None


class ThinkingConfig(Strict):
    """How to think."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: (
        Literal[
            "THINKING_LEVEL_UNSPECIFIED",
            "MINIMAL",
            "LOW",
            "MEDIUM",
            "HIGH",
            "XHIGH",
            "minimal",
            "low",
            "medium",
            "high",
            "xhigh",
        ]
        | None
    ) = None


class ImageConfig(Strict):
    """How images are made."""

    aspect_ratio: str | None = None
    image_size: str | None = None


class GenerationConfig(Strict):
    """How to generate."""

    candidate_count: int | None = None
    stop_sequences: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: str | None = None
    response_schema: Schema | None = None
    response_json_schema: Any = None
    response_modalities: (
        list[Literal["MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO"]] | None
    ) = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    media_resolution: str | None = None
    speech_config: dict[str, Any] | None = None
    thinking_config: ThinkingConfig | None = None
    image_config: ImageConfig | None = None
    enable_enhanced_civic_answers: bool | None = None
    enable_affective_dialog: bool | None = None
    response_format: list[dict[str, Any]] | None = None
    translation_config: dict[str, Any] | None = None
    audio_transcription_config: dict[str, Any] | None = None


class Body(Strict):
    """The whole body."""

    contents: list[Content] | None = None
    system_instruction: Content | None = None
    tools: list[Tool] | None = None
    tool_config: ToolConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    generation_config: GenerationConfig | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None
    model: str | None = None
    service_tier: str | None = None
    continuation_token: str | None = None
    store: bool | None = None


BODY = msgspec.json.Decoder(Body)

_FREE = {
    "args",
    "response",
    "parametersJsonSchema",
    "responseJsonSchema",
    "partMetadata",
    "properties",
    "defs",
    "labels",
    "default",
    "example",
}
"""Fields whose keys are the client's own."""


def camel(value: Any) -> Any:
    """The document with its `snake_case` field names in `camelCase`."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        head, *rest = key.split("_")
        name = head + "".join(word.capitalize() for word in rest) if head else key
        if name == "properties" and isinstance(inner, dict):
            found[name] = {one: camel(schema) for one, schema in inner.items()}
        else:
            found[name] = inner if name in _FREE else camel(inner)
    return found
