"""Runs of digits: where they are, how they are grouped, and which groups together are something.

People write `4111 1111 1111 1111`, `4 1 1 1 …`, `(0221) 1234-567` or two numbers in a row; so
neighbouring groups are tried together, a bounded number of ways for each group.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from extproc.guard import Finding, phones
from extproc.guard.cards import CARD, LONGEST, SHAPES, card
from extproc.guard.context import Context, Papers
from extproc.guard.ids import numeric
from extproc.guard.normal import Normal, classes
from extproc.guard.phones import EXTENSION, PHONE, phone

_CLASSES: Final = classes(
    {"0123456789": "0", " \t.-/()_": " ", string.ascii_letters: "a"},
)
_RUN: Final = re.compile(rb"0(?<![0a]0)0*+(?: {1,3}0++){0,47}+")
"""Up to 48 groups of digits with no more than three marks between two. What follows them begins a
run of its own."""
_TELLING: Final = 10
"""Digits from which a number in one piece may be something with no word about it."""
_SPACED: Final = 2
"""Digits of the largest group of a number that is spaced out, or of a table."""
_SURE: Final = 0.9
_PART: Final = 0.3
"""What is lost when the same groups go on: it is a piece of a longer number, or of a table."""
_GROUP: Final = re.compile(r"\d+")
_MANY: Final = 12
"""Groups of a run in which each way to put groups together is tried. More of them are digits that
are spaced out, or a table."""
_DATE: Final = re.compile(
    r"(?:(?:19|20)\d\d([\-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([\-/. ])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d)(?!\d)"
)
_SHAPES: Final = SHAPES | {
    (3, 2, 4),  # US_SSN
    (3, 3, 4), (1, 3, 3, 4), (3, 3, 3), (3, 2, 2, 2), (5, 5),  # telephones
    (2, 3, 3, 3),  # DE_TAX_ID
    (4, 4, 4),  # IN_AADHAAR
}  # fmt: skip
"""Lengths of groups that say something by themselves."""
_NIR: Final = 15
"""Digits of a French number with its check digits, which are enough however it is written."""
_SHORTEST: Final = 5
"""Digits of the shortest number of a licence."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Groups of digits with marks between."""

    text: str
    groups: Sequence[tuple[int, int]]
    """Where each group is in the text."""
    near: dict[str, int]
    """What the words around it speak of."""
    plus: bool
    papers: bool
    """Whether the words around speak of what no check digit tells."""

    def marks(self, first: int, last: int) -> str:
        """The characters between the groups from `first` to `last`."""
        start = self.groups[first][0]
        if first == last:
            return "(" if start and self.text[start - 1] == "(" else ""
        pairs = zip(self.groups[first:last], self.groups[first + 1 : last + 1], strict=True)
        found = "".join([self.text[one[1] : other[0]] for one, other in pairs])
        return f"({found}" if start and self.text[start - 1] == "(" else found


def numbers(normal: Normal, context: Context, papers: Papers) -> Iterator[Finding]:
    """Cards, telephone numbers and ids of digits alone."""
    text = normal.text
    for match in _RUN.finditer(normal.classes(_CLASSES)):
        start, end = match.span()
        if end - start < _SHORTEST:
            continue
        after = text[end : end + 1]
        if (after.isascii() and after.isalpha() and after not in "xX") or _fraction(text, start):
            continue
        if text[start:end].isdigit():
            groups = [(start, end)]
            size = end - start
        else:
            groups = [one.span() for one in _GROUP.finditer(text, start, end)]
            size = sum([b - a for a, b in groups])
        spoken = papers.near(start, end)
        if size < phones.SHORTEST and not spoken:
            continue
        before = text[max(0, start - 2) : start]
        plus = before.endswith(("+", "+("))
        near = context.around(normal.lower, start, end)
        for kind, far in context.above(normal.lower, start).items():
            near[kind] = min(far, near.get(kind, far))
        if near or plus or size >= _TELLING or len(groups) > 1:
            yield from _segmented(Run(text, groups, near, plus, spoken))


def _fraction(text: str, start: int) -> bool:
    """Whether digits in front of a comma make what follows a part of a number."""
    return start > 1 and text[start - 1] in ",." and text[start - 2].isdigit()


