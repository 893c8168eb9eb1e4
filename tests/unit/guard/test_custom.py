# ruff: noqa: RUF001 - look-alikes
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.custom import PatternError, compiled
from extproc.guard.normal import Folding

FOLDING = Folding()


def found(text: str, words: list[str]) -> list[str]:
    custom = compiled({}, {"w": words}, FOLDING)
    normal = FOLDING.fold(text)
    return [normal.text[one.start : one.end] for one in custom.find(normal)]


def test_words_are_found_whole_and_whatever_their_case() -> None:
    words = ["Falcon", "Acme & Co", "C++", ".NET", "Straße 7", "acme"]
    assert found("FALCON falcons unfalcon Falcon's", words) == ["FALCON", "Falcon"]
    assert found("acme & co, Acme", words) == ["acme & co", "Acme"]
    assert found("C++ and c, .net", words) == ["C++", ".net"]
    assert found("in der straße 7, straße 77", words) == ["straße 7"]
    assert found("Fаlcon", words) == ["Falcon"]  # with a Cyrillic letter


def test_a_pattern_that_would_explode_elsewhere_takes_no_time() -> None:
    custom = compiled({"bomb": r"(a+)+$", "more": r"(x|x)*y"}, {}, FOLDING)
    start = time.process_time()
    assert list(custom.find(FOLDING.fold("a" * 20_000 + "!" + "x" * 20_000))) == []
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "pattern", ["(", r"(?=a)b", r"(a)\1", "a*", "", "x" * 3_000, r"(?:a{1000}){1000}", "\ud800"]
)
def test_a_pattern_that_cannot_be_kept_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"^p: "):
        compiled({"p": pattern}, {}, FOLDING)


@pytest.mark.parametrize(
    ("name", "words"), [("w", ["--"]), ("w", [""]), ("a b", ["x"]), ("", ["x"])]
)
def test_words_and_names_that_are_none_are_refused(name: str, words: list[str]) -> None:
    with pytest.raises(PatternError):
        compiled({}, {name: words}, FOLDING)


@given(st.text(alphabet="ab\u00fc\u4e00\U0001f600\ud800 "))
def test_offsets_are_characters(text: str) -> None:
    custom = compiled({"p": "[ab]+"}, {}, FOLDING)
    normal = FOLDING.fold(text)
    found = [(one.start, one.end) for one in custom.find(normal)]
    assert found == [one.span() for one in re.finditer("[ab]+", normal.text)]
