from datetime import date

import pytest

from extproc.catalogue import FEATURES, NEED, UNKNOWN, Catalogue, Model, load
from extproc.catalogue.table import _Entry, _File
from extproc.policy import Price as PriceText
from extproc.policy import TargetPolicy

TODAY = date(2026, 11, 23)
CATALOGUE = load(TODAY)


def entry(*match: str, **more: object) -> _Entry:
    known = {"date": TODAY, "input": "1", "output": "2"} | more
    return _Entry(match=list(match), **known)  # type: ignore[arg-type]


def table(*entries: _Entry, **features: list[str]) -> _File:
    return _File(systems=["openai"], source="page", features=features, model=list(entries))


def target(**more: object) -> TargetPolicy:
    known = {"provider": "p", "system": "openai", "dialect": "openai", "model": "gpt-4o"} | more
    return TargetPolicy(**known)  # type: ignore[arg-type]


def found(system: str, model: str) -> Model:
    one = CATALOGUE.find(system, model)
    assert one is not None
    return one


def test_every_entry_says_where_its_figures_are_from_and_since_when() -> None:
    models = [*CATALOGUE._exact.values()]
    models += [model for globs in CATALOGUE._globs.values() for _, model in globs]
    assert len(models) > 300
    for model in models:
        assert model.source.startswith("https://")
        assert date(2026, 1, 1) <= date.fromisoformat(model.date) <= TODAY
        assert model.price is not None
        assert model.price.input >= model.price.cached_input > 0
        assert model.features is not None
        assert model.features <= FEATURES
        if "embeddings" in model.features:
            assert model.price.output == 0
            continue
        assert model.price.output >= model.price.input
        assert model.context_window is not None
        assert model.context_window >= (model.output_cap or 0)


@pytest.mark.parametrize("kind", ["chat", "completions", "embeddings"])
def test_some_models_are_only_for_one_thing(kind: str) -> None:
    name = {
        "chat": "gpt-4o",
        "completions": "gpt-3.5-turbo-instruct",
        "embeddings": "text-embedding-3-small",
    }[kind]
    model = found("openai", name)
    able = {one for one in ("chat", "completions", "embeddings") if not model.lacking({one})}
    assert able == ({"chat", "completions"} if kind == "chat" else {kind})


def test_what_a_request_needs_goes_by_its_format() -> None:
    model = found("openai", "text-embedding-3-small")
    assert {name for name, need in NEED.items() if not model.lacking([need])} == {"embeddings"}
    assert model.lacking(["tools", "chat"]) == ["chat", "tools"]
    assert UNKNOWN.lacking(["embeddings", "chat", "tools"]) == []


