"""Questions: what they may ask for and how they are written."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting.rollup import Condition, Question, QuestionError, moment, question
from extproc.state import DAY, HOUR

_NOW = 1_795_416_330.0  # 2026-11-23 06:45:30 UTC


def test_a_question_as_a_url_has_it() -> None:
    found = question(
        [
            *(("by", "feature,model"), ("by", "label-ENV"), ("since", "7d"), ("until", "1h")),
            *(("where", "tenant=acme"), ("where", "tenant=zoo"), ("where", "user!=")),
            *(("compare", "previous"), ("top", "5"), ("latency", "1")),
        ],
        _NOW,
    )
    assert found.by == ("feature", "model", "label:env")
    assert (found.since, found.until) == (_NOW - 7 * DAY, _NOW - HOUR)
    assert found.where == (
        Condition("tenant", frozenset({"acme", "zoo"})),
        Condition("user", frozenset({None}), negated=True),
    )
    assert (found.compare, found.top, found.latency) == (True, 5, True)


def test_nothing_said_is_the_last_week_in_one_row() -> None:
    found = question([], _NOW)
    assert (found.by, found.since, found.until) == ((), _NOW - 7 * DAY, _NOW)


def test_time_is_widened_to_whole_hours_and_by_day_to_whole_days() -> None:
    assert Question(since=3601.5, until=7200.0).span == (3600, 7200)
    assert Question(since=3601.5, until=7200.1).span == (3600, 10800)
    assert Question(since=3601.5, until=7200.1, by=("hour",)).span == (3600, 10800)
    assert Question(since=3601.5, until=7200.1, by=("day",)).span == (0, DAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", _NOW - 7 * DAY),
        ("24h", _NOW - DAY),
        ("90m", _NOW - 5400),
        ("2w", _NOW - 14 * DAY),
        ("30s", _NOW - 30),
        ("now", _NOW),
        ("99999w", 0.0),
        ("2026-11-23", 1_795_392_000.0),
        ("20261123", 1_795_392_000.0),
        ("2026-11-23T06:00", 1_795_413_600.0),
        ("2026-11-23T06:00:00Z", 1_795_413_600.0),
        ("2026-11-23T06:00:00+01:00", 1_795_410_000.0),
        ("1795413600", 1_795_413_600.0),
        ("1795413600.25", 1_795_413_600.25),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert moment(text, _NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7 d", "-7d", "7y", "nan", "inf", "1e9", "2026", "2026-13-01", "\u0667d"],
)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(QuestionError, match="is no time: write 7d, 24h, 90m or a date"):
        moment(text, _NOW)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            [("by", "colour")],
            "unknown dimension 'colour'; there are: tenant, team, .*label:NAME, h",
        ),
        ([("by", "labels")], "unknown dimension 'labels'"),
        ([("by", "label:")], "unknown dimension 'label:'"),
        ([("by", "session")], "unknown dimension 'session'"),
        ([("by", "x\n<b>" * 100)], r"unknown dimension 'x\\n<b>x.{60,200}\.\.\.'; there are"),
        ([("by", "hour,day")], "not both"),
        ([("by", ",".join(["user"] + [f"label:l{n}" for n in range(8)]))], "at most 8 dimensions"),
        ([("where", "tenant")], "'tenant' is no condition: write dimension=value"),
        ([("where", "hour=3")], "unknown dimension 'hour'; there are: .*label:NAME$"),
        ([("where", f"label:l{n}=x") for n in range(65)], "64 conditions"),
        ([("top", "0")], "`top` must be between 1 and 10000"),
        ([("top", "-1")], "`top` must be between"),
        ([("top", "99999")], "`top` must be between"),
        ([("top", "\u0663")], "`top` must be between"),
        ([("top", "9" * 5000)], "`top` must be between"),
        ([("compare", "next")], "`compare` can be `previous` only"),
        ([("latency", "yes")], "`latency` can be 1 or 0"),
        ([("since", "1h"), ("until", "2h")], "`since` must be before `until`"),
        ([("since", "0001-01-01")], "neither before 1970"),
        ([("since", "2020-01-01")], "must not exceed 1100 days"),
        ([("since", "60d"), ("by", "hour")], "at most 750 hours or days"),
        ([("since", "7d"), ("since", "8d")], "`since` is given twice"),
        ([("sice", "7d")], "unknown parameter 'sice'; there are: by, where, since"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    parameters: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(QuestionError, match=words):
        question(parameters, _NOW)


@pytest.mark.parametrize("since", [math.nan, math.inf, -1.0, 10.0])
def test_a_window_that_is_none_is_refused(since: float) -> None:
    with pytest.raises(QuestionError, match="since"):
        Question(since=since, until=10.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["by", "since", "until", "where", "compare", "top", "latency"])
            | st.text(max_size=5),
            st.text(max_size=20),
        ),
        max_size=4,
    )
)
def test_any_text_is_a_question_or_refused(parameters: list[tuple[Any, str]]) -> None:
    try:
        found = question(parameters, _NOW)
    except QuestionError:
        return
    since, until = found.span
    assert 0 <= since < until
