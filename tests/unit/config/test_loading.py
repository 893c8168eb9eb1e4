"""gateway.yaml as it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config import ConfigError, load
from extproc.config.gateway import Provider

SHIPPED = Path(__file__).parents[3] / "envoy" / "gateway.yaml"
SMALL = """\
providers:
  openai: {dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY}
targets:
  mini: {provider: openai, model: gpt-4o-mini, timeout: 500ms, stall: 2m}
chains:
  cheap: [mini]
routes:
  - name: everything
    models: {"*": cheap}
"""


def test_the_shipped_file_has_the_four_level_chain() -> None:
    gateway = load(SHIPPED)
    levels = [next(iter(level)) for level in gateway.chains["flagship"]]
    assert [float(gateway.targets[one].timeout) for one in levels] == [10, 8, 8, 30]
    dialects = [gateway.providers[gateway.targets[one].provider].dialect for one in levels]
    assert dialects == ["anthropic", "openai", "gemini", "openai"]
    assert gateway.routes[-1].models == {"*": "flagship"}


def test_durations_are_seconds() -> None:
    target = load(SMALL).targets["mini"]
    assert [float(one) for one in (target.timeout, target.stall)] == [0.5, 120]


def test_a_level_is_a_target_or_targets_by_weight() -> None:
    chain = load(SHIPPED).chains["cheap"]
    assert chain == [{"gpt-4o-mini": 3, "claude-haiku": 1}, {"llama": 1}]


@pytest.mark.parametrize(
    ("provider", "system"),
    [
        ("openai: {dialect: openai, url: https://api.openai.com}", "openai"),
        ("azure: {dialect: openai, url: https://me.openai.azure.com/openai/v1}", "azure.ai.openai"),
        ("claude: {dialect: anthropic, url: http://proxy.local:8080}", "anthropic"),
        ("vertex: {dialect: gemini, url: https://eu-aiplatform.googleapis.com}", "gcp.vertex_ai"),
        ("east: {dialect: azure, url: http://proxy:80, key_env: KEY}", "azure.ai.openai"),
        ("aws: {dialect: bedrock, url: http://proxy:80, region: us-east-1}", "aws.bedrock"),
        ("own: {dialect: openai, url: http://x.elb.us-east-1.amazonaws.com}", "own"),
        ("north: {dialect: cohere, url: http://proxy:80}", "cohere"),
        ("local: {dialect: openai, url: http://127.0.0.1:8000}", "local"),
        ("local: {dialect: openai, url: http://127.0.0.1:8000, system: vllm}", "vllm"),
    ],
)
def test_the_system_of_a_provider_is_told_from_its_address(provider: str, system: str) -> None:
    name = provider.partition(":")[0]
    text = SMALL.replace("provider: openai", f"provider: {name}")
    lines = [f"  {provider}" if line.startswith("  openai") else line for line in text.split("\n")]
    assert load("\n".join(lines)).providers[name].system == system


def provider_of(line: str) -> Provider:
    lines = [
        f"  openai: {line}" if one.startswith("  openai") else one for one in SMALL.split("\n")
    ]
    return load("\n".join(lines)).providers["openai"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://api.openai.com", "openai"),
        ("https://api.groq.com", "groq"),
        ("https://api.mistral.ai", "mistral"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://openrouter.ai", "openrouter"),
        ("https://api.cerebras.ai", "cerebras"),
        ("http://gpu-3.internal:11434", "ollama"),
        ("http://127.0.0.1:8000", None),
    ],
)
def test_the_server_is_told_from_its_address(url: str, server: str | None) -> None:
    assert provider_of(f"{{dialect: openai, url: '{url}'}}").server == server


def test_a_server_that_is_said_counts() -> None:
    assert (
        provider_of("{dialect: openai, url: 'http://127.0.0.1:8000', server: vllm}").server
        == "vllm"
    )
    line = "{dialect: openai, url: 'https://api.openai.com', server: llama_cpp}"
    assert provider_of(line).server == "llama_cpp"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a1b-2c3d.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_the_region_is_told_from_the_address(host: str, region: str) -> None:
    assert provider_of(f"{{dialect: bedrock, url: 'https://{host}'}}").region == region


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("aiplatform.googleapis.com", "global"),
        ("us-central1-aiplatform.googleapis.com", "us-central1"),
        ("europe-west12-aiplatform.googleapis.com", "europe-west12"),
        ("aiplatform.eu.rep.googleapis.com", "eu"),
    ],
)
def test_the_location_is_told_from_the_address(host: str, location: str) -> None:
    line = f"{{dialect: vertex, url: 'https://{host}', project: my-project, key_env: TOKEN}}"
    assert provider_of(line).location == location


@pytest.mark.parametrize("version", ["2024-10-21", "2025-04-01-preview"])
def test_a_version_that_looks_like_a_date_stays_a_text(version: str) -> None:
    url = "https://east.openai.azure.com"
    line = f"{{dialect: azure, url: '{url}', key_env: KEY, api_version: {version}}}"
    assert provider_of(line).api_version == version


def test_prices_keep_every_digit() -> None:
    text = SMALL.replace("stall: 2m", "price: {input: 0.10, output: 12.345678901234567890}")
    price = load(text).targets["mini"].price
    assert price is not None
    assert (price.input, price.output) == ("0.10", "12.345678901234567890")


def test_every_mistake_is_found_at_once() -> None:
    text = SMALL.replace("dialect: openai", "dialect: open").replace("500ms", "soon")
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert [one.line for one in caught.value.findings] == [2, 4]
    assert str(caught.value).splitlines()[0] == (
        "gateway.yaml:2: providers.openai.dialect: 'open' is not one of openai, azure, anthropic, "
        "gemini, vertex, bedrock, cohere"
    )


def test_a_key_in_the_wrong_place_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        load(SMALL.replace("OPENAI_API_KEY", "sk-very-secret"))
    assert "sk-very-secret" not in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(Path("/nonexistent/gateway.yaml"))


@pytest.mark.parametrize("text", ["\n", "[]\n", "# nothing\n", "providers:\n"])
def test_an_empty_file_says_what_is_missing(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.findings
