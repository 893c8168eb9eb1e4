"""A responses request as a chat request, and what of it has no other form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as chat
from extproc.dialects.chat.request import Reasoning
from extproc.dialects.clients.responses import problems
from extproc.dialects.clients.responses.request import (
    ObjectFormat,
    Parts,
    ReasoningConfig,
    ResponsesRequest,
    SchemaFormat,
    TextConfig,
    Tool,
)
from extproc.dialects.clients.responses.turns import HOSTED, Turns, printable

WEB_SEARCH: Final = frozenset(
    {
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)
LOGPROBS: Final = "message.output_text.logprobs"
_SERVED: Final = frozenset({LOGPROBS, "reasoning.encrypted_content"})
"""What `include` may ask for of any target."""


class Translation(Struct, frozen=True, gc=False):
    """See `extproc.dialects.ClientRequest`."""

    chat: ChatRequest
    native_only: str | None
    dropped: tuple[str, ...]
    sealed: bool
    """See `ResponsesClientRequest`."""


def translate(said: ResponsesRequest, parts: Parts) -> Translation:
    """The request as chat completions would say it. Raises ClientError (400) for sealed thinking
    that was changed."""
    turns = Turns()
    if said.instructions:
        turns.instructions(said.instructions)
    if isinstance(said.input, str):
        turns.user(said.input)
    else:
        turns.items(said.input or ())
    messages = turns.messages
    tools = [made for tool in parts.tools if (made := _tool(tool)) is not None]
    logprobs = said.wants(LOGPROBS)
    effort, reasoning = _reasoning(said.reasoning)
    request = ChatRequest(
        model=said.model,
        messages=messages,
        max_completion_tokens=said.max_output_tokens,
        moderation=said.moderation,
        parallel_tool_calls=said.parallel_tool_calls if tools else None,
        prompt_cache_key=said.prompt_cache_key,
        prompt_cache_options=said.prompt_cache_options,
        prompt_cache_retention=said.prompt_cache_retention,
        reasoning=reasoning,
        reasoning_effort=effort,
        response_format=_format(parts.text),
        safety_identifier=said.safety_identifier,
        service_tier=said.service_tier,
        stream=said.stream,
        temperature=said.temperature,
        tool_choice=_choice(parts) if tools else None,
        tools=tools or None,
        logprobs=logprobs or None,
        top_logprobs=said.top_logprobs if logprobs else None,
        top_p=said.top_p,
        user=said.user,
        verbosity=parts.text.verbosity,
        web_search_options=_web_search(parts),
    )
    native = next(_only_native(said, parts), None) or turns.native
    if native is None and not messages:
        native = f"hosted_items: {HOSTED} takes an input that says nothing"
    return Translation(request, native, (*_dropped(said), *turns.dropped), turns.sealed)


# --- tools --------------------------------------------------------------------------------


def _tool(tool: Tool) -> chat.Tool | None:
    if tool.type == "function":
        function = chat.FunctionDefinition(
            tool.name or "", tool.description, tool.parameters, tool.strict
        )
        return chat.Tool("function", function=function)
    if tool.type == "custom":
        custom = chat.CustomDefinition(tool.name or "", tool.description, _grammar(tool.format))
        return chat.Tool("custom", custom=custom)
    return None


def _grammar(format_: dict[str, Any] | None) -> dict[str, Any] | None:
    """Chat completions put a grammar's fields one level deeper."""
    if format_ is None or format_.get("type") != "grammar" or "grammar" in format_:
        return format_
    inner = {key: value for key, value in format_.items() if key != "type"}
    return {"type": "grammar", "grammar": inner}


def _web_search(parts: Parts) -> dict[str, Any] | None:
    """Chat completions' options. None where the choice leaves no room for a search."""
    if parts.tool_choice not in (None, "auto", "required"):
        return None
    for tool in parts.tools:
        if tool.type in WEB_SEARCH:
            options: dict[str, Any] = {}
            if tool.search_context_size is not None:
                options["search_context_size"] = tool.search_context_size
            if tool.user_location is not None:
                place = {
                    key: value
                    for key, value in tool.user_location.items()
                    if key != "type" and value is not None
                }
                options["user_location"] = {"type": "approximate", "approximate": place}
            return options
    return None


