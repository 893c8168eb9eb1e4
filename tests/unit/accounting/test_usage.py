import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import Usage, estimated, read_answer, read_chunk, usage_of

FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
}
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
figures = st.dictionaries(st.sampled_from([*FULL, "other"]), anything)
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens"]), anything
)


def body(**members: Any) -> bytes:
    return json.dumps(
        {"id": "x", "model": "gpt-4o", "choices": [], "usage": FULL} | members
    ).encode()


def test_all_figures_of_an_answer_are_read() -> None:
    assert read_answer(body()) == (Usage(100, 50, 60, 20, 30), "gpt-4o")


def test_a_chunk_is_read_the_same_way() -> None:
    assert read_chunk(body()) == read_answer(body())


@pytest.mark.parametrize("wrong", [None, -1, 1.5, "12", True, [], {}, 10**30, 1_000_000_001])
def test_a_total_that_is_no_figure_makes_the_usage_unknown(wrong: object) -> None:
    assert read_answer(body(usage=FULL | {"prompt_tokens": wrong})) == (None, "gpt-4o")
    assert read_answer(body(usage=FULL | {"completion_tokens": wrong})) == (None, "gpt-4o")


@pytest.mark.parametrize("wrong", [None, -1, 1.5, "12", True, [], {}, 10**30])
def test_a_detail_that_is_no_figure_counts_nothing(wrong: object) -> None:
    usage = FULL | {
        "prompt_tokens_details": {"cached_tokens": wrong},
        "completion_tokens_details": {"reasoning_tokens": wrong},
    }
    assert usage_of(usage) == Usage(100, 50)
    assert usage_of(usage | {"prompt_tokens_details": wrong}) == Usage(100, 50)


def test_details_never_bill_more_than_the_whole() -> None:
    usage = FULL | {
        "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 90},
        "completion_tokens_details": {"reasoning_tokens": 51},
    }
    assert usage_of(usage) == Usage(100, 50, 90, 10, 50)


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"[]", b"null", b"{", b'{"usage": []}', b'{"usage": 1, "model": 2}', b"\xff"],
)
def test_what_cannot_be_read_is_unknown(data: bytes) -> None:
    assert read_answer(data) == (None, None)


def test_deep_nesting_is_unknown_not_a_crash() -> None:
    assert read_answer(b'{"usage":' + b"[" * 100_000) == (None, None)


@given(figures, details, details)
def test_no_usage_can_break_the_accounts(usage: dict[str, Any], into: Any, out: Any) -> None:
    usage |= {"prompt_tokens_details": into, "completion_tokens_details": out}
    found, model = read_answer(body(usage=usage))
    assert model == "gpt-4o"
    if found is not None:
        assert 0 <= found.cached_input + found.cache_write <= found.input <= 10**9
        assert 0 <= found.reasoning <= found.output <= 10**9


def test_an_estimate_says_that_it_is_one() -> None:
    assert estimated(12, 40, 3) == Usage(12, 13, estimated=True)
    assert estimated(-1, 0, 0) == Usage(0, 0, estimated=True)
