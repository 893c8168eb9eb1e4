"""What two detectors find is one list, and nothing of it is left over."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard import Finding
from extproc.guard.default import DetectorPolicy
from extproc.guard.together import Wanted, encodable, united

TEXT = "Ann Smith, ann@example.com, paid by 4111 1111 1111 1111 in Berlin."


def at(value: str, type_: str, confidence: float) -> Finding:
    start = TEXT.index(value)
    return Finding(start, start + len(value), type_, confidence)


def said(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.type, TEXT[one.start : one.end]) for one in found]


MAIL = at("ann@example.com", "EMAIL_ADDRESS", 0.97)
CARD = at("4111 1111 1111 1111", "CREDIT_CARD", 0.99)


def test_where_ours_is_sure_the_other_keeps_what_is_beside_it() -> None:
    person = at("Ann Smith, ann@example.com, paid", "PERSON", 0.85)
    assert said(united(TEXT, [MAIL, CARD], [person])) == [
        ("PERSON", "Ann Smith"),
        ("EMAIL_ADDRESS", "ann@example.com"),
        ("PERSON", "paid"),
        ("CREDIT_CARD", "4111 1111 1111 1111"),
    ]


def test_another_name_for_the_same_place_changes_nothing() -> None:
    others = [at("4111 1111 1111 1111", "US_BANK_NUMBER", 0.6), at("1111 1111", "PHONE_NUMBER", 1)]
    assert said(united(TEXT, [CARD], others[:1])) == [("CREDIT_CARD", "4111 1111 1111 1111")]
    assert [one.start for one in united(TEXT, [CARD], others)] == [CARD.start]


def test_the_longer_of_two_names_stays() -> None:
    first, whole = at("Ann", "PERSON", 0.9), at("Ann Smith", "PERSON", 0.85)
    assert said(united(TEXT, [first], [whole])) == [("PERSON", "Ann Smith")]
    assert said(united(TEXT, [whole], [first])) == [("PERSON", "Ann Smith")]


def test_nothing_more_changes_nothing() -> None:
    assert united(TEXT, [MAIL, CARD], []) == [MAIL, CARD]


spans = st.tuples(
    st.integers(0, 60),
    st.integers(1, 30),
    st.sampled_from(["PERSON", "EMAIL_ADDRESS", "CREDIT_CARD", "LOCATION"]),
    st.floats(0, 1),
)


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_no_letter_that_either_found_is_left_over(
    first: list[tuple[int, int, str, float]], second: list[tuple[int, int, str, float]]
) -> None:
    text = "ab cd ef-gh " * 8
    ours: list[Finding] = []
    for start, size, type_, sure in sorted(first):
        if not ours or start >= ours[-1].end:
            ours.append(Finding(start, start + size, type_, sure))
    others = [Finding(start, start + size, type_, sure) for start, size, type_, sure in second]
    found = united(text, ours, others)
    for one, following in pairwise(found):
        assert one.end <= following.start
    hidden = {place for one in found for place in range(one.start, one.end)}
    for one in ours:
        assert hidden >= {at for at in range(one.start, one.end) if text[at].isalnum()}
    for one in others:
        letters = [at for at in range(one.start, one.end) if text[at].isalnum()]
        # A single letter that is left of a finding tells nothing.
        left = [at for at in letters if at not in hidden]
        assert not any(b == a + 1 for a, b in pairwise(left))


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (DetectorPolicy(), {"PERSON", "FOO"}),
        (DetectorPolicy(named=frozenset({"LOCATION"})), {"PERSON", "FOO", "LOCATION"}),
        (DetectorPolicy(types=frozenset({"LOCATION", "PERSON"})), {"PERSON", "LOCATION"}),
        (DetectorPolicy(least=0.9), set()),
        (DetectorPolicy(least=0.9, least_of={"FOO": 0.5}), {"FOO"}),
        (DetectorPolicy(allow=("ANN  SMITH",)), {"FOO"}),
    ],
)
def test_a_route_gets_what_it_wants(policy: DetectorPolicy, wanted: set[str]) -> None:
    found = [
        at("Ann Smith", "PERSON", 0.8),
        at("Berlin", "LOCATION", 0.8),
        at("Berlin", "DATE_TIME", 0.8),
        at("paid", "FOO", 0.8),
    ]
    assert {one.type for one in Wanted(policy).of(TEXT, found)} == wanted


def test_what_no_utf8_can_carry_keeps_its_length() -> None:
    assert encodable("a\ud800b\U0001f600") == "a?b\U0001f600"
