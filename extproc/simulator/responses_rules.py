"""What OpenAI refuses in a request for a response although every field is well typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from extproc.simulator import problems
from extproc.simulator import responses_request as wire
from extproc.simulator.openai_content import broken_file, broken_image
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_rules import reasons, unknown_model
from extproc.simulator.openai_schema import strict_fault
from extproc.simulator.responses_store import Store

ENCRYPTED = "gAAAA"
"""How encrypted reasoning begins; what begins otherwise is not OpenAI's."""
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")

T = TypeVar("T")


class Understood(msgspec.Struct, frozen=True):
    """The parts of a request, read by their types."""

    items: tuple[msgspec.Struct, ...]
    tools: tuple[msgspec.Struct, ...]
    choice: Any
    """A word, or the chosen tool."""


def understand(body: wire.Shared) -> Understood:
    """Read items, tools and the choice. Raises InvalidError naming the field at fault."""
    document = {"input": body.input, "tools": body.tools, "tool_choice": body.tool_choice}
    try:
        items = tuple(
            _typed(one, wire.ITEMS, ("input", n), _kind_of_item(one))
            for n, one in enumerate(body.input if isinstance(body.input, list) else ())
        )
        tools = tuple(
            _typed(one, wire.TOOLS, ("tools", n), one.get("type"))
            for n, one in enumerate(body.tools or ())
        )
        return Understood(items, tools, _choice(body.tool_choice))
    except problems.InvalidError as error:
        raise problems.InvalidError(error.problem, document) from None


def _kind_of_item(item: dict[str, Any]) -> Any:
    """The type, which messages and references may leave out."""
    if item.get("type") is not None:
        return item["type"]
    if "role" in item:
        return "message"
    return "item_reference" if item.keys() <= {"id", "type"} else None


def _typed(
    value: dict[str, Any],
    kinds: Mapping[str, type[msgspec.Struct]],
    path: problems.Path,
    kind: Any,
) -> msgspec.Struct:
    if kind is None:
        raise problems.InvalidError(problems.Problem("missing", (*path, "type")))
    found = kinds.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise problems.InvalidError(problems.Problem("value", path, got=str(kind)))
    value = {**value, "type": kind}
    for field in msgspec.structs.fields(found):
        if field.required and field.encode_name not in value:
            raise problems.InvalidError(problems.Problem("missing", (*path, field.encode_name)))
    return problems.convert(value, found, path)


def _choice(choice: str | dict[str, Any] | None) -> Any:
    if choice is None or choice in ("none", "auto", "required"):
        return choice or "auto"
    if isinstance(choice, str):
        raise problems.InvalidError(problems.Problem("value", ("tool_choice",), got=choice))
    if choice.get("type") in wire.BUILT_IN_CHOICES:
        return choice["type"]
    kind: Any = wire.Named | wire.NamedCustom | wire.NamedServer | wire.Allowed
    return problems.convert(choice, kind, ("tool_choice",))


def broken_rule(
    body: wire.Shared, read: Understood, store: Store, raw: bytes, *, own: bool
) -> Wrong | None:
    """The first rule that the request breaks. `own`: OpenAI's own service, which keeps responses
    and has rules for its models."""
    return (
        _presence(body, hosted=own)
        or _state(body, store, own=own)
        or _items(body, read, store, own=own)
        or _tools(read)
        or (_options(body) if isinstance(body, wire.Body) else None)
        or (_model_rules(body, raw) if own else None)
    )


def _presence(body: wire.Shared, *, hosted: bool) -> Wrong | None:
    prompt = isinstance(body, wire.Body) and body.prompt is not None
    if body.model is None and not prompt:
        return _missing("model")
    wrong = unknown_model(body.model, hosted=hosted) if body.model is not None else None
    if wrong is not None:
        return Wrong(
            f"The requested model '{body.model}' does not exist.", "model", "model_not_found", 400
        )
    elsewhere = body.previous_response_id or body.conversation or prompt
    if body.input is None and not elsewhere:
        return Wrong(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be "
            "provided.",
            "input",
            "missing_required_parameter",
        )
    if body.input == [] and not elsewhere:
        return Wrong(
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "input",
            "empty_array",
        )
    return None


