from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.triggers import EVERY, triggers

PIECES = st.sampled_from(sorted(EVERY)).flatmap(
    lambda one: st.integers(1, len(one)).map(lambda size: one[:size])
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join))
def test_just_those_are_told_that_are_in_the_text(text: str) -> None:
    shown = text.encode("utf-8", "replace").decode()
    assert triggers(text) == {one for one in EVERY if one in shown}
