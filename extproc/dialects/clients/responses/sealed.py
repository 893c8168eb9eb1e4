"""What a provider wants back of its thinking, inside `encrypted_content` of a reasoning item.

Clients of the Responses API send reasoning items back as they got them, and look into none. So
signatures and sealed thoughts of whichever provider served survive a conversation there, and so
does what belongs to a tool call (`extra_content`), for which this API has no place of its own.
Thinking that nobody wants back is sealed too: it is how an item is known again as written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc import strict_json
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.errors import ClientError, bad_request
from extproc.sealed import PREFIX, is_sealed, unwrap, wrap

__all__ = ["PREFIX", "Sealed", "for_native", "is_sealed", "seal", "unseal", "unverified"]


class Sealed(Struct, frozen=True, omit_defaults=True):
    """`calls`: `extra_content` by the id of the call."""

    details: list[ReasoningDetail] = []
    calls: dict[str, dict[str, Any]] = {}


class _Written(Struct, frozen=True, omit_defaults=True):
    details: Sequence[Raw] = ()
    calls: dict[str, dict[str, Any]] = {}


_SEALED: Final = msgspec.json.Decoder(Sealed)


def seal(details: Sequence[Raw], calls: dict[str, dict[str, Any]] | None = None) -> str:
    """The content, ASCII. `details` are encoded `ReasoningDetail`s."""
    return wrap(msgspec.json.encode(_Written(list(details), calls or {})))


def unseal(content: str, param: str) -> Sealed:
    """What was sealed. Raises ClientError (400) naming `param` if the content was changed."""
    try:
        return _SEALED.decode(unwrap(content))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise unverified(param) from None


def for_native(body: bytes) -> bytes:
    """A body that has been parsed, for a target that speaks this API: what was sealed for other
    providers is left out, because such a target refuses what it did not write itself."""
    if _MARK not in body:
        return body
    items = _INPUT.decode(body).input
    if not isinstance(items, list):
        return body
    kept = [item for item in items if not is_sealed(_content(item))]
    return strict_json.splice(body, {"input": kept}) if len(kept) < len(items) else body


def _content(item: Raw) -> str | None:
    found = _ITEM.decode(item)
    content = found.encrypted_content
    return content if found.type == "reasoning" and isinstance(content, str) else None


class _Input(Struct):
    input: list[Raw] | str | None = None


class _Item(Struct):
    type: Any = None
    encrypted_content: Any = None


_MARK: Final = PREFIX.encode()
_INPUT: Final = msgspec.json.Decoder(_Input)
_ITEM: Final = msgspec.json.Decoder(_Item)


def unverified(param: str) -> ClientError:
    """In OpenAI's words."""
    return bad_request(
        "The encrypted content could not be verified.", param, "invalid_encrypted_content"
    )
