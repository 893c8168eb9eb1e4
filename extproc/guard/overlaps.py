"""Which of several findings about the same characters stays."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from extproc.guard import Finding

_FIRM: Final = frozenset(
    {
        "API_KEY",
        "JWT",
        "PRIVATE_KEY",
        "IBAN_CODE",
        "EMAIL_ADDRESS",
        "MAC_ADDRESS",
        "IP_ADDRESS",
        "URL_CREDENTIALS",
    }
)
"""Types whose form is seldom anything else's."""
_LOOSE: Final = frozenset({"SECRET", "PASSWORD"})
"""Types that a more telling one replaces where both are about the same characters."""


def _weight(one: Finding) -> tuple[int, float, int]:
    if one.type.startswith("CUSTOM:"):
        rank = 3
    elif one.type in _FIRM:
        rank = 2
    else:
        rank = 0 if one.type in _LOOSE else 1
    return rank, one.confidence, one.end - one.start


_SOFT: Final = frozenset({"PERSON", "STREET_ADDRESS", "LOCATION", "DATE_OF_BIRTH"})
"""Types whose ends are told by the words in them, not by a form."""


def better(one: Finding, other: Finding) -> bool:
    """Whether the first of two overlapping findings stays.

    One that holds the other whole stays, so that nothing of it is left to be read. Of two in the
    same place, or that hold a part of each other, the one with the firmer form, then the surer.
    """
    holds = one.start <= other.start and one.end >= other.end
    held = other.start <= one.start and other.end >= one.end
    if holds != held:
        return holds
    return _weight(one) > _weight(other)


_START: Final = attrgetter("start")


def apart(found: Iterable[Finding]) -> list[Finding]:
    """Findings by start, none over another; takes n log n of them.

    Nothing of a form's value is left over: where it lies half over a name or an address, that one
    ends where it begins, and of two forms the one that stays takes the place of both.
    """
    ordered = sorted(found, key=_START)
    kept: list[Finding] = []
    heap: list[Finding] = []
    end = 0
    for one in ordered:
        if one.start >= end:
            kept += heap if len(heap) < 2 else _settled(heap)  # noqa: PLR2004
            heap = [one]
            end = one.end
        else:
            heap.append(one)
            end = max(end, one.end)
    kept += heap if len(heap) < 2 else _settled(heap)  # noqa: PLR2004
    return kept


def _settled(found: Iterable[Finding]) -> list[Finding]:
    """The same for findings that lie over each other."""
    waiting = [(one.start, -one.end, one.type, one.confidence) for one in found]
    heapify(waiting)
    kept: list[Finding] = []
    while waiting:
        start, end, kind, sure = heappop(waiting)
        one = Finding(start, -end, kind, sure)
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
            continue
        first = kept.pop()
        half = first.start < one.start and first.end < one.end
        if half and first.type in _SOFT and one.type not in _SOFT:
            kept.append(replace(first, end=one.start))
            kept.append(one)
        elif half and one.type in _SOFT:
            kept.append(first)
            heappush(waiting, (first.end, -one.end, one.type, one.confidence))
        else:
            kept.append(_joined(first, one))
    return kept


def _joined(first: Finding, one: Finding) -> Finding:
    """What two overlapping findings become."""
    winner, loser = (first, one) if better(first, one) else (one, first)
    start, end = min(first.start, one.start), max(first.end, one.end)
    if winner.type in _LOOSE and loser.type in _FIRM:
        winner = loser
    elif winner.type == "URL_CREDENTIALS":
        return winner  # what is behind the password is a host's name
    return replace(winner, start=start, end=end)
