"""The table against another one, kept by other people."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from extproc.accounting import Usage, cost
from extproc.catalogue import load

TODAY = date(2026, 11, 23)
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
CATALOGUE = load(TODAY)
PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gcp.gemini": "google"}

THEY_SAY_OTHERWISE = {
    "claude-sonnet-4-5": "keeps the prices above 200k tokens of a beta that ended on 2026-04-30",
    "gemini-1.5-pro": "knows no price of cached input for it",
    "gemini-1.5-flash-8b": "takes it for gemini-1.5-flash, which costs twice as much",
}

MODELS = sorted((system, name) for system, name in CATALOGUE._exact if system in PROVIDERS)
USAGES = [
    Usage(input=1000, output=500),
    Usage(input=100_000, output=1, cached_input=60_000),
    Usage(input=12_345, output=678, cached_input=1_000, cache_write=2_000),
    Usage(input=300_001, output=1_000, cached_input=100_000, cache_write=1_000),
]


def agree(system: str, name: str, usage: Usage) -> bool:
    theirs = calc_price(
        TheirUsage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached_input,
            cache_write_tokens=usage.cache_write,
        ),
        model_ref=name,
        provider_id=PROVIDERS[system],
        genai_request_timestamp=WHEN,
    )
    model = CATALOGUE.find(system, name)
    assert model is not None
    ours = cost(usage, model.price)
    assert ours is not None
    return abs(Decimal(ours.total) - theirs.total_price * 10**9) <= Decimal("0.5")


@pytest.mark.parametrize(("system", "name"), MODELS)
def test_the_same_request_costs_the_same(system: str, name: str) -> None:
    same = all(agree(system, name, usage) for usage in USAGES)
    assert same is (name not in THEY_SAY_OTHERWISE)


@pytest.mark.parametrize(("system", "name"), MODELS)
def test_batch_prices_are_the_same(system: str, name: str) -> None:
    model = CATALOGUE.find(system, name)
    assert model is not None
    assert model.price is not None
    if model.price.batch_input is None or name in THEY_SAY_OTHERWISE:
        return
    theirs = calc_price(
        TheirUsage(input_tokens=1000, output_tokens=1000),
        model_ref=name,
        provider_id=PROVIDERS[system],
        genai_request_timestamp=WHEN,
    )
    assert model.price.batch_output is not None
    ours = Decimal(model.price.batch_input + model.price.batch_output) / 1000
    assert ours * 2 == theirs.total_price * 10**9
