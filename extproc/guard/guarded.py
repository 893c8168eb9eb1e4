"""What the guard knows of one request and its answer, and what it does about a finding."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from extproc.guard import Finding, Kind, Scan, Text
from extproc.guard.placeholders import EXACT, Action, Mapping
from extproc.guard.rules import Rules
from extproc.policy import GuardAction
from extproc.records import GuardDirection

Found = list[list[Finding]]
Counts = Counter[tuple[str, str, str]]
"""Findings by type, what was done (`GuardDone`) and where (`GuardDirection`)."""

UNSEEN: Final = "_UNGUARDED"
"""Counted as a finding where a detector was away and the route went on without it."""

_REPLACING: Final[dict[GuardAction, Action]] = {"redact": "redact", "mask": "mask", "hash": "hash"}


@dataclass(frozen=True, slots=True)
class Watch:
    """What a route wants, ready to be used."""

    rules: Rules
    scan: Scan


@dataclass(slots=True)
class Guarded:
    """One request and its answer. Neither `repr` nor an error shows a value."""

    watch: Watch
    body: bytes = field(repr=False)
    """What may go up."""
    counts: Counts = field(default_factory=Counter)
    mapping: Mapping = field(default_factory=Mapping)
    """What was replaced and may come back; empty where nothing is to be restored."""
    reviewed: bytes | None = field(default=None, repr=False)
    """A whole answer as it was looked through, before values were put back."""
    unguarded: bool = False
    """A detector was away, and the route goes on with what the others find."""

    @property
    def rules(self) -> Rules:
        """What the route wants."""
        return self.watch.rules

    def passed_unseen(self, direction: GuardDirection) -> None:
        """Something went by that a detector should have seen."""
        self.unguarded = True
        self.counts[UNSEEN, "flag", direction] += 1

    @property
    def reads_answers(self) -> bool:
        """Something is to be done about the answer."""
        return bool(self.mapping) or self.rules.response

    @property
    def reviews(self) -> bool:
        """What the model says is looked through, and may be changed."""
        return self.rules.response and self.rules.enforce


def replacing(action: GuardAction) -> Action | None:
    """How an action replaces what was found; None: it does not."""
    return _REPLACING.get(action)


def deed(rules: Rules, text: Text, type_: str) -> GuardAction:
    """What is done about a finding in this text. What may not be changed is flagged: signed
    thinking, and secrets in what the provider fetches and calls others with."""
    action = rules.action(type_)
    if action not in _REPLACING or text.kind is Kind.TEXT or text.kind is Kind.JSON:
        return action
    if text.kind is Kind.THINKING or type_ in EXACT:
        return "flag"
    return action
