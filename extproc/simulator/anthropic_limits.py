"""What Anthropic refuses of thinking, of files, and of schemas that answers must fit."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from extproc.simulator import anthropic_request as wire
from extproc.simulator.anthropic_prompt import blocks_of, cites, documents
from extproc.simulator.signatures import genuine, sealed

_BUDGETS_GONE = re.compile(r"claude-(opus-4-[7-9]|mythos|\w+-[5-9])")
"""Families that think adaptively only: no `enabled` with a budget."""
_ALWAYS = re.compile(r"claude-(mythos|(opus|sonnet)-5-5)")
"""Families that cannot be told not to think."""
_BETWEEN_TOOLS = re.compile(r"claude-sonnet-5-5")
_ADAPTIVE = re.compile(r"claude-(opus-4-[6-9]|sonnet-4-[6-9]|mythos|\w+-[5-9])")
_THINKS = re.compile(r"claude-(3-7|opus-4|sonnet-4|haiku-4|mythos|\w+-[5-9])")
_EFFORTS = (
    (r"claude-(opus-4-[7-9]|mythos|\w+-[5-9])", ("low", "medium", "high", "xhigh", "max")),
    (r"claude-(opus|sonnet)-4-6", ("low", "medium", "high", "max")),
    (r"claude-opus-4-5", ("low", "medium", "high")),
    (r"", ()),
)
"""The efforts of each family, by the documentation."""
_FORMATS = re.compile(r"claude-(opus-4-[1-9]|sonnet-4-[5-9]|haiku-4-[5-9]|mythos|\w+-[5-9])")
"""Families with structured outputs."""
_UNSUPPORTED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties", "patternProperties"),
}
_DEPTH = 64
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def broken_thinking(body: wire.Body, betas: str) -> str | None:
    """Budgets, models, and thinking that is handed back."""
    for n, message in enumerate(body.messages):
        for k, block in enumerate(blocks_of(message)):
            at = f"messages.{n}.content.{k}"
            if isinstance(block, wire.Thinking | wire.RedactedThinking):
                wrong = _handed_back(block, message, at)
                if wrong is not None:
                    return wrong
    return _thinking_asked(body, betas)


def _handed_back(
    block: wire.Thinking | wire.RedactedThinking, message: wire.Message, at: str
) -> str | None:
    if message.role != "assistant":
        kind = type(block).__struct_config__.tag
        return f"{at}: `{kind}` blocks can only be in `assistant` messages"
    if isinstance(block, wire.Thinking):
        if not genuine(block.signature, block.thinking):
            return f"{at}: Invalid `signature` in `thinking` block"
    elif not sealed(block.data, "redacted"):
        return f"{at}: Invalid `data` in `redacted_thinking` block"
    return None


def _thinking_asked(  # noqa: C901, PLR0911 - one return for each rule
    body: wire.Body, betas: str
) -> str | None:
    thinking = body.thinking
    never = isinstance(thinking, wire.ThinkingDisabled) and _ALWAYS.match(body.model)
    less = isinstance(thinking, wire.ThinkingBetweenTools)
    if never or (less and not _BETWEEN_TOOLS.match(body.model)):
        return _unsupported("disabled" if never else "between_tools")
    if isinstance(thinking, wire.ThinkingAdaptive) and not _ADAPTIVE.match(body.model):
        return "adaptive thinking is not supported on this model"
    if isinstance(thinking, wire.ThinkingEnabled):
        if _BUDGETS_GONE.match(body.model):
            return _unsupported("enabled")
        if not _THINKS.match(body.model):
            return f"'{body.model}' does not support thinking."
        if thinking.budget_tokens >= body.max_tokens and "interleaved-thinking-" not in betas:
            return (
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our "
                "documentation at https://docs.claude.com/en/docs/build-with-claude/"
                "extended-thinking#max-tokens-and-context-window-size"
            )
    elif not isinstance(thinking, wire.ThinkingAdaptive):
        return None
    where = "adaptive" if isinstance(thinking, wire.ThinkingAdaptive) else "enabled"
    if body.temperature not in (UNSET, 1):
        return "`temperature` may only be set to 1 when thinking is enabled."
    if body.top_k is not UNSET:
        return "`top_k` must be unset when thinking is enabled."
    if isinstance(body.top_p, int | float) and not _LEAST_TOP_P <= body.top_p <= 1:
        return "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
    if where == "enabled" and isinstance(body.tool_choice, wire.ChoiceAny | wire.ChoiceTool):
        return "Thinking may not be enabled when tool_choice forces tool use."
    if body.messages[-1].role == "assistant":
        return (
            f"When thinking is {where}, the final message must not be a pre-filled `assistant` "
            "message."
        )
    return _unthought(body) if where == "enabled" else None


def _unsupported(kind: str) -> str:
    return (
        f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.'
    )


_LEAST_TOP_P = 0.95


def _unthought(body: wire.Body) -> str | None:
    """Within a loop of tool calls the assistant's turn begins with its thinking."""
    messages = body.messages
    if not any(isinstance(one, wire.ToolResult) for one in blocks_of(messages[-1])):
        return None
    n = len(messages) - 1
    while n > 0 and messages[n].role != "assistant":
        n -= 1
    while n > 0 and messages[n - 1].role == "assistant":
        n -= 1
    blocks = blocks_of(messages[n])
    if not blocks or isinstance(blocks[0], wire.Thinking | wire.RedactedThinking):
        return None
    return (
        f"messages.{n}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{type(blocks[0]).__struct_config__.tag}`. When `thinking` is enabled, a final "
        "`assistant` message must start with a thinking block (preceding the lastmost set of "
        "`tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
        "previous turns. To avoid this requirement, disable `thinking`. Please consult our "
        "documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
    )


