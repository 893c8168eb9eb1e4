"""Answers agree with what the records themselves add up to."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.accounting.rollup import (
    DIMENSIONS,
    OTHER,
    Answer,
    Condition,
    Limits,
    Question,
    usage,
)
from extproc.accounting.rollup.views import view_for
from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.state import DAY, HOUR, MEASURES, LedgerStore
from tests.unit.accounting.rollup import naive
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill, ledger, traffic

_RECORDS = traffic(400)
_EVERY = (*DIMENSIONS, "label:env", "label:zone", "label:none")
_SINCE, _UNTIL = START + 5 * HOUR, START + 3 * DAY + 7 * HOUR
_REQUESTS, _COST = MEASURES.index("requests"), MEASURES.index("cost")


@pytest_asyncio.fixture(
    params=["fake", "sqlite", "redis"], name="store", scope="module", loop_scope="module"
)
async def _store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LedgerStore]:
    with ledger(request.param, tmp_path_factory.mktemp("ledger")) as store:
        await fill(store, _RECORDS)
        yield store
        await store.close()


def _within(since: float, until: float) -> list[RequestRecord]:
    return [record for record in _RECORDS if since <= record.started < until]


def _agrees(answer: Answer, by: tuple[str, ...], records: list[RequestRecord]) -> None:
    expected = {group: naive.sums(some) for group, some in naive.groups(records, by).items()}
    found = {row.group: dict(zip(MEASURES, row.sums, strict=True)) for row in answer.rows}
    assert found == expected
    assert len(answer.rows) == len(expected)
    assert dict(zip(MEASURES, answer.total.sums, strict=True)) == naive.sums(records)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("second", [(), *((name,) for name in (*_EVERY, "hour", "day"))])
async def test_by_any_two_dimensions(store: LedgerStore, second: tuple[str, ...]) -> None:
    for first in _EVERY:
        by = tuple(dict.fromkeys((first, *second)))
        answer = await usage(store, Question(since=_SINCE, until=_UNTIL, by=by))
        since, until = answer.since, answer.until
        assert since <= _SINCE
        assert until >= _UNTIL
        _agrees(answer, by, _within(since, until))


@pytest.mark.parametrize("negated", [False, True])
async def test_where_of_any_dimension(store: LedgerStore, negated: bool) -> None:
    inside = _within(_SINCE, _UNTIL)
    for dimension, by in itertools.product(_EVERY, [("tenant",), ("user", "label:env")]):
        values = sorted({naive.value(one, dimension) for one in inside}, key=str)
        for wanted in (frozenset(values[:1]), frozenset(values[:2]), frozenset({"nobody"})):
            where = (Condition(dimension, wanted, negated),)
            answer = await usage(store, Question(since=_SINCE, until=_UNTIL, by=by, where=where))
            _agrees(
                answer,
                by,
                [one for one in inside if (naive.value(one, dimension) in wanted) != negated],
            )


async def test_conditions_of_two_dimensions_hold_together(store: LedgerStore) -> None:
    where = (
        Condition("tenant", frozenset({"acme"})),
        Condition("label:env", frozenset({"prod", None})),
        Condition("model", frozenset({"gpt-y"}), negated=True),
    )
    answer = await usage(
        store, Question(since=_SINCE, until=_UNTIL, by=("feature", "day"), where=where)
    )
    expected = [
        one
        for one in _within(answer.since, answer.until)
        if one.tenant == "acme"
        and naive.value(one, "label:env") in {"prod", None}
        and naive.value(one, "model") != "gpt-y"
    ]
    assert expected
    _agrees(answer, ("feature", "day"), expected)


async def test_the_dearest_come_first_and_a_series_by_its_time(store: LedgerStore) -> None:
    answer = await usage(store, Question(since=_SINCE, until=_UNTIL, by=("user", "model")))
    order = [(-row.sums[_COST], -row.sums[_REQUESTS]) for row in answer.rows]
    assert order == sorted(order)
    answer = await usage(store, Question(since=_SINCE, until=_UNTIL, by=("day",)))
    assert [row.group[0] for row in answer.rows] == [
        *("2024-10-04", "2024-10-05", "2024-10-06", "2024-10-07"),
    ]
    answer = await usage(store, Question(since=_SINCE, until=_SINCE + 1, by=("model", "hour")))
    assert {row.group[1] for row in answer.rows} == {"2024-10-04T05:00:00Z"}


async def test_nothing_asked_by_is_one_row(store: LedgerStore) -> None:
    answer = await usage(store, Question(since=_SINCE, until=_UNTIL))
    assert [row.sums for row in answer.rows] == [answer.total.sums]
    assert answer.total.sums[_REQUESTS] == len(_within(_SINCE, _UNTIL))


@pytest.mark.parametrize("by", [("user", "feature"), ("feature", "day"), ("hour",), ("day",)])
@pytest.mark.parametrize("top", [1, 3, 100])
async def test_top_and_the_rest_add_up_to_all(
    store: LedgerStore, by: tuple[str, ...], top: int
) -> None:
    whole = await usage(store, Question(since=_SINCE, until=_UNTIL, by=by))
    answer = await usage(store, Question(since=_SINCE, until=_UNTIL, by=by, top=top))
    assert answer.total == whole.total
    added = [sum(column) for column in zip(*(row.sums for row in answer.rows), strict=True)]
    assert tuple(added) == whole.total.sums
    kept = [row for row in answer.rows if not row.rest]
    assert all(row in whole.rows for row in kept)
    # What is left out cost no more than what is kept.
    place = 1 if by == ("feature", "day") else None
    cost: dict[Any, int] = {}
    for row in whole.rows:
        what = row.group[:place]
        cost[what] = cost.get(what, 0) + row.sums[_COST]
    names = {row.group[:place] for row in kept}
    assert len(names) == min(top, len(cost))
    assert answer.rest == len(cost) - len(names)
    if answer.rest:
        assert min(cost[name] for name in names) >= max(
            found for name, found in cost.items() if name not in names
        )


async def test_a_value_that_looks_like_the_rest_is_not_it() -> None:
    store = FakeLedger()
    await fill(
        store,
        [
            RequestRecord(
                id=f"r{number}",
                started=float(START),
                duration=1.0,
                route="all",
                cost=Cost(total=10 - number),
                attribution=Attribution(user=user),
            )
            for number, user in enumerate(["(rest)", "(rest)", "ann", "bob"])
        ],
    )
    answer = await usage(store, Question(since=START, until=START + HOUR, by=("user",), top=1))
    assert [(row.group, row.rest, row.sums[_COST]) for row in answer.rows] == [
        (("(rest)",), False, 19),
        (("(rest)",), True, 15),
    ]
    assert [row.get("rest") for row in answer.document()["rows"]] == [None, True]


async def test_compared_with_the_time_before(store: LedgerStore) -> None:
    for by in [(), ("user",), ("model", "hour"), ("feature", "day")]:
        since, until = START + 2 * DAY, START + 3 * DAY
        answer = await usage(store, Question(since=since, until=until, by=by, compare=True))
        before = await usage(store, Question(since=since - DAY, until=since, by=by))
        after = await usage(store, Question(since=since, until=until, by=by))
        nothing = (0,) * len(MEASURES)

        def shifted(group: tuple[str | None, ...]) -> tuple[str | None, ...]:
            return tuple(
                value.replace("2024-10-05", "2024-10-06") if value else None for value in group
            )

        now = {row.group: row.sums for row in after.rows}
        then = {shifted(row.group): row.sums for row in before.rows}
        assert {row.group: (row.sums, row.previous) for row in answer.rows} == {
            group: (now.get(group, nothing), then.get(group, nothing)) for group in now | then
        }
        assert answer.total.previous == before.total.sums


async def test_what_is_compared_with_nothing_has_no_change(store: LedgerStore) -> None:
    answer = await usage(
        store, Question(since=START, until=START + 4 * DAY, by=("tenant",), compare=True)
    )
    for row in answer.document()["rows"]:
        assert row["previous_requests"] == 0
        assert row["change"] is None
    answer = await usage(store, Question(since=0, until=10, compare=True))
    assert answer.total.previous == (0,) * len(MEASURES)


@pytest.mark.parametrize("by", [("target",), ("user", "label:env"), ("day",), ("model", "hour")])
async def test_latency_is_within_one_percent(store: LedgerStore, by: tuple[str, ...]) -> None:
    until = _SINCE + DAY
    answer = await usage(store, Question(since=_SINCE, until=until, by=by, latency=True))
    records = naive.groups(_within(answer.since, answer.until), by)
    rows = [(row, records[row.group]) for row in answer.rows]
    rows.append((answer.total, _within(answer.since, answer.until)))
    for row, some in rows:
        assert row.latency is not None
        durations = sorted(one.duration for one in some if one.status < 400 and not one.aborted)
        ttfts = sorted(one.ttft for one in some if one.ttft is not None)
        for values, name in ((durations, "duration"), (ttfts, "ttft")):
            for quantile in (0.5, 0.95, 0.99):
                found = row.latency[f"{name}_p{round(quantile * 100)}"]
                if not values:
                    assert found is None
                    continue
                exact = values[math.floor(quantile * (len(values) - 1))]
                assert found is not None
                assert abs(found - exact) <= 0.0101 * exact


async def test_what_is_beyond_the_bounds_is_summed_up_as_other() -> None:
    store = FakeLedger()
    await fill(store, _RECORDS, Limits(user=3, full=3, main=3, values=2, names=1))
    for by in [("user",), ("feature", "model"), ("label:env",), ("tenant", "user", "target")]:
        answer = await usage(store, Question(since=START, until=START + 4 * DAY, by=by))
        assert any(OTHER in row.group for row in answer.rows)
        assert dict(zip(MEASURES, answer.total.sums, strict=True)) == naive.sums(_RECORDS)


async def test_the_smallest_view_answers() -> None:
    assert view_for({"feature", "model"}) == "main"
    assert view_for(set()) == "main"
    assert view_for({"tenant", "user"}) == "user"
    assert view_for({"user", "feature"}) == "full"
    assert view_for({"label:env"}) == "full"


_TEXT = st.none() | st.sampled_from(["", "a", "b", OTHER, "<i>", "\n"])
_RECORD = st.builds(
    RequestRecord,
    id=st.uuids().map(str),
    started=st.floats(START, START + 2 * DAY),
    duration=st.floats(0, 100),
    route=st.sampled_from(["r", "s"]),
    status=st.sampled_from([200, 500]),
    tenant=_TEXT,
    usage=st.none() | st.builds(Usage, st.integers(0, 99), st.integers(0, 99)),
    cost=st.none() | st.builds(Cost, st.integers(0, 10**12)),
    attribution=st.builds(
        Attribution,
        user=_TEXT,
        feature=_TEXT,
        labels=st.sampled_from([(), (("env", "a"),), (("env", "b"), ("zone", "a"))]),
    ),
)
_NAMES = ("tenant", "user", "feature", "route", "label:env", "hour", "day")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(_RECORD, max_size=12),
    st.lists(st.sampled_from(_NAMES), max_size=3, unique=True).filter(
        lambda names: not {"hour", "day"} <= set(names)
    ),
    st.floats(START, START + DAY),
    st.floats(1, 2 * DAY),
)
async def test_sums_are_those_of_the_records(
    records: list[RequestRecord], names: list[str], since: float, length: float
) -> None:
    store = FakeLedger()
    await fill(store, records)
    question = Question(since=since, until=since + length, by=tuple(names))
    answer = await usage(store, question)
    inside = [one for one in records if answer.since <= one.started < answer.until]
    if names:
        _agrees(answer, tuple(names), inside)
    else:
        assert dict(zip(MEASURES, answer.total.sums, strict=True)) == naive.sums(inside)


async def test_many_groups_leave_the_event_loop_to_others() -> None:
    store = FakeLedger()
    records = [
        RequestRecord(
            id=f"{number}",
            started=float(START),
            duration=0.1,
            route="r",
            attribution=Attribution(user=f"u{number}"),
            cost=Cost(number, input=number),
        )
        for number in range(1_000)
    ]
    await fill(store, records)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    answer = await usage(store, Question(since=START, until=START + HOUR, by=("user",)))
    task.cancel()
    _agrees(answer, ("user",), records)
    assert [row.group for row in answer.rows[:2]] == [("u999",), ("u998",)]
    assert turns > 1
