"""What an answer holds, in Anthropic's shapes."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.anthropic.turns import SERVER_BLOCKS
from extproc.dialects.chat.completion import ReasoningDetail, Usage
from extproc.dialects.clients.messages import thoughts

Shape = dict[str, Any]

_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""By chat completions' finish reason; one that is not known is `end_turn`."""
_TIERS: Final = {
    "default": "standard",
    "auto": "standard",
    "standard": "standard",
    "priority": "priority",
    "flex": "batch",
    "batch": "batch",
}
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
FOREIGN: Final = thoughts.seal()
"""Stands where Claude would put what only Claude can read, and there is nothing to keep."""


def message_id(completion_id: str) -> str:
    """A completion's id as a message's."""
    return "msg_" + completion_id.removeprefix("chatcmpl-")


def call_id(id_: str) -> str:
    """A call's id. Of other characters than these Anthropic takes none back; an id that has them
    gets a digest, so that two remain two."""
    if _ID.fullmatch(id_):
        return id_
    digest = hashlib.blake2b(id_.encode(), digest_size=6).hexdigest()
    return f"{_NOT_ID.sub('_', id_)[:40]}_{digest}"


def stop_reason(finish: str, *, calls: bool, stop_sequence: str | None) -> str:
    """Why the answer ended. Servers that were made to call a tool say `stop`; clients of this API
    run tools when they are told `tool_use`."""
    reason = _REASONS.get(finish, "end_turn")
    if reason in ("end_turn", "tool_use"):
        if calls:
            return "tool_use"
        return "stop_sequence" if stop_sequence is not None else "end_turn"
    return reason


def stop_details(reason: str | None, explanation: str | None) -> Shape | None:
    """What is known of a refusal."""
    if reason != "refusal":
        return None
    return {"type": "refusal", "category": None, "explanation": explanation}


def usage(found: Usage, tier: str | None) -> Shape:
    """Anthropic counts what was cached beside `input_tokens`, not in it."""
    shape = {
        "input_tokens": max(0, found.prompt - found.cached - found.cache_write),
        "cache_creation_input_tokens": found.cache_write,
        "cache_read_input_tokens": found.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": max(0, found.cache_write - found.cache_write_1h),
            "ephemeral_1h_input_tokens": found.cache_write_1h,
        },
        "output_tokens": found.completion,
        "output_tokens_details": {"thinking_tokens": found.reasoning},
    }
    if (known := _TIERS.get(tier or "")) is not None:
        shape["service_tier"] = known
    return shape


def arguments(text: str) -> Raw | Shape:
    """A call's arguments as the object that `input` is. What a model wrote in their place stands
    as Anthropic's guide to fine-grained tool streaming hands it back."""
    if not text or text.isspace():
        return {}
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"INVALID_JSON": text}
    return Raw(text.encode())


def claude_block(detail: ReasoningDetail) -> Raw | Shape | None:
    """A block in which Claude's own detail stands alone: sealed thinking, or a step of a web
    search, kept as its JSON. None if there is nothing in it."""
    if detail.type != "reasoning.encrypted":
        if detail.signature is None:
            return None
        return {"type": "thinking", "thinking": detail.text or "", "signature": detail.signature}
    data = detail.data or ""
    if not data.startswith("{"):
        return {"type": "redacted_thinking", "data": data}
    try:
        kind = _KIND.decode(data).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Raw(data.encode()) if kind in SERVER_BLOCKS else None


class _Kind(Struct):
    type: str = ""


_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_KIND: Final = msgspec.json.Decoder(_Kind)


# --- citations ----------------------------------------------------------------------------

_PLACES: Final = (
    ("char_location", "start_char_index", "end_char_index"),
    ("page_location", "start_page_number", "end_page_number"),
    ("content_block_location", "start_block_index", "end_block_index"),
)


def citation(annotation: Shape) -> Shape:
    """OpenAI's `url_citation` as a citation; one that tells the place in a document as Anthropic's
    own of a document."""
    found = annotation.get("url_citation")
    found = found if isinstance(found, dict) else annotation
    cited, title = _text(found.get("content")) or "", _text(found.get("title"))
    document = found.get("document_index")
    for kind, start, end in _PLACES:
        if all(type(found.get(name)) is int for name in ("document_index", start, end)):
            return {
                "type": kind,
                "cited_text": cited,
                "document_index": document,
                "document_title": title or None,
                start: found[start],
                end: found[end],
                "file_id": _text(found.get("file_id")),
            }
    return {
        "type": "web_search_result_location",
        "cited_text": cited,
        "encrypted_index": FOREIGN,
        "title": title or None,
        "url": _text(found.get("url")) or "",
    }


def span(annotation: Shape, length: int) -> tuple[int, int] | None:
    """From where to where of a text of that length, in characters, an annotation is about."""
    found = annotation.get("url_citation")
    found = found if isinstance(found, dict) else annotation
    start, end = found.get("start_index"), found.get("end_index")
    if type(start) is int and type(end) is int and 0 <= start < end <= length:
        return start, end
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
