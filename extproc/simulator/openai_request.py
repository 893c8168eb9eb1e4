"""What OpenAI's `POST /v1/chat/completions` takes, field by field.

The fields are those of the API's reference as the official SDK types them; a test holds the two
against each other. `| None` stands only where the API takes null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

NAME = r"^[a-zA-Z0-9_-]{1,64}$"

Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Takes no field that it does not name."""


class CacheBreakpoint(Strict):
    """Where a cached prefix ends."""

    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | UnsetType = UNSET


class TextPart(Strict, tag_field="type", tag="text"):
    """A text part."""

    text: str
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class ImageURL(Strict):
    """An image by URL or data URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | UnsetType = UNSET


class ImagePart(Strict, tag_field="type", tag="image_url"):
    """An image part."""

    image_url: ImageURL
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class InputAudio(Strict):
    """Sound in base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Strict, tag_field="type", tag="input_audio"):
    """A sound part."""

    input_audio: InputAudio
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class FileRef(Strict):
    """A file by id or in base64."""

    file_data: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET


class FilePart(Strict, tag_field="type", tag="file"):
    """A file part."""

    file: FileRef
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class RefusalPart(Strict, tag_field="type", tag="refusal"):
    """The model's refusal, handed back."""

    refusal: str


Texts = str | list[TextPart]


class Developer(Strict, tag_field="role", tag="developer"):
    """A developer message."""

    content: Texts
    name: str | UnsetType = UNSET


class System(Strict, tag_field="role", tag="system"):
    """A system message."""

    content: Texts
    name: str | UnsetType = UNSET


class User(Strict, tag_field="role", tag="user"):
    """A user message."""

    content: str | list[TextPart | ImagePart | AudioPart | FilePart]
    name: str | UnsetType = UNSET


class FunctionText(Strict):
    """Name and arguments of a call."""

    name: str
    arguments: str


class FunctionCall(Strict, tag_field="type", tag="function"):
    """A call of a function tool."""

    id: str
    function: FunctionText


class CustomText(Strict):
    """Name and input of a custom call."""

    name: str
    input: str


class CustomCall(Strict, tag_field="type", tag="custom"):
    """A call of a custom tool."""

    id: str
    custom: CustomText


class AudioRef(Strict):
    """An earlier spoken answer."""

    id: str


class Assistant(Strict, tag_field="role", tag="assistant"):
    """The model's message, handed back."""

    content: str | list[TextPart | RefusalPart] | None = None
    audio: AudioRef | None = None
    function_call: FunctionText | None = None
    name: str | UnsetType = UNSET
    refusal: str | None = None
    tool_calls: (
        Annotated[list[FunctionCall | CustomCall], msgspec.Meta(min_length=1)] | UnsetType
    ) = UNSET
    annotations: list[Any] | None = None
    """Not in the reference, but taken: it is in every answer that is handed back."""


class ToolMessage(Strict, tag_field="role", tag="tool"):
    """A tool's result."""

    content: Texts
    tool_call_id: str


class FunctionMessage(Strict, tag_field="role", tag="function"):
    """A function's result, in the old way."""

    name: str
    content: str | None


Message = Developer | System | User | Assistant | ToolMessage | FunctionMessage


class AudioOptions(Strict):
    """How to speak."""

    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]
    voice: str | AudioRef


class FunctionName(Strict):
    """A function by name."""

    name: str


class OldFunction(Strict):
    """A function, in the old way."""

    name: Name
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class ModerationMode(Strict):
    """What moderation does."""

    mode: Literal["score", "block"]


class ModerationPolicy(Strict):
    """Moderation of each side."""

    input: ModerationMode | None = None
    output: ModerationMode | None = None


class Moderation(Strict):
    """Moderation with the answer."""

    model: str
    policy: ModerationPolicy | None = None


class Prediction(Strict, tag_field="type", tag="content"):
    """The expected answer."""

    content: Texts


class CacheOptions(Strict):
    """How the prompt is cached."""

    mode: Literal["implicit", "explicit"] | UnsetType = UNSET
    ttl: Literal["30m"] | UnsetType = UNSET


