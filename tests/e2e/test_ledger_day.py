"""A day of mixed traffic through Envoy, on both stores: ledger, metrics, access log and the
simulator's own record agree to the token and the nano-dollar."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.figures import Figures, figures
from tests.e2e.ledger_books import (
    COUNTS,
    access_log,
    at_rest,
    cost_of,
    grouped,
    label,
    make,
    mark,
    marks,
    record,
    records,
    row_sums,
    rows,
    sums,
    told,
    value,
)
from tests.e2e.ledger_day import CONFIG, Seen, billed, live, nanodollars, plan
from tests.e2e.ledger_processes import Redis

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Day:
    """A day that has passed, as each party tells it."""

    store: str
    gateway: Running
    seen: list[Seen]
    books: dict[str, Json]
    """The ledger's records, by id."""
    billed: dict[str, list[Json]]
    """What the simulator received, by mark."""
    before: Figures
    after: Figures

    def rise(self, name: str, **labels: str) -> int | float:
        return self.after.sum(name, **labels) - self.before.sum(name, **labels)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp(f"day-{request.param}")
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    with Redis.running(wanted=request.param == "redis") as redis:
        flags = ("--time-scale", "0.1", *(("--redis", redis.url) if redis else ()))
        with running(folder / "run", config, *flags) as gateway:
            before = figures(gateway)
            seen = asyncio.run(live(gateway, plan()))
            at_rest(gateway)
            found = records(gateway)
            books = {one["id"]: one for one in found}
            assert len(books) == len(found)
            after = figures(gateway)
            yield Day(request.param, gateway, seen, books, marks(gateway), before, after)


LET_IN = (401, 404)


def in_ledger(seen: Seen) -> bool:
    """Whether a request leaves a record: its caller was let in, and it asked for a model."""
    return seen.call.caller is not None and seen.call.shape != "nowhere"


def test_the_day_had_everything(day: Day) -> None:
    statuses = Counter(seen.status for seen in day.seen)
    assert {200, 400, 401, 403, 404, 429, 503} <= statuses.keys()
    assert Counter(seen.ended for seen in day.seen).keys() == {"whole", "left", "cut"}
    tally = sums(day.books.values())
    assert tally["walked"] > 20
    assert tally["aborted"] > 10
    assert tally["estimated"] > 10
    assert all(tally[name] for name in COUNTS)
    assert {one.get("tenant") for one in day.books.values()} == {"acme", "globex", "initech"}


def test_every_request_is_in_the_ledger_once(day: Day) -> None:
    """By the id that its client was told, and by its label where the client left before."""
    wanted = [seen for seen in day.seen if in_ledger(seen)]
    assert len(day.books) == len(wanted)
    ids = {seen.id for seen in wanted if seen.id is not None}
    assert ids <= day.books.keys()
    labelled = Counter(label(one, "n") for one in day.books.values())
    for seen in wanted:
        if seen.id is None:
            assert labelled[mark(seen.call.number)] == 1
    for seen in day.seen:
        if not in_ledger(seen):
            assert seen.id not in day.books


def test_the_simulators_record_agrees(day: Day) -> None:
    """What it billed for each request, and what that costs."""
    exact = 0
    for seen in day.seen:
        theirs = billed(day.billed[mark(seen.call.number).removeprefix("mark-")])
        if not in_ledger(seen) or seen.id is None:
            continue
        ours = day.books[seen.id]
        usage = ours.get("usage")
        if seen.exact:
            assert usage is not None, ours
            got = {name: usage.get(name, 0) for name in COUNTS.values()}
            wanted = {"input": theirs["input"], "output": theirs["output"]}
            wanted |= {"cached_input": theirs["cached"], "reasoning": theirs["reasoning"]}
            assert got == {**wanted, "cache_write": theirs["cache_write"]}, ours
            assert not usage.get("estimated", False)
            cost = nanodollars(ours["target"], theirs)
            assert (ours["cost"]["total"] if ours.get("cost") else None) == cost, ours
            exact += 1
        elif seen.status != 200:
            assert usage is None, ours
            assert not any(theirs.values()), ours
        else:
            assert usage is not None, ours
            assert usage["estimated"], ours
    assert exact > 250


def test_what_was_aborted_is_told_so(day: Day) -> None:
    labelled = {label(one, "n"): one for one in day.books.values()}
    left = [seen for seen in day.seen if seen.ended == "left"]
    assert left
    for seen in left:
        ours = labelled[mark(seen.call.number)]
        assert ours["aborted"]
        assert ours["error_type"] == "cancelled"
        if seen.status == 200:
            assert ours["usage"]["estimated"]
            assert ours["usage"]["output"] > 0


