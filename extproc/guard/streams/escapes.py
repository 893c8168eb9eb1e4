"""JSON as it is written, and what it says: a detector reads the one, the other goes out."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u]",
    re.DOTALL,
)
_SIGNS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PAIR: Final = 12
"""Characters of two escapes that are one character (RFC 8259, section 7)."""


class Plain:
    """What a piece of JSON's text says, an escape being one character; `at` leads back.

    Quotes and braces stay what they are. An escape that is cut off is none.
    """

    __slots__ = ("_ends", "_places", "_starts", "text")

    def __init__(self, raw: str) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._places: list[int] = []  # of each escape in the plain text
        out: list[str] = []
        at = size = 0
        for match in _ESCAPE.finditer(raw) if "\\" in raw else ():
            out += (raw[at : match.start()], _said(match[0]))
            size += match.start() - at
            at = match.end()
            self._starts.append(match.start())
            self._ends.append(at)
            self._places.append(size)
            size += 1
        self.text: str = "".join((*out, raw[at:])) if out else raw

    def at(self, place: int) -> int:
        """Where in the raw text the character is that is at `place` in the plain one."""
        number = bisect_left(self._places, place)
        if not number:
            return place
        return self._ends[number - 1] + place - self._places[number - 1] - 1

    def apart(self, cut: int) -> int:
        """`cut`, a place in the raw text, or the beginning of the escape that it would divide."""
        number = bisect_left(self._starts, cut)
        if number and cut < self._ends[number - 1]:
            return self._starts[number - 1]
        return cut


def _said(escape: str) -> str:
    if escape[1] != "u":
        return _SIGNS.get(escape[1], escape[1])
    if len(escape) == _PAIR:
        high, low = int(escape[2:6], 16), int(escape[8:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    sign = chr(int(escape.removeprefix("\\u"), base=16))
    return "\ufffd" if "\ud800" <= sign <= "\udfff" else sign
