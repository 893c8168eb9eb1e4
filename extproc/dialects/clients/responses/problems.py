"""What is wrong with a responses request, in OpenAI's words, with the place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from extproc.dialects.chat import problems
from extproc.dialects.clients.responses.items import Item, Part
from extproc.errors import ClientError, bad_request

if TYPE_CHECKING:
    from extproc.dialects.clients.responses.request import Choice

ROLES: Final = ("assistant", "system", "developer", "user")
_PARTS: Final = (
    "'input_text', 'input_image', 'input_file', 'input_audio', 'output_text', 'refusal', "
    "'summary_text', 'reasoning_text', and 'computer_screenshot'"
)
_FORMATS: Final = "'text', 'json_object', and 'json_schema'"
_MAX_VALUE: Final = 100
_TEXTS: Final = {
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id",),
}
"""Fields that an item of a type must have, as strings."""


_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def typed(error: msgspec.ValidationError, tree: dict[str, Any]) -> ClientError:
    """The error with its parameter. `tree` is the body that was refused."""
    place, found = "", error
    if "`$.input[" in str(error):
        place, found = _item(error, tree.get("input"))
    return _said(found, place, tree)


def within(error: msgspec.ValidationError, name: str, tree: dict[str, Any]) -> ClientError:
    """The same for a field that was read by itself."""
    return _said(error, name, tree)


def _item(error: msgspec.ValidationError, items: Any) -> tuple[str, msgspec.ValidationError]:
    """The item, or the part of its content, that is wrong: msgspec tells no index."""
    for index, item in enumerate(items if isinstance(items, list) else ()):
        place = f"input[{index}]"
        try:
            msgspec.convert(item, Item)
        except msgspec.ValidationError as found:
            return _content(found, item, place)
    return "", error


def _content(
    error: msgspec.ValidationError, item: Any, place: str
) -> tuple[str, msgspec.ValidationError]:
    for name in ("content", "summary"):
        parts = item.get(name) if isinstance(item, dict) else None
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            try:
                msgspec.convert(part, Part)
            except msgspec.ValidationError as found:
                return f"{place}.{name}[{index}]", found
    return place, error


def _said(error: msgspec.ValidationError, place: str, tree: dict[str, Any]) -> ClientError:
    text = str(error)
    if place:
        text = (
            text.replace(" - at `$", f" - at `$.{place}")
            if " - at `$" in text
            else f"{text} - at `$.{place}`"
        )
    if text.startswith("Invalid value '") and text.endswith(".type`"):
        value, _, path = text[len("Invalid value '") :].rpartition("' - at `$.")
        path = path.removesuffix("`").replace("[...]", "")
        return unsupported(path, value, _FORMATS if path.endswith("format.type") else _PARTS)
    return problems.typed(msgspec.ValidationError(text), tree)


def unsupported(param: str, value: str, supported: str) -> ClientError:
    """A value that is none of those the API has."""
    shown = value if len(value) <= _MAX_VALUE else value[:_MAX_VALUE] + "…"
    return bad_request(
        f"Invalid value: '{shown}'. Supported values are: {supported}.", param, "invalid_value"
    )


def check_item(item: Item, index: int) -> None:
    """The item at `index` has what its type must have. Raises ClientError (400)."""
    kind = item.type or item.kind()
    if kind == "message":
        if item.role not in ROLES or item.content is None:
            raise _no_message(item, f"input[{index}]")
        return
    place = f"input[{index}]"
    if kind is None:
        raise problems.missing(f"{place}.type")
    if kind == "item_reference" and item.id is None:
        raise problems.missing(f"{place}.id")
    for name in _TEXTS.get(kind, ()):
        value = getattr(item, name)
        if value is None:
            raise problems.missing(f"{place}.{name}")
        if not isinstance(value, str):
            raise wrong_type(f"{place}.{name}", "a string", value)
    if kind in _RESULTS:
        _check_output(item.output, f"{place}.output")


def _no_message(item: Item, place: str) -> ClientError:
    if item.role is None:
        return problems.missing(f"{place}.role")
    if item.role not in ROLES:
        supported = "'assistant', 'system', 'developer', and 'user'"
        return unsupported(f"{place}.role", item.role, supported)
    return problems.missing(f"{place}.content")


def _check_output(output: Any, place: str) -> None:
    if output is None:
        raise problems.missing(place)
    if isinstance(output, str):
        return
    if not isinstance(output, list):
        raise wrong_type(place, "one of a string or array", output)
    for index, part in enumerate(output):
        try:
            msgspec.convert(part, Part)
        except msgspec.ValidationError as error:
            raise _said(error, f"{place}[{index}]", {}) from None


def wrong_type(param: str, expected: str, value: Any) -> ClientError:
    """A value of another type than it should have."""
    got = _NAMES.get(type(value), "an object")
    return bad_request(
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.",
        param,
        "invalid_type",
    )


_NAMES: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
    list: "an array",
}


def named(choice: str | Choice | None) -> list[tuple[str, str]]:
    """Type and name of the tools that a tool choice names."""
    if choice is None or isinstance(choice, str):
        return []
    every = choice.tools or () if choice.type == "allowed_tools" else (choice,)
    return [(one.type, one.name) for one in every if one.type in CALLED and one.name is not None]


CALLED: Final = frozenset({"function", "custom"})
"""Types of tools that the client runs."""