@pytest.mark.parametrize(
    ("system", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("openai", "gpt-4-turbo"),
        ("openai", "gpt-4.1-nano-2025-04-14"),
        ("openai", "gpt-5-mini"),
        ("openai", "o3"),
        ("openai", "gpt-6.1-sol"),
        ("anthropic", "claude-3-5-sonnet-20241022"),
        ("anthropic", "claude-3-7-sonnet-latest"),
        ("anthropic", "claude-opus-4-20250514"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-opus-5-5"),
        ("gcp.gemini", "gemini-1.5-pro-002"),
        ("gcp.gemini", "gemini-2.0-flash-001"),
        ("gcp.gemini", "gemini-2.5-pro"),
        ("gcp.gemini", "gemini-2.5-flash-preview-09-2025"),
        ("gcp.vertex_ai", "gemini-3.1-pro-preview"),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929"),
        ("gcp.vertex_ai", "claude-3-5-sonnet-v2@20241022"),
        ("azure.ai.openai", "gpt-4o-mini"),
        ("azure.ai.openai", "text-embedding-3-large"),
        ("openai", "gpt-4o-audio-preview"),
        ("openai", "gpt-4o-mini-audio-preview-2024-12-17"),
        ("openai", "text-embedding-ada-002"),
        ("gcp.gemini", "gemini-embedding-001"),
        ("cohere", "embed-v4.0"),
        ("cohere", "command-a-03-2025"),
        ("mistral_ai", "mistral-large-2512"),
        ("groq", "openai/gpt-oss-120b"),
        ("deepseek", "deepseek-v4-flash"),
        ("cerebras", "gpt-oss-120b"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        ("openrouter", "openai/gpt-4o-mini"),
        ("openrouter", "google/gemini-2.5-pro"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("aws.bedrock", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ("aws.bedrock", "amazon.nova-lite-v1:0:300k"),
        ("aws.bedrock", "eu.amazon.nova-2-lite-v1:0"),
        ("aws.bedrock", "meta.llama3-1-8b-instruct-v1:0"),
        ("aws.bedrock", "openai.gpt-oss-20b-1:0"),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
        ),
    ],
)
def test_the_models_people_use_are_priced(system: str, model: str) -> None:
    assert found(system, model).price is not None


@pytest.mark.parametrize(
    ("system", "model"),
    [
        ("openai", "llama-3.1-8b-instruct"),
        ("openai", "gpt-4o-mini-realtime-preview"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        ("openai", "o3-pro"),
        ("anthropic", "gpt-4o"),
        ("local", "gpt-4o"),
        ("openai", ""),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"),
        ("aws.bedrock", "us."),
        ("aws.bedrock", ""),
        ("openrouter", "openai/gpt-oss-120b"),
        ("openrouter", "meta-llama/llama-3.1-8b-instruct"),
        ("openrouter", "openai/gpt-4o:free"),
        ("openrouter", "gpt-4o"),
    ],
)
def test_an_unknown_model_has_no_entry(system: str, model: str) -> None:
    assert CATALOGUE.find(system, model) is None


def test_a_version_with_its_own_price_is_not_its_family() -> None:
    assert found("openai", "gpt-4o-2024-05-13").price != found("openai", "gpt-4o").price
    assert found("openai", "gpt-4o-2024-08-06") is found("openai", "gpt-4o")


def test_bedrock_costs_more_where_the_place_is_chosen() -> None:
    here, anywhere, unsaid = (
        found("aws.bedrock", f"{place}anthropic.claude-sonnet-4-5-20250929-v1:0")
        for place in ("eu.", "global.", "")
    )
    assert here is unsaid
    assert here.price is not None
    assert anywhere.price is not None
    assert here.price.input * 10 == anywhere.price.input * 11
    old = "anthropic.claude-3-7-sonnet-20250219-v1:0"
    assert found("aws.bedrock", f"us.{old}") is found("aws.bedrock", old)


def test_the_longest_pattern_wins() -> None:
    catalogue = Catalogue(
        [table(entry("a-*"), entry("a-long-*", output="9"), entry("a-long-x", output="7"))], TODAY
    )
    prices = [
        model.price.output // 10**9
        for name in ("a-b", "a-long-b", "a-long-x")
        if (model := catalogue.find("openai", name)) and model.price
    ]
    assert prices == [2, 9, 7]


def test_an_announced_price_comes_on_its_day() -> None:
    before, after = (
        load(day).find("gcp.gemini", "gemini-4-argon")
        for day in (date(2026, 11, 30), date(2026, 12, 1))
    )
    assert before is not None
    assert after is not None
    assert before.price is not None
    assert after.price is not None
    assert after.price.input == 2 * before.price.input


def test_two_prices_for_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="gpt-x stands in the table twice"):
        Catalogue([table(entry("gpt-x"), entry("gpt-x"))], TODAY)


def test_a_feature_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no such feature: telepathy"):
        Catalogue([table(entry("gpt-x", features=["telepathy"]))], TODAY)


def test_names_that_clients_make_up_do_not_pile_up() -> None:
    catalogue = Catalogue([table(entry("gpt-x"))], TODAY)
    for number in range(10_000):
        assert catalogue.find("openai", f"made-up-{number}") is None
    assert len(catalogue._seen) <= 4096


def test_a_target_is_what_the_table_says() -> None:
    assert CATALOGUE.of(target()) == found("openai", "gpt-4o")


def test_a_targets_own_word_wins() -> None:
    model = CATALOGUE.of(
        target(
            price=PriceText(input="1", output="2"),
            context_window=1000,
            output_cap=100,
            features=("tools",),
        )
    )
    assert model.price is not None
    assert model.price.input == 10**9
    assert (model.context_window, model.output_cap) == (1000, 100)
    assert model.features == frozenset({"chat", "tools", "streaming", "system"})
    assert model.source == found("openai", "gpt-4o").source


def test_a_target_that_says_it_can_do_nothing_still_streams() -> None:
    assert CATALOGUE.of(target(features=())).features == frozenset({"chat", "streaming", "system"})


@pytest.mark.parametrize(
    ("features", "want"),
    [
        (("embeddings",), {"embeddings"}),
        (("completions",), {"completions", "streaming"}),
        (("embeddings", "chat"), {"embeddings", "chat", "streaming", "system"}),
    ],
)
def test_a_target_that_names_its_kind_is_of_no_other(
    features: tuple[str, ...], want: set[str]
) -> None:
    assert CATALOGUE.of(target(features=features)).features == frozenset(want)


def test_an_unknown_model_costs_an_unknown_sum_and_can_do_everything() -> None:
    assert CATALOGUE.of(target(model="llama-3.1-8b-instruct")) == UNKNOWN
    assert UNKNOWN.price is None
    assert UNKNOWN.features is None


def test_a_targets_wrong_price_is_named() -> None:
    with pytest.raises(ValueError, match="'cheap' is not a price"):
        CATALOGUE.of(target(price=PriceText(input="cheap", output="2")))
