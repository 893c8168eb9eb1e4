"""What is wrong with a messages request, in Anthropic's words: a path, and what should stand
there ("messages.0.content: Field required")."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from extproc.errors import ClientError, bad_request

Path = tuple[str | int, ...]

_PLACE: Final = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\[(\d+|\.\.\.)\]|\.?([^.\[\]]+)")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_TYPE: Final = re.compile(r"Expected `([^`]*)`, got `[^`]*`")
_RANGE: Final = re.compile(r"Expected `(?:int|float)` (>=|<=) ([-0-9.]+)")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")

NAMES: Final = {
    "str": "Input should be a valid string",
    "int": "Input should be a valid integer",
    "float": "Input should be a valid number",
    "bool": "Input should be a valid boolean",
    "array": "Input should be a valid list",
    "object": "Input should be a valid dictionary",
}
"""By the type that should be there."""
_VALUES: Final = {
    "role": "'user', 'assistant' or 'system'",
    "clear_at": "'next_user_message' or 'never'",
    "thinking.type": "'enabled', 'adaptive', 'disabled' or 'between_tools'",
    "format.type": "'json_schema'",
    "output_format.type": "'json_schema'",
    "effort": "'low', 'medium', 'high', 'xhigh' or 'max'",
    "tool_choice.type": "'auto', 'any', 'tool' or 'none'",
    "service_tier": "'auto' or 'standard_only'",
    "speed": "'standard' or 'fast'",
}
"""Values by the end of the path."""
_MAX_SHOWN: Final = 100
_UNPRINTABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def typed(error: msgspec.ValidationError, tree: dict[str, Any], base: Path = ()) -> ClientError:
    """What msgspec found. `tree` is the body; `base` is where what was decoded stands in it."""
    text = str(error)
    path = base
    if place := _PLACE.search(text):
        path = (*base, *_steps(place[1]))
        text = text[: place.start()]
    if found := _MISSING.fullmatch(text):
        return missing((*path, found[1]), tree)
    return wrong(path, tree, _said(text, path))


def missing(path: Path, tree: dict[str, Any]) -> ClientError:
    """A field that must be there is not."""
    return wrong(path, tree, "Field required")


def wrong(path: Path, tree: dict[str, Any], message: str) -> ClientError:
    """Something else should stand at the path."""
    where = _written(path, tree)
    return bad_request(f"{where}: {message}" if where else message, where or None)


def shown(name: str | None) -> str:
    """The client's own word as it may stand in a message."""
    return _UNPRINTABLE.sub("?", (name or "")[:_MAX_SHOWN])


def _steps(place: str) -> Path:
    return tuple(
        int(index) if index and index != "..." else name or "[key]"
        for index, name in _STEP.findall(place)
    )


def _said(text: str, path: Path) -> str:
    if found := _TYPE.fullmatch(text):
        wanted = [one for one in found[1].split(" | ") if one != "null"]
        first = NAMES.get(wanted[0], "Input should be valid")
        return first if len(wanted) == 1 else f"{first} or {_NOUNS.get(wanted[1], wanted[1])}"
    if found := _RANGE.fullmatch(text):
        how = "greater" if found[1] == ">=" else "less"
        return f"Input should be {how} than or equal to {found[2].removesuffix('.0')}"
    if found := _LENGTH.fullmatch(text):
        if path == ("messages",):
            return "at least one message is required"
        kind = "String" if found[1] == "str" else "List"
        unit = "character" if found[1] == "str" else "item"
        how = "least" if found[2] == ">=" else "most"
        return f"{kind} should have at {how} {found[3]} {unit}" + ("s" if found[3] != "1" else "")
    names = [one for one in path if isinstance(one, str)]
    values = _VALUES.get(".".join(names[-2:])) or _VALUES.get(names[-1] if names else "")
    return f"Input should be {values}" if values else text


_NOUNS: Final = {"array": "list", "object": "dictionary", "str": "string"}


def _written(path: Path, tree: Any) -> str:
    """The path with dots, and with the type of each block and tool behind its place, as Anthropic
    writes it: `messages.0.content.1.image.source.base64.data`."""
    parts: list[str] = []
    before: str | int = ""
    last = len(path) - 1
    for number, step in enumerate(path):
        parts.append(shown(str(step)))
        tree = _inner(tree, step)
        tagged = before in _TAGGED if isinstance(step, int) else step == "source"
        if tagged and isinstance(tree, dict) and number < last and path[number + 1] != "type":
            kind = tree.get("type")
            if isinstance(kind, str):
                parts.append(shown(kind))
            elif before == "tools" and kind is None:
                parts.append("custom")
        before = step
    return ".".join(parts)


_TAGGED: Final = frozenset({"content", "tools", "system"})


def _inner(tree: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return tree[step] if isinstance(tree, list) and step < len(tree) else None
    return tree.get(step) if isinstance(tree, dict) else None
