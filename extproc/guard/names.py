"""The lists of names that are shipped (`names.txt` says where they are from), their folding."""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_LETTERS: Final = str.maketrans(
    {
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
)
"""Letters that Unicode does not take apart into a base and an accent."""
_SECTION: Final = re.compile(r"^\[(.+)\]$", re.MULTILINE)


def fold(word: str) -> str:
    """Lower case and without accents: `Gonzáles` -> `gonzales`."""
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFKD", word.casefold().translate(_LETTERS))
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


@dataclass(frozen=True, slots=True)
class Names:
    """Folded names, and words that are none."""

    given: frozenset[str]
    amid: frozenset[str]
    """Given names that are words too: names where a word would have no capital."""
    weak_given: frozenset[str]
    """Words or places as well; `amid` is part of it."""
    family: frozenset[str]
    weak_family: frozenset[str]
    words: frozenset[str]
    """Of these nothing is a name, wherever it stands."""


@cache
def shipped() -> Names:
    """The lists of the package: read once (some 30 ms), 60,000 names."""
    text = files("extproc.guard").joinpath("names.txt").read_text(encoding="utf-8")
    parts = _SECTION.split("\n".join(x for x in text.splitlines() if not x.startswith("#")))
    lists = {
        title: frozenset(names.split())
        for title, names in zip(parts[1::2], parts[2::2], strict=True)
    }
    words = frozenset(map(fold, lists["words"]))
    return Names(
        given=lists["given"] - words,
        amid=lists["given amid"] - words,
        weak_given=(lists["given weak"] | lists["given amid"]) - words,
        family=lists["family"] - words,
        weak_family=lists["family weak"] - words,
        words=words,
    )
