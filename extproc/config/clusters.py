"""Clusters: the policy service, one a level, one a provider."""

from __future__ import annotations

from extproc.config.credentials import key_headers
from extproc.config.gateway import Gateway, Provider
from extproc.config.identity import jwks_origins
from extproc.config.options import Settings, parse_endpoint
from extproc.config.parts import (
    Node,
    Noted,
    duration,
    endpoints,
    extension,
    http_protocol,
    is_ip,
    no_limits,
    no_panic,
    socket_address,
)
from extproc.config.urls import Origin
from extproc.dialects.openai.servers import server_of
from extproc.headers import HEALTH_GATEWAY, HEALTH_TARGET

GATEWAY_SERVICE = "extproc-gateway"
TARGET_SERVICE = "extproc-target"

_BASE = {"anthropic": "/v1", "gemini": "/v1beta", "cohere": "/v1"}
"""What stands in front of `/models`, the list of models; asking for it costs nothing anywhere."""

_RECOVERY = 5.0
"""Seconds between checks of a provider that is down, its start before the first check included:
a provider that comes up a moment after Envoy should not wait for the next regular check."""
_ISSUER_CONNECT = 2.0
"""Seconds."""
_MAX_HEADERS = 200
"""A client may send 100; Envoy and the filters add theirs."""


def level_cluster(target: str) -> str:
    """The outer cluster that is one level; its listener has the same name."""
    return f"target-{target}"


def provider_cluster(provider: str) -> str:
    """The cluster of a provider's own address."""
    return f"provider-{provider}"


def all_clusters(gateway: Gateway, settings: Settings) -> list[Node]:
    """Every cluster, in the order in which a request meets them."""
    service = [
        Noted(
            "The policy service, one endpoint a worker. A draining worker takes no new requests\n"
            "but still serves the next levels of live ones: two clusters, two health services.",
            _service(GATEWAY_SERVICE, HEALTH_GATEWAY, settings),
        ),
        _service(TARGET_SERVICE, HEALTH_TARGET, settings),
    ]
    levels = [_level(name) for name in gateway.targets]
    levels[0] = Noted("Levels: each leads to the internal listener of its name.", levels[0])
    used = {one.provider for one in gateway.targets.values()}
    providers = [
        _provider(name, one, settings) for name, one in gateway.providers.items() if name in used
    ]
    providers[0] = Noted("Providers.", providers[0])
    issuers = [
        _issuer(name, origin, jwt.ca_file or settings.trusted_ca)
        for name, (origin, jwt) in jwks_origins(gateway).items()
    ]
    if issuers:
        issuers[0] = Noted("Where the keys are by which tokens are verified.", issuers[0])
    return [*service, *levels, *providers, *issuers]


def _service(name: str, health: str, settings: Settings) -> Node:
    addresses: list[Node] = []
    names = False
    for text in settings.extproc:
        place = parse_endpoint(text)
        if isinstance(place, str):
            addresses.append({"pipe": {"path": place}})
        else:
            addresses.append(socket_address(*place))
            names = names or not is_ip(place[0])
    return {
        "name": name,
        "type": "STRICT_DNS" if names else "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": http_protocol(
            {"explicit_http_config": {"http2_protocol_options": {}}}
        ),
        "load_assignment": endpoints(name, addresses),
        # A killed worker is out within half a second, its socket being closed; until then its
        # streams are retried. One that reads a body of 30 MB may be slow to say that it lives.
        "health_checks": [
            {
                "timeout": "5s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",
                "unhealthy_interval": "0.5s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {"service_name": health},
            }
        ],
        "common_lb_config": no_panic(),
        "circuit_breakers": no_limits(),
    }


def _level(target: str) -> Node:
    name = level_cluster(target)
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": http_protocol(
            {
                "common_http_protocol_options": {"max_headers_count": _MAX_HEADERS},
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        ),
        "load_assignment": endpoints(
            name, [{"envoy_internal_address": {"server_listener_name": name}}]
        ),
        "common_lb_config": no_panic(),
        "circuit_breakers": no_limits(),
    }


