import numpy as np
import pytest

from extproc.cache.verifier.calibration import (
    LEAST,
    NEVER,
    OF_SERVED,
    confidence,
    correction,
    fading,
    line,
)
from extproc.cache.verifier.logistic import Floats


def traffic(seed: int, many: int = 5_000, harm: float = 1.0) -> tuple[Floats, Floats]:
    """Probabilities as a model gives them, and whether it was right: `harm` times as often wrong
    as it expects."""
    draw = np.random.default_rng(seed)
    p = draw.beta(4.0, 0.6, many)
    return p, (draw.random(many) >= np.minimum(harm * (1.0 - p), 1.0)).astype(float)


def from_line(seed: int, harm: float, max_error: float = 0.01) -> float:
    """Share of all requests that are wrong from a line drawn on one sample, on another."""
    p, y = traffic(seed, harm=harm)
    audited = np.random.default_rng(seed).random(len(p)) < 0.05
    worse = correction(p[audited], y[audited], np.ones(audited.sum()), labels=2_000)
    drawn = line(p, np.ones(len(p)), worse, requests=2 * len(p), max_error=max_error)
    fresh, truth = traffic(seed + 1_000, harm=harm)
    return float(((fresh >= drawn) & (truth == 0.0)).sum()) / (2 * len(p))


@pytest.mark.parametrize("harm", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("max_error", [0.005, 0.01, 0.03])
def test_wrong_answers_stay_within_what_was_allowed(harm: float, max_error: float) -> None:
    shares = [from_line(seed, harm, max_error) for seed in range(30)]
    assert np.mean(shares) <= max_error
    assert np.mean(np.array(shares) > 1.3 * max_error) <= 0.1


def test_a_model_that_audits_find_wrong_serves_less() -> None:
    p, _ = traffic(1)
    even = np.full(200, 0.95)
    bad = correction(even, np.zeros(200), np.ones(200), labels=2_000)
    good = correction(even, np.ones(200), np.ones(200), labels=2_000)
    lines = [line(p, np.ones(len(p)), one, requests=len(p), max_error=0.01) for one in (good, bad)]
    assert bad > 10 * good
    assert lines[0] < lines[1]


def test_few_audits_neither_condemn_nor_clear() -> None:
    ones = np.full(3, 0.99)
    none = correction(np.zeros(0), np.zeros(0), np.zeros(0), labels=6_000)
    wrong = correction(ones, np.array([0.0, 1.0, 1.0]), np.ones(3), labels=6_000)
    assert none < wrong < 2 * none
    assert correction(ones, np.ones(3), np.ones(3), labels=6_000) > 0.9 * none


def test_few_labels_are_believed_less() -> None:
    assert confidence(0) >= confidence(250) > confidence(1_000) > confidence(6_000) >= 0.0


def test_nothing_is_served_that_is_likely_wrong_even_when_the_budget_would_pay_for_it() -> None:
    p = np.array([0.99] * 3 + [0.7] * 5)
    drawn = line(p, np.ones(8), 1.0, requests=1e6, max_error=0.01)
    assert drawn >= LEAST


def test_where_few_questions_return_the_served_are_right() -> None:
    p = np.full(10, 1.0 - 2 * OF_SERVED)
    assert line(p, np.ones(10), 1.0, requests=1e6, max_error=0.01) == NEVER


def test_without_rows_nothing_is_served() -> None:
    none = np.zeros(0)
    assert line(none, none, 1.0, requests=100.0, max_error=0.01) == NEVER


def test_old_rows_and_old_requests_fade_alike() -> None:
    age = np.arange(10_000.0)
    faded, requests = fading(age, len(age))
    assert faded.sum() == pytest.approx(requests, rel=1e-3)
    assert faded[0] == 1.0
