"""What the verifier looks at when it asks whether a stored answer fits another wording.

Two blocks of columns, of which a row fills one: an answer that was given to one question only has
nothing but its score and the words to speak for it; one that several wordings led to has its
neighbourhood as well. One linear model over both blocks is two models with one scale of
probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extproc.cache import Neighbour
from extproc.cache.guards import Signs

Floats = NDArray[np.float64]

SINGLE: Final = (
    "one", "score", "score²", "shared words", "words only asked", "words only stored",
    "words exchanged", "words contained", "length ratio", "length", "margin", "repeat rate",
    "contained·score", "shared·score", "shared·exchanged", "question differs",
)  # fmt: skip
SEVERAL: Final = (
    "one", "score", "score²", "margin", "agreement", "share", "agreeing", "support",
    "no other answer", "density", "shared words", "words only asked", "words only stored",
    "length ratio", "length", "score·agreement", "score·share", "behind the nearest",
    "words exchanged", "words contained", "repeat rate", "shared·exchanged", "question differs",
)  # fmt: skip
COLUMNS: Final = tuple(f"single: {name}" for name in SINGLE) + tuple(
    f"several: {name}" for name in SEVERAL
)
INTERCEPTS: Final = (0, len(SINGLE))
WIDTH: Final = len(COLUMNS)

# Words that say what is asked for. Not "what" and "which": what they ask for follows.
_ASKS = {
    "who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why",
    "how": "how", "many": "many", "much": "many",
}  # fmt: skip
# How fast a neighbour's voice fades with its distance from the nearest: 0.05 of cosine is about
# the difference between two wordings of one question and two questions of one topic.
_FADE = 0.05
# With no other answer in sight the margin is measured to the farthest neighbour, and this added.
_ALONE = 0.05
_SEVERAL = 2  # wordings
_FEW_WORDS = math.log1p(2.0) - 1e-6  # float32 rounds
# Traffic of which this share or more is asked again is all the same to the model: what it needs to
# know is whether questions return at all, and serving hides some of those that do.
_REPEATS = 0.3


def row(
    asked: Signs,
    stored: Signs,
    near: Sequence[Neighbour],
    chosen: int,
    *,
    support: int,
    repeats: float,
) -> Floats:
    """The features of serving `near[chosen]`, whose question is `stored`, to `asked`.

    `near` is ordered by score, best first; `support` is how many entries share the
    answer (at least 1);
    `repeats` the recent share of misses whose answer was in the cache after all, 0 to 1.
    """
    candidate = near[chosen]
    score = candidate.score
    words = _words(asked, stored)
    shared, asked_only, stored_only, ratio, length, exchanged, contained = words
    others = [one.score for one in near if one.answer != candidate.answer]
    margin = score - max(others) if others else max(score - near[-1].score, 0.0) + _ALONE
    rate = min(repeats, _REPEATS) / _REPEATS
    turned = _turned(asked, stored)
    made = np.zeros(WIDTH)
    if support < _SEVERAL:
        made[: len(SINGLE)] = (
            1.0, score, score * score, shared, asked_only, stored_only, exchanged,
            contained, ratio, length, margin, rate, contained * score, shared * score,
            shared * exchanged, turned,
        )  # fmt: skip
        return made
    voices = [math.exp((one.score - near[0].score) / _FADE) for one in near]
    agreeing = [one.answer == candidate.answer for one in near]
    agreement = sum(v for v, yes in zip(voices, agreeing, strict=True) if yes) / sum(voices)
    share = sum(agreeing) / len(near)
    made[len(SINGLE) :] = (
        1.0, score, score * score, margin, agreement, share,
        math.log1p(sum(agreeing)), math.log1p(support),
        float(not others), sum(one.score for one in near) / len(near),
        shared, asked_only, stored_only, ratio, length,
        score * agreement, score * share, near[0].score - score, exchanged, contained, rate,
        shared * exchanged, turned,
    )  # fmt: skip
    return made


def strangers(features: Floats) -> bool:
    """Two questions of a few words each that have none in common: however near their vectors are,
    the score alone says nothing. (A text without spaces is one word, and no stranger to any.)"""
    single = features[INTERCEPTS[0]] > 0.0
    names, start = (SINGLE, 0) if single else (SEVERAL, len(SINGLE))
    shared = features[start + names.index("shared words")]
    exchanged = features[start + names.index("words exchanged")]
    return bool(shared == 0.0 and exchanged >= _FEW_WORDS)


def _turned(asked: Signs, stored: Signs) -> float:
    """Does one ask who and the other when? 1 for that, a half where only one says what it asks
    for."""
    a, b = ({_ASKS[word] for word in one.words if word in _ASKS} for one in (asked, stored))
    if a == b:
        return 0.0
    return 0.5 if a <= b or b <= a else 1.0


def _words(asked: Signs, stored: Signs) -> tuple[float, float, float, float, float, float, float]:
    both = len(asked.content & stored.content)
    either = len(asked.content | stored.content)
    asked_only = math.log1p(len(asked.content) - both)
    stored_only = math.log1p(len(stored.content) - both)
    exchanged = min(asked_only, stored_only)
    length = math.log1p(len(asked.words))
    return (
        both / either if either else 1.0,
        asked_only,
        stored_only,
        length - math.log1p(len(stored.words)),
        length,
        exchanged,
        float(exchanged == 0.0),
    )
