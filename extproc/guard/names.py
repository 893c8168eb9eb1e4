"""The lists of names that are shipped (`names.txt` says where they are from), their folding."""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from extproc.guard.cues import TITLES

_LETTERS: Final = {
    "ł": "l",
    "ø": "o",
    "æ": "ae",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "ı": "i",
    "œ": "oe",
    "ħ": "h",
    "ə": "e",
}
"""Letters that Unicode does not take apart into a base and an accent."""
_SECTION: Final = re.compile(r"^\[(.+)\]$", re.MULTILINE)


class _Folding(dict[int, str]):
    """A table for `str.translate` that is filled as letters are met; no larger than Unicode."""

    def __missing__(self, code: int) -> str:
        one = chr(code).casefold()
        plain = unicodedata.normalize("NFKD", "".join(_LETTERS.get(sign, sign) for sign in one))
        found = "".join(sign for sign in plain if not unicodedata.combining(sign))
        self[code] = found
        return found


_FOLDING: Final = _Folding()


def fold(word: str) -> str:
    """Lower case and without accents: `Gonzáles` -> `gonzales`."""
    return word.lower() if word.isascii() else word.translate(_FOLDING)


GIVEN: Final = 1
AMID: Final = 2
"""Given names that are words too: names where a word would have no capital."""
WEAK_GIVEN: Final = 4
"""Words or places as well; `AMID` are such."""
FAMILY: Final = 8
WEAK_FAMILY: Final = 16
WORD: Final = 32
"""Of these nothing is a name, wherever it stands; they have no other sign."""
TITLE: Final = 64
"""In front of a name; no part of it: a word as well."""
ENDING: Final = 128
"""Ends as family names do; of words that are none only."""
INITIAL: Final = 256
"""One letter."""
LISTED: Final = GIVEN | WEAK_GIVEN | FAMILY | WEAK_FAMILY

_LISTS: Final = {
    "given": GIVEN,
    "given amid": AMID | WEAK_GIVEN,
    "given weak": WEAK_GIVEN,
    "family": FAMILY,
    "family weak": WEAK_FAMILY,
}


_ENDINGS: Final = frozenset(
    """ovic evic ovich evich ovna evna sson dottir enko czyk wski wska cki cka dzki dzka kova nova
    rova lova tova dova mova sova cova gova yeva rov kov nov lov mov tov dov bov gov yev dev nev
    lev rev shvili adze idze oglu poulos poulou akis idis iadis escu eanu skaya skiy skyi nsky
    vsky quist qvist gaard mann rsen lsen nsen dsen ksen tsen fsen ainen oinen onen strom berger
    huber meier meyer yan nyi""".split()  # noqa: SIM905 - a list of words reads best so
)
_TAILS: Final = frozenset(one[-3:] for one in _ENDINGS)
ENDING_FROM: Final = 6
"""Letters of a word whose ending speaks for a family name."""


def ending(key: str) -> int:
    """`ENDING` if a folded word ends as family names do, else 0."""
    if key[-3:] not in _TAILS or len(key) < ENDING_FROM:
        return 0
    return 0 if _ENDINGS.isdisjoint((key[-3:], key[-4:], key[-5:], key[-6:])) else ENDING


@dataclass(frozen=True, slots=True)
class Names:
    """Folded names, and words that are none."""

    signs: Mapping[str, int]
    """What each is, of the signs above, added up; titles too."""
    given: frozenset[str]
    """Those with `GIVEN`."""


@cache
def shipped() -> Names:
    """The lists of the package: read once (some 30 ms), 60,000 names."""
    text = files("extproc.guard").joinpath("names.txt").read_text(encoding="utf-8")
    parts = _SECTION.split("\n".join(x for x in text.splitlines() if not x.startswith("#")))
    lists = {title: names.split() for title, names in zip(parts[1::2], parts[2::2], strict=True)}
    signs: dict[str, int] = {}
    for title, sign in _LISTS.items():
        for name in lists[title]:
            signs[name] = signs.get(name, 0) | sign
    for name, sign in signs.items():
        signs[name] = sign | ending(name)
    signs.update(dict.fromkeys(map(fold, lists["words"]), WORD))
    signs.update(dict.fromkeys(TITLES, TITLE | WORD))
    return Names(signs, frozenset(name for name, sign in signs.items() if sign & GIVEN))
