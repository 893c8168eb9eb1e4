"""A chat request as Cohere's chat API, version 2, takes it (docs.cohere.com/reference/chat)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as m

FORMAT: Final = "cohere-v2"
"""Of thinking that Cohere gave, in `ReasoningDetail.format`."""

LACKS: Final = {
    "n": "n: Cohere gives one answer a request",
    "logit_bias": "logit_bias: Cohere has no logit bias",
    "audio": "audio: Cohere neither hears nor speaks",
    "files": "files: Cohere's chat takes no files",
    "web_search": "web_search: Cohere's chat searches no web",
    "custom_tools": "custom_tools: Cohere's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Cohere has none of another vendor's tools",
}
"""Refusals by feature."""
LACKS_TOP: Final = "logprobs: Cohere has none of the tokens that were not chosen (top_logprobs)"
LACKS_ONE: Final = "parallel_tool_calls: Cohere cannot be held to one call at a time"
LACKS_RESULT: Final = "vision: Cohere takes text alone as a tool's result"
LACKS_REASONING: Final = "reasoning: this model of Cohere does not think"
LACKS_JSON: Final = "json_schema: Cohere can be made to give objects, not {}"

FILLER: Final = "."
"""A message that must be there and has nothing to say: Cohere takes none that is empty."""
CONTINUE: Final = "Continue."
"""Said by the user behind an assistant's message at the end, where Cohere takes none."""
PLAN: Final = "tool_plan"
"""`ReasoningDetail.id` of what Cohere calls the plan of its calls."""

_THOUGHTLESS: Final = re.compile(
    r"command-(?:a-(?:03|vision|translate)|r\b|r7b|light|nightly)|command$|c4ai-|tiny-aya"
)
"""Models of which it is known that they do not think (the guide to reasoning names those that
do)."""
_BUDGETS: Final = {"minimal": 512, "low": 1024, "medium": 8192, "high": 16_384, "xhigh": 24_576}
"""Tokens of thinking by effort. Cohere takes a budget only; its guide to reasoning uses some
hundreds for little and leaves much to the model, whose answers end at 32,768."""

_DROPPED: Final = (
    "verbosity", "prediction", "store", "moderation", "prompt_cache_retention",
    "prompt_cache_options", "user", "safety_identifier",
)  # fmt: skip
_MOST_K: Final = 500
_JSON_NAME: Final = "json"
_JSON_TOLD: Final = "Your answer, as the one thing that the user will see. Call it exactly once."
_NOT_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


class Function(Struct, frozen=True, omit_defaults=True):
    """A function that the model may call, or, with `arguments`, did."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    arguments: str | None = None


class Tool(Struct, frozen=True):
    """Always a function."""

    function: Function
    type: str = "function"


class Call(Struct, frozen=True):
    """A call that the model made."""

    id: str
    function: Function
    type: str = "function"


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of any role."""

    role: str
    content: str | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


class Request(Struct, frozen=True, kw_only=True):
    """The body. Field order as in the API's reference."""

    model: str
    messages: list[Message]
    stream: bool
    tools: list[Tool] | UnsetType = UNSET
    strict_tools: bool | UnsetType = UNSET
    tool_choice: str | UnsetType = UNSET
    response_format: dict[str, Any] | UnsetType = UNSET
    thinking: dict[str, Any] | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    k: int | UnsetType = UNSET
    p: float | UnsetType = UNSET
    logprobs: bool | UnsetType = UNSET


def lacks(chat: ChatRequest, uses: tuple[str, ...], model: str) -> str | None:
    """See `extproc.dialects.Dialect.lacks`."""
    for name in uses:
        if name in LACKS:
            return LACKS[name]
    return _parameters_problem(chat, model) or _results_problem(chat.messages)


def _parameters_problem(chat: ChatRequest, model: str) -> str | None:
    if chat.logprobs and chat.top_logprobs:
        return LACKS_TOP
    if chat.one_call and chat.tool_choice != "none":
        return LACKS_ONE
    if chat.thinks and _THOUGHTLESS.match(model):
        return LACKS_REASONING
    wanted = chat.response_format
    if isinstance(wanted, m.SchemaFormat):
        kind = (wanted.json_schema.schema or {}).get("type", "object")
        return None if kind == "object" else LACKS_JSON.format(f"{kind!a:.40}")
    return None


def _results_problem(messages: list[m.Message]) -> str | None:
    for message in messages:
        if type(message) is not m.ToolMessage or isinstance(message.content, str):
            continue
        if not all(isinstance(part, m.TextPart) for part in message.content):
            return LACKS_RESULT
    return None


class Written(Struct, frozen=True):
    """A request as the provider takes it. `json_tool`: the tool whose input is the answer's
    text."""

    body: bytes
    warnings: tuple[str, ...]
    json_tool: str | None