def broken_content(body: wire.Body) -> str | None:
    """Files that are none, search results that are not the provider's, citations of a part."""
    for n, message in enumerate(body.messages):
        for k, block in enumerate(blocks_of(message)):
            at = f"messages.{n}.content.{k}"
            inner = block.content if isinstance(block, wire.ToolResult) else [block]
            for m, one in enumerate(inner if isinstance(inner, list) else ()):
                where = (
                    f"{at}.tool_result.content.{m}" if isinstance(block, wire.ToolResult) else at
                )
                wrong = _file(one, where)
                if wrong is not None:
                    return wrong
            if isinstance(block, wire.Text) and block.cache_control and not block.text:
                return f"{at}.text: cache_control cannot be set for empty text blocks"
            if isinstance(block, wire.WebSearchResult) and isinstance(block.content, list):
                for found in block.content:
                    if not sealed(str(found.get("encrypted_content", "")), "search"):
                        return f"{at}: Invalid `encrypted_content` in `search_result` block"
    citing = {cites(one) for one in documents(body)}
    if len(citing) > 1:
        return "Citations must be enabled on all documents or none of them."
    return None


def _file(block: Any, where: str) -> str | None:
    if isinstance(block, wire.Image):
        source = block.source
        if isinstance(source, wire.URLImage):
            return _url(source.url, f"{where}.image.source.url.url")
        if isinstance(source, wire.Base64Image):
            return _image(source, f"{where}.image.source.base64")
    elif isinstance(block, wire.Document):
        paper = block.source
        if isinstance(paper, wire.URLPDF):
            return _url(paper.url, f"{where}.document.source.url.url")
        if isinstance(paper, wire.Base64PDF):
            data = _decoded(paper.data)
            if data is None or not data.startswith(b"%PDF"):
                return f"{where}.document.source.base64.data: The PDF specified was not valid."
    return None


def _url(url: str, where: str) -> str | None:
    return None if url.startswith("https://") else f"{where}: Only HTTPS URLs are supported."


def _image(source: wire.Base64Image, where: str) -> str | None:
    data = _decoded(source.data)
    if data is None:
        return f"{where}.data: The image was not valid base64."
    if not data:
        return f"{where}.data: image cannot be empty"
    for magic, kind in _MAGIC:
        if data.startswith(magic) and kind != source.media_type:
            return (
                f"{where}: The image was specified using the {source.media_type} media type, but "
                f"the image appears to be a {kind} image"
            )
    return None


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def broken_format(body: wire.Body) -> str | None:
    """Efforts, and schemas that bind."""
    if isinstance(body.output_config, wire.OutputConfig):
        wrong = _output(body, body.output_config)
        if wrong is not None:
            return wrong
    for n, tool in enumerate(body.tools or ()):
        if tool.get("strict") is True and "input_schema" in tool:
            wrong = schema_problem(tool["input_schema"])
            if wrong is not None:
                return f"tools.{n}.custom: {wrong}"
    return None


def _output(body: wire.Body, config: wire.OutputConfig) -> str | None:
    efforts = next(found for name, found in _EFFORTS if re.match(name, body.model))
    if config.effort is not None and config.effort not in efforts:
        if not efforts:
            return "This model does not support the effort parameter."
        return f"This model does not support effort level '{config.effort}'."
    if config.format is None:
        return None
    if not _FORMATS.match(body.model):
        return f"'{body.model}' does not support output format."
    if any(cites(one) for one in documents(body)):
        return "output_config.format: citations are not supported with structured outputs"
    wrong = schema_problem(config.format.schema)
    return wrong and f"output_config.format.schema: {wrong}"


def schema_problem(schema: Any) -> str | None:
    """What a schema that binds may not say."""
    for one, path in _schemas(schema, (), 0):
        given = one.get("type")
        kind = str(next(iter(given), "") if isinstance(given, list) else given)
        if kind == "object" and one.get("additionalProperties") is not False:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        unknown = [name for name in _UNSUPPORTED.get(kind, ()) if name in one]
        if unknown:
            listed = ", ".join(unknown)
            noun = "property" if len(unknown) == 1 else "properties"
            verb = "is" if len(unknown) == 1 else "are"
            return f"For '{kind}' type, {noun} {listed} {verb} not supported"
        if kind == "array" and one.get("minItems", 0) not in (0, 1):
            return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
        if str(one.get("$ref", "#")).partition("#")[0]:
            return "External $ref is not supported"
        if len(path) >= _DEPTH:
            return "Schema is too complex."
    return None


def _schemas(
    schema: Any, path: tuple[str, ...], depth: int
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """A schema and those within it."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return
    yield schema, path
    for name in ("properties", "$defs", "definitions"):
        held = schema.get(name)
        for key, one in held.items() if isinstance(held, dict) else ():
            yield from _schemas(one, (*path, key), depth + 1)
    for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
        several = schema.get(name)
        for one in several if isinstance(several, list) else ():
            yield from _schemas(one, (*path, name), depth + 1)
    yield from _schemas(schema.get("items"), (*path, "items"), depth + 1)
