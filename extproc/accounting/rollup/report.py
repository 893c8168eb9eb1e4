"""What routes that only observe would have done, in requests and money, and what settings the
traffic suggests."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from ddsketch import DDSketch

from extproc.accounting.rollup.answer import dollars, iso
from extproc.accounting.rollup.question import QuestionError
from extproc.accounting.rollup.repeats import Repeats, RepeatSum
from extproc.accounting.rollup.sketches import ACCURACY
from extproc.accounting.rollup.suggestions import (
    LevelSum,
    Suggestion,
    Traffic,
    answer_times,
    caching,
    often,
    spending,
    token_limits,
)
from extproc.records import Observation
from extproc.state import DAY, HOUR, LedgerStore

LONGEST: Final = 31 * DAY
"""Every record of the time is read, so it is bounded."""
_MOST_SUMS: Final = 1_000
_ERROR: Final = 400
_HITS: Final = frozenset({"hit", "semantic"})
"""Answers that no target gave now."""


class ObservedSum(msgspec.Struct, frozen=True, kw_only=True):
    """What a capability would have done on a route."""

    route: str
    capability: str
    outcome: str
    requests: int
    cost: int
    """Nano-dollars that these requests did cost."""
    saved: int
    """Nano-dollars that would not have been spent."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it."""

    since: int
    """UTC epoch seconds: the beginning of a UTC day."""
    until: int
    requests: int
    observed_requests: int
    """On routes that only observe."""
    cost: int
    """Nano-dollars, of all requests."""
    observed: tuple[ObservedSum, ...]
    repeats: tuple[RepeatSum, ...]
    levels: tuple[LevelSum, ...]
    suggestions: tuple[Suggestion, ...]
    notes: tuple[str, ...]
    """What is not suggested and why, and what bounds were met."""

    def document(self) -> dict[str, Any]:
        """As it is sent: money in exact decimal dollars, times in ISO 8601."""
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "requests": self.requests,
            "observed_requests": self.observed_requests,
            "cost_usd": dollars(self.cost),
            "observed": [_in_dollars(one) for one in self.observed],
            "repeats": [_in_dollars(one) for one in self.repeats],
            "levels": [msgspec.structs.asdict(one) for one in self.levels],
            "suggestions": [msgspec.structs.asdict(one) for one in self.suggestions],
            "notes": list(self.notes),
        }

    def json(self) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(self.document())


def _in_dollars(one: ObservedSum | RepeatSum) -> dict[str, Any]:
    return {
        f"{name}_usd" if name in {"cost", "saved"} else name: dollars(value)
        if name in {"cost", "saved"}
        else value
        for name, value in msgspec.structs.asdict(one).items()
    }


