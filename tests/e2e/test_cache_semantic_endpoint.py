"""Vectors from an endpoint that somebody else runs: what it costs, and what becomes of requests
when it is slow or away."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.cache_gateways import Cached, where
from tests.e2e.conftest import poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import at_rest, cost_of, dollars, record, records, rows
from tests.e2e.semantic_gateways import MODEL, Comparing, comparing, looked, meets, only, put, word

pytestmark = pytest.mark.e2e

NANO_A_TOKEN = 20
"""What text-embedding-3-small costs: 0.02 dollars for a million tokens."""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparing]:
    with comparing(tmp_path_factory.mktemp("endpoint")) as found:
        cached = found.cached
        poll(
            lambda: (
                only(cached, f"Is there a {word()}?") is None and looked(cached, reason="empty")
            ),
            what="an index that is empty",
        )
        yield found


def failures(cached: Cached) -> float:
    return figures(cached.gateway).sum("tollgate_cache_failures_total", part="embedder")


def said_in_the_log(cached: Cached, what: str) -> int:
    return (cached.gateway.folder / "service.log").read_text().count(what)


def test_what_it_costs_is_booked(compared: Comparing) -> None:
    """Beside each request that was compared, for whoever asked."""
    one = compared.cached.other(tenant=word(), team="blue")
    what, feature = word(), f"f-{word()}"
    head = {"x-tollgate-feature": feature}
    miss = put(one, f"How do I clean a {what}?", headers=head, said="With wax.")
    hit = one.chat(f"Tell me how to clean my {what}", "semantic", headers=head)
    assert where(hit) == "semantic"
    # Each of the endpoint's words is a token.
    names = [(miss.headers["x-tollgate-request-id"], 6), (hit.headers["x-tollgate-request-id"], 7)]
    at_rest(one.gateway)
    spent = 0
    for name, tokens in names:
        beside = record(one.gateway, f"{name}.embeddings")
        assert beside["kind"] == "shadow"
        assert beside["operation"] == "embeddings"
        assert beside["request_model"] == MODEL
        assert beside["usage"]["input"] == tokens
        assert cost_of(beside) == tokens * NANO_A_TOKEN
        assert beside["attribution"]["feature"] == feature
        own = record(one.gateway, name)
        assert own["tenant"] == beside["tenant"]
        spent += cost_of(beside) + cost_of(own)
    assert cost_of(record(one.gateway, hit.headers["x-tollgate-request-id"])) == 0
    by_feature = {row["feature"]: row for row in rows(one.gateway, "--by", "feature")}
    assert dollars(by_feature[feature]["cost_usd"]) == spent
    # An exact hit asks nobody.
    exact = one.warm(f"How do I clean a {what}?", "semantic", headers=head)
    at_rest(one.gateway)
    name = exact.headers["x-tollgate-request-id"]
    assert record(one.gateway, name)["cache"] == "hit"
    assert not [found for found in records(one.gateway) if found["id"] == f"{name}.embeddings"]


def test_every_token_is_booked(compared: Comparing) -> None:
    """What the endpoint has counted so far, labels' answers among it, is in the books."""
    cached = compared.cached
    for number in range(8):
        cached.chat(f"How do I wash a {word()}?", "semantic", said=f"Thus: {word()} {number}.")
    at_rest(cached.gateway)

    def booked() -> bool:
        # What is embedded when a gateway starts is nobody's: one word.
        found = [one for one in records(cached.gateway) if one.get("kind") == "shadow"]
        total: int = sum(one["usage"]["input"] for one in found)
        return total == compared.endpoint.tokens - 1

    poll(booked, what="every token of the endpoint in the ledger")
    metric = "tollgate_cache_embedded_tokens_total"
    assert figures(cached.gateway).sum(metric) == compared.endpoint.tokens - 1


def test_it_is_slow(compared: Comparing) -> None:
    """After 300 ms it is a miss, and the provider is asked."""
    cached, what = compared.cached, word()
    assert cached.told(f"How do I clean a {what}?", "semantic", said="With wax.") == "miss"
    meets(cached, f"Tell me how to clean my {what}")
    before = failures(cached)
    compared.endpoint.held.clear()
    try:
        began = time.monotonic()
        answer = cached.chat(f"Explain how to clean a {what}?", "semantic", said="Slowly.")
        took = time.monotonic() - began
    finally:
        compared.endpoint.held.set()
    assert where(answer) == "miss"
    assert 0.25 < took < 1.5
    assert failures(cached) > before
    met = poll(lambda: only(cached, f"Please, how does one clean a {what}"), what="its being back")
    assert where(met) == "semantic"


def test_it_is_away(compared: Comparing) -> None:
    """Misses, at once after some; exact hits go on; the log says it once, and that it is back."""
    cached, what = compared.cached, word()
    first = f"How do I clean a {what}?"
    assert cached.told(first, "semantic", said="With wax.") == "miss"
    cached.warm(first, "semantic")
    meets(cached, f"Tell me how to clean my {what}")
    back, away = "the embedding endpoint is back", "the embedding endpoint is away"
    was_back, was_away = (said_in_the_log(cached, one) for one in (back, away))
    compared.endpoint.status = 503
    try:
        for number in range(12):
            letter = "abcdefghijkl"[number]
            text = f"Say {letter}, how is one to clean a {what}"
            began = time.monotonic()
            assert cached.told(text, "semantic", said="Well.") == "miss"
            assert time.monotonic() - began < 1.0
            assert cached.told(first, "semantic") == "hit"
        asked = len(compared.endpoint.texts)
        assert cached.told(f"And again, how to clean a {what}", "semantic") == "miss"
        assert len(compared.endpoint.texts) == asked
        assert said_in_the_log(cached, away) == was_away + 1
    finally:
        compared.endpoint.status = 200
    met = poll(lambda: only(cached, f"Well, how to clean a {what}?"), what="its being back")
    assert where(met) == "semantic"
    assert said_in_the_log(cached, back) == was_back + 1
