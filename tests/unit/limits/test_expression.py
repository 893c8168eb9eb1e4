"""What a limit says, and what it must not say."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limits.expression import MOST, SECONDS, Expression, read
from extproc.limits.rule import Measure
from extproc.rule_error import RuleError

MEASURES = st.sampled_from(get_args(Measure))


@pytest.mark.parametrize(
    ("measure", "text", "amount", "most", "unit"),
    [
        ("tokens", "100000/h", 100_000, 100_000, "h"),
        ("tokens", "100k/h", 100_000, 100_000, "h"),
        ("tokens", "100K/h", 100_000, 100_000, "h"),
        ("tokens", "5M/d", 5_000_000, 5_000_000, "d"),
        ("tokens", "1.5M/d", 1_500_000, 1_500_000, "d"),
        ("tokens", "2G/mo", 2_000_000_000, 2_000_000_000, "mo"),
        ("requests", "1_000/m", 1000, 1000, "m"),
        ("requests", "  10/s  ", 10, 10, "s"),
        ("input_tokens", "100000/h burst 2x", 100_000, 200_000, "h"),
        ("input_tokens", "100000/h burst 1.5x", 100_000, 150_000, "h"),
        ("input_tokens", "100000/h burst 5000", 100_000, 5000, "h"),
        ("input_tokens", "100000/h burst 200k", 100_000, 200_000, "h"),
        ("requests", "3/s burst 1.5x", 3, 4, "s"),
        ("usd", "5/mo", 5_000_000_000, 5_000_000_000, "mo"),
        ("usd", "0.50/d", 500_000_000, 500_000_000, "d"),
        ("usd", "0.000000001/d", 1, 1, "d"),
        ("usd", "1k/w", 10**12, 10**12, "w"),
        ("usd", "1/h burst 0.5", 10**9, 5 * 10**8, "h"),
        ("tokens", "8000/request", 8000, 8000, "request"),
        ("usd", "0.1/request", 10**8, 10**8, "request"),
        ("tokens", f"{MOST}/d", MOST, MOST, "d"),
        ("concurrent", "5", 5, 5, ""),
        ("concurrent", 5, 5, 5, ""),
        ("concurrent", 5.0, 5, 5, ""),
    ],
)
def test_what_is_said(measure: Measure, text: Any, amount: int, most: int, unit: str) -> None:
    found = read(measure, text)
    assert (found.amount, found.most, found.unit, found.rolling) == (amount, most, unit, False)


@pytest.mark.parametrize("unit", ["m", "h", "d", "w"])
def test_rolling(unit: str) -> None:
    found = read("tokens", f"10000/{unit} rolling")
    assert found.rolling
    assert not found.bucket
    assert not found.calendar


@pytest.mark.parametrize(
    ("measure", "text", "message"),
    [
        ("tokens", "100/x", "no unit 'x'; there is s, m, h, d, w, mo and request"),
        ("tokens", "100/day", "no unit 'day'; did you mean '/d'?"),
        ("tokens", "100/Hours", "no unit 'Hours'; did you mean '/h'?"),
        ("tokens", "100/M", "no unit 'M'; did you mean '/m'?"),
        ("tokens", "100/", "no unit ''; there is"),
        ("tokens", "100", "'100' does not say for how long; write it as 100000/h"),
        ("tokens", 100, "'100' does not say for how long"),
        ("tokens", "", "'' does not say for how long"),
        ("tokens", None, "nothing is not a limit"),
        ("tokens", True, "true is not a limit"),
        ("tokens", {}, "a mapping is not a limit"),
        ("tokens", "-1/h", "'-1' is negative"),
        ("tokens", "0/h", "is zero, so nothing would pass"),
        ("tokens", "0.0/h", "is zero, so nothing would pass"),
        ("tokens", "1.5/h", "'1.5' has a fraction; tokens are whole"),
        ("requests", "0.5/s", "'0.5' has a fraction; requests are whole"),
        ("usd", "0.0000000001/d", "a nano-dollar is the least"),
        ("usd", "1e3/d", "is in scientific notation"),
        ("usd", "1E-3/d", "is in scientific notation"),
        ("usd", "$5/d", "leave the $ out"),
        ("usd", "9007200/mo", "is too large; 9007199.254740992 is the most"),
        ("tokens", f"{MOST + 1}/d", f"is too large; {MOST} is the most"),
        ("tokens", f"{'9' * 40}/d", "is too long"),
        ("tokens", "9" * 200, "200 characters are not a limit"),
        ("tokens", "1.0000000000000000000000000001/h", "is too long"),
        ("tokens", "5m/d", "millions are 5M"),
        ("tokens", "_5/d", "is not a number of tokens, e.g. 100000"),
        ("tokens", "\u0665/d", "is not a number of tokens"),
        ("tokens", "inf/d", "is not a number of tokens"),
        ("usd", "nan/d", "is not a number of dollars, e.g. 0.50"),
        ("tokens", "100 / h", "does not say for how long"),
        ("tokens", "100/h brust 2x", "no option 'brust'; there is burst and rolling"),
        ("tokens", "100/h burst", "burst says not how much"),
        ("tokens", "100/h burst 2x burst 3x", "'burst' is there twice"),
        ("tokens", "100/m rolling rolling", "'rolling' is there twice"),
        ("tokens", "100/h burst 0.5x", "burst: 0.5x is less than the amount itself"),
        ("tokens", "100/h burst 0", "burst: is zero"),
        ("tokens", "100/h burst -1", "burst: '-1' is negative"),
        ("tokens", "5G/h burst 9999999x", "burst: 9999999x is too large"),
        ("tokens", "100/d burst 2x", "a calendar window (/d) has no burst"),
        ("tokens", "100/h rolling burst 2x", "a rolling window has no burst"),
        ("tokens", "100/s rolling", "/s is a bucket that refills evenly; rolling is for"),
        ("tokens", "100/mo rolling", "/mo keeps to the calendar; rolling is for"),
        ("tokens", "100/request rolling", "has no window that could roll"),
        ("tokens", "100/request burst 2x", "a single request has no burst"),
        ("requests", "1/request", "a single request is always one"),
        ("concurrent", "5/m", "has no unit; write concurrent: 5"),
        ("concurrent", 0, "is zero"),
        ("concurrent", -1, "is negative"),
        ("concurrent", 1.5, "has a fraction"),
        ("concurrent", float("inf"), "is not a number of requests"),
        ("concurrent", True, "true is not a number of requests"),
        ("concurrent", None, "nothing is not a number of requests"),
    ],
)
def test_what_cannot_be(measure: Measure, text: Any, message: str) -> None:
    with pytest.raises(RuleError) as error:
        read(measure, text)
    assert message in error.value.message
    assert len(error.value.message) < 300


def test_integers_that_python_does_not_write() -> None:
    huge = 10**5000
    with pytest.raises(RuleError, match="is too large"):
        read("concurrent", huge)
    with pytest.raises(RuleError, match="is negative"):
        read("concurrent", -huge)
    with pytest.raises(RuleError, match="does not say for how long"):
        read("tokens", huge)
    with pytest.raises(RuleError, match="is too large"):
        read("tokens", "1/h", burst=huge)


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    measure = draw(MEASURES)
    amount = draw(st.integers(1, MOST))
    if measure == "concurrent":
        return Expression(measure=measure, amount=amount, unit="", most=amount)
    unit = draw(st.sampled_from(list(SECONDS)))
    rolling = unit in {"m", "h", "d", "w"} and draw(st.booleans())
    most = amount
    if unit in {"s", "m", "h"} and not rolling:
        most = draw(st.one_of(st.just(amount), st.integers(1, MOST)))
    return Expression(measure=measure, amount=amount, unit=unit, most=most, rolling=rolling)


@given(expressions())
def test_what_is_written_reads_as_the_same(said: Expression) -> None:
    assert read(said.measure, said.text) == said


@given(
    MEASURES,
    st.one_of(
        st.text(),
        st.text("0123456789._/kMGx smhdwo-+e$burstoling", max_size=40),
        st.from_regex(r"[0-9._]{1,20}[kMG]?/(s|m|h|d|w|mo|request)( burst [0-9.]+x?| rolling)*"),
        st.integers(),
        st.floats(),
        st.none(),
        st.booleans(),
        st.lists(st.integers()),
    ),
    st.one_of(st.none(), st.text(max_size=12), st.integers(), st.floats(), st.booleans()),
    st.booleans(),
)
def test_whatever_is_said_is_read_or_refused(
    measure: Measure,
    said: Any,
    burst: Any,
    rolling: bool,
) -> None:
    try:
        found = read(measure, said, burst=burst, rolling=rolling)
    except RuleError as error:
        refused = error
    else:
        assert 1 <= found.amount <= MOST
        assert 1 <= found.most <= MOST
        assert read(measure, found.text) == found
        return
    assert refused.message.isprintable()
    assert refused.path in {(), ("burst",)}
