"""Every target by name."""

from __future__ import annotations

from tests.fuzz import doors, guarding, parsers
from tests.fuzz.target import Target


def every() -> dict[str, Target]:
    """In the order in which they are run."""
    return {one.name: one for one in (*parsers.every(), *guarding.every(), *doors.every())}