def _segmented(run: Run) -> Iterator[Finding]:
    at, count = 0, len(run.groups)
    if count > _MANY:
        whole = _judged(run, 0, count - 1, [end - start for start, end in run.groups])
        if whole is not None:
            yield whole
        if whole is not None or max(end - start for start, end in run.groups) <= _SPACED:
            return
    while at < count:
        dated = _DATE.match(run.text, run.groups[at][0])
        if dated is not None and not run.plus:
            end = dated.end()
            at = next((i for i in range(at, count) if run.groups[i][0] >= end), count)
            continue
        found, last = _best(run, at)
        if found is None:
            at += 1
        else:
            yield found
            at = last + 1


def _best(run: Run, first: int) -> tuple[Finding | None, int]:
    """What begins at a group: the surest, and of those the longest."""
    best: Finding | None = None
    reach = first
    most = 6 if len(run.groups) > _MANY else _MANY
    named = bool(run.near) or (run.plus and first == 0)
    total = 0
    shape: list[int] = []
    for last in range(first, min(first + most, len(run.groups))):
        start, end = run.groups[last]
        total += end - start
        shape.append(end - start)
        if total > LONGEST:
            break
        if total < _SHORTEST or not (named or _shaped(run, first, shape, total)):
            continue
        found = _judged(run, first, last, shape)
        if found is not None and (best is None or found.confidence >= best.confidence):
            best, reach = found, last
    return best, reach


def _shaped(run: Run, first: int, shape: list[int], total: int) -> bool:
    """Whether a number that no word names may be something by how it is written."""
    return (
        len(shape) == 1
        or total == _NIR
        or tuple(shape) in _SHAPES
        or run.text[run.groups[first][0]] == "0"
        or len(shape) > total // 2 - 1
    )


def _judged(run: Run, first: int, last: int, shape: list[int]) -> Finding | None:
    spans = run.groups[first : last + 1]
    start, end = spans[0][0], spans[-1][1]
    digits = run.text[start:end] if first == last else "".join([run.text[a:b] for a, b in spans])
    size = len(digits)
    if size > LONGEST or size < (_SHORTEST if run.papers else phones.SHORTEST):
        return None
    if _cut_off(run, first, last) or _decimal(run, first, last):
        return None
    marks = run.marks(first, last)
    plus = run.plus and first == 0
    kind, sure = CARD, card(digits, shape, run.near)
    other, number = numeric(digits, shape, marks, run.near)
    if number > sure:
        kind, sure = other, number
    called = phone(digits, shape, marks, run.near, plus=plus)
    if called > sure:
        kind, sure = PHONE, called
    if sure <= 0:
        return None
    if sure < _SURE and _continued(run, first, last, marks):
        sure -= _PART
        if sure <= 0:
            return None
    if kind == PHONE:
        start, end = _dressed(run.text, start, end, plus=plus)
    return Finding(start, end, kind, min(sure, 0.99))


def _cut_off(run: Run, first: int, last: int) -> bool:
    """Whether a point or a slash ties it to a group that is not a part of it: then it is a piece of
    a fraction, of a version or of a date."""
    groups, text = run.groups, run.text
    if first > 0 and text[groups[first - 1][1] : groups[first][0]] in {".", "/", "_", ""}:
        return True
    return last + 1 < len(groups) and text[groups[last][1] : groups[last + 1][0]] in {".", "/", "_"}


def _decimal(run: Run, first: int, last: int) -> bool:
    """Whether it is a number with a point."""
    if last - first != 1 or run.marks(first, last) != ".":
        return False
    start, end = run.groups[first]
    return run.text[start] != "0" or end - start < 3  # noqa: PLR2004 - an area's code has three


def _continued(run: Run, first: int, last: int, marks: str) -> bool:
    """Whether there is one more group in front or behind, with the mark that is between all."""
    if not marks or marks != marks[0] * len(marks):
        return False
    before = run.text[run.groups[first - 1][1] : run.groups[first][0]] if first else ""
    more = last + 1 < len(run.groups)
    after = run.text[run.groups[last][1] : run.groups[last + 1][0]] if more else ""
    return marks[0] in (before, after)


def _dressed(text: str, start: int, end: int, *, plus: bool) -> tuple[int, int]:
    """A telephone number with its plus sign, bracket and extension."""
    if start and text[start - 1] == "(" and ")" in text[start:end]:
        start -= 1
    if plus:
        while start and text[start - 1] in "+(":
            start -= 1
    extension = EXTENSION.match(text, end)
    return start, extension.end() if extension is not None else end
