"""Medians of the cache's arms, their ratios, the budgets, and the object on the last line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from tests.bench.cache_arms import NAMES, Figures, Rounds
from tests.bench.report import Budget, aligned

BASES: Final = {"miss_exact": "off", "miss_static": "off", "miss_minilm": "off"}
"""What an arm is held against, if not against the no-op."""
_SUMS: Final = ("requests", "failed", "other")
_RATIOS: Final = (
    ("exact", "an exact hit", 1.3),
    ("semantic_static", "a semantic hit (static)", 1.6),
)
_AT: Final = (("p50_1_ms", "one connection"), ("p50_ms", "16 connections"))


def middle(found: Rounds, name: str, column: str) -> float:
    """The median of the rounds; NaN if the arm was not measured."""
    return median(_column(found, name, column) or [math.nan])


def ratio(found: Rounds, name: str, column: str, base: str | None = None) -> float:
    """The median of the rounds' ratios to the arm it is held against."""
    base = base or BASES.get(name, "noop")
    pairs = zip(_column(found, name, column), _column(found, base, column), strict=False)
    return median([one / other for one, other in pairs if other] or [math.nan])


def _column(found: Rounds, name: str, column: str) -> Sequence[float]:
    return [getattr(one, column) for one in found.get(name, ())]


def table(found: Rounds) -> str:
    """Medians side by side."""
    rows = [
        ["arm", "p50 x1 ms", "p99 x1", "ratio", "p50 x16 ms", "p99 x16", "ratio", "req/s x16",
         "Envoy µs", "service µs"]
    ]  # fmt: skip
    for name in NAMES:
        if name in found:
            columns = ("p50_1_ms", "p99_1_ms", "p50_ms", "p99_ms")
            alone, tail, many, tails = (middle(found, name, one) for one in columns)
            rows.append(
                [
                    *(name, f"{alone:.2f}", f"{tail:.2f}"),
                    f"{ratio(found, name, 'p50_1_ms'):.2f}",
                    *(f"{many:.2f}", f"{tails:.2f}"),
                    f"{ratio(found, name, 'p50_ms'):.2f}",
                    f"{middle(found, name, 'rps'):,.0f}",
                    f"{middle(found, name, 'envoy_cpu_us'):.0f}",
                    f"{middle(found, name, 'service_cpu_us'):.0f}",
                ]
            )
    return aligned(rows)


def notes(found: Rounds) -> list[str]:
    """What went otherwise than it should, arm by arm."""
    lines = []
    for name, rounds in found.items():
        failed, other = sum(one.failed for one in rounds), sum(one.other for one in rounds)
        if failed or other:
            every = sum(one.requests for one in rounds)
            lines.append(f"{name}: of {every} requests {failed} failed, {other} were no {name}")
    return lines


def budgets(found: Rounds) -> list[Budget]:
    """The promises of docs/benchmarks.md, and the first of them without what Envoy takes for what a
    gateway has it do."""
    ratios = [
        Budget(f"p50 of {what} at {said}, against {other}", most,
               ratio(found, name, column, base), "x")
        for base, other in (("noop", "the no-op"), ("noop_gateway", "it behind the same Envoy"))
        for name, what, most in _RATIOS
        for column, said in _AT
    ]  # fmt: skip
    tails = [
        Budget(f"p99 of a semantic hit ({name.removeprefix('semantic_')}) at {said}", 50.0,
               middle(found, name, column.replace("p50", "p99")), "ms")
        for name in ("semantic_static", "semantic_minilm")
        for column, said in _AT
    ]  # fmt: skip
    return ratios + tails


def plain(found: Rounds) -> dict[str, Any]:
    """Every arm for the JSON object; None for one that was not measured."""
    return {name: _plain(found, name) if name in found else None for name in NAMES}


def _plain(found: Rounds, name: str) -> dict[str, Any]:
    columns = [one for one in Figures.__struct_fields__ if one not in _SUMS]
    base = BASES.get(name, "noop")
    more = middle(found, name, "p50_1_ms") - middle(found, base, "p50_1_ms")
    return {
        **{one: _number(middle(found, name, one)) for one in columns},
        "ratio_1": _number(ratio(found, name, "p50_1_ms")),
        "ratio_16": _number(ratio(found, name, "p50_ms")),
        "ratio_to": base,
        "more_1_ms": _number(more),
        **{one: sum(getattr(turn, one) for turn in found[name]) for one in _SUMS},
        "rounds": len(found[name]),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
