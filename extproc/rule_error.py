"""What is wrong with a rule that somebody has written, and where it stands."""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str | int, ...]
_PLAIN: Final = re.compile(r"[A-Za-z0-9_:., -]{1,80}")


class RuleError(ValueError):
    """A rule that cannot be. `path` is the place in what was given, `message` what is wrong there;
    it repeats no value that is nobody's business."""

    def __init__(self, message: str, path: Path = ()) -> None:
        self.message = message
        self.path = path
        super().__init__(f"{self.place}: {message}" if path else message)

    @property
    def place(self) -> str:
        """The path for people: `limits.user.tokens[1]`."""
        parts = (f"[{one}]" if isinstance(one, int) else f".{shown(one)}" for one in self.path)
        return "".join(parts).removeprefix(".")

    def below(self, path: Path) -> RuleError:
        """The same, seen from further up."""
        return RuleError(self.message, (*path, *self.path))


def shown(name: str) -> str:
    """A name as it may stand in a message: one that could deceive a terminal in quotes."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def quoted(name: str) -> str:
    """A name in quotes, cut off."""
    return repr(name[:80])
