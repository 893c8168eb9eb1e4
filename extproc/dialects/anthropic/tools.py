"""Tools, which of them must be called, and JSON as an answer."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Raw, Struct

from extproc.dialects.anthropic.blocks import Tool, ToolChoice, WebSearch
from extproc.dialects.anthropic.models import Model
from extproc.dialects.anthropic.schema import BeyondError, Promises, keep
from extproc.dialects.anthropic.turns import Conversation
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.request import ChatRequest

WEB_SEARCH: Final = "web_search_20250305"
"""The web search that every model with one takes. Later versions let the model run code on what
was found, which needs a container, and other terms of data retention."""
SEARCH: Final = "web_search"

JSON_NAME: Final = "json"
JSON_TOLD: Final = "Your answer, as the one thing that the user will see. Call it exactly once."

ASK_ANY: Final = "You must call at least one of your tools before you end your turn."
ASK_ONE: Final = 'You must call the tool "{}" before you end your turn.'

LACKS_JSON: Final = "json_schema: Anthropic can be made to give objects, not {}"

NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_ANY_OBJECT: Final = Raw(b'{"type":"object"}')
_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_NAME: Final = 64


class Format(Struct, frozen=True):
    """`output_config.format`."""

    schema: dict[str, Any]
    type: str = "json_schema"


class Toolbox(Struct):
    """What a request says of tools and of the answer's form."""

    tools: list[Tool | WebSearch] = []
    choice: ToolChoice | None = None
    format: Format | None = None
    json_tool: str | None = None
    instruction: str | None = None
    """What the model is asked to do where it cannot be made to."""
    warnings: list[str] = []

    @property
    def forces(self) -> bool:
        """A call is forced."""
        return _forces(self.choice)


def toolbox(chat: ChatRequest, model: Model, said: Conversation, *, thinks: bool) -> Toolbox:
    """`thinks`: thinking is asked for, which a forced tool excludes. Raises ValueError for a tool
    that the dialect lacks."""
    made = Toolbox()
    wanted = chat.response_format
    functions = _functions(chat)
    if not (functions or said.called or wanted or chat.web_search_options is not None):
        return made
    promises = Promises()
    choice = _choice(chat)
    if type(wanted) is m.SchemaFormat:
        if problem := json_problem(wanted.json_schema, model, cites=said.cites):
            raise ValueError(problem)
        made.format = _format(wanted.json_schema, model, said, promises, made.warnings)
    for function, cache in functions:
        made.tools.append(_tool(function, cache, model, promises, made.warnings))
    if chat.web_search_options is not None:
        _add_search(chat.web_search_options, made)
    if not made.tools:
        # Turns with calls need tools, even where no further call is wanted.
        made.tools.extend(Tool(name, NO_PARAMETERS) for name in sorted(said.called))
        choice = ToolChoice("none") if made.tools else None
    made.choice = choice
    asked = wanted is not None and type(wanted) is not m.TextFormat
    if asked and made.format is None and not made.forces:
        _add_json(wanted, made, named=bool(functions) or chat.web_search_options is not None)
    # Anthropic forces no call of a model that thinks. A client's choice of a tool comes before its
    # wish for thought; JSON can be asked for in words.
    in_words = not model.forced or (thinks and made.json_tool is not None)
    if in_words and made.choice is not None and _forces(made.choice):
        _ask(made, made.choice)
    if made.json_tool is not None:
        how = "by a forced tool" if made.instruction is None else "by a tool, asked for in words"
        made.warnings.append(f"response_format ({how})")
    return made


def _forces(choice: ToolChoice | None) -> bool:
    return choice is not None and choice.type in ("any", "tool")


# --- the tools ----------------------------------------------------------------------------


def _functions(
    chat: ChatRequest,
) -> list[tuple[m.FunctionDefinition, dict[str, Any] | None]]:
    """The functions that may be called, under their old name or the new one."""
    if chat.tools is None:
        return [(one, None) for one in chat.functions or ()]
    allowed = None
    if type(chat.tool_choice) is m.AllowedTools:
        allowed = set(m.chosen(chat.tool_choice))
    found = []
    for tool in chat.tools:
        if tool.function is None:
            raise ValueError("a tool that Anthropic lacks")
        if allowed is None or tool.function.name in allowed:
            found.append((tool.function, tool.cache_control))
    return found


def _tool(
    function: m.FunctionDefinition,
    cache: dict[str, Any] | None,
    model: Model,
    promises: Promises,
    warnings: list[str],
) -> Tool:
    parameters = function.parameters
    if function.strict:
        schema = _promised(parameters or {}, promises) if model.structured else None
        if schema is not None:
            return Tool(function.name, schema, function.description, True, cache)
        _warn(warnings, "tools.function.strict")
    return Tool(function.name, _object(parameters), function.description, False, cache)


def _promised(parameters: dict[str, Any], promises: Promises) -> dict[str, Any] | None:
    """The schema, if Anthropic can keep all of it."""
    try:
        kept = keep({"type": "object", "additionalProperties": False, **parameters})
    except BeyondError:
        return None
    if kept.words or not promises.room(kept, tool=True):
        return None
    return kept.schema


