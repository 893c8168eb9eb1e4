"""What Anthropic refuses although every field is well typed."""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from extproc.simulator import anthropic_request as wire
from extproc.simulator import problems
from extproc.simulator.anthropic_limits import broken_content, broken_format, broken_thinking
from extproc.simulator.anthropic_prompt import blocks_of, marks

_OUTPUT_CAPS = (
    (r"claude-3-(opus|sonnet|haiku)", 4096),
    (r"claude-3-5-", 8192),
    (r"claude-opus-4(-0|-1|-2025|$)", 32000),
    (r"claude-(3-7|opus-4-5|sonnet-4|haiku-4)", 64000),
    (r"claude-", 128000),
)
_SAMPLES = re.compile(
    r"claude-(3|2|instant|opus-4-(2025|[0-6]\b)|opus-4$|sonnet-4|haiku-4)",
)
"""Families that take temperature, top_p and top_k: those before Opus 4.7 and Sonnet 5."""
_EITHER = re.compile(r"claude-(opus-4-[1-6]|sonnet-4-[56]|haiku-4-5)")
"""Families that take temperature or top_p, not both."""
_PREFILL_GONE = re.compile(r"claude-(opus-4-[6-9]|sonnet-4-[6-9]|\w+-[5-9])")
_CACHE_MARKS = 4


def output_cap(model: str) -> int:
    """The most output tokens that may be asked for."""
    return next((cap for pattern, cap in _OUTPUT_CAPS if re.match(pattern, model)), 128000)


def broken_rule(body: wire.Body, version: str, betas: str) -> str | None:
    """The message of the first rule that the request breaks under that API version."""
    return (
        (_since_2026(body) if version >= "2026" else None)
        or _betas(body, betas)
        or _messages(body)
        or _pairs(body)
        or _tools(body)
        or _sampling(body)
        or broken_thinking(body, betas)
        or broken_content(body)
        or broken_format(body)
        or _marks(body)
    )


def _betas(body: wire.Body, betas: str) -> str | None:
    """Fields that only a header of `anthropic-beta` brings."""
    if body.context_management is not None and "context-management-" not in betas:
        return "context_management: Extra inputs are not permitted"
    if body.mcp_servers is not UNSET and "mcp-client-" not in betas:
        return "mcp_servers: Extra inputs are not permitted"
    return None


def _since_2026(body: wire.Body) -> str | None:
    """What API version 2026-10-21 took away."""
    for name in ("temperature", "top_p", "top_k"):
        if getattr(body, name) is not UNSET:
            return f"{name}: Extra inputs are not permitted"
    for n, message in enumerate(body.messages):
        for k, block in enumerate(blocks_of(message)):
            if isinstance(block, wire.Document) and message.role == "assistant":
                return f"messages.{n}.content.{k}: `document` blocks are not permitted here"
            if isinstance(block, wire.Text) and block.citations and message.role == "user":
                return f"messages.{n}.content.{k}.text.citations: citations are not permitted here"
    return None


def _messages(body: wire.Body) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one rule a line
    if not body.messages:
        return "messages: at least one message is required"
    if body.messages[0].role != "user":
        return 'messages: first message must use the "user" role'
    last = len(body.messages) - 1
    for n, message in enumerate(body.messages):
        if not message.content and not (n == last and message.role == "assistant"):
            return (
                f"messages.{n}: all messages must have non-empty content except for the "
                "optional final assistant message"
            )
        if isinstance(message.content, str) and not message.content.strip() and n != last:
            return "messages: text content blocks must contain non-whitespace text"
        for k, block in enumerate(blocks_of(message)):
            if isinstance(block, wire.Text):
                if not block.text:
                    return "messages: text content blocks must be non-empty"
                if not block.text.strip():
                    return "messages: text content blocks must contain non-whitespace text"
            elif isinstance(block, wire.ToolUse) and message.role != "assistant":
                return f"messages.{n}: `tool_use` blocks can only be in `assistant` messages"
            elif isinstance(block, wire.ToolResult) and message.role != "user":
                return f"messages.{n}: `tool_result` blocks can only be in `user` messages"
            elif message.role == "system" and not isinstance(block, wire.Text):
                return f"messages.{n}.content.{k}: only text is allowed in system messages"
    final = body.messages[-1]
    if final.role == "assistant":
        if _PREFILL_GONE.match(body.model):
            return (
                "This model does not support assistant message prefill. The conversation must "
                "end with a user message."
            )
        text = final.content if isinstance(final.content, str) else ""
        blocks = blocks_of(final)
        if blocks and isinstance(blocks[-1], wire.Text):
            text = blocks[-1].text
        if text != text.rstrip():
            return "messages: final assistant content cannot end with trailing whitespace"
    return None


