"""Dates of birth: a date is one only when words beside it say so."""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from extproc.guard import Finding
from extproc.guard.triggers import BIRTHS

SURE: Final = 0.9
NEAR: Final = 48
"""Characters between the word and the date at most."""

_MONTH: Final = (
    r"(?:jan(?:uary|uar|vier|eiro)?|feb(?:ruary|ruar|braio)?|f[ée]v(?:rier|ereiro)?|febrero"
    r"|mar(?:ch|s|zo|ço|et)?|m[äa]rz|maart|apr(?:il|ile)?|avr(?:il)?|abr(?:il)?|ma[iyj]|mayo"
    r"|maggio|maio"
    r"|mei|june?|juni|juin|junio|giugno|junho|july?|juli|juillet|julio|luglio|julho|aug(?:ust"
    r"|ustus)?"
    r"|ao[ûu]t|agosto|sept?(?:ember|embre|iembre|tember)?|set(?:tembre|embro)?|o[ck]t(?:ober|obre"
    r"|ubre)?"
    r"|ottobre|outubro|nov(?:ember|embre|iembre|embro)?|de[cz](?:ember|embre|iembre|embro)?"
    r"|d[ée]c(?:embre)?"
    r"|dic(?:iembre|embre)?)"
)
_YEAR: Final = r"(?:1[89]\d\d|20\d\d)"
_DATE: Final = (
    rf"(?:{_YEAR}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\s?\d{{1,2}}[-/.]\s?(?:{_YEAR}|\d\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|º)?\.?[ ](?:of[ ]|de[ ])?{_MONTH}\.?,?[ ](?:de[ ])?{_YEAR}"
    rf"|{_MONTH}\.?[ ]\d{{1,2}}(?:st|nd|rd|th)?,?[ ]{_YEAR}"
    rf"|{_YEAR}年\s?\d{{1,2}}月\s?\d{{1,2}}日?|{_YEAR}[-/.]\d{{1,2}}[-/.]\d{{1,2}})(?!\d)"
)
_WORDS: Final = (
    r"(?:\bd\.?o\.?b\b\.?|\bborn\b|\bb\.[ ](?=\d)|\bbirth[ ]?(?:date|day)\b"
    r"|\bdate[ _-]?of[ _-]?birth\b"
    r"|\bgeb(?:oren|urtsdatum|urtstag)?\b\.?|\bn[ée]+(?:\(e\))?[ ]le\b|\bdate[ ]de[ ]naissance\b"
    r"|\bnacid[oa]\b|\bnac(?:[ií]|i[óo])\b|\bnasceu\b|\bnacque\b"
    r"|\bfecha[ ]de[ ]nacimiento\b|\bnat[oa][ ](?:il|a)\b"
    r"|\bdata[ ]di[ ]nascita\b"
    r"|\bnascid[oa]\b|\bdata[ ]de[ ]nascimento\b|\bgeboortedatum\b|\bfødt\b|\bfödd\b"
    r"|\burodzon[ya]\b"
    r"|\bдата[ ]рождения\b|\bродил(?:ся|ась)\b|生年月日|出生日期|出生于|生日)"
)
_TELLS: Final = re.compile(_WORDS, re.IGNORECASE)
_WHEN: Final = re.compile(rf"(?<!\d){_DATE}", re.IGNORECASE)
_TELLS_BEHIND: Final = re.compile(
    r"[ ]?[(,]?[ ]?(?:Geburtstag\b|\(?d\.?o\.?b\b"
    r"|is[ ](?:my|his|her)[ ](?:birthday|date[ ]of[ ]birth)"
    r"|\(?date[ ]of[ ]birth)",
    re.IGNORECASE,
)
_DATELIKE: Final = re.compile(r"[0-9](?:[-/.]\s?[0-9]|[0-9]{3})")
_AROUND: Final = 24
_LE: Final = 16
"""Characters of `né(e) le`, and of such with more than one e."""
_SKIP: Final = 8
"""Behind a hint the next one is looked for a little later: hints beside hints cost no more."""


def births(text: str, said: frozenset[str]) -> list[Finding]:
    """DATE_OF_BIRTH in `text`, by start, not overlapping: the date alone, without its words.

    `said` are the triggers in the text.
    """
    if said.isdisjoint(BIRTHS):
        return []
    low = text.lower()
    if len(low) != len(text):  # a letter whose lower case is two
        low = "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)
    spans: set[tuple[int, int]] = set()
    for hint in said.intersection(BIRTHS):
        at = low.find(hint)
        while at >= 0:
            if _begins(low, at, hint):
                spans.update(_near(text, at))
            at = low.find(hint, at + len(hint) + _SKIP)
    found: list[Finding] = []
    for start, end in sorted(spans):
        if not found or start >= found[-1].end:
            found.append(Finding(start, end, "DATE_OF_BIRTH", SURE))
    return found


def _begins(low: str, at: int, hint: str) -> bool:
    """Whether a hint that is in many words begins what it hints at: `need`, `Caleb. No`."""
    if hint == "b. ":
        return low[at + len(hint) : at + len(hint) + 1].isdigit()
    return hint not in {"né", "nee"} or " le" in low[at : at + _LE]


def _near(text: str, at: int) -> Iterator[tuple[int, int]]:
    """The date that the words around `at` speak of."""
    begin = max(0, at - _AROUND)
    end = min(len(text), at + NEAR + _AROUND)
    if _DATELIKE.search(text, begin, end) is None:
        return
    date = _WHEN.search(text, begin, end)
    while date is not None:
        if date.start() < at:
            if _TELLS_BEHIND.match(text, date.end()) is not None:
                yield date.span()
            date = _WHEN.search(text, date.end(), end)
            continue
        word = _TELLS.search(text, begin, date.start() + 1)
        if word is not None and date.start() - word.end() <= NEAR:
            yield date.span()
        return
