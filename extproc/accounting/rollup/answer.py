"""Answers: rows of sums from the ledger's rollups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from extproc.accounting.cost import usd
from extproc.accounting.rollup.views import FINDINGS
from extproc.state import MEASURES

REST: Final = "(rest)"
"""Stands in every grouping column of the row that sums up what `top` left out; times stay."""

NOTHING: Final = (0,) * len(MEASURES)
_REQUESTS: Final = MEASURES.index("requests")
_COST: Final = MEASURES.index("cost")
_MONEY: Final = {"cost": "cost_usd", "saved": "saved_usd"}
_FIRST: Final = (
    *("requests", "input_tokens", "output_tokens", "cost", "saved", "cache_hits", "errors"),
)
_ORDER: Final = (*_FIRST, *(name for name in MEASURES if name not in _FIRST))

Sums = tuple[int, ...]
Group = tuple[str | None, ...]
Latency = dict[str, float | None]


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The sums of one group."""

    group: Group
    """Its values, in the order of the question's `by`."""
    sums: Sums
    """For each of `MEASURES`; money in nano-dollars."""
    previous: Sums | None = None
    """The same of the time before; None where nothing was to be compared."""
    rest: bool = False
    """It sums up what `top` left out."""
    latency: Latency | None = None
    """Seconds: `duration_p50` and so on; None where there was none."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by time (where asked for), then dearest first."""

    by: tuple[str, ...]
    since: int
    """UTC epoch seconds; whole hours or days, so it may be earlier than asked."""
    until: int
    rows: tuple[AnswerRow, ...]
    total: AnswerRow
    rest: int = 0
    """How many groups are summed up in the rows of `REST`."""
    findings: bool = False
    """It is about what the guard found: sums are of the view of findings."""

    def document(self) -> dict[str, Any]:
        """As it is sent: money in exact decimal dollars, times in ISO 8601."""
        found: dict[str, Any] = {
            "since": iso(self.since),
            "until": iso(self.until),
            "by": list(self.by),
            "rows": [self._shown(row) for row in self.rows],
            "total": self._shown(self.total),
        }
        if self.rest:
            found["rest"] = self.rest
        return found

    def json(self) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(self.document())

    def _shown(self, row: AnswerRow) -> dict[str, Any]:
        found: dict[str, Any] = dict(zip(self.by, row.group, strict=False))
        measures = _findings if self.findings else _measures
        first = FINDINGS if self.findings else _COST
        found |= measures(row.sums)
        if row.rest:
            found["rest"] = True
        share = "findings_share" if self.findings else "cost_share"
        found[share] = _ratio(row.sums[first], self.total.sums[first])
        if row.latency is not None:
            found |= row.latency
        if row.previous is not None:
            found |= measures(row.previous, "previous_")
            before = row.previous[first]
            found["change"] = _ratio(row.sums[first] - before, before)
        return found


def _measures(sums: Sums, prefix: str = "") -> dict[str, Any]:
    by_name = dict(zip(MEASURES, sums, strict=True))
    return {
        prefix + _MONEY.get(name, name): dollars(by_name[name]) if name in _MONEY else by_name[name]
        for name in _ORDER
    }


def _findings(sums: Sums, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}findings": sums[FINDINGS], f"{prefix}requests": sums[_REQUESTS]}


def dollars(nano: int) -> msgspec.Raw:
    """Nano-dollars as a JSON number of dollars that has lost nothing."""
    return msgspec.Raw(usd(nano).encode())


def _ratio(part: int, whole: int) -> float | None:
    """To six digits behind the point; None of nothing."""
    return round(part / whole, 6) if whole else None


def iso(epoch: float) -> str:
    """UTC epoch seconds in ISO 8601, to the second."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def add_up(parts: Sequence[Sums]) -> Sums:
    """Sums, measure by measure."""
    if len(parts) == 1:
        return parts[0]
    return tuple(map(sum, zip(*parts, strict=True))) if parts else NOTHING
