"""Messages, tools and formats of an OpenAI chat request, typed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from extproc.dialects.chat.completion import ReasoningDetail

Named = Annotated[str, Meta(min_length=1)]


class TextPart(Struct, frozen=True, gc=False, tag_field="type", tag="text", omit_defaults=True):
    """`cache_control` is Anthropic's, as OpenAI-compatible gateways take it."""

    text: str
    cache_control: dict[str, Any] | None = None


class RefusalPart(Struct, frozen=True, gc=False, tag_field="type", tag="refusal"):
    """What the model once refused with."""

    refusal: str


class ImageURL(Struct, frozen=True, gc=False, omit_defaults=True):
    """`url` may be a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(
    Struct, frozen=True, gc=False, tag_field="type", tag="image_url", omit_defaults=True
):
    """An image by URL or inline."""

    image_url: ImageURL
    cache_control: dict[str, Any] | None = None


class InputAudio(Struct, frozen=True, gc=False):
    """Base64 data."""

    data: str
    format: str


class AudioPart(
    Struct, frozen=True, gc=False, tag_field="type", tag="input_audio", omit_defaults=True
):
    """Speech as input."""

    input_audio: InputAudio
    cache_control: dict[str, Any] | None = None


class FileRef(Struct, frozen=True, gc=False, omit_defaults=True):
    """By id, or inline as a `data:` URL. `file_data` may also be an `https:` URL, as OpenRouter
    takes it; `file_url` is the responses API's name of the same."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    file_url: str | None = None


class FilePart(Struct, frozen=True, gc=False, tag_field="type", tag="file", omit_defaults=True):
    """A document as input. `citations` asks for citations from it, as Anthropic takes it."""

    file: FileRef
    cache_control: dict[str, Any] | None = None
    citations: dict[str, Any] | None = None


UserPart = TextPart | ImagePart | AudioPart | FilePart


class CallFunction(Struct, frozen=True, gc=False):
    """`arguments` is JSON text as the model wrote it, which may be invalid."""

    name: str
    arguments: str


class FunctionCall(
    Struct, frozen=True, gc=False, tag_field="type", tag="function", omit_defaults=True
):
    """A tool call of an earlier turn. `extra_content` carries what another provider's model
    needs to see again (`{"google": {"thought_signature": …}}`)."""

    id: str
    function: CallFunction
    extra_content: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class CustomInput(Struct, frozen=True, gc=False):
    """Free text given to a custom tool."""

    name: str
    input: str


class CustomCall(Struct, frozen=True, gc=False, tag_field="type", tag="custom"):
    """A call of a tool that takes free text."""

    id: str
    custom: CustomInput


class AudioRef(Struct, frozen=True, gc=False):
    """Audio that the model spoke in an earlier turn."""

    id: str


class SystemMessage(
    Struct, frozen=True, gc=False, tag_field="role", tag="system", omit_defaults=True
):
    """Instructions."""

    content: str | list[TextPart]
    name: str | None = None
    cache_control: dict[str, Any] | None = None


class DeveloperMessage(
    Struct, frozen=True, gc=False, tag_field="role", tag="developer", omit_defaults=True
):
    """Instructions, under their newer name."""

    content: str | list[TextPart]
    name: str | None = None
    cache_control: dict[str, Any] | None = None


class UserMessage(Struct, frozen=True, gc=False, tag_field="role", tag="user", omit_defaults=True):
    """What the user says."""

    content: str | list[UserPart]
    name: str | None = None
    cache_control: dict[str, Any] | None = None


class AssistantMessage(
    Struct, frozen=True, gc=False, tag_field="role", tag="assistant", omit_defaults=True
):
    """What the model said. `reasoning_content` (DeepSeek's name; OpenRouter's is `reasoning`) and
    `reasoning_details` are what it thought, as an answer gave them."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: AudioRef | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None
    function_call: CallFunction | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    annotations: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None
    cache_control: dict[str, Any] | None = None


class ToolMessage(Struct, frozen=True, gc=False, tag_field="role", tag="tool", omit_defaults=True):
    """A tool's result."""

    content: str | list[TextPart | ImagePart | FilePart]
    tool_call_id: str
    is_error: bool | None = None
    """The tool failed; OpenAI has no word for it, others do."""
    cache_control: dict[str, Any] | None = None


class FunctionMessage(
    Struct, frozen=True, gc=False, tag_field="role", tag="function", omit_defaults=True
):
    """A function's result, before there were tools."""

    content: str | None
    name: str


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)


class FunctionDefinition(Struct, frozen=True, gc=False, omit_defaults=True):
    """`parameters` is a JSON schema of an object; absent: no parameters."""

    name: Named
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class CustomDefinition(Struct, frozen=True, gc=False, omit_defaults=True):
    """A tool that takes free text, perhaps of a grammar."""

    name: Named
    description: str | None = None
    format: dict[str, Any] | None = None


