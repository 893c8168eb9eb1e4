"""Asking the ledger: rows of the smallest view that will do, put into groups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from operator import add
from typing import Any, Final, TypeVar

import msgspec

from extproc.accounting.rollup.answer import (
    NOTHING,
    REST,
    Answer,
    AnswerRow,
    Group,
    Latency,
    Sums,
    add_up,
    iso,
)
from extproc.accounting.rollup.question import (
    MOST_ROWS,
    STEPS,
    Condition,
    Question,
    QuestionError,
)
from extproc.accounting.rollup.sketches import DURATION, TTFT, merge, quantiles
from extproc.accounting.rollup.views import (
    ALL_VIEWS,
    EVERY_LABEL,
    FINDINGS,
    LABEL,
    values_of,
    view_for,
)
from extproc.state import DAY, HOUR, MEASURES, LedgerStore, Row

T = TypeVar("T")

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MOST_GROUPS: Final = 250_000
"""Groups that one answer is made from; some 200 MB."""

_REQUESTS: Final = MEASURES.index("requests")
_COST: Final = MEASURES.index("cost")
_CHUNK: Final = {HOUR: DAY, DAY: 7 * DAY}
"""Seconds of a series that are asked for at once, by its step."""
_MANY: Final = 500
"""Rows from which they are looked at in a thread: the service goes on meanwhile."""
_PARTS: Final = 256
"""Rows of a group that are kept before they are added up."""

_Kept = TypeVar("_Kept")
_Test = Callable[[Sequence[Any]], bool]
_Weight = tuple[int, ...]
"""What comes first is dearest (of findings: has the most), has the most requests, or did so
before."""


async def usage(store: LedgerStore, question: Question) -> Answer:
    """Answer a question. Raises QuestionError if the answer would be too large, StateError when
    the store is away."""
    since, until = question.span
    groups = await _groups(store, question, since, until)
    before: _Groups | None = None
    if question.compare:
        length = until - since
        plain = replace(question, latency=False)
        before = await _groups(store, plain, max(0, since - length), since, shift=length)

    def answer() -> Answer:
        table = _Table(question, groups.found, None if before is None else before.found)
        return Answer(
            by=question.by,
            since=since,
            until=until,
            rows=tuple(table.rows()),
            total=table.total(),
            rest=table.rest,
            findings=question.findings,
        )

    many = len(groups.found) > _MANY
    return await _apart(answer) if many else answer()


async def _apart(call: Callable[[], T]) -> T:
    """What `call` returns or raises, called in a thread of its own: it may take seconds, and in the
    service's one thread for what takes long others would wait for it."""
    thread = ThreadPoolExecutor(1, "question")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, call)
    finally:
        thread.shutdown(wait=False)


class _Sum(msgspec.Struct, gc=False):
    """What a group has so far. Most have one row; what holds no list is no work for the collector,
    which stops everybody."""

    sums: Sums
    bins: dict[str, int]
    """Not changed while it is a row's own."""
    more: list[Sums] | None = None
    own: bool = False
    """The bins are this group's, not a row's."""

    def add(self, row: Row) -> None:
        if self.more is None:
            self.more = [self.sums]
        self.more.append(row.sums)
        if len(self.more) > _PARTS:
            # Many at once is faster than one by one.
            self.more = [add_up(self.more)]
        if row.bins:
            if not self.own:
                self.bins, self.own = dict(self.bins), True
            merge(self.bins, row.bins)

    def whole(self) -> Sums:
        return self.sums if self.more is None else add_up(self.more)


class _Groups:
    """Sums by group, as a question wants them."""

    __slots__ = ("_holds", "_place", "_step", "_take", "found", "view")

    def __init__(self, question: Question) -> None:
        named = [name for name in question.by if name not in STEPS]
        self.view = view_for({*named, *(one.dimension for one in question.where)})
        self.found: dict[Group, _Sum] = {}
        self._holds = _all([_test(one, self.view) for one in question.where])
        self._take = [_getter(name, self.view) for name in named]
        self._step = question.step
        self._place = next((at for at, name in enumerate(question.by) if name in STEPS), None)

    def add(self, start: int | None, rows: Sequence[Row]) -> None:
        """Rows that hold from `start` on (epoch seconds). Raises QuestionError when there are too
        many groups."""
        found, place = self.found, self._place
        when = None if start is None else _when(start, self._step)
        for row in rows:
            values = values_of(row.key)
            if not self._holds(values):
                continue
            group: Group = tuple([get(values) for get in self._take])
            if place is not None:
                group = (*group[:place], when, *group[place:])
            if (sums := found.get(group)) is None:
                found[group] = _Sum(row.sums, row.bins)
            else:
                sums.add(row)
        if len(found) > MOST_GROUPS:
            raise QuestionError(
                f"more than {MOST_GROUPS} rows: ask for a shorter time, fewer dimensions or "
                "with a condition"
            )


async def _groups(
    store: LedgerStore, question: Question, since: int, until: int, *, shift: int = 0
) -> _Groups:
    """Sums by group. `shift`: seconds added to the times that are grouped by."""
    groups = _Groups(question)
    async for start, rows in _rows(store, question, groups.view, since, until):
        moved = None if start is None else start + shift
        if len(rows) > _MANY:
            await _apart(partial(groups.add, moved, rows))
        else:
            groups.add(moved, rows)
    return groups


