"""An OpenAI chat request as Anthropic's Messages API takes it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects import chat as c
from extproc.dialects import messages as m
from extproc.dialects.anthropic_turns import TextBlock, ToolUse, Turn, turns_of
from extproc.dialects.tool_arguments import arguments_problem

DEFAULT_MAX_TOKENS: Final = 4096
"""`max_tokens` is required; this is what a request gets that names none and whose target has no
`output_cap`. Every Claude model since Claude 3 can write as much."""

VERSION: Final = "2023-06-01"
"""Sent as `anthropic-version`. Later versions (2026-10-21) take no sampling parameters at all,
whatever the model."""

_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2})(?!\d))?")

CONTINUE: Final = "Continue."
"""Said by the user behind an assistant turn at the end, where the model takes none there."""

_PREFILL_REMOVED: Final = (4, 6)
"""From this version on models answer 400 to a conversation that ends with the assistant."""
_SAMPLING_REMOVED: Final = (4, 7)
"""From this version on models answer 400 to any temperature or top_p."""
_SAMPLING_EITHER: Final = (4, 1)
"""From this version on models answer 400 to temperature and top_p together."""

_NO_TOOLS_SCHEMA: Final = Raw(b'{"type":"object","properties":{}}')


class Tool(Struct, frozen=True, omit_defaults=True):
    """A tool that the model may call."""

    name: str
    input_schema: dict[str, Any] | Raw
    description: str | None = None


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """`auto`, `any`, `tool` (named) or `none`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Request(Struct, frozen=True, kw_only=True):
    """The body. Field order as in the API's reference."""

    model: str
    max_tokens: int
    system: list[TextBlock] | UnsetType = UNSET
    messages: list[Turn]
    tools: list[Tool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    stream: bool | UnsetType = UNSET


LACKS: Final = {
    "n": "n: Anthropic gives one answer a request",
    "logprobs": "logprobs: Anthropic has no log probabilities",
    "logit_bias": "logit_bias: Anthropic has no logit bias",
    "json_object": "json_object: not yet for Anthropic",
    "json_schema": "json_schema: not yet for Anthropic",
    "vision": "vision: not yet for Anthropic",
    "audio": "audio: Anthropic neither hears nor speaks",
    "files": "files: not yet for Anthropic",
    "reasoning": "reasoning: not yet for Anthropic",
    "web_search": "web_search: not yet for Anthropic",
    "functions": "functions: not yet for Anthropic, use tools",
    "custom_tools": "custom_tools: Anthropic's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Anthropic has none of another vendor's tools",
}
"""Refusals by feature."""


def lacks(chat: c.ChatRequest) -> str | None:
    """See `extproc.dialects.Dialect.lacks`."""
    for name in chat.uses():
        if name in LACKS:
            return LACKS[name]
    if any(not stop.strip() for stop in chat.stops):
        return "stop: Anthropic takes no stop sequence of white space alone"
    return arguments_problem(chat.messages)


def translate(
    chat: c.ChatRequest, model: str, output_cap: int | None
) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the parameters that were dropped."""
    warnings: list[str] = []
    version = _version(model)
    system, turns = turns_of(chat.messages)
    if turns[-1].role == "assistant" and version is not None and version >= _PREFILL_REMOVED:
        turns.append(Turn("user", CONTINUE))
    tools, choice = _tools(chat, turns, warnings)
    temperature, top_p = _sampling(chat, version, warnings)
    user = chat.user or chat.safety_identifier
    request = Request(
        model=model,
        max_tokens=_max_tokens(chat, output_cap),
        system=system or UNSET,
        messages=turns,
        tools=tools or UNSET,
        tool_choice=choice,
        stop_sequences=chat.stops or UNSET,
        temperature=temperature,
        top_p=top_p,
        metadata={"user_id": user} if user else UNSET,
        service_tier=_service_tier(chat, warnings),
        stream=True if chat.stream else UNSET,
    )
    warnings += [
        name
        for name, given in (
            ("seed", chat.seed is not None),
            ("presence_penalty", chat.presence_penalty),
            ("frequency_penalty", chat.frequency_penalty),
            ("verbosity", chat.verbosity),
            ("prediction", chat.prediction),
            ("store", chat.store),
            ("moderation", chat.moderation),
        )
        if given
    ]
    return msgspec.json.encode(request), tuple(warnings)


def _max_tokens(chat: c.ChatRequest, output_cap: int | None) -> int:
    return chat.max_output or output_cap or DEFAULT_MAX_TOKENS


def _tools(
    chat: c.ChatRequest, turns: list[Turn], warnings: list[str]
) -> tuple[list[Tool], ToolChoice | UnsetType]:
    tools = []
    allowed = None
    if isinstance(chat.tool_choice, m.AllowedTools):
        allowed = set(m.chosen(chat.tool_choice))
    for tool in chat.tools or ():
        function = tool.function
        if function is None:
            raise ValueError("a tool that Anthropic lacks")
        if allowed is not None and function.name not in allowed:
            continue
        if function.strict and "tools.function.strict" not in warnings:
            warnings.append("tools.function.strict")
        tools.append(Tool(function.name, _schema(function.parameters), function.description))
    if not tools:
        # Turns with calls need tools, even where no further call is wanted.
        names = {
            block.name
            for turn in turns
            if not isinstance(turn.content, str)
            for block in turn.content
            if isinstance(block, ToolUse)
        }
        tools = [Tool(name, _NO_TOOLS_SCHEMA) for name in sorted(names)]
        return tools, ToolChoice("none") if tools else UNSET
    return tools, _choice(chat)


def _schema(parameters: dict[str, Any] | None) -> dict[str, Any] | Raw:
    if not parameters:
        return _NO_TOOLS_SCHEMA
    return parameters if parameters.get("type") == "object" else {**parameters, "type": "object"}


def _choice(chat: c.ChatRequest) -> ToolChoice | UnsetType:
    one_call = chat.parallel_tool_calls is False
    choice = chat.tool_choice
    if choice == "none":
        return ToolChoice("none")
    if isinstance(choice, m.NamedFunction):
        return ToolChoice("tool", choice.function.name, one_call)
    if choice == "required" or (
        isinstance(choice, m.AllowedTools) and choice.allowed_tools.mode == "required"
    ):
        return ToolChoice("any", None, one_call)
    return ToolChoice("auto", None, one_call) if choice is not None or one_call else UNSET


def _sampling(
    chat: c.ChatRequest, version: tuple[int, int] | None, warnings: list[str]
) -> tuple[float | UnsetType, float | UnsetType]:
    temperature, top_p = chat.temperature, chat.top_p
    if version is not None and version >= _SAMPLING_REMOVED:
        # 1 is the default, and so is not lost.
        warnings.extend(
            name
            for name, value in (("temperature", temperature), ("top_p", top_p))
            if value is not None and value != 1
        )
        return UNSET, UNSET
    if temperature is not None and temperature > 1:
        warnings.append("temperature (above 1: 1 was sent)")
        temperature = 1.0
    if (
        temperature is not None
        and top_p is not None
        and (top_p == 1 or (version is not None and version >= _SAMPLING_EITHER))
    ):
        if top_p != 1:
            warnings.append("top_p")
        top_p = None
    return (
        UNSET if temperature is None else temperature,
        UNSET if top_p is None else top_p,
    )


@lru_cache(maxsize=256)
def _version(model: str) -> tuple[int, int] | None:
    """Of a Claude model; a name without a version is new; other models have none."""
    if not model.startswith("claude-"):
        return None
    found = _CLAUDE.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else _SAMPLING_REMOVED


def _service_tier(chat: c.ChatRequest, warnings: list[str]) -> str | UnsetType:
    if chat.service_tier is None:
        return UNSET
    if chat.service_tier == "auto":
        return "auto"
    if chat.service_tier != "default":
        warnings.append("service_tier")
    return "standard_only"
