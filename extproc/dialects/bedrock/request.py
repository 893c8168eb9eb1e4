"""A chat request as Bedrock's Converse takes it: Anthropic's rules, which hold for Claude wherever
it runs and for the other models as far as Converse knows the same, in Converse's words.

Amazon's API reference: `Converse`, `ConverseStream`; the Bedrock user guide, "Carry out a
conversation with the Converse API operations", "Prompt caching", "Extended thinking", "Model
inference request parameters".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from extproc.dialects import Reply
from extproc.dialects.anthropic import request as anthropic
from extproc.dialects.anthropic import turns
from extproc.dialects.anthropic.blocks import Tool, ToolChoice, Turn
from extproc.dialects.bedrock import content, media, models, thinking
from extproc.dialects.bedrock.content import Points, words
from extproc.dialects.bedrock.models import FORMAT, Model
from extproc.dialects.bedrock.thinking import InferenceConfig
from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as m
from extproc.dialects.tool_arguments import arguments_problem

LACKS: Final = {
    "n": "n: Bedrock gives one answer a request",
    "logprobs": "logprobs: Bedrock has no log probabilities",
    "logit_bias": "logit_bias: Bedrock has no logit bias",
    "web_search": "web_search: Bedrock searches no web",
    "custom_tools": "custom_tools: Bedrock's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Bedrock has none of another vendor's tools",
}
"""Refusals by feature."""
LACKS_SPEECH: Final = "audio: no model behind Bedrock's Converse speaks"
LACKS_HEARING: Final = "audio: this model of Bedrock does not hear"
LACKS_TOOLS: Final = "tools: this model of Bedrock calls none"
LACKS_NONE: Final = "tools: Bedrock can keep only Claude from calling a tool that was called before"
LACKS_ONE: Final = "parallel_tool_calls: Bedrock can hold only Claude to one call at a time"
LACKS_STOP: Final = "stop: Bedrock takes no stop sequence of white space alone"
LACKS_REASONING: Final = "reasoning: this model of Bedrock does not think"

STOP_FIELD: Final = "/stop_sequence"
"""Where Claude's own answer says which stop sequence ended it."""
_TIERS: Final = frozenset({"default", "flex", "priority"})
_TOP_K: Final = ("cohere", "mistral", "ai21", "qwen")
"""Vendors whose models take `top_k` among their own parameters."""


class Request(Struct, frozen=True, kw_only=True, rename="camel"):
    """The body. The model stands in the path."""

    messages: list[Turn]
    system: list[Any] | UnsetType = UNSET
    inference_config: InferenceConfig
    tool_config: dict[str, Any] | UnsetType = UNSET
    additional_model_request_fields: dict[str, Any] | UnsetType = UNSET
    additional_model_response_field_paths: list[str] | UnsetType = UNSET
    output_config: dict[str, Any] | UnsetType = UNSET
    service_tier: dict[str, str] | UnsetType = UNSET


class Written(Struct, frozen=True):
    """A request as the provider takes it."""

    body: bytes
    reply: Reply
    warnings: tuple[str, ...]


# --- what cannot be carried ---------------------------------------------------------------


def lacks(chat: ChatRequest, uses: tuple[str, ...], model: str) -> str | None:
    """See `extproc.dialects.Dialect.lacks`."""
    return (
        asked_for(chat, uses, model)
        or _media_problem(chat, uses)
        or (arguments_problem(chat.messages) if "tools" in uses else None)
    )


def asked_for(chat: ChatRequest, uses: tuple[str, ...], model: str) -> str | None:
    """The same without what `translate` stumbles over by itself: media and calls in messages."""
    for name in uses:
        if name in LACKS:
            return LACKS[name]
    known = models.of(model)
    return (
        _audio_problem(chat, uses, known)
        or _tools_problem(chat, uses, known)
        or _parameters_problem(chat, known)
    )


def _audio_problem(chat: ChatRequest, uses: tuple[str, ...], known: Model) -> str | None:
    if "audio" not in uses:
        return None
    if chat.audio is not None or "audio" in (chat.modalities or ()):
        return LACKS_SPEECH
    if any(isinstance(one, m.AssistantMessage) and one.audio for one in chat.messages):
        return LACKS_SPEECH
    return None if known.hears else LACKS_HEARING


