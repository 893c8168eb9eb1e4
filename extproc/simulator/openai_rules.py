"""What OpenAI refuses although every field is well typed."""

from __future__ import annotations

import re

from msgspec import UNSET

from extproc.simulator import openai_request as wire
from extproc.simulator.openai_content import broken_content
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_schema import strict_fault

_REASONING = re.compile(r"^(o\d|gpt-(?:[5-9]|\d\d))")
_FIRST = re.compile(r"^o1-(mini|preview)")
_FOREIGN = re.compile(r"^(claude|gemini|gemma)-")


def reasons(model: str) -> bool:
    """Whether the model reasons before it answers: the o series, and GPT from 5 on."""
    return bool(_REASONING.match(model)) and "chat" not in model


def broken_rule(chat: wire.Body, body: bytes, *, hosted: bool, own: bool) -> Wrong | None:
    """The first rule that the request breaks. `own`: the rules of OpenAI's own service hold, too,
    which self-hosted and compatible servers do not have."""
    return (
        unknown_model(chat.model, hosted=hosted and own)
        or _messages(chat)
        or broken_content(chat)
        or _tools(chat)
        or _options(chat)
        or (_hosted_only(chat, body) if own else None)
    )


def unknown_model(name: str, *, hosted: bool) -> Wrong | None:
    """Whether there is no such model: its name says so, or is another vendor's."""
    if not name:
        return Wrong("you must provide a model parameter", None)
    if re.search(r"unknown|nonexistent|non-existent|does-not-exist", name) or (
        hosted and _FOREIGN.match(name)
    ):
        return Wrong(
            f"The model `{name}` does not exist or you do not have access to it.",
            None,
            "model_not_found",
            404,
        )
    return None


def _messages(chat: wire.Body) -> Wrong | None:
    if not chat.messages:
        return Wrong(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got "
            "an empty array instead.",
            "messages",
            "empty_array",
        )
    waiting: list[str] = []
    known: set[str] = set()
    for n, message in enumerate(chat.messages):
        if isinstance(message, wire.ToolMessage):
            if message.tool_call_id not in known:
                return Wrong(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'.",
                    f"messages.[{n}].role",
                )
            if message.tool_call_id in waiting:
                waiting.remove(message.tool_call_id)
            continue
        if waiting:
            return _unanswered(waiting, n)
        known.clear()
        if isinstance(message, wire.Assistant):
            calls = message.tool_calls or ()
            waiting = [call.id for call in calls]
            known.update(waiting)
            if message.content is None and not calls and not (
                message.function_call or message.refusal or message.audio
            ):  # fmt: skip
                return Wrong(
                    f"Invalid value for 'content': expected a string, got null. (messages[{n}])",
                    f"messages.[{n}].content",
                )
    return _unanswered(waiting, len(chat.messages)) if waiting else None


def _unanswered(waiting: list[str], position: int) -> Wrong:
    return Wrong(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(waiting),
        f"messages.[{position}].role",
    )


def _tools(chat: wire.Body) -> Wrong | None:
    if chat.tools is UNSET:
        for name, value in (
            ("tool_choice", chat.tool_choice),
            ("parallel_tool_calls", chat.parallel_tool_calls),
        ):
            if value is not UNSET and value != "none":
                return Wrong(
                    f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are "
                    "specified.",
                    name,
                )
        return None
    if not chat.tools:
        return Wrong(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "tools",
            "empty_array",
        )
    for n, tool in enumerate(chat.tools):
        if isinstance(tool, wire.FunctionTool):
            wrong = _parameters(tool.function, n)
            if wrong is not None:
                return wrong
    choice = chat.tool_choice
    if isinstance(choice, wire.FunctionChoice):
        names = {one.function.name for one in chat.tools if isinstance(one, wire.FunctionTool)}
        if choice.function.name not in names:
            return Wrong(
                f"Tool choice '{choice.function.name}' not found in 'tools' parameter.",
                "tool_choice",
            )
    return None


def _parameters(function: wire.FunctionDefinition, position: int) -> Wrong | None:
    schema = function.parameters
    if schema is UNSET or not schema:
        return None
    param = f"tools[{position}].function.parameters"
    if schema.get("type") != "object":
        shown = schema.get("type")
        return Wrong(
            f"Invalid schema for function '{function.name}': schema must be a JSON Schema of "
            f"'type: \"object\"', got 'type: \"{shown}\"'.",
            param,
            "invalid_function_parameters",
        )
    if function.strict:
        fault = strict_fault(schema)
        if fault is not None:
            return Wrong(
                f"Invalid schema for function '{function.name}': {fault}",
                param,
                "invalid_function_parameters",
            )
    return None


