"""What Bedrock refuses although every field is well typed."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from extproc.simulator import bedrock_request as wire
from extproc.simulator.signatures import genuine, sealed

_NAME = re.compile(r"[A-Za-z0-9()\[\]\-]+(?:\s[A-Za-z0-9()\[\]\-]+)*\s?")
_IMAGES, _DOCUMENTS, _CACHE_POINTS = 20, 5, 4
_CLAUDE_FIELDS = frozenset(
    (
        "anthropic_beta",
        "anthropic_version",
        "output_config",
        "reasoning_config",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
    )
)
"""What Claude takes in `additionalModelRequestFields`."""
_NOVA_FIELDS = frozenset(("inferenceConfig", "reasoningConfig"))
_EITHER = re.compile(r"anthropic\.claude-(opus-4-[1-6]|sonnet-4-[56]|haiku-4-5)")
_FEWEST_THOUGHTS = 1024


def broken_rule(body: wire.Body, model: str, *, stream: bool) -> str | None:
    """The message of the first rule that the request breaks."""
    return (
        _messages(body.messages or [])
        or _pairs(body.messages or [])
        or _limits(body)
        or _tools(body)
        or _reasoning(body, model)
        or _extras(body, model)
        or _shape(body, stream=stream)
    )


def _messages(messages: list[wire.Message]) -> str | None:
    if not messages:
        return (
            "The messages field is empty. Add a Message object to the messages field and try again."
        )
    if messages[0].role != "user":
        return (
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    role = ""
    for n, message in enumerate(messages):
        if message.role == role:
            return (
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again."
            )
        role = message.role
        if not message.content:
            return (
                f"The content field in the Message object at messages.{n} is empty. Add a "
                "ContentBlock object to the content field and try again."
            )
        wrong = _blocks(message, n)
        if wrong is not None:
            return wrong
    return None


def _blocks(  # noqa: PLR0911 - one return for each rule
    message: wire.Message, n: int
) -> str | None:
    names: list[str] = []
    for k, block in enumerate(message.content):
        at = f"messages.{n}.content.{k}"
        if block.text == "":
            return (
                f"The text field in the ContentBlock object at {at} is blank. Add text to the text "
                "field, and try again."
            )
        if message.role != "assistant" and (block.tool_use or block.reasoning_content):
            return f"The ContentBlock object at {at} is only valid in an assistant message."
        if message.role != "user" and (block.tool_result or block.image or block.document):
            return f"The ContentBlock object at {at} is only valid in a user message."
        if block.document is not None:
            if not _NAME.fullmatch(block.document.name):
                return (
                    "The document file name can only contain alphanumeric characters, whitespace "
                    "characters, hyphens, parentheses, and square brackets. The name can't contain "
                    "more than one consecutive whitespace character. Edit the file name and try "
                    "again."
                )
            names.append(block.document.name)
    if len(set(names)) != len(names):
        return "Duplicate document file names are not allowed in a message. Rename and try again."
    if names and not any(block.text for block in message.content):
        return (
            f"A text block is required when a document is present in messages.{n}.content. Add a "
            "text block and try again."
        )
    return None


def _pairs(messages: list[wire.Message]) -> str | None:
    """Each toolUse is answered in the very next message, and nothing else is."""
    waiting: list[str] = []
    for n, message in enumerate(messages):
        given = [one.tool_result.tool_use_id for one in message.content if one.tool_result]
        missing = [one for one in waiting if one not in given]
        if missing:
            return (
                f"Expected toolResult blocks at messages.{n}.content for the following Ids: "
                f"{', '.join(missing)}"
            )
        if len(given) > len(waiting):
            return (
                f"The number of toolResult blocks at messages.{n}.content exceeds the number of "
                "toolUse blocks of previous turn."
            )
        if set(given) - set(waiting):
            return (
                f"The toolResult blocks at messages.{n}.content contain Ids that are not in the "
                "toolUse blocks of previous turn."
            )
        waiting = [
            one.tool_use.tool_use_id
            for one in message.content
            if one.tool_use is not None and one.tool_use.type is None
        ]
        if len(set(waiting)) != len(waiting):
            return f"The toolUse blocks at messages.{n}.content contain duplicate Ids."
    if waiting:
        return (
            f"Expected toolResult blocks at messages.{len(messages)}.content for the following "
            f"Ids: {', '.join(waiting)}"
        )
    return None


def _limits(body: wire.Body) -> str | None:
    blocks = [block for message in body.messages or () for block in message.content]
    if sum(block.image is not None for block in blocks) > _IMAGES:
        return f"The number of images exceeds the limit of {_IMAGES}."
    if sum(block.document is not None for block in blocks) > _DOCUMENTS:
        return f"The number of documents exceeds the limit of {_DOCUMENTS}."
    points = sum(block.cache_point is not None for block in blocks)
    points += sum(one.cache_point is not None for one in body.system or ())
    points += sum(one.cache_point is not None for one in _offered(body))
    if points > _CACHE_POINTS:
        return (
            f"A maximum of {_CACHE_POINTS} blocks with cache_control may be provided. Found "
            f"{points}."
        )
    return None


def _offered(body: wire.Body) -> list[wire.Tool]:
    return body.tool_config.tools if body.tool_config is not None else []


def _tools(body: wire.Body) -> str | None:
    blocks = [block for message in body.messages or () for block in message.content]
    used = any(block.tool_use or block.tool_result for block in blocks)
    if used and body.tool_config is None:
        return (
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )
    names = [one.tool_spec.name for one in _offered(body) if one.tool_spec is not None]
    if len(set(names)) != len(names):
        return "The toolConfig.tools field contains duplicate tool names."
    for n, one in enumerate(_offered(body)):
        schema = one.tool_spec.input_schema.json if one.tool_spec is not None else None
        if schema is not None and schema.get("type") != "object":
            return (
                f"The value at toolConfig.tools.{n}.toolSpec.inputSchema.json.type must be one of "
                "the following: object."
            )
    choice = body.tool_config.tool_choice if body.tool_config is not None else None
    if choice is not None and choice.tool is not None and choice.tool.name not in names:
        return f"The tool '{choice.tool.name}' in toolConfig.toolChoice is not in toolConfig.tools."
    return None


def thinking_of(body: wire.Body) -> dict[str, Any] | None:
    """How the model is asked to reason, if it is: Claude's `thinking` or `reasoning_config`,
    Nova's `reasoningConfig`."""
    extra = body.additional_model_request_fields or {}
    for name in ("thinking", "reasoning_config", "reasoningConfig"):
        found = extra.get(name)
        if isinstance(found, dict) and found.get("type") in ("enabled", "adaptive"):
            return found
    return None


