"""The detector that needs no model: forms, check digits, prefixes, words around, lists of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from extproc.guard import Finding
from extproc.guard.context import Context
from extproc.guard.custom import Custom, compiled
from extproc.guard.names import shipped
from extproc.guard.normal import Folding, beside_odd
from extproc.guard.overlaps import apart
from extproc.guard.patterns import patterns
from extproc.guard.people import people
from extproc.guard.phones import USUAL
from extproc.guard.plans import plan
from extproc.guard.secrets import secrets
from extproc.guard.triggers import LONGEST, triggers

LEAST: Final = 0.5
"""Confidence below which a finding is none, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class DetectorPolicy:
    """What a route wants to have found."""

    types: frozenset[str] | None = None
    """Only these, or all that there are; own patterns are always looked for."""
    least: float = LEAST
    """Confidence that a finding needs, from 0 to 1."""
    least_of: Mapping[str, float] = field(default_factory=dict)
    """The same for single types."""
    allow: Sequence[str] = ()
    """Values that are none, whatever the case: a company's own address and telephone."""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Own patterns (RE2) by name."""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Own lists of words by name."""
    named: frozenset[str] = frozenset()
    """Types that the route names. Another detector's `LOCATION`, `DATE_TIME` and the like are
    findings only then; this one has none of them."""


class DefaultDetector:
    """Finds what a policy wants. May be used by several threads."""

    def __init__(self, policy: DetectorPolicy | None = None) -> None:
        """Compile what the policy says, and read the lists of names and the usual numbering plans
        (150 ms the first time), so that no request waits for them. Raises PatternError."""
        self._policy = policy or DetectorPolicy()
        shipped()
        for code in USUAL:
            plan(code)
        self._folding = Folding()
        self._context = Context(self._folding)
        self._custom: Custom = compiled(self._policy.patterns, self._policy.words, self._folding)
        self._allow = frozenset(self._plain(one) for one in self._policy.allow)
        self._plainly = not self._policy.least_of and self._policy.types is None and not self._allow

    def find(self, text: str) -> list[Finding]:
        """What a text holds, by `start`, not overlapping; linear in its length, never raises."""
        normal = self._folding.fold(text)
        said = triggers(normal.lower)
        found = [
            *patterns(normal, self._context, said),
            *secrets(normal, self._context, said),
            *self._custom.find(normal),
        ]
        if normal.text is not text:
            found = normal.placed(found)
            said |= triggers(beside_odd(text, LONGEST).lower())
        found += people(text, said)
        return apart([one for one in found if self._wanted(text, one)])

    def _wanted(self, text: str, one: Finding) -> bool:
        policy = self._policy
        if self._plainly:
            return one.confidence >= policy.least
        if one.confidence < policy.least_of.get(one.type, policy.least):
            return False
        if policy.types is not None and one.type not in policy.types and ":" not in one.type:
            return False
        return not self._allow or self._plain(text[one.start : one.end]) not in self._allow

    def _plain(self, value: str) -> str:
        return "".join(self._folding.fold(value).lower.split())