def _options(chat: wire.Body) -> Wrong | None:
    if chat.stream_options is not None and not chat.stream:
        return Wrong(
            "Invalid value for 'stream_options': The 'stream_options' parameter is only allowed "
            "when 'stream' is enabled.",
            "stream_options",
        )
    if chat.top_logprobs is not None and not chat.logprobs:
        return Wrong(
            "Invalid value for 'top_logprobs': 'logprobs' must be set to true if 'top_logprobs' "
            "is used.",
            "top_logprobs",
        )
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        return Wrong(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            None,
        )
    return None


def _hosted_only(chat: wire.Body, body: bytes) -> Wrong | None:
    """Rules of OpenAI's own service that self-hosted and compatible servers do not have."""
    if chat.metadata and not chat.store:
        return Wrong("The 'metadata' parameter is only allowed when 'store' is enabled.", None)
    if isinstance(chat.response_format, wire.JSONFormat) and b"json" not in body.lower().replace(
        b'"json_object"', b""
    ):
        return Wrong(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
            "messages",
        )
    return _roles(chat) or _format(chat) or _modalities(chat) or _reasoning(chat)


def _unreasoning(chat: wire.Body) -> Wrong | None:
    if chat.reasoning_effort is not None:
        return Wrong("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort")
    if chat.verbosity not in (None, "medium"):
        return Wrong(
            f"Unsupported value: 'verbosity' does not support '{chat.verbosity}' with this model. "
            "Supported values are: 'medium'.",
            "verbosity",
            "unsupported_value",
        )
    return None


def _format(chat: wire.Body) -> Wrong | None:
    form = chat.response_format
    if not isinstance(form, wire.SchemaFormat):
        return None
    text = form.json_schema
    if text.schema is UNSET:
        return Wrong(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    fault = strict_fault(text.schema) if text.strict else None
    if fault is None:
        return None
    return Wrong(f"Invalid schema for response_format '{text.name}': {fault}", "response_format")


def _roles(chat: wire.Body) -> Wrong | None:
    """The first models that reasoned take no instructions."""
    if not _FIRST.match(chat.model):
        return None
    for n, message in enumerate(chat.messages):
        if isinstance(message, wire.System | wire.Developer):
            role = "system" if isinstance(message, wire.System) else "developer"
            return Wrong(
                f"Unsupported value: 'messages[{n}].role' does not support '{role}' with this "
                "model.",
                f"messages[{n}].role",
                "unsupported_value",
            )
    return None


def _modalities(chat: wire.Body) -> Wrong | None:
    """Search and sound are for the models made for them."""
    if chat.web_search_options is not UNSET and "search" not in chat.model:
        return Wrong("Web search options not supported with this model.", "web_search_options")
    spoken = chat.modalities is not None and "audio" in chat.modalities
    if not spoken:
        return None
    if "audio" not in chat.model:
        return Wrong(
            "Invalid value: 'audio'. This model does not support audio output.",
            "modalities",
            "unsupported_value",
        )
    if chat.audio is None:
        return Wrong("Missing required parameter: 'audio'.", "audio", "missing_required_parameter")
    if chat.stream and chat.audio.format != "pcm16":
        return Wrong(
            f"Unsupported value: 'audio.format' does not support '{chat.audio.format}' when "
            "stream=true. Supported values are: 'pcm16'.",
            "audio.format",
            "unsupported_value",
        )
    return None


def _reasoning(chat: wire.Body) -> Wrong | None:
    """What models that reason take, and what only they do."""
    if not reasons(chat.model):
        return _unreasoning(chat)
    if chat.max_tokens is not None:
        return Wrong(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if chat.reasoning_effort == "none":
        return None
    for name, value in (
        ("temperature", chat.temperature),
        ("top_p", chat.top_p),
        ("presence_penalty", chat.presence_penalty),
        ("frequency_penalty", chat.frequency_penalty),
    ):
        usual = 0 if name.endswith("penalty") else 1
        if value is not None and value != usual:
            return Wrong(
                f"Unsupported value: '{name}' does not support {value} with this model. Only the "
                f"default ({usual}) value is supported.",
                name,
                "unsupported_value",
            )
    for name, present in (
        ("logprobs", chat.logprobs),
        ("logit_bias", chat.logit_bias),
        ("stop", chat.stop),
    ):
        if present:
            return Wrong(
                f"Unsupported parameter: '{name}' is not supported with this model.",
                name,
                "unsupported_parameter",
            )
    return None
