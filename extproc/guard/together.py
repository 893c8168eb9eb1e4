"""Findings of another detector beside those of the default one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from extproc.guard import Finding, GuardError, PartialError, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.local import Threads
from extproc.guard.normal import Folding
from extproc.guard.overlaps import apart
from extproc.guard.remembered import Look

NAMED: Final = frozenset(
    {
        "AGE",
        "DATE_TIME",
        "ID",
        "LOCATION",
        "NRP",
        "ORGANIZATION",
        "TITLE",
        "URL",
        "UUID",
        "ZIP_CODE",
    }
)
"""Types that a route gets only by naming them: alone they tell of nobody, and texts are full of
them."""
_SOFT: Final = frozenset({"PERSON", "STREET_ADDRESS", "LOCATION", "ORGANIZATION", "NRP"})
"""Types of the default detector whose ends another detector may know better."""
JOINING: Final = 4
"""How much faster findings are united than found."""
ALIASES: Final = {
    "ADDRESS": "STREET_ADDRESS",
    "DATE": "DATE_TIME",
    "EMAIL": "EMAIL_ADDRESS",
    "GPE": "LOCATION",
    "IBAN": "IBAN_CODE",
    "IP": "IP_ADDRESS",
    "LOC": "LOCATION",
    "NAME": "PERSON",
    "ORG": "ORGANIZATION",
    "PER": "PERSON",
    "PHONE": "PHONE_NUMBER",
    "SSN": "US_SSN",
}
"""What models call the types that have another name here."""
_SHORTEST: Final = 2
"""Letters and digits of what is left of a finding that has lost a part."""


class Both:
    """Looks with the default detector and with another, as one route wants it."""

    def __init__(self, ours: Look, others: Look, policy: DetectorPolicy, threads: Threads) -> None:
        self._ours = ours
        self._others = others
        self._wanted = Wanted(policy)
        self._threads = threads

    async def __call__(self, texts: Sequence[Text]) -> list[list[Finding]]:
        """For each text the findings of both. Raises PartialError with ours alone."""
        # One after the other: the second takes so much longer that nothing is gained by both.
        ours = await self._ours(texts)
        try:
            others = await self._others(texts)
        except GuardError as error:
            raise PartialError(error, ours) from error
        size = sum(len(one.value) for one in texts) // JOINING
        return await self._threads.work(size, lambda: self._all(texts, ours, others))

    def _all(
        self,
        texts: Sequence[Text],
        ours: Sequence[Sequence[Finding]],
        others: Sequence[Sequence[Finding]],
    ) -> list[list[Finding]]:
        return [
            united(text.value, own, self._wanted.of(text.value, other))
            for text, own, other in zip(texts, ours, others, strict=True)
        ]


def encodable(text: str) -> str:
    """A text that UTF-8 can carry, of the same number of characters: lone surrogates become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Wanted:
    """What a route wants of another detector's findings."""

    def __init__(self, policy: DetectorPolicy) -> None:
        self._policy = policy
        self._folding = Folding()
        self._allow = frozenset(map(self._plain, policy.allow))

    def of(self, text: str, found: Iterable[Finding]) -> list[Finding]:
        """Those of them."""
        return [one for one in found if self._is(text, one)]

    def _is(self, text: str, one: Finding) -> bool:
        policy = self._policy
        if one.confidence < policy.least_of.get(one.type, policy.least):
            return False
        types = policy.types
        if one.type in NAMED and one.type not in policy.named:
            return types is not None and one.type in types and self._meant(text, one)
        return (types is None or one.type in types) and self._meant(text, one)

    def _meant(self, text: str, one: Finding) -> bool:
        return not self._allow or self._plain(text[one.start : one.end]) not in self._allow

    def _plain(self, value: str) -> str:
        return "".join(self._folding.fold(value).lower.split())


def united(text: str, ours: Sequence[Finding], others: Iterable[Finding]) -> list[Finding]:
    """Findings of both by `start`, not overlapping. `ours`: of the default detector, likewise.

    Where ours has a form and is no less sure, it stays as it is, and the other one keeps what is
    beside it. Nothing that either has found is left over.
    """
    more = [piece for one in others for piece in _beside(text, one, ours)]
    return apart([*ours, *more]) if more else list(ours)


def _beside(text: str, one: Finding, ours: Sequence[Finding]) -> Iterator[Finding]:
    """The parts of a finding that are not surely something else."""
    start = one.start
    first = max(0, bisect_right(ours, one.start, key=lambda own: own.start) - 1)
    whole = True
    for own in ours[first:]:
        if own.start >= one.end:
            break
        if own.end <= start or own.type == one.type or own.type in _SOFT:
            continue
        if own.confidence < one.confidence:
            continue
        whole = False
        yield from _trimmed(text, one, start, own.start)
        start = own.end
    if whole:
        yield one
    else:
        yield from _trimmed(text, one, start, one.end)


def _trimmed(text: str, one: Finding, start: int, end: int) -> Iterator[Finding]:
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    if sum(map(str.isalnum, text[start:end])) >= _SHORTEST:
        yield replace(one, start=start, end=end)