def _pairs(body: wire.Body) -> str | None:
    """Each tool_use is answered in the very next message, and nothing else is."""
    open_ids: list[str] = []
    seen: set[str] = set()
    for n, message in enumerate(_merged(body.messages)):
        results = [one for one in message if isinstance(one, wire.ToolResult)]
        for k, one in enumerate(results):
            if one.tool_use_id not in open_ids:
                return (
                    f"messages.{n}.content.{k}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {one.tool_use_id}. Each `tool_result` block must have a "
                    "corresponding `tool_use` block in the previous message."
                )
        left = [one for one in open_ids if one not in {r.tool_use_id for r in results}]
        if left:
            return _unanswered(n - 1, left)
        uses = [one.id for one in message if isinstance(one, wire.ToolUse)]
        for one_id in uses:
            if one_id in seen:
                return f"messages.{n}.content: `tool_use` ids must be unique"
            seen.add(one_id)
        open_ids = uses
    return _unanswered(len(_merged(body.messages)) - 1, open_ids) if open_ids else None


def _merged(messages: list[wire.Message]) -> list[list[wire.Block]]:
    """Consecutive messages of one role count as one."""
    merged: list[list[wire.Block]] = []
    role = ""
    for message in messages:
        if message.role == role:
            merged[-1] = merged[-1] + blocks_of(message)
        else:
            merged.append(list(blocks_of(message)))
        role = message.role
    return merged


def _unanswered(position: int, ids: list[str]) -> str:
    return (
        f"messages.{position}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` "
        "block in the next message."
    )


def _tools(body: wire.Body) -> str | None:
    names: list[str] = []
    for n, tool in enumerate(body.tools or ()):
        kind, tag = _tool_type(tool)
        if kind is None:
            return (
                f"tools.{n}: Input tag '{tag}' found using 'type' does not match any of the "
                "expected tags"
            )
        problems.convert(tool, kind, ("tools", n))
        if kind is wire.CustomTool:
            problems.convert(
                tool["input_schema"], wire.InputSchema, ("tools", n, "custom", "input_schema")
            )
        names.append(tool.get("name", tag))
    if len(set(names)) != len(names):
        return "tools: Tool names must be unique."
    choice = body.tool_choice
    if choice is UNSET:
        return None
    if not names and not isinstance(choice, wire.ChoiceNone):
        return "tool_choice: tool_choice may only be specified while providing tools"
    if isinstance(choice, wire.ChoiceTool) and choice.name not in names:
        return f"tool_choice.name: Tool '{choice.name}' not found in provided tools"
    return None


def _tool_type(tool: dict[str, Any]) -> tuple[type[Any] | None, str]:
    tag = tool.get("type")
    if tag is None or tag == "custom":
        return wire.CustomTool, "custom"
    found = (kind for prefix, kind in wire.TOOLS if str(tag).startswith(prefix))
    return next(found, None), str(tag)


def _sampling(body: wire.Body) -> str | None:
    cap = output_cap(body.model)
    if body.max_tokens > cap:
        return (
            f"max_tokens: {body.max_tokens} > {cap}, which is the maximum allowed number of "
            f"output tokens for {body.model}"
        )
    for name in ("temperature", "top_p", "top_k"):
        if getattr(body, name) is not UNSET and not _SAMPLES.match(body.model):
            return f"`{name}` is deprecated for this model."
    if body.temperature is not UNSET and body.top_p is not UNSET and _EITHER.match(body.model):
        return (
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one."
        )
    for one in body.stop_sequences or ():
        if not one.strip():
            return "stop_sequences: each stop sequence must contain non-whitespace"
    return None


def _marks(body: wire.Body) -> str | None:
    given = marks(body)
    if len(given) > _CACHE_MARKS:
        return (
            f"A maximum of {_CACHE_MARKS} blocks with cache_control may be provided. Found "
            f"{len(given)}."
        )
    if "5m" in given and "1h" in given[given.index("5m") :]:
        return (
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
            "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )
    return None
