"""The verifier: how likely a stored answer fits another wording, and from which likelihood on it is
served."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from extproc.cache.verifier.calibration import (
    LEAST,
    NEVER,
    correction,
    cross_fitted,
    fading,
    line,
)
from extproc.cache.verifier.features import INTERCEPTS, WIDTH
from extproc.cache.verifier.labels import Sample
from extproc.cache.verifier.logistic import Floats, Gaussian, fit
from extproc.cache.verifier.prior import Prior, shipped

__all__ = [
    "CALIBRATED",
    "EARLY",
    "EVERY",
    "NEVER",
    "Fitted",
    "Prior",
    "believed",
    "first_line",
    "fitted",
    "proven",
    "shipped",
]

EVERY: Final = 250
"""Labels between two fits."""
CALIBRATED: Final = 250
"""Labels from which on a partition draws its own line."""
EARLY: Final = (30, 60, 125)
"""Labels at which the model alone is fitted before that: what a prior gets wrong shows soon."""
_RIDGE: Final = 1.0
_USUAL_ERROR: Final = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model, and the line when there were labels enough to draw one. `labels` it was made of, in
    `epoch`: labels before a halt are another epoch's."""

    coefficients: Floats
    line: float | None
    labels: int
    epoch: int
    above: int = 0
    """Labels above the line."""


def believed(prior: Prior | None) -> Gaussian:
    """What is believed before any label; of a family without a prior, nothing."""
    return prior.gaussian if prior else Gaussian.flat(WIDTH, ridge=_RIDGE, free=INTERCEPTS)


def first_line(prior: Prior, *, single: bool, labels: int, max_error: float) -> float:
    """The line before a partition has its own: measured at 1 %, and its odds moved with
    `max_error`."""
    at = prior.several if not single else prior.fresh if labels < EARLY[0] else prior.single
    moved = 1.0 / (1.0 + exp(-(log(at / (1.0 - at)) + log(_USUAL_ERROR / max_error))))
    return max(moved, min(at, LEAST))


def fitted(
    sample: Sample, prior: Prior | None, start: Floats, *, max_error: float, epoch: int
) -> Fitted:
    """Fits the model and draws the line. Tens of milliseconds: for a thread."""
    gaussian = believed(prior)
    known = sample.labelled
    labels = int(known.sum())
    coefficients = fit(sample.x[known], sample.y[known], gaussian, start=start)
    if labels < CALIBRATED:
        return Fitted(coefficients, None, labels, epoch)
    p = cross_fitted(sample.x, sample.y, known, gaussian, coefficients)
    faded, requests = fading(sample.age, sample.requests)
    audits = known & sample.would
    worse = correction(p[audits], sample.y[audits], faded[audits], labels=labels)
    drawn = line(p, sample.counts * faded, worse, requests=requests, max_error=max_error)
    return Fitted(coefficients, drawn, labels, epoch, int((known & (p >= drawn)).sum()))


def proven(sample: Sample, start: Floats, *, max_error: float, epoch: int) -> Fitted:
    """The same for a rule that draws no line, when it has stopped: with a line, 0, when what it
    would have served since then was right often enough."""
    asked = sample.labelled & sample.would
    wrong = float((1.0 - sample.y[asked]).sum())
    bound = wrong + sqrt(wrong + 1.0)
    holds = bool(asked.any()) and bound <= max_error * sample.requests
    labels = int(sample.labelled.sum())
    return Fitted(start, 0.0 if holds else None, labels, epoch, int(asked.sum()))
