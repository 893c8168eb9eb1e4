from typing import Any

import pytest

from extproc.dialects.gemini.schema import openapi, plain, unenforced

CITY = {"type": "object", "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (CITY, CITY),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"const": None}, {"const": None}),
        (
            {"$ref": "#/definitions/A", "description": "x"},
            {"$ref": "#/$defs/A"},
        ),
        (
            {"items": {"const": 1}, "definitions": {"A": {"const": "b"}}},
            {"items": {"enum": [1]}, "$defs": {"A": {"enum": ["b"]}}},
        ),
        ({"allOf": [{"$ref": "#/$defs/A"}], "default": 1}, {"$ref": "#/$defs/A"}),
        ({"allOf": [CITY], "title": "x"}, {"title": "x", **CITY}),
        ({"anyOf": [{"const": "a"}, True]}, {"anyOf": [{"enum": ["a"]}, True]}),
        (
            {"properties": {"const": {"type": "string"}}},
            {"properties": {"const": {"type": "string"}}},
        ),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}),
    ],
)
def test_plain(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert plain(given) == expected


def test_a_bottomless_schema_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(ValueError, match="json_schema: nested too deeply"):
        plain(deep)


def test_unenforced() -> None:
    schema = {
        "$schema": "x",
        "properties": {"a": {"pattern": "x", "default": 1}, "pattern": {"minLength": 1}},
        "anyOf": [{"not": {}}],
        "items": {"uniqueItems": True},
    }
    assert sorted(unenforced(schema)) == ["minLength", "not", "pattern", "uniqueItems"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer", "$comment": "x"}}},
            {"type": "integer"},
        ),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (
            {"anyOf": [{"type": "number"}, {"type": "null"}], "title": "x"},
            {"type": "number", "nullable": True, "title": "x"},
        ),
        (
            {"oneOf": [{"type": "number"}, CITY]},
            {"anyOf": [{"type": "number"}, CITY]},
        ),
        ({"enum": [1, "a"], "type": "integer"}, {"enum": ["1", "a"], "type": "string"}),
        (
            {"type": "array", "items": {"type": "object", "additionalProperties": False}},
            {"type": "array", "items": {"type": "object"}},
        ),
    ],
)
def test_openapi(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert openapi(given) == expected


@pytest.mark.parametrize("ref", ["#/$defs/B", "#", "other.json"])
def test_a_reference_to_nothing_or_itself_is_refused(ref: str) -> None:
    with pytest.raises(ValueError, match="cannot be replaced"):
        openapi({"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": ref}}}})