def test_the_access_log_agrees(day: Day) -> None:
    whole = [seen for seen in day.seen if in_ledger(seen) and seen.id and seen.ended == "whole"]
    lines = access_log(day.gateway, [str(seen.id) for seen in whole])
    for seen in whole:
        ours, line = day.books[str(seen.id)], lines[str(seen.id)]
        usage = ours.get("usage") or {}
        assert line["status"] == seen.status == ours.get("status", 200)
        assert line["input_tokens"] == usage.get("input", 0 if usage else None)
        assert line["output_tokens"] == usage.get("output", 0 if usage else None)
        assert line["cached_tokens"] == usage.get("cached_input", 0 if usage else None)
        assert line["cost_nanousd"] == (ours["cost"]["total"] if ours.get("cost") else None)
        assert line["target"] == ours.get("target")
        assert line["feature"] == value(ours, "feature")


def test_metrics_agree(day: Day) -> None:
    """By route, target and feature; what was aborted or estimated as well."""
    books = day.books.values()
    tokens: dict[tuple[str, ...], int] = defaultdict(int)
    cost: dict[tuple[str, ...], int] = defaultdict(int)
    answers: dict[tuple[str, ...], int] = defaultdict(int)
    for one in books:
        whose = (one["route"], one.get("target") or "", value(one, "feature") or "")
        usage = one.get("usage") or {}
        for name in COUNTS.values():
            estimated = "true" if usage.get("estimated") else "false"
            tokens[(*whose, name, estimated)] += usage.get(name, 0)
        cost[whose] += cost_of(one)
        answers[(one["route"], one.get("target") or "", str(one.get("status", 200)))] += 1
    for seen in day.seen:
        if not in_ledger(seen):
            answers[("everything", "", str(seen.status))] += 1
    for name, sums_, labels in (
        ("tollgate_tokens_total", tokens, ("route", "target", "feature", "kind", "estimated")),
        ("tollgate_cost_nanodollars_total", cost, ("route", "target", "feature")),
        ("tollgate_requests_total", answers, ("route", "target", "status")),
    ):
        ours = {key: number for key, number in sums_.items() if number}
        assert _series(day, name, labels, set(COUNTS.values())) == ours, name
    assert day.rise("tollgate_requests_aborted_total") == sums(books)["aborted"]
    assert day.after.sum("tollgate_ledger_unrecorded_total") == 0
    assert day.after.sum("tollgate_telemetry_dropped_total") == 0


def _series(
    day: Day, name: str, labels: tuple[str, ...], kinds: set[str]
) -> dict[tuple[str, ...], int]:
    """What has been added to each series of a metric, by its labels."""
    found: dict[tuple[str, ...], int] = defaultdict(int)
    for figures_, sign in ((day.after, 1), (day.before, -1)):
        for one in figures_.samples:
            if one.name == name and one.labels.get("kind", "input") in kinds:
                found[tuple(one.labels.get(each, "") for each in labels)] += sign * int(one.value)
    return {key: number for key, number in found.items() if number}


@pytest.mark.parametrize(
    "by", ["feature,model", "tenant", "target", "user", "tenant,team,tier,key", "label:region"]
)
def test_usage_agrees(day: Day, by: str) -> None:
    """`tollgate usage` by any dimensions is the sum of the records."""
    answered = rows(day.gateway, "--by", by, "--since", "6h")
    found = {tuple(row[name] for name in by.split(",")): row_sums(row) for row in answered}
    assert len(found) == len(answered)
    assert found == grouped(day.books.values(), by)


def test_usage_as_one_row_and_as_an_export(day: Day) -> None:
    (whole,) = rows(day.gateway, "--since", "6h")
    exported = told(day.gateway, "usage", "export", "--since", "6h", "--format", "jsonl")
    lines = [json.loads(line) for line in exported.splitlines()]
    assert {one["id"]: one for one in lines} == day.books
    assert len(lines) == whole["requests"]
    assert row_sums(whole) == sums(lines)


def test_what_a_client_says_is_its_id_is_nothing(day: Day) -> None:
    """A thousand requests with the same ids, over kept-alive connections: a thousand records."""
    gateway, count = day.gateway, 1000 if day.store == "sqlite" else 200
    key = make(gateway, tenant="replayer")["key"]
    stolen = next(iter(day.books))
    headers = {
        "authorization": f"Bearer {key}",
        "x-request-id": stolen,
        "x-tollgate-i-id": stolen,
        "x-tollgate-request-id": stolen,
    }
    body = {"model": "vectors", "input": "again"}

    async def replay() -> list[str]:
        limits = httpx.Limits(max_connections=8)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:

            async def one() -> str:
                answer = await client.post(f"{gateway.url}/embeddings", json=body, headers=headers)
                assert answer.status_code == 200
                return answer.headers["x-tollgate-request-id"]

            return await asyncio.gather(*(one() for _ in range(count)))

    ids = asyncio.run(replay())
    assert len(set(ids)) == count
    assert stolen not in ids
    poll(lambda: len(records(gateway)) >= len(day.books) + count, what="all records")
    kept = [one["id"] for one in records(gateway) if one.get("tenant") == "replayer"]
    assert sorted(kept) == sorted(ids)
    assert record(gateway, stolen) == day.books[stolen]
    (row,) = rows(gateway, "--since", "6h", "--where", "tenant=replayer")
    assert row["requests"] == count
