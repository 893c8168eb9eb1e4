import numpy as np
import pytest

from extproc.cache.verifier.logistic import Floats, Gaussian, fit, information, probability


def sample(many: int, b: tuple[float, ...], seed: int = 1) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    x = np.column_stack((np.ones(many), draw.normal(size=(many, len(b) - 1))))
    return x, (draw.random(many) < probability(x, np.array(b))).astype(float)


def test_it_finds_the_coefficients_that_made_the_labels() -> None:
    x, y = sample(20_000, (-1.0, 2.0, 0.5))
    found = fit(x, y, Gaussian.flat(3, ridge=1e-3, free=(0,)))
    assert found == pytest.approx([-1.0, 2.0, 0.5], abs=0.1)


def test_without_labels_the_prior_stands() -> None:
    prior = Gaussian(np.array([0.5, -2.0]), np.eye(2))
    assert fit(np.zeros((0, 2)), np.zeros(0), prior) == pytest.approx([0.5, -2.0])


def test_labels_that_a_line_parts_have_a_maximum_all_the_same() -> None:
    x = np.column_stack((np.ones(6), [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]))
    y = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    found = fit(x, y, Gaussian.flat(2, ridge=1.0, free=(0,)))
    assert np.isfinite(found).all()
    assert (probability(x, found) > 0.5).tolist() == [False] * 3 + [True] * 3


def test_a_weight_counts_a_row_that_often() -> None:
    x, y = sample(200, (0.2, 1.0))
    prior = Gaussian.flat(2, ridge=0.5, free=(0,))
    twice = fit(np.vstack((x, x)), np.concatenate((y, y)), prior)
    assert fit(x, y, prior, weights=np.full(200, 2.0)) == pytest.approx(twice, abs=1e-3)


def test_where_the_search_starts_does_not_matter() -> None:
    x, y = sample(500, (0.0, 3.0))
    prior = Gaussian.flat(2, ridge=1.0, free=(0,))
    far = fit(x, y, prior, start=np.array([40.0, -40.0]))
    assert far == pytest.approx(fit(x, y, prior), abs=0.05)


def test_probabilities_stay_probabilities() -> None:
    p = probability(np.array([[1e6], [-1e6]]), np.array([1e6]))
    assert ((p >= 0.0) & (p <= 1.0)).all()
    assert information(np.array([[1.0]]), np.array([0.0]), np.ones(1)) == pytest.approx(0.25)
