"""Where the line is drawn: the lowest probability that may be served.

Wrong answers are counted against *all* requests, not against those served: that is what an operator
is promised. What is known of them comes from labels that are not a fair sample (every miss is one,
of the would-be hits only the audited), so each label stands for all the requests like it: rows are
cut into strata of like probability, and a label's weight is rows over labels in its stratum. Such
weights by estimated propensities beat the known ones (Hirano, Imbens, Ridder, Efficient estimation
of average treatment effects, Econometrica 2003): the many early labels of a region speak as well,
not only its audits.

Of the rate of errors among the accepted the upper confidence bound is Wilson's score bound (1927)
with Kish's effective sample size (Σw)² / Σw² in place of the count, as Korn and Graubard (1998) do
for weighted surveys.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extproc.cache.verifier.logistic import Floats, Gaussian, fit, probability

Bools = NDArray[np.bool_]

STRATUM: Final = 80
"""Labels a stratum: fewer make the weights noisy, more mix requests that are not alike."""
LEAST: Final = 0.5
"""An answer more likely wrong than right is not served whatever the budget leaves."""
NEVER: Final = 2.0
"""A line that no probability reaches."""
_FOLDS: Final = 5


def confidence(labels: int) -> float:
    """Standard errors that the bound stands above the estimate: 1.0 with 250 labels, 0.6 with
    6,000.

    The line is the loosest of many that pass, and with few labels the luckiest: so it starts
    higher. The numbers were chosen on BANKING77 and CLINC150 (seeds 1 to 3): wrong answers stay
    below 0.8 of `max_error`.
    """
    return 0.5 + 8.0 / math.sqrt(max(labels, 1))


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


def stratum_weights(p: Floats, labelled: Bools, counts: Floats, most: float) -> Floats:
    """For how many rows each label stands; 0 for a row without one, never above `most`."""
    order = np.argsort(-p, kind="stable")
    so_far = np.cumsum(labelled[order])
    if not len(so_far) or not so_far[-1]:
        return np.zeros(len(p))
    last = max(int(so_far[-1]) // STRATUM - 1, 0)
    stratum = np.minimum(np.maximum(so_far - 1, 0) // STRATUM, last)
    rows = np.bincount(stratum, counts[order])
    labels = np.bincount(stratum, labelled[order].astype(float))
    made = np.zeros(len(p))
    made[order] = np.minimum(rows / np.maximum(labels, 1.0), most)[stratum]
    return np.where(labelled, made, 0.0)


def upper_bound(wrong: Floats, total: Floats, squares: Floats, z: float) -> Floats:
    """Wilson's upper bound, `z` standard errors up, of the rate `wrong / total`, where `total` is
    a sum of weights and `squares` the sum of their squares."""
    rate = wrong / total
    size = total * total / squares
    z2 = z * z
    root = np.sqrt(rate * (1.0 - rate) / size + z2 / (4.0 * size * size))
    made: Floats = (rate + z2 / (2.0 * size) + z * root) / (1.0 + z2 / size)
    return made


def line(p: Floats, y: Floats, weights: Floats, *, requests: int, max_error: float) -> float:
    """The lowest probability to serve from: the loosest for which the bound on wrong answers, as a
    share of all `requests`, stays within `max_error`. `NEVER` when there is none."""
    known = (weights > 0.0) & (p >= LEAST)
    labels = int((weights > 0.0).sum())
    order = np.argsort(-p[known], kind="stable")
    p, w = p[known][order], weights[known][order]
    if not len(p):
        return NEVER
    total = np.cumsum(w)
    wrong = np.cumsum(w * (1.0 - y[known][order]))
    bound = upper_bound(wrong, total, np.cumsum(w * w), confidence(labels))
    passing = np.nonzero(bound * total <= max_error * requests)[0]
    return float(p[passing[-1]]) if len(passing) else NEVER
