"""What the guard found, summed up: it agrees with what the records themselves add up to."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from extproc.accounting.rollup import (
    OTHER,
    Bounds,
    Condition,
    Limits,
    Question,
    QuestionError,
    entry_of,
    question,
    usage,
)
from extproc.accounting.rollup.views import ALL_VIEWS, GUARD, GUARD_DIMENSIONS, WITH_GUARD
from extproc.records import GuardCount, RequestRecord
from extproc.state import DAY, LedgerStore
from tests.unit.accounting.rollup import naive
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill, ledger, traffic

Total = tuple[int, int]
"""Findings and requests."""
_DIMENSIONS = ALL_VIEWS[GUARD]


def _guarded(count: int) -> list[RequestRecord]:
    draw = random.Random(3)
    found = []
    for record in traffic(count):
        sorts = {
            (draw.choice(["PERSON", "EMAIL_ADDRESS"]), draw.choice(["redact", "flag"]), way)
            for way in ("request", "response")
            if draw.random() < 0.5
        }
        counts = tuple(
            GuardCount(*sort, draw.randrange(1, 5), record.route == "support")  # type: ignore[arg-type]
            for sort in sorted(sorts)
        )
        found.append(msgspec.structs.replace(record, guard=counts))
    return found


_RECORDS = _guarded(300)


def _value(record: RequestRecord, one: GuardCount, name: str) -> str | None:
    known = {
        "guard_type": one.type,
        "guard_action": one.action,
        "guard_direction": one.direction,
        "guard_mode": "observe" if one.observed else "enforce",
    }
    return known[name] if name in known else naive.value(record, name)


def _expected(
    records: Iterable[RequestRecord], by: tuple[str, ...]
) -> dict[tuple[str | None, ...], Total]:
    found: Counter[tuple[str | None, ...]] = Counter()
    requests: Counter[tuple[str | None, ...]] = Counter()
    for record in records:
        for one in record.guard:
            group = tuple(_value(record, one, name) for name in by)
            found[group] += one.count
            requests[group] += 1
    return {group: (found[group], requests[group]) for group in found}


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


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _rows(store: LedgerStore, **asked: Any) -> list[dict[str, Any]]:
    span = {"since": START, "until": START + 4 * DAY}
    answer = await usage(store, Question(**(span | asked)))
    found: list[dict[str, Any]] = json.loads(answer.json())["rows"]
    return found


@pytest.mark.parametrize("second", [*_DIMENSIONS, "day", "hour"])
async def test_by_what_was_found_and_any_other(store: LedgerStore, second: str) -> None:
    for first in GUARD_DIMENSIONS:
        by = tuple(dict.fromkeys((first, second)))
        rows = await _rows(store, by=by)
        found = {
            tuple(row[name] for name in by): (row["findings"], row["requests"]) for row in rows
        }
        assert found == _expected(_RECORDS, by)


async def test_rows_say_findings_and_their_share_the_most_first(store: LedgerStore) -> None:
    rows = await _rows(store, by=("guard_type", "guard_action"))
    numbers = [row["findings"] for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert sum(row["findings_share"] for row in rows) == pytest.approx(1, abs=1e-5)
    assert set(rows[0]) == {
        *("guard_type", "guard_action", "findings", "requests", "findings_share"),
    }


async def test_the_most_and_the_rest(store: LedgerStore) -> None:
    first, rest = await _rows(store, by=("user", "guard_type"), top=1)
    whole = _expected(_RECORDS, ("user", "guard_type"))
    assert first["findings"] == max(found for found, _ in whole.values())
    assert rest["rest"] is True
    assert first["findings"] + rest["findings"] == sum(found for found, _ in whole.values())


async def test_conditions_and_the_time_before(store: LedgerStore) -> None:
    where = (Condition("guard_type", frozenset({"PERSON"})),)
    first, last = START + 2 * DAY, START + 3 * DAY
    (row,) = await _rows(store, since=first, until=last, where=where, compare=True)
    for name, since in (("findings", first), ("previous_findings", first - DAY)):
        some = [one for one in _RECORDS if since <= one.started < since + DAY]
        assert row[name] == _expected(some, ("guard_type",))[("PERSON",)][0]
    assert row["change"] == pytest.approx(row["findings"] / row["previous_findings"] - 1, abs=1e-5)


async def test_other_questions_do_not_see_findings(store: LedgerStore) -> None:
    answer = await usage(store, Question(since=START, until=START + 4 * DAY, by=("user",)))
    assert answer.total.sums[0] == len(_RECORDS)
    assert "findings" not in json.loads(answer.json())["total"]


async def test_what_has_none_adds_no_row_and_what_has_some_one_each() -> None:
    (plain,) = traffic(1)
    assert [cell.view for cell in entry_of(plain, None, Bounds()).cells] == ["main", "user", "full"]
    counts = (
        GuardCount("PERSON", "redact", "request", 3),
        GuardCount("PERSON", "redact", "request", 1, observed=True),
    )
    entry = entry_of(msgspec.structs.replace(plain, guard=counts), None, Bounds())
    cells = [cell for cell in entry.cells if cell.view == GUARD]
    keys = [dict(zip(_DIMENSIONS, json.loads(cell.key), strict=True)) for cell in cells]
    assert [one["guard_mode"] for one in keys] == ["enforce", "observe"]
    assert not any(cell.bins for cell in cells)


async def test_made_up_types_and_users_take_bounded_rows_and_no_finding_is_lost() -> None:
    (plain,) = traffic(1)
    records = [
        msgspec.structs.replace(
            plain,
            id=f"r{number}",
            attribution=msgspec.structs.replace(plain.attribution, user=f"u{number}"),
            guard=(GuardCount(f"T{number}", "redact", "request", 2),),
        )
        for number in range(500)
    ]
    store = FakeLedger()
    await fill(store, records, Limits(guard=50, values=20))
    rows = await _rows(store, by=("guard_type", "user"))
    assert len(rows) <= 50 + 20 + 2
    assert sum(row["findings"] for row in rows) == 1000
    assert OTHER in {row["guard_type"] for row in rows}


@pytest.mark.parametrize("name", ["model", "label:env", "target", "cache", "tier", "provider"])
async def test_findings_are_not_told_by_everything(name: str) -> None:
    for asked in ([("by", f"guard_type,{name}")], [("by", "guard_type"), ("where", f"{name}=x")]):
        with pytest.raises(QuestionError, match=f"by '{name}', but by: guard_type, .*user"):
            question(asked, float(START))
    with pytest.raises(QuestionError, match="no latency"):
        question([("by", "guard_type"), ("latency", "1")], float(START))
    assert question([("by", ",".join((*WITH_GUARD, "guard_type")))], float(START)).findings


async def test_days_that_are_closed_have_findings_too(store: LedgerStore) -> None:
    rows = await _rows(store, since=START, until=START + 3 * DAY, by=("guard_type",))
    some = [one for one in _RECORDS if one.started < START + 3 * DAY]
    found = {(row["guard_type"],): (row["findings"], row["requests"]) for row in rows}
    assert found == _expected(some, ("guard_type",))
