import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.equality import ALIKE, NEAR, conclusion, same


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Paris.", "  paris"),
        ("**Paris**", "Paris"),
        ("So she makes 9 * $2 = $18 a day.", "16 - 3 - 4 = <<16-3-4=9>>9.\n#### 18"),
        ("The answer is 1,200.", "600 + 600 = 1200"),
    ],
)
def test_the_same_in_other_words(a: str, b: str) -> None:
    assert same(a, b)
    assert same(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Yes, you may.", "No, you may not."),
        ("It takes 3 bolts.", "It takes 4 bolts."),
        ("The capital is Paris.", "The capital is Lyon."),
        ("It is open.", "It is closed."),
        ("It costs 5.", "It is free."),
    ],
)
def test_different_however_near(a: str, b: str) -> None:
    assert not same(a, b, 0.99)
    assert not same(b, a, 0.99)


def test_what_has_no_number_is_judged_by_its_vector() -> None:
    a = "Photosynthesis turns light into sugar."
    b = "Plants make sugar with the help of light."
    assert same(a, b, NEAR)
    assert not same(a, b, NEAR - 0.01)
    assert not same(a, b)


def test_the_same_number_about_something_else_is_not_the_same() -> None:
    assert not same("The bridge is 300 m long.", "He was born in 300", ALIKE - 0.01)


def test_an_answer_comes_to_its_last_number_or_the_marked_one() -> None:
    assert conclusion("no number here") is None
    assert conclusion("3 + 4 = 7 apples") == "7"
    assert conclusion("The answer is 12, of 40 in all.") == "12"
    assert conclusion(r"so \boxed{1,024} it is, see [3]") == "1024"
    assert conclusion("#### 18\n\nof 20") == "18"


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_answer_makes_it_fail_and_sides_do_not_matter(a: str, b: str) -> None:
    assert same(a, a)
    assert same(a, b, 0.9) == same(b, a, 0.9)


def test_the_same_number_of_somebody_else_is_another_answer() -> None:
    assert not same("Anna has 3 children.", "Berta has 3 children.", 0.9)
    assert same("Anna has 3 children.", "anna has 3 children", 0.9)
    assert same("The answer is 3.", "It is 3.", 0.9)
