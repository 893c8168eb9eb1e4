"""vCache's rule as its paper states it (Schroeder et al., vCache: Verified Semantic Prompt
Caching, 2025, arXiv 2502.03771), for comparison; written from the formulas alone.

Every stored embedding has observations (s, c): a request's similarity to it and whether its answer
was right. The likelihood of being right is L(s, t, g) = 1 / (1 + exp(-g (s - t))), with (t, g) by
maximum likelihood for each embedding and a confidence region around them. With (t', g') the worst
for s in the region of confidence 1 - ε, the answer is right with a probability of at least
p = (1 - ε) L(s, t', g'). To keep the error within δ the request explores (goes to the provider)
with probability τ = min over ε of 1 - δ / (1 - p), at least 0. An explored request gives an
observation; if its answer was another, it is stored.

The paper leaves open how the region is made. Observations of one kind, or parted by a gap, have
their maximum at infinity, where standard errors mean nothing; so here the bound is the one of the
likelihood ratio (Wilks, 1938): the least L among all (t, g) whose log likelihood is within z² / 2
of the maximum, with z the standard normal quantile of 1 - ε, on a grid of t from 0 to 1 and g from
1 to 1,000.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tests.bench.cache_drive import Outcome, Store, Turn, Vectors

Floats = NDArray[np.float64]

_EPSILONS = np.geomspace(0.5, 1e-4, 24)
_WITHIN = np.array([NormalDist().inv_cdf(1.0 - one) ** 2 / 2.0 for one in _EPSILONS])
_T, _GAMMA = (
    one.ravel() for one in np.meshgrid(np.linspace(0.0, 1.0, 51), np.geomspace(1.0, 1000.0, 25))
)


def _log_likelihood(score: float, *, right: bool) -> Floats:
    """Of one observation, at every point of the grid."""
    z = _GAMMA * (score - _T)
    made: Floats = -np.logaddexp(0.0, -z if right else z)
    return made


class _Entry:
    """What is known of one stored embedding."""

    def __init__(self) -> None:
        self._likelihood = np.zeros(len(_T))
        self._observed = 0

    def observe(self, score: float, *, right: bool) -> None:
        self._likelihood += _log_likelihood(score, right=right)
        self._observed += 1

    def explores(self, score: float, delta: float) -> float:
        """τ, the probability to go to the provider."""
        if not self._observed:
            return 1.0
        order = np.argsort(-self._likelihood)
        below = self._likelihood[order[0]] - self._likelihood[order]
        worst = np.minimum.accumulate(np.exp(_log_likelihood(score, right=True))[order])
        last = np.searchsorted(below, _WITHIN, side="right") - 1
        p = (1.0 - _EPSILONS) * worst[last]
        return float(np.maximum(1.0 - delta / (1.0 - p), 0.0).min())


def vcache(turns: Sequence[Turn], rows: Vectors, seed: int, delta: float) -> Outcome:
    """The rule over one pass. `audits` are explored requests whose stored answer was right."""
    store = Store(len(turns), rows.shape[1])
    entries: list[_Entry] = []
    draw = random.Random(seed).random
    hits, wrong, explored = [], [], 0
    for turn, row in zip(turns, rows, strict=True):
        near = store.near(row, 1)
        hit = right = False
        if near:
            entry = entries[near[0].entry]
            right = store.truths[near[0].entry] == turn.answer
            hit = draw() >= entry.explores(near[0].score, delta)
            if not hit:
                entry.observe(near[0].score, right=right)
                explored += right
        hits.append(hit)
        wrong.append(hit and not right)
        if not hit and not right:
            store.add(turn.text, row, turn.answer, None)
            entries.append(_Entry())
    return Outcome.of(seed, hits, wrong, explored)
