"""What an exact cache would have served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting.rollup.repeats import TTL, Repeats


def test_the_second_is_a_hit_once_the_first_was_answered() -> None:
    cache = Repeats()
    assert not cache.take("r", "a", 100.0, 110.0, 5)
    assert not cache.take("r", "a", 105.0, 106.0, 5), "the first is still being answered"
    assert cache.take("r", "a", 110.0, 111.0, 7)
    assert not cache.take("r", "b", 120.0, 121.0, 5)
    (found,) = cache.sums()
    assert (found.route, found.requests, found.hits, found.saved) == ("r", 4, 1, 7)


def test_an_answer_is_kept_for_a_day_and_then_anew() -> None:
    cache = Repeats()
    cache.take("r", "a", 0.0, 1.0, 0)
    assert cache.take("r", "a", TTL, None, 0)
    assert cache.take("r", "a", TTL + 1.0, None, 0)
    assert not cache.take("r", "a", TTL + 2.0, TTL + 3.0, 0)
    assert cache.take("r", "a", 2 * TTL, None, 0)


def test_what_failed_is_nothing_to_keep() -> None:
    cache = Repeats()
    assert not cache.take("r", "a", 0.0, None, 0)
    assert not cache.take("r", "a", 10.0, 11.0, 0)
    assert cache.take("r", "a", 20.0, None, 0)


def test_memory_is_bounded_and_what_it_costs_is_told() -> None:
    cache = Repeats(most=10)
    for number in range(100):
        cache.take("r", f"{number}", float(number), number + 0.5, 0)
    assert cache.evicted == 90
    assert len(cache._answers) == 10
    assert cache.take("r", "99", 200.0, None, 0)
    assert not cache.take("r", "0", 201.0, None, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.floats(0, 3 * TTL), st.none() | st.floats(0, TTL / 10)
        ),
        max_size=40,
    )
)
def test_hits_are_those_of_a_cache_kept_by_hand(
    requests: list[tuple[str, float, float | None]],
) -> None:
    requests.sort(key=lambda one: one[1])
    cache = Repeats()
    kept: dict[str, float] = {}
    for name, started, took in requests:
        since = kept.get(name)
        hit = since is not None and since <= started <= since + TTL
        ended = None if took is None else started + took
        assert cache.take("r", name, started, ended, 1) == hit
        if not hit and ended is not None and (since is None or started > since + TTL):
            kept[name] = ended
