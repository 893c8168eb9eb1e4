"""What is wrong with a configuration, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from extproc.config.rule_names import RULES

Path = tuple[str | int, ...]
"""The way from the top of a document to one value: keys and list indices."""


class Severity(StrEnum):
    """An error makes `check` and `render` fail; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. `str()` is one line: `gateway.yaml:12: targets.a.provider: no provider 'x'`.

    `rule` is the name of the check that found it; `line` counts from 1, None where the text
    has no lines to speak of.
    """

    file: str
    line: int | None
    path: str
    message: str
    rule: str
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        """A rule that is not in the table is a mistake of this package. Raises ValueError."""
        if self.rule not in RULES:
            raise ValueError(f"no rule '{self.rule}'")

    def __str__(self) -> str:
        """One line for a terminal."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        kind = "" if self.severity is Severity.ERROR else "warning: "
        path = f"{self.path}: " if self.path else ""
        return f"{where}: {kind}{path}{self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used. `findings` says why, one line each in `str()`."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        super().__init__("\n".join(str(one) for one in self.findings))


def dotted(path: Path) -> str:
    """`("chains", "flagship", 0)` as a person writes it: `chains.flagship[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a message about a name that does not exist: the nearest one, or all of them."""
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.7)
    if near:
        return f"; did you mean '{near[0]}'?"
    if not names:
        return "; there is none"
    return f"; there is {', '.join(sorted(names))}"