async def report(store: LedgerStore, since: float, until: float) -> Report:
    """Read the records and rollups of a time, widened to the UTC day it begins in and the hour it
    ends in. Raises QuestionError if it is longer than `LONGEST` or none, StateError when the
    store is away.

    Records are read in one pass, oldest first, and none is kept: memory goes with the number of
    routes, targets, tiers, tenants and users, and with the answers that an imagined cache would
    hold (`repeats.MOST_KEPT`).
    """
    if not 0 <= since < until < math.inf:  # NaN too
        raise QuestionError("`since` must be before `until`, and neither before 1970")
    if until - since > LONGEST:
        raise QuestionError(f"a report covers at most {LONGEST // DAY} days")
    first, last = int(since // DAY) * DAY, math.ceil(until / HOUR) * HOUR
    seen = _Seen()
    async for batch in store.records(first, last):
        for raw in batch:
            seen.read(raw)
    traffic = Traffic(store, first, last)
    limits, why_no_limits = await token_limits(traffic)
    budgets, why_no_budgets = await spending(traffic)
    times, why_no_times = answer_times(seen.times)
    levels = seen.level_sums()
    repeats = seen.repeats.sums()
    return Report(
        since=first,
        until=last,
        requests=seen.requests,
        observed_requests=seen.observed_requests,
        cost=seen.cost,
        observed=seen.observed_sums(),
        repeats=repeats,
        levels=levels,
        suggestions=(*limits, *budgets, *times, *often(levels), *caching(repeats)),
        notes=(*why_no_limits, *why_no_budgets, *why_no_times, *seen.notes()),
    )


class _Total(msgspec.Struct, gc=False):
    total: int


class _Brief(msgspec.Struct, gc=False):
    """Of a record, what is looked at here."""

    started: float
    duration: float
    route: str
    target: str | None = None
    stream: bool = False
    status: int = 200
    error_type: str | None = None
    cost: _Total | None = None
    ttft: float | None = None
    attempts: int = 1
    aborted: bool = False
    refusals: tuple[tuple[str, str], ...] = ()
    kind: str = "request"
    cache: str = "bypass"
    admission: float | None = None
    upstream: float | None = None
    fingerprint: str | None = None
    observed: tuple[Observation, ...] = ()


_decoder = msgspec.json.Decoder(_Brief)


@dataclass(slots=True)
class _Seen:
    """What has been read so far."""

    requests: int = 0
    observed_requests: int = 0
    cost: int = 0
    repeats: Repeats = field(default_factory=Repeats)
    times: dict[str, DDSketch] = field(default_factory=dict)
    _observed: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    _served: Counter[str] = field(default_factory=Counter)
    _refused: dict[str, Counter[str]] = field(default_factory=dict)
    _left_out: int = 0
    _unreadable: int = 0

    def read(self, raw: bytes) -> None:
        """A record as JSON. What is none is counted, so that one does not hide all others."""
        try:
            record = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable += 1
        else:
            self.take(record)

    def take(self, record: _Brief) -> None:
        """One record, oldest first. Of a shadow the cost counts."""
        cost = 0 if record.cost is None else record.cost.total
        self.cost += cost
        if record.kind != "request":
            return
        self.requests += 1
        well = record.status < _ERROR and record.error_type is None and not record.aborted
        if record.fingerprint is not None or record.observed:
            self.observed_requests += 1
            self._observe(record, cost)
        if record.fingerprint is not None:
            ended = record.started + record.duration if well else None
            self.repeats.take(record.route, record.fingerprint, record.started, ended, cost)
        for target, reason in record.refusals:
            self._refused.setdefault(target, Counter())[reason] += 1
        if record.target is not None and record.cache not in _HITS:
            self._served[record.target] += 1
            if well and record.attempts == 1:
                self._time(record.target, record)

    def _observe(self, record: _Brief, cost: int) -> None:
        for one in record.observed:
            key = (record.route, one.capability, one.outcome)
            if key not in self._observed and len(self._observed) >= _MOST_SUMS:
                self._left_out += 1
                continue
            sums = self._observed.setdefault(key, [0, 0, 0])
            for at, value in enumerate((1, cost, one.saved)):
                sums[at] += value

    def _time(self, target: str, record: _Brief) -> None:
        """How long the target took to what its time-out covers: the head of an answer, or a
        stream's first content."""
        waited = record.admission or 0.0
        if record.stream:
            took = None if record.ttft is None else record.ttft - waited
        else:
            took = record.duration - waited if record.upstream is None else record.upstream
        if took is not None and took > 0:
            self.times.setdefault(target, DDSketch(ACCURACY)).add(took)

    def observed_sums(self) -> tuple[ObservedSum, ...]:
        """Most saved first."""
        found = [
            ObservedSum(
                route=route,
                capability=capability,
                outcome=outcome,
                requests=requests,
                cost=cost,
                saved=saved,
            )
            for (route, capability, outcome), (requests, cost, saved) in self._observed.items()
        ]
        found.sort(key=lambda one: (-one.saved, -one.requests, one.route, one.capability))
        return tuple(found)

    def level_sums(self) -> tuple[LevelSum, ...]:
        """Levels that refused, the most often refusing first."""
        found = []
        for target, reasons in self._refused.items():
            refused = reasons.total()
            tried = refused + self._served[target]
            found.append(
                LevelSum(
                    target=target,
                    tried=tried,
                    refused=refused,
                    share=round(refused / tried, 4),
                    reasons=dict(reasons.most_common()),
                )
            )
        return tuple(sorted(found, key=lambda one: (-one.share, -one.refused, one.target)))

    def notes(self) -> list[str]:
        """What bounds were met."""
        found = []
        if not self.observed_requests:
            found.append("no route only observed in this time: nothing would have been different")
        if self.repeats.evicted:
            found.append(
                f"the imagined cache was full and let {self.repeats.evicted} answers go: its "
                "hits are counted too few"
            )
        if self._unreadable:
            found.append(f"{self._unreadable} records could not be read and are left out")
        if self._left_out:
            found.append(f"{self._left_out} observations of too many sorts are left out")
        return found
