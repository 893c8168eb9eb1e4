from __future__ import annotations

import pytest

from extproc.errors import Reason, Refusal
from extproc.filters.verdict import Note, decode, encode, note_of, verdict, with_unsaid


def note(reason: Reason, wait: float | None = None) -> Note:
    return Note("t", reason, 503, wait)


def test_nothing_but_the_requests_own_fault_is_400() -> None:
    error = verdict([note(Reason.FEATURE), note(Reason.CONTEXT)])
    assert (error.status, error.code) == (400, "context_length_exceeded")


def test_nothing_but_capacity_is_429_with_the_smallest_wait() -> None:
    error = verdict([note(Reason.CAPACITY, 20), note(Reason.CAPACITY, 3.2), note(Reason.CAPACITY)])
    assert error.status == 429
    assert dict(error.headers())["retry-after"] == "4"


def test_a_wrong_key_that_nobody_made_good_is_502() -> None:
    assert verdict([note(Reason.CREDENTIALS)]).status == 502
    assert verdict([note(Reason.CREDENTIALS), note(Reason.TIMEOUT)]).status == 502


@pytest.mark.parametrize(
    "reasons",
    [(), (Reason.TIMEOUT,), (Reason.CAPACITY, Reason.CONTEXT), (Reason.UNHEALTHY, Reason.CAPACITY)],
)
def test_anything_else_is_503(reasons: tuple[Reason, ...]) -> None:
    assert verdict([note(reason) for reason in reasons]).status == 503


def test_a_note_survives_the_store() -> None:
    left = note_of("claude", Refusal(Reason.CAPACITY, 429, 1.5, "slow down"))
    assert decode([encode(left), b"not a note", b"\xff"]) == [left]


def test_a_wait_is_told_in_whole_seconds_rounded_up() -> None:
    for wait, told in ((0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60")):
        error = verdict([note(Reason.CAPACITY, wait)])
        assert dict(error.headers())["retry-after"] == told


def test_levels_without_a_note_are_told_in_their_place() -> None:
    levels = [["a"], ["b", "c"], ["d"], ["e"]]
    notes = [Note("c", Reason.CAPACITY, 429), Note("d", Reason.CONTEXT, 503)]
    found = with_unsaid(notes, levels, Reason.TIMEOUT)
    assert [(one.target, one.reason) for one in found] == [
        ("a", Reason.UNAVAILABLE),
        ("c", Reason.CAPACITY),
        ("d", Reason.CONTEXT),
        ("e", Reason.TIMEOUT),
    ]
    assert [one.unsaid for one in found] == [True, False, False, True]


def test_which_of_a_shared_level_it_was_is_not_known() -> None:
    (found,) = with_unsaid([], [["a", "b"]], Reason.UNAVAILABLE)
    assert found.target == "chain"