class TextFormat(Strict, tag_field="type", tag="text"):
    """Plain text."""


class SchemaText(Strict):
    """A named JSON Schema."""

    name: Name
    description: str | UnsetType = UNSET
    schema: dict[str, Any] | UnsetType = UNSET
    strict: bool | None = None


class SchemaFormat(Strict, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    json_schema: SchemaText


class JSONFormat(Strict, tag_field="type", tag="json_object"):
    """Any JSON object."""


class StreamOptions(Strict):
    """How to stream."""

    include_usage: bool | UnsetType = UNSET
    include_obfuscation: bool | UnsetType = UNSET


class AllowedTools(Strict):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class AllowedChoice(Strict, tag_field="type", tag="allowed_tools"):
    """Choose among some of the tools."""

    allowed_tools: AllowedTools


class FunctionChoice(Strict, tag_field="type", tag="function"):
    """Choose this function."""

    function: FunctionName


class CustomChoice(Strict, tag_field="type", tag="custom"):
    """Choose this custom tool."""

    custom: FunctionName


class FunctionDefinition(Strict):
    """A function and its arguments."""

    name: Name
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    strict: bool | None = None


class FunctionTool(Strict, tag_field="type", tag="function"):
    """A function tool."""

    function: FunctionDefinition


class Grammar(Strict):
    """A grammar."""

    definition: str
    syntax: Literal["lark", "regex"]


class TextInput(Strict, tag_field="type", tag="text"):
    """Free input."""


class GrammarInput(Strict, tag_field="type", tag="grammar"):
    """Input that fits a grammar."""

    grammar: Grammar


class CustomDefinition(Strict):
    """A custom tool."""

    name: Name
    description: str | UnsetType = UNSET
    format: TextInput | GrammarInput | UnsetType = UNSET


class CustomTool(Strict, tag_field="type", tag="custom"):
    """A custom tool."""

    custom: CustomDefinition


class Place(Strict):
    """Where the user is."""

    city: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


class UserLocation(Strict, tag_field="type", tag="approximate"):
    """About where the user is."""

    approximate: Place


class WebSearch(Strict):
    """Web search."""

    search_context_size: Literal["low", "medium", "high"] | UnsetType = UNSET
    user_location: UserLocation | None = None


Stop = Annotated[list[str], msgspec.Meta(max_length=4)]
TopLogprobs = Annotated[int, msgspec.Meta(ge=0, le=20)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Metadata = Annotated[
    dict[
        Annotated[str, msgspec.Meta(max_length=64)],
        Annotated[str, msgspec.Meta(max_length=512)],
    ],
    msgspec.Meta(max_length=16),
]


class Body(Strict):
    """The whole body."""

    messages: list[Message]
    model: str
    audio: AudioOptions | None = None
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | FunctionName | UnsetType = UNSET
    functions: Annotated[list[OldFunction], msgspec.Meta(min_length=1)] | UnsetType = UNSET
    logit_bias: dict[str, Annotated[int, msgspec.Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: Metadata | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: Moderation | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | UnsetType = UNSET
    prediction: Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    reasoning_effort: Effort | None = None
    response_format: TextFormat | SchemaFormat | JSONFormat | UnsetType = UNSET
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: str | Stop | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    tool_choice: (
        Literal["none", "auto", "required"]
        | AllowedChoice
        | FunctionChoice
        | CustomChoice
        | UnsetType
    ) = UNSET
    tools: Annotated[list[FunctionTool | CustomTool], msgspec.Meta(max_length=128)] | UnsetType = (
        UNSET
    )
    top_logprobs: TopLogprobs | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | UnsetType = UNSET
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: WebSearch | UnsetType = UNSET


class SelfHostedBody(Body):
    """What vLLM takes beyond that. (vLLM lets unknown fields pass; here they are a mistake.)"""

    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    length_penalty: float | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    truncate_prompt_tokens: int | None = None
    priority: int | None = None
    request_id: str | None = None
    return_tokens_as_token_ids: bool | None = None
    cache_salt: str | None = None


BODY = msgspec.json.Decoder(Body)
SELF_HOSTED_BODY = msgspec.json.Decoder(SelfHostedBody)
