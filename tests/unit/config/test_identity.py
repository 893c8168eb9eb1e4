"""Identity from gateway.yaml to what Envoy and the service are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.config import ConfigError, check, load, render
from extproc.config.options import RenderOptions, Settings
from extproc.config.routes import host_policy
from extproc.policy import HostPolicy, identity_policy
from tests.unit.config.test_rendering import parsed

GATEWAY = """\
providers:
  openai: {dialect: openai, url: https://api.openai.com}
targets:
  gpt: {provider: openai, model: gpt-4o}
chains:
  one: [gpt]
"""
ROUTES = "routes: [{name: everything, chain: one}]\n"
ISSUER = "issuer: https://login.example:8443/realms/x, audiences: [tollgate]"
KEYS = "jwks_url: https://login.example:8443/keys"


def host(tail: str) -> HostPolicy:
    gateway = load(GATEWAY + tail)
    return host_policy(gateway, Settings.of(gateway, RenderOptions()))


def listener(tail: str) -> Any:
    """The gateway's listener."""
    return parsed(render(load(GATEWAY + tail)).single())["static_resources"]["listeners"][0]


def filters(tail: str) -> dict[str, Any]:
    manager = listener(tail)["filter_chains"][0]["filters"][0]["typed_config"]
    return {one["name"]: one["typed_config"] for one in manager["http_filters"]}


def test_who_says_nothing_wants_keys() -> None:
    policy = identity_policy(host(ROUTES).identity)
    assert (policy.keys, policy.open) == (True, False)
    rendered = render(load(GATEWAY + ROUTES)).single()
    assert "identity: keys" in rendered, "what holds is said, and not left to a default"


@pytest.mark.parametrize(
    ("identity", "attributes"),
    [
        ("keys", []),
        ("open", ["source.address"]),
        ("{open: true, beyond_loopback: true}", []),
        ("{header: {headers: {user: X-User}}}", ["source.address"]),
        (
            '{mtls: {san: ["spiffe://a/{user}"]}}',
            ["connection.uri_san_peer_certificate", "connection.dns_san_peer_certificate"],
        ),
    ],
)
def test_the_service_is_told_what_it_decides_by(identity: str, attributes: list[str]) -> None:
    tls = "envoy: {tls: {cert: /c, key: /k, client_ca: /ca}}\n"
    found = filters(f"{ROUTES}{tls}identity: {identity}\n")["tollgate.gateway"]
    own = ["xds.route_metadata", "xds.virtual_host_metadata"]
    assert found["request_attributes"] == own + attributes
    assert "forwarding_namespaces" not in found["metadata_options"]
    allowed = found["forward_rules"]["allowed_headers"]["patterns"]
    assert ({"exact": "x-user"} in allowed) == ("X-User" in identity)


def test_only_where_a_policy_takes_tokens_are_they_verified() -> None:
    assert "envoy.filters.http.jwt_authn" not in filters(ROUTES)
    found = filters(f"{ROUTES}identity: {{jwt: [{{{ISSUER}, {KEYS}}}]}}\n")
    names = [*found]
    assert names.index("envoy.filters.http.jwt_authn") < names.index("tollgate.gateway")
    [name] = found["envoy.filters.http.jwt_authn"]["providers"]
    forwarding = found["tollgate.gateway"]["metadata_options"]["forwarding_namespaces"]
    assert (name, forwarding) == ("login.example", {"untyped": ["envoy.filters.http.jwt_authn"]})


def test_an_issuer_that_routes_take_alike_is_one() -> None:
    """And one that they take for different audiences are two, whose payloads do not meet."""
    one = f"{{{ISSUER}, {KEYS}}}"
    other = one.replace("[tollgate]", "[admin]")
    route = "{{name: {}, match: {{headers: {{x-a: {}}}}}, chain: one, identity: {{jwt: [{}]}}}}"
    routes = (
        f"routes: [{route.format('a', 'a', one.replace('}', ', fixed: {tier: a}}', 1))}, "
        f"{route.format('b', 'b', other)}]\n"
    )
    tail = f"{routes}identity: {{jwt: [{one}]}}\n"
    gateway = load(GATEWAY + tail)
    rendered = parsed(render(gateway).single())["static_resources"]
    [mine] = [one for one in rendered["listeners"] if one["name"] == "gateway"]
    manager = mine["filter_chains"][0]["filters"][0]["typed_config"]
    routes_ = manager["route_config"]["virtual_hosts"][0]["routes"]
    payloads = [
        one["metadata"]["filter_metadata"]["tollgate"]["identity"]["jwt"][0]["payload"]
        for one in routes_
        if one["name"] in "ab"
    ]
    assert payloads == ["login.example", "login.example-2"]
    policy = identity_policy(host(tail).identity)
    assert policy.jwt[0].payload == "login.example"
    providers = filters(tail)["envoy.filters.http.jwt_authn"]["providers"]
    assert [one["audiences"] for one in providers.values()] == [["tollgate"], ["admin"]]
    names = [one["name"] for one in rendered["clusters"]]
    assert names[-2:] == ["jwks-login.example", "jwks-login.example-2"]


def test_keys_of_an_issuer_come_by_tls_from_the_name_that_was_said() -> None:
    tail = f"{ROUTES}identity: {{jwt: [{{{ISSUER}, {KEYS}, ca_file: /own.pem}}]}}\n"
    found = parsed(render(load(GATEWAY + tail)).single())["static_resources"]["clusters"][-1]
    [endpoint] = found["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert (address["address"], address["port_value"]) == ("login.example", 8443)
    context = found["transport_socket"]["typed_config"]
    assert (context["sni"], context["auto_sni_san_validation"]) == ("login.example", True)
    trusted = context["common_tls_context"]["validation_context"]["trusted_ca"]
    assert trusted == {"filename": "/own.pem"}


@pytest.mark.parametrize("required", [False, True])
def test_clients_connect_by_tls(*, required: bool) -> None:
    said = f"client_ca: /ca.pem, require_client_cert: {str(required).lower()}"
    found = listener(f"{ROUTES}envoy: {{tls: {{cert: /c.pem, key: /k.pem, {said}}}}}\n")
    context = found["filter_chains"][0]["transport_socket"]["typed_config"]
    common = context["common_tls_context"]
    assert common["validation_context"] == {"trusted_ca": {"filename": "/ca.pem"}}
    assert context["require_client_certificate"] is required
    assert "transport_socket" not in listener(ROUTES)["filter_chains"][0]


def test_what_a_route_says_reaches_the_service(tmp_path: Path) -> None:
    routes = (
        "routes: [{name: r, chain: one, identity: open, mode: observe, credentials: caller, "
        "record: content, ledger: required}]\n"
    )
    render(load(f"{GATEWAY}{routes}tiers: {{free: {{}}, pro: {{}}}}\n")).write_dir(tmp_path)
    table = parsed((tmp_path / "rds-gateway.yaml").read_text())["resources"][0]
    [shared] = table["virtual_hosts"]
    said = shared["routes"][0]["metadata"]["filter_metadata"]["tollgate"]
    assert said == {
        "route": "r",
        "chain": "one",
        "accounting": "body",
        "identity": "open",
        "mode": "observe",
        "credentials": "caller",
        "record": "content",
        "ledger": "required",
    }
    assert shared["metadata"]["filter_metadata"]["tollgate"]["tiers"] == {"free": {}, "pro": {}}


PROVIDERS = {
    "openai": ("url: https://x.example", "authorization"),
    "anthropic": ("url: https://x.example", "x-api-key"),
    "gemini": ("url: https://x.example", "x-goog-api-key"),
    "azure": ("url: https://x.example, key_env: K", "api-key"),
    "cohere": ("url: https://x.example, key_header: x-api-key, key_env: K", "x-api-key"),
    "bedrock": ("url: https://x.example, region: us-east-1", None),
    "vertex": ("url: https://x.example, project: p-123, location: eu, key_env: K", None),
}


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_where_a_provider_takes_a_callers_key(dialect: str) -> None:
    fields, header = PROVIDERS[dialect]
    text = f"""\
providers:
  p: {{dialect: {dialect}, {fields}}}
targets:
  gpt: {{provider: p, model: m}}
chains:
  one: [gpt]
{ROUTES}"""
    gateway = load(text)
    policy = host_policy(gateway, Settings.of(gateway, RenderOptions()))
    assert policy.targets["gpt"].key_header == header


def test_who_only_passes_keys_on_needs_none() -> None:
    azure = GATEWAY.replace("dialect: openai", "dialect: azure")
    own = "routes: [{name: r, chain: one, credentials: caller}]\n"
    assert load(azure + own)
    with pytest.raises(ConfigError, match="azure needs a key"):
        load(azure + ROUTES)


def test_open_beyond_loopback_must_be_said_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_ENVOY", "/nonexistent")
    place = tmp_path / "gateway.yaml"
    for identity, rules in (
        ("open", ["open-identity"]),
        ("{open: true}", ["open-identity"]),
        ("{open: true, beyond_loopback: true}", []),
        ("keys", []),
    ):
        listen = f"identity: {identity}\nenvoy: {{gateway: 0.0.0.0:10000}}\n"
        place.write_text(GATEWAY + ROUTES + listen)
        assert [one.rule for one in check(place) if one.rule != "no-price"] == rules
        render(load(place)).write_dir(tmp_path / "run")
        found = [one.rule for one in check(tmp_path / "run")]
        assert [one for one in found if one != "no-price"] == rules
