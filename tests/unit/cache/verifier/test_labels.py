import msgspec
import numpy as np
import pytest

from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.labels import MOST, THINNED, Labels, Saved
from extproc.cache.verifier.logistic import Floats


def features(value: float) -> Floats:
    return np.full(WIDTH, value)


def filled(many: int) -> Labels:
    labels = Labels()
    for at in range(many):
        labels.label(features(at), right=at % 3 == 0, would=at % 2 == 0, lookup=at + 1)
    return labels


def test_the_latest_rows_are_kept_in_their_order() -> None:
    sample = filled(MOST + 10).sample(MOST + 10)
    assert len(sample.y) == MOST
    assert sample.x[:, 0].tolist() == list(range(10, MOST + 10))
    assert sample.requests == MOST
    assert sample.age[0] == MOST - 1
    assert sample.age[-1] == 0


def test_of_the_served_one_in_so_many_stands_for_all() -> None:
    labels = Labels()
    kept = [labels.served(features(at), lookup=at + 1) for at in range(10 * THINNED)]
    sample = labels.sample(10 * THINNED)
    assert sum(kept) == len(sample.y) == 10
    assert sample.counts.sum() == 10 * THINNED
    assert not sample.labelled.any()
    assert sample.would.all()


@pytest.mark.parametrize("many", [0, 1, 64, 65, MOST + 7])
def test_saved_and_loaded_is_equal(many: int) -> None:
    labels = filled(many)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(labels.saved()), type=Saved)
    again = Labels.loaded(wire)
    assert again.saved() == labels.saved()
    again.label(features(0.5), right=True, would=True, lookup=many + 1)
    labels.label(features(0.5), right=True, would=True, lookup=many + 1)
    assert again.saved() == labels.saved()


def test_only_the_latest_count_after_a_halt() -> None:
    labels = filled(300)
    labels.keep(100)
    sample = labels.sample(300)
    assert sample.x[:, 0].tolist() == list(range(200, 300))
    labels.label(features(-1.0), right=True, would=True, lookup=301)
    assert labels.sample(301).x[-1, 0] == -1.0


@pytest.mark.parametrize(
    "saved",
    [
        Saved(right=b"\x01"),
        Saved(right=b"\x00" * (MOST + 1)),
        Saved(features=b"\x00" * 3, right=b"\x01", labelled=b"\x01"),
    ],
)
def test_bytes_that_are_no_rows_are_refused(saved: Saved) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's own words
        Labels.loaded(saved)