def _tools_problem(chat: ChatRequest, uses: tuple[str, ...], known: Model) -> str | None:
    if "tools" not in uses or known.claude:
        return None
    if not known.tools:
        return LACKS_TOOLS
    if chat.one_call and chat.tool_choice != "none":
        return LACKS_ONE
    if _forbids(chat) and _called(chat):
        return LACKS_NONE
    return None


def _forbids(chat: ChatRequest) -> bool:
    """No tool that the request has may be called."""
    return (chat.tool_choice if chat.tools else chat.function_call) == "none"


def _called(chat: ChatRequest) -> bool:
    """The conversation has calls or results, which Converse takes beside tools only."""
    return any(
        type(one) in (m.ToolMessage, m.FunctionMessage)
        or (type(one) is m.AssistantMessage and bool(one.tool_calls or one.function_call))
        for one in chat.messages
    )


def _parameters_problem(chat: ChatRequest, known: Model) -> str | None:
    if any(not stop.strip() for stop in chat.stops):
        return LACKS_STOP
    if known.reasons == "none" and chat.thinks:
        return LACKS_REASONING
    if problem := anthropic.json_refusal(chat, known.terms):
        name = "Bedrock" if known.terms.structured else "this model of Bedrock"
        return problem.replace("Anthropic", name)
    return None


def _media_problem(chat: ChatRequest, uses: tuple[str, ...]) -> str | None:
    if not {"vision", "files", "audio"}.intersection(uses):
        return None
    try:
        for message in chat.messages:
            for part in message.content if isinstance(message.content, list) else ():
                if isinstance(part, m.ImagePart):
                    media.image(part)
                elif isinstance(part, m.FilePart):
                    media.file(part)
                elif isinstance(part, m.AudioPart):
                    media.audio(part)
    except ValueError as error:
        return str(error)
    return None


# --- the request --------------------------------------------------------------------------


def translate(
    chat: ChatRequest, uses: tuple[str, ...], model: str, output_cap: int | None
) -> Written:
    """The body. `uses` is what `ChatRequest.uses` tells. Raises ValueError for what `lacks`
    names."""
    known = models.of(model)
    said = chat if known.claude else _foreign(chat, uses)
    composed = anthropic.compose(said, known.name, output_cap, known=known.terms, media=media.MEDIA)
    asked = composed.request
    warnings = [one for one in composed.warnings if one != "service_tier"]
    warnings += [one for one in ("user", "safety_identifier") if getattr(chat, one)]
    config = InferenceConfig(
        # Only Claude must be told a bound.
        max_tokens=asked.max_tokens if known.claude or chat.max_output else None,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop_sequences=asked.stop_sequences,
    )
    if known.claude:
        more = _claudes(asked, composed.betas)
    else:
        more, config = thinking.ask(chat, known, config, warnings)
        _top_k(asked, known, more, warnings)
        if chat.parallel_tool_calls is False and chat.forces_one:
            warnings.append("parallel_tool_calls")
        if asked.tool_choice is not None and asked.tool_choice.type == "none":
            warnings.append("tools (those called before were sent, without a word against them)")
    points = Points(known)
    tools = _tools(asked, points, known)
    system = [one for block in asked.system or () for one in words(block, points)]
    messages = asked.messages
    content.translate(messages, points)
    if system and not known.system:
        messages[0].blocks()[:0] = system
        system = []
        warnings.append("system (said by the user)")
    points.close(chat.cache_control, messages[-1])
    if points.dropped:
        warnings.append("cache_control")
    request = Request(
        messages=messages,
        system=system or UNSET,
        inference_config=config,
        tool_config=tools or UNSET,
        additional_model_request_fields=more or UNSET,
        additional_model_response_field_paths=(
            [STOP_FIELD] if known.claude and asked.stop_sequences else UNSET
        ),
        output_config=_output(asked) or UNSET,
        service_tier=_tier(chat, warnings) or UNSET,
    )
    reply = Reply(json_tool=composed.reply.json_tool, model=model)
    return Written(msgspec.json.encode(request), reply, tuple(warnings))


