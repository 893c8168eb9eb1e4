"""Plain data to msgspec Structs, with every mistake found and not only the first.

msgspec.convert stops at the first error and names no dictionary key, so it is asked for one
value at a time; the walk over structs, dictionaries and lists is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from extproc.config.findings import Path, suggest
from extproc.config.gateway import Seconds, Size, Wait

Report = Callable[[Path, str, str], None]
"""Takes a path, a message and the name of the rule."""

_MISSING = object()
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE = re.compile(r"(\d+)\s*(KiB|MiB|GiB|B)?")
_SIZE_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def read(kind: Any, node: Any, path: Path, report: Report) -> Any:
    """`node` as a `kind`, or None when something in it was reported."""
    mistakes = 0

    def count(at: Path, message: str, rule: str) -> None:
        nonlocal mistakes
        mistakes += 1
        report(at, message, rule)

    value = _value(kind, node, path, count)
    return None if mistakes else value


def _value(kind: Any, node: Any, path: Path, report: Report) -> Any:
    if get_origin(kind) in (Union, UnionType):
        if node is None and type(None) in get_args(kind):
            return None
        kind = _alternative(get_args(kind), node)
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, node, path, report)
    if origin is dict:
        return _dict(get_args(kind)[1], node, path, report)
    if origin in (list, tuple):
        return _list(kind, node, path, report)
    return _leaf(kind, node, path, report)


def _alternative(kinds: tuple[Any, ...], node: Any) -> Any:
    """What `node` is meant to be: a mapping is the Struct or dict among `kinds`, if there is one,
    true and false are a bool, and anything else is the first that is none of these."""
    known = [one for one in kinds if one is not type(None)]
    structs = [one for one in known if _is_mapping(one)]
    if isinstance(node, bool) and bool in known:
        return bool
    others = [one for one in known if one not in structs]
    return (structs or others)[0] if isinstance(node, dict) else (others or structs)[0]


def _is_mapping(kind: Any) -> bool:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return is_struct or get_origin(kind) is dict


def _struct(kind: type[msgspec.Struct], node: Any, path: Path, report: Report) -> Any:
    if not isinstance(node, dict):
        report(path, f"must be a mapping, not {_said(node)}", "wrong-type")
        return None
    fields = {one.encode_name: one for one in msgspec.structs.fields(kind)}
    for key in node:
        if key not in fields:
            report((*path, key), f"unknown field{suggest(key, fields)}", "unknown-field")
    found = {}
    for name, one in fields.items():
        value = node.get(name, _MISSING)
        if value is not _MISSING:
            found[one.name] = _value(one.type, value, (*path, name), report)
        elif one.required:
            report(path, f"'{name}' is missing", "missing-field")
    # Unknown and missing fields were reported; the value is thrown away then.
    return (
        kind(**found) if all(not f.required or f.name in found for f in fields.values()) else None
    )


def _dict(kind: Any, node: Any, path: Path, report: Report) -> Any:
    if not isinstance(node, dict):
        report(path, f"must be a mapping, not {_said(node)}", "wrong-type")
        return {}
    return {key: _value(kind, value, (*path, key), report) for key, value in node.items()}


def _list(kind: Any, node: Any, path: Path, report: Report) -> Any:
    if not isinstance(node, list):
        report(path, f"must be a list, not {_said(node)}", "wrong-type")
        return ()
    item = get_args(kind)[0]
    found = [_value(item, value, (*path, index), report) for index, value in enumerate(node)]
    return tuple(found) if get_origin(kind) is tuple else found


def _leaf(kind: Any, node: Any, path: Path, report: Report) -> Any:
    try:
        if kind is Seconds:
            return seconds(node)
        if kind is Wait:
            return Wait(0 if _is_zero(node) else seconds(node))
        if kind is Size:
            return size(node)
        return msgspec.convert(node, kind)
    except msgspec.ValidationError as error:
        words = str(error)
        if "enum value" in words:
            allowed = [str(one) for one in get_args(kind)]
            report(path, f"'{node}' is not one of {', '.join(allowed)}", "wrong-value")
        else:
            report(path, f"{words[0].lower()}{words[1:]}", "wrong-type")
    except ValueError as error:
        report(path, str(error), "wrong-type")
    return None


def seconds(node: Any) -> Seconds:
    """A duration from `10s`, `500ms`, `2m`, `1h`, `30d` or a number. Raises ValueError."""
    if isinstance(node, (int, float)) and not isinstance(node, bool) and node > 0:
        return Seconds(node)
    if isinstance(node, str) and (found := _DURATION.fullmatch(node)):
        value = float(found[1]) * _DURATION_UNITS[found[2]]
        if value > 0:
            return Seconds(value)
    raise ValueError(f"'{node}' is not a duration; write it as 10s, 500ms or 2m, above zero")


def _is_zero(node: Any) -> bool:
    return node in {"0", "0s"} if isinstance(node, str) else node == 0 and node is not False


def size(node: Any) -> Size:
    """A number of bytes from `32MiB`, `64KiB` or a number. Raises ValueError."""
    if isinstance(node, int) and not isinstance(node, bool) and node > 0:
        return Size(node)
    if isinstance(node, str) and (found := _SIZE.fullmatch(node)):
        value = int(found[1]) * _SIZE_UNITS[found[2]]
        if value > 0:
            return Size(value)
    raise ValueError(f"'{node}' is not a size; write it as 32MiB, above zero")


def _said(node: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "a boolean"}
    if node is None:
        return "nothing"
    return names.get(type(node), "a number")
