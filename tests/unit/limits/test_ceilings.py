"""A provider's ceilings as counters of the shared store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limits import Candidate
from extproc.limits.ceilings import counters, option_of, used
from extproc.policy import Ceilings, TargetPolicy
from extproc.state.counters import Counter, Option, Take

EXTRA = Take(Counter("r:route|target", "bucket", 100.0, 1.0, 60.0), 1)


def target(
    own: Ceilings | None = None, shared: Ceilings | None = None, name: str = "t"
) -> TargetPolicy:
    return TargetPolicy(
        target=name,
        provider="p",
        system="openai",
        dialect="openai",
        model="m",
        ceilings=own,
        provider_ceilings=shared,
    )


def option(policy: TargetPolicy, tokens: tuple[int, int], *extra: Take) -> Option | None:
    return option_of(Candidate(policy, None), tokens, extra)


def taken(found: Option | None) -> dict[str, int]:
    assert found is not None
    return {one.counter.key: one.amount for one in found.takes}


def test_a_target_without_ceilings_needs_no_room() -> None:
    assert option(target(), (10, 20)) is None
    assert option(target(Ceilings()), (10, 20)) is None


def test_other_takes_at_a_level_are_enough_for_an_option() -> None:
    found = option(target(), (10, 20), EXTRA)
    assert found == Option("t", (EXTRA,), 1.0)


def test_each_ceiling_counts_what_it_is_of() -> None:
    every = Ceilings(rpm=60, tpm=6000, itpm=5000, otpm=1000, concurrent=4)
    assert taken(option(target(every), (100, 20))) == {
        "t:t:rpm": 1,
        "t:t:tpm": 120,
        "t:t:itpm": 100,
        "t:t:otpm": 20,
        "t:t:concurrent": 1,
    }


def test_a_minutes_worth_flows_back_in_a_minute() -> None:
    [(_, counter)] = counters(target(Ceilings(rpm=120)))
    assert (counter.kind, counter.most, counter.rate, counter.period) == ("bucket", 120, 2.0, 60)
    [(_, counter)] = counters(target(Ceilings(concurrent=3)))
    assert (counter.kind, counter.most) == ("concurrent", 3)


def test_targets_share_the_ceilings_of_their_providers_key() -> None:
    shared = Ceilings(tpm=1000)
    one = option(target(Ceilings(rpm=5), shared, "one"), (3, 4), EXTRA)
    other = option(target(None, shared, "other"), (3, 4))
    assert list(taken(one)) == ["t:one:rpm", "p:p:tpm", "r:route|target"]
    assert list(taken(other)) == ["p:p:tpm"]


def test_counters_are_made_once() -> None:
    given = Ceilings(rpm=7)
    assert counters(target(given))[0][1] is counters(target(given))[0][1]


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        (Ceilings(rpm=1), None, 0.9),
        (Ceilings(rpm=1, high_water=0.5), Ceilings(rpm=1), 0.5),
        (Ceilings(rpm=1, high_water=1.0), Ceilings(rpm=1, high_water=0.7), 0.7),
    ],
)
def test_the_lower_high_water_holds(
    own: Ceilings, shared: Ceilings | None, expected: float
) -> None:
    found = option(target(own, shared), (1, 1))
    assert found is not None
    assert found.high_water == expected


def test_a_request_larger_than_a_ceiling_takes_all_of_it() -> None:
    """Else a level would be passed over for ever that the provider might well have served."""
    assert taken(option(target(Ceilings(tpm=1000)), (5000, 5000))) == {"t:t:tpm": 1000}


@pytest.mark.parametrize(
    ("asked", "expected"), [(True, (1, 30, 10, 20, 0)), (False, (0, 0, 0, 0, 0))]
)
def test_what_was_used(asked: bool, expected: tuple[int, ...]) -> None:
    policy = target(Ceilings(rpm=1, tpm=1, itpm=1, otpm=1, concurrent=1))
    assert used(policy, (10, 20), asked=asked) == expected


def test_a_failed_attempt_still_was_a_request() -> None:
    assert used(target(Ceilings(rpm=1, tpm=1)), (0, 0)) == (1, 0)


MAYBE = st.none() | st.integers(1, 10**9)
CEILINGS = st.none() | st.builds(
    Ceilings, rpm=MAYBE, tpm=MAYBE, itpm=MAYBE, otpm=MAYBE, concurrent=MAYBE
)
TOKENS = st.tuples(st.integers(-5, 2**40), st.integers(-5, 2**40))


@given(CEILINGS, CEILINGS, TOKENS)
def test_a_take_always_fits_an_empty_counter(
    own: Any, shared: Any, tokens: tuple[int, int]
) -> None:
    policy = target(own, shared)
    found = option(policy, tokens)
    takes = found.takes if found else ()
    assert all(0 <= one.amount <= one.counter.most for one in takes)
    assert len({one.counter.key for one in takes}) == len(takes) == len(used(policy, tokens))
    assert all(amount >= 0 for amount in used(policy, tokens))