def _object(parameters: dict[str, Any] | None) -> dict[str, Any] | Raw:
    if not parameters:
        return NO_PARAMETERS
    return parameters if parameters.get("type") == "object" else {**parameters, "type": "object"}


def _add_search(options: dict[str, Any], made: Toolbox) -> None:
    if any(tool.name == SEARCH for tool in made.tools):
        raise ValueError("a tool named like Anthropic's own")
    location = options.get("user_location")
    where = location.get("approximate") if isinstance(location, dict) else None
    found = None
    if isinstance(where, dict):
        found = {"type": "approximate"}
        for name in ("city", "country", "region", "timezone"):
            if isinstance(value := where.get(name), str):
                found[name] = value
    made.tools.append(WebSearch(WEB_SEARCH, SEARCH, found))
    if options.get("search_context_size") not in (None, "medium"):
        made.warnings.append("web_search_options.search_context_size")


# --- which must be called -----------------------------------------------------------------


def _choice(chat: ChatRequest) -> ToolChoice | None:
    one_call = chat.parallel_tool_calls is False
    choice = chat.tool_choice
    if chat.tools is None and chat.functions is not None:
        # Functions, as they were, could be called one at a time.
        one_call = True
        called = chat.function_call
        if called == "none":
            return ToolChoice("none")
        if isinstance(called, m.ToolName):
            return ToolChoice("tool", called.name, True)
    if choice == "none":
        return ToolChoice("none")
    if type(choice) is m.NamedFunction:
        return ToolChoice("tool", choice.function.name, one_call)
    if choice == "required" or (
        type(choice) is m.AllowedTools and choice.allowed_tools.mode == "required"
    ):
        return ToolChoice("any", None, one_call)
    return ToolChoice("auto", None, one_call) if choice is not None or one_call else None


def _ask(made: Toolbox, choice: ToolChoice) -> None:
    """The model takes no forced choice: it is asked in words, as its provider's guide to moving
    there has it. A tool that must be called is the only one it gets."""
    if choice.name is None:
        made.instruction = ASK_ANY
    else:
        made.instruction = ASK_ONE.format(choice.name)
        if choice.name != made.json_tool:
            made.tools = [tool for tool in made.tools if tool.name == choice.name]
    if made.json_tool is None:
        made.warnings.append("tool_choice (asked for in words)")
    one_call = choice.disable_parallel_tool_use
    made.choice = ToolChoice("auto", None, True) if one_call else None


# --- JSON ---------------------------------------------------------------------------------


def json_problem(wanted: m.Schema, model: Model, *, cites: bool) -> str | None:
    """Why the JSON cannot be made: what is no object is no tool's input, so the model must have a
    form of its own for it."""
    schema = wanted.schema or {}
    kind = schema.get("type", "object")
    if kind == "object":
        return None
    if model.structured and not cites:
        try:
            keep(schema)
        except BeyondError:
            pass
        else:
            return None
    return LACKS_JSON.format(f"{kind!a:.40}")


def _format(
    wanted: m.Schema,
    model: Model,
    said: Conversation,
    promises: Promises,
    warnings: list[str],
) -> Format | None:
    if wanted.schema is None or not model.structured or said.cites:
        # An answer with citations cannot have a promised form.
        return None
    try:
        kept = keep(wanted.schema)
    except BeyondError:
        return None
    if not promises.room(kept, tool=False):
        return None
    if kept.words:
        warnings.append(f"response_format (told in words: {', '.join(sorted(kept.words))})")
    return Format(kept.schema)


def _add_json(wanted: m.ObjectFormat | m.SchemaFormat | Any, made: Toolbox, *, named: bool) -> None:
    """The answer as the input of a tool that must be called, unless another is."""
    if isinstance(wanted, m.SchemaFormat):
        schema = wanted.json_schema.schema
        name = wanted.json_schema.name
        told = wanted.json_schema.description
        given = _object(schema) if schema else _ANY_OBJECT
    else:
        name, told, given = JSON_NAME, None, _ANY_OBJECT
    name = _NAME.sub("_", name)[:_MAX_NAME] or JSON_NAME
    taken = {tool.name for tool in made.tools}
    while name in taken:
        name = f"{name[: _MAX_NAME - 1]}_"
        if name in taken:
            name = f"{JSON_NAME}_{len(taken)}"
    described = f"{told}\n\n{JSON_TOLD}" if told else JSON_TOLD
    only = not named or (made.choice is not None and made.choice.type == "none")
    one_call = only or (made.choice is not None and made.choice.disable_parallel_tool_use)
    made.tools.append(Tool(name, given, described))
    made.json_tool = name
    made.choice = ToolChoice("tool", name, True) if only else ToolChoice("any", None, one_call)


def _warn(warnings: list[str], text: str) -> None:
    if text not in warnings:
        warnings.append(text)
