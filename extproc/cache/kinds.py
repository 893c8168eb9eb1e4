"""What kind of content a question is about, which decides how long its answer stays true.

Words and short rules: prices, availability, what holds today, news and versions are `dynamic`;
definitions, geography and arithmetic `factual`. In doubt a question is of the kind that is kept for
less time: a word of `dynamic` counts more than any of `factual`, and nothing that is about the
asker ("my order") is `factual`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

DEFAULT: Final = "default"
DYNAMIC: Final = "dynamic"
FACTUAL: Final = "factual"
BUILT_IN: Final = frozenset({DEFAULT, DYNAMIC, FACTUAL})

MOST_LOOKED_AT: Final = 600
"""Characters from the beginning, and as many from the end: in between stand pasted documents, whose
words say nothing of the question."""
LONGEST_FACT: Final = 240
"""Characters. What is longer is a task, not a question of fact."""

_WORD: Final = re.compile(r"\w+(?:'\w+)*")
_VERSION: Final = re.compile(r"\bv?\d+\.\d+(?:\.\d+)+\b|\bv\d+(?:\.\d+)*\b", re.ASCII)
"""`2.4.1`, `v3`."""
_SUM: Final = re.compile(r"\d\s*(?:[-+*/x\u00d7\u00f7^%]|\*\*)\s*\d")

_DEFINITION: Final = re.compile(
    r"(?:(?:what is|what's|what are)(?: an?)?"
    r"|was (?:ist|sind)(?: eine?)?"
    r"|qu'est[- ]ce (?:que |qu')(?:c'est (?:que |qu'))?(?:une? |la |le |l')?"
    r"|qué (?:es|son)(?: una?)?"
    r"|(?:che )?cos(?:'è|a (?:è|sono))(?: un[ao']?| la| il)?)"
    r"\s*(?!the\b|this\b|that\b|it\b)\w[\w-]*(?: \w[\w-]*)?\s*[?.!]*\s*"
)
"""`What is a monad?`: one or two words after it. What is meant by `the` depends on who asks."""


class Kinds:
    """Tells kinds. `own` is the words of the policy by kind; a kind of the built-in ones gets them
    beside its own."""

    __slots__ = ("_dynamic", "_factual", "_own", "_personal", "names")

    def __init__(self, own: Mapping[str, Iterable[str]] | None = None) -> None:
        said = {name: tuple(words) for name, words in (own or {}).items()}
        words = _shipped()
        self.names = frozenset({*BUILT_IN, *said})
        """Every kind that there is."""
        self._own = tuple(
            (name, _Words(found)) for name, found in said.items() if found and name not in BUILT_IN
        )
        self._dynamic = _Words((*words["dynamic"], *said.get(DYNAMIC, ())))
        self._factual = _Words((*words["factual"], *said.get(FACTUAL, ())))
        self._personal = _Words(words["personal"])

    def of(self, text: str | None) -> str:  # noqa: PLR0911 - one line a rule
        """The kind of a question: the first own one of which it has a word, else a built-in one."""
        if not text:
            return DEFAULT
        text = _ends(text).casefold().replace("\u2019", "'")
        words = _WORD.findall(text)
        known = frozenset(words)
        line = f" {' '.join(words)} "
        for name, own in self._own:
            if own.any(known, line):
                return name
        if self._dynamic.any(known, line) or _VERSION.search(text) is not None:
            return DYNAMIC
        if len(text) > LONGEST_FACT or self._personal.any(known, line):
            return DEFAULT
        if self._factual.any(known, line) or _SUM.search(text) is not None:
            return FACTUAL
        if _DEFINITION.fullmatch(text.strip("¿¡ \n")) is not None:
            return FACTUAL
        return DEFAULT


class _Words:
    """Words, and words that follow each other."""

    __slots__ = ("_first", "_phrases", "_single")

    def __init__(self, words: Iterable[str]) -> None:
        single: set[str] = set()
        phrases: dict[str, list[str]] = {}
        for word in words:
            parts = _WORD.findall(word.casefold().replace("\u2019", "'"))
            if len(parts) == 1:
                single.add(parts[0])
            elif parts:
                phrases.setdefault(parts[0], []).append(f" {' '.join(parts)} ")
        self._single = frozenset(single)
        self._phrases = phrases
        self._first = frozenset(phrases)

    def any(self, words: frozenset[str], line: str) -> bool:
        """One of them is among the words of a text, or in its line: all its words with a space
        around each."""
        if not self._single.isdisjoint(words):
            return True
        return any(phrase in line for phrase in self._near(words))

    def _near(self, words: frozenset[str]) -> Iterator[str]:
        for first in self._first & words:
            yield from self._phrases[first]


def _ends(text: str) -> str:
    if len(text) <= 2 * MOST_LOOKED_AT:
        return text
    return f"{text[:MOST_LOOKED_AT]} {text[-MOST_LOOKED_AT:]}"


@cache
def _shipped() -> dict[str, tuple[str, ...]]:
    """The words of the table beside this module, of all its languages."""
    table = tomllib.loads(files(__package__).joinpath("kinds.toml").read_text("utf-8"))
    return {
        kind: tuple(word for words in languages.values() for word in words)
        for kind, languages in table.items()
    }
