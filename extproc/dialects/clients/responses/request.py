"""A request to OpenAI's Responses API, typed and validated.

Fields that the API does not have are let through (a target that speaks it may know them); fields
that it has must have its types and ranges, whoever serves.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from extproc.dialects import bodies
from extproc.dialects.again import Again
from extproc.dialects.chat import problems as chat_problems
from extproc.dialects.chat.messages import Named
from extproc.dialects.clients.responses import problems
from extproc.dialects.clients.responses.items import Item
from extproc.dialects.text import NONE
from extproc.errors import bad_request

Positive = Annotated[int, Meta(ge=1)]
T = TypeVar("T")


class ReasoningConfig(Struct, frozen=True, gc=False):
    """How the model should think. `generate_summary` is the older name of `summary`."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class PlainFormat(Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text: the default."""


class ObjectFormat(Struct, frozen=True, tag_field="type", tag="json_object"):
    """Some JSON object."""


class SchemaFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that a schema describes."""

    name: Named
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, frozen=True, gc=False):
    """What the text should look like."""

    format: PlainFormat | ObjectFormat | SchemaFormat | None = None
    verbosity: str | None = None


class Tool(Struct, frozen=True, gc=False):
    """A tool of any type, with the fields of those that can be translated: `function`, `custom`
    and web search."""

    type: str
    name: Named | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    defer_loading: bool | None = None
    search_context_size: str | None = None
    user_location: dict[str, Any] | None = None
    filters: dict[str, Any] | None = None
    external_web_access: bool | None = None


class AllowedTool(Struct, frozen=True, gc=False):
    """A tool that may be chosen."""

    type: str
    name: str | None = None


class Choice(Struct, frozen=True, gc=False):
    """A tool, a kind of tool, or the tools among which the model must choose."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[AllowedTool] | None = None


class StreamOptions(Struct, frozen=True, gc=False):
    """Only with `stream: true`."""

    include_obfuscation: bool | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """A request. Absent and `null` are the same.

    `text`, `tool_choice` and `tools` are left as they stand, to be repeated in the answer; read
    them with `Parts`.
    """

    model: str = ""
    models: list[Named] | None = None
    """OpenRouter's list of models to try in order."""
    input: str | list[Item] | None = None

    access_programs: dict[str, Any] | None = None
    background: bool | None = None
    background_options: dict[str, Any] | None = None
    context_management: list[dict[str, Any]] | None = None
    conversation: str | dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    include: list[str] | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    max_tool_calls: Positive | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    moderation: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning: ReasoningConfig | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: Raw = NONE
    tool_choice: Raw = NONE
    tools: Raw = NONE
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None

    @property
    def stateful(self) -> bool:
        """It goes on from what a target keeps, which may hold tools and turns."""
        return (
            self.previous_response_id is not None
            or self.conversation is not None
            or self.prompt is not None
        )

    def wants(self, included: str) -> bool:
        """`included` is among what the answer should hold beside the text."""
        return self.include is not None and included in self.include


class Parts(Struct, frozen=True, gc=False):
    """What a request leaves as it stands, read."""

    text: TextConfig
    tools: list[Tool]
    tool_choice: str | Choice | None


FIELDS: Final = frozenset(ResponsesRequest.__struct_fields__)
_REQUEST: Final = msgspec.json.Decoder(ResponsesRequest)
_AGAIN: Final = Again(ResponsesRequest)
_TEXT: Final = msgspec.json.Decoder(TextConfig | None)
_TOOLS: Final = msgspec.json.Decoder(list[Tool] | None)
_CHOICE: Final = msgspec.json.Decoder(Literal["none", "auto", "required"] | Choice | None)


def parse(body: bytes) -> tuple[ResponsesRequest, Parts]:
    """Read a client's body. Raises ClientError (400) naming the field that is wrong."""
    tree = bodies.load(body, FIELDS)
    if tree.get("model") is None:
        models = tree.get("models")
        first = models[0] if isinstance(models, list) and models else None
        if first is None:
            raise chat_problems.missing("model")
    try:
        said = _REQUEST.decode(body if tree.get("model") is not None else _with_model(tree))
    except msgspec.ValidationError as error:
        raise problems.typed(error, tree) from None
    parts = Parts(
        _part(_TEXT, said.text, "text", tree) or TextConfig(),
        _part(_TOOLS, said.tools, "tools", tree) or [],
        _part(_CHOICE, said.tool_choice, "tool_choice", tree),
    )
    _check(said, parts)
    return said, parts


def decode(body: bytes) -> tuple[ResponsesRequest, Parts]:
    """Read a body that `parse` has accepted before. Raises msgspec.MsgspecError otherwise."""
    said = _AGAIN.decode(body)
    return said, Parts(
        (_TEXT.decode(said.text) if said.text else None) or TextConfig(),
        (_TOOLS.decode(said.tools) if said.tools else None) or [],
        _CHOICE.decode(said.tool_choice) if said.tool_choice else None,
    )


def _with_model(tree: dict[str, Any]) -> bytes:
    return msgspec.json.encode({**tree, "model": tree["models"][0]})


def _part(decoder: msgspec.json.Decoder[T], raw: Raw, name: str, tree: dict[str, Any]) -> T | None:
    if not raw:
        return None
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise problems.within(error, name, tree) from None


def _check(said: ResponsesRequest, parts: Parts) -> None:
    if not said.model:
        raise chat_problems.missing("model")
    if said.previous_response_id is not None and said.conversation is not None:
        raise bad_request(
            "Mutually exclusive parameters. Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'.",
            None,
            "mutually_exclusive_parameters",
        )
    if said.stream_options is not None and not said.stream:
        raise bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    _check_input(said)
    _check_tools(said, parts)


def _check_input(said: ResponsesRequest) -> None:
    if said.input is None:
        if not said.stateful:
            raise bad_request(
                "One of 'input', 'previous_response_id', 'prompt' or 'conversation' must be "
                "provided.",
                "input",
                "missing_required_parameter",
            )
    elif isinstance(said.input, list):
        if not said.input and not said.stateful:
            raise chat_problems.empty_array("input")
        for index, item in enumerate(said.input):
            problems.check_item(item, index)


def _check_tools(said: ResponsesRequest, parts: Parts) -> None:
    for index, tool in enumerate(parts.tools):
        if tool.type in {"function", "custom"} and tool.name is None:
            raise chat_problems.missing(f"tools[{index}].name")
    choice = parts.tool_choice
    if said.stateful or choice in (None, "none", "auto"):
        return
    if not parts.tools and not _brings_tools(said):
        raise bad_request(
            "'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
        )
    if not parts.tools or any(tool.type == "namespace" for tool in parts.tools):
        return
    names = {(tool.type, tool.name) for tool in parts.tools}
    for one in problems.named(choice):
        if one not in names:
            raise bad_request(
                f"Tool choice {one[1]!a} not found in 'tools' parameter.", "tool_choice"
            )


def _brings_tools(said: ResponsesRequest) -> bool:
    """Tools stand among the items."""
    items = () if said.input is None or isinstance(said.input, str) else said.input
    return any(item.type == "additional_tools" for item in items)
