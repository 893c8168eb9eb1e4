"""A messages request as a chat request, and what of it has no other form."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as chat
from extproc.dialects.chat.request import Reasoning, Thinking
from extproc.dialects.clients.messages import problems
from extproc.dialects.clients.messages.request import MessagesRequest, Tool
from extproc.dialects.clients.messages.turns import Turns, instructions

_ONLY: Final = "only a target that speaks the Messages API"
SCHEMA_NAME: Final = "answer"
"""Of the answer's schema: chat completions want one."""


class Translation(Struct, frozen=True, gc=False):
    """See `extproc.dialects.ClientRequest`."""

    chat: ChatRequest
    native_only: str | None
    dropped: tuple[str, ...]


def translate(said: MessagesRequest) -> Translation:
    """The request as chat completions would say it. Raises ClientError (400) for sealed thinking
    that was changed."""
    turns = Turns()
    if said.system:
        content = instructions(said.system)
        if content:
            turns.messages.append(chat.SystemMessage(content=content))
    turns.add(said.messages)
    dropped = [*_dropped(said), *turns.dropped]
    tools = [_function(tool, dropped) for tool in said.tools or () if tool.custom]
    search = _web_search(said)
    thinking, reasoning, effort = _thinking(said, dropped)
    choice = said.tool_choice
    one_by_one = choice is not None and choice.disable_parallel_tool_use
    request = ChatRequest(
        model=said.model,
        messages=turns.messages,
        cache_control=said.cache_control,
        max_completion_tokens=said.max_tokens or None,
        parallel_tool_calls=False if one_by_one and tools else None,
        reasoning=reasoning,
        reasoning_effort=effort,
        response_format=_format(said, dropped),
        service_tier=_TIERS.get(said.service_tier or ""),
        stop=said.stop_sequences or None,
        stream=said.stream,
        temperature=said.temperature,
        thinking=thinking,
        tool_choice=_choice(said) if tools else None,
        tools=tools or None,
        top_k=said.top_k or None,
        top_p=said.top_p,
        user=said.user,
        web_search_options=search,
    )
    native = next(_only_native(said), None) or turns.native
    return Translation(request, native, tuple(dict.fromkeys(dropped)))


_TIERS: Final = {"auto": "auto", "standard_only": "default"}


# --- tools --------------------------------------------------------------------------------


def _function(tool: Tool, dropped: list[str]) -> chat.Tool:
    strict = tool.strict
    if strict and not _is_closed(tool.input_schema):
        strict = None
        dropped.append("tools.strict (of a schema with optional properties)")
    if tool.input_examples:
        dropped.append("tools.input_examples")
    function = chat.FunctionDefinition(
        tool.name or "", tool.description, tool.input_schema, strict or None
    )
    return chat.Tool("function", function=function, cache_control=tool.cache_control)


def _is_closed(schema: Any) -> bool:
    """Every object names all its properties as required and takes no others: what OpenAI's strict
    mode asks of a schema. Anthropic's lets properties be absent."""
    if isinstance(schema, list):
        return all(_is_closed(one) for one in schema)
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if schema.get("additionalProperties") is not False:
            return False
        if not isinstance(properties, dict) or not isinstance(required, list):
            return False
        if not all(name in required for name in properties):
            return False
    return all(
        all(_is_closed(one) for one in value.values())
        if name in _NAMED and isinstance(value, dict)
        else _is_closed(value)
        for name, value in schema.items()
        if name not in _VALUES
    )


_NAMED: Final = frozenset({"properties", "$defs", "definitions"})
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords that hold no schemas."""


def _web_search(said: MessagesRequest) -> dict[str, Any] | None:
    """Chat completions' options. None where the choice leaves no room for a search."""
    choice = said.tool_choice
    if choice is not None and choice.type in ("none", "tool"):
        return None
    for tool in said.tools or ():
        if tool.search:
            if tool.user_location is None:
                return {}
            place = {
                key: value
                for key, value in tool.user_location.items()
                if key != "type" and value is not None
            }
            return {"user_location": {"type": "approximate", "approximate": place}}
    return None


def _choice(said: MessagesRequest) -> chat.ToolChoice | None:
    choice = said.tool_choice
    if choice is None:
        return None
    if choice.type == "tool":
        return chat.NamedFunction(chat.ToolName(choice.name or ""))
    if choice.type == "any":
        return "required"
    return choice.type