def translate(chat: ChatRequest, model: str) -> Written:
    """The body. Raises ValueError for what `lacks` names."""
    warnings = [name for name in _DROPPED if getattr(chat, name)]
    if chat.parallel_tool_calls is False and chat.forces_one:
        warnings.append("parallel_tool_calls")
    if chat.service_tier not in (None, "auto", "default"):
        warnings.append("service_tier")
    tools, choice = _tools(chat)
    messages = _messages(chat.messages)
    form: dict[str, Any] | UnsetType = UNSET
    json_tool = None
    if isinstance(chat.response_format, m.ObjectFormat | m.SchemaFormat):
        if choice == "NONE":
            tools = []
        if not tools:
            form = _format(chat.response_format, messages, warnings)
        elif choice != "REQUIRED":
            # Cohere has no JSON format beside tools.
            json_tool = _add_json(chat.response_format, tools)
            choice = "REQUIRED"
            warnings.append("response_format (by a forced tool)")
    request = Request(
        model=model,
        messages=messages,
        stream=bool(chat.stream),
        tools=tools or UNSET,
        strict_tools=_strict(chat, tools, warnings) or UNSET,
        tool_choice=choice if tools and choice else UNSET,
        response_format=form,
        thinking=_thinking(chat, model, warnings),
        max_tokens=chat.max_output or UNSET,
        stop_sequences=chat.stops or UNSET,
        temperature=_temperature(chat, warnings),
        seed=_seed(chat, warnings),
        frequency_penalty=_penalty(chat, "frequency_penalty", warnings),
        presence_penalty=_penalty(chat, "presence_penalty", warnings),
        k=_top_k(chat, warnings),
        p=_top_p(chat, warnings),
        logprobs=chat.logprobs or UNSET,
    )
    return Written(msgspec.json.encode(request), tuple(warnings), json_tool)


# --- messages -----------------------------------------------------------------------------


def _messages(messages: list[m.Message]) -> list[Message]:
    """Cohere takes no message that is empty, and wants the last word to be the user's or a
    tool's."""
    made = [one for message in messages if (one := _message(message)) is not None]
    if not made:
        return [Message("user", FILLER)]
    last = made[-1]
    if all(one.role == "system" for one in made):
        # Instructions alone are a prompt to OpenAI; here they have to be said by somebody.
        made[-1] = Message("user", last.content)
    elif last.role == "system" or (last.role == "assistant" and not last.tool_calls):
        made.append(Message("user", CONTINUE))
    return made


def _message(message: m.Message) -> Message | None:
    """None if nothing is said."""
    # Types are compared: to be told that a struct is no instance of a type takes long.
    if type(message) is m.UserMessage:
        content = _content(message.content)
        return Message("user", content) if content else None
    if type(message) is m.AssistantMessage:
        said = _assistant(message)
        return said if said.content or said.tool_calls else None
    if type(message) is m.ToolMessage:
        text = m.text_of(message.content) or FILLER
        return Message("tool", text, tool_call_id=message.tool_call_id)
    if isinstance(message, m.FunctionMessage):
        return Message("tool", message.content or FILLER, tool_call_id=message.name)
    text = m.text_of(message.content)
    return Message("system", text) if text else None


def _content(content: str | list[m.UserPart]) -> str | list[Any]:
    if isinstance(content, str):
        return content
    made: list[Any] = []
    for part in content:
        if isinstance(part, m.TextPart):
            if part.text:
                made.append({"type": "text", "text": part.text})
        elif isinstance(part, m.ImagePart):
            image = {"url": part.image_url.url}
            if part.image_url.detail in ("auto", "low", "high"):
                image["detail"] = part.image_url.detail
            made.append({"type": "image_url", "image_url": image})
        else:
            raise ValueError("a part that Cohere lacks")  # noqa: TRY004 - becomes a refusal
    return made


def _assistant(message: m.AssistantMessage) -> Message:
    said = m.text_of(message.content) or message.refusal or ""
    plan = thought = ""
    for one in message.reasoning_details or ():
        if one.format == FORMAT and one.text and one.id == PLAN:
            plan += one.text
        elif one.format == FORMAT and one.text:
            thought += one.text
    calls = []
    for call in message.tool_calls or ():
        if type(call) is not m.FunctionCall:
            raise ValueError("a call that Cohere lacks")
        function = Function(call.function.name, arguments=call.function.arguments or "{}")
        calls.append(Call(call.id, function))
    if old := message.function_call:
        # Functions have no ids: a result belongs to the call of its name.
        calls.append(Call(old.name, Function(old.name, arguments=old.arguments or "{}")))
    content: str | list[Any] | None = said or None
    if thought and (said or calls):
        content = [{"type": "thinking", "thinking": thought}]
        if said:
            content.append({"type": "text", "text": said})
    return Message("assistant", content, plan or None, calls or None)


# --- tools --------------------------------------------------------------------------------


def _tools(chat: ChatRequest) -> tuple[list[Tool], str | None]:
    """The tools, and whether one of them must, or must not, be called. A tool that is chosen by
    name is the only one left: Cohere knows no names in a choice."""
    functions = [one.function for one in chat.tools or () if one.function is not None]
    functions += chat.functions or []
    choice: Any = chat.tool_choice if chat.tools else chat.function_call
    names = {choice.name} if isinstance(choice, m.ToolName) else set(_chosen(choice))
    if names:
        functions = [one for one in functions if one.name in names]
    made = [Tool(Function(one.name, one.description, _object(one.parameters)))
            for one in functions]  # fmt: skip
    if choice == "none":
        return made, "NONE"
    forced = choice == "required" or isinstance(choice, m.NamedFunction | m.ToolName)
    if isinstance(choice, m.AllowedTools):
        forced = choice.allowed_tools.mode == "required"
    return made, "REQUIRED" if forced else None