def _state(body: wire.Shared, store: Store, *, own: bool) -> Wrong | None:
    previous = body.previous_response_id
    if previous is not None and body.conversation is not None:
        return Wrong(
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Ensure you "
            "are only providing one of: 'previous_response_id' or 'conversation'.",
            "previous_response_id",
            "mutually_exclusive_parameters",
        )
    if previous is not None and (not own or store.get(previous) is None):
        return Wrong(
            f"Previous response with id '{previous}' not found.",
            "previous_response_id",
            "previous_response_not_found",
        )
    if body.conversation is not None:
        asked = body.conversation
        name = asked if isinstance(asked, str) else asked.id
        return Wrong(f"Conversation with id '{name}' not found.", None, None, 404)
    return None


# items


def _items(body: wire.Shared, read: Understood, store: Store, *, own: bool) -> Wrong | None:
    before = store.context(body.previous_response_id) if own else []
    answered = {item.get("call_id") for item in before if item.get("type") in _OUTPUTS}
    waiting = {
        item["call_id"]: None
        for item in before
        if item.get("type") in _CALLS and item["call_id"] not in answered
    }
    known = {item.get("call_id") for item in before if item.get("type") in _CALLS}
    for n, item in enumerate(read.items):
        wrong = _item(item, n, read, store, own=own)
        if wrong is not None:
            return wrong
        kept = store.item(item.id) if isinstance(item, wire.Reference) else None
        if isinstance(item, wire.FunctionCall | wire.CustomCall):
            known.add(item.call_id)
            waiting[item.call_id] = None
        elif kept is not None and kept.get("type") in _CALLS:
            known.add(kept["call_id"])
            waiting[kept["call_id"]] = None
        elif isinstance(item, wire.CallOutput):
            if item.call_id not in known:
                what = "custom tool" if item.type.startswith("custom") else "function"
                return Wrong(
                    f"No tool call found for {what} call output with call_id {item.call_id}.",
                    "input",
                )
            waiting.pop(item.call_id, None)
    if waiting:
        return Wrong(f"No tool output found for function call {next(iter(waiting))}.", "input")
    return None


def _item(
    item: msgspec.Struct, n: int, read: Understood, store: Store, *, own: bool
) -> Wrong | None:
    where = f"input[{n}]"
    match item:
        case wire.Message():
            return _message(item, where)
        case wire.CallOutput() if not isinstance(item.output, str):
            return _parts(item.output, f"{where}.output")
        case wire.Reference() if store.item(item.id) is None or not own:
            return _no_item(item.id)
        case wire.Reasoning() if own:
            return _reasoning_item(item, n, read, store)
    return None


def _message(item: wire.Message, where: str) -> Wrong | None:
    if isinstance(item.content, str):
        return None
    theirs = item.role == "assistant"
    for n, part in enumerate(item.content):
        if isinstance(part, wire.OutputText | wire.Refusal) is not theirs:
            allowed = (
                "'output_text' and 'refusal'"
                if theirs
                else "'input_text', 'input_image', and 'input_file'"
            )
            kind = part.__struct_config__.tag
            return Wrong(
                f"Invalid value: '{kind}'. Supported values are: {allowed}.",
                f"{where}.content[{n}]",
                "invalid_value",
            )
    return _parts(item.content, f"{where}.content")


def _parts(parts: list[Any], where: str) -> Wrong | None:
    for n, part in enumerate(parts):
        name = f"{where}[{n}]"
        wrong = None
        if isinstance(part, wire.InputImage):
            if part.image_url is not None:
                wrong = broken_image(part.image_url, f"{name}.image_url")
            elif part.file_id is None:
                wrong = _missing(f"{name}.image_url")
        elif isinstance(part, wire.InputFile):
            if part.file_data is not UNSET:
                wrong = broken_file(part.file_data, f"{name}.file_data")
                if part.filename is UNSET:
                    wrong = wrong or _missing(f"{name}.filename")
            elif part.file_id is None and part.file_url is UNSET:
                wrong = _missing(f"{name}.file_id")
        if wrong is not None:
            return wrong
    return None


def _reasoning_item(item: wire.Reasoning, n: int, read: Understood, store: Store) -> Wrong | None:
    name = item.id if item.id is not UNSET else ""
    if item.encrypted_content is not None:
        if not item.encrypted_content.startswith(ENCRYPTED):
            return Wrong(
                f"The encrypted content for item {name} could not be verified. Reason: Encrypted "
                "content could not be decrypted or parsed.",
                None,
                "invalid_encrypted_content",
            )
    elif store.item(name) is None:
        return _no_item(name)
    after = read.items[n + 1] if n + 1 < len(read.items) else None
    if after is None or not _follows(after):
        return Wrong(
            f"Item '{name}' of type 'reasoning' was provided without its required following item.",
            "input",
        )
    return None


