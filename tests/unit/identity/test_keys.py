import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.identity.keys import ALPHABET, LENGTH, SCANNED, is_id, mint, parse

base62 = st.text(ALPHABET, min_size=12, max_size=12)


def test_a_key_has_its_parts_where_scanners_look_for_them() -> None:
    key = mint()
    assert len(key.text) == LENGTH == 53
    assert re.fullmatch(SCANNED, key.text)
    assert key.text[3:15] == key.id
    number = 0
    for digit in key.text[-6:]:
        number = 62 * number + ALPHABET.index(digit)
    assert number == zlib.crc32(key.text[:-6].encode())


def test_no_two_keys_are_the_same() -> None:
    keys = [mint() for _ in range(200)]
    assert len({one.id for one in keys}) == len({one.text for one in keys}) == 200


def test_one_more_secret_for_an_id() -> None:
    first = mint()
    second = mint(first.id)
    assert second.id == first.id
    assert second.text != first.text


def test_a_key_does_not_show_itself() -> None:
    key = mint()
    assert key.text not in repr(key)
    assert key.id in repr(key)


def test_a_key_is_found_in_text() -> None:
    key = mint().text
    leak = f'curl -H "authorization: Bearer {key}" # tg-{"x" * 50}'
    assert [one for one in re.findall(SCANNED, leak) if parse(one)] == [key]


@given(base62)
def test_what_is_minted_is_parsed(key_id: str) -> None:
    key = mint(key_id)
    assert parse(key.text) == key
    assert is_id(key.id)


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    text = mint().text
    at = data.draw(st.integers(0, LENGTH - 1))
    other = data.draw(st.characters().filter(lambda one: one != text[at]))
    assert parse(text[:at] + other + text[at + 1 :]) is None


@given(st.text() | st.text(ALPHABET, min_size=50, max_size=50).map("tg-".__add__))
def test_other_text_is_no_key(text: str) -> None:
    found = parse(text)
    assert found is None or found.text == text


@pytest.mark.parametrize("change", [" {}", "{} ", "{}\n", "{}x", "TG{}", "", "tg-"])
def test_a_key_and_something_else_is_no_key(change: str) -> None:
    assert parse(change.format(mint().text)) is None


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 13, "x" * 11 + "-", "x" * 12 + "\n"])
def test_other_text_is_no_id(text: str) -> None:
    assert not is_id(text)
