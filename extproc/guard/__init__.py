"""The guard's room: personal data and secrets are found in texts before they leave.

A detector is asked for what a text holds; what is done about it is for others to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a text that should not leave."""

    start: int
    """Its first character in the text as given."""
    end: int
    """Behind its last character; greater than `start`."""
    type: str
    """Upper case: `EMAIL_ADDRESS`, `CREDIT_CARD`, …; `CUSTOM:name` for own patterns and words."""
    confidence: float
    """From 0 to 1: how sure it is that this is what it seems."""


class Detector(Protocol):
    """Finds personal data and secrets."""

    def find(self, text: str) -> list[Finding]:
        """What a text holds, by `start`, not overlapping.

        Takes time linear in the text's length and never raises.
        """
        ...
