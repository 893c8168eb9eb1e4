import numpy as np
import pytest

from extproc.cache.verifier import EARLY, believed, first_line, shipped
from extproc.cache.verifier.calibration import LEAST
from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.prior import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shipped_prior_is_a_distribution(family: str) -> None:
    prior = shipped(family)
    assert prior is not None
    assert prior.gaussian.mean.shape == (WIDTH,)
    assert np.isfinite(prior.gaussian.mean).all()
    assert (
        np.linalg.eigvalsh((prior.gaussian.precision + prior.gaussian.precision.T) / 2) > 0
    ).all()


def test_nobody_knows_an_embedder_of_somebody_elses() -> None:
    assert shipped("http") is None
    assert not believed(None).mean.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_who_allows_less_is_served_less_at_first(family: str) -> None:
    prior = shipped(family)
    assert prior is not None
    for single in (True, False):
        lines = [
            first_line(prior, single=single, labels=0, max_error=one) for one in (0.001, 0.01, 0.05)
        ]
        assert 1.0 > lines[0] > lines[1] >= lines[2] >= LEAST
    fresh, later = (
        first_line(prior, single=True, labels=many, max_error=0.01) for many in (0, EARLY[0])
    )
    assert fresh < later
