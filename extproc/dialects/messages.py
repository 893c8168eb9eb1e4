"""Messages, tools and formats of an OpenAI chat request, typed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

Named = Annotated[str, Meta(min_length=1)]


class TextPart(Struct, frozen=True, tag_field="type", tag="text", omit_defaults=True):
    """`cache_control` is Anthropic's, as OpenAI-compatible gateways take it."""

    text: str
    cache_control: dict[str, Any] | None = None


class RefusalPart(Struct, frozen=True, tag_field="type", tag="refusal"):
    """What the model once refused with."""

    refusal: str


class ImageURL(Struct, frozen=True):
    """`url` may be a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image by URL or inline."""

    image_url: ImageURL


class InputAudio(Struct, frozen=True):
    """Base64 data."""

    data: str
    format: str


class AudioPart(Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Speech as input."""

    input_audio: InputAudio


class FileRef(Struct, frozen=True):
    """By id, or inline as a `data:` URL."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Struct, frozen=True, tag_field="type", tag="file"):
    """A document as input."""

    file: FileRef


UserPart = TextPart | ImagePart | AudioPart | FilePart


class CallFunction(Struct, frozen=True):
    """`arguments` is JSON text as the model wrote it, which may be invalid."""

    name: str
    arguments: str


class FunctionCall(Struct, frozen=True, tag_field="type", tag="function"):
    """A tool call of an earlier turn. `extra_content` carries what another provider's model
    needs to see again (`{"google": {"thought_signature": …}}`)."""

    id: str
    function: CallFunction
    extra_content: dict[str, Any] | None = None


class CustomInput(Struct, frozen=True):
    """Free text given to a custom tool."""

    name: str
    input: str


class CustomCall(Struct, frozen=True, tag_field="type", tag="custom"):
    """A call of a tool that takes free text."""

    id: str
    custom: CustomInput


class AudioRef(Struct, frozen=True):
    """Audio that the model spoke in an earlier turn."""

    id: str


class SystemMessage(Struct, frozen=True, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[TextPart]
    name: str | None = None


class DeveloperMessage(Struct, frozen=True, tag_field="role", tag="developer"):
    """Instructions, under their newer name."""

    content: str | list[TextPart]
    name: str | None = None


class UserMessage(Struct, frozen=True, tag_field="role", tag="user"):
    """What the user says."""

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(Struct, frozen=True, tag_field="role", tag="assistant"):
    """What the model said."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: AudioRef | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None
    function_call: CallFunction | None = None


class ToolMessage(Struct, frozen=True, tag_field="role", tag="tool"):
    """A tool's result."""

    content: str | list[TextPart]
    tool_call_id: str


class FunctionMessage(Struct, frozen=True, tag_field="role", tag="function"):
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


class FunctionDefinition(Struct, frozen=True, omit_defaults=True):
    """`parameters` is a JSON schema of an object; absent: no parameters."""

    name: Named
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class CustomDefinition(Struct, frozen=True, omit_defaults=True):
    """A tool that takes free text, perhaps of a grammar."""

    name: Named
    description: str | None = None
    format: dict[str, Any] | None = None


class Tool(Struct, frozen=True, omit_defaults=True):
    """`type` is `function`, `custom` (free text instead of JSON), or `vendor:name` for a tool
    that one provider runs itself and nobody else knows."""

    type: str
    function: FunctionDefinition | None = None
    custom: CustomDefinition | None = None

    def name(self) -> str | None:
        """What it is called by, if it is called."""
        definition = self.function or self.custom
        return definition.name if definition else None


class ToolName(Struct, frozen=True):
    """The name of a tool."""

    name: Named


class NamedFunction(Struct, frozen=True, tag_field="type", tag="function"):
    """One function that must be called."""

    function: ToolName


class NamedCustom(Struct, frozen=True, tag_field="type", tag="custom"):
    """One custom tool that must be called."""

    custom: ToolName


class Allowed(Struct, frozen=True):
    """Tools among which the model may choose."""

    mode: Literal["auto", "required"]
    tools: list[NamedFunction | NamedCustom]


class AllowedTools(Struct, frozen=True, tag_field="type", tag="allowed_tools"):
    """Only some of the tools may be called."""

    allowed_tools: Allowed


ToolChoice = Literal["none", "auto", "required"] | NamedFunction | NamedCustom | AllowedTools


class TextFormat(Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text: the default."""


class ObjectFormat(Struct, frozen=True, tag_field="type", tag="json_object"):
    """Some JSON object."""


class Schema(Struct, frozen=True, omit_defaults=True):
    """A named JSON schema."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class SchemaFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that a schema describes."""

    json_schema: Schema


def text_of(content: str | Sequence[UserPart | RefusalPart] | None) -> str:
    """The text of a message, its parts joined as they stand."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part_texts(content))


def part_texts(parts: Sequence[UserPart | RefusalPart]) -> Iterator[str]:
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


def uses(messages: Sequence[Message]) -> list[str]:
    """Features that messages use, in the words of the table in docs/dialects.md; some more than
    once. One look at each: conversations are long, and most messages are plain text."""
    found: list[str] = []
    for message in messages:
        if type(message) is UserMessage:
            if not isinstance(message.content, str):
                for part in message.content:
                    found += _PART_USES.get(type(part), ())
        elif type(message) is AssistantMessage:
            if message.tool_calls or message.audio or message.function_call:
                found += _answer_uses(message)
        else:
            found += _ROLE_USES[type(message)]
    return found


def _answer_uses(message: AssistantMessage) -> Iterator[str]:
    if message.audio:
        yield "audio"
    if message.function_call:
        yield "functions"
    if message.tool_calls:
        yield "tools"
        if len(message.tool_calls) > 1:
            yield "parallel_tool_calls"
        if any(isinstance(call, CustomCall) for call in message.tool_calls):
            yield "custom_tools"


_ROLE_USES: Final[dict[type, tuple[str, ...]]] = {
    SystemMessage: ("system",),
    DeveloperMessage: ("system",),
    ToolMessage: ("tools",),
    FunctionMessage: ("tools", "functions"),
}
_PART_USES: Final[dict[type, tuple[str, ...]]] = {
    ImagePart: ("vision",),
    AudioPart: ("audio",),
    FilePart: ("files",),
}
