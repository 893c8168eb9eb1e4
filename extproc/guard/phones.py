"""Telephone numbers: international ones by their numbering plan, others by how they are written, or
by the words around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from extproc.guard.plans import abroad, plan

PHONE: Final = "PHONE_NUMBER"
SHORTEST: Final = 7
LONGEST: Final = 15
"""Digits of a number with its country's code (ITU-T E.164)."""
EXTENSION: Final = re.compile(r"\s{0,2}(?:x|ext\.?|extension|#)\s?\d{1,6}(?![\w])", re.IGNORECASE)

_TRUNK: Final = (44, 49, 33, 39, 31, 61)
"""Plans by which a number with a 0 in front is looked at where no word says that it is one. More
plans would let any number pass."""
USUAL: Final = (1, *_TRUNK, 34, 91)
"""Every plan that a number without a country's code is looked at by."""
_OPEN: Final = {"6": (34,), "7": (34, 91), "8": (91,), "9": (34, 91)}
_ABROAD: Final = "00"
_NORTH_AMERICA: Final = frozenset({(3, 3, 4), (1, 3, 3, 4)})
_LOCAL: Final = 10
_NEAR: Final = 44
"""Characters within which a word names a number; more if a line ends between, so that a label may
stand above."""
_CLOSE: Final = 8
"""Characters within which `number` is a label, as in `her number is`."""
_LABEL: Final = 16
"""Characters of `number` and of what ties it to a word that says of what: `order number`."""
_NEXT: Final = frozenset({1, 2, 3, 12, 13, 14, 15})
"""Distances at which `office` or `home` is one: right in front (`Home: `), or right behind."""
_AWAY: Final = 999
_WHOLE: Final = 11


def phone(
    digits: str, shape: Sequence[int], marks: str, near: dict[str, int], *, plus: bool
) -> float:
    """How sure it is that digits in groups of such lengths are a telephone's; 0 for not.

    `marks` are the characters between the groups, `plus` says that a plus sign stands in front.
    """
    if not SHORTEST <= len(digits) <= LONGEST + 2:
        return 0.0
    named = rival = _AWAY
    if near:
        named = _named(near, separated=len(shape) > 1 or len(digits) > SHORTEST)
        rival = min([near[kind] for kind in _RIVALS if kind in near], default=_AWAY)
    if named < rival and len(digits) <= (LONGEST if plus else LONGEST - 2):
        found = 0.9 if "phone" in near else 0.7
        return max(found, _international(digits, shape, plus=True, named=True)) if plus else found
    if plus or digits.startswith(_ABROAD):
        return _international(digits, shape, plus=plus, named=named < _AWAY)
    return _national(digits, shape, marks)


_RIVALS: Final = (
    "card", "ssn", "itin", "bank", "routing", "passport", "licence", "nhs", "nino", "taxde",
    "idcard", "nir", "nif", "aadhaar", "other",
)  # fmt: skip
"""What a word nearer to the number says that it is."""


def _named(near: dict[str, int], *, separated: bool) -> int:
    """How far away the nearest word is that says it is a telephone's number."""
    found = near.get("phone", _AWAY)
    found = found if found <= _NEAR else _AWAY
    call = near.get("call", _AWAY)
    if call <= (_NEAR // 2 if separated else _CLOSE):
        found = min(found, call + 4)
    if near.get("label") in _NEXT:
        found = min(found, near["label"])
    number = near.get("number", _AWAY)
    if number <= _CLOSE and near.get("other", _AWAY) > number + _LABEL:
        found = min(found, number)
    return found


def _international(digits: str, shape: Sequence[int], *, plus: bool, named: bool) -> float:
    bare = digits if plus else digits[2:]
    if len(bare) > LONGEST or bare.startswith("0"):
        return 0.0
    valid, possible = abroad(bare)
    if valid:
        return 0.95 if plus or len(shape) > 1 else 0.6
    if possible and (len(shape) > 1 or named):
        return 0.75 if plus else 0.6
    if plus and possible and len(bare) >= _LOCAL:
        return 0.6
    return 0.6 if plus and len(bare) >= SHORTEST and named else 0.0


def _national(  # noqa: PLR0911 - one return a form
    digits: str, shape: Sequence[int], marks: str
) -> float:
    groups = tuple(shape)
    if groups in _NORTH_AMERICA and (len(groups) == 3 or digits[0] == "1"):  # noqa: PLR2004
        if plan(1).asked(digits)[0]:
            return 0.8
        tied = "-" in marks or "." in marks or ")" in marks
        return 0.6 if tied and digits[-_LOCAL] not in "01" else 0.0
    if groups == (3, 2, 4):
        return 0.0  # as Americans write a social security number
    if digits[0] == "0" and 9 <= len(digits) <= _WHOLE + 1:  # noqa: PLR2004
        if len(shape) == 1 and len(digits) not in (_LOCAL, _WHOLE):
            return 0.0
        if any(plan(code).asked(digits)[0] for code in _TRUNK):
            return 0.7 if len(shape) > 1 else 0.5
        return 0.0
    if len(shape) > 1 and " " in marks and groups in {(3, 3, 3), (3, 2, 2, 2), (5, 5)}:
        codes = _OPEN.get(digits[0], ())
        return 0.55 if any(plan(code).asked(digits)[0] for code in codes) else 0.0
    return 0.0
