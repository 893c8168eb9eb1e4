"""A value that fits a JSON Schema: what a model that is held to a schema would write.

It reads JSON Schema as the providers take it, and Gemini's own schema dialect (types in capitals,
`nullable`, counts as text). The same schema always gives the same value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_DEPTH = 12
"""How deep values may nest. Beyond it only what must be there is written, so that a schema that
refers to itself ends."""
_FORMATS: Mapping[str, str] = {
    "date": "2026-10-21",
    "date-time": "2026-10-21T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT90S",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "3f1c9a52-6b3e-4f0e-9d2a-7c5b8e1d4a60",
    "byte": "dG9sbA==",
}
_LARGEST = 1e15
"""Bounds of numbers beyond it are none: whole numbers stay exact below."""
_MOST = 10_000
"""Counts beyond it are cut: no answer needs to be that long."""
_VALUES = 20_000
"""How many values one answer may hold."""
_MERGED = ("properties", "$defs", "definitions")


def example(schema: Any, name: str = "answer") -> Any:
    """A value that fits `schema`; `name` is what a text at the top is called.

    Reads `type` (one or several), `enum`, `const`, objects with `properties` and
    `required`, arrays with `items`, `prefixItems`, `minItems` and `uniqueItems`, the bounds of
    numbers and texts, `format`, `anyOf`, `oneOf`, `allOf`, `nullable`, and `$ref` within the
    schema. Not `pattern`, `not` or `if`. Never raises: what it cannot read is a text.
    """
    return _Writer(schema).value(schema, name, 0)


class _Writer:
    """Writes one value; knows the whole schema, which references point into."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _VALUES

    def value(  # noqa: PLR0911 - one return for each type
        self, schema: Any, name: str, depth: int
    ) -> Any:
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if _list(schema, "enum"):
            return schema["enum"][0]
        self._left -= 1
        if depth > 2 * _DEPTH or self._left < 0:  # required all the way down, or far too many
            return None
        match _type(schema, depth):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return int(_number(schema, whole=True))
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _text(schema, name)

    def _plain(self, schema: Any, depth: int) -> dict[str, Any]:
        """The schema with references followed and alternatives chosen."""
        for _ in range(64):  # references to references, and to themselves
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema:
                rest = {key: one for key, one in schema.items() if key != "$ref"}
                schema = _both(self._resolved(schema["$ref"]), rest)
            elif _list(schema, "allOf"):
                parts, rest = schema["allOf"], dict(schema)
                del rest["allOf"]
                for part in parts:
                    rest = _both(rest, self._plain(part, depth))
                schema = rest
            elif _list(schema, "anyOf") or _list(schema, "oneOf"):
                key = "anyOf" if _list(schema, "anyOf") else "oneOf"
                rest = {one: inner for one, inner in schema.items() if one != key}
                schema = _both(rest, self._chosen(schema[key], depth))
            else:
                return schema
        return {}

    def _resolved(self, pointer: Any) -> dict[str, Any]:
        found = self._root
        for step in str(pointer).removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _chosen(self, options: list[Any], depth: int) -> Any:
        """The first alternative that is something; deep down the one that ends soonest."""
        if depth <= _DEPTH:
            return next((one for one in options if not _is_null(one)), options[0])
        for wanted in (_is_null, _is_flat):
            found = next((one for one in options if wanted(one)), None)
            if found is not None:
                return found
        return options[-1]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = _dict(schema, "properties")
        wanted = [one for one in _list(schema, "required") if isinstance(one, str)]
        if not wanted and depth <= _DEPTH:
            wanted = list(properties)
        spare = schema.get("additionalProperties")
        rest = spare if isinstance(spare, dict) else {}
        made = {key: self.value(properties.get(key, rest), key, depth + 1) for key in wanted}
        least = _count(schema.get("minProperties"), 1 if rest and not properties else 0)
        for key in [*properties, *(f"key{n}" for n in range(least))]:
            if len(made) >= least or depth > _DEPTH:
                break
            made.setdefault(key, self.value(properties.get(key, rest), key, depth + 1))
        return made

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        fixed = _list(schema, "prefixItems")
        usual = 0 if depth > _DEPTH else 1
        count = max(_count(schema.get("minItems"), 0), len(fixed) or usual)
        if "maxItems" in schema:
            count = min(count, _count(schema["maxItems"], count))
        unique = schema.get("uniqueItems") is True
        made: list[Any] = []
        for n in range(count):
            item = fixed[n] if n < len(fixed) else schema.get("items")
            plain = self._plain(item, depth + 1)
            if unique and n >= len(fixed):
                made.append(self._another(plain, name, n, depth))
            else:
                made.append(self.value(item, name, depth + 1))
        return made

    def _another(self, schema: dict[str, Any], name: str, n: int, depth: int) -> Any:
        """The nth of values that differ."""
        if _list(schema, "enum"):
            return schema["enum"][n % len(schema["enum"])]
        value = self.value(schema, name, depth + 1)
        if isinstance(value, bool):
            return n == 0
        if isinstance(value, int | float):
            return value + n * (_figure(schema.get("multipleOf")) or 1)
        return f"{value}{n}" if isinstance(value, str) and n else value


