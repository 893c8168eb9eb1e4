from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.sealed import PREFIX, is_sealed, unwrap, wrap


@given(st.binary())
def test_what_is_wrapped_comes_back(data: bytes) -> None:
    content = wrap(data)
    assert content.isascii()
    assert is_sealed(content)
    assert unwrap(content) == data


@pytest.mark.parametrize("rest", ["!", "a", "é", "a b"])
def test_what_is_no_base64_is_told(rest: str) -> None:
    with pytest.raises(ValueError, match=r"base64|ASCII"):
        unwrap(PREFIX + rest)
