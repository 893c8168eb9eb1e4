from hypothesis import given
from hypothesis import strategies as st

from extproc.catalogue import estimate, estimate_text


def test_english_is_about_four_characters_a_token() -> None:
    assert estimate(400, 0) == 100
    assert estimate(1, 0) == 1
    assert estimate(0, 0) == 0


def test_chinese_is_about_a_token_a_character() -> None:
    assert estimate_text("今天天气怎么样") == 7


def test_each_message_costs_its_frame() -> None:
    assert estimate(400, 0, messages=3) == 112


def test_nonsense_is_never_negative() -> None:
    assert estimate(-5, -5) == 0


@given(st.text())
def test_a_text_is_the_sum_of_its_parts(text: str) -> None:
    ascii_bytes = sum(one.isascii() for one in text)
    assert estimate_text(text) == estimate(ascii_bytes, len(text) - ascii_bytes)
