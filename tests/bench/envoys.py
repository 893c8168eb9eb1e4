"""Envoy without Tollgate: alone, and with filters that ask a no-op service."""

from __future__ import annotations

from typing import Any, Literal

Node = dict[str, Any]
Layout = Literal["alone", "noop", "noop_target", "noop_stream"]

_TYPE = "type.googleapis.com/envoy."
_HTTP = f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions"
_INNER = "inner"

# What Tollgate's own filters are sent (extproc.config.listeners).
_BUFFERED = {
    "request_header_mode": "SEND",
    "request_body_mode": "BUFFERED",
    "response_header_mode": "SEND",
    "response_body_mode": "BUFFERED",
}
_STREAMED = {**_BUFFERED, "response_body_mode": "STREAMED"}
_TARGET = {**_STREAMED, "response_trailer_mode": "SEND"}


def bootstrap(layout: Layout, *, port: int, upstream: int, service: str) -> Node:
    """Envoy's bootstrap: listen on `port`, forward to `upstream`, ask `service` (a socket path)."""
    clusters = [_cluster("upstream", _tcp(upstream))]
    listeners = []
    filters: list[Node] = []
    route = "upstream"
    if layout != "alone":
        clusters.append(_cluster("service", {"pipe": {"path": service}}, http2=True))
        filters = [_ext_proc(_STREAMED if layout == "noop_stream" else _BUFFERED)]
    if layout == "noop_target":
        clusters.append(
            _cluster(
                _INNER, {"envoy_internal_address": {"server_listener_name": _INNER}}, http2=True
            )
        )
        route = _INNER
        inner = _ext_proc(_TARGET, send_body_without_waiting_for_header_response=True)
        listeners.append(
            {
                "name": _INNER,
                "internal_listener": {},
                "filter_chains": _chain(_INNER, [inner], "upstream", codec="HTTP2"),
            }
        )
    listeners.append(
        {"name": "bench", "address": _tcp(port), "filter_chains": _chain("bench", filters, route)}
    )
    return {
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
    }


def _tcp(port: int) -> Node:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, address: Node, *, http2: bool = False) -> Node:
    many = {
        "priority": "DEFAULT",
        "max_connections": 100000,
        "max_pending_requests": 100000,
        "max_requests": 100000,
        "max_retries": 100000,
    }
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            _HTTP.removeprefix("type.googleapis.com/"): {
                "@type": _HTTP,
                "explicit_http_config": {protocol: {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [many]},
    }


def _ext_proc(mode: Node, **more: object) -> Node:
    return {
        "name": "noop",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": "service"}},
            "message_timeout": "60s",
            "processing_mode": mode,
            **more,
        },
    }


def _chain(name: str, filters: list[Node], cluster: str, *, codec: str = "AUTO") -> list[Node]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}extensions.filters.http.router.v3.Router"},
    }
    manager = f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return [
        {
            "filters": [
                {
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": manager,
                        "stat_prefix": name,
                        "codec_type": codec,
                        "http_filters": [*filters, router],
                        "route_config": {
                            "name": name,
                            "virtual_hosts": [
                                {
                                    "name": name,
                                    "domains": ["*"],
                                    "routes": [
                                        {
                                            "match": {"prefix": "/"},
                                            "route": {"cluster": cluster, "timeout": "0s"},
                                            "request_body_buffer_limit": 32 << 20,
                                        }
                                    ],
                                }
                            ],
                        },
                    },
                }
            ]
        }
    ]
