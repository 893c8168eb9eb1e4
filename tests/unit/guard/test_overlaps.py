from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from extproc.guard import Finding
from extproc.guard.overlaps import apart

findings = st.builds(
    lambda start, size, kind, sure: Finding(start, start + size, kind, sure),
    st.integers(0, 40), st.integers(1, 20),
    st.sampled_from(["PERSON", "SECRET", "API_KEY", "CUSTOM:x", "PHONE_NUMBER"]),
    st.floats(0.1, 1),
)  # fmt: skip


@given(st.lists(findings))
def test_what_stays_is_in_order_and_apart(found: list[Finding]) -> None:
    kept = apart(found)
    for one, other in pairwise(kept):
        assert one.end <= other.start
    assert bool(kept) == bool(found)
    assert apart(kept) == kept


def test_of_two_the_one_that_holds_the_other_stays() -> None:
    street = Finding(0, 30, "STREET_ADDRESS", 0.6)
    assert apart([street, Finding(5, 15, "PHONE_NUMBER", 0.9)]) == [street]


def test_of_two_in_the_same_place_the_one_with_a_form_stays() -> None:
    key = Finding(0, 30, "API_KEY", 0.9)
    assert apart([Finding(0, 30, "PASSWORD", 0.95), key]) == [key]
    assert apart([Finding(0, 34, "SECRET", 0.7), Finding(4, 34, "API_KEY", 0.9)]) == [
        Finding(0, 34, "API_KEY", 0.9)
    ]


def test_nothing_of_a_number_is_left_over_where_an_address_holds_a_part_of_it() -> None:
    street, phone = Finding(0, 20, "STREET_ADDRESS", 0.9), Finding(15, 30, "PHONE_NUMBER", 0.6)
    assert apart([street, phone]) == [Finding(0, 15, "STREET_ADDRESS", 0.9), phone]
    behind = Finding(25, 40, "PERSON", 0.9)
    assert apart([phone, behind]) == [phone, Finding(30, 40, "PERSON", 0.9)]


@given(st.lists(findings))
def test_every_character_that_was_found_still_is(found: list[Finding]) -> None:
    kept = apart(found)
    for one in found:
        for at in range(one.start, one.end):
            assert any(other.start <= at < other.end for other in kept)