def _object(parameters: dict[str, Any] | None) -> dict[str, Any]:
    if not parameters:
        return _NOTHING
    return parameters if parameters.get("type") == "object" else {**parameters, "type": "object"}


def _chosen(choice: Any) -> list[str]:
    return [] if choice is None or isinstance(choice, str) else m.chosen(choice)


_NOTHING: Final[dict[str, Any]] = {"type": "object", "properties": {}}


def _strict(chat: ChatRequest, tools: list[Tool], warnings: list[str]) -> bool:
    """Cohere holds to the schemas of all tools or of none, and only where each has a parameter
    that must be given."""
    if not any(one.function is not None and one.function.strict for one in chat.tools or ()):
        return False
    if tools and all((one.function.parameters or {}).get("required") for one in tools):
        return True
    warnings.append("tools.function.strict")
    return False


# --- JSON ---------------------------------------------------------------------------------


def _format(
    asked: m.ObjectFormat | m.SchemaFormat, messages: list[Message], warnings: list[str]
) -> dict[str, Any]:
    schema = asked.json_schema.schema if isinstance(asked, m.SchemaFormat) else None
    if not schema:
        return {"type": "json_object"}
    if schema.get("required"):
        return {"type": "json_object", "json_schema": _object(schema)}
    # Of a schema Cohere wants at least one property that must be given.
    told = f"Answer with JSON that fits this schema: {msgspec.json.encode(schema).decode()}"
    messages.insert(0, Message("system", told))
    warnings.append("response_format (its schema was told in words)")
    return {"type": "json_object"}


def _add_json(asked: m.ObjectFormat | m.SchemaFormat, tools: list[Tool]) -> str:
    name, told, schema = _JSON_NAME, _JSON_TOLD, None
    if isinstance(asked, m.SchemaFormat):
        name = _NOT_NAME.sub("_", asked.json_schema.name) or _JSON_NAME
        schema = asked.json_schema.schema
        if asked.json_schema.description:
            told = f"{asked.json_schema.description}\n\n{told}"
    taken = {one.function.name for one in tools}
    while name in taken:
        name += "_"
    tools.append(Tool(Function(name, told, _object(schema))))
    return name


# --- parameters ---------------------------------------------------------------------------


def _thinking(chat: ChatRequest, model: str, warnings: list[str]) -> dict[str, Any] | UnsetType:
    budget, effort = None, chat.reasoning_effort
    if chat.reasoning is not None:
        budget, effort = chat.reasoning.max_tokens, effort or chat.reasoning.effort
    if chat.thinking is not None:
        budget = chat.thinking.budget_tokens or budget
    if not chat.thinks:
        off = effort == "none" or (chat.thinking and chat.thinking.type == "disabled")
        off = off or (chat.reasoning is not None and chat.reasoning.enabled is False)
        return {"type": "disabled"} if off and not _THOUGHTLESS.match(model) else UNSET
    if budget is None and effort is not None:
        budget = _BUDGETS.get(effort)
        if budget is None:
            warnings.append("reasoning_effort")
    return {"type": "enabled"} if budget is None else {"type": "enabled", "token_budget": budget}


def _temperature(chat: ChatRequest, warnings: list[str]) -> float | UnsetType:
    if chat.temperature is None:
        return UNSET
    if chat.temperature > 1:
        warnings.append("temperature (above 1: 1 was sent)")
        return 1.0
    return chat.temperature


def _top_k(chat: ChatRequest, warnings: list[str]) -> int | UnsetType:
    if chat.top_k is None:
        return UNSET
    if chat.top_k > _MOST_K:
        warnings.append(f"top_k ({_MOST_K} was sent)")
    return min(chat.top_k, _MOST_K)


def _top_p(chat: ChatRequest, warnings: list[str]) -> float | UnsetType:
    # From 0.01 to 0.99; 1 is none.
    if chat.top_p is None or chat.top_p == 1:
        return UNSET
    bound = min(max(chat.top_p, 0.01), 0.99)
    if bound != chat.top_p:
        warnings.append(f"top_p ({bound:g} was sent)")
    return bound


def _seed(chat: ChatRequest, warnings: list[str]) -> int | UnsetType:
    if chat.seed is None:
        return UNSET
    if not 0 <= chat.seed < 1 << 64:
        warnings.append("seed (Cohere's are from 0 to 2^64)")
        return UNSET
    return chat.seed


def _penalty(chat: ChatRequest, name: str, warnings: list[str]) -> float | UnsetType:
    value: float | None = getattr(chat, name)
    if not value:
        return UNSET
    if not 0 <= value <= 1:
        warnings.append(f"{name} (Cohere's are from 0 to 1)")
        return UNSET
    return value
