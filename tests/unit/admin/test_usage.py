"""What the ledger tells over the admin port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import pytest

from extproc.admin.capabilities import Admin
from extproc.admin.http import application
from extproc.records import Attribution, GuardCount, RequestRecord
from extproc.state import LedgerStore, StateError
from tests.unit.admin.conftest import Asked, Open
from tests.unit.admin.serving import Stores, expose, parts, record

WANTED = [
    "requests",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "saved_usd",
    "cache_hits",
    "errors",
]


async def test_sums(asked: Asked, kept: Stores) -> None:
    await kept.write(
        [record(0, dollars=0.04), record(1, feature="chat", dollars=0.06, cache="hit")]
    )
    async with asked.get("/usage", params={"by": "feature,model", "since": "7d"}) as response:
        assert response.status == 200
        found = await response.json()
    chat, support = found["rows"]
    assert [chat[name] for name in ("feature", "model", *WANTED)] == [
        "chat",
        "gpt-4o",
        1,
        100,
        20,
        0.06,
        0,
        1,
        0,
    ]
    assert (support["feature"], support["cost_share"]) == ("support", 0.4)
    assert found["total"]["requests"] == 2
    assert {"since", "until"} <= set(found)


async def test_conditions_comparison_and_more(asked: Asked, kept: Stores) -> None:
    day = 86_400.0
    await kept.write([record(n, feature=f"f{n}", dollars=n) for n in range(1, 5)])
    await kept.write([record(9, feature="f1", dollars=2, ago=2 * day)])
    params = [
        ("by", "feature"),
        ("since", "1d"),
        ("compare", "previous"),
        ("top", "1"),
        ("latency", "1"),
        ("where", "feature!=f4"),
        ("where", "label:env=prod"),
    ]
    async with asked.get("/usage", params=params) as response:
        found = await response.json()
    first, rest = found["rows"]
    assert (first["feature"], first["cost_usd"], first["previous_cost_usd"]) == ("f3", 3, 0)
    assert (rest["rest"], rest["cost_usd"], rest["previous_cost_usd"]) == (True, 3, 2)
    assert first["duration_p95"] == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize(
    "query",
    [
        "by=nobody",
        "since=yesterday",
        "since=7d&since=8d",
        "since=1d&until=2d",
        "top=0",
        "top=x",
        "top=99999999999999999999",
        "compare=next",
        "where=feature",
        "where=nobody=x",
        "latency=2",
        "bye=feature",
        "since=-1d",
        "since=2026-13-01",
        "by=" + ",".join(f"label:{n}" for n in range(20)),
        "until=7d&since=7d",
    ],
)
async def test_bad_questions(query: str, asked: Asked) -> None:
    async with asked.get(f"/usage?{query}") as response:
        assert response.status == 400, await response.text()
        assert (await response.json())["error"]["message"]


async def test_the_story_of_a_request(asked: Asked, kept: Stores) -> None:
    await kept.write(
        [record(0, refusals=(("claude", "capacity"),), attempts=2)], b'{"request":"q","answer":"a"}'
    )
    async with asked.get("/usage/requests/req-0") as response:
        found = await response.json()
    assert (found["id"], found["outcome"]) == ("req-0", "served by gpt")
    assert [one["target"] for one in found["levels"]] == ["claude", "gpt"]
    assert found["content"] == {"request": "q", "answer": "a"}
    for unknown in ("req-1", "x" * 4000, "%27%20OR%201=1", "%00"):
        async with asked.get(f"/usage/requests/{unknown}") as response:
            assert response.status == 404


async def test_records_in_order(asked: Asked, kept: Stores) -> None:
    many = [record(n, ago=5000.0 - n) for n in range(1200)]
    await kept.write(many)
    await kept.write([record(9999, ago=30 * 86_400.0)])
    async with asked.get("/usage/records", params={"since": "1d"}) as response:
        lines = (await response.read()).splitlines()
    assert [msgspec.json.decode(one, type=RequestRecord) for one in lines] == many


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["feature=chat"], [1]),
        (["feature!=chat"], [0, 2]),
        (["feature="], [2]),
        (["feature=chat", "feature="], [1, 2]),
        (["label:env=prod"], [0, 1]),
        (["status=200", "model=gpt-4o"], [0, 1, 2]),
        (["error_type=rate_limit"], []),
        (["guard_type=PERSON"], [1]),
        (["guard_type!=PERSON"], [0, 2]),
        (["guard_type="], [0, 2]),
        (["guard_action=block", "guard_mode=enforce"], [1]),
        (["guard_direction=response"], []),
    ],
)
async def test_some_records(where: list[str], ids: list[int], asked: Asked, kept: Stores) -> None:
    guard = tuple(GuardCount(type_, "block", "request", 1) for type_ in ("PERSON", "URL"))
    first, chat = record(0), record(1, feature="chat", guard=guard)
    await kept.write([first, chat, record(2, attribution=Attribution())])
    params = [("where", one) for one in where]
    async with asked.get("/usage/records", params=params) as response:
        found = [msgspec.json.decode(one)["id"] for one in (await response.read()).splitlines()]
    assert found == [f"req-{number}" for number in ids]


@pytest.mark.parametrize("path", ["/usage/records", "/report"])
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("since=x", "since"),
        ("until=x", "until"),
        ("since=1d&until=2d", "since"),
        ("format=csv", "format"),
        ("since=1d&since=2d", "since"),
    ],
)
async def test_bad_spans(path: str, query: str, param: str, asked: Asked) -> None:
    async with asked.get(f"{path}?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_bad_conditions_on_records(asked: Asked) -> None:
    for where in ("feature", "nobody=1", "label:=x", "=x"):
        for path in ("/usage/records", "/tail"):
            async with asked.get(path, params={"where": where}) as response:
                assert response.status == 400, (path, where)


async def test_a_report(asked: Asked, kept: Stores) -> None:
    await kept.write([record(0, fingerprint="a" * 32)])
    async with asked.get("/report", params={"since": "7d"}) as response:
        found = await response.json()
    assert (found["requests"], found["observed_requests"], found["cost_usd"]) == (1, 1, 0.01)
    async with asked.get("/report", params={"since": "90d"}) as response:
        assert response.status == 400


async def test_dates(asked: Asked, kept: Stores) -> None:
    await kept.write([record(0, ago=3 * 86_400.0)])
    day = datetime.fromtimestamp(time.time(), UTC).date()
    for since, number in ((day - timedelta(days=4), 1), (day, 0)):
        async with asked.get("/usage", params={"since": since.isoformat()}) as response:
            assert (await response.json())["total"]["requests"] == number


class Breaking:
    """A ledger whose store goes away after some batches."""

    def __init__(self, batches: int) -> None:
        self._batches = batches

    async def records(self, *_: float) -> AsyncIterator[Sequence[bytes]]:
        for number in range(self._batches):
            yield [msgspec.json.encode(record(number))]
        raise StateError("connection to 10.0.0.1:6379 lost")

    def __getattr__(self, _: str) -> object:
        async def away(*_: object, **__: object) -> object:
            raise StateError("connection to 10.0.0.1:6379 refused")

        return away


async def test_the_store_is_away(opened: Open) -> None:
    ledger: LedgerStore = Breaking(0)  # type: ignore[assignment]
    asked = await opened(application(expose, parts, Admin(ledger=ledger)))
    for path in ("/usage", "/usage/requests/x", "/usage/records", "/report"):
        async with asked.get(path) as response:
            assert response.status == 503, path
            said = await response.text()
        assert "away" in said
        assert "10.0.0.1" not in said


async def test_an_export_that_breaks_is_not_taken_for_whole(opened: Open) -> None:
    ledger: LedgerStore = Breaking(2)  # type: ignore[assignment]
    asked = await opened(application(expose, parts, Admin(ledger=ledger)))
    async with asked.get("/usage/records") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


class Endless:
    """A ledger that has always more; tells when it is let go of."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def records(self, *_: float) -> AsyncIterator[Sequence[bytes]]:
        line = b'{"id":"' + b"x" * 100_000 + b'"}'
        try:
            while True:
                yield [line] * 10
        finally:
            self.closed.set()


