"""A JSON document, the places in it that may change, and new values written into them.

Only tokens that change are written; every other byte stays: numbers, escapes, spaces and the order
of keys are as they came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

Write = Callable[[Sequence[str]], str]
"""Makes the string of a place of the values of all texts."""

# Possessive: a string of ten million escapes takes no memory to match.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NUMBER: Final = re.compile(rb"-?[0-9][0-9.eE+-]*+")


class UnreadableError(ValueError):
    """No JSON, or JSON that can be read in more than one way. The text holds nothing of it."""


class TooManyError(UnreadableError):
    """More texts than are kept of a body."""


class Spot(Struct, frozen=True, gc=False):
    """A token that may change."""

    string: int
    """Which string token of the document it is, from 0, keys counted; of a number, the last one
    before it (-1: none)."""
    number: int
    """Which number token behind that string, from 1; 0: it is the string itself."""
    first: int
    """The first of its texts."""
    last: int
    """Behind the last of its texts."""
    write: Write | None = None
    """None: its one text's value is the string."""
    beside: Mapping[str, Any] | None = None
    """Of a key: the object it stands in, whose keys must stay different."""


class Document(Struct, frozen=True, gc=False):
    """JSON, and its spots in their order."""

    data: bytes
    spots: Sequence[Spot]

    def written(self, values: Sequence[str], changed: Sequence[int]) -> bytes:
        """With the values of all texts; `changed` are the indexes of those that are other than
        they were, ascending. The very same bytes if none of them is of this document."""
        spots = _touched(self.spots, changed)
        if not spots:
            return self.data
        names = _Names()
        out: list[bytes] = []
        at = 0
        for spot, start, end in _located(self.data, spots):
            value = values[spot.first] if spot.write is None else spot.write(values)
            if spot.beside is not None:
                value = names.fresh(value, spot.beside)
            out += (self.data[at:start], encoded(value))
            at = end
        out.append(self.data[at:])
        return b"".join(out)


def encoded(value: Any) -> bytes:
    """JSON; halves of characters as escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def decoded(data: bytes) -> Any:
    """The document as a tree. Raises UnreadableError."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    # Servers have been seen to write NaN, and halves of characters, which do not matter here.
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise UnreadableError("not JSON") from None


def strings(data: bytes) -> int:
    """How many string tokens a valid document has. Linear, without looking at each."""
    if b"\\" in data:
        if b"\\\\" in data:
            data = data.replace(b"\\\\", b"")
        return (data.count(b'"') - data.count(b'\\"')) // 2
    return data.count(b'"') // 2


def _touched(spots: Sequence[Spot], changed: Sequence[int]) -> list[Spot]:
    """Spots with a changed text. Both are in the order of the document."""
    found: list[Spot] = []
    indexes = iter(changed)
    index = next(indexes, None)
    for spot in spots:
        while index is not None and index < spot.first:
            index = next(indexes, None)
        if index is None:
            break
        if index < spot.last:
            found.append(spot)
    return found


def _located(data: bytes, spots: Sequence[Spot]) -> Iterator[tuple[Spot, int, int]]:
    """Where each spot's token begins and ends. One pass."""
    tokens = _STRING.finditer(data)
    string, number, start, end = -1, 0, 0, 0
    for spot in spots:
        while string < spot.string:
            start, end = next(tokens).span()
            string += 1
            number = 0
        while number < spot.number:
            match = _NUMBER.search(data, end)
            assert match is not None  # noqa: S101 - it was counted when the document was read
            start, end = match.span()
            number += 1
        yield spot, start, end


class _Names:
    """Keys of an object stay different when some of them change."""

    def __init__(self) -> None:
        self._taken: dict[int, set[str]] = {}
        self._last: dict[tuple[int, str], int] = {}

    def fresh(self, key: str, beside: Mapping[str, Any]) -> str:
        one = id(beside)
        taken = self._taken.get(one)
        if taken is None:
            taken = self._taken[one] = set(beside)
        name, number = key, self._last.get((one, key), 1)
        while name in taken:
            number += 1
            name = f"{key}_{number}"
        self._last[one, key] = number
        taken.add(name)
        return name