def _provider(name: str, provider: Provider, settings: Settings) -> Node:
    origin = Origin.parse(provider.url)
    cluster = provider_cluster(name)
    node = _host(cluster, origin, provider.connect_timeout)
    node |= {
        "typed_extension_protocol_options": http_protocol(
            {
                "common_http_protocol_options": {"idle_timeout": duration(provider.idle_timeout)},
                **_protocols(origin),
            }
        ),
        "load_assignment": endpoints(cluster, [socket_address(origin.host, origin.port)]),
    }
    if origin.tls:
        node["transport_socket"] = _tls(origin, provider.ca_file or settings.trusted_ca)
    return node | {
        "health_checks": [_health(provider, origin)],
        "outlier_detection": {
            "consecutive_5xx": provider.outlier.consecutive_5xx,
            "base_ejection_time": duration(provider.outlier.ejection),
            # The cluster has one host: less than all of it is none.
            "max_ejection_percent": 100,
        },
        "common_lb_config": no_panic(),
        "circuit_breakers": no_limits(),
    }


def _host(name: str, origin: Origin, connect_timeout: float) -> Node:
    """A cluster of one host somewhere else."""
    node: Node = {
        "name": name,
        # One logical host: addresses that rotate in DNS do not cut streams.
        "type": "STATIC" if origin.is_address else "LOGICAL_DNS",
        "connect_timeout": duration(connect_timeout),
    }
    if not origin.is_address:
        node["dns_lookup_family"] = "ALL"
    return node


def _issuer(name: str, origin: Origin, trusted_ca: str) -> Node:
    """Asked now and then, and by Envoy itself: it needs no checks and no limits."""
    node = _host(name, origin, _ISSUER_CONNECT)
    node["load_assignment"] = endpoints(name, [socket_address(origin.host, origin.port)])
    if origin.tls:
        node["transport_socket"] = _tls(origin, trusted_ca)
    return node


def _protocols(origin: Origin) -> Node:
    if origin.tls:
        # The provider chooses by ALPN.
        return {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    return {"explicit_http_config": {"http_protocol_options": {}}}


def _tls(origin: Origin, trusted_ca: str) -> Node:
    validation: Node = {"trusted_ca": {"filename": trusted_ca}}
    context: Node = {"common_tls_context": {"validation_context": validation}}
    if origin.is_address:
        # A name for SNI there is none; the certificate must be for the address.
        validation["match_typed_subject_alt_names"] = [
            {"san_type": "IP_ADDRESS", "matcher": {"exact": origin.host}}
        ]
    else:
        context = {"sni": origin.host, "auto_sni_san_validation": True, **context}
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        context,
    )


def _health(provider: Provider, origin: Origin) -> Node:
    check: Node = {
        "host": origin.authority,
        "path": provider.health.path or _health_path(provider, origin),
    }
    if keys := key_headers(provider):
        check["request_headers_to_add"] = keys
    # A key that is wrong, or too many requests, is not "down".
    check["expected_statuses"] = [{"start": 200, "end": 500}]
    return {
        "timeout": duration(provider.health.timeout),
        "interval": duration(provider.health.interval),
        "no_traffic_interval": duration(provider.health.interval),
        "unhealthy_interval": duration(min(provider.health.interval, _RECOVERY)),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": check,
    }


def _health_path(provider: Provider, origin: Origin) -> str:
    """What costs nothing to ask for. Any answer will do, a refusal too: the check has no signature
    and no key out of a file."""
    base = origin.base_path
    match provider.dialect:
        case "bedrock":
            return f"{base or ''}/"
        case "vertex":
            place = f"projects/{provider.project}/locations/{provider.location}"
            return f"{base or '/v1'}/{place}"
        case "azure":
            version = provider.api_version
            models = "v1/models" if version is None else f"models?api-version={version}"
            return f"{base or '/openai'}/{models}"
        case "openai":
            return f"{server_of(provider.server).base_path if base is None else base}/models"
        case dialect:
            return f"{base or _BASE[dialect]}/models"
