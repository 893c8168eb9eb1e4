"""What msgspec found wrong with a body, as facts that each provider puts into its own words."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

Path = tuple[str | int, ...]

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"`([^`]*)`")
_GOT = re.compile(r"^Expected `(?P<expected>[^`]*)`(?:, got `(?P<got>[^`]*)`)?$")

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong. `kind`: `json`, `unknown`, `missing`, `type`, `value` or `range`.

    `path` leads to the field at fault, its name included. `expected` and `got` are JSON type
    names as msgspec writes them (`float`, `str`, `array`, `object`, `null`, joined by ` | `);
    for `value` and `range`, `expected` is the rule in words.
    """

    kind: str
    path: Path
    expected: str = ""
    got: str = ""


class InvalidError(Exception):
    """A body that does not fit."""

    def __init__(self, problem: Problem, document: Any = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.document = document


def path_of(text: str) -> Path:
    """`.messages[0].role` → ("messages", 0, "role"). A mapping's value is the step `*`."""
    steps: list[str | int] = []
    for name, index in _STEP.findall(text):
        if name:
            steps.append(name)
        else:
            steps.append("*" if index == "..." else int(index))
    return tuple(steps)


def read(error: msgspec.DecodeError) -> Problem:
    """The problem that msgspec's message tells of."""
    if not isinstance(error, msgspec.ValidationError):
        return Problem("json", (), got=str(error))
    found = _AT.match(str(error))
    what = str(error)
    path: Path = ()
    if found is not None:
        what, path = found["what"], path_of(found["path"] or "")
    if what.startswith(("Object contains unknown field", "Object missing required field")):
        names = _FIELD.findall(what)
        kind = "unknown" if "unknown" in what else "missing"
        return Problem(kind, (*path, names[0]))
    types = _GOT.match(what)
    if types is not None:
        return Problem("type", path, types["expected"], types["got"] or "")
    if what.startswith("Expected"):
        return Problem("range", path, what.removeprefix("Expected ").replace("`", ""))
    return Problem("value", path, got=what.partition(" value ")[2].strip("'\"` "))


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode. Raises InvalidError with the document, if it is JSON at all."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        problem = read(error)
    except UnicodeDecodeError as error:
        problem = Problem("json", (), got=str(error))
    except RecursionError:
        problem = Problem("json", (), got="nested too deeply")
    try:
        raise InvalidError(problem, None if problem.kind == "json" else msgspec.json.decode(body))
    except msgspec.DecodeError as error:  # what follows the fault is worse than the fault
        problem = Problem("json", (), got=str(error))
    except RecursionError:
        problem = Problem("json", (), got="nested too deeply")
    raise InvalidError(problem)


def convert(value: Any, kind: type[T], prefix: Path) -> T:
    """Convert a decoded value. Raises InvalidError with `prefix` before the path."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = read(error)
    moved = Problem(found.kind, (*prefix, *found.path), found.expected, found.got)
    raise InvalidError(moved, None)


def value_at(document: Any, path: Path) -> Any:
    """What stands at the path, or None."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document
