import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import Usage, estimated, read_answer, usage_of

FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
}
RESPONSE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 30},
    "total_tokens": 150,
}
MESSAGE = {
    "input_tokens": 20,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 30},
    "server_tool_use": {"web_search_requests": 1},
    "service_tier": "standard",
}
ALL = Usage(100, 50, 60, 20, 30)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
figure = st.integers(-1, 200) | anything
figures = st.dictionaries(
    st.sampled_from([*FULL, *RESPONSE, *MESSAGE, "prompt_cache_hit_tokens", "iterations"]), figure
)
details = st.dictionaries(
    st.sampled_from(
        [
            "cached_tokens",
            "cache_write_tokens",
            "cache_write_1h_tokens",
            "audio_tokens",
            "reasoning_tokens",
            "thinking_tokens",
            "ephemeral_5m_input_tokens",
            "ephemeral_1h_input_tokens",
        ]
    ),
    figure,
)
DETAILS = [name for name in {**FULL, **RESPONSE, **MESSAGE} if "details" in name]
FORMATS = ["chat", "completions", "embeddings", "responses", "messages", "count_tokens"]


def body(**members: Any) -> bytes:
    return json.dumps(
        {"id": "x", "model": "gpt-4o", "choices": [], "usage": FULL} | members
    ).encode()


def test_all_figures_of_an_answer_are_read() -> None:
    assert read_answer(body()) == (Usage(100, 50, 60, 20, 30), "gpt-4o")


@pytest.mark.parametrize(
    ("format_", "usage", "want"),
    [
        ("completions", FULL, ALL),
        ("responses", RESPONSE, ALL),
        ("messages", MESSAGE, Usage(100, 50, 60, 20, 30, cache_write_1h=15)),
        ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ("embeddings", {"total_tokens": 8}, Usage(8)),
    ],
)
def test_each_format_tells_the_same(format_: str, usage: dict[str, Any], want: Usage) -> None:
    assert read_answer(body(usage=usage), format_) == (want, "gpt-4o")


def test_counting_tokens_uses_none() -> None:
    assert read_answer(b'{"input_tokens": 2095}', "count_tokens") == (Usage(0, 0), None)
    assert read_answer(b'{"error": {}}', "count_tokens") == (None, None)


def test_sound_and_writes_to_live_an_hour_are_told_apart() -> None:
    usage = FULL | {
        "prompt_tokens_details": {
            "audio_tokens": 70,
            "cache_write_tokens": 20,
            "cache_write_1h_tokens": 15,
        },
        "completion_tokens_details": {"audio_tokens": 45},
    }
    want = Usage(100, 50, 0, 20, cache_write_1h=15, audio_input=70, audio_output=45)
    assert usage_of(usage) == want


def test_deepseeks_own_name_for_cached_input_is_known() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
    }
    assert usage_of(usage) == Usage(100, 5, 64)
    both = usage | {"prompt_tokens_details": {"cached_tokens": 60}}
    assert usage_of(both) == Usage(100, 5, 60)


def test_groqs_own_place_for_usage_is_read() -> None:
    answer = body(usage=None, x_groq={"id": "r", "usage": FULL})
    assert read_answer(answer) == (ALL, "gpt-4o")


def test_an_hours_writes_are_summed_where_no_total_is_given() -> None:
    usage = {name: MESSAGE[name] for name in ("input_tokens", "output_tokens", "cache_creation")}
    assert usage_of(usage, "messages") == Usage(40, 50, 0, 20, cache_write_1h=15)


def test_what_a_compaction_used_is_billed_too() -> None:
    compaction = {"type": "compaction", "input_tokens": 1000, "output_tokens": 200}
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "iterations": [
            compaction | {"cache_read_input_tokens": 500, "cache_creation_input_tokens": 0},
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {"type": "advisor_message", "model": "m", "input_tokens": 9, "output_tokens": 9},
            "nonsense",
        ],
    }
    assert usage_of(usage, "messages") == Usage(1510, 205, 500)


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


@given(st.sampled_from(FORMATS), figures, st.lists(details, min_size=5, max_size=5))
def test_no_usage_can_break_the_accounts(
    format_: str, usage: dict[str, Any], parts: list[Any]
) -> None:
    usage |= dict(zip([*DETAILS, "cache_creation"], parts, strict=True))
    found, model = read_answer(body(usage=usage), format_)
    assert model == "gpt-4o"
    if found is not None:
        assert 0 <= found.cached_input + found.cache_write <= found.input <= 10**9
        assert 0 <= found.cache_write_1h <= found.cache_write
        assert 0 <= found.audio_input <= found.input
        assert 0 <= found.reasoning <= found.output <= 10**9
        assert 0 <= found.audio_output <= found.output
        assert min(found.cached_input, found.cache_write) >= 0


def test_an_estimate_says_that_it_is_one() -> None:
    assert estimated(12, 40, 3) == Usage(12, 13, estimated=True)
    assert estimated(-1, 0, 0) == Usage(0, 0, estimated=True)
