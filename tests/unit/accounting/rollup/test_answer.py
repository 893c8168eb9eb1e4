"""Answers as they are sent."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from extproc.accounting.rollup import Question, usage
from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.state import HOUR
from tests.unit.accounting.rollup.ledgers import START, FakeLedger, fill


async def test_the_document_loses_no_nano_dollar() -> None:
    store = FakeLedger()
    nano = 123_456_789_000_000_001
    await fill(
        store,
        [
            RequestRecord(
                id="r1",
                started=float(START),
                duration=1.0,
                route="all",
                usage=Usage(10, 20),
                cost=Cost(nano),
                saved=7,
                cache="hit",
                attribution=Attribution(feature="<script>\n"),
            )
        ],
    )
    question = Question(since=START + 1, until=START + 2, by=("feature", "label:none"))
    text = (await usage(store, question)).json()
    found = msgspec.json.Decoder(float_hook=Decimal).decode(text)
    (row,) = found["rows"]
    assert row["cost_usd"] == Decimal(nano) / 10**9
    assert row["saved_usd"] == Decimal("0.000000007")
    assert found["since"] == "2024-10-04T00:00:00Z"
    assert found["until"] == "2024-10-04T01:00:00Z"
    assert list(row)[:9] == [
        *("feature", "label:none", "requests", "input_tokens", "output_tokens", "cost_usd"),
        *("saved_usd", "cache_hits", "errors"),
    ]
    assert (row["feature"], row["label:none"]) == ("<script>\n", None)
    assert (row["input_tokens"], row["output_tokens"], row["cost_share"]) == (10, 20, Decimal(1))


async def test_an_answer_of_nothing_is_one_too() -> None:
    question = Question(since=START, until=START + HOUR, by=("user",), latency=True, compare=True)
    found = (await usage(FakeLedger(), question)).document()
    assert found["rows"] == []
    assert found["total"]["requests"] == 0
    assert found["total"]["cost_share"] is None
    assert found["total"]["change"] is None
    assert found["total"]["ttft_p99"] is None
