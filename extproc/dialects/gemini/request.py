"""An OpenAI chat request as Gemini's generateContent takes it."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec

from extproc.dialects import ClientRequest
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.request import ChatRequest
from extproc.dialects.gemini import media, schema, thinking, turns
from extproc.dialects.gemini.body import (
    CallingConfig,
    Declaration,
    Generation,
    Instruction,
    Request,
    ToolConfig,
    Tools,
)
from extproc.dialects.gemini.media import Carrier
from extproc.dialects.tool_arguments import arguments_problem

MAX_CANDIDATES: Final = 8
"""`candidateCount` goes to 8."""

JSON_TOOL: Final = "answer_in_json"
"""The function that stands for JSON output where a model cannot give that beside functions."""

_JSON: Final = "application/json"
_INT32: Final = 0x7FFF_FFFF
_BELOW_TWO: Final = 1.999
"""Penalties go from -2 up to, and without, 2."""

_TIERS: Final = {"default": "standard", "flex": "flex", "priority": "priority"}
_MODALITIES: Final = {"text": "TEXT", "image": "IMAGE"}
_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}

LACKS: Final = {
    "logit_bias": "logit_bias: Gemini has no logit bias",
    "custom_tools": "custom_tools: Gemini's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Gemini has none of another vendor's tools",
}
"""Refusals by feature."""


def refusal(request: ClientRequest, carrier: Carrier) -> str | None:
    """What of a chat request cannot be carried: see `Dialect.lacks`."""
    return asked_for(request, carrier) or _in_messages(
        _chat(request), frozenset(request.uses), carrier
    )


def asked_for(request: ClientRequest, carrier: Carrier) -> str | None:
    """The same without what `Translation` stumbles over by itself: calls, results and media in
    messages."""
    chat = _chat(request)
    for name in request.uses:
        if name in LACKS:
            return LACKS[name]
    if chat.n is not None and chat.n > MAX_CANDIDATES:
        return f"n: Gemini gives at most {MAX_CANDIDATES} answers a request"
    if chat.one_call:
        return "parallel_tool_calls: Gemini cannot be held to one call at a time"
    return (
        thinking.refusal(chat, carrier.model)
        or _named(chat)
        or _together(chat, carrier)
        or _shape(chat, carrier)
        or (_sound(chat) if "audio" in request.uses else None)
    )


def _named(chat: ChatRequest) -> str | None:
    """A function's name begins with a letter or `_` there; OpenAI's may begin with `1` or `-`."""
    for tool in chat.tools or ():
        name = tool.name() or ""
        if name[:1] != "_" and not name[:1].isalpha():
            return f"tools: Gemini's functions do not begin as {name[:64]!a} does"
    return None


def _in_messages(chat: ChatRequest, uses: frozenset[str], carrier: Carrier) -> str | None:
    """Messages are looked at for what is known to be in them only: there may be many."""
    if not uses.isdisjoint(_MEDIA) and (found := media.problem(chat.messages, carrier)):
        return found
    if "tools" not in uses:
        return None
    return arguments_problem(chat.messages) or turns.unasked_result(chat.messages)


_MEDIA: Final = frozenset({"vision", "audio", "files"})


def _chat(request: ClientRequest) -> ChatRequest:
    if request.chat is None:
        raise ValueError("not a chat request")
    return request.chat


def _sound(chat: ChatRequest) -> str | None:
    if chat.audio is not None or any(one not in _MODALITIES for one in chat.modalities or ()):
        return "audio: Gemini's chat models do not answer in sound"
    if any(type(one) is m.AssistantMessage and one.audio for one in chat.messages):
        return "audio: an earlier answer in sound is known by its id to OpenAI only"
    return None


def _together(chat: ChatRequest, carrier: Carrier) -> str | None:
    """Functions, search and JSON output, which not every model does in one request."""
    functions = bool(chat.tools or chat.functions) and not _barred(chat)
    search, model = chat.web_search_options is not None, carrier.model
    if search and functions and (carrier.vertex or not model.json_beside_tools):
        who = carrier.title if carrier.vertex else model.name
        return f"web_search: {who} does not search and call functions in one request"
    form = chat.response_format
    if form is None or isinstance(form, m.TextFormat) or model.json_beside_tools:
        return None
    feature = "json_schema" if isinstance(form, m.SchemaFormat) else "json_object"
    if search:
        return f"{feature}: {model.name} does not search and give JSON in one request"
    if functions and not _forced(chat):
        if isinstance(form, m.ObjectFormat):
            return f"json_object: {model.name} does not give JSON beside functions"
        if (form.json_schema.schema or {}).get("type") != "object":
            return f"json_schema: beside functions {model.name} gives objects only"
    return None


def _shape(chat: ChatRequest, carrier: Carrier) -> str | None:
    form = chat.response_format
    if isinstance(form, m.SchemaFormat) and form.json_schema.schema is not None:
        try:
            _schema(form.json_schema.schema, carrier)
        except ValueError as error:
            return str(error)
    return None


def _schema(given: dict[str, Any], carrier: Carrier) -> dict[str, Any]:
    found = schema.plain(given)
    return found if carrier.model.json_schema else schema.openapi(found)


def _barred(chat: ChatRequest) -> bool:
    """The model may not call a function."""
    return "none" in (chat.tool_choice, chat.function_call)


def _alone(chat: ChatRequest, carrier: Carrier) -> bool:
    """Functions would stand beside what the model does not do beside them."""
    if not carrier.model.json_beside_tools and not isinstance(
        chat.response_format, m.TextFormat | None
    ):
        return True
    return chat.web_search_options is not None and (
        carrier.vertex or not carrier.model.json_beside_tools
    )


def _forced(chat: ChatRequest) -> bool:
    """The model must call a function: there is no text to be JSON."""
    choice = chat.tool_choice
    if isinstance(choice, m.AllowedTools):
        return choice.allowed_tools.mode == "required"
    return (
        choice == "required"
        or isinstance(choice, m.NamedFunction)
        or isinstance(chat.function_call, m.ToolName)
    )


# --- writing ------------------------------------------------------------------------------


class Translation:
    """One request on its way: the body, what was left out, and the tool that stands for JSON."""

    __slots__ = ("_notes", "body", "json_tool", "warnings")

    def __init__(self, chat: ChatRequest, carrier: Carrier) -> None:
        """Raises ValueError for what `refusal` names."""
        self.warnings: list[str] = []
        self.json_tool: str | None = None
        self._notes: set[str] = set()
        system, contents = turns.contents(chat.messages, carrier, self._notes)
        tools, config = self._tools(chat, carrier)
        self.body = Request(
            system_instruction=Instruction(system) if system else None,
            contents=contents,
            tools=tools,
            tool_config=config,
            generation_config=self._generation(chat, carrier),
            service_tier=self._tier(chat.service_tier),
        )
        self._dropped(chat)

    def encode(self) -> bytes:
        """The body as JSON."""
        return msgspec.json.encode(self.body)

    # --- tools ----------------------------------------------------------------------------

    def _tools(
        self, chat: ChatRequest, carrier: Carrier
    ) -> tuple[list[Tools] | None, ToolConfig | None]:
        if not chat.tools and not chat.functions and chat.web_search_options is None:
            return None, None
        functions = [tool.function for tool in chat.tools or ()] + (chat.functions or [])
        choice = chat.tool_choice
        mode, names = _mode(choice, chat.function_call)
        if isinstance(choice, m.AllowedTools):
            allowed = set(m.chosen(choice))
            functions = [one for one in functions if one is None or one.name in allowed]
        alone = _alone(chat, carrier)
        if alone and mode == "NONE":
            functions = []
        declared = [_declared(one) for one in functions]
        if any(one is not None and one.strict for one in functions) and mode in (None, "AUTO"):
            if carrier.model.validates:
                mode = "VALIDATED"
            else:
                self.warnings.append("tools.function.strict")
        if alone and declared and not _forced(chat):
            declared.append(self._json_tool(chat, {one.name for one in declared}))
            mode = "ANY"
        return self._assembled(chat, declared, mode, names)

    def _assembled(
        self,
        chat: ChatRequest,
        declared: list[Declaration],
        mode: str | None,
        names: list[str] | None,
    ) -> tuple[list[Tools] | None, ToolConfig | None]:
        tools = [Tools(declared)] if declared else []
        beside = None
        if (search := chat.web_search_options) is not None:
            tools.append(Tools(google_search={}))
            beside = True if declared else None
            self.warnings += [f"web_search_options.{name}" for name in search if search[name]]
        calling = CallingConfig(mode, names) if mode and declared else None
        config = ToolConfig(calling, beside) if calling or beside else None
        return tools or None, config

    def _json_tool(self, chat: ChatRequest, taken: set[str]) -> Declaration:
        form = chat.response_format
        if not isinstance(form, m.SchemaFormat):
            raise ValueError("search or JSON beside functions")  # noqa: TRY004 - becomes a refusal
        self.json_tool = JSON_TOOL
        while self.json_tool in taken:
            self.json_tool += "_"
        self.warnings.append("response_format (by a forced tool)")
        wanted = form.json_schema
        says = "Gives the final answer." + (f" {wanted.description}" if wanted.description else "")
        given = wanted.schema or {}
        parameters = schema.plain(given) if given.get("properties") else None
        return Declaration(self.json_tool, says, parameters)

    # --- generation -----------------------------------------------------------------------

    def _generation(self, chat: ChatRequest, carrier: Carrier) -> Generation | None:
        kind, openapi, json_schema = self._form(chat, carrier)
        found = Generation(
            temperature=chat.temperature,
            top_p=chat.top_p,
            top_k=chat.top_k,
            max_output_tokens=chat.max_output,
            stop_sequences=[stop for stop in chat.stops if stop] or None,
            candidate_count=chat.n if chat.n != 1 else None,
            # 32 bits there, 64 here: the same seed still gives the same seed.
            seed=None if chat.seed is None else chat.seed & _INT32,
            presence_penalty=self._penalty("presence_penalty", chat.presence_penalty),
            frequency_penalty=self._penalty("frequency_penalty", chat.frequency_penalty),
            response_logprobs=chat.logprobs or None,
            logprobs=(chat.top_logprobs or None) if chat.logprobs else None,
            response_mime_type=kind,
            response_schema=openapi,
            response_json_schema=json_schema,
            response_modalities=_modalities(chat.modalities),
            thinking_config=thinking.config(chat, carrier.model, self.warnings),
        )
        return None if found == _NOTHING else found

    def _form(
        self, chat: ChatRequest, carrier: Carrier
    ) -> tuple[str | None, dict[str, Any] | None, dict[str, Any] | None]:
        """responseMimeType, responseSchema, responseJsonSchema."""
        form = chat.response_format
        if form is None or isinstance(form, m.TextFormat) or self.json_tool is not None:
            return None, None, None
        if _forced(chat) and not carrier.model.json_beside_tools:
            return None, None, None
        if isinstance(form, m.ObjectFormat) or form.json_schema.schema is None:
            return _JSON, None, None
        found = schema.plain(form.json_schema.schema)
        if not carrier.model.json_schema:
            return _JSON, schema.openapi(found), None
        if loose := sorted(set(schema.unenforced(found))):
            self.warnings.append(f"response_format.json_schema.schema (not binding: {_few(loose)})")
        return _JSON, None, found

    def _penalty(self, name: str, value: float | None) -> float | None:
        if value is not None and value > _BELOW_TWO:
            self.warnings.append(f"{name} (2: {_BELOW_TWO} was sent)")
            return _BELOW_TWO
        return value

    def _tier(self, asked: str | None) -> str | None:
        if asked is None or asked == "auto":
            return None
        found = _TIERS.get(asked)
        if found is None:
            self.warnings.append("service_tier")
        return found

    def _dropped(self, chat: ChatRequest) -> None:
        if chat.parallel_tool_calls is False:
            self.warnings.append("parallel_tool_calls")
        if chat.verbosity:
            self.warnings.append("verbosity")
        if chat.prediction:
            self.warnings.append("prediction")
        if chat.store:
            self.warnings.append("store")
        if chat.moderation:
            self.warnings.append("moderation")
        self.warnings += sorted(self._notes)


def _declared(function: m.FunctionDefinition | None) -> Declaration:
    if function is None:
        raise ValueError("a tool that Gemini lacks")
    parameters = function.parameters
    # An object without properties is refused; no schema at all is not.
    parameters = parameters if parameters and parameters.get("properties") else None
    if parameters and ("$defs" in parameters or "definitions" in parameters):
        with contextlib.suppress(ValueError):
            parameters = schema.plain(parameters)
    return Declaration(function.name, function.description, parameters)


_NOTHING: Final = Generation()
_SHOWN: Final = 5


def _few(names: list[str]) -> str:
    return ", ".join(name for name in names[:_SHOWN] if name.isascii() and name.isprintable())


def _modalities(asked: list[Any] | None) -> list[str] | None:
    """Text alone is what every model gives unasked."""
    found = [_MODALITIES[one] for one in asked or ()]
    return found if "IMAGE" in found else None


def _mode(
    choice: m.ToolChoice | None, legacy: str | m.ToolName | None
) -> tuple[str | None, list[str] | None]:
    """Mode, and the functions of which one must be called."""
    if isinstance(legacy, m.ToolName):
        return "ANY", [legacy.name]
    if choice is None:
        return (None if legacy is None else _MODES[legacy]), None
    if isinstance(choice, m.NamedFunction):
        return "ANY", [choice.function.name]
    if isinstance(choice, m.AllowedTools):
        return _MODES[choice.allowed_tools.mode], None
    if isinstance(choice, m.NamedCustom):
        raise ValueError("a tool that Gemini lacks")  # noqa: TRY004 - becomes a refusal
    return _MODES[choice], None
