"""Counts of wordings are those of a recount of all entries, in whatever order they come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.wordings import Wordings

FAMILIES = (b"p", b"q")
ANSWERS = (1, 2, 3)  # of the first family the odd ones
ENTRIES = range(1, 12)


def family(answer: int) -> bytes:
    return FAMILIES[answer % 2]


steps = st.lists(
    st.tuples(st.sampled_from(ENTRIES), st.sampled_from(ANSWERS), st.booleans()), max_size=60
)


@given(steps)
def test_counts_are_those_of_a_recount(moves: list[tuple[int, int, bool]]) -> None:
    wordings = Wordings()
    heard: Counter[tuple[bytes, int]] = Counter()
    wordings.on_entered = lambda name, answer: heard.update([(name, answer)])
    wordings.on_left = lambda name, answer: heard.subtract([(name, answer)])
    held = {answer: answer for answer in ANSWERS}
    for answer in ANSWERS:
        wordings.placed(family(answer), answer, answer)
    for entry, answer, comes in moves:
        own = entry if entry in ANSWERS else answer
        if comes:
            held[entry] = own
            wordings.placed(family(own), entry, own)
        elif entry not in ANSWERS:  # their own entries go last
            held.pop(entry, None)
            wordings.gone(entry)
        counts = Counter(held.values())
        for name in FAMILIES:
            several = {one: count for one, count in counts.items() if count > 1}
            assert wordings.of(name) == {
                one: count for one, count in several.items() if family(one) == name
            }
        assert all(1 + heard[family(one), one] == counts[one] for one in ANSWERS)
        assert all(wordings.answer(one) == held.get(one, one) for one in ENTRIES)
    for entry in ENTRIES:
        wordings.gone(entry)
    assert len(wordings) == 0
    assert wordings.of(b"p") == wordings.of(b"q") == {}


def test_an_answer_whose_own_entry_went_first_is_still_shared() -> None:
    wordings = Wordings()
    for entry in (2, 3):
        wordings.placed(b"p", entry, 1)
    assert wordings.of(b"p") == {1: 3}
    wordings.gone(1)
    assert wordings.of(b"p") == {1: 2}
    wordings.placed(b"p", 1, 1)
    assert wordings.of(b"p") == {1: 3}


def test_completion_is_told_once() -> None:
    wordings, told = Wordings(), [0]
    wordings.on_complete = lambda: told.append(1)
    wordings.completed()
    wordings.completed()
    assert wordings.complete
    assert told == [0, 1]
