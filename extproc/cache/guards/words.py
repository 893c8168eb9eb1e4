"""The tables of the guards, read once from `words.toml` and `places.txt` and handed over as one
value."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

# Function words: they say how a question is put, not what it asks for. Short on purpose: what is
# in here no longer tells two questions apart by itself.
_FUNCTION_WORDS = [
    "a",
    "an",
    "the",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "being",
    "am",
    "do",
    "does",
    "did",
    "done",
    "have",
    "has",
    "had",
    "i",
    "me",
    "my",
    "mine",
    "myself",
    "you",
    "your",
    "yours",
    "we",
    "us",
    "our",
    "they",
    "them",
    "their",
    "he",
    "him",
    "his",
    "she",
    "her",
    "it",
    "its",
    "this",
    "that",
    "these",
    "those",
    "there",
    "here",
    "what",
    "what's",
    "which",
    "who",
    "whom",
    "whose",
    "how",
    "why",
    "when",
    "where",
    "can",
    "could",
    "would",
    "should",
    "will",
    "shall",
    "may",
    "might",
    "must",
    "of",
    "to",
    "in",
    "on",
    "for",
    "at",
    "by",
    "with",
    "from",
    "as",
    "and",
    "or",
    "but",
    "if",
    "so",
    "than",
    "then",
    "too",
    "very",
    "just",
    "also",
    "please",
    "tell",
    "show",
    "give",
    "explain",
    "describe",
    "know",
    "want",
    "need",
    "like",
    "get",
    "let",
    "about",
    "into",
    "over",
    "under",
    "up",
    "down",
    "out",
    "off",
    "some",
    "any",
    "all",
    "am",
    "s",
    "t",
    "m",
    "re",
    "ve",
    "d",
    "ll",
    "i'm",
    "i've",
    "i'd",
    "i'll",
    "it's",
    "that's",
    "there's",
    "how's",
    "hey",
    "hi",
    "hello",
    "ok",
    "okay",
    "thanks",
    "thank",
    "really",
    "actually",
]


@dataclass(frozen=True, slots=True)
class Words:
    """Every table by word, casefolded."""

    numbers: Mapping[str, int]
    multipliers: Mapping[str, int]
    ordinals: Mapping[str, int]
    hard: frozenset[str]
    soft: frozenset[str]
    idioms: tuple[str, ...]
    currencies: Mapping[str, str]
    units: Mapping[str, str]
    spans: Mapping[str, str]
    dates: Mapping[str, str]
    sets: Mapping[str, tuple[tuple[str, int], ...]]
    places: Mapping[str, str]
    function: frozenset[str]
    counting: frozenset[str] = frozenset()
    """Numbers, multipliers and ordinals."""
    telling: frozenset[str] = frozenset()
    """Every word of the tables before but the function words: most questions have few of them."""


@cache
def words() -> Words:
    """The tables as shipped. The same immutable value at every call."""
    folder = files(__package__)
    table = tomllib.loads(folder.joinpath("words.toml").read_text("utf-8"))
    negation = table["negation"]
    sets: dict[str, tuple[tuple[str, int], ...]] = {}
    for name, poles in table["sets"].items():
        for pole, names in enumerate(poles):
            for word in names:
                sets[word] = (*sets.get(word, ()), (name, pole))
    lines = folder.joinpath("places.txt").read_text("utf-8").splitlines()
    places = [line.split() for line in lines if line and not line.startswith("#")]
    made = Words(
        numbers=_valued(table["numbers"]),
        multipliers=_valued(table["multipliers"]),
        ordinals=_valued(table["ordinals"]),
        hard=frozenset((*negation["hard"], *negation["joined"])),
        soft=frozenset(negation["soft"]),
        idioms=tuple(negation["idioms"]),
        currencies=_by_word(table["currencies"]),
        units=_by_word(table["units"]),
        spans=_by_word(table["spans"]),
        dates=_by_word(table["dates"]),
        sets=sets,
        places={name: one[0] for one in places for name in one},
        function=frozenset(_FUNCTION_WORDS),
    )
    counting = frozenset().union(made.numbers, made.multipliers, made.ordinals)
    telling = counting.union(
        made.hard, made.soft, made.currencies, made.units, made.spans, made.dates, made.sets,
        made.places,
    )  # fmt: skip
    return replace(made, counting=counting, telling=telling)


def _valued(table: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {word: int(value) for value, names in table.items() for word in names}


def _by_word(table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {word: name for name, names in table.items() for word in names}
