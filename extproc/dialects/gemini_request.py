"""An OpenAI chat request as Gemini's generateContent takes it."""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects import chat as c
from extproc.dialects import messages as m
from extproc.dialects.tool_arguments import arguments_object, arguments_problem

FILLER: Final = "."
"""Said by the user where the model would otherwise speak first, which Gemini refuses."""

MAX_CANDIDATES: Final = 8
"""`candidateCount` goes to 8."""

SKIP_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google's guide to thought signatures gives for calls that another model made: from
Gemini 3 on the first call of a turn without a signature is answered with 400."""

_SIGNING: Final = 3
_GEMINI: Final = re.compile(r"(?:models/)?gemini-(\d+)")
_INT32: Final = 0x7FFF_FFFF
_BELOW_TWO: Final = 1.999
"""Penalties go from -2 up to, and without, 2."""


class Called(Struct, frozen=True, omit_defaults=True):
    """A call that the model made."""

    name: str
    args: Raw
    id: str | None = None


class Responded(Struct, frozen=True, omit_defaults=True):
    """What a call gave."""

    name: str
    response: Raw | dict[str, str]
    id: str | None = None


class Text(Struct, frozen=True, gc=False):
    """Text."""

    text: str


class CallPart(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A call, with the signature of the thinking that led to it."""

    function_call: Called
    thought_signature: str | None = None


class ResponsePart(Struct, frozen=True, rename="camel"):
    """A call's result."""

    function_response: Responded


Part = Text | CallPart | ResponsePart


class Content(Struct, frozen=True, gc=False):
    """Consecutive messages of one side."""

    parts: list[Part]
    role: str


class Instruction(Struct, frozen=True):
    """What the model is told before the conversation."""

    parts: list[Part]


