from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.normal import Folding

FOLDING = Folding()


@given(st.text())
def test_every_place_of_the_folded_text_is_one_of_the_text_as_given(text: str) -> None:
    normal = FOLDING.fold(text)
    assert len(normal.lower) == len(normal.text)
    reached = 0
    for at, one in enumerate(normal.text):
        start, end = normal.span(at, at + 1)
        assert end == start + 1
        assert start >= reached
        assert FOLDING[ord(text[start])] == one
        reached = end
    if normal.text:
        first, last = normal.span(0, len(normal.text))
        assert FOLDING.fold(text[first:last]).text == normal.text


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    once = FOLDING.fold(text).text
    assert FOLDING.fold(once).text == once


def test_names_in_other_scripts_keep_their_letters() -> None:
    for text in ("山田太郎", "Zoë Müller", "محمد", "श्याम"[:1], "Łukasz Žižek"):
        assert FOLDING.fold(text).text == text


def test_ascii_is_as_it_is() -> None:
    text = "a\tb\r\nc ~!@#"
    assert FOLDING.fold(text).text == text
    assert FOLDING.fold("4\x001\x081").text == "411"
