"""A chat request as Anthropic's Messages API takes it.

    compose(chat, model, output_cap) -> Composed
        as a value, for who says the same in other words.
    write(chat, model, output_cap) -> Written
        for `POST /v1/messages`.
    body_for_vertex(chat, model, output_cap) -> Written
        for `rawPredict` and `streamRawPredict`: no `model`, and `anthropic_version` in the body;
        `stream` stays. `Written.betas` are for the `anthropic-beta` header in both.
    native_for_vertex(body) -> bytes
        a messages body of a client, changed in the same way.
    refusal(chat, model) -> str | None
        what cannot be carried. All that it names makes the first three raise ValueError.

Answers are read by `answer.whole(body, created, reply)` and `stream.Reader(writer, created,
reply)`, errors by `problems.of_error`, wherever Claude runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc import strict_json
from extproc.dialects import Reply
from extproc.dialects.anthropic import models, sources, thinking
from extproc.dialects.anthropic.blocks import TextBlock, Tool, ToolChoice, Turn, WebSearch
from extproc.dialects.anthropic.models import Model
from extproc.dialects.anthropic.tools import SEARCH, Format, Toolbox, json_problem, toolbox
from extproc.dialects.anthropic.turns import (
    ANTHROPIC,
    Conversation,
    conversation,
    drop_thinking,
    in_loop_without_thinking,
)
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.request import ChatRequest
from extproc.dialects.tool_arguments import arguments_object, arguments_problem

DEFAULT_MAX_TOKENS: Final = 4096
"""`max_tokens` is required; this is what a request gets that names none and whose target has no
`output_cap`. Every Claude model since Claude 3 can write as much."""

VERSION: Final = "2023-06-01"
"""Sent as `anthropic-version`. Later versions (2026-10-21) take no sampling parameters at all,
whatever the model."""

VERTEX_VERSION: Final = "vertex-2023-10-16"
"""`anthropic_version` of a body on Vertex AI."""

CONTINUE: Final = "Continue."
"""Said by the user behind an assistant turn at the end, where the model takes none there."""

FORCED: Final = "not with a forced tool choice"
LOOP: Final = "the conversation lacks the thinking of its tool calls"


class OutputConfig(Struct, frozen=True, omit_defaults=True):
    """`output_config`."""

    effort: str | None = None
    format: Format | None = None


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body. Field order as in the API's reference."""

    model: str = ""
    anthropic_version: str | None = None
    max_tokens: int
    system: list[TextBlock] | None = None
    messages: list[Turn]
    tools: list[Tool | WebSearch] | None = None
    tool_choice: ToolChoice | None = None
    thinking: thinking.Config | None = None
    output_config: OutputConfig | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    cache_control: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    stream: bool = False


class Written(Struct, frozen=True):
    """A request as the provider takes it. `betas` belong into the header `anthropic-beta`."""

    body: bytes
    reply: Reply
    warnings: tuple[str, ...]
    betas: tuple[str, ...]


def write(chat: ChatRequest, model: str, output_cap: int | None) -> Written:
    """The body of `POST /v1/messages`. Raises ValueError for what `refusal` names."""
    return _write(chat, model, output_cap, None)


def body_for_vertex(chat: ChatRequest, model: str, output_cap: int | None) -> Written:
    """The body of `rawPredict` and `streamRawPredict`. Raises ValueError in the same way."""
    return _write(chat, model, output_cap, VERTEX_VERSION)


def native_for_vertex(body: bytes) -> bytes:
    """A client's messages body, which has one reading only, for the same."""
    return strict_json.splice(body, {"anthropic_version": VERTEX_VERSION}, remove=("model",))


# --- what cannot be carried ---------------------------------------------------------------

LACKS: Final = {
    "n": "n: Anthropic gives one answer a request",
    "logprobs": "logprobs: Anthropic has no log probabilities",
    "logit_bias": "logit_bias: Anthropic has no logit bias",
    "audio": "audio: Anthropic neither hears nor speaks",
    "custom_tools": "custom_tools: Anthropic's tools take JSON, not free text",
    "vendor_tools": "vendor_tools: Anthropic has none of another vendor's tools",
}
"""Refusals by feature."""

LACKS_STOP: Final = "stop: Anthropic takes no stop sequence of white space alone"
LACKS_REASONING: Final = "reasoning: this model of Anthropic does not think"
LACKS_SEARCH: Final = "web_search: this model of Anthropic cannot search"
SAME_NAME: Final = "web_search: a tool of the client has the name of Anthropic's own"