class Declaration(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A function that the model may call. The schema is plain JSON Schema, which Gemini takes
    under this name (`parameters` takes a subset of OpenAPI's)."""

    name: str
    description: str | None = None
    parameters_json_schema: dict[str, Any] | None = None


class Tools(Struct, frozen=True, rename="camel"):
    """All functions are one tool."""

    function_declarations: list[Declaration]


class CallingConfig(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`AUTO`, `ANY` or `NONE`."""

    mode: str
    allowed_function_names: list[str] | None = None


class ToolConfig(Struct, frozen=True, rename="camel"):
    """Which functions may or must be called."""

    function_calling_config: CallingConfig


class Generation(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Sampling and bounds."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    candidate_count: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Request(Struct, frozen=True, rename="camel", kw_only=True):
    """The body."""

    system_instruction: Instruction | UnsetType = UNSET
    contents: list[Content]
    tools: list[Tools] | UnsetType = UNSET
    tool_config: ToolConfig | UnsetType = UNSET
    generation_config: Generation | UnsetType = UNSET


LACKS: Final = {
    "logprobs": "logprobs: not yet for Gemini",
    "logit_bias": "logit_bias: Gemini has no logit bias",
    "json_object": "json_object: not yet for Gemini",
    "json_schema": "json_schema: not yet for Gemini",
    "vision": "vision: not yet for Gemini",
    "audio": "audio: not yet for Gemini",
    "files": "files: not yet for Gemini",
    "reasoning": "reasoning: not yet for Gemini",
    "web_search": "web_search: not yet for Gemini",
    "functions": "functions: not yet for Gemini, use tools",
    "custom_tools": "custom_tools: Gemini's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Gemini has none of another vendor's tools",
}
"""Refusals by feature."""


def lacks(chat: c.ChatRequest) -> str | None:
    """See `extproc.dialects.Dialect.lacks`."""
    for name in chat.uses():
        if name in LACKS:
            return LACKS[name]
    if chat.reasoning_effort is not None:
        # "none" too: models that think by default would still think.
        return LACKS["reasoning"]
    if chat.n is not None and chat.n > MAX_CANDIDATES:
        return f"n: Gemini gives at most {MAX_CANDIDATES} answers a request"
    if chat.parallel_tool_calls is False:
        return "parallel_tool_calls: Gemini cannot be held to one call at a time"
    return arguments_problem(chat.messages) or _unasked_result(chat.messages)


def _unasked_result(messages: list[m.Message]) -> str | None:
    """A result is sent under its function's name, which stands in the call."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        if type(message) is m.AssistantMessage:
            if message.tool_calls:
                called.update(call.id for call in message.tool_calls)
        elif type(message) is m.ToolMessage and message.tool_call_id not in called:
            return f"tools: messages[{index}].tool_call_id answers no earlier tool call"
    return None


def translate(chat: c.ChatRequest, model: str) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the parameters that were dropped."""
    warnings: list[str] = []
    system, contents = _contents(chat.messages, signed=_signs(model))
    tools, config = _tools(chat, warnings)
    request = Request(
        system_instruction=Instruction(system) if system else UNSET,
        contents=contents,
        tools=tools,
        tool_config=config,
        generation_config=_generation(chat, warnings),
    )
    warnings += [
        name
        for name, given in (
            ("service_tier", chat.service_tier not in (None, "auto", "default")),
            ("verbosity", chat.verbosity),
            ("prediction", chat.prediction),
            ("store", chat.store),
            ("moderation", chat.moderation),
        )
        if given
    ]
    return msgspec.json.encode(request), tuple(warnings)


def _contents(messages: list[m.Message], *, signed: bool) -> tuple[list[Part], list[Content]]:
    system: list[Part] = []
    contents: list[Content] = []
    names: dict[str, str] = {}
    for message in messages:
        role = _ROLES.get(type(message))
        if role is None:
            system.extend(_texts(message.content))
            continue
        if isinstance(message, m.AssistantMessage):
            parts = _said(message, names, signed=signed)
        elif isinstance(message, m.ToolMessage):
            parts = [_response(message, names)]
        else:
            parts = _texts(message.content)
        if not parts:
            continue
        if contents and contents[-1].role == role:
            contents[-1].parts.extend(parts)
        else:
            contents.append(Content(parts, role))
    if not contents and system:
        # Instructions alone are a prompt to OpenAI; here they have to be said by somebody.
        return [], [Content(system, "user")]
    if not contents or contents[0].role != "user":
        contents.insert(0, Content([Text(FILLER)], "user"))
    return system, contents


_ROLES: Final[dict[type, str]] = {
    m.UserMessage: "user",
    m.AssistantMessage: "model",
    m.ToolMessage: "user",
    m.FunctionMessage: "user",
}
"""Of messages that are turns; the others are instructions."""


def _texts(content: str | list[Any] | None) -> list[Part]:
    """Text parts; Gemini refuses empty ones."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    found: list[Part] = []
    for part in content or ():
        if isinstance(part, m.TextPart):
            text = part.text
        elif isinstance(part, m.RefusalPart):
            text = part.refusal
        else:
            raise ValueError("a part that Gemini lacks")  # noqa: TRY004 - becomes a refusal
        if text:
            found.append(Text(text))
    return found


def _said(message: m.AssistantMessage, names: dict[str, str], *, signed: bool) -> list[Part]:
    parts = _texts(message.content or message.refusal)
    if not message.tool_calls:
        return parts
    first = True
    for call in message.tool_calls:
        if isinstance(call, m.CustomCall):
            raise ValueError("a call that Gemini lacks")  # noqa: TRY004 - becomes a refusal
        called = call.function
        names[call.id] = called.name
        signature = _signature(call.extra_content)
        if signature is None and signed and first:
            signature = SKIP_SIGNATURE
        first = False
        parts.append(
            CallPart(
                function_call=Called(called.name, arguments_object(called.arguments), call.id),
                thought_signature=signature,
            )
        )
    return parts


def _signature(extra: dict[str, Any] | None) -> str | None:
    google = (extra or {}).get("google")
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) else None


@lru_cache(maxsize=256)
def _signs(model: str) -> bool:
    found = _GEMINI.match(model)
    return found is not None and int(found[1]) >= _SIGNING


def _response(message: m.ToolMessage, names: dict[str, str]) -> Part:
    """A result: an object stays one, anything else goes under `output`, the key that the API's
    reference names for it."""
    text = m.text_of(message.content)
    name = names.get(message.tool_call_id)
    if name is None:
        raise ValueError("a result of no call")
    response: Raw | dict[str, str] = {"output": text}
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            response = arguments_object(text)
    return ResponsePart(function_response=Responded(name, response, message.tool_call_id))


def _tools(
    chat: c.ChatRequest, warnings: list[str]
) -> tuple[list[Tools] | UnsetType, ToolConfig | UnsetType]:
    choice = chat.tool_choice
    allowed = set(m.chosen(choice)) if isinstance(choice, m.AllowedTools) else None
    declared = []
    for tool in chat.tools or ():
        function = tool.function
        if function is None:
            raise ValueError("a tool that Gemini lacks")
        if allowed is not None and function.name not in allowed:
            continue
        if function.strict and "tools.function.strict" not in warnings:
            warnings.append("tools.function.strict")
        schema = function.parameters
        # An object without properties is refused; no schema at all is not.
        schema = schema if schema and schema.get("properties") else None
        declared.append(Declaration(function.name, function.description, schema))
    if not declared:
        return UNSET, UNSET
    return [Tools(declared)], _config(choice)


def _config(choice: m.ToolChoice | None) -> ToolConfig | UnsetType:
    if choice is None:
        return UNSET
    if isinstance(choice, m.NamedFunction):
        return ToolConfig(CallingConfig("ANY", [choice.function.name]))
    mode = choice.allowed_tools.mode if isinstance(choice, m.AllowedTools) else choice
    return ToolConfig(CallingConfig(_MODES[mode] if isinstance(mode, str) else "AUTO"))


_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def _generation(chat: c.ChatRequest, warnings: list[str]) -> Generation | UnsetType:
    found = Generation(
        temperature=chat.temperature,
        top_p=chat.top_p,
        max_output_tokens=chat.max_output,
        stop_sequences=[stop for stop in chat.stops if stop] or None,
        candidate_count=chat.n if chat.n != 1 else None,
        # 32 bits there, 64 here: the same seed still gives the same seed.
        seed=None if chat.seed is None else chat.seed & _INT32,
        presence_penalty=_penalty("presence_penalty", chat.presence_penalty, warnings),
        frequency_penalty=_penalty("frequency_penalty", chat.frequency_penalty, warnings),
    )
    return UNSET if found == _NOTHING else found


_NOTHING: Final = Generation()


def _penalty(name: str, value: float | None, warnings: list[str]) -> float | None:
    if value is not None and value > _BELOW_TWO:
        warnings.append(f"{name} (2: {_BELOW_TWO} was sent)")
        return _BELOW_TWO
    return value
