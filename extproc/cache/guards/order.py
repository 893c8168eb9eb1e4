"""Who does what to whom: the order of words where it carries the sense."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.cache.guards.tokens import Kind, Token
from extproc.cache.guards.words import Words

# "USD to EUR", "100 USD in euro", "from Rome": pairs of what stands next to them.
_TOWARDS = frozenset({"to", "into", "in", "nach", "à", "en"})
_FROM = frozenset({"from", "von", "de", "da"})
# What stands before them against what stands after, anywhere in the clause.
_PIVOTS = {
    word: word
    for word in (
        "than",
        "before",
        "after",
        "minus",
        "divided",
        "over",
        "against",
        "as",
        "beats",
        "als",
    )
} | {"vs": "versus", "versus": "versus"}

_MARKERS = _TOWARDS | _FROM | _PIVOTS.keys()
_TWO = 2

Pair = tuple[str, str, str]


def pairs(row: Sequence[Token], words: Words) -> frozenset[Pair]:
    """Pairs `(marker, left, right)` of the words beside each marker of direction, canonical: what
    is said with "from" is turned into what "to" would say."""
    if _MARKERS.isdisjoint(token.text for token in row):
        return frozenset()
    found: set[Pair] = set()
    left: list[str] = []  # content words since the clause began
    waiting: list[tuple[str, str]] = []  # markers whose right side comes next: (marker, left)
    pivots: list[tuple[str, tuple[str, ...]]] = []
    for token in row:
        if token.kind is Kind.SIGN and token.text in ".!?:;\n":
            left, waiting, pivots = [], [], []
        elif token.text in _TOWARDS or token.text in _FROM:
            waiting = [(token.text, left[-1] if left else "")]
        elif token.text in _PIVOTS:
            pivots = [(_PIVOTS[token.text], tuple(left[-4:]))]
        elif token.kind is not Kind.SIGN and token.text not in words.function:
            word = words.currencies.get(token.text, token.text)
            for marker, before in waiting:
                found.add(("to", word, before) if marker in _FROM else ("to", before, word))
            waiting = []
            for marker, row_before in pivots:
                found.update((marker, before, word) for before in row_before)
            left.append(word)
    return frozenset(found)


def swapped(a: Sequence[str], b: Sequence[str], words: Words) -> bool:
    """Are two words of a question exchanged, and nothing else ("the dog bites the man")?

    What stands on both sides of "or" and "and" may change places, and so may two function words
    ("may I").
    """
    if len(a) != len(b):
        return False
    places = [at for at, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    if len(places) != _TWO:
        return False
    low, high = places
    if {a[low], a[high]} <= words.function or set(a[low + 1 : high]) & {"or", "and"}:
        return False
    return a[low] == b[high] and a[high] == b[low]


def turned(a: frozenset[Pair], b: frozenset[Pair]) -> bool:
    """Does one say `x to y` where the other says `y to x`?"""
    return any(
        left
        and right
        and left != right
        and (marker, right, left) in b
        and (marker, left, right) not in b
        for marker, left, right in a
    )
