"""How long a provider asks to be left alone, as headers say it. What is no such thing says
nothing: nothing here raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_WAIT: Final = 86_400.0
"""Seconds: a `retry-after` beyond a day is taken as a day."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `retry-after` in seconds or as a date."""
    if (found := headers.get("retry-after-ms")) is not None:
        wait = number(found)
        if wait is not None:
            return seconds(wait / 1000)
    if (found := headers.get("retry-after")) is None:
        return None
    wait = number(found)
    return seconds(wait) if wait is not None else _until(found)


def seconds(wait: float) -> float | None:
    """A wait that can be used: not negative, not NaN, at most MAX_WAIT."""
    if math.isnan(wait):
        return None
    return min(max(wait, 0.0), MAX_WAIT)


def number(value: str) -> float | None:
    """The number that a header's value is, maybe infinite or NaN."""
    try:
        return float(value.strip()[:32])
    except ValueError:
        return None


def until(then: datetime) -> float | None:
    """Seconds until a time, which is UTC if it does not say; 0 once it has passed."""
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return seconds((then - datetime.now(UTC)).total_seconds())


def _until(date: str) -> float | None:
    try:
        return until(parsedate_to_datetime(date.strip()[:64]))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
