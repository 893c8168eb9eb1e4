from typing import Any

import pytest

from extproc.simulator.openai_schema import strict_fault
from tests.unit.simulator.talk import Talk

FINE: Any = {
    "type": "object",
    "properties": {
        "a": {"type": "string"},
        "b": {"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {
        "leaf": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        }
    },
}


def test_a_closed_schema_is_fine() -> None:
    assert strict_fault(FINE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "array"}, "got 'type: \"array\"'"),
        ({"additionalProperties": True}, "In context=(), 'additionalProperties' is required"),
        ({"required": ["a"]}, "Missing 'b'."),
        ({"required": True}, "True is not of type 'array'"),
        ({"properties": 5}, "5 is not of type 'object'"),
        ({"allOf": []}, "'allOf' is not permitted"),
        (
            {"properties": {"a": {"type": "object"}, "b": {"type": "null"}}},
            "In context=('properties', 'a'), 'additionalProperties'",
        ),
        ({"$defs": {"leaf": {"type": "array"}}}, "In context=('$defs', 'leaf'), array schema"),
    ],
)
def test_faults_are_named_where_they_are(change: dict[str, Any], words: str) -> None:
    fault = strict_fault(FINE | change)
    assert fault is not None
    assert words in fault


async def test_strict_tools_and_formats_are_held_to_it_and_others_not(talk: Talk) -> None:
    open_ = {"type": "object", "properties": {"a": {"type": "string"}}}

    async def status(strict: bool) -> tuple[int, int]:
        tool = {"name": "f", "parameters": open_, "strict": strict}
        form = {"name": "f", "schema": open_, "strict": strict}
        tools = await talk.chat("openai", tools=[{"type": "function", "function": tool}])
        formats = await talk.chat(
            "openai", response_format={"type": "json_schema", "json_schema": form}
        )
        return tools.status, formats.status

    assert await status(strict=True) == (400, 400)
    assert await status(strict=False) == (200, 200)
