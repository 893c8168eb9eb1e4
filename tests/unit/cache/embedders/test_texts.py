from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.embedders.texts import ends, readable

ANY = st.text(st.characters(codec=None))  # halves of pairs among them


def test_halves_of_pairs_are_replaced_and_pairs_become_characters() -> None:
    assert readable("a\ud800b") == "a\ufffdb"
    assert readable("\ud83d\ude42") == "🙂"
    assert readable("\ufeffa") == "\ufeffa"


@given(ANY)
def test_every_text_can_be_sent_after(text: str) -> None:
    shown = readable(text)
    shown.encode()
    assert readable(shown) is shown


@given(ANY, st.integers(3, 40))
def test_what_is_left_of_a_long_text_is_its_ends(text: str, most: int) -> None:
    left = ends(text, most)
    assert len(left) <= most
    if len(text) <= most:
        assert left == text
    else:
        assert text.startswith(left.split(" ")[0] if " " not in text else left[:1])
        assert left[-1] == text[-1]
