from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.simulator.schema_json import example


def fits(value: Any, schema: Any, root: Any) -> bool:  # noqa: PLR0911 - one return a type
    """Whether the value fits: a checker of its own, for the words used below."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, one, root) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    match schema["type"]:
        case "object":
            properties = schema["properties"]
            return (
                isinstance(value, dict)
                and set(schema["required"]) <= set(value) <= set(properties)
                and all(fits(one, properties[name], root) for name, one in value.items())
            )
        case "array":
            return (
                isinstance(value, list)
                and schema["minItems"] <= len(value)
                and all(fits(one, schema["items"], root) for one in value)
            )
        case "integer" | "number" as kind:
            whole = isinstance(value, int) and not isinstance(value, bool)
            number = whole or (kind == "number" and isinstance(value, float))
            return number and schema["minimum"] <= value <= schema["maximum"]
        case "string":
            return (
                isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
            )
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


def bounds(kind: str, low: str, high: str) -> st.SearchStrategy[dict[str, Any]]:
    least = 0 if kind == "string" else -50
    pairs = st.tuples(st.integers(least, 50), st.integers(0, 50))
    return pairs.map(lambda two: {"type": kind, low: two[0], high: two[0] + two[1]})


LEAVES = st.one_of(
    bounds("integer", "minimum", "maximum"),
    bounds("number", "minimum", "maximum"),
    bounds("string", "minLength", "maxLength"),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"enum": ["a", 2]}]),
    st.just({"$ref": "#/$defs/tree"}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from("abc"), inner, min_size=1)
    return st.one_of(
        named.map(lambda one: {"type": "object", "properties": one, "required": sorted(one)[:1]}),
        st.tuples(inner, st.integers(0, 3)).map(
            lambda two: {"type": "array", "items": two[0], "minItems": two[1]}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda one: {"anyOf": one}),
    )


TREE = {
    "type": "object",
    "properties": {
        "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "minItems": 0},
    },
    "required": ["left", "leaves"],
}


@given(st.recursive(LEAVES, _objects, max_leaves=8))
def test_a_value_fits_its_schema(schema: dict[str, Any]) -> None:
    root = {**schema, "$defs": {"tree": TREE}}
    assert fits(example(root), schema, root)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": [1]}, [1]),
        ({"type": ["null", "integer"]}, 7),
        ({"type": "STRING", "format": "date"}, "2026-10-21"),
        ({"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": "2"}, [True, True]),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True},
            [7, 8],
        ),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        ({"type": "number", "exclusiveMinimum": 7.5, "maximum": 8}, 7.625),
        ({"type": "integer", "exclusiveMinimum": 9}, 10),
        ({"type": "integer", "minimum": 8, "multipleOf": 5}, 10),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"key0": 7}),
        ({"$ref": "#"}, "answer “naïve”"),
        (True, "answer “naïve”"),
    ],
)
def test_words_of_schemas(schema: Any, value: Any) -> None:
    assert example(schema) == value


WORDS = st.sampled_from(
    [
        "type", "properties", "required", "items", "prefixItems", "minItems", "maxItems", "anyOf",
        "allOf", "$ref", "$defs", "enum", "const", "minimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "format", "uniqueItems", "additionalProperties", "nullable",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["object", "array", "number", "string", "#", "#/$defs/x", "date"]),
)


@given(
    st.recursive(
        SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(WORDS, one, max_size=5)
    )
)
def test_anything_may_be_a_schema(schema: Any) -> None:
    example(schema)


def test_a_schema_of_far_too_much() -> None:
    schema: Any = {"type": "integer"}
    for _ in range(8):
        schema = {"type": "array", "items": schema, "minItems": 10**6}
    assert len(str(example(schema))) < 10**6


def test_a_schema_that_never_ends() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert "a" in example(schema)