def _reasoning(  # noqa: C901, PLR0911 - one return for each rule
    body: wire.Body, model: str
) -> str | None:
    for n, message in enumerate(body.messages or ()):
        for k, block in enumerate(message.content):
            said = block.reasoning_content
            if said is None or "anthropic" not in model:
                continue
            text = said.reasoning_text
            if text is not None and not genuine(text.signature or "", text.text):
                return _model_says(
                    f"messages.{n}.content.{k}: Invalid `signature` in `thinking` block"
                )
            if said.redacted_content is not None and not _sealed(said.redacted_content):
                return _model_says(
                    f"messages.{n}.content.{k}: Invalid `data` in `redacted_thinking` block"
                )
    thinking = thinking_of(body)
    if thinking is None or "anthropic" not in model:
        return None
    inference = body.inference_config or wire.Inference()
    budget = thinking.get("budget_tokens")
    if thinking["type"] == "enabled":
        if not isinstance(budget, int) or isinstance(budget, bool):
            return _model_says("thinking.enabled.budget_tokens: Field required")
        if budget < _FEWEST_THOUGHTS:
            return _model_says(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if inference.max_tokens is not None and budget >= inference.max_tokens:
            return _model_says("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if inference.temperature not in (None, 1):
        return _model_says("`temperature` may only be set to 1 when thinking is enabled.")
    choice = body.tool_config.tool_choice if body.tool_config is not None else None
    if choice is not None and choice.auto is None:
        return _model_says("Thinking may not be enabled when tool_choice forces tool use.")
    return _unthought(body) if thinking["type"] == "enabled" else None


def _unthought(body: wire.Body) -> str | None:
    """Within a loop of tool calls the assistant's turn begins with its reasoning."""
    messages = body.messages or []
    n = len(messages) - 2
    if n < 1 or not any(block.tool_result for block in messages[-1].content):
        return None
    first = messages[n].content[0]
    if first.reasoning_content is not None:
        return None
    found = "tool_use" if first.tool_use is not None else "text"
    return _model_says(
        f"messages.{n}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{found}`. When `thinking` is enabled, a final `assistant` message must start with a "
        "thinking block."
    )


def _sealed(data: bytes) -> bool:
    return sealed(base64.b64encode(data).decode(), "redacted")


def _extras(body: wire.Body, model: str) -> str | None:
    extra = body.additional_model_request_fields or {}
    known = (
        _CLAUDE_FIELDS
        if "anthropic." in model
        else _NOVA_FIELDS
        if "amazon.nova" in model
        else None
    )
    for name in extra:
        if known is not None and name not in known:
            return (
                f"Malformed input request: #: extraneous key [{name}] is not permitted, please "
                "reformat your input and try again."
            )
    inference = body.inference_config
    both = inference is not None and None not in (inference.temperature, inference.top_p)
    if both and _EITHER.search(model):
        return _model_says(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one."
        )
    return None


def _shape(body: wire.Body, *, stream: bool) -> str | None:
    guard = body.guardrail_config
    if guard is not None:
        if not stream and guard.stream_processing_mode is not None:
            return (
                "Malformed input request: #/guardrailConfig: extraneous key "
                "[streamProcessingMode] is not permitted, please reformat your input and try again."
            )
        if bool(guard.guardrail_identifier) != bool(guard.guardrail_version):
            return "guardrailIdentifier and guardrailVersion must be given together."
    form = schema_text(body)
    if form is not None:
        try:
            if not isinstance(msgspec.json.decode(form), dict):
                return "The JSON schema in outputConfig.textFormat must be an object."
        except msgspec.DecodeError:
            return "The JSON schema in outputConfig.textFormat is not valid JSON."
    return None


def schema_text(body: wire.Body) -> str | None:
    """The JSON Schema that the answer must fit, as text."""
    form = body.output_config.text_format if body.output_config is not None else None
    named = form.structure.json_schema if form is not None else None
    return named.schema if named is not None else None


def _model_says(words: str) -> str:
    return f"The model returned the following errors: {words}"


def cache_blocks(body: wire.Body) -> Iterator[tuple[bytes, str | None]]:
    """The prompt block by block, with the time to live of the cache point behind each."""
    held: bytes | None = None
    for one in [*_offered(body), *(body.system or ()), *_flat(body.messages or [])]:
        point = one.cache_point if not isinstance(one, str) else None
        if point is not None:
            if held is not None:
                yield held, point.ttl or "5m"
            held = None
            continue
        if held is not None:
            yield held, None
        held = msgspec.json.encode(one)
    if held is not None:
        yield held, None


def _flat(messages: list[wire.Message]) -> Iterator[wire.Block | str]:
    for message in messages:
        yield message.role
        yield from message.content
