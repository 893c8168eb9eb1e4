"""Do two answers say the same? Without a judge, from the words and numbers that stand in them.

In this order: the same text (white space, case and marks aside); a yes against a no; what the
answers come to, if that is a number; what the guards see in short answers; the nearness of the
answers' vectors. When in doubt they differ: that costs a hit, and the other way round costs a
wrong answer.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from extproc.cache.guards import compare, signs
from extproc.cache.guards.words import words

NEAR: Final = 0.85
"""Cosine from which answers without a number to come to are the same. Two answers to one question
of one model, asked twice, are seldom below; a judge may decide instead."""
ALIKE: Final = 0.5
"""The same for answers that come to the same number: what else they say may not be of something
else."""
SHORT: Final = 300
"""Characters up to which every word of an answer counts."""
BOUND: Final = 20_000
"""Characters that are read, from the end: what an answer comes to stands last."""

_NUMBER = re.compile(r"\d[\d,]{0,40}(?:\.\d{1,40})?(?:\s?/\s?\d{1,20})?")
_MARKED = re.compile(
    r"(?:#{4}|\\boxed\{|(?:final )?answer(?: is)?:?)[^\d\n]{0,20}(" + _NUMBER.pattern + ")",
    re.IGNORECASE,
)
_SIDE = re.compile(r"<<[^>\n]{0,200}>>|\[\d{1,3}\]")  # a calculator's notes, and marks of sources
_SIGNS = re.compile(r"[^\w%$€£¥.,:/+-]+")
_WORD = re.compile(r"[^\W\d_]{1,100}")
_NAMES = 2
_YES = frozenset({"yes", "ja", "oui", "sí", "si", "sì", "true", "correct"})
_NO = frozenset({"no", "nein", "non", "false", "incorrect", "nope"})


def same(a: str, b: str, similarity: float | None = None) -> bool:
    """Whether `a` and `b` say the same; `similarity` is the cosine of their vectors, None where
    nobody has embedded them (then only words and numbers speak). Symmetric, linear, never
    raises."""
    if a == b or normalised(a) == normalised(b):
        return True
    short = max(len(a), len(b)) <= SHORT
    if _verdict(a) * _verdict(b) < 0:
        return False
    x, y = conclusion(a), conclusion(b)
    if x is not None and y is not None:
        other = short and _other_name(a, b)
        return x == y and not other and (similarity is None or similarity >= ALIKE)
    if (x is None) != (y is None) and short:
        return False
    if short and compare(signs(a), signs(b)) is not None:
        return False
    return similarity is not None and similarity >= NEAR


def _other_name(a: str, b: str) -> bool:
    """Is one the other with a name exchanged ("Anna has 3 children", "Berta has 3 children")?"""
    x, y = _WORD.findall(a), _WORD.findall(b)
    if len(x) != len(y):
        return False
    pairs = [(one, two) for one, two in zip(x, y, strict=True) if one.casefold() != two.casefold()]
    return 1 <= len(pairs) <= _NAMES and all(
        word[0].isupper() and word.casefold() not in words().function
        for pair in pairs
        for word in pair
    )


def normalised(text: str) -> str:
    """Without case, white space, quotes and marks of emphasis."""
    folded = unicodedata.normalize("NFKC", text[:BOUND]).casefold()
    return _SIGNS.sub(" ", folded).strip(" .,:-/+") + text[BOUND:]


def conclusion(text: str) -> str | None:
    r"""The number that an answer comes to: the one behind `####`, `\boxed{` or "the answer is",
    else the last one in it; None when there is none. As written, but for commas: 62 and 62.00 are
    told apart, for an answer says its precision, too."""
    text = _SIDE.sub(" ", text[-BOUND:])
    marked = _MARKED.findall(text)
    found = marked[-1:] or _NUMBER.findall(text)[-1:]
    return re.sub(r"[,\s]", "", found[0]) if found else None


def _verdict(text: str) -> int:
    """1 for an answer that begins with yes, -1 with no, else 0."""
    first = re.match(r"\W{0,8}(\w{1,20})", text)
    word = first[1].casefold() if first else ""
    return (word in _YES) - (word in _NO)
