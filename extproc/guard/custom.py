"""Own patterns and word lists of a route.

Patterns are RE2's: no pattern takes more than time linear in the text, whoever wrote it. What RE2
does not know (look-around, references back) is refused when the policy is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import re2

from extproc.guard import Finding
from extproc.guard.normal import Folding, Normal

PREFIX: Final = "CUSTOM:"
LONGEST: Final = 2_000
"""Characters of a pattern, or of a word."""
_MEMORY: Final = 4 << 20
"""Bytes that RE2 may take for one pattern, its cache of states included."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{0,63}")
_WORD: Final = re.compile(r"\w+")
_SURE: Final = 1.0
_compile: Final[Any] = re2.compile


class PatternError(ValueError):
    """An own pattern or word cannot be looked for; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Custom:
    """Own patterns and words, compiled."""

    patterns: tuple[tuple[str, Any], ...] = ()
    words: tuple[tuple[str, Words], ...] = ()

    def find(self, normal: Normal) -> Iterator[Finding]:
        """Where they are in a folded text; an empty match is none."""
        if self.patterns:
            # A lone surrogate has no UTF-8; it stays one character.
            text = normal.text.encode("utf-8", "replace").decode()
            for name, pattern in self.patterns:
                for one in pattern.finditer(text):
                    if one.end() > one.start():
                        yield Finding(one.start(), one.end(), PREFIX + name, _SURE)
        for name, words in self.words:
            yield from (Finding(*span, PREFIX + name, _SURE) for span in words.find(normal))


@dataclass(frozen=True, slots=True)
class Words:
    """A list of words and phrases, whatever the case, where no letter or digit is next to them."""

    _heads: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    """First word of a phrase to the characters before it and those of the whole phrase."""
    _phrases: set[str] = field(default_factory=set)

    def find(self, normal: Normal) -> Iterator[tuple[int, int]]:
        """Where they are; of several that begin at a word, the longest."""
        text = normal.lower
        for one in _WORD.finditer(text):
            forms = self._heads.get(one[0])
            if forms is None:
                continue
            spans = ((one.start() - lead, one.start() - lead + size) for lead, size in forms)
            fits = [span for span in spans if self._stands(text, *span)]
            if fits:
                yield max(fits, key=lambda span: span[1] - span[0])

    def _stands(self, text: str, start: int, end: int) -> bool:
        if start < 0 or end > len(text) or text[start:end] not in self._phrases:
            return False
        before = text[start - 1 : start] if start else ""
        after = text[end : end + 1]
        return not (_joined(before, text[start]) or _joined(text[end - 1], after))


def _joined(one: str, other: str) -> bool:
    return one.isalnum() and other.isalnum()


def compiled(
    patterns: Mapping[str, str], words: Mapping[str, Sequence[str]], folding: Folding
) -> Custom:
    """Patterns and lists of words by name.

    Raises PatternError if a name is none, a pattern is not RE2's, matches nothing at all (an empty
    text) or is too large, or a word holds no letter or digit.
    """
    for name in (*patterns, *words):
        if _NAME.fullmatch(name) is None:
            raise PatternError(
                f"{name!r}: a name has letters, digits, _ and -, and begins with a letter"
            )
    return Custom(
        tuple((name, _pattern(name, one)) for name, one in patterns.items()),
        tuple((name, _listed(name, one, folding)) for name, one in words.items()),
    )


def _pattern(name: str, pattern: str) -> Any:
    if len(pattern) > LONGEST:
        raise PatternError(f"{name}: a pattern has at most {LONGEST} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        found = _compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        raise PatternError(f"{name}: {_said(error)}") from None
    if found.fullmatch(""):
        raise PatternError(
            f"{name}: the pattern matches an empty text, so it would match everywhere"
        )
    return found


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _listed(name: str, words: Sequence[str], folding: Folding) -> Words:
    found = Words()
    for word in words:
        phrase = folding.fold(word).lower.strip()
        head = _WORD.search(phrase)
        if head is None or len(phrase) > LONGEST:
            raise PatternError(f"{name}: {word[:40]!r} is no word")
        found._heads.setdefault(head[0], set()).add((head.start(), len(phrase)))  # noqa: SLF001
        found._phrases.add(phrase)  # noqa: SLF001
    return found
