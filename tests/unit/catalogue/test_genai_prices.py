"""The table against another one, kept by other people."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers

from extproc.accounting import Usage, cost
from extproc.catalogue import load

TODAY = date(2026, 11, 23)
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
CATALOGUE = load(TODAY)
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "aws.bedrock": "aws",
    "cohere": "cohere",
    "mistral_ai": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "cerebras": "cerebras",
    "openrouter": "openrouter",
}

THEY_SAY_OTHERWISE = {
    "claude-sonnet-4-5": "keeps the prices above 200k tokens of a beta that ended on 2026-04-30",
    "gemini-1.5-pro": "knows no price of cached input for it",
    "gemini-1.5-flash-8b": "takes it for gemini-1.5-flash, which costs twice as much",
    "gpt-4o-mini-search-preview": "takes it for gpt-4o-mini, whose cached input is cheaper",
    "mistral-embed": "bills output, of which embeddings have none",
    "mistral-embed-2312": "as mistral-embed",
}
THEIR_NAMES = {"amazon.nova-2-lite-v1:0": "us.amazon.nova-2-lite-v1:0"}


def models() -> list[tuple[str, str]]:
    """Every name in the tables. Of Bedrock's only the full ids: theirs has no others."""
    names = sorted((system, name) for system, name in CATALOGUE._exact if system in PROVIDERS)
    full: dict[int, str] = {}
    for system, name in names:
        if system == "aws.bedrock" and len(name) > len(
            full.get(id(CATALOGUE._exact[system, name]), "")
        ):
            full[id(CATALOGUE._exact[system, name])] = name
    return [pair for pair in names if pair[0] != "aws.bedrock" or pair[1] in full.values()]


MODELS = models()
USAGES = [
    Usage(input=1000, output=500),
    Usage(input=100_000, output=1, cached_input=60_000),
    Usage(input=12_345, output=678, cached_input=1_000, cache_write=2_000),
    Usage(input=300_001, output=1_000, cached_input=100_000, cache_write=1_000),
]
SOUND = Usage(input=1000, output=100, audio_input=600, audio_output=50)
HOUR = Usage(input=1000, output=10, cache_write=300, cache_write_1h=100)


def agree(system: str, name: str, usage: Usage) -> bool:
    theirs = calc_price(
        TheirUsage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached_input,
            cache_write_tokens=usage.cache_write,
            cache_write_1h_tokens=usage.cache_write_1h,
            input_audio_tokens=usage.audio_input,
            output_audio_tokens=usage.audio_output,
        ),
        model_ref=THEIR_NAMES.get(name, name),
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


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("openai", "gpt-audio"),
        ("openai", "gpt-audio-mini"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("gcp.gemini", "gemini-2.5-flash-lite"),
        ("gcp.gemini", "gemini-3-flash-preview"),
        ("gcp.gemini", "gemini-3.1-flash-lite"),
        ("gcp.gemini", "gemini-2.0-flash"),
        ("gcp.gemini", "gemini-3.8-flash"),
    ],
)
def test_sound_costs_the_same(system: str, name: str) -> None:
    assert agree(system, name, SOUND)


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("anthropic", "claude-haiku-5-5"),
        ("anthropic", "claude-opus-4-8"),
        ("anthropic", "claude-sonnet-4-6"),
        ("gcp.vertex_ai", "claude-opus-5"),
        ("aws.bedrock", "global.anthropic.claude-sonnet-5-5"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ],
)
def test_a_write_to_live_an_hour_costs_the_same(system: str, name: str) -> None:
    assert agree(system, name, HOUR)


@pytest.mark.parametrize(
    "name",
    [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "eu.anthropic.claude-haiku-5-5",
        "global.anthropic.claude-haiku-5-5",
        "global.anthropic.claude-opus-4-6-v1:0",
        "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        "jp.amazon.nova-2-lite-v1:0",
        "us.meta.llama4-maverick-17b-instruct-v1:0",
    ],
)
def test_bedrock_costs_the_same_wherever_it_runs(name: str) -> None:
    assert all(agree("aws.bedrock", name, usage) for usage in USAGES)


def test_openrouter_passes_on_the_prices_of_the_makers() -> None:
    other = {"cohere/command-r", "cohere/command-r-plus"}  # the versions before those of 08-2024
    (openrouter,) = (one for one in providers if one.id == "openrouter")
    names = [one.id for one in openrouter.models if CATALOGUE.find("openrouter", one.id)]
    assert len(names) > 80
    wrong = {name for name in names if not agree("openrouter", name, USAGES[0])}
    assert wrong == other


@pytest.mark.parametrize(("system", "name"), MODELS)
def test_batch_prices_are_the_same(system: str, name: str) -> None:
    model = CATALOGUE.find(system, name)
    assert model is not None
    assert model.price is not None
    if model.price.batch_input is None or name in THEY_SAY_OTHERWISE:
        return
    theirs = calc_price(
        TheirUsage(input_tokens=1000, output_tokens=1000 if model.price.output else 0),
        model_ref=name,
        provider_id=PROVIDERS[system],
        genai_request_timestamp=WHEN,
    )
    assert model.price.batch_output is not None
    ours = Decimal(model.price.batch_input + model.price.batch_output) / 1000
    assert ours * 2 == theirs.total_price * 10**9
