"""What the levels are told of room that is leased: the header between the filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALL: Final = "*"
"""In the target's place: every level has room, for the route only observes."""
_PARTS: Final = 4
_MOST_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Lease:
    """Who settles a request, its (input, output) tokens, and where it has room."""

    owner: str
    tokens: tuple[int, int]
    target: str | None = None
    all: bool = False

    def __str__(self) -> str:
        """`OWNER;INPUT;OUTPUT;TARGET`."""
        where = ALL if self.all else self.target or ""
        return f"{self.owner};{self.tokens[0]};{self.tokens[1]};{where}"

    @classmethod
    def read(cls, text: str | None) -> Lease | None:
        """What a header says; None if there is none or it was not written by this."""
        parts = (text or "").split(";", _PARTS - 1)
        if len(parts) < _PARTS or not parts[0]:
            return None
        owner, read, written, target = parts
        if not (_number(read) and _number(written)):
            return None
        return cls(owner, (int(read), int(written)), target or None, target == ALL)

    def covers(self, target: str) -> bool:
        """Whether this target need not be asked for room."""
        return self.all or self.target == target


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
