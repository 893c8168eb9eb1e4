"""The story of one request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from extproc.accounting.rollup import story
from extproc.records import Attribution, Cost, GuardCount, Observation, RequestRecord, Usage
from tests.unit.accounting.rollup.ledgers import traffic


def _told(record: RequestRecord, content: bytes | None = None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode(
        story(record, content).json()
    )
    return found


_WHOLE = RequestRecord(
    id="r1",
    started=1_728_000_000.25,
    duration=4.5,
    route="chat",
    chain="flagship",
    target="gpt",
    provider="openai",
    request_model="auto",
    response_model="gpt-y",
    stream=True,
    usage=Usage(100, 20, cached_input=50, reasoning=5),
    cost=Cost(1_000_000_003, 1_000_000_000, output=3),
    ttft=1.75,
    attempts=2,
    attribution=Attribution(
        user="ann", feature="<b>", team="red", session="s", labels=(("env", "prod"),)
    ),
    refusals=(("claude", "timeout"),),
    identity="key",
    key="k1",
    tenant="acme",
    tier="pro",
    cache="miss",
    saved=7,
    admission=0.25,
    upstream=1.25,
    input_estimate=90,
    observed=(Observation(capability="limits", outcome="refused", detail="user/h", saved=9),),
    guard=(GuardCount("PERSON", "redact", "request", 2),),
)


def test_everything_that_is_known_is_told() -> None:
    found = _told(_WHOLE, b'{"request": "hi", "answer": "there"}')
    assert found["outcome"] == "served by gpt"
    assert found["started"] == "2024-10-04T00:00:00Z"
    assert [(float(one["at"]), one["what"]) for one in found["timeline"]] == [
        (0.0, "arrived"),
        (0.25, "sent on"),
        (1.5, "head of the answer"),
        (1.75, "first content"),
        (4.5, "ended"),
    ]
    assert [(one["target"], one["outcome"], one["reason"]) for one in found["levels"]] == [
        ("claude", "refused", "timeout"),
        ("gpt", "answered", None),
    ]
    assert found["tokens"]["cached_input"] == 50
    assert found["cost"]["total_usd"] == Decimal("1.000000003")
    assert sum(found["cost"]["parts"].values()) == Decimal("1.000000003")
    assert found["saved_usd"] == Decimal("0.000000007")
    assert found["who"] == {
        "identity": "key",
        "key": "k1",
        "tenant": "acme",
        "team": "red",
        "user": "ann",
        "tier": "pro",
        "feature": "<b>",
        "session": "s",
        "priority": None,
        "labels": {"env": "prod"},
        "ignored": [],
    }
    assert found["observed"][0]["saved_usd"] == Decimal("0.000000009")
    (guard,) = found["guard"]
    assert (guard["type"], guard["action"], guard["count"]) == ("PERSON", "redact", 2)
    assert found["content"] == {"request": "hi", "answer": "there"}


def test_no_field_of_a_record_is_left_out() -> None:
    text = story(_WHOLE).json().decode()
    for name in RequestRecord.__struct_fields__:
        value = getattr(_WHOLE, name)
        if isinstance(value, str):
            assert f'"{value}"' in text, name


def test_what_is_not_known_is_not_made_up() -> None:
    found = _told(RequestRecord(id="r", started=0.0, duration=0.001, route="r", status=401))
    assert found["tokens"] is None
    assert found["cost"] is None
    assert found["content"] is None
    assert found["levels"] == []
    assert [one["what"] for one in found["timeline"]] == ["arrived", "ended"]
    assert found["outcome"] == "failed: 401"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aborted": True}, "aborted: the client went away"),
        ({"aborted": True, "error_type": "lost"}, "lost: the gateway stopped"),
        ({"cache": "hit", "target": None}, "served from the cache"),
        ({"error_type": "rate_limited", "status": 429}, "failed: rate_limited"),
        ({"target": None}, "served"),
    ],
)
def test_the_outcome_in_words(changes: dict[str, Any], words: str) -> None:
    assert _told(msgspec.structs.replace(_WHOLE, **changes))["outcome"].startswith(words)


def test_any_record_has_a_story_whose_times_go_forward() -> None:
    for record in traffic(200):
        times = [one["at"] for one in _told(record)["timeline"]]
        assert times == sorted(times)
