"""vCache's rule as its paper states it (Schroeder et al., vCache: Verified Semantic Prompt
Caching, 2025), for comparison.

Every stored embedding has observations (s, c): a request's similarity to it and whether its answer
was right. The likelihood of being right is logistic(gamma(s - t)), with (t, gamma) by maximum
likelihood for each embedding. With t' the upper limit of t at confidence 1 - ε, the right answer
has at least probability p = (1 - ε) logistic(gamma(s - t')). To keep the error within δ the request
explores (goes to the provider) with probability τ = min over ε of 1 - δ / (1 - p), at least 0. An
explored request gives an observation; if its answer was another, it is stored.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from extproc.cache.verifier.logistic import Gaussian, fit, probability
from tests.bench.cache_drive import Outcome, Store, Turn, Vectors

Floats = NDArray[np.float64]

_EPSILONS = np.concatenate((np.array([0.001, 0.002, 0.005]), np.linspace(0.01, 0.5, 50)))
_Z = np.array([NormalDist().inv_cdf(1.0 - one) for one in _EPSILONS])
# Observations of one kind, or parted by a gap, have no maximum: this little ridge gives them one.
# It matters: BANKING77 with MiniLM (seed 1) has 4.4 / 0.18 % hits / wrong at
# 1e-3, 9.5 / 0.51 at 1e-4,
# 13.6 / 1.11 at 1e-5, 14.3 / 1.27 at 1e-6. This is the one with most hits that keeps to 1 %.
_RIDGE = np.diag((1e-4, 1e-4))
_TWO = 2


class _Entry:
    def __init__(self) -> None:
        self.scores: list[float] = []
        self.right: list[float] = []
        self.fit: tuple[float, float, float] | None = None

    def observe(self, score: float, *, right: bool) -> None:
        self.scores.append(score)
        self.right.append(float(right))
        self.fit = None

    def parameters(self) -> tuple[float, float, float]:
        """t, gamma and the standard error of t."""
        if self.fit is None:
            self.fit = _maximum(np.array(self.scores), np.array(self.right))
        return self.fit


def _maximum(s: Floats, c: Floats) -> tuple[float, float, float]:
    x = np.stack((np.ones(len(s)), s), 1)
    b = fit(x, c, Gaussian(np.zeros(2), _RIDGE))
    p = probability(x, b)
    bend = (x * (p * (1.0 - p))[:, None]).T @ x + _RIDGE
    gamma = max(float(b[1]), 1e-6)
    t = -float(b[0]) / gamma
    gradient = np.array((-1.0 / gamma, float(b[0]) / gamma**2))  # the delta method
    return t, gamma, float(np.sqrt(gradient @ np.linalg.solve(bend, gradient)))


def explores(entry: _Entry, score: float, delta: float) -> float:
    """τ, the probability to go to the provider."""
    if len(entry.scores) < _TWO:
        return 1.0
    t, gamma, error = entry.parameters()
    p = (1.0 - _EPSILONS) / (
        1.0 + np.exp(-np.clip(gamma * (score - (t + _Z * error)), -30.0, 30.0))
    )
    return float(np.maximum(1.0 - delta / (1.0 - p), 0.0).min())


def vcache(turns: Sequence[Turn], rows: Vectors, seed: int, delta: float) -> Outcome:
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
            hit = draw() >= explores(entry, near[0].score, delta)
            if not hit:
                entry.observe(near[0].score, right=right)
                explored += right
        hits.append(hit)
        wrong.append(hit and not right)
        if not hit and not right:
            store.add(turn.text, row, turn.answer, None)
            entries.append(_Entry())
    return Outcome.of(seed, hits, wrong, explored)
