"""Every target by name."""

from __future__ import annotations

from tests.fuzz import caching, deciding, doors, guarding, parsers
from tests.fuzz.target import Target


def every() -> dict[str, Target]:
    """In the order in which they are run."""
    modules = (parsers, guarding, caching, deciding, doors)
    return {one.name: one for module in modules for one in module.every()}
