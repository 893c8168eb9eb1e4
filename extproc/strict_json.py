"""JSON bodies that can be read one way only.

Common parsers differ on duplicate keys (most keep the last in silence, some the first), on
`NaN`, on `1e400`, on lone surrogates and on bytes behind the value. A gateway that judges one
reading while the provider acts on another can be talked past, so such bodies are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from extproc.errors import ClientError, bad_request

MAX_DEPTH: Final = 64
"""Objects and arrays within each other. Real chat bodies stay below 20; parsers that recurse
give up somewhere between 100 and 10,000, each at another depth."""

MAX_DIGITS: Final = 308
"""Longest integer, in characters: beyond it a reader that keeps numbers as IEEE 754 doubles
(largest about 1.8e308) sees infinity where another sees an integer."""

_MAX_SHOWN: Final = 80
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class _FlawError(ValueError):
    """Something that two parsers would read differently. The text says what."""


class _Flaw:
    """Stands in a tree where the flaw was, so that its path can be told. `key`: the flaw is that
    key of the object that was here."""

    def __init__(self, what: str, key: str | None = None) -> None:
        self.what = what
        self.key = key


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _FlawError("duplicate key")
    return found


def _duplicate(pairs: list[tuple[str, Any]]) -> _Flaw:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Flaw(f"duplicate key {_show(key)}", key)
        seen.add(key)
    return _Flaw("duplicate key")


def _constant(text: str) -> Any:
    raise _FlawError(f"{text} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _FlawError("number out of range")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _FlawError("number out of range")
    return int(text)


# Made once: `json.loads` with hooks would build a decoder for each body. It keeps no state
# between calls.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def load(body: bytes) -> dict[str, Any]:
    """The body's one reading. Raises ClientError (400) that names the place of what is wrong."""
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise _refuse(f"invalid UTF-8 at byte {error.start}") from None
    try:
        tree = _DECODER.decode(text)
    except _FlawError:
        raise _located(text) from None
    except json.JSONDecodeError as error:
        raise _refuse(_syntax(text, error)) from None
    except RecursionError:
        raise _refuse(f"nested deeper than {MAX_DEPTH}") from None
    if type(tree) is not dict:
        raise _refuse("expected an object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(tree):
        raise _refuse(f"nested deeper than {MAX_DEPTH}")
    if b"\\u" in body and _SURROGATE.search(body):
        _check_surrogates(tree)
    return tree


def splice(
    body: bytes, replace: Mapping[str, Any] | None = None, *, remove: Collection[str] = ()
) -> bytes:
    """The body with top-level keys replaced, added at the end, or removed; the value of every
    other key keeps its bytes. The body must have passed `load`.
    """
    fields: dict[str, Any] = _FIELDS.decode(body)
    for key in remove:
        fields.pop(key, None)
    if replace:
        fields.update(replace)
    return msgspec.json.encode(fields)


def keys(body: bytes) -> list[str]:
    """Top-level keys of a body that has passed `load`, in order."""
    return list(_FIELDS.decode(body))


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _too_deep(tree: dict[str, Any]) -> bool:
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _check_surrogates(tree: dict[str, Any]) -> None:
    """A pair of escapes is one character; half a pair is none, and cannot be written as UTF-8."""
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        for path, value in _walk(tree):
            if isinstance(value, str) and not _encodes(value):
                raise _refuse("lone surrogate", path) from None
        raise _refuse("lone surrogate in a key") from None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _located(text: str) -> ClientError:
    """The first flaw with its path: a second reading that leaves a mark where each flaw is."""

    def pairs(found: list[tuple[str, Any]]) -> Any:
        made = dict(found)
        return made if len(made) == len(found) else _duplicate(found)

    def number(parse: Any) -> Any:
        def marked(text: str) -> Any:
            try:
                return parse(text)
            except _FlawError as error:
                return _Flaw(str(error))

        return marked

    decoder = json.JSONDecoder(
        object_pairs_hook=pairs,
        parse_constant=number(_constant),
        parse_float=number(_float),
        parse_int=number(_int),
    )
    try:
        tree = decoder.decode(text)
    except json.JSONDecodeError as error:
        return _refuse(_syntax(text, error))
    except RecursionError:
        return _refuse(f"nested deeper than {MAX_DEPTH}")
    for path, value in _walk(tree):
        if isinstance(value, _Flaw):
            return _refuse(value.what, path, value.key)
    # A flaw inside an object that itself holds a duplicate key is behind that object's mark.
    return _refuse("ambiguous")


def _walk(tree: Any) -> Any:
    """Every value with its path, in the order of the text. Iterative: depth is not yet known."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if type(value) is dict:
            inner = [(_inner(path, key), one) for key, one in value.items()]
            waiting.extend(reversed(inner))
        elif type(value) is list:
            inner = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
            waiting.extend(reversed(inner))


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "the body is empty"
    if text[0] == "\ufeff":
        return "byte order mark at byte 0"
    offset = len(text[: error.pos].encode())
    what = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    return f"{what} at byte {offset}"


def _show(key: str) -> str:
    """A key as it may stand in a message: quoted, bounded, printable."""
    return json.dumps(key[:_MAX_SHOWN])


def _refuse(what: str, path: str = "", key: str | None = None) -> ClientError:
    field = path if key is None else _inner(path, key)
    where = f" in {_printed(path)}" if path else ""
    param = _printed(field) or None
    return bad_request(f"The body is not valid JSON: {what}{where}.", param, "invalid_json")


def _inner(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _printed(path: str) -> str:
    return path.encode("ascii", "backslashreplace").decode()[: 2 * _MAX_SHOWN]