def _both(one: dict[str, Any], other: Any) -> dict[str, Any]:
    """Two schemas that must both hold, as one."""
    if not isinstance(other, dict):
        return one
    merged = {**one, **other}
    for key in _MERGED:
        if key in one and key in other:
            merged[key] = {**_dict(one, key), **_dict(other, key)}
    if "required" in one and "required" in other:
        merged["required"] = _list(one, "required") + _list(other, "required")
    return merged


def _list(schema: dict[str, Any], key: str) -> list[Any]:
    """The list that stands there; empty when it is none."""
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _dict(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """The object that stands there; empty when it is none."""
    found = schema.get(key)
    return found if isinstance(found, dict) else {}


def _type(schema: dict[str, Any], depth: int) -> str:
    """The JSON type to write, in small letters."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [str(one).lower() for one in kind]
        if depth > _DEPTH and "null" in kinds:
            return "null"
        return next((one for one in kinds if one != "null"), "null")
    if kind is not None:
        if depth > _DEPTH and schema.get("nullable") is True:
            return "null"
        return str(kind).lower()
    if "properties" in schema or isinstance(schema.get("additionalProperties"), dict):
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and (
        str(schema.get("type")).lower() == "null" or schema.get("const", "") is None
    )


def _is_flat(schema: Any) -> bool:
    return isinstance(schema, dict) and str(schema.get("type")).lower() in (
        "string",
        "number",
        "integer",
        "boolean",
    )


def _count(value: Any, otherwise: int) -> int:
    """A count; Google writes them as text, too."""
    try:
        return max(0, min(int(value), _MOST))
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _figure(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and abs(value) <= _LARGEST else None


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    """A number within the bounds: 7 or 7.5 where they leave it, else the nearest that fits."""
    step: float = abs(_figure(schema.get("multipleOf")) or (1 if whole else 0))
    low, high = _figure(schema.get("minimum")), _figure(schema.get("maximum"))
    above, below = _figure(schema.get("exclusiveMinimum")), _figure(schema.get("exclusiveMaximum"))
    nudge = step or _nudge(low, above, high, below)
    if above is not None and (low is None or above >= low):
        low = above + nudge
    if below is not None and (high is None or below <= high):
        high = below - nudge
    value: float = 7 if whole else 7.5
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high
    if step:
        value = math.floor(value / step) * step
        if low is not None and value < low:
            value = math.ceil(low / step) * step
    return value


def _nudge(
    low: float | None, above: float | None, high: float | None, below: float | None
) -> float:
    """A step off an open bound that stays inside the other one."""
    bottom = max((one for one in (low, above) if one is not None), default=None)
    top = min((one for one in (high, below) if one is not None), default=None)
    return 1 if bottom is None or top is None else min(1, (top - bottom) / 4)


def _text(schema: dict[str, Any], name: str) -> str:
    """A text, with characters beyond ASCII where nothing forbids them."""
    found = _FORMATS.get(str(schema.get("format")))
    if found is not None:
        return found
    text = f"{name} “naïve”"
    least = _count(schema.get("minLength"), 0)
    text = text.ljust(least, "x")
    return text[: max(least, _count(schema.get("maxLength"), len(text)))]
