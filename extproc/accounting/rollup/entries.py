"""What one record adds to the ledger: its rows in each view, their sums and its place in the
distributions.

Runs once a request in the service's process, so what is the same for many requests (their keys)
is kept.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec

from extproc.accounting.rollup.seen import Seen
from extproc.accounting.rollup.sketches import DURATION, TTFT, bin_of
from extproc.accounting.rollup.views import (
    ALL_VIEWS,
    EVERY_LABEL,
    FINDINGS,
    FULL,
    GUARD,
    MAIN,
    OTHER,
    USER,
    Labels,
    Value,
    key_of,
)
from extproc.records import RequestRecord
from extproc.state import DAY, MEASURES, Cell, Entry

MOST_TEXT: Final = 256
"""Characters of a value; the rest is cut off. As much as attribution lets through."""
MOST_LABELS: Final = 16
"""Labels of a request; the first by name."""
_KEYS_KEPT: Final = 1024
"""Combinations of values whose keys are remembered: 2 kB each, at most some 10 kB. Making them anew
takes some ten microseconds."""
_MAIN_KEPT: Final = 256
"""The same for the smallest view, whose combinations are few."""
_DAYS_KEPT: Final = 3
"""Today, yesterday around midnight, and one that a restart has found on disk."""

_MAIN: Final = itemgetter(*map(FULL.index, MAIN))
_USER: Final = itemgetter(*map(FULL.index, USER))
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept apart, for each UTC day in one process."""

    main: int = 5_000
    user: int = 50_000
    full: int = 50_000
    guard: int = 20_000
    values: int = 1_000
    """Of each label, and of team, feature and model, which are words of clients too; and of types
    of what the guard finds, which may be an endpoint's."""
    names: int = 100
    """Labels' names."""

    @property
    def all(self) -> int:
        """The most that a day can have to remember, but for the labels' names."""
        rows = sum(self.of(view, step) for view in ALL_VIEWS for step in range(len(_FOLDED) + 1))
        return rows + self.values * (self.names + len(_WORDS))

    def of(self, view: str, step: int) -> int:
        """Rows of a view; `step`: how much has been given up for them, from 0."""
        most: int = getattr(self, view)
        return max(1, most // 10) if step else most


class Bounds:
    """Keeps the number of rows bounded, whatever clients make up.

    Each view has so many keys a day. What comes after them gives up what clients say most freely
    (user, feature, labels), then team and model, then everything: such values become `(other)`,
    and every sum stays true. What was kept apart once stays so for the day. Values and keys are
    known by hashes, in 2 MB a day that are there from the day's first request and are given back
    with it.
    """

    __slots__ = ("_days", "_limits", "_main", "guard", "keys")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._days: OrderedDict[int, _Day] = OrderedDict()
        self.keys = functools.lru_cache(maxsize=_KEYS_KEPT)(self._keys)
        """The keys of the views for a day and the values of the full view."""
        # Of the smallest view there are few where there are many of the full one.
        self._main = functools.lru_cache(maxsize=_MAIN_KEPT)(self._main_key)
        self.guard = functools.lru_cache(maxsize=_KEYS_KEPT)(self._guard_key)
        """The key of the view of findings for a day and the values of that view."""

    def _keys(self, day: int, *values: Any) -> tuple[tuple[str, str], ...]:
        """(view, key) for each view."""
        known = self._day(day)
        bounded = known.bounded(*values)
        return (
            self._main(day, *_MAIN(bounded)),
            _key_of("user", known, *_USER(bounded)),
            _key_of("full", known, *bounded),
        )

    def _main_key(self, day: int, *values: Value) -> tuple[str, str]:
        # By the day's number: the cache must not hold on to a day that is over.
        return _key_of("main", self._day(day), *values)

    def _guard_key(
        self, day: int, type_: str, action: str, direction: str, mode: str, *whose: str | None
    ) -> str:
        known = self._day(day)
        values = (known.word("guard_type", type_), action, direction, mode, *known.whose(*whose))
        return _key_of(GUARD, known, *values)[1]

    def _day(self, day: int) -> _Day:
        days = self._days
        if (known := days.get(day)) is None:
            known = days[day] = _Day(self._limits)
            if len(days) > _DAYS_KEPT:
                days.popitem(last=False)
        days.move_to_end(day)
        return known

    @property
    def held(self) -> int:
        """Hashes in memory."""
        return sum(day.held for day in self._days.values())


_FOLDED: Final = (
    frozenset({"user", "feature", "labels"}),
    frozenset({"user", "feature", "labels", "team", "model"}),
)
"""What is given up when a view is full, and what when that is full too."""
_WORDS: Final = ("team", "feature", "model", "guard_type")
"""Words of clients (types are the guard's), of which so many each are kept apart; users are bounded
as keys."""
_ONLY_OTHER: Final = ((EVERY_LABEL, OTHER),)


class _Day:
    """What has been seen in a day."""

    __slots__ = ("_limits", "_names", "_seen")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen = Seen(limits.all)
        self._names: set[str] = set()

    @property
    def held(self) -> int:
        return self._seen.held + len(self._names)

    def bounded(  # noqa: PLR0917 - the dimensions of the full view
        self,
        tenant: str | None,
        team: str | None,
        tier: str | None,
        key: str | None,
        feature: str | None,
        user: str | None,
        route: str | None,
        model: str | None,
        target: str | None,
        provider: str | None,
        cache: str | None,
        labels: Labels,
    ) -> tuple[Value, ...]:
        """The values of the full view, each cut to its length and number."""
        return (
            tenant and tenant[:MOST_TEXT],
            self.word("team", team),
            tier and tier[:MOST_TEXT],
            key and key[:MOST_TEXT],
            self.word("feature", feature),
            user and user[:MOST_TEXT],
            route and route[:MOST_TEXT],
            self.word("model", model),
            target and target[:MOST_TEXT],
            provider and provider[:MOST_TEXT],
            cache and cache[:MOST_TEXT],
            self._labels(labels) if labels else labels,
        )

    def whose(  # noqa: PLR0917 - the dimensions that findings are told by
        self,
        tenant: str | None,
        team: str | None,
        feature: str | None,
        key: str | None,
        user: str | None,
        route: str | None,
    ) -> tuple[Value, ...]:
        """Values of the view of findings, each cut to its length and number."""
        return (
            tenant and tenant[:MOST_TEXT],
            self.word("team", team),
            self.word("feature", feature),
            key and key[:MOST_TEXT],
            user and user[:MOST_TEXT],
            route and route[:MOST_TEXT],
        )

    def admit(self, view: str, key: tuple[Value, ...]) -> tuple[Value, ...]:
        """The key, or what is left of it when the view is full."""
        names = ALL_VIEWS[view]
        if self._seen.room((view, 0), key, self._limits.of(view, 0)):
            return key
        for step, folded in enumerate(_FOLDED, 1):
            key = tuple(
                _other(name, value) if name in folded else value
                for name, value in zip(names, key, strict=True)
            )
            if self._seen.room((view, step), key, self._limits.of(view, step)):
                return key
        return tuple(_other(name, OTHER) for name in names)

    def word(self, name: str, value: str | None) -> str | None:
        """One of `_WORDS`."""
        return None if value is None else self._value(name, value[:MOST_TEXT])

    def _value(self, name: str, value: str) -> str:
        return value if self._seen.room(name, value, self._limits.values) else OTHER

    def _labels(self, labels: Labels) -> Labels:
        found: dict[str, str] = {}
        for long_name, value in labels[:MOST_LABELS]:
            name = long_name[:MOST_TEXT]
            if name not in self._names:
                if len(self._names) >= self._limits.names:
                    found[OTHER] = OTHER
                    continue
                self._names.add(name)
            found[name] = self._value(f"label:{name}", value[:MOST_TEXT])
        return tuple(sorted(found.items()))


def _key_of(view: str, day: _Day, *values: Value) -> tuple[str, str]:
    return view, key_of(day.admit(view, values))


def _other(name: str, value: Value) -> Value:
    """What stands for a value that is not kept apart; none stays none."""
    if not value:
        return value
    return _ONLY_OTHER if name == "labels" else OTHER


def sums_of(record: RequestRecord) -> tuple[int, ...]:
    """What a record adds to each of `MEASURES`. A request whose answer needs no payment (a count
    of tokens) is never without a price; a shadow is paid for, and is no request."""
    usage, cost = record.usage, record.cost
    asked = record.kind == "request"
    error = asked and (record.status >= _ERROR or record.error_type is not None)
    aborted = asked and record.aborted
    hit = asked and record.cache in _HITS
    walked = asked and record.attempts > 1
    if usage is None:
        return (
            *(int(asked), int(error), int(aborted), 0, 0, int(walked), int(hit)),
            *(0, 0, 0, 0, 0, 0 if cost is None else cost.total, record.saved),
        )
    unpriced = cost is None and record.operation != _FREE
    return (
        *(int(asked), int(error), int(aborted), int(usage.estimated), int(unpriced)),
        *(int(walked), int(hit), usage.input, usage.output),
        *(usage.cached_input, usage.cache_write, usage.reasoning),
        *(0 if cost is None else cost.total, record.saved),
    )


_ERROR: Final = 400
_HITS: Final = frozenset({"hit", "semantic"})
_FREE: Final = "count_tokens"


def bins_of(record: RequestRecord) -> dict[str, int]:
    """Where a record falls in the distributions: its duration if it was served to the end, the
    time to its first token if it had one. Nobody waited for a shadow."""
    bins: dict[str, int] = {}
    if record.kind == "shadow":
        return bins
    if record.status < _ERROR and not record.aborted:
        bins[bin_of(DURATION, record.duration)] = 1
    if record.ttft is not None:
        bins[bin_of(TTFT, record.ttft)] = 1
    return bins


def entry_of(
    record: RequestRecord, content: bytes | None, bounds: Bounds, *, raw: bytes | None = None
) -> Entry:
    """What a record adds to the ledger. `raw`: the record as JSON, where it is at hand."""
    said = record.attribution
    keys = bounds.keys(
        int(record.started // DAY),
        record.tenant,
        said.team,
        record.tier,
        record.key,
        said.feature,
        said.user,
        record.route,
        record.response_model or record.request_model or None,
        record.target,
        record.provider,
        record.cache,
        said.labels,
    )
    sums, bins = sums_of(record), bins_of(record)
    cells = [Cell(view, key, sums, bins) for view, key in keys]
    if record.guard:
        cells += _findings(record, bounds)
    return Entry(
        id=record.id,
        started=record.started,
        record=_encode(record) if raw is None else raw,
        cells=tuple(cells),
        content=content,
    )


def _findings(record: RequestRecord, bounds: Bounds) -> list[Cell]:
    """What a record adds to the view of findings, a cell for each sort."""
    day, said = int(record.started // DAY), record.attribution
    whose = (record.tenant, said.team, said.feature, record.key, said.user, record.route)
    found = []
    for one in record.guard:
        mode = "observe" if one.observed else "enforce"
        key = bounds.guard(day, one.type, one.action, one.direction, mode, *whose)
        found.append(Cell(GUARD, key, (*_BEFORE, one.count, *_BEHIND)))
    return found


_BEFORE: Final = (1, *(0,) * (FINDINGS - 1))
"""One request, and nothing of what is not told of findings."""
_BEHIND: Final = (0,) * (len(MEASURES) - FINDINGS - 1)
