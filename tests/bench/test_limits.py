"""What the benchmark of limits makes of what it reads."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.bench import limits_queue as queue
from tests.bench import limits_race as race
from tests.e2e import limits_load as load

SIZES = race.Sizes(limit=40_000, estimated=420, proven=2_202)


def record(at: float, seconds: float, used: int) -> dict[str, Any]:
    return {"time": at, "seconds": seconds, "usage": {"input": used - 100, "output": 100}}


def test_the_error_in_flight_is_of_those_that_were_in_flight_together() -> None:
    together = [record(10.0, 1.0, 520), record(10.5, 1.0, 620)]
    later = record(10.5 + 1.0 + race.SETTLED + 0.01, 1.0, 700)
    assert race._in_flight([*together, later], 420) == 300


def test_who_uses_less_than_was_reserved_makes_up_for_nothing() -> None:
    assert race._in_flight([record(10.0, 1.0, 520), record(10.0, 1.0, 120)], 420) == 100


@pytest.mark.parametrize("seed", range(5))
def test_a_strict_race_is_against_a_provider_that_keeps_to_what_it_is_told(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(200):
        usage = race._script(draw, race.STRICT, SIZES)["usage"]
        assert usage["output"] <= race.OUTPUT
        assert usage["input"] <= SIZES.bound
        assert usage["input"] >= int(race.LEAST * SIZES.input)


def test_an_estimated_race_is_from_a_third_to_three_times_the_estimate() -> None:
    draw = random.Random(1)
    used = [sum(race._script(draw, race.ESTIMATED, SIZES)["usage"].values()) for _ in range(500)]
    assert min(used) < 0.35 * SIZES.estimated
    assert max(used) > 2.8 * SIZES.estimated
    assert all(0.29 * SIZES.estimated < one < 3.01 * SIZES.estimated for one in used)


def test_who_is_dropped_counts_as_having_waited_all_his_time() -> None:
    flow = load.Flow(name="quiet-1")
    served = [load.Shot(flow, 0.0, status=200, ended="whole", headers={}) for _ in range(9)]
    dropped = load.Shot(flow, 0.0, status=503, ended="whole")
    found = queue._burst([*served, dropped])
    assert (found.p50, found.p95, found.dropped) == (0.0, queue.TTL, 1)
