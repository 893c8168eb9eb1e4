"""The client's request: OpenAI chat completions, typed and validated.

Fields that the API does not have are let through (a target that speaks OpenAI may know them);
fields that it has must have its types and ranges, whoever serves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from extproc import strict_json
from extproc.catalogue import FEATURES
from extproc.dialects import chat_errors
from extproc.dialects.messages import (
    AssistantMessage,
    FunctionDefinition,
    Message,
    Named,
    ObjectFormat,
    SchemaFormat,
    TextFormat,
    TextPart,
    Tool,
    ToolChoice,
    ToolName,
    call_texts,
    chosen,
    part_texts,
    uses,
)
from extproc.errors import bad_request

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Positive = Annotated[int, Meta(ge=1)]


class StreamOptions(Struct, frozen=True):
    """Only with `stream: true`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class AudioOutput(Struct, frozen=True):
    """How the model should sound."""

    format: str
    voice: str | dict[str, Any]


class Prediction(Struct, frozen=True, tag_field="type", tag="content"):
    """Text that the answer is likely to repeat."""

    content: str | list[TextPart]


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat completion request. Absent and `null` are the same."""

    model: str = ""
    """Empty only for a request that gives `models` alone, and only before `parse` fills it."""
    messages: Annotated[list[Message], Meta(min_length=1)]
    models: list[Named] | None = None
    """OpenRouter's list of models to try in order."""

    audio: AudioOutput | None = None
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | ToolName | None = None
    functions: list[FunctionDefinition] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Positive | None = None
    max_tokens: Positive | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None

    @property
    def max_output(self) -> int | None:
        """The most tokens the client wants, or None."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def include_usage(self) -> bool:
        """The client asked for the usage chunk of a stream."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def stops(self) -> list[str]:
        """Stop sequences, however they were given."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    def needs(self) -> frozenset[str]:
        """Features that a target must have to serve this request, in the catalogue's words."""
        return FEATURES.intersection(self.uses())

    def uses(self) -> list[str]:
        """Features that the request uses, parameters first; some more than once."""
        found = [name for name, used in self._parameters() if used]
        return found + uses(self.messages)

    def _parameters(self) -> Iterator[tuple[str, Any]]:
        yield "streaming", self.stream
        yield "n", self.n is not None and self.n > 1
        yield "logprobs", self.logprobs
        yield "logit_bias", self.logit_bias
        yield "seed", self.seed is not None
        yield "penalties", self.presence_penalty or self.frequency_penalty
        yield "json_object", isinstance(self.response_format, ObjectFormat)
        yield "json_schema", isinstance(self.response_format, SchemaFormat)
        yield "reasoning", self.reasoning_effort not in (None, "none")
        yield "audio", self.audio or "audio" in (self.modalities or ())
        yield "web_search", self.web_search_options is not None
        yield "functions", self.functions
        yield "tools", self.tools or self.functions
        yield "parallel_tool_calls", self.parallel_tool_calls
        yield "custom_tools", any(tool.custom for tool in self.tools or ())
        yield "vendor_tools", any(":" in tool.type for tool in self.tools or ())

    def text_bytes(self) -> tuple[int, int]:
        """(ASCII bytes, other characters) of all that counts as prompt: texts, tool
        definitions and schemas as JSON, tool calls. What a token estimator starts from."""
        ascii_bytes = others = 0
        for text in self._texts():
            if text.isascii():
                ascii_bytes += len(text)
            else:
                plain = len(text.encode("ascii", "ignore"))
                ascii_bytes += plain
                others += len(text) - plain
        return ascii_bytes, others

    def _texts(self) -> list[str]:
        found = []
        for message in self.messages:
            content = message.content
            if isinstance(content, str):
                found.append(content)
            elif content is not None:
                found.extend(part_texts(content))
            if type(message) is AssistantMessage and message.tool_calls:
                for call in message.tool_calls:
                    found.extend(call_texts(call))
        found.extend(
            msgspec.json.encode(definitions).decode()
            for definitions in (self.tools, self.functions, self.response_format)
            if definitions
        )
        return found


def parse(body: bytes) -> ChatRequest:
    """Read a client's body. Raises ClientError (400) naming the field that is wrong."""
    tree = strict_json.load(body)
    _check_names(tree)
    if tree.get("model") is None:
        models = tree.get("models")
        tree["model"] = models[0] if isinstance(models, list) and models else ""
    try:
        chat = msgspec.convert(tree, ChatRequest)
    except msgspec.ValidationError as error:
        raise chat_errors.typed(error, tree) from None
    _check(chat)
    return chat


def decode(body: bytes) -> ChatRequest:
    """Read a body that `parse` has accepted before. Raises msgspec.MsgspecError otherwise."""
    return _DECODER.decode(body)


def unknown(body: bytes) -> list[str]:
    """Top-level fields of a parsed body that OpenAI's API does not have, as they may stand in a
    header: a field's name is the client's own text."""
    found = [key for key in strict_json.keys(body) if key not in FIELDS]
    return [_UNPRINTABLE.sub("?", key[:_MAX_SHOWN]) for key in found[:_MAX_UNKNOWN]]


_UNPRINTABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_SHOWN: Final = 40
_MAX_UNKNOWN: Final = 16

_DECODER: Final = msgspec.json.Decoder(ChatRequest)
FIELDS: Final = frozenset(ChatRequest.__struct_fields__)


def _check_names(tree: dict[str, Any]) -> None:
    """Refuse `Model` beside or instead of `model`: parsers that ignore case (Go's standard one,
    under several inference servers) would read a field here that was never judged."""
    for key in tree:
        if key not in FIELDS and (folded := key.casefold()) in FIELDS:
            raise bad_request(
                f"Unrecognized request argument supplied: {key!a}. Did you mean '{folded}'?",
                folded,
                "unknown_parameter",
            )


def _check(chat: ChatRequest) -> None:
    if not chat.model:
        raise bad_request("you must provide a model parameter", "model")
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        raise bad_request(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    if chat.stream_options is not None and not chat.stream:
        raise bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if chat.top_logprobs is not None and not chat.logprobs:
        raise bad_request(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            "top_logprobs",
        )
    _check_tools(chat)


def _check_tools(chat: ChatRequest) -> None:
    if chat.tools is not None and not chat.tools:
        raise chat_errors.empty_array("tools")
    if chat.tools is None:
        if chat.tool_choice not in (None, "none"):
            raise bad_request(
                "'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
            )
        if chat.parallel_tool_calls is not None:
            raise bad_request(
                "'parallel_tool_calls' is only allowed when 'tools' are specified.",
                "parallel_tool_calls",
            )
        return
    names = {_checked_name(tool, f"tools[{index}]") for index, tool in enumerate(chat.tools)}
    for name in chosen(chat.tool_choice):
        if name not in names:
            raise bad_request(
                f"Tool choice {name!a} not found in 'tools' parameter.", "tool_choice"
            )


def _checked_name(tool: Tool, path: str) -> str | None:
    if tool.type in _DEFINED:
        if getattr(tool, tool.type) is None:
            raise chat_errors.missing(f"{path}.{tool.type}")
    elif ":" not in tool.type:
        raise chat_errors.invalid_value(f"{path}.type", tool.type)
    return tool.name()


_DEFINED: Final = ("function", "custom")

__all__ = ["ChatRequest", "decode", "parse", "unknown"]
