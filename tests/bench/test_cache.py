"""The questions of the cache's benchmark are what the benchmark takes them for."""

from __future__ import annotations

import itertools

import msgspec

from extproc.cache.embedders.static import StaticEmbedder
from extproc.cache.guards import differs
from tests.bench.cache_arms import Figures
from tests.bench.cache_report import budgets, plain, ratio
from tests.bench.cache_wordings import QUESTION, stranger, wordings

THRESHOLD = 0.75
"""As in cache.yaml."""


def test_every_wording_is_another_text_that_would_be_served() -> None:
    known = wordings()
    assert len(known) > 10_000
    assert len({QUESTION, *known}) == len(known) + 1
    some = known[::50]
    embedder = StaticEmbedder()
    near = embedder.vectors(some) @ embedder.vectors([QUESTION])[0]
    assert near.min() >= THRESHOLD
    assert not [text for text in some if differs(text, QUESTION)]


def test_no_stranger_is_taken_for_another() -> None:
    some = [stranger(number) for number in range(200)]
    assert len(set(some)) == len(some)
    assert all(differs(one, other) for one, other in itertools.pairwise(some))
    assert all(differs(one, QUESTION) for one in some)


def test_ratios_are_of_the_same_round() -> None:
    def turn(p50: float) -> Figures:
        none = msgspec.convert(dict.fromkeys(Figures.__struct_fields__, 0), Figures)
        return msgspec.structs.replace(none, p50_1_ms=p50, p50_ms=p50)

    found = {"noop": [turn(1.0), turn(4.0), turn(2.0)], "exact": [turn(2.0), turn(4.0), turn(3.0)]}
    assert ratio(found, "exact", "p50_1_ms") == 1.5
    assert plain(found)["exact"]["ratio_1"] == 1.5
    assert plain(found)["off"] is None
    kept = {one.name: one.kept for one in budgets(found)}
    assert kept["p50 of an exact hit at one connection, against the no-op"] is False
    assert None in kept.values()
