import numpy as np
import pytest

from extproc.cache import Neighbour
from extproc.cache.guards import signs
from extproc.cache.verifier.features import COLUMNS, SINGLE, WIDTH, row
from extproc.cache.verifier.logistic import Floats


def made(asked: str, stored: str, near: list[Neighbour], **more: float) -> dict[str, float]:
    return dict(zip(COLUMNS, rowed(asked, stored, near, **more), strict=True))


def rowed(asked: str, stored: str, near: list[Neighbour], **more: float) -> Floats:
    support, repeats = int(more.get("support", 1)), more.get("repeats", 0.5)
    return row(signs(asked), signs(stored), near, 0, support=support, repeats=repeats)


def test_a_row_fills_one_block_by_how_many_wordings_led_to_the_answer() -> None:
    near = [Neighbour(0, 0.9, 0)]
    single, several = (rowed("a cat", "one cat", near, support=many) for many in (1, 2))
    assert single.shape == several.shape == (WIDTH,)
    assert not single[len(SINGLE) :].any()
    assert not several[: len(SINGLE)].any()


def test_agreeing_neighbours_and_a_far_rival_show() -> None:
    near = [Neighbour(0, 0.9, 0), Neighbour(1, 0.88, 0), Neighbour(2, 0.7, 1)]
    found = made("reset my password", "reset a password", near, support=2)
    assert found["several: share"] == pytest.approx(2 / 3)
    assert found["several: margin"] == pytest.approx(0.2)
    assert found["several: agreement"] > 0.95
    assert found["several: no other answer"] == 0.0


def test_a_word_exchanged_is_seen_and_a_word_added_is_not_taken_for_it() -> None:
    near = [Neighbour(0, 0.95, 0)]
    exchanged = made("symptoms of gout", "symptoms of asthma", near)
    added = made("symptoms of asthma please, doctor", "symptoms of asthma", near)
    assert exchanged["single: words exchanged"] > 0.0
    assert exchanged["single: shared·exchanged"] > 0.0
    assert (added["single: words exchanged"], added["single: words contained"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "turned"),
    [
        ("why is the sky blue", "how is the sky blue", 1.0),
        ("the sky is blue", "why is the sky blue", 0.5),
        ("what is the sky", "which sky is it", 0.0),
    ],
)
def test_what_is_asked_for_counts(a: str, b: str, turned: float) -> None:
    near = [Neighbour(0, 0.95, 0)]
    assert made(a, b, near)["single: question differs"] == turned
    assert made(b, a, near)["single: question differs"] == turned


@pytest.mark.parametrize("text", ["", "?!", "東京の天気は", "a " * 5_000])
def test_any_text_gives_numbers(text: str) -> None:
    for many in (1, 3):
        found = rowed(text, "what is it", [Neighbour(0, 1.0, 0)], support=many, repeats=0.0)
        assert np.isfinite(found).all()