async def _rows(
    store: LedgerStore, question: Question, view: str, since: int, until: int
) -> AsyncIterator[tuple[int | None, Sequence[Row]]]:
    """(start, rows) of each step of time; the start is None if there are none."""
    step = question.step
    if since >= until:
        return
    if step is None:
        yield None, await store.rows(view, since, until, bins=question.latency)
    elif question.latency:
        for start in range(since, until, step):
            yield start, await store.rows(view, start, start + step, bins=True)
    else:
        for first in range(since, until, _CHUNK[step]):
            last = min(first + _CHUNK[step], until)
            for start, rows in (await store.series(view, first, last, step)).items():
                yield start, rows


def _when(start: int, step: int | None) -> str:
    text = iso(start)
    return text[:10] if step == DAY else text


def _getter(dimension: str, view: str) -> Callable[[Sequence[Any]], str | None]:
    if dimension.startswith(LABEL):
        at, name = ALL_VIEWS[view].index("labels"), dimension.removeprefix(LABEL)
        return lambda values: _label(values[at], name)
    index = ALL_VIEWS[view].index(dimension)
    return lambda values: values[index]


def _label(labels: Iterable[Sequence[str]], name: str) -> str | None:
    for one, value in labels:
        if one in {name, EVERY_LABEL}:
            return value
    return None


def _all(tests: Sequence[_Test]) -> _Test:
    if len(tests) == 1:
        return tests[0]
    return lambda values: all(test(values) for test in tests)


def _test(condition: Condition, view: str) -> _Test:
    get, among = _getter(condition.dimension, view), condition.values
    if condition.negated:
        return lambda values: get(values) not in among
    return lambda values: get(values) in among


class _Table:
    """Groups in order, as many as there is room for."""

    def __init__(
        self, question: Question, groups: Mapping[Group, _Sum], before: Mapping[Group, _Sum] | None
    ) -> None:
        self._question = question
        self._first = FINDINGS if question.findings else _COST
        self._now = groups
        self._before = before
        self._sums = {group: found.whole() for group, found in groups.items()}
        self._previous = {} if before is None else {g: f.whole() for g, f in before.items()}
        by = question.by
        self._time = next((at for at, name in enumerate(by) if name in STEPS), None)
        self._alone = self._time is not None and len(by) == 1
        self.rest = 0

    def rows(self) -> list[AnswerRow]:
        """The rows, with what is left out summed up."""
        if not self._question.by:
            return [self.total()]
        every = dict.fromkeys((*self._sums, *self._previous))
        kept = self._kept(every)
        rows: list[AnswerRow] = []
        left: dict[Group, list[Group]] = {}
        for group in every:
            if self._what(group) in kept:
                rows.append(self._row(group, (group,)))
            else:
                left.setdefault(self._rest_of(group), []).append(group)
        rows += [self._row(group, members, rest=True) for group, members in left.items()]
        rows.sort(key=self._rank)
        return rows

    def total(self) -> AnswerRow:
        """All of it."""
        return self._row((), None)

    def _what(self, group: Group) -> Group:
        """A group without its time, unless there is nothing else."""
        if self._time is None or self._alone:
            return group
        return group[: self._time] + group[self._time + 1 :]

    def _rest_of(self, group: Group) -> Group:
        return tuple(
            value if at == self._time and not self._alone else REST
            for at, value in enumerate(group)
        )

    def _kept(self, every: Iterable[Group]) -> AbstractSet[Group]:
        """The dearest; a series of times counts as one."""
        weights: dict[Group, _Weight] = {}
        for group in every:
            what = self._what(group)
            weight = self._weight(group)
            if (known := weights.get(what)) is not None:
                weight = tuple(map(add, known, weight))
            weights[what] = weight
        most = self._question.top or MOST_ROWS
        self.rest = max(0, len(weights) - most)
        if not self.rest:
            return weights.keys()
        order = sorted(weights, key=lambda what: (weights[what], _text(what)))
        return set(order[:most])

    def _weight(self, group: Group) -> _Weight:
        now, before = self._sums.get(group, NOTHING), self._previous.get(group, NOTHING)
        return _weight(now, before, self._first)

    def _row(
        self, group: Group, members: Sequence[Group] | None, *, rest: bool = False
    ) -> AnswerRow:
        """The sum of some groups; None: of all."""
        compare, latency = self._before is not None, self._question.latency
        return AnswerRow(
            group=group,
            rest=rest,
            sums=add_up(_those(self._sums, members)),
            previous=add_up(_those(self._previous, members)) if compare else None,
            latency=_latency(_those(self._now, members)) if latency else None,
        )

    def _weighed(self, row: AnswerRow) -> _Weight:
        return _weight(row.sums, row.previous or NOTHING, self._first)

    def _rank(self, row: AnswerRow) -> tuple[Any, ...]:
        """By time, the rest last, then by money (findings: by their number)."""
        when = "" if self._time is None else row.group[self._time] or ""
        if self._alone:
            return (row.rest, when)
        return (when, row.rest, self._weighed(row), _text(row.group))


def _weight(now: Sums, before: Sums, first: int) -> _Weight:
    return -now[first], -now[_REQUESTS], -before[first], -before[_REQUESTS]


def _text(group: Group) -> tuple[str, ...]:
    """For an order that is always the same."""
    return tuple(["" if value is None else "=" + value for value in group])


def _those(found: Mapping[Group, _Kept], members: Sequence[Group] | None) -> list[_Kept]:
    if members is None:
        return list(found.values())
    return [found[one] for one in members if one in found]


def _latency(groups: Iterable[_Sum]) -> Latency:
    bins: dict[str, int] = {}
    for group in groups:
        merge(bins, group.bins)
    found: Latency = {}
    for sort, name in ((DURATION, "duration"), (TTFT, "ttft")):
        for value, label in zip(quantiles(bins, sort, QUANTILES.values()), QUANTILES, strict=True):
            found[f"{name}_{label}"] = value
    return found
