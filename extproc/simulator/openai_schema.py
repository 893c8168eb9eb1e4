"""What OpenAI refuses in a JSON Schema that is to be held to strictly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_REFUSED = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "contains",
)
"""Keywords that structured outputs do not support."""
_DEPTH = 32
_OBJECTS = ("properties", "$defs", "definitions")
_ARRAYS = ("required", "anyOf")


def strict_fault(schema: Any) -> str | None:
    """OpenAI's words for the first fault, or None: the top is an object, every object closes with
    `additionalProperties: false` and requires all of its properties, and no keyword is one that
    strict schemas do not have."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        shown = f'"{kind}"' if kind is not None else '"None"'
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'."
    return next(_faults(schema, ()), None)


def _open_object(schema: dict[str, Any], where: str) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"{where}'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required", [])
    missing = [key for key in schema.get("properties", {}) if key not in required]
    if missing:
        yield (
            f"{where}'required' is required to be supplied and to be an array including every "
            f"key in properties. Missing '{missing[0]}'."
        )


def _malformed(schema: dict[str, Any], where: str) -> Iterator[str]:
    """Keywords whose value is of the wrong type."""
    for keys, kind, name in ((_OBJECTS, dict, "object"), (_ARRAYS, list, "array")):
        for key in keys:
            if not isinstance(schema.get(key, kind()), kind):
                yield f"{where}{schema[key]!r} is not of type '{name}'."


def _faults(schema: Any, context: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict) or len(context) > _DEPTH:
        return
    where = f"In context={context!r}, "
    yield from _malformed(schema, where)
    for key in _REFUSED:
        if key in schema:
            yield f"{where}'{key}' is not permitted."
    if schema.get("type") == "object" or "properties" in schema:
        yield from _open_object(schema, where)
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{where}array schema missing items."
    for key in _OBJECTS:
        for name, inner in schema.get(key, {}).items():
            yield from _faults(inner, (*context, key, name))
    yield from _faults(schema.get("items"), (*context, "items"))
    for n, inner in enumerate(schema.get("anyOf", ())):
        yield from _faults(inner, (*context, "anyOf", str(n)))
