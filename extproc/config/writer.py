"""Envoy configuration as YAML that a person would have written.

Keys keep the order they were put in; what is short stands on one line; sections have comments.
Written here because no YAML library puts a comment where a person would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from extproc.config.parts import Noted

_ONE_LINE = 96
"""Columns up to which a mapping or list stands on one line."""
_DEPTH = 3
"""Levels of nesting that are still readable on one line."""
_SECTION = 2
"""Columns at which a commented item begins a section, with an empty line before it."""
_PLAIN = re.compile(
    r"[A-Za-z/][A-Za-z0-9_./()|&=!<> +:-]*"  # begins like a word
    r"|\d+(\.\d+)?(ms|s)"  # a duration
    r"|\d{1,3}(\.\d{1,3}){3}"  # an IPv4 address
)
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""What YAML 1.1 or 1.2 reads as something else than text."""
_UNSEEN = re.compile(r"[^ -~]")
"""What may be a line's end to YAML, or nothing that it takes."""


def to_yaml(node: dict[str, Any], head: str = "") -> str:
    """A document; `head` is a comment at its top."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    for key, value in node.items():
        entry = list(_entry(f"{_scalar(key)}:", value, 0))
        if len(entry) > 1:
            lines.append("")
        lines += entry
    return "\n".join(lines) + "\n"


def _block(node: Any, indent: int) -> Iterator[str]:
    """The lines of a mapping or list that stands on lines of its own."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _entry(f"{_scalar(key)}:", value, indent)
    else:
        for index, value in enumerate(node):
            if index and indent <= _SECTION and isinstance(value, Noted):
                yield ""
            yield from _item(value, indent)


def _entry(key: str, value: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    if isinstance(value, Noted):
        yield from _note(value, indent)
    line = f"{pad}{key} {_flow(value)}"
    if not isinstance(value, (dict, list)) or _fits(value, line):
        yield line
        return
    yield f"{pad}{key}"
    # A list hangs under its key without further indentation.
    yield from _block(value, indent if isinstance(value, list) else indent + 2)


def _item(value: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    if isinstance(value, Noted):
        yield from _note(value, indent)
    line = f"{pad}- {_flow(value)}"
    if not isinstance(value, (dict, list)) or _fits(value, line):
        yield line
        return
    first, *rest = _block(value, indent + 2)
    yield f"{pad}- {first.lstrip()}"
    yield from rest


def _note(node: Noted, indent: int) -> Iterator[str]:
    for line in node.note.splitlines():
        yield f"{' ' * indent}# {line}"


def _fits(node: Any, line: str) -> bool:
    if not node:
        return True
    return len(line) <= _ONE_LINE and _depth(node) <= _DEPTH and not _has_note(node)


def _flow(node: Any) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(_flow(one) for one in node) + "]"
    return _scalar(node)


def _scalar(value: Any) -> str:
    """A plain word where every YAML reader takes it for text, else in double quotes: the
    escapes of JSON are YAML's."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = (
        _PLAIN.fullmatch(value)
        and value.lower() not in _WORDS
        and ": " not in value
        and not value.endswith((":", " "))
    )
    return value if plain else _UNSEEN.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    """As YAML has it: it does not take the two halves in which JSON writes what is beyond the first
    plane."""
    one = found[0]
    return one if one.isprintable() else f"\\U{ord(one):08x}"


def _depth(node: Any) -> int:
    if isinstance(node, dict):
        return 1 + max((_depth(one) for one in node.values()), default=0)
    if isinstance(node, list):
        return 1 + max((_depth(one) for one in node), default=0)
    return 0


def _has_note(node: Any) -> bool:
    if isinstance(node, dict):
        return any(isinstance(one, Noted) or _has_note(one) for one in node.values())
    if isinstance(node, list):
        return any(isinstance(one, Noted) or _has_note(one) for one in node)
    return False
