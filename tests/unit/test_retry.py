"""How long a provider asks to be left alone."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.retry import MAX_WAIT, retry_after


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9, 9),
        ({"retry-after": "-5"}, 0, 0),
        ({"retry-after": "1e300"}, 86_400, 86_400),
        ({"retry-after": "inf"}, 86_400, 86_400),
    ],
)
def test_retry_after(headers: dict[str, str], low: float, high: float) -> None:
    wait = retry_after(headers)
    assert wait is not None
    assert low <= wait <= high


def test_retry_after_as_a_date() -> None:
    soon = retry_after({"retry-after": in_seconds(60)})
    assert soon is not None
    assert 50 <= soon <= 60
    assert retry_after({"retry-after": in_seconds(-60)}) == 0


@pytest.mark.parametrize("value", ["", "soon", "nan", "Mon, 99 Foo 2026", "1 2", "٣s"])
def test_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after({"retry-after": value}) is None
    assert retry_after({}) is None


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms"]),
        st.text(max_size=40) | st.floats().map(str) | st.datetimes().map(format_datetime),
    )
)
def test_whatever_is_said_is_a_wait_or_nothing(headers: dict[str, str]) -> None:
    wait = retry_after(headers)
    assert wait is None or 0 <= wait <= MAX_WAIT
