"""What msgspec found wrong with a chat request, in OpenAI's words and codes."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from extproc.errors import ClientError, bad_request

_PATH: Final = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_TYPE: Final = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_RANGE: Final = re.compile(r"Expected `(int|float)` (>=|<=) ([-0-9.]+)")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")
_VALUE: Final = re.compile(r"Invalid (?:enum )?value '(.*)'", re.DOTALL)

_MAX_VALUE: Final = 100
"""Characters of the client's own value that a message repeats."""

_NAMES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_SUPPORTED: Final = {
    "role": "'system', 'assistant', 'user', 'function', 'tool', and 'developer'",
    "content.type": "'text', 'image_url', 'input_audio', 'refusal', and 'file'",
    "tools.type": "'function' and 'custom'",
    "tool_calls.type": "'function' and 'custom'",
    "tool_choice": "'none', 'auto', and 'required'",
    "tool_choice.type": "'function', 'custom', and 'allowed_tools'",
    "response_format.type": "'text', 'json_object', and 'json_schema'",
    "modalities": "'text' and 'audio'",
}
"""By the end of the path, indices left out."""


def typed(error: msgspec.ValidationError, tree: dict[str, Any]) -> ClientError:
    """The error with its parameter. `tree` is the body that was refused."""
    text = str(error)
    param = ""
    if place := _PATH.search(text):
        param = place[1].replace("[...]", "").removeprefix(".")
        text = text[: place.start()]
    if found := _MISSING.fullmatch(text):
        return missing(f"{param}.{found[1]}" if param else found[1])
    if found := _TYPE.fullmatch(text):
        return _wrong_type(param, found[1], found[2])
    if found := _RANGE.fullmatch(text):
        return _out_of_range(param, found, tree)
    if found := _LENGTH.fullmatch(text):
        return _wrong_length(param, found)
    if found := _VALUE.fullmatch(text):
        return invalid_value(param, found[1])
    return bad_request(f"Invalid '{param}': {text}", param or None, "invalid_value")


def missing(param: str) -> ClientError:
    """A field that must be there is not."""
    return bad_request(
        f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
    )


def invalid_value(param: str, value: str) -> ClientError:
    """A value that is none of those the API has."""
    names = [one for one in re.sub(r"\[\d+\]", "", param).split(".") if one]
    supported = _SUPPORTED.get(".".join(names[-2:])) or _SUPPORTED.get(names[-1] if names else "")
    shown = value if len(value) <= _MAX_VALUE else value[:_MAX_VALUE] + "…"
    more = f" Supported values are: {supported}." if supported else ""
    return bad_request(f"Invalid value: '{shown}'.{more}", param or None, "invalid_value")


def empty_array(param: str) -> ClientError:
    """An array that must not be empty is."""
    return bad_request(
        f"Invalid '{param}': empty array. Expected an array with minimum length 1, "
        "but got an empty array instead.",
        param,
        "empty_array",
    )


def _wrong_type(param: str, expected: str, got: str) -> ClientError:
    wanted = [_NAMES.get(one, one) for one in expected.split(" | ") if one != "null"]
    what = wanted[0] if len(wanted) == 1 else "one of " + " or ".join(wanted)
    return bad_request(
        f"Invalid type for '{param}': expected {what}, but got {_NAMES.get(got, got)} instead.",
        param or None,
        "invalid_type",
    )


def _out_of_range(param: str, found: re.Match[str], tree: dict[str, Any]) -> ClientError:
    kind = "integer" if found[1] == "int" else "decimal"
    below = found[2] == ">="
    value = tree.get(param)
    got = f", but got {value} instead" if isinstance(value, int | float) else ""
    return bad_request(
        f"Invalid '{param}': {kind} {'below minimum' if below else 'above maximum'} value. "
        f"Expected a value {found[2]} {found[3].removesuffix('.0')}{got}.",
        param,
        f"{kind}_{'below_min' if below else 'above_max'}_value",
    )


def _wrong_length(param: str, found: re.Match[str]) -> ClientError:
    kind, below, bound = found[1], found[2] == ">=", found[3]
    if kind == "array" and below:
        return empty_array(param)
    name = {"str": "string"}.get(kind, kind)
    article = "an" if name[0] in "ao" else "a"
    return bad_request(
        f"Invalid '{param}': {name} too {'short' if below else 'long'}. Expected {article} {name} "
        f"with {'minimum' if below else 'maximum'} length {bound}.",
        param,
        f"{name}_{'below_min' if below else 'above_max'}_length",
    )
