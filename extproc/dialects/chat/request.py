"""The client's request: OpenAI chat completions, typed and validated.

Fields that the API does not have are let through (a target that speaks OpenAI may know them);
fields that it has must have its types and ranges, whoever serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from extproc.catalogue import FEATURES
from extproc.dialects import bodies
from extproc.dialects.again import Again
from extproc.dialects.chat import problems
from extproc.dialects.chat.messages import (
    AssistantMessage,
    FunctionDefinition,
    Message,
    Named,
    NamedFunction,
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


class StreamOptions(Struct, frozen=True, omit_defaults=True):
    """Only with `stream: true`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class AudioOutput(Struct, frozen=True, omit_defaults=True):
    """How the model should sound."""

    format: str
    voice: str | dict[str, Any]


class Prediction(Struct, frozen=True, tag_field="type", tag="content"):
    """Text that the answer is likely to repeat."""

    content: str | list[TextPart]


class Reasoning(Struct, frozen=True, omit_defaults=True):
    """OpenRouter's way to ask for thinking. `max_tokens` is a budget; `exclude`: think, but do not
    show it."""

    effort: str | None = None
    max_tokens: Positive | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class Thinking(Struct, frozen=True, omit_defaults=True):
    """Anthropic's way: `type` is `enabled` (with `budget_tokens`), `adaptive` or `disabled`."""

    type: str
    budget_tokens: Positive | None = None
    display: str | None = None


_SET: Final = (
    ("streaming", "stream"),
    ("logprobs", "logprobs"),
    ("logit_bias", "logit_bias"),
    ("penalties", "presence_penalty"),
    ("penalties", "frequency_penalty"),
    ("functions", "functions"),
    ("tools", "tools"),
    ("tools", "functions"),
    ("parallel_tool_calls", "parallel_tool_calls"),
    ("cache_control", "cache_control"),
)
"""Features that a field uses which holds more than nothing."""
_GIVEN: Final = (("seed", "seed"), ("web_search", "web_search_options"), ("audio", "audio"))
"""Features that a field uses which is there at all."""
_SELDOM: Final = (
    "audio",
    "cache_control",
    "frequency_penalty",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "seed",
    "thinking",
    "web_search_options",
)
"""All parameters by which a feature is used, but for streaming and tools: most requests have
none."""
_seldom: Final = attrgetter(*_SELDOM)
_NONE: Final = (None,) * len(_SELDOM)
_FORMAT_USES: Final[dict[type, tuple[str, ...]]] = {
    ObjectFormat: ("json_object",),
    SchemaFormat: ("json_schema",),
}


class ChatRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chat completion request. Absent and `null` are the same.

    `cache_control`, `reasoning`, `thinking` and `top_k` are not OpenAI's: they are what compatible
    servers and gateways call what OpenAI has no name for.
    """

    model: str = ""
    """Empty only for a request that gives `models` alone, and only before `parse` fills it."""
    messages: Annotated[list[Message], Meta(min_length=1)]
    models: list[Named] | None = None
    """OpenRouter's list of models to try in order."""

    audio: AudioOutput | None = None
    cache_control: dict[str, Any] | None = None
    """Cache the prompt as far as it goes (Anthropic's automatic caching)."""
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | ToolName | None = None
    functions: list[FunctionDefinition] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Positive | None = None
    max_tokens: Positive | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    modalities: list[Literal["text", "audio", "image"]] | None = None
    moderation: dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning: Reasoning | None = None
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
    thinking: Thinking | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    top_k: Positive | None = None
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

    @property
    def thinks(self) -> bool:
        """Thinking is asked for, in whichever of the three ways."""
        if self.reasoning_effort not in (None, "none"):
            return True
        if self.thinking is not None and self.thinking.type != "disabled":
            return True
        asked = self.reasoning
        return asked is not None and (
            asked.enabled is True
            or asked.effort not in (None, "none")
            or asked.max_tokens is not None
        )

    @property
    def one_call(self) -> bool:
        """Held to one call at a time. Where one function must be called, that changes nothing
        that an application would see first, and may be left out."""
        return self.parallel_tool_calls is False and not self.forces_one

    @property
    def forces_one(self) -> bool:
        """One function must be called."""
        return type(self.tool_choice) is NamedFunction

    @property
    def may_think(self) -> bool:
        """Whether to think is left to the model: one that cannot serves all the same."""
        return self.thinking is not None and self.thinking.type == "adaptive"

    def needs(self, uses: Iterable[str] | None = None) -> frozenset[str]:
        """Features that a target must have to serve this request, in the catalogue's words.
        `uses`: what `uses` says, if it is known."""
        return FEATURES.intersection(self.uses() if uses is None else uses)

    def uses(self) -> list[str]:
        """Features that the request uses, parameters first."""
        found = [] if _seldom(self) == _NONE else self._parameters()
        if not found:
            if self.stream:
                found.append("streaming")
            if self.tools:
                found.append("tools")
        for tool in self.tools or ():
            if tool.custom is not None:
                found.append("custom_tools")
            elif ":" in tool.type:
                found.append("vendor_tools")
            if tool.cache_control is not None:
                found.append("cache_control")
        found += uses(self.messages)
        return list(dict.fromkeys(found))

    def _parameters(self) -> list[str]:
        found = [name for name, field in _SET if getattr(self, field)]
        found += [name for name, field in _GIVEN if getattr(self, field) is not None]
        if self.n is not None and self.n > 1:
            found.append("n")
        if self.response_format is not None:
            found += _FORMAT_USES.get(type(self.response_format), ())
        if self.thinks and not self.may_think:
            found.append("reasoning")
        if self.modalities is not None and "audio" in self.modalities:
            found.append("audio")
        return found

    def text_bytes(self) -> tuple[int, int]:
        """(ASCII bytes, other characters) of all that counts as prompt: texts, tool
        definitions and schemas as JSON, tool calls. What a token estimator starts from."""
        return bodies.measure(self._texts())

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
    tree = bodies.load(body, FIELDS)
    if tree.get("model") is None:
        models = tree.get("models")
        tree["model"] = models[0] if isinstance(models, list) and models else ""
    chat = bodies.convert(tree, ChatRequest)
    _check(chat)
    return chat


def decode(body: bytes) -> ChatRequest:
    """Read a body that `parse` has accepted before. Raises msgspec.MsgspecError otherwise."""
    return _DECODER.decode(body)


_DECODER: Final = Again(ChatRequest)
FIELDS: Final = frozenset(ChatRequest.__struct_fields__)


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
        raise problems.empty_array("tools")
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
            raise problems.missing(f"{path}.{tool.type}")
    elif ":" not in tool.type:
        raise problems.invalid_value(f"{path}.type", tool.type)
    return tool.name()


_DEFINED: Final = ("function", "custom")

__all__ = ["FIELDS", "ChatRequest", "decode", "parse"]
