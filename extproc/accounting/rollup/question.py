"""A question to the ledger: what to sum up, over which time, by what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from extproc.accounting.rollup.views import (
    DIMENSIONS,
    GUARD_DIMENSIONS,
    LABEL,
    WITH_GUARD,
    of_findings,
)
from extproc.spans import seconds_of
from extproc.state import DAY, HOUR

STEPS: Final = {"hour": HOUR, "day": DAY}
"""Times to group by, in seconds; days are UTC."""
MOST_ROWS: Final = 10_000
"""Rows of an answer; those after them are summed up as one."""
MOST_BY: Final = 8
MOST_WHERE: Final = 64
LONGEST: Final = 1_100 * DAY
"""Three years: nobody keeps rollups longer without meaning a warehouse."""
MOST_STEPS: Final = 750
"""Hours or days in one answer: a month of hours, two years of days."""
DEFAULT_SINCE: Final = "7d"

_EPOCH: Final = re.compile(r"[0-9]{9,12}(\.[0-9]{1,9})?")
"""From nine digits on (1973): eight are a date without dashes, 20261123."""
_LATEST: Final = 253_402_300_800
"""The end of the year 9999, where ISO dates end."""
_SHOWN: Final = 80


class QuestionError(ValueError):
    """A question that has no answer; the text says why and what would have one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Only what has one of these values (None: what has none), or has none of them."""

    dimension: str
    values: frozenset[str | None]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What to sum up. Raises QuestionError if it makes no sense."""

    since: float
    """UTC epoch seconds; the answer begins with the hour (by `day`: the UTC day) it is in."""
    until: float
    """The answer ends with the hour or day that this is in, unless it is its very beginning."""
    by: tuple[str, ...] = ()
    """Of `DIMENSIONS`, `GUARD_DIMENSIONS`, `label:NAME` and `STEPS`. None: one row."""
    where: tuple[Condition, ...] = ()
    """All of them hold."""
    compare: bool = False
    """Beside each row the same of the time before, equally long."""
    top: int | None = None
    """So many groups, the dearest; the rest as one. None: `MOST_ROWS`."""
    latency: bool = False
    """With quantiles of duration and time to first token."""

    def __post_init__(self) -> None:
        """Check it."""
        if not (0 <= self.since < self.until <= _LATEST):  # NaN too
            raise QuestionError("`since` must be before `until`, and neither before 1970")
        if self.until - self.since > LONGEST:
            raise QuestionError(f"the time asked for must not exceed {LONGEST // DAY} days")
        if self.top is not None and not 1 <= self.top <= MOST_ROWS:
            raise QuestionError(f"`top` must be between 1 and {MOST_ROWS}")
        if len(self.by) > MOST_BY or len(self.where) > MOST_WHERE:
            raise QuestionError(f"at most {MOST_BY} dimensions and {MOST_WHERE} conditions")
        self._check_names()
        if "hour" in self.by and "day" in self.by:
            raise QuestionError("by `hour` or by `day`, not both")
        if self.step and (self.until - self.since) > MOST_STEPS * self.step:
            raise QuestionError(f"an answer has at most {MOST_STEPS} hours or days")

    @property
    def findings(self) -> bool:
        """It is about what the guard found, and has figures of that alone."""
        return of_findings((*self.by, *(one.dimension for one in self.where)))

    def _check_names(self) -> None:
        for name in self.by:
            if name not in STEPS:
                _check(name, times=True)
        for condition in self.where:
            _check(condition.dimension, times=False)
        if not self.findings:
            return
        for name in (*self.by, *(one.dimension for one in self.where)):
            if name not in {*GUARD_DIMENSIONS, *WITH_GUARD, *STEPS}:
                known = ", ".join((*GUARD_DIMENSIONS, *WITH_GUARD, *STEPS))
                raise QuestionError(
                    f"what the guard found is not summed up by {_shown(name)}, but by: {known}"
                )
        if self.latency:
            raise QuestionError("what the guard found has no latency")

    @property
    def step(self) -> int | None:
        """Seconds of the time that it groups by."""
        return next((STEPS[name] for name in self.by if name in STEPS), None)

    @property
    def span(self) -> tuple[int, int]:
        """`since` and `until`, widened to whole hours or days."""
        step = self.step or HOUR
        return int(self.since // step) * step, math.ceil(self.until / step) * step


def question(parameters: Iterable[tuple[str, str]], now: float) -> Question:
    """A question from text, as in a URL: `by` (names with commas between, or several times),
    `since` and `until` (see `moment`), `where` (`dimension=value` or `dimension!=value`, several
    times; the same dimension twice is any of the values, no value is what has none), `compare`
    (`previous`), `top` (a number), `latency` (1 or 0). `now`: UTC epoch seconds.

    Raises QuestionError.
    """
    said: dict[str, str] = {}
    by: list[str] = []
    where: list[str] = []
    for name, text in parameters:
        if name == "by":
            by += [_dimension(one) for one in text.split(",") if one.strip()]
        elif name == "where":
            where.append(text)
        elif name not in _PARAMETERS:
            raise QuestionError(
                f"unknown parameter {_shown(name)}; there are: by, where, {', '.join(_PARAMETERS)}"
            )
        elif name in said:
            raise QuestionError(f"`{name}` is given twice")
        else:
            said[name] = text
    compare, top = said.get("compare"), said.get("top")
    if compare not in {None, "previous"}:
        raise QuestionError("`compare` can be `previous` only")
    if top is not None and not (
        top.isascii() and top.isdigit() and len(top) <= len(str(MOST_ROWS))
    ):
        raise QuestionError(f"`top` must be between 1 and {MOST_ROWS}")
    latency = said.get("latency", "0")
    if latency not in _SWITCH:
        raise QuestionError("`latency` can be 1 or 0")
    return Question(
        since=moment(said.get("since", DEFAULT_SINCE), now),
        until=moment(said.get("until", "0s"), now),
        by=tuple(dict.fromkeys(by)),
        where=conditions(where),
        compare=compare is not None,
        top=None if top is None else int(top),
        latency=_SWITCH[latency],
    )


_PARAMETERS: Final = ("since", "until", "compare", "top", "latency")
_SWITCH: Final = {"1": True, "true": True, "0": False, "false": False, "": True}


def conditions(texts: Iterable[str]) -> tuple[Condition, ...]:
    """`dimension=value` and `dimension!=value`; those of a dimension are put together. Raises
    QuestionError."""
    found: dict[tuple[str, bool], set[str | None]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise QuestionError(f"{_shown(text)} is no condition: write dimension=value")
        negated = name.endswith("!")
        dimension = _dimension(name.removesuffix("!"))
        found.setdefault((dimension, negated), set()).add(value or None)
    return tuple(
        Condition(dimension, frozenset(values), negated)
        for (dimension, negated), values in found.items()
    )


def moment(text: str, now: float) -> float:
    """A time in UTC epoch seconds: `7d`, `24h`, `90m` (so long before `now`; also `s` and `w`), an
    ISO date or time (UTC unless it says otherwise), or epoch seconds. Raises QuestionError."""
    text = text.strip()
    if (found := seconds_of(text)) is not None:
        return max(0.0, now - found)
    if text == "now":
        return now
    try:
        if _EPOCH.fullmatch(text):
            return float(text)
        day = datetime.fromisoformat(text)
        return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise QuestionError(
            f"{_shown(text)} is no time: write 7d, 24h, 90m or a date such as 2026-11-23"
        ) from None


def _dimension(text: str) -> str:
    """A dimension's name as it is kept: labels' names are in lower case."""
    name = text.strip()
    if name.startswith("label-"):
        name = LABEL + name.removeprefix("label-")
    return name.lower() if name.startswith(LABEL) else name


def _check(name: str, *, times: bool) -> None:
    if (
        name in DIMENSIONS
        or name in GUARD_DIMENSIONS
        or (name.startswith(LABEL) and len(name) > len(LABEL))
    ):
        return
    valid = (*DIMENSIONS, *GUARD_DIMENSIONS, "label:NAME", *(STEPS if times else ()))
    raise QuestionError(f"unknown dimension {_shown(name)}; there are: {', '.join(valid)}")


def _shown(text: str) -> str:
    """A client's text in a message: quoted, on one line, bounded."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
