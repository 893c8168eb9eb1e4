"""Medians, spreads, the table, the budgets, and the object on the last line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from tests.bench.arms import NAMES, Figures

LEAST: Final = 0.3
"""A round in which the no-op is below this share of Envoy alone says more of the machine than of
the arms, and is discarded."""

Rounds = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of the rounds; NaN where nothing was measured."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """What several rounds say; those that are not numbers are left out."""
    known = [one for one in values if not math.isnan(one)]
    if not known:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(median(known), min(known), max(known))


def suspect(figures: Mapping[str, Figures]) -> str | None:
    """Why a round is to be discarded, or None."""
    envoy, noop = figures.get("envoy"), figures.get("noop")
    if envoy is None or noop is None:
        return None
    share = noop.rps_16 / envoy.rps_16 if envoy.rps_16 else 0.0
    if share < LEAST:
        return f"noop reached {share:.2f} of Envoy alone; at least {LEAST} is asked for"
    return None


class Summary:
    """All kept rounds of one run."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = {name: list(all_) for name, all_ in rounds.items() if all_}

    def of(self, arm: str, column: str) -> Spread:
        """One column of one arm."""
        return spread([getattr(one, column) for one in self._rounds.get(arm, ())])

    def middle(self, arm: str, column: str) -> float:
        """The median of one column of one arm; NaN if it was not measured."""
        return self.of(arm, column).median

    def total_us(self, arm: str) -> float:
        """CPU of Envoy and service together, in µs a request."""
        return spread(
            [one.envoy_cpu_us + one.service_cpu_us for one in self._rounds.get(arm, ())]
        ).median

    def failed(self, arm: str) -> int:
        """Answers that failed, and streams that ended without `[DONE]`."""
        return sum(one.failed + one.unfinished for one in self._rounds.get(arm, ()))

    @property
    def arms(self) -> list[str]:
        """Arms with figures, in the order of the table."""
        return [name for name in NAMES if name in self._rounds]

    def plain(self) -> dict[str, Any]:
        """Every arm for the JSON object; None for one that was not measured."""
        return {name: self._arm(name) if name in self._rounds else None for name in NAMES}

    def _arm(self, name: str) -> dict[str, Any]:
        spreads = {column: self.of(name, column) for column in Figures.__struct_fields__}
        return {
            **{column: _number(one.median) for column, one in spreads.items()},
            "failed": self.failed(name),
            "spread": {
                column: [_number(one.least), _number(one.most)] for column, one in spreads.items()
            },
            "rounds": len(self._rounds[name]),
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _shown(value: float, digits: int = 0) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


_COLUMNS: Final = (
    ("rps_1", "req/s x1", 0),
    ("rps_16", "req/s x16", 0),
    ("p50_1_ms", "p50 x1 ms", 2),
    ("p50_ms", "p50 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("envoy_cpu_us", "Envoy µs", 0),
    ("service_cpu_us", "service µs", 0),
)


def table(summary: Summary) -> str:
    """Medians side by side, then the spread of what the budgets are made of."""
    head = ["arm", *(title for _, title, _ in _COLUMNS), "both µs", "RSS MB", "x noop", "x envoy"]
    rows = [head]
    noop, envoy = summary.middle("noop", "service_cpu_us"), summary.total_us("envoy")
    for name in summary.arms:
        figures = [
            _shown(summary.middle(name, column), _digits(summary.middle(name, column), digits))
            for column, _, digits in _COLUMNS
        ]
        both = summary.total_us(name)
        service = summary.middle(name, "service_cpu_us")
        rows.append(
            [
                name,
                *figures,
                _shown(both),
                _shown(summary.middle(name, "rss_mb")),
                _shown(service / noop if noop else math.nan, 2),
                _shown(both / envoy if envoy else math.nan, 2),
            ]
        )
    return f"{aligned(rows)}\n\n{_spreads(summary)}"


def _digits(value: float, usual: int) -> int:
    """A stream of twenty seconds has a rate below one."""
    return 2 if not usual and 0 < value < 10 else usual


def _spreads(summary: Summary) -> str:
    rows = [["median (least to greatest of the rounds)", "req/s x16", "service µs", "Envoy µs"]]
    for name in summary.arms:
        row = [name]
        for column in ("rps_16", "service_cpu_us", "envoy_cpu_us"):
            one = summary.of(name, column)
            digits = _digits(one.median, 0)
            row.append(
                f"{_shown(one.median, digits)} ({_shown(one.least, digits)}"
                f" to {_shown(one.most, digits)})"
            )
        rows.append(row)
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other: the first to the left, figures to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


@dataclass(frozen=True, slots=True)
class Budget:
    """One promise and what was measured."""

    name: str
    most: float
    measured: float
    unit: str

    @property
    def kept(self) -> bool | None:
        """None when it could not be measured."""
        if math.isnan(self.measured) or math.isnan(self.most):
            return None
        return self.measured <= self.most

    def line(self) -> str:
        """For a person."""
        verdict = {True: "kept", False: "NOT KEPT", None: "not measured"}[self.kept]
        digits = 2 if self.unit == "x" else 0
        return (
            f"{self.name}: {_shown(self.measured, digits)} {self.unit}, "
            f"at most {_shown(self.most, digits)}: {verdict}"
        )

    def plain(self) -> dict[str, Any]:
        """For the JSON object."""
        return {
            "name": self.name,
            "most": _number(self.most),
            "measured": _number(self.measured),
            "unit": self.unit,
            "kept": self.kept,
        }


def budgets(summary: Summary, lost: int | None) -> list[Budget]:
    """The promises of docs/benchmarks.md. `lost`: of the concurrent streams; None: not run."""
    noop = summary.middle("noop", "service_cpu_us")
    ours = summary.middle("tollgate_openai", "service_cpu_us")
    both = summary.total_us("tollgate_openai")
    return [
        Budget("service CPU a request, against the no-op of the same four messages", 2.5,
               ours / noop if noop else math.nan, "x"),
        Budget("CPU of Envoy and service, against Portkey's gateway",
               summary.total_us("portkey"), both, "µs"),
        Budget("CPU of Envoy and service, against an eighth of LiteLLM's",
               summary.total_us("litellm") / 8, both, "µs"),
        Budget("memory of a worker", 150.0, _most(summary, "rss_mb"), "MB"),
        Budget("service CPU of one event of a long stream, against one streamed message",
               summary.middle("noop_long_stream", "event_cpu_us"),
               summary.middle("tollgate_long_stream", "event_cpu_us"), "µs"),
        Budget("streams of 1,000 at once that lost a byte", 0.0,
               math.nan if lost is None else float(lost), "streams"),
    ]  # fmt: skip


def _most(summary: Summary, column: str) -> float:
    ours = [name for name in summary.arms if name.startswith("tollgate_")]
    return max((summary.of(name, column).most for name in ours), default=math.nan)