def _choice(parts: Parts) -> chat.ToolChoice | None:
    choice = parts.tool_choice
    if choice is None or choice in ("none", "auto", "required"):
        return choice  # type: ignore[return-value]  # a literal, as the decoder has seen to
    made: list[chat.NamedFunction | chat.NamedCustom] = [
        chat.NamedFunction(chat.ToolName(name))
        if kind == "function"
        else chat.NamedCustom(chat.ToolName(name))
        for kind, name in problems.named(choice)
    ]
    if isinstance(choice, str) or not made:
        return None
    if choice.type == "allowed_tools":
        return chat.AllowedTools(chat.Allowed(choice.mode or "auto", made))
    return made[0]


# --- what else is asked for ---------------------------------------------------------------


def _format(text: TextConfig) -> chat.ObjectFormat | chat.SchemaFormat | None:
    if text.format is None:
        return None
    if isinstance(text.format, ObjectFormat):
        return chat.ObjectFormat()
    if isinstance(text.format, SchemaFormat):
        schema = chat.Schema(
            text.format.name, text.format.description, text.format.schema, text.format.strict
        )
        return chat.SchemaFormat(schema)
    return None


def _reasoning(asked: ReasoningConfig | None) -> tuple[str | None, Reasoning | None]:
    """Effort, or no more than that there should be thinking: who wants a summary wants it."""
    if asked is None:
        return None, None
    if asked.effort is None and (asked.summary or asked.generate_summary):
        return None, Reasoning(enabled=True)
    return asked.effort, None


# --- what has no other form ---------------------------------------------------------------


def _only_native(said: ResponsesRequest, parts: Parts) -> Iterator[str]:
    """What no other format can say and that changes the meaning. What a target must keep comes
    first: not every one that speaks the Responses API does."""
    for name, why in _KEPT.items():
        if getattr(said, name) not in (None, False):
            yield f"{name}: only a target that {why}"
    if said.prompt_cache_options is not None and said.prompt_cache_options.get("prewarm"):
        yield (
            "prompt_cache_options: only a target that speaks the Responses API reads a prompt "
            "without answering it"
        )
    for tool in parts.tools:
        if tool.type in WEB_SEARCH:
            if tool.external_web_access is False:
                yield "web_search: only a target that speaks the Responses API searches offline"
            if tool.filters and any(tool.filters.values()):
                yield f"web_search: {_HOLDS}"
        elif tool.type not in problems.CALLED:
            yield f"hosted_tools: {_RUNS} {printable(tool.type)}"
        elif tool.defer_loading:
            yield f"hosted_tools: {_RUNS} tool_search, which loads tools on demand"
    yield from _native_choice(parts)


def _native_choice(parts: Parts) -> Iterator[str]:
    """A choice of tools that nobody else runs, or that cannot be forced elsewhere."""
    choice = parts.tool_choice
    if choice == "required" and all(tool.type in WEB_SEARCH for tool in parts.tools):
        yield f"web_search: {_FORCES}"
    if choice is None or isinstance(choice, str):
        return
    every = [one.type for one in choice.tools or ()]
    for kind in every if choice.type == "allowed_tools" else [choice.type]:
        if kind in WEB_SEARCH:
            yield f"web_search: {_FORCES}"
        elif kind not in problems.CALLED:
            yield f"hosted_tools: {_RUNS} {printable(kind)}"
    if not problems.named(choice):
        yield f"tool_choice: {_RUNS} a choice of no tool by name"


_KEPT: Final = {
    "previous_response_id": "keeps responses can go on from one",
    "conversation": "keeps conversations can go on with one",
    "prompt": "keeps prompts can fill one in",
    "background": "keeps responses can work on one unwatched",
}
_RUNS: Final = "only a target that speaks the Responses API runs"
_HOLDS: Final = "only a target that speaks the Responses API holds a search to domains"
_FORCES: Final = "only a target that speaks the Responses API can be made to search"


_UNHEARD: Final = (
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "max_tool_calls",
)


def _dropped(said: ResponsesRequest) -> Iterator[str]:
    """What goes without: the answer means the same."""
    if said.store:
        yield "store"
    if said.truncation == "auto":
        yield "truncation (too long a prompt is refused)"
    for name in _UNHEARD:
        if getattr(said, name):
            yield name
    if said.reasoning is not None:
        if said.reasoning.context not in (None, "auto"):
            yield "reasoning.context"
        if said.reasoning.mode not in (None, "standard"):
            yield "reasoning.mode"
    for name in said.include or ():
        if name not in _SERVED:
            yield f"include ({printable(name)})"
