"""The report: what would have been done, and what settings the traffic suggests."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.accounting.rollup import Limits, QuestionError, Report, report
from extproc.accounting.rollup.suggestions import Suggestion
from extproc.records import Attribution, Cost, Observation, RequestRecord, Usage
from extproc.state import DAY, HOUR
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill, ledger, traffic


def _record(number: int, started: float, **changes: Any) -> RequestRecord:
    plain = RequestRecord(
        id=f"r{number:06}", started=started, duration=2.0, route="chat", target="claude"
    )
    return msgspec.structs.replace(plain, **changes)


async def _report(records: list[RequestRecord], days: float = 7) -> Report:
    store = FakeLedger()
    await fill(store, records)
    return await report(store, START, START + days * DAY)


def _about(found: Report, words: str) -> list[Suggestion]:
    return [one for one in found.suggestions if words in one.about]


async def test_what_would_have_been_done_in_requests_and_money() -> None:
    refused = Observation(capability="limits", outcome="refused", saved=100)
    routed = Observation(capability="routing", outcome="routed", saved=40)
    records = [
        _record(1, START + 1, cost=Cost(100), observed=(refused,)),
        _record(2, START + 2, cost=Cost(100), observed=(refused, routed)),
        _record(3, START + 3, cost=Cost(70), observed=(routed,), route="other"),
        _record(4, START + 4, cost=Cost(1)),
    ]
    found = await _report(records)
    assert (found.requests, found.observed_requests, found.cost) == (4, 3, 271)
    assert [
        (one.route, one.capability, one.outcome, one.requests, one.cost, one.saved)
        for one in found.observed
    ] == [
        ("chat", "limits", "refused", 2, 200, 200),
        ("chat", "routing", "routed", 1, 100, 40),
        ("other", "routing", "routed", 1, 70, 40),
    ]


async def test_repeats_within_a_day_would_have_come_from_the_cache() -> None:
    def same(number: int, after: float, **changes: Any) -> RequestRecord:
        return _record(number, START + after, fingerprint="f" * 32, cost=Cost(10), **changes)

    records = [
        same(1, 0, status=503, error_type="503"),
        same(2, 10),
        same(3, 11),
        same(4, 20),
        same(5, 30, kind="shadow"),
        same(6, DAY + 12),
        same(7, DAY + 13),
        same(8, DAY + 100),
    ]
    found = await _report(records)
    (repeats,) = found.repeats
    # Of the seven, 4 and 6 are hits of 2's answer (there from 12 on), 8 of 7's.
    assert (repeats.requests, repeats.hits, repeats.saved) == (7, 3, 30)
    (suggested,) = _about(found, "cache")
    assert suggested.setting == "cache:\n  mode: exact\n  ttl:\n    default: 24h"
    assert "3 of 7 requests (42.9 %)" in suggested.derivation
    assert "0.00000003 USD" in suggested.derivation


def _users(users: int, days: int, tier: str | None = "pro") -> list[RequestRecord]:
    """Each user an hour a day; the n-th uses n times 1,000 tokens in two requests."""
    return [
        _record(
            (day * users + user) * 2 + half,
            START + day * DAY + 9 * HOUR + user + half,
            usage=Usage(user * 300, user * 200),
            attribution=Attribution(user=f"u{user}"),
            tenant="acme",
            tier=tier,
        )
        for day in range(days)
        for user in range(1, users + 1)
        for half in (0, 1)
    ]


@pytest.mark.parametrize("sort", ["fake", "sqlite", "redis"])
async def test_limits_of_tokens_are_what_users_used_and_half_more(
    sort: str, tmp_path: Path
) -> None:
    with ledger(sort, tmp_path) as store:
        await fill(store, _users(50, 6))
        found = await report(store, START, START + 6 * DAY)
        await store.close()
    hour, day = _about(found, "tokens")
    # 300 totals, the 297th is that of the 50th user: 50,000 tokens within 1 %, times 1.5.
    assert hour.about == "tokens an hour for each of the users of tier pro"
    assert hour.value in {"75000/h", "76000/h"}
    assert hour.setting == f"tiers:\n  pro:\n    tokens: {hour.value}"
    assert hour.derivation.startswith("50 users had 300 hours with traffic; in 99 % of them")
    assert day.value == hour.value.replace("/h", "/d")
    assert "50 users had 300 days with traffic" in day.derivation


async def test_no_limit_is_suggested_from_too_little() -> None:
    found = await _report(_users(11, 9, tier=None), days=9)
    assert not _about(found, "tokens")
    assert (
        "no limit of tokens by the hour for users of no tier: 99 hours of users are known, "
        "100 are needed"
    ) in found.notes


async def test_a_day_that_is_not_over_is_no_day() -> None:
    found = await _report(_users(20, 6), days=5.5)
    assert "120 hours" in _about(found, "tokens an hour")[0].derivation
    assert "100 days" in _about(found, "tokens a day")[0].derivation
    found = await _report(_users(20, 6), days=4.5)
    assert not _about(found, "tokens a day")


async def test_folded_and_unknown_users_are_nobodys_limit() -> None:
    store = FakeLedger()
    records = _users(30, 6)
    await fill(store, records, Limits(user=1))
    found = await report(store, START, START + 7 * DAY)
    assert not _about(found, "tokens")
    found = await _report(
        [msgspec.structs.replace(one, tenant=None, attribution=Attribution()) for one in records]
    )
    assert not _about(found, "tokens")
    assert "no limits of tokens: no user or key is known" in found.notes


async def test_a_budget_is_a_dear_day_times_a_month() -> None:
    def spends(tenant: str | None, days: int, base: int) -> list[RequestRecord]:
        return [
            _record(base + day, START + day * DAY, cost=Cost((day + 1) * 10**9), tenant=tenant)
            for day in range(days)
        ]

    records = [*spends("acme", 10, 0), *spends("small", 4, 100), *spends(None, 10, 200)]
    found = await _report(records, days=10)
    (suggested,) = _about(found, "money")
    # Ten dollars on the dearest day: times 31 times 1.2 is 372.
    assert suggested.about == "money a month of tenant acme"
    assert suggested.value == "380/mo"
    assert suggested.setting == "limits:\n  tenant:\n    usd: 380/mo"
    assert "10 whole days with traffic" in suggested.derivation
    assert any("no budget for 1 of 2 tenants" in note for note in found.notes)


async def test_a_time_out_covers_the_slowest_answers() -> None:
    records = [
        _record(
            number,
            START + number,
            stream=number % 2 == 0,
            admission=0.5,
            ttft=0.5 + number / 100,
            upstream=number / 100,
            duration=1000.0,
        )
        for number in range(1, 401)
    ]
    records.append(_record(900, START, attempts=2, upstream=500.0, admission=0.0))
    records.append(_record(901, START, aborted=True, upstream=500.0, admission=0.0))
    records += [_record(1000 + n, START, target="new") for n in range(199)]
    found = await _report(records)
    (suggested,) = _about(found, "time-out")
    slow = 3.98
    assert suggested.about == "time-out of target claude"
    value = float(suggested.value.removesuffix("ms")) / 1000
    assert slow * 1.5 * 0.99 <= value <= slow * 1.5 * 1.01 * 1.1
    assert "400 answers" in suggested.derivation
    assert "no time-out for new: 199 answers are known, 200 are needed" in found.notes
    assert suggested.setting == f"targets:\n  claude:\n    timeout: {suggested.value}"


async def test_levels_that_refuse_often() -> None:
    records = [
        _record(
            number,
            START + number,
            target="gpt",
            refusals=(("claude", "capacity" if number % 3 else "timeout"),) if number < 30 else (),
            attempts=2,
        )
        for number in range(100)
    ]
    records += [_record(200 + number, START, target="claude") for number in range(70)]
    found = await _report(records)
    (level,) = found.levels
    assert (level.target, level.tried, level.refused, level.share) == ("claude", 100, 30, 0.3)
    assert level.reasons == {"capacity": 20, "timeout": 10}
    (suggested,) = _about(found, "place of")
    assert "asked 100 times it refused 30 times (30.0 %): capacity 20" in suggested.derivation


async def test_the_document_is_json_with_exact_money() -> None:
    records = [
        _record(
            1,
            START,
            cost=Cost(123_456_789_000_000_001),
            tenant="<b>\n",
            observed=(Observation(capability="limits", outcome="refused", saved=1),),
        )
    ]
    found = msgspec.json.Decoder(float_hook=Decimal).decode((await _report(records)).json())
    assert found["cost_usd"] == Decimal("123456789.000000001")
    assert found["observed"][0]["saved_usd"] == Decimal("0.000000001")
    assert (found["since"], found["requests"]) == ("2024-10-04T00:00:00Z", 1)


async def test_nothing_is_a_report_too() -> None:
    found = await _report([])
    assert (found.requests, found.suggestions) == (0, ())
    assert any("no route only observed" in note for note in found.notes)


async def test_a_record_that_cannot_be_read_does_not_hide_the_others() -> None:
    store = FakeLedger()
    await fill(store, traffic(10))
    entry = store.entries["r000003"]
    store.entries["r000003"] = msgspec.structs.replace(entry, record=b'{"started": "\xff')
    found = await report(store, START, START + 7 * DAY)
    assert found.requests == 9
    assert "1 records could not be read and are left out" in found.notes


async def test_mixed_traffic_has_a_report() -> None:
    found = await _report(traffic(500))
    assert found.requests == 500
    assert msgspec.json.decode(found.json())["requests"] == 500


@pytest.mark.parametrize(
    ("since", "until"), [(math.nan, 1.0), (5.0, 5.0), (-1.0, 5.0), (0.0, math.inf), (0, 32 * DAY)]
)
async def test_a_time_that_is_none_is_refused(since: float, until: float) -> None:
    with pytest.raises(QuestionError):
        await report(FakeLedger(), since, until)
