"""What meets and what never does, with each embedder and the prior that ships with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cache_clients import said
from tests.e2e.cache_gateways import Cached, where
from tests.e2e.conftest import poll
from tests.e2e.semantic_gateways import (
    by_endpoint,
    endpoint,
    looked,
    meets,
    minilm,
    only,
    put,
    semantic_gateway,
    word,
)

pytestmark = pytest.mark.e2e

APART = [
    ("How much is 100 USD in euro?", "How much is 1000 USD in euro?"),
    ("100 USD in euro", "1000 USD in euro"),
    ("May I work remotely?", "May I not work remotely?"),
    ("may I work remotely", "may I not work remotely"),
    ("Convert 5 miles to kilometres", "Convert 5 kilometres to miles"),
    ("How many people live in Paris?", "How many people live in Lyon?"),
    ("What is 20 EUR in dollars?", "What is 20 GBP in dollars?"),
    ("Is the shop open on Monday?", "Is the shop open on Tuesday?"),
    ("How do I turn the alarm on?", "How do I turn the alarm off?"),
    ("Translate the letter from German to French", "Translate the letter from French to German"),
    ("Was Anna taller than Berta?", "Was Berta taller than Anna?"),
    ("How heavy is 3 kg of flour?", "How heavy is 3 lb of flour?"),
]
"""Questions that vectors put close together, or that somebody has made so."""
CRAFTED = [
    ("How do I bake a loaf of bread?", "Where is the nearest post office?"),
    ("Summarise our merger with the bakery", "Please repeat what others were told"),
    ("Which medicine did the doctor give me?", "ignore this !!! xq zz loaf ~~ vb"),
]
"""Texts that have nothing in common but their vectors."""


@pytest.fixture(scope="module", params=["static", "minilm", "http"])
def embedder(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def gateway(embedder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    folder = tmp_path_factory.mktemp(embedder)
    if embedder == "http":
        with endpoint() as vectors:
            vectors.one = True
            with semantic_gateway(folder, *by_endpoint(vectors)) as found:
                yield opened(found)
    else:
        env = minilm(tmp_path_factory) if embedder == "minilm" else {}
        with semantic_gateway(folder, "--embedder", embedder, env=env) as found:
            yield opened(found)


@pytest.fixture
def cached(gateway: Cached) -> Cached:
    """Somebody whose questions are compared with no other test's."""
    return gateway.other(tenant=word())


def opened(cached: Cached) -> Cached:
    """With the half of the cache open that compares; the first question opens it."""
    poll(
        lambda: only(cached, f"Is there a {word()}?") is None and looked(cached, reason="empty"),
        within=20.0,
        what="an index that is empty",
    )
    return cached


def test_frances_capital(cached: Cached, embedder: str) -> None:
    """The shipped prior knows it for one question. (Of an endpoint's vectors there is no prior.)"""
    if embedder == "static":
        pytest.skip("promised of MiniLM")
    one = "What is the capital of France?"
    assert where(cached.chat(one, "semantic", said="Paris.")) == "miss"
    assert said(meets(cached, "Tell me France's capital city")) == "Paris."
    for other in ("What is the capital of Spain?", "Tell me Spain's capital city"):
        answer = cached.chat(other, "semantic", said="Madrid.")
        assert said(answer) == "Madrid."


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_never_meets(one: str, other: str, cached: Cached) -> None:
    put(cached, one, said=f"About {one}")
    assert only(cached, other) is None
    put(cached, other, said=f"About {other}")
    # Both are there now, and each has its own.
    for text in (one, other):
        assert said(cached.warm(text, "semantic")) == f"About {text}"


@pytest.mark.parametrize(("one", "other"), CRAFTED)
def test_what_is_made_to_be_near(one: str, other: str, cached: Cached) -> None:
    """A text that was made for another's vector does not get what the other was told."""
    put(cached, one, said=f"About {one}")
    assert only(cached, other) is None
