from __future__ import annotations

import msgspec
import pytest

from extproc.accounting import cache_facts, cache_observed, embedder_price, shadow
from extproc.catalogue import load
from extproc.records import Attribution, Cost, Observation, RequestRecord, Usage

ASKED = RequestRecord(
    id="0193a7c0",
    started=1_790_000_000.0,
    duration=0.004,
    route="support",
    chain="flagship",
    request_model="flagship",
    usage=Usage(0, 0),
    cost=Cost(0),
    attribution=Attribution(user="ann", feature="help", labels=(("env", "prod"),)),
    identity="key",
    key="k1",
    tenant="acme",
    tier="pro",
    cache="semantic",
    cache_kind="factual",
    cache_entry="00f1e2d3c4b5a697",
    cache_score=0.973_456_7,
    saved=12_345,
    fingerprint="f" * 32,
    observed=(Observation(capability="limits", outcome="refused"),),
)


def test_the_access_log_says_what_was_served_and_saved() -> None:
    assert cache_facts(ASKED) == {
        "cache": "semantic",
        "saved_nanousd": 12_345,
        "cache_entry": "00f1e2d3c4b5a697",
        "cache_score": 0.9735,
    }
    miss = msgspec.structs.replace(ASKED, cache="miss", saved=0, cache_entry=None, cache_score=None)
    assert cache_facts(miss) == {"cache": "miss"}


def test_an_observation_tells_exact_from_semantic() -> None:
    exact = cache_observed("00f1e2d3c4b5a697", 70)
    like = cache_observed("00f1e2d3c4b5a697", 30, 0.97)
    assert (exact.capability, exact.outcome, exact.saved) == ("cache", "served_from_cache", 70)
    assert exact.detail == "00f1e2d3c4b5a697"
    assert (like.outcome, like.saved) == ("served_semantically", 30)
    assert like.detail == "00f1e2d3c4b5a697 at 0.970"


def test_an_embedder_is_priced_by_its_models_name() -> None:
    catalogue = load()
    provider, price = embedder_price(catalogue, "text-embedding-3-small")
    assert provider == "openai"
    assert price is not None
    found = shadow(
        ASKED, model="text-embedding-3-small", usage=Usage(1000), provider=provider, price=price
    )
    # 0.02 US dollars a million tokens.
    assert found.cost is not None
    assert found.cost.total == 20_000


@pytest.mark.parametrize("model", ["bge-m3", "", "gpt-4o"])
def test_the_cost_of_an_unknown_embedder_is_unknown_and_not_zero(model: str) -> None:
    assert embedder_price(load(), model) == (None, None)
    assert shadow(ASKED, model=model, usage=Usage(1000)).cost is None


def test_who_asked_pays_for_the_shadow_and_nothing_else_of_the_request_is_in_it() -> None:
    found = shadow(ASKED, model="m" * 999, usage=Usage(7), duration=0.03)
    assert found.kind == "shadow"
    assert (found.id, found.started, found.duration) == ("0193a7c0.embeddings", ASKED.started, 0.03)
    for name in ("route", "attribution", "identity", "key", "tenant", "tier"):
        assert getattr(found, name) == getattr(ASKED, name)
    assert (found.operation, found.target, found.cache, found.saved) == (
        *("embeddings", None, "bypass", 0),
    )
    assert found.fingerprint is None
    assert found.observed == ()
    assert found.cache_score is None
    assert len(found.request_model) == 256
    second = shadow(ASKED, model="m", usage=None, number=2)
    assert second.id == "0193a7c0.embeddings2"


def test_records_of_before_are_read() -> None:
    old = b'{"id":"x","started":1.0,"duration":0.5,"route":"r","cache":"bypass","saved":0}'
    record = msgspec.json.decode(old, type=RequestRecord)
    assert (record.cache_kind, record.cache_entry, record.cache_score) == (None, None, None)