def _follows(item: msgspec.Struct) -> bool:
    """Whether reasoning may have led to it: a call, more reasoning, or the model's message as it
    was, with its id."""
    if isinstance(item, wire.Message):
        return item.role == "assistant" and item.id is not UNSET
    return not isinstance(item, wire.CallOutput)


def _no_item(name: str) -> Wrong:
    return Wrong(
        f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. "
        "Try again with `store` set to true, or remove this item from your input.",
        "input",
        None,
        404,
    )


# tools and options


def _tools(read: Understood) -> Wrong | None:
    for n, tool in enumerate(read.tools):
        if not isinstance(tool, wire.FunctionTool) or not tool.parameters:
            continue
        schema = tool.parameters
        fault = None
        if tool.strict:
            fault = strict_fault(schema)
        elif schema.get("type") != "object":
            shown = schema.get("type")
            fault = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{shown}\"'."
        if fault is not None:
            return Wrong(
                f"Invalid schema for function '{tool.name}': {fault}",
                f"tools[{n}].parameters",
                "invalid_function_parameters",
            )
    choice = read.choice
    if choice == "required" and not read.tools:
        return Wrong(
            "Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice"
        )
    if isinstance(choice, wire.Named | wire.NamedCustom):
        names = {getattr(one, "name", None) for one in read.tools}
        if choice.name not in names:
            return Wrong(
                f"Tool choice '{choice.name}' not found in 'tools' parameter.", "tool_choice"
            )
    elif choice in wire.BUILT_IN_CHOICES and choice not in {
        getattr(one, "type", None) for one in read.tools
    }:
        return Wrong(f"Tool choice '{choice}' not found in 'tools' parameter.", "tool_choice")
    return None


def _options(body: wire.Body) -> Wrong | None:
    if body.stream_options is not None and not body.stream:
        return Wrong(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if body.background and body.store is False:
        return Wrong(
            "Background mode requires responses to be stored: 'store' cannot be false when "
            "'background' is true.",
            "background",
        )
    form = body.text.format if body.text is not None else UNSET
    if isinstance(form, wire.SchemaFormat) and form.strict:
        fault = strict_fault(form.schema)
        if fault is not None:
            return Wrong(
                f"Invalid schema for response_format '{form.name}': {fault}",
                "text.format.schema",
                "invalid_json_schema",
            )
    return None


def _model_rules(body: wire.Shared, raw: bytes) -> Wrong | None:
    """What depends on the model."""
    form = body.text.format if body.text is not None else UNSET
    if isinstance(form, wire.JSONFormat) and b"json" not in raw.lower().replace(
        b'"json_object"', b""
    ):
        return Wrong(
            "Response input messages must contain the word 'json' in some form to use "
            "'text.format' of type 'json_object'.",
            "input",
        )
    return _reasoning(body) if reasons(body.model or "") else _unreasoning(body)


def _unreasoning(body: wire.Shared) -> Wrong | None:
    for name in ("effort", "summary"):
        if body.reasoning is not None and getattr(body.reasoning, name) is not None:
            return _unsupported(f"reasoning.{name}")
    if isinstance(body, wire.Body) and "reasoning.encrypted_content" in (body.include or ()):
        return Wrong("Encrypted content is not supported with this model.", "include")
    return None


def _reasoning(body: wire.Shared) -> Wrong | None:
    asked = body.reasoning
    if not isinstance(body, wire.Body) or (asked is not None and asked.effort == "none"):
        return None
    for name, value in (("temperature", body.temperature), ("top_p", body.top_p)):
        if value is not None and value != 1:
            return Wrong(f"Unsupported parameter: '{name}' is not supported with this model.", name)
    return _unsupported("top_logprobs") if body.top_logprobs else None


def _missing(name: str) -> Wrong:
    return Wrong(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _unsupported(name: str) -> Wrong:
    return Wrong(
        f"Unsupported parameter: '{name}' is not supported with this model.",
        name,
        "unsupported_parameter",
    )
