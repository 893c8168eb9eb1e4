"""Log probabilities of an answer: its words once more, token by token."""

from __future__ import annotations

from typing import Any

import msgspec

_NAME = b'"logprobs"'


def dropped(body: bytes, format_: str) -> bytes:
    """A whole answer without them: whoever looks through its texts and replaces some would leave
    them standing there. `body` itself if it has none, or is not what it should be."""
    if _NAME not in body:
        return body
    try:
        tree: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if not isinstance(tree, dict):
        return body
    places = _parts(tree) if format_ == "responses" else _objects(tree.get("choices"))
    nothing: Any = [] if format_ == "responses" else None
    changed = False
    for place in places:
        if place.get("logprobs"):
            place["logprobs"] = nothing
            changed = True
    return msgspec.json.encode(tree) if changed else body


def _parts(answer: dict[str, Any]) -> list[dict[str, Any]]:
    items = _objects(answer.get("output"))
    return [part for item in items for part in _objects(item.get("content"))]


def _objects(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
