"""What the cache serves, and what its embedder is paid, in the sums."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from extproc.accounting import embedder_price, shadow
from extproc.accounting.rollup import Answer, Bounds, Question, entry_of, report, story, usage
from extproc.catalogue import load
from extproc.records import Attribution, Cost, Observation, RequestRecord, Usage
from extproc.state import DAY, MEASURES, LedgerStore
from tests.unit.accounting.rollup import naive
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill, ledger

MISS = RequestRecord(
    id="a1",
    started=START + 10.0,
    duration=2.0,
    route="support",
    target="gpt",
    provider="openai",
    request_model="flagship",
    response_model="gpt-x",
    usage=Usage(100, 50),
    cost=Cost(7_000, 2_000, output=5_000),
    attribution=Attribution(user="ann", feature="help"),
    tenant="acme",
    key="k1",
    cache="miss",
)
HIT = msgspec.structs.replace(
    MISS,
    id="a2",
    started=START + 20.0,
    duration=0.003,
    target=None,
    provider=None,
    usage=Usage(0, 0),
    cost=Cost(0),
    cache="hit",
    saved=7_000,
)
LIKE = msgspec.structs.replace(HIT, id="a3", started=START + 30.0, cache="semantic", saved=6_500)
EMBEDDED = shadow(
    LIKE,
    model="text-embedding-3-small",
    usage=Usage(12),
    provider="openai",
    price=embedder_price(load(), "text-embedding-3-small")[1],
)
UNPRICED = shadow(MISS, model="bge-m3", usage=Usage(12))
RECORDS = [MISS, HIT, LIKE, EMBEDDED, UNPRICED]


async def _ask(store: LedgerStore, *by: str) -> Answer:
    return await usage(store, Question(since=START, until=START + DAY, by=by, latency=True))


def _sums(answer: Answer) -> dict[tuple[str | None, ...], dict[str, int]]:
    return {row.group: dict(zip(MEASURES, row.sums, strict=True)) for row in answer.rows}


@pytest.mark.parametrize("sort", ["fake", "sqlite", "redis"])
async def test_a_hit_is_a_request_that_cost_nothing_and_a_shadow_is_a_cost_and_no_request(
    sort: str, tmp_path: Path
) -> None:
    with ledger(sort, tmp_path) as store:
        await fill(store, RECORDS)
        by_feature = await _ask(store, "feature")
        by_cache = _sums(await _ask(store, "cache"))
        by_model = _sums(await _ask(store, "model", "provider"))
        await store.close()
    (row,) = by_feature.rows
    found = dict(zip(MEASURES, row.sums, strict=True))
    paid = EMBEDDED.cost
    assert paid is not None
    assert paid.total > 0
    assert found["requests"] == 3
    assert found["cache_hits"] == 2
    assert found["cost"] == 7_000 + paid.total
    assert found["saved"] == 13_500
    assert (found["input_tokens"], found["output_tokens"]) == (124, 50)
    assert found["unpriced"] == 1, "of the model that has no price"
    assert found["errors"] == found["walked"] == found["aborted"] == 0
    assert found == naive.sums(RECORDS)
    assert by_cache["hit",]["cost"] == by_cache["semantic",]["cost"] == 0
    assert by_cache["semantic",]["saved"] == 6_500
    assert by_model["text-embedding-3-small", "openai"]["cost"] == paid.total
    assert by_model["text-embedding-3-small", "openai"]["requests"] == 0
    assert by_model["gpt-x", None]["cache_hits"] == 2


def test_nobody_waited_for_a_shadow() -> None:
    cells = entry_of(EMBEDDED, None, Bounds()).cells
    assert {cell.view for cell in cells} == {"main", "user", "full"}
    assert not any(cell.bins for cell in cells)


async def test_a_report_counts_shadows_cost_and_takes_no_hit_for_a_targets_answer() -> None:
    would = (
        Observation(capability="cache", outcome="served_from_cache", saved=70),
        Observation(capability="cache", outcome="served_semantically", saved=30),
    )
    observed = [
        msgspec.structs.replace(MISS, id=f"o{n}", observed=(one,), fingerprint=f"{n:032x}")
        for n, one in enumerate((would[0], would[0], would[1]))
    ]
    store = FakeLedger()
    kept = msgspec.structs.replace(HIT, id="k", target="gpt", refusals=(("claude", "timeout"),))
    await fill(store, [*RECORDS, kept, *observed, shadow(observed[0], model="m", usage=None)])
    found = await report(store, START, START + DAY)
    paid = EMBEDDED.cost
    assert paid is not None
    assert (found.requests, found.observed_requests) == (7, 3)
    assert found.cost == 4 * 7_000 + paid.total
    assert Counter({one.outcome: one.requests for one in found.observed}) == {
        "served_from_cache": 2,
        "served_semantically": 1,
    }
    assert [(one.outcome, one.saved) for one in found.observed] == [
        ("served_from_cache", 140),
        ("served_semantically", 30),
    ]
    assert [(one.target, one.tried) for one in found.levels] == [("claude", 1)]
    assert "no time-out for gpt: 4 answers are known" in " ".join(found.notes)


def test_the_story_of_what_was_served_names_the_entry() -> None:
    told = story(
        msgspec.structs.replace(
            LIKE, cache_kind="factual", cache_entry="00f1e2d3c4b5a697", cache_score=0.97
        )
    )
    assert told.outcome == "served from the cache"
    assert told.cached == {"kind": "factual", "entry": "00f1e2d3c4b5a697", "score": 0.97}
    assert told.levels == ()
    assert story(MISS).cached is None
    assert story(EMBEDDED).outcome == "paid for beside a request"
