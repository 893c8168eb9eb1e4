"""What Cohere's `POST /v2/chat` and `POST /v2/embed` take, field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Takes no field that it does not name."""


class Text(_Strict, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageURL(_Strict):
    """Where an image is."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class Image(_Strict, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageURL


class Thinking(_Strict, tag_field="type", tag="thinking"):
    """Thinking, handed back."""

    thinking: str


class Document(_Strict):
    """A document."""

    data: dict[str, Any] | str
    id: str | None = None


class DocumentContent(_Strict, tag_field="type", tag="document"):
    """A document as a tool's result."""

    document: Document


class Function(_Strict):
    """A call's function."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(_Strict):
    """A tool call, handed back."""

    id: str
    type: Literal["function"]
    function: Function


class System(_Strict, tag_field="role", tag="system"):
    """A message of the system."""

    content: str | list[Text]


class User(_Strict, tag_field="role", tag="user"):
    """A message of the user."""

    content: str | list[Text | Image]


class Assistant(_Strict, tag_field="role", tag="assistant"):
    """A message of the assistant."""

    content: str | list[Text | Thinking] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_plan: str | None = None
    citations: list[dict[str, Any]] | None = None


class ToolMessage(_Strict, tag_field="role", tag="tool"):
    """A tool's result."""

    tool_call_id: str
    content: str | list[Text | DocumentContent]


class FunctionDefinition(_Strict):
    """A function."""

    name: str
    parameters: dict[str, Any]
    description: str | None = None


class Tool(_Strict):
    """A tool."""

    type: Literal["function"]
    function: FunctionDefinition | None = None


class CitationOptions(_Strict):
    """Whether and how to cite."""

    mode: Literal["ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF"] | None = None


class TextFormat(_Strict, tag_field="type", tag="text"):
    """Text."""


class JSONFormat(_Strict, tag_field="type", tag="json_object"):
    """JSON; with a schema, JSON that fits. `schema` is its older name."""

    json_schema: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None


class ThinkingOptions(_Strict):
    """Whether to think."""

    type: Literal["enabled", "disabled"]
    token_budget: Annotated[int, msgspec.Meta(ge=1)] | None = None


Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Chat(_Strict):
    """The whole body of `/v2/chat`."""

    model: str
    messages: list[System | User | Assistant | ToolMessage]
    stream: bool | None = None
    tools: list[Tool] | None = None
    strict_tools: bool | None = None
    documents: list[str | Document] | None = None
    citation_options: CitationOptions | None = None
    response_format: TextFormat | JSONFormat | None = None
    safety_mode: Literal["CONTEXTUAL", "STRICT", "OFF"] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop_sequences: Annotated[list[str], msgspec.Meta(max_length=5)] | None = None
    temperature: Share | None = None
    seed: Annotated[int, msgspec.Meta(ge=0)] | None = None
    frequency_penalty: Share | None = None
    presence_penalty: Share | None = None
    k: Annotated[int, msgspec.Meta(ge=0, le=500)] | None = None
    p: Annotated[float, msgspec.Meta(ge=0.01, le=0.99)] | None = None
    logprobs: bool | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    thinking: ThinkingOptions | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = None


class EmbedInput(_Strict):
    """Text and images to embed together."""

    content: Annotated[list[Text | Image], msgspec.Meta(min_length=1)]


Many = msgspec.Meta(min_length=1, max_length=96)


class Embed(_Strict):
    """The whole body of `/v2/embed`."""

    model: str
    input_type: Literal["search_document", "search_query", "classification", "clustering", "image"]
    texts: Annotated[list[str], Many] | None = None
    images: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1)] | None = None
    inputs: Annotated[list[EmbedInput], Many] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    output_dimension: Literal[256, 512, 1024, 1536] | None = None
    embedding_types: (
        list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] | None
    ) = None
    truncate: Literal["NONE", "START", "END"] | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = None


CHAT = msgspec.json.Decoder(Chat)
EMBED = msgspec.json.Decoder(Embed)
