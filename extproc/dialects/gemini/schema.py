"""JSON schemas on their way to Gemini.

`responseJsonSchema` and `parametersJsonSchema` take JSON Schema, of which only the keywords in
`ENFORCED` bind the model (the API's reference, GenerationConfig); a `$ref` may have no
neighbours. Models before 2.5 take `responseSchema`, a subset of OpenAPI's without references.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

ENFORCED: Final = frozenset(
    {
        "$id",
        "$defs",
        "$ref",
        "$anchor",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
    }
)
_NOTES: Final = frozenset(
    {"$schema", "$comment", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"}
)
"""Keywords that bind nobody."""

_MAPS: Final = ("properties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties")
_DEEPEST: Final = 64


def plain(schema: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The same schema in the keywords that bind: `const` as an `enum` of one, `definitions` as
    `$defs`, `allOf` of one as that one, references without neighbours. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError("json_schema: nested too deeply")
    ref = schema.get("$ref")
    if isinstance(ref, str):
        kept = {key: one for key, one in schema.items() if key[:1] == "$" and key != "$defs"}
        kept["$ref"] = ref.replace("#/definitions/", "#/$defs/")
        return kept if "$defs" not in schema else {**kept, "$defs": _mapped(schema["$defs"], depth)}
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS:
            found["$defs" if key == "definitions" else key] = _mapped(value, depth)
        elif key in _LISTS and isinstance(value, list):
            found[key] = [plain(one, depth + 1) if isinstance(one, dict) else one for one in value]
        elif key in _SINGLE and isinstance(value, dict):
            found[key] = plain(value, depth + 1)
        elif key == "const" and isinstance(value, str | int | float) and "enum" not in schema:
            found["enum"] = [value]
        else:
            found[key] = value
    every = found.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict):
        del found["allOf"]
        return every[0] if "$ref" in every[0] else {**found, **every[0]}
    return found


def _mapped(value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: plain(one, depth + 1) if isinstance(one, dict) else one for name, one in value.items()
    }


def unenforced(schema: Any) -> Iterator[str]:
    """Keywords of a schema from `plain` that do not bind the model."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            for one in value.values():
                yield from unenforced(one)
        elif key in _LISTS and isinstance(value, list):
            if key == "allOf":
                yield key
            for one in value:
                yield from unenforced(one)
        elif key in _SINGLE:
            yield from unenforced(value)
        elif key not in ENFORCED and key not in _NOTES:
            yield key


_OPENAPI: Final = frozenset(
    {
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "properties",
        "required",
        "propertyOrdering",
        "minLength",
        "maxLength",
        "pattern",
        "nullable",
        "default",
    }
)


def openapi(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema from `plain` in OpenAPI's subset: references replaced by what they stand for, types
    that may be null by `nullable`. Raises ValueError for a schema that refers to itself."""
    definitions = schema.get("$defs")
    return _openapi(schema, definitions if isinstance(definitions, dict) else {}, ())


def _openapi(
    schema: dict[str, Any], definitions: dict[str, Any], within: tuple[str, ...]
) -> dict[str, Any]:
    if isinstance(ref := schema.get("$ref"), str):
        name = ref.removeprefix("#/$defs/")
        target = definitions.get(name)
        if name in within or not isinstance(target, dict):
            raise ValueError(f"json_schema: {ref[:64]!a} cannot be replaced by what it stands for")
        return _openapi(target, definitions, (*within, name))
    found = {key: value for key, value in schema.items() if key in _OPENAPI}
    if isinstance(properties := found.get("properties"), dict):
        found["properties"] = {
            name: _openapi(one, definitions, within)
            for name, one in properties.items()
            if isinstance(one, dict)
        }
    if isinstance(items := found.get("items"), dict):
        found["items"] = _openapi(items, definitions, within)
    choices = found.pop("anyOf", None) or schema.get("oneOf")
    if isinstance(choices, list):
        _choose(found, [one for one in choices if isinstance(one, dict)], definitions, within)
    if isinstance(kinds := found.get("type"), list):
        _typed(found, kinds)
    if isinstance(values := found.get("enum"), list):
        # Only of strings there.
        found["enum"] = [one if isinstance(one, str) else str(one) for one in values]
        found["type"] = "string"
    return found


def _choose(
    found: dict[str, Any],
    choices: list[dict[str, Any]],
    definitions: dict[str, Any],
    within: tuple[str, ...],
) -> None:
    real = [one for one in choices if one.get("type") != "null"]
    if len(real) < len(choices):
        found["nullable"] = True
    if len(real) == 1:
        found.update(_openapi(real[0], definitions, within))
    elif real:
        found["anyOf"] = [_openapi(one, definitions, within) for one in real]


def _typed(found: dict[str, Any], kinds: list[Any]) -> None:
    real = [one for one in kinds if one != "null"]
    if len(real) < len(kinds):
        found["nullable"] = True
    if len(real) == 1:
        found["type"] = real[0]
    else:
        del found["type"]
        found["anyOf"] = [{"type": one} for one in real]