class Tool(Struct, frozen=True, gc=False, omit_defaults=True):
    """A tool, with the place in a prompt up to which a provider should cache it.

    `type` is `function`, `custom` (free text instead of JSON), or `vendor:name` for a tool
    that one provider runs itself and nobody else knows."""

    type: str
    function: FunctionDefinition | None = None
    custom: CustomDefinition | None = None
    cache_control: dict[str, Any] | None = None

    def name(self) -> str | None:
        """What it is called by, if it is called."""
        definition = self.function or self.custom
        return definition.name if definition else None


class ToolName(Struct, frozen=True, gc=False):
    """The name of a tool."""

    name: Named


class NamedFunction(Struct, frozen=True, gc=False, tag_field="type", tag="function"):
    """One function that must be called."""

    function: ToolName


class NamedCustom(Struct, frozen=True, gc=False, tag_field="type", tag="custom"):
    """One custom tool that must be called."""

    custom: ToolName


class Allowed(Struct, frozen=True, gc=False):
    """Tools among which the model may choose."""

    mode: Literal["auto", "required"]
    tools: list[NamedFunction | NamedCustom]


class AllowedTools(Struct, frozen=True, gc=False, tag_field="type", tag="allowed_tools"):
    """Only some of the tools may be called."""

    allowed_tools: Allowed


ToolChoice = Literal["none", "auto", "required"] | NamedFunction | NamedCustom | AllowedTools


class TextFormat(Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Plain text: the default."""


class ObjectFormat(Struct, frozen=True, gc=False, tag_field="type", tag="json_object"):
    """Some JSON object."""


class Schema(Struct, frozen=True, gc=False, omit_defaults=True):
    """A named JSON schema."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class SchemaFormat(Struct, frozen=True, gc=False, tag_field="type", tag="json_schema"):
    """JSON that a schema describes."""

    json_schema: Schema


Part = UserPart | RefusalPart


def text_of(content: str | Sequence[Part] | None) -> str:
    """The text of a message, its parts joined as they stand."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part_texts(content))


def part_texts(parts: Sequence[Part]) -> Iterator[str]:
    """The text of each part that has one."""
    for part in parts:
        if isinstance(part, TextPart):
            yield part.text
        elif isinstance(part, RefusalPart):
            yield part.refusal


def call_texts(call: FunctionCall | CustomCall) -> tuple[str, str]:
    """A call's name and what it is given."""
    if isinstance(call, FunctionCall):
        return call.function.name, call.function.arguments
    return call.custom.name, call.custom.input


def chosen(choice: ToolChoice | None) -> list[str]:
    """Tools that a tool choice names."""
    if isinstance(choice, NamedFunction):
        return [choice.function.name]
    if isinstance(choice, NamedCustom):
        return [choice.custom.name]
    if isinstance(choice, AllowedTools):
        return [name for one in choice.allowed_tools.tools for name in chosen(one)]
    return []


def uses(messages: Sequence[Message]) -> Iterable[str]:
    """Features that messages use, in the words of the table in docs/dialects.md. One look at each:
    conversations are long, and most messages are plain text.

    Types are compared: to be told that something is no instance of a struct's type takes as long
    as all of the rest.
    """
    found: dict[str, None] = {}
    for message in messages:
        if type(message) is UserMessage:
            if type(message.content) is list:
                _part_uses(message.content, found)
        elif type(message) is AssistantMessage:
            _answer_uses(message, found)
        elif type(message) is FunctionMessage:
            found["tools"] = found["functions"] = None
            continue
        else:
            _other_uses(message, found)
        if message.cache_control is not None:  # type: ignore[union-attr]  # functions' are behind us
            found["cache_control"] = None
    return found


def _part_uses(content: Sequence[Any], found: dict[str, None]) -> None:
    for part in content:
        if type(part) is not TextPart:
            found |= _PART_USES[type(part)]
        if part.cache_control is not None:
            found["cache_control"] = None


def _answer_uses(message: AssistantMessage, found: dict[str, None]) -> None:
    if message.reasoning_details or message.reasoning_content or message.reasoning:
        found["reasoning turns"] = None
    if message.audio:
        found["audio"] = None
    if message.function_call:
        found["functions"] = None
    calls = message.tool_calls
    if not calls:
        return
    found["tools"] = None
    if len(calls) > 1:
        found["parallel_tool_calls"] = None
    for call in calls:
        if type(call) is CustomCall:
            found["custom_tools"] = None
        elif call.extra_content is not None:  # type: ignore[union-attr]  # there are two types
            found["reasoning turns"] = None


def _other_uses(message: Any, found: dict[str, None]) -> None:
    """Of instructions and results."""
    if type(message) is ToolMessage:
        found["tools"] = None
        if message.is_error is not None:
            found["failed results"] = None
    else:
        found["system"] = None
    if type(message.content) is list:
        _part_uses(message.content, found)


_PART_USES: Final[dict[type, dict[str, None]]] = {
    ImagePart: dict.fromkeys(("vision",)),
    AudioPart: dict.fromkeys(("audio",)),
    FilePart: dict.fromkeys(("files",)),
}