def refusal(chat: ChatRequest, model: str, uses: Sequence[str] | None = None) -> str | None:
    """The first thing that cannot be carried to this model, as a refusal's detail."""
    known = models.of(model)
    used = chat.uses() if uses is None else uses
    for name in used:
        if name in LACKS:
            return LACKS[name]
    if any(not stop.strip() for stop in chat.stops):
        return LACKS_STOP
    if known.thinking == "none" and chat.thinks:
        return LACKS_REASONING
    if problem := _search_problem(chat, known) or json_refusal(chat, known):
        return problem
    if ("vision" in used or "files" in used) and (problem := _source_problem(chat)):
        return problem
    return (arguments_problem(chat.messages) if "tools" in used else None) or (
        _function_problem(chat) if "functions" in used else None
    )


def _function_problem(chat: ChatRequest) -> str | None:
    """As `arguments_problem`, of calls as they were before there were tools."""
    for index, message in enumerate(chat.messages):
        if type(message) is m.AssistantMessage and message.function_call is not None:
            try:
                arguments_object(message.function_call.arguments)
            except ValueError:
                path = f"messages[{index}].function_call.arguments"
                return f"functions: {path} is not a JSON object"
    return None


def _search_problem(chat: ChatRequest, known: Model) -> str | None:
    if chat.web_search_options is None:
        return None
    if not known.search:
        return LACKS_SEARCH
    names = [tool.name() for tool in chat.tools or ()]
    names += [function.name for function in chat.functions or ()]
    return SAME_NAME if SEARCH in names else None


def json_refusal(chat: ChatRequest, known: Model) -> str | None:
    """Why the JSON that is asked for cannot be made; in Anthropic's name."""
    wanted = chat.response_format
    if type(wanted) is not m.SchemaFormat:
        return None
    return json_problem(wanted.json_schema, known, cites=_cites(chat))


def _cites(chat: ChatRequest) -> bool:
    return any(
        isinstance(part, m.FilePart) and bool((part.citations or {}).get("enabled"))
        for message in chat.messages
        if isinstance(message.content, list)
        for part in message.content
    )


def _source_problem(chat: ChatRequest) -> str | None:
    try:
        for message in chat.messages:
            content = message.content
            if isinstance(content, str) or content is None:
                continue
            for part in content:
                if isinstance(part, m.ImagePart):
                    sources.image(part)
                elif isinstance(part, m.FilePart):
                    sources.file(part)
    except sources.SourceError as error:
        return str(error)
    return None


# --- the request --------------------------------------------------------------------------


def _write(chat: ChatRequest, name: str, cap: int | None, version: str | None) -> Written:
    made = compose(chat, name, cap, version)
    return Written(_encode(made.request), made.reply, made.warnings, made.betas)


class Composed(Struct, frozen=True):
    """A request before it is bytes."""

    request: Request
    reply: Reply
    warnings: tuple[str, ...]
    betas: tuple[str, ...]


def compose(
    chat: ChatRequest,
    name: str,
    cap: int | None,
    version: str | None = None,
    *,
    known: Model | None = None,
    media: sources.Media = ANTHROPIC,
) -> Composed:
    """A chat request in Anthropic's terms, for the model of this name, or for one of which this is
    `known`. Raises ValueError for what `refusal` names."""
    known = known or models.of(name)
    _check(chat, known)
    want = thinking.asked(chat)
    said = conversation(
        chat.messages,
        thinking=known.thinking != "none",
        search=chat.web_search_options is not None,
        media=media,
    )
    box = toolbox(chat, known, said, thinks=want.on is True)
    plan = thinking.plan(want, known, chat.max_output, cap, _bar(chat, known, want, box))
    if said.thinking and not (plan.active or known.recalls or known.off == "between_tools"):
        drop_thinking(said)
    config, betas = _bound(plan, known, said)
    if said.turns[-1].role == "assistant" and (
        not known.prefill or plan.config is not None or box.format or box.json_tool
    ):
        said.turns.append(Turn("user", CONTINUE))
    if box.instruction is not None:
        said.system.append(TextBlock(box.instruction))
    warnings = [*box.warnings, *plan.warnings]
    temperature, top_p, top_k = _sampling(chat, known, plan, warnings)
    user = chat.user or chat.safety_identifier
    request = Request(
        model="" if version is not None else name,
        anthropic_version=version,
        max_tokens=plan.max_tokens or DEFAULT_MAX_TOKENS,
        system=said.system or None,
        messages=said.turns,
        tools=box.tools or None,
        tool_choice=box.choice,
        thinking=config,
        output_config=_output(plan.effort, box.format),
        stop_sequences=chat.stops or None,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        cache_control=chat.cache_control,
        metadata={"user_id": user} if user else None,
        service_tier=_service_tier(chat, warnings),
        stream=bool(chat.stream),
    )
    _warn_of_the_rest(chat, said, warnings)
    reply = Reply(json_tool=box.json_tool) if box.json_tool else _PLAIN
    return Composed(request, reply, tuple(warnings), betas)