def _foreign(chat: ChatRequest, uses: tuple[str, ...]) -> ChatRequest:
    """The request without what only Claude takes in Anthropic's way: how to think is asked in
    another (`thinking`), no model's seal is another's, and a tool that may not be called is not
    sent."""
    changes: dict[str, Any] = {}
    if chat.thinks or chat.reasoning or chat.thinking or chat.reasoning_effort:
        changes = {"reasoning": None, "thinking": None, "reasoning_effort": None}
    if _forbids(chat):
        none = {"tools": None, "tool_choice": None, "functions": None, "function_call": None}
        changes |= {**none, "parallel_tool_calls": None}
    if chat.parallel_tool_calls is False:
        changes["parallel_tool_calls"] = None
    if "reasoning turns" in uses:
        changes["messages"] = [_marked(one) for one in chat.messages]
    return msgspec.structs.replace(chat, **changes) if changes else chat


def _marked(message: m.Message) -> m.Message:
    """A message with Bedrock's own thinking under the mark that is read, and no other's."""
    if type(message) is not m.AssistantMessage or not message.reasoning_details:
        return message
    own = [
        msgspec.structs.replace(one, format=turns.FORMAT)
        for one in message.reasoning_details
        if one.format == FORMAT
    ]
    return msgspec.structs.replace(message, reasoning_details=own or None)


def _claudes(asked: anthropic.Request, betas: tuple[str, ...]) -> dict[str, Any]:
    """What Claude knows and Converse has no field for."""
    more: dict[str, Any] = {}
    if asked.thinking is not None:
        more["thinking"] = asked.thinking
    if asked.top_k is not None:
        more["top_k"] = asked.top_k
    if betas:
        more["anthropic_beta"] = list(betas)
    choice = asked.tool_choice
    if asked.tools and choice is not None and _by_claude(choice):
        # Laid over the model's own request.
        more["tool_choice"] = choice
    return more


def _by_claude(choice: ToolChoice) -> bool:
    """Converse knows neither `none` nor one call at a time."""
    return choice.type == "none" or choice.disable_parallel_tool_use


def _top_k(
    asked: anthropic.Request, known: Model, more: dict[str, Any], warnings: list[str]
) -> None:
    if asked.top_k is None:
        return
    if known.vendor == "amazon":
        more["inferenceConfig"] = {"topK": asked.top_k}
    elif known.vendor in _TOP_K:
        more["top_k"] = asked.top_k
    else:
        warnings.append("top_k")


def _output(asked: anthropic.Request) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if asked.output_config is None:
        return made
    if (format_ := asked.output_config.format) is not None:
        schema = msgspec.json.encode(format_.schema).decode()
        structure = {"jsonSchema": {"schema": schema, "name": "answer"}}
        made["textFormat"] = {"type": "json_schema", "structure": structure}
    if (effort := asked.output_config.effort) is not None:
        made["effort"] = effort
    return made


def _tier(chat: ChatRequest, warnings: list[str]) -> dict[str, str] | None:
    if chat.service_tier in (None, "auto"):
        return None
    if chat.service_tier in _TIERS:
        return {"type": chat.service_tier}
    warnings.append("service_tier")
    return None


# --- tools --------------------------------------------------------------------------------


def _tools(asked: anthropic.Request, points: Points, known: Model) -> dict[str, Any] | None:
    choice = asked.tool_choice
    offered = asked.tools or []
    if choice is not None and choice.type == "tool" and not known.named:
        offered = [one for one in offered if one.name == choice.name]
    tools: list[Any] = []
    for tool in offered:
        if not isinstance(tool, Tool):
            raise ValueError("a tool that Bedrock lacks")  # noqa: TRY004 - becomes a refusal
        spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.input_schema}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict:
            spec["strict"] = True
        tools.append({"toolSpec": spec})
        tools += points.of_tool(tool.cache_control)
    if not tools:
        return None
    config: dict[str, Any] = {"tools": tools}
    if choice is not None and (made := _choice(choice, known)) is not None:
        config["toolChoice"] = made
    return config


def _choice(choice: ToolChoice, known: Model) -> dict[str, Any] | None:
    if choice.type == "none" or (known.claude and _by_claude(choice)):
        return None
    if choice.type != "tool":
        return {choice.type: {}}
    return {"tool": {"name": choice.name}} if known.named else {"any": {}}
