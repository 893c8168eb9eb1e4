"""Where the line is drawn: the lowest probability that may be served.

Wrong answers are counted against *all* requests, not against those served: that is what an operator
is promised. Labels are not a fair sample of the requests (every miss is one, of the would-be hits
only the audited), and the wrong ones among them are few. So the estimate is assisted by the model,
as surveys do it (Särndal, Swensson, Wretman, Model Assisted Survey Sampling, 1992): each row stands
for as many requests as it was taken from, counts as many wrong answers as the model expects of it,
and the sum is multiplied by what the audits found over what the model expected of *them*. Of that
ratio of counts an upper confidence bound is taken, a Poisson one with prior counts, so that a
handful of audits neither condemns a model nor clears it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extproc.cache.verifier.logistic import Floats, Gaussian, fit, probability

Bools = NDArray[np.bool_]

HALF: Final = 4_000.0
"""Requests after which a row counts half: a cache that fills is right more often than it was when
it was empty."""
LEAST: Final = 0.8
"""A less likely answer is not served whatever the budget leaves: where few questions return, the
budget would pay for guesses."""
OF_SERVED: Final = 0.06
"""Wrong answers among the served, at most, for the same reason."""
FOUND: Final = 4.0
EXPECTED: Final = 6.0
"""Wrong answers that stand for the model before any audit. Fewer are found than expected: what was
served has passed two models, the one of its time and this one. (In eight streams, half as many.)"""
NEVER: Final = 2.0
"""A line that no probability reaches."""
_FOLDS: Final = 5
_PLAUSIBLE: Final = 0.5


def confidence(labels: int) -> float:
    """Standard errors that the bound stands above the estimate: 4.3 with 250 labels, 1.7 with
    1,000, 0.2 with 6,000.

    The line is the loosest of many that pass, and with few labels the luckiest; the model itself
    is then the prior's more than the partition's. Chosen on streams that the prior had not seen:
    wrong answers stay below 0.9 of `max_error` in the long ones.
    """
    return max(80.0 / math.sqrt(max(labels, 1)) - 0.8, 0.0)


def cross_fitted(x: Floats, y: Floats, labelled: Bools, prior: Gaussian, start: Floats) -> Floats:
    """Probability of every row by a model that has not seen it: each fifth of the labels is judged
    by the model of the other four. (With halves the models are noisier than the one that will
    serve, and the line comes out too high.)"""
    fold = np.random.default_rng(0).integers(0, _FOLDS, len(x))
    made = np.empty(len(x))
    for one in range(_FOLDS):
        seen = labelled & (fold != one)
        made[fold == one] = probability(x[fold == one], fit(x[seen], y[seen], prior, start=start))
    return made


def fading(age: Floats, requests: int) -> tuple[Floats, float]:
    """What a row counts by its age in requests, and the sum of that over the `requests` that rows
    were taken from."""
    made: Floats = np.exp2(-age / HALF)
    return made, HALF / math.log(2.0) * (1.0 - 2.0 ** (-requests / HALF))


def correction(p: Floats, y: Floats, weights: Floats, *, labels: int) -> float:
    """How many times as many of the would-be hits are wrong as the model expects, at most. `p`, `y`
    and `weights` are of the audited; `labels` is how many the model was made of."""
    plausible = p >= _PLAUSIBLE
    p, y, weights = p[plausible], y[plausible], weights[plausible]
    found = float(weights @ (1.0 - y)) + FOUND
    expected = float(weights @ (1.0 - p)) + EXPECTED
    return (found + confidence(labels) * math.sqrt(found)) / expected


def line(p: Floats, counts: Floats, worse: float, *, requests: float, max_error: float) -> float:
    """The lowest probability to serve from: the loosest with which the bound on wrong answers, as a
    share of all `requests`, stays within `max_error`. `counts` is for how many requests a row
    stands, `worse` the correction. `NEVER` when there is none."""
    known = p >= LEAST
    order = np.argsort(-p[known], kind="stable")
    p, counts = p[known][order], counts[known][order]
    wrong = worse * np.cumsum(counts * (1.0 - p))
    of_served = max(OF_SERVED, max_error) * np.cumsum(counts)
    passing = np.nonzero((wrong <= max_error * requests) & (wrong <= of_served))[0]
    return float(p[passing[-1]]) if len(passing) else NEVER