_PLAIN: Final = Reply()
_encode: Final = msgspec.json.encode


def _check(chat: ChatRequest, known: Model) -> None:
    """What `refusal` names and what nothing else here would stumble over."""
    if (
        (chat.n is not None and chat.n > 1)
        or chat.logprobs
        or chat.logit_bias
        or chat.audio is not None
        or (chat.modalities is not None and "audio" in chat.modalities)
        or (chat.stop is not None and any(not stop.strip() for stop in chat.stops))
        or (known.thinking == "none" and chat.thinks)
        or (chat.web_search_options is not None and not known.search)
    ):
        raise ValueError("a request that Anthropic cannot serve")


def _bar(chat: ChatRequest, known: Model, want: thinking.Asked, box: Toolbox) -> str | None:
    """Why the model may not think about this request."""
    if known.thinking == "none":
        return None
    if box.forces:
        return FORCED
    budget = known.thinking == "budget" or (known.thinking == "either" and want.budget is not None)
    if want.on and budget and in_loop_without_thinking(chat.messages):
        return LOOP
    return None


def _bound(
    plan: thinking.Plan, known: Model, said: Conversation
) -> tuple[thinking.Config | None, tuple[str, ...]]:
    """`thinking`, and the betas of the request. Thinking of a conversation that has changed since
    is left out by the provider instead of refused."""
    betas = (sources.FILES_BETA,) if said.files else ()
    config = plan.config
    if not (said.thinking and known.bound and plan.active):
        return config, betas
    display = config.display if config is not None else None
    bound = thinking.Config("adaptive", None, display, thinking.DROP_BLOCK)
    return bound, (*betas, thinking.BINDING_BETA)


def _output(effort: str | None, format_: Format | None) -> OutputConfig | None:
    return None if effort is None and format_ is None else OutputConfig(effort, format_)


def _sampling(
    chat: ChatRequest, known: Model, plan: thinking.Plan, warnings: list[str]
) -> tuple[float | None, float | None, int | None]:
    """temperature, top_p and top_k. 1 is the default of the first two, and so is not lost."""
    temperature, top_p, top_k = chat.temperature, chat.top_p, chat.top_k
    if temperature is None and top_p is None and top_k is None:
        return None, None, None
    if known.sampling == "none":
        given = (("temperature", temperature), ("top_p", top_p), ("top_k", top_k))
        warnings.extend(name for name, value in given if value not in (None, 1))
        return None, None, None
    if temperature is not None and temperature > 1:
        warnings.append("temperature (above 1: 1 was sent)")
        temperature = 1.0
    if plan.active:
        return _sampling_of_thought(temperature, top_p, top_k, warnings)
    if temperature is not None and top_p is not None and (top_p == 1 or known.sampling == "either"):
        if top_p != 1:
            warnings.append("top_p")
        top_p = None
    return temperature, top_p, top_k


_LEAST_TOP_P: Final = 0.95
"""While it thinks a model takes no top_p below (extended-thinking, "Feature compatibility")."""


def _sampling_of_thought(
    temperature: float | None, top_p: float | None, top_k: int | None, warnings: list[str]
) -> tuple[None, float | None, None]:
    if temperature not in (None, 1):
        warnings.append("temperature (not with thinking)")
    if top_k is not None:
        warnings.append("top_k (not with thinking)")
    if top_p is not None and top_p < _LEAST_TOP_P:
        warnings.append("top_p (not with thinking)")
        top_p = None
    return None, None if top_p == 1 else top_p, None


def _service_tier(chat: ChatRequest, warnings: list[str]) -> str | None:
    if chat.service_tier is None:
        return None
    if chat.service_tier == "auto":
        return "auto"
    if chat.service_tier != "default":
        warnings.append("service_tier")
    return "standard_only"


_DROPPED: Final = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "verbosity",
    "prediction",
    "store",
    "moderation",
    "prompt_cache_retention",
    "prompt_cache_options",
)
"""Parameters that are left out with a warning."""


_dropped: Final = attrgetter(*_DROPPED)
_NONE: Final = (None,) * len(_DROPPED)


def _warn_of_the_rest(chat: ChatRequest, said: Conversation, warnings: list[str]) -> None:
    if (given := _dropped(chat)) != _NONE:
        for name, value in zip(_DROPPED, given, strict=True):
            if value or (name == "seed" and value is not None):
                warnings.append(name)
    if said.detail:
        warnings.append("image_url.detail")
    if said.images:
        warnings.append("messages.images")


def beta_headers(betas: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`anthropic-beta`, if there is anything to put into it."""
    return (("anthropic-beta", ",".join(betas)),) if betas else ()
