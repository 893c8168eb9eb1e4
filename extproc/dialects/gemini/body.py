"""The body of generateContent, as it is sent."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType


class Called(Struct, frozen=True, gc=False, omit_defaults=True):
    """A call that the model made."""

    name: str
    args: Raw
    id: str | None = None


class Blob(Struct, frozen=True, gc=False, rename="camel"):
    """Bytes, in base64."""

    mime_type: str
    data: str


class FileData(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A file by its URI."""

    file_uri: str
    mime_type: str | None = None


class Media(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """An image, a sound, a film or a document: one of the two."""

    inline_data: Blob | None = None
    file_data: FileData | None = None
    thought_signature: str | None = None


class Responded(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a call gave."""

    name: str
    response: Raw | dict[str, str]
    id: str | None = None
    parts: list[Media] | None = None


class Text(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Text."""

    text: str
    thought: bool = False
    thought_signature: str | None = None


class CallPart(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A call, with the signature of the thinking that led to it."""

    function_call: Called
    thought_signature: str | None = None


class ResponsePart(Struct, frozen=True, gc=False, rename="camel"):
    """A call's result."""

    function_response: Responded


Part = Text | CallPart | ResponsePart | Media | Raw
"""`Raw`: a whole part as the model gave it."""


class Content(Struct, frozen=True, gc=False):
    """Consecutive messages of one side."""

    parts: list[Part]
    role: str


class Instruction(Struct, frozen=True, gc=False):
    """What the model is told before the conversation."""

    parts: list[Part]


class Declaration(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A function that the model may call. The schema is plain JSON Schema, which Gemini takes
    under this name (`parameters` takes a subset of OpenAPI's)."""

    name: str
    description: str | None = None
    parameters_json_schema: dict[str, Any] | None = None


class Tools(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """All functions are one tool; a search is another."""

    function_declarations: list[Declaration] | None = None
    google_search: dict[str, Any] | UnsetType = UNSET


class CallingConfig(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """`AUTO`, `ANY`, `VALIDATED` or `NONE`."""

    mode: str
    allowed_function_names: list[str] | None = None


class ToolConfig(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Which functions may or must be called."""

    function_calling_config: CallingConfig | None = None
    include_server_side_tool_invocations: bool | None = None


class Thinking(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """`thinking_budget` in tokens: 0 is off, -1 leaves it to the model."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class Generation(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Sampling, bounds and the shape of the answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    candidate_count: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    response_modalities: list[str] | None = None
    thinking_config: Thinking | None = None


class Request(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The body. `model` only where it stands in another one."""

    model: str | None = None
    system_instruction: Instruction | None = None
    contents: list[Content]
    tools: list[Tools] | None = None
    tool_config: ToolConfig | None = None
    generation_config: Generation | None = None
    service_tier: str | None = None


class CountRequest(Struct, frozen=True, gc=False, rename="camel"):
    """The Developer API's countTokens counts a whole request under this name only."""

    generate_content_request: Request
