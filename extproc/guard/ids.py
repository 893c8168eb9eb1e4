"""Numbers that states, banks and health services give to people.

Where there is a check digit it decides; where there is none, the words around the number do.
The rules are python-stdnum's; those of passports and identity cards are of ICAO Doc 9303.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Final

from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.us import rtn

Near = dict[str, int]
Rule = Callable[[str, Sequence[int], str, Near], tuple[str, float]]
NONE: Final = ("", 0.0)

NEAR: Final = 45
"""Characters within which a word still names a number without a checksum."""


def _rank(near: Near, kind: str) -> float:
    """What a word adds: more the nearer it is."""
    at = near.get(kind)
    return 0.0 if at is None else 0.1 - min(at, 90) / 1000


def _named(near: Near, kind: str, within: int = NEAR) -> bool:
    return near.get(kind, within + 1) <= within


_LABELS: Final = ("ssn", "itin", "bank", "passport", "licence", "card", "phone", "other", "idcard")


def _told(near: Near, kind: str, within: int = NEAR) -> bool:
    """Whether a word names it and none that is nearer says that it is something else."""
    at = near.get(kind, within + 1)
    return at <= within and all(at <= near.get(other, at) for other in _LABELS)


def _whole(shape: Sequence[int], *usual: tuple[int, ...]) -> bool:
    """Whether digits are written in one piece, as usual, or spaced out one by one."""
    return len(shape) == 1 or tuple(shape) in usual or max(shape) == 1


def _social(  # noqa: PLR0911 - one return a case
    digits: str, shape: Sequence[int], marks: str, near: Near
) -> tuple[str, float]:
    """SSN and ITIN: nine digits, no checksum, but ranges that are never given out."""
    if len(digits) != 9:  # noqa: PLR2004
        return NONE
    parted = tuple(shape) == (3, 2, 4)
    if not _whole(shape, (3, 2, 4), (3, 3, 3)):
        return NONE
    if _ITIN.fullmatch(digits):
        if _named(near, "itin") or _named(near, "ssn"):
            return "US_ITIN", 0.9 + _rank(near, "itin")
        return ("US_ITIN", 0.65) if parted and "-" in marks else NONE
    if _SSN.fullmatch(digits) is None:
        return NONE
    if _told(near, "ssn", 50):
        return "US_SSN", 0.88 + _rank(near, "ssn")
    return ("US_SSN", 0.65) if parted and "." not in marks and "/" not in marks else NONE


_SSN: Final = re.compile(r"(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}")
"""What the SSA gives out. Numbers printed in advertisements (078-05-1120) are nobody's, but people
type them all the same: they count."""
_ITIN: Final = re.compile(r"9\d\d(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])\d{4}")
"""Ranges of the middle digits as the IRS gives them out since 2013."""


def _accounts(digits: str, shape: Sequence[int], marks: str, near: Near) -> tuple[str, float]:
    if len(digits) == 9 and _named(near, "routing", 40) and rtn.is_valid(digits):  # noqa: PLR2004
        return "US_BANK_NUMBER", 0.9 + _rank(near, "routing")
    if marks.strip(" -") or min(shape) == 1:
        return NONE
    if 6 <= len(digits) <= 17 and _told(near, "bank"):  # noqa: PLR2004
        return "US_BANK_NUMBER", 0.7 + _rank(near, "bank")
    if 7 <= len(digits) <= 17 and _told(near, "bank?", 30):  # noqa: PLR2004
        return "US_BANK_NUMBER", 0.55 + _rank(near, "bank?")
    return NONE


def _health(digits: str, shape: Sequence[int], _: str, near: Near) -> tuple[str, float]:
    if len(digits) != 10 or not _whole(shape, (3, 3, 4)) or not nhs.is_valid(digits):  # noqa: PLR2004
        return NONE
    if _named(near, "nhs"):
        return "UK_NHS", 0.97
    return ("UK_NHS", 0.5) if tuple(shape) == (3, 3, 4) and "phone" not in near else NONE


def _tax_german(digits: str, shape: Sequence[int], _: str, near: Near) -> tuple[str, float]:
    if len(digits) != 11 or len(set(digits[:10])) < 8 or not idnr.is_valid(digits):  # noqa: PLR2004
        return NONE
    if _named(near, "taxde"):
        return "DE_TAX_ID", 0.97
    if not _whole(shape, (2, 3, 3, 3)):
        return NONE
    return "DE_TAX_ID", 0.7 if tuple(shape) == (2, 3, 3, 3) else 0.5


def _aadhaar(digits: str, shape: Sequence[int], _: str, near: Near) -> tuple[str, float]:
    if len(digits) != 12 or not aadhaar.is_valid(digits):  # noqa: PLR2004
        return NONE
    if _named(near, "aadhaar"):
        return "IN_AADHAAR", 0.98
    return ("IN_AADHAAR", 0.7) if tuple(shape) == (4, 4, 4) else ("IN_AADHAAR", 0.4)


def _insee(digits: str, shape: Sequence[int], _: str, near: Near) -> tuple[str, float]:
    named = _named(near, "nir")
    if len(digits) == 15 and digits[0] in "123478" and nir.is_valid(digits):  # noqa: PLR2004
        return "FR_NIR", 0.98 if named or len(shape) > 1 else 0.85
    return NONE


def _booklets(digits: str, shape: Sequence[int], marks: str, near: Near) -> tuple[str, float]:
    """Passports and driving licences written in digits alone."""
    if _told(near, "passport") and 7 <= len(digits) <= 9 and len(shape) == 1:  # noqa: PLR2004
        return _passport(digits, near), 0.75 + _rank(near, "passport")
    if _drives(near) and 5 <= len(digits) <= 14 and "." not in marks:  # noqa: PLR2004
        return _licence(near), 0.7 + max(_rank(near, "licence"), _rank(near, "driver"))
    return NONE


def _passport(value: str, near: Near) -> str:
    american = re.fullmatch(r"\d{9}|[A-Z]\d{8}", value.upper()) is not None
    return (
        "US_PASSPORT" if american and "foreign" not in near and "german" not in near else "PASSPORT"
    )


def _drives(near: Near) -> bool:
    return _told(near, "licence") or (_named(near, "driver") and _told(near, "licence?"))


def _licence(near: Near) -> str:
    foreign = "foreign" in near or "german" in near or "licence?" not in near
    return "DRIVER_LICENSE" if foreign else "US_DRIVER_LICENSE"


_BY_SIZE: Final[dict[int, Rule]] = {
    9: _social,
    10: _health,
    11: _tax_german,
    12: _aadhaar,
    15: _insee,
}
_BY_WORDS: Final[tuple[Rule, ...]] = (_accounts, _booklets)
"""What words alone tell."""


def numeric(digits: str, shape: Sequence[int], marks: str, near: Near) -> tuple[str, float]:
    """What digits in groups of such lengths are: the type and how sure, or `NONE`."""
    first = _BY_SIZE.get(len(digits))
    best = NONE if first is None else first(digits, shape, marks, near)
    for rule in _BY_WORDS if near else ():
        found = rule(digits, shape, marks, near)
        if found[1] > best[1]:
            best = found
    return best


# --- with letters -------------------------------------------------------------------------

_NINO: Final = re.compile(
    r"(?!BG|GB|KN|NK|NT|TN|ZZ)(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]|QQ)\d{6}[A-D]"
)
"""QQ is given to nobody: forms show it as an example, and people copy that."""
_PAN: Final = re.compile(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]")
_FISCAL: Final = re.compile(
    r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]"
)
_DVLA: Final = re.compile(
    r"(?=[A-Z]{1,5}9{0,4}\d)[A-Z9]{5}\d(?:[05][1-9]|[16][0-2])(?:[0-2]\d|3[01])\d[A-Z9]{2}[A-Z0-9][A-Z]{2}"
)
_CARD_DE: Final = re.compile(r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}(?:\dD?)?")
_NIF: Final = re.compile(r"\d{8}[A-Z]")
_NIE: Final = re.compile(r"[XYZ]\d{7}[A-Z]")
_NIR_CORSE: Final = re.compile(r"[1278]\d{4}2[AB]\d{8}")
_LICENCE_IN: Final = re.compile(r"[A-Z]{2}\d{2}(?:19|20)\d{9}")
_WEIGHTS: Final = (7, 3, 1)


def checked_icao(value: str) -> bool:
    """Whether the last digit is the check digit of those before (ICAO Doc 9303, part 3, 4.9)."""
    total = sum(
        weight * (0 if one == "<" else int(one, 36))
        for one, weight in zip(value[:-1], cycle(_WEIGHTS), strict=False)
    )
    return total % 10 == int(value[-1])


def lettered(value: str, near: Near, *, tied: bool) -> tuple[str, float]:
    """What a word of letters and digits is: the type and how sure, or `NONE`.

    `value` is without marks; `tied` says that it was written without any. Letters in lower case
    count for less: such words are names of things more often.
    """
    upper = value.upper()
    quiet = 0.0 if value == upper else 0.3
    best = NONE
    for rule in _LETTERED:
        found = rule(upper, near)
        if found[1] > best[1]:
            best = found
    if best[1] - quiet <= 0.5:  # noqa: PLR2004
        best = best if not quiet else NONE
    elif best[1] < 0.9:  # noqa: PLR2004
        best = best[0], best[1] - quiet
    if best[1] < 0.7 and tied:  # noqa: PLR2004
        letters = sum(map(str.isalpha, value))
        if not quiet or letters < 3:  # noqa: PLR2004 - words in lower case are names of things
            best = max(best, _booklet(upper, near), key=lambda one: one[1])
    return best


def formed(value: str) -> bool:
    """Whether a word of letters and digits may be something without any word that says so."""
    return _ANY.fullmatch(value.upper()) is not None


def _checked(upper: str, near: Near) -> tuple[str, float]:
    if _NIF.fullmatch(upper) and dni.is_valid(upper):
        return "ES_NIF", 0.95 if _named(near, "nif") else 0.85
    if _NIE.fullmatch(upper) and nie.is_valid(upper):
        return "ES_NIE", 0.95 if _named(near, "nif") else 0.9
    if _FISCAL.fullmatch(upper) and codicefiscale.is_valid(upper):
        return "IT_FISCAL_CODE", 0.98
    if _NIR_CORSE.fullmatch(upper) and nir.is_valid(upper):
        return "FR_NIR", 0.98
    return NONE


def _formed(upper: str, near: Near) -> tuple[str, float]:
    if _NINO.fullmatch(upper):
        return "UK_NINO", 0.95 if _named(near, "nino") else 0.75
    if _PAN.fullmatch(upper) and pan.is_valid(upper):
        return "IN_PAN", 0.95 if _named(near, "pan") else 0.75
    if _DVLA.fullmatch(upper):
        return "DRIVER_LICENSE", 0.92
    if _LICENCE_IN.fullmatch(upper):
        named = _named(near, "licence") or _named(near, "licence?")
        return "DRIVER_LICENSE", 0.92 if named else 0.6
    return NONE


def _german(upper: str, near: Near) -> tuple[str, float]:
    if not _CARD_DE.fullmatch(upper) or not any(map(str.isdigit, upper)):
        return NONE
    named = _told(near, "idcard")
    bare = upper.removesuffix("D") if len(upper) == 11 else upper  # noqa: PLR2004
    if len(bare) == 10:  # noqa: PLR2004
        return ("DE_ID_CARD", 0.95 if named else 0.45) if checked_icao(bare) else NONE
    return ("DE_ID_CARD", 0.75 + _rank(near, "idcard")) if named else NONE


_LETTERED: Final = (_checked, _formed, _german)


_ANY: Final = re.compile(
    "|".join(
        one.pattern
        for one in (_NINO, _PAN, _FISCAL, _DVLA, _CARD_DE, _NIF, _NIE, _NIR_CORSE, _LICENCE_IN)
    )
)


def _booklet(upper: str, near: Near) -> tuple[str, float]:
    digits = sum(map(str.isdigit, upper))
    if _told(near, "passport") and _PASSPORT.fullmatch(upper) and digits:
        return _passport(upper, near), 0.8 + _rank(near, "passport")
    if _drives(near) and 5 <= len(upper) <= 18 and digits >= 4:  # noqa: PLR2004
        return _licence(near), 0.75 + max(_rank(near, "licence"), _rank(near, "driver"))
    return NONE


_PASSPORT: Final = re.compile(
    r"[A-Z]{0,3}\d{5,9}[A-Z]?|\d{2}[A-Z]{2}\d{5}|[CFGHJKLMNPRTVWXYZ0-9]{9}"
)
"""Of most states; of France; of Germany."""
