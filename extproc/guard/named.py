"""Texts that stand in a field whose name tells what they are: `{"password": "Tr0ub4dor"}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from extproc.guard import Detector, Finding, Text
from extproc.guard.overlaps import apart

LONGEST_NAME: Final = 64
"""Characters of a name that are read, its last ones: what is longer is a sentence."""
REACH: Final = 512
"""Characters of the value that its field's name tells anything of."""
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a word begins in `dateOfBirth` and `IPAddress`."""
_JOINT: Final = re.compile(r"[\s_\-.:/]+")
_SECRET: Final = re.compile(
    r"pass|pwd|secret|token|key|auth|credential|kennwort|contrase|密码|\bpin\b", re.IGNORECASE
)
"""Names whose values are told from words by the quotation marks around them."""
_WHOLE: Final = frozenset({"PASSWORD"})
"""Types that are all of what such a field holds."""
_CALL: Final = 100
"""As how many characters it takes to begin with a text."""
_LINE: Final = 64
"""Characters of the longest passphrase. What is longer and has spaces is about passwords."""


def findings(detector: Detector, text: Text) -> list[Finding]:
    """What is in a text, its field's name taken into account; by start, not overlapping."""
    found = detector.find(text.value)
    if not text.under or not text.value:
        return found
    return apart([*found, *_told(detector, text.value, text.under)])


def cost(text: Text) -> int:
    """As how many characters a text takes to look through."""
    size = len(text.value) + _CALL
    return size + 2 * (min(len(text.value), REACH) + _CALL) if text.under else size


def _told(detector: Detector, value: str, under: str) -> Iterator[Finding]:
    """What is found only because of the name."""
    head = value[:REACH]
    for lead in _leads(under[-LONGEST_NAME:]):
        for one in shifted(detector.find(lead + head), len(lead), len(head)):
            if one.end == REACH < len(value):
                continue  # cut off: what it is shows in the whole text
            if one.type not in _WHOLE:
                yield one
            elif len(value) <= _LINE or len(value.split()) == 1:
                yield replace(one, start=0, end=len(value))


def _leads(under: str) -> Iterator[str]:
    """What could stand in front of the value, were it written by a person or as code."""
    split = _HUMP.sub("_", under)
    yield f"{_JOINT.sub(' ', split).strip()}: "
    if _SECRET.search(split) is not None:
        yield f'{_JOINT.sub("_", split).strip("_").lower()}: "'


def shifted(found: Iterable[Finding], lead: int, size: int) -> Iterator[Finding]:
    """Findings of `lead` characters and a text of `size` behind them, as places of the text."""
    for one in found:
        start, end = max(0, one.start - lead), min(size, one.end - lead)
        if end > start:
            yield replace(one, start=start, end=end)
