"""docs/usage.md against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from extproc.accounting.rollup import Limits, Question, question, usage
from extproc.accounting.rollup.entries import MOST_TEXT
from extproc.accounting.rollup.question import MOST_BY, MOST_ROWS, MOST_STEPS, STEPS
from extproc.accounting.rollup.repeats import MOST_KEPT, TTL
from extproc.accounting.rollup.report import LONGEST
from extproc.accounting.rollup.suggestions import FEWEST, FEWEST_DAYS, FEWEST_TIMES, FEWEST_TRIED
from extproc.accounting.rollup.views import ALL_VIEWS, DIMENSIONS, GUARD_DIMENSIONS
from extproc.records import MOST_CONTENT
from extproc.state import DAY, HOUR
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill, traffic

PAGE = (Path(__file__).parents[4] / "docs" / "usage.md").read_text("utf-8")


def _first_column(title: str) -> set[str]:
    """What stands in code in the first column of the table with a title."""
    rows = PAGE.split(f"| {title} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {name for row in rows for name in re.findall("`([^`]+)`", row.split("|")[1])}


def test_every_dimension_is_told() -> None:
    assert _first_column("dimension") == {*DIMENSIONS, *GUARD_DIMENSIONS, *STEPS, "label:NAME"}


async def test_every_figure_is_told() -> None:
    store = FakeLedger()
    await fill(store, traffic(5))
    findings = Question(since=START, until=START + DAY, by=("guard_type",))
    of_findings = set((await usage(store, findings)).document()["total"])
    asked = Question(since=START, until=START + DAY, by=("tenant",), compare=True, latency=True)
    row: dict[str, Any] = (await usage(store, asked)).document()["total"]
    told = _first_column("figure")
    quantiles = {name for name in row if re.search(r"_p\d\d$", name)}
    previous = {name for name in row if name.startswith("previous_")}
    assert (set(row) | of_findings) - quantiles - previous == told - {
        "previous_…",
        "duration_p50",
        "ttft_p99",
    }
    assert {"duration_p50", "ttft_p99"} <= quantiles


def test_every_parameter_is_told() -> None:
    (url,) = re.findall(r"`GET /usage\?([^`]+)`", PAGE)
    pairs = [tuple(pair.split("=", 1)) for pair in url.split("&")]
    given = [(name, value) for name, value in pairs if value]
    found = question([(name, value) for name, value in given if name != "until"], 1e9)
    assert (found.by, found.compare, found.top, found.latency) == (
        *(("feature", "model"), True, 10),
        True,
    )


def test_the_views_are_those_of_the_page() -> None:
    limits = Limits()
    for view, dimensions in ALL_VIEWS.items():
        names = "all" if view == "full" else ", ".join(dimensions)
        assert f"| {view} | {names} | {getattr(limits, view):,} |" in PAGE


def test_numbers_are_those_of_the_code() -> None:
    limits = Limits()
    for words in (
        f"{limits.values:,} values a day",
        f"and {limits.names} names of labels",
        f"cut at {MOST_TEXT} characters",
        f"at most {MOST_STEPS} of them",
        f"at most {MOST_ROWS:,}\ngroups",
        f"for at most {LONGEST // DAY} days",
        f"in the {TTL / HOUR:.0f} hours before",
        f"{MOST_KEPT:,} answers",
        f"| {FEWEST} such hours",
        f"| {FEWEST_DAYS} days |",
        f"| {FEWEST_TIMES} answers |",
        f"| {FEWEST_TRIED} times |",
        f"first {MOST_CONTENT // 1024} KiB",
    ):
        assert words in PAGE, words
    assert MOST_BY == 8
    assert "at most eight" in PAGE
