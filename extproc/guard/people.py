"""What tells who somebody is without having a form of its own: names, addresses, dates of birth."""

from __future__ import annotations

from extproc.guard import Finding
from extproc.guard.births import births
from extproc.guard.persons import persons
from extproc.guard.postal import addresses
from extproc.guard.triggers import triggers


def people(text: str, said: frozenset[str] | None = None) -> list[Finding]:
    """PERSON, STREET_ADDRESS and DATE_OF_BIRTH in `text`, by start, not overlapping.

    `said` are the triggers in it, where they are known. Linear in the length of `text`. The first
    call reads the lists of names (some 30 ms).
    """
    if said is None:
        said = triggers(text.lower())
    found = [*addresses(text, said), *births(text, said), *persons(text, said)]
    found.sort(key=lambda one: (one.start, -one.end))
    out: list[Finding] = []
    for one in found:
        if not out or one.start >= out[-1].end:
            out.append(one)
    return out