async def test_exports_at_once_are_bounded_and_let_go(opened: Open) -> None:
    ledger = Endless()
    asked = await opened(application(expose, parts, Admin(ledger=ledger)))  # type: ignore[arg-type]
    running = [await asked.get("/usage/records") for _ in range(4)]
    async with asked.get("/usage/records") as response:
        assert response.status == 429
    for one in running:
        one.close()
    async with asyncio.timeout(10):
        await ledger.closed.wait()


async def test_a_reader_that_does_not_read(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("extproc.admin.answers.STALLED", 0.05)
    ledger = Endless()
    asked = await opened(application(expose, parts, Admin(ledger=ledger)))  # type: ignore[arg-type]
    async with asked.get("/usage/records") as response:
        async with asyncio.timeout(10):
            await ledger.closed.wait()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/usage", 405), ("HEAD", "/tail", 405)],
)
async def test_other_paths(method: str, path: str, status: int, asked: Asked) -> None:
    async with asked.request(method, path) as response:
        assert response.status == status
        if method != "HEAD":
            assert (await response.json())["error"]["message"]
        if status == 405:
            assert response.headers["allow"]


async def test_what_fails_inside_stays_inside(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def record(self, _: str) -> object:
            raise RuntimeError("secret detail")

    admin = Admin(ledger=Broken())  # type: ignore[arg-type]
    asked = await opened(application(expose, parts, admin))
    async with asked.get("/usage/requests/x") as response:
        assert response.status == 500
        assert "secret" not in await response.text()
    assert "secret detail" in caplog.text
