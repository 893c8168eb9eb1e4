"""JSON schemas that Anthropic can promise to keep: a part of JSON schema.

From the page structured-outputs of platform.claude.com/docs, and from what Anthropic's SDKs do to
a schema before they send it (November 2026). Every object is closed; limits on numbers, lengths
and patterns are not kept, and stand in the description instead, where the model reads them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

MAX_STRICT_TOOLS: Final = 20
MAX_OPTIONAL: Final = 24
"""Properties that may be absent, in all schemas of a request that are to be kept."""
MAX_UNIONS: Final = 16
"""Properties of more than one type, counted in the same way."""

_FORMATS: Final = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_COPIED: Final = frozenset({"type", "title", "description", "$ref"})
_SCHEMAS: Final = frozenset({"properties", "$defs", "definitions"})
_SAYING: Final = frozenset({"type", "anyOf", "allOf", "enum", "const"})
"""One of these a schema must have."""
_LISTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_DROPPED: Final = frozenset(
    {"$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "strict"}
)
"""Say nothing about what is valid."""
_NOTED: Final = frozenset({"default", "example", "examples"})
"""Nor do these, but the model should know them."""


class BeyondError(ValueError):
    """The schema allows what no schema that Anthropic keeps can: names of properties that are not
    known, or a depth without end."""


class Promises(Struct):
    """What one request's schemas that are to be kept amount to."""

    tools: int = 0
    optional: int = 0
    unions: int = 0

    def room(self, kept: Kept, *, tool: bool) -> bool:
        """Whether one more schema fits; if so, it is counted."""
        fits = (
            self.tools + tool <= MAX_STRICT_TOOLS
            and self.optional + kept.optional <= MAX_OPTIONAL
            and self.unions + kept.unions <= MAX_UNIONS
        )
        if fits:
            self.tools += tool
            self.optional += kept.optional
            self.unions += kept.unions
        return fits


class Kept(Struct):
    """A schema as Anthropic keeps it."""

    schema: dict[str, Any] = {}
    words: set[str] = set()
    """Keywords that are only told to the model."""
    optional: int = 0
    unions: int = 0


def keep(schema: dict[str, Any]) -> Kept:
    """The schema within what Anthropic keeps. Raises BeyondError."""
    if _endless(schema):
        raise BeyondError("a schema that contains itself")
    kept = Kept()
    kept.schema = _node(schema, kept)
    return kept


def _node(schema: Any, kept: Kept) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise BeyondError("a schema that allows anything")
    made: dict[str, Any] = {}
    told: list[str] = []
    for key, value in schema.items():
        if _is_inner(key, value, made, kept) or _is_kept(key, value, made) or key in _DROPPED:
            continue
        told.append(f"{key}: {_shown(value)}")
        if key not in _NOTED:
            kept.words.add(key)
    if "$ref" in made:
        # What stands beside a reference is refused.
        return {key: made[key] for key in ("$defs", "definitions", "$ref") if key in made}
    if not _SAYING & made.keys():
        raise BeyondError("a schema that allows anything")
    _close(schema, made, kept)
    if told:
        said = made.get("description")
        made["description"] = (f"{said}\n\n" if said else "") + "{" + ", ".join(told) + "}"
    return made


def _is_inner(key: str, value: Any, made: dict[str, Any], kept: Kept) -> bool:
    """A keyword with schemas in it."""
    if key in _SCHEMAS and isinstance(value, dict):
        made[key] = {name: _node(inner, kept) for name, inner in value.items()}
    elif key in _LISTS and isinstance(value, list):
        made[_LISTS[key]] = [_node(inner, kept) for inner in value]
    elif key == "items" and isinstance(value, dict):
        made[key] = _node(value, kept)
    else:
        return False
    return True


def _is_kept(key: str, value: Any, made: dict[str, Any]) -> bool:
    """A keyword that stays as it is; `additionalProperties` is judged with the object."""
    kept = (
        key in _COPIED
        or (key == "const" and not _compound(value))
        or (key == "required" and _names(value))
        or (key == "enum" and isinstance(value, list) and not any(map(_compound, value)))
        or (key == "format" and isinstance(value, str) and value in _FORMATS)
        or (key == "minItems" and value in (0, 1))
    )
    if kept:
        made[key] = value
    return kept or key == "additionalProperties"


def _close(schema: dict[str, Any], made: dict[str, Any], kept: Kept) -> None:
    kind = made.get("type")
    if isinstance(kind, list) or "anyOf" in made:
        kept.unions += 1
    is_object = kind == "object" or (isinstance(kind, list) and "object" in kind)
    if not is_object and "properties" not in made:
        return
    more = schema.get("additionalProperties")
    if isinstance(more, dict) or (more is not False and not made.get("properties")):
        raise BeyondError("an object of any properties")
    made["additionalProperties"] = False
    properties = made.setdefault("properties", {})
    kept.optional += len(properties.keys() - set(made.get("required", ())))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _compound(value: Any) -> bool:
    return isinstance(value, dict | list)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _endless(schema: dict[str, Any]) -> bool:
    """A definition reaches itself, or what is outside the schema."""
    definitions = {
        f"#/{key}/{name}": inner
        for key in ("$defs", "definitions")
        if isinstance(schema.get(key), dict)
        for name, inner in schema[key].items()
    }
    root = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    state: dict[str, bool] = {}

    def reaches(node: Any) -> bool:
        if isinstance(node, list):
            return any(reaches(one) for one in node)
        if not isinstance(node, dict):
            return False
        place = node.get("$ref")
        if isinstance(place, str):
            if place not in definitions or state.get(place) is False:
                return True
            if place not in state:
                state[place] = False
                if reaches(definitions[place]):
                    return True
                state[place] = True
        return any(reaches(inner) for inner in node.values())

    return reaches(root)
