"""Quantiles from bins that were added up."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting.rollup.sketches import LONGEST, SHORTEST, bin_of, merge, quantiles

_SECONDS = st.floats(SHORTEST, LONGEST)
_QUANTILES = (0.0, 0.25, 0.5, 0.95, 0.99, 1.0)


def _bins(values: list[float]) -> dict[str, int]:
    return dict(Counter(bin_of("d", value) for value in values))


@given(st.lists(_SECONDS, min_size=1, max_size=200))
def test_quantiles_are_within_one_percent_of_a_value_at_their_rank(values: list[float]) -> None:
    ordered = sorted(values)
    for quantile, found in zip(_QUANTILES, quantiles(_bins(values), "d", _QUANTILES), strict=True):
        exact = ordered[math.floor(quantile * (len(values) - 1))]
        assert found is not None
        assert abs(found - exact) <= 0.0101 * exact


@given(st.lists(st.lists(_SECONDS, max_size=20), max_size=6), st.randoms())
def test_bins_merge_in_any_order_to_what_they_were_at_once(
    parts: list[list[float]], random: Random
) -> None:
    at_once = _bins([value for part in parts for value in part])
    one_way: dict[str, int] = {}
    for part in parts:
        merge(one_way, _bins(part))
    pile = [_bins(part) for part in parts]
    while len(pile) > 1:
        random.shuffle(pile)
        merge(pile[0], pile.pop())
    assert one_way == at_once
    assert (pile[0] if pile else {}) == at_once


@given(st.floats())
def test_any_number_has_a_bin_and_there_are_not_many(value: float) -> None:
    index = int(bin_of("t", value)[1:])
    assert -470 < index < 580
    (found,) = quantiles({bin_of("t", value): 1}, "t", [0.5])
    assert found is not None
    assert SHORTEST * 0.98 < found < LONGEST * 1.02


def test_sorts_do_not_mix_and_what_is_no_bin_is_passed_over() -> None:
    bins = {"d10": 3, "t-5": 1, "dx": 7, "d999999999999": 5, "d11": 0, "": 2}
    (duration,) = quantiles(bins, "d", [1.0])
    (ttft,) = quantiles(bins, "t", [1.0])
    assert duration is not None
    assert ttft is not None
    assert 1.1 < duration < 1.3
    assert 0.85 < ttft < 0.95
    assert quantiles({}, "d", [0.5]) == [None]