# --- what else is asked for ---------------------------------------------------------------


def _format(said: MessagesRequest, dropped: list[str]) -> chat.SchemaFormat | None:
    wanted = said.output_config.format if said.output_config is not None else None
    wanted = wanted or said.output_format
    if wanted is None:
        return None
    strict = _is_closed(wanted.schema)
    if not strict:
        dropped.append("output_config.format (not strict: a schema with optional properties)")
    schema = chat.Schema(SCHEMA_NAME, schema=wanted.schema, strict=strict or None)
    return chat.SchemaFormat(schema)


def _thinking(
    said: MessagesRequest, dropped: list[str]
) -> tuple[Thinking | None, Reasoning | None, str | None]:
    """`thinking`, `reasoning` and `reasoning_effort`. To think or not as the model sees fit is what
    `reasoning` asks for by `enabled`."""
    effort = said.output_config.effort if said.output_config is not None else None
    asked = said.thinking
    if asked is None:
        return None, None, effort
    if asked.block_binding:
        dropped.append("thinking.block_binding")
    if asked.type in ("disabled", "between_tools"):
        if effort is not None:
            dropped.append("output_config.effort (thinking is off)")
        return Thinking("disabled"), None, None
    if asked.type == "enabled":
        return Thinking("enabled", asked.budget_tokens, asked.display), None, effort
    hidden = True if asked.display == "omitted" else None
    adaptive = Thinking("adaptive", None, asked.display)
    return adaptive, Reasoning(effort, None, hidden, enabled=True), None


# --- what has no other form ---------------------------------------------------------------

_RUNS: Final = {
    "container": f"container: {_ONLY} runs code in one",
    "mcp_servers": f"mcp_servers: {_ONLY} talks to MCP servers itself",
    "thread": f"thread: {_ONLY} keeps conversations",
    "compaction": f"compaction: {_ONLY} makes a block of a conversation",
}
_kept: Final = attrgetter(*_RUNS)


def _only_native(said: MessagesRequest) -> Iterator[str]:
    """What no other format can say and that changes the meaning."""
    if any(_kept(said)):
        yield next(why for name, why in _RUNS.items() if getattr(said, name))
    if said.context_management is not None and said.context_management.edits:
        yield f"context_management: {_ONLY} edits a prompt"
    if said.inference_geo not in (None, "global"):
        yield f"inference_geo: {_ONLY} can be told where to run"
    if said.max_tokens == 0:
        yield f"max_tokens: {_ONLY} reads a prompt without answering it"
    yield from _native_tools(said)
    yield from _native_choice(said)


def _native_tools(said: MessagesRequest) -> Iterator[str]:
    """Tools that the provider runs, or that its models were made to know."""
    for tool in said.tools or ():
        if tool.search:
            if tool.allowed_domains or tool.blocked_domains:
                yield f"web_search: {_ONLY} keeps a search to domains"
        elif not tool.custom:
            yield f"hosted_tools: {_ONLY} has {problems.shown(tool.type)}"
        elif tool.defer_loading:
            yield f"hosted_tools: {_ONLY} loads tools on demand"


def _native_choice(said: MessagesRequest) -> Iterator[str]:
    """A choice that forces what cannot be forced elsewhere."""
    choice, tools = said.tool_choice, said.tools or ()
    if choice is None or choice.type not in ("any", "tool"):
        return
    forced = [tool for tool in tools if choice.type == "any" or tool.name == choice.name]
    if forced and all(tool.search for tool in forced):
        yield f"web_search: {_ONLY} can be made to search"


_UNHEARD: Final = (
    "billing_policy",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "user_profile_id",
    "workspace_id",
)
_unheard: Final = attrgetter(*_UNHEARD)


def _dropped(said: MessagesRequest) -> Iterator[str]:
    """What goes without: the answer means the same."""
    if any(_unheard(said)):
        yield from (name for name in _UNHEARD if getattr(said, name))
    if said.speed == "fast":
        yield "speed"
    if said.output_config is not None and said.output_config.task_budget:
        yield "output_config.task_budget"
    if any(tool.search and tool.max_uses for tool in said.tools or ()):
        yield "web_search.max_uses"
