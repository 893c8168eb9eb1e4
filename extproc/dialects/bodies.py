"""What all client formats have in common in reading a body: strictly, typed, names as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec

from extproc import strict_json
from extproc.dialects import MOST_OUTPUT
from extproc.dialects.chat import problems
from extproc.errors import bad_request

T = TypeVar("T", bound=msgspec.Struct)


def load(body: bytes, fields: Collection[str]) -> dict[str, Any]:
    """The body's one reading, with no field that is one of `fields` in other letters. Raises
    ClientError (400)."""
    tree = strict_json.load(body)
    _check_names(tree, fields)
    return tree


def convert(tree: dict[str, Any], kind: type[T]) -> T:
    """The tree as a request. Raises ClientError (400) naming the field that is wrong."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise problems.typed(error, tree) from None


def allowed(tokens: int | None) -> int | None:
    """What a client allows for an answer, as far as it can be told from no bound at all."""
    return None if tokens is None else min(tokens, MOST_OUTPUT)


def capped(body: bytes, name: str, allows: int | None, cap: int) -> bytes:
    """The body with the top-level field `name`, a bound on the answer, at `cap` or below; `allows`
    is what it says now."""
    return body if allows is not None and allows <= cap else strict_json.splice(body, {name: cap})


def measure(texts: list[str]) -> tuple[int, int]:
    """(ASCII bytes, other characters) of texts: what a token estimator starts from."""
    ascii_bytes = others = 0
    for text in texts:
        if text.isascii():
            ascii_bytes += len(text)
        else:
            plain = len(text.encode("ascii", "ignore"))
            ascii_bytes += plain
            others += len(text) - plain
    return ascii_bytes, others


def _check_names(tree: dict[str, Any], fields: Collection[str]) -> None:
    """Refuse `Model` beside or instead of `model`: parsers that ignore case (Go's standard one,
    under several inference servers) would read a field here that was never judged."""
    for key in tree:
        if key not in fields and (folded := key.casefold()) in fields:
            raise bad_request(
                f"Unrecognized request argument supplied: {key!a}. Did you mean '{folded}'?",
                folded,
                "unknown_parameter",
            )
