"""Numbers and times of day in a row of tokens, in digits or in words, as canonical strings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from extproc.cache.guards.tokens import Kind, Token
from extproc.cache.guards.words import Words

_THOUSANDS = re.compile(r"\d{1,3}(?:(?P<by>[,.'\u2019])\d{3})(?:(?P=by)\d{3})*\Z")
_ORDINAL_ENDS = frozenset({"st", "nd", "rd", "th"})
_HUNDRED = 100  # multiplies what stands before it, and no more
_EXACT = 1e15  # below it a float holds every integer
_HALVES = {"am": 0, "pm": 12 * 60}


@dataclass(frozen=True, slots=True)
class Figures:
    """`certain`: what one question has and the other must have; `loose`: what may stand for one of
    them but asks for none itself ("one", "first")."""

    certain: frozenset[str]
    loose: frozenset[str]
    ordinals: frozenset[str]
    each: tuple[str, ...] = ()
    """The certain ones as often as they are there, sorted."""


def figures(row: Sequence[Token], words: Words) -> Figures:
    """Every number and time of day of the row."""
    each: list[str] = []
    loose: set[str] = set()
    ordinals: set[str] = set()
    at = 0
    while at < len(row):
        token = row[at]
        if token.kind is Kind.TIME:
            each.append(_time(token.text, _after(row, at)))
            at += 1
        elif token.kind is Kind.NUMBER or token.text in words.numbers:
            value, at = _quantity(row, at, words)
            each.append(value)
        elif token.text in words.ordinals:
            ordinals.add(str(words.ordinals[token.text]))
            at += 1
        else:
            if token.text == "one":
                loose.add("1")
            elif token.text in words.multipliers and not token.glued and len(token.text) > 1:
                each.append(str(words.multipliers[token.text]))
            at += 1
    return Figures(
        frozenset(each), frozenset(loose | ordinals), frozenset(ordinals), tuple(sorted(each))
    )


def _after(row: Sequence[Token], at: int) -> str:
    return row[at + 1].text if at + 1 < len(row) else ""


def _time(text: str, after: str) -> str:
    """`10:30 pm` and `22:30` are one: minutes of the day; 10:30 with no half said is the
    morning's."""
    hours, minutes, *_ = (int(part) for part in text.split(":"))
    if after in _HALVES:
        hours = hours % 12
    return f"t{hours * 60 + minutes + _HALVES.get(after, 0)}"


def _quantity(row: Sequence[Token], at: int, words: Words) -> tuple[str, int]:
    """The number that starts at `at` with its multipliers ("two hundred and fifty", "5k", "5 pm"),
    and where the row goes on."""
    written = canonical(row[at].text) if row[at].kind is Kind.NUMBER else None
    after = _after(row, at)
    if written is not None and after in _HALVES and written.isdigit():
        return _time(f"{written}:00", after), at + 2
    if written is not None and after in _ORDINAL_ENDS and row[at + 1].glued:
        return written, at + 2
    try:
        value = float(written if written is not None else words.numbers[row[at].text])
    except ValueError:  # 1.2.3, a version: as it is written
        return written or "", at + 1
    total, part = 0.0, value
    spoken = written is None  # in words; digits go on with a multiplier only
    at += 1
    while at < len(row):
        text = row[at].text
        if text in words.multipliers and (len(text) > 1 or row[at].glued):
            size, spoken = words.multipliers[text], True
            if size == _HUNDRED:
                part = (part or 1) * size
            else:
                total, part = total + (part or 1) * size, 0
        elif row[at].kind is Kind.WORD and text in words.numbers and spoken:
            part += words.numbers[text]
        elif not (text == "and" and _after(row, at) in words.numbers and part >= _HUNDRED):
            break
        at += 1
    return _plain(total + part), at


def canonical(text: str) -> str:
    """A number as written, with its separators of thousands taken out: `1,000` and `1'000` are
    `1000`, `1,5` and `1.50` are `1.5`. One dot is a decimal point."""
    thousands = _THOUSANDS.match(text)
    if thousands and (thousands["by"] != "." or text.count(".") > 1):
        text = text.replace(thousands["by"], "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    else:
        text = text.replace(",", "").replace("'", "").replace("\u2019", "")
    try:
        return _plain(float(text))
    except ValueError:
        return text


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < _EXACT else repr(value)
