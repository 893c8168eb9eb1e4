"""Which values have been seen, in memory that is all there from the start."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting.rollup.entries import Limits
from extproc.accounting.rollup.seen import Seen


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=2) | st.none()), max_size=60),
    st.integers(0, 8),
)
def test_each_sort_has_room_for_so_many_and_forgets_none(
    said: list[tuple[str, str | None]], most: int
) -> None:
    seen = Seen(2 * most)
    known: dict[str, set[str | None]] = {"a": set(), "b": set()}
    for sort, value in said:
        expected = value in known[sort] or len(known[sort]) < most
        assert seen.room(sort, value, most) == expected
        if expected:
            known[sort].add(value)
        assert seen.held == sum(map(len, known.values()))


def test_a_table_that_is_as_full_as_was_said_takes_all_of_them_and_no_more() -> None:
    seen = Seen(3_000)
    for sort in range(3):
        assert all(seen.room(sort, number, 1_000) for number in range(1_000))
    for sort in range(3):
        assert not any(seen.room(sort, number, 1_000) for number in range(1_000, 2_000))
        assert all(seen.room(sort, number, 1_000) for number in range(1_000))
    assert seen.held == 3_000


def test_more_than_was_said_is_refused_and_not_looked_for_forever() -> None:
    seen = Seen(10)
    taken = sum(seen.room("a", number, 1_000) for number in range(1_000))
    assert 10 <= taken < 30
    assert all(seen.room("b", number, 0) is False for number in range(10))


def test_no_memory_is_taken_but_at_first() -> None:
    limits = Limits()
    tracemalloc.start()
    try:
        seen = Seen(limits.all)
        first, _ = tracemalloc.get_traced_memory()
        for number in range(60_000):
            seen.room(("full", 0), f"user-{number}", limits.full)
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen.held == limits.full
    assert first < 2_200_000
    assert last - first < 10_000
