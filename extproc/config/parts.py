"""Small pieces that every section of an Envoy configuration is made of.

The sections are plain dictionaries in the order a person writes them; `schema` holds the
whole against Envoy's own message types before anything is written.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

Node = dict[str, Any]

TYPE = "type.googleapis.com/envoy."


class Noted(dict[str, Any]):
    """A section with a comment above it."""

    __slots__ = ("note",)

    def __init__(self, note: str, node: Node) -> None:
        super().__init__(node)
        self.note = note


def duration(seconds: float) -> str:
    """Protobuf's JSON form, to the nanosecond: `10s`, `0.005s`."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def typed(kind: str, node: Node | None = None) -> Node:
    """A `typed_config`; `kind` is the type without `type.googleapis.com/envoy.`."""
    return {"@type": TYPE + kind, **(node or {})}


def extension(name: str, kind: str, node: Node | None = None) -> Node:
    """A named extension: a filter, a transport socket, an access log."""
    return {"name": name, "typed_config": typed(kind, node)}


def socket_address(host: str, port: int) -> Node:
    """An address to listen on or to connect to."""
    return {"socket_address": {"address": host, "port_value": port}}


def is_ip(host: str) -> bool:
    """`host` is an address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def no_limits() -> Node:
    """Circuit breakers that do not break.

    By default a cluster allows three concurrent retries; the fourth client whose level refused
    would get that refusal instead of the next level's answer.
    """
    threshold = {
        "priority": "DEFAULT",
        "max_connections": 100000,
        "max_pending_requests": 100000,
        "max_requests": 100000,
        "max_retries": 100000,
    }
    return {"thresholds": [threshold]}


def no_panic() -> Node:
    """An unhealthy host is not asked, even when no other is left: the walk goes on at once."""
    return {"healthy_panic_threshold": {"value": 0}}


def endpoints(cluster: str, addresses: list[Node]) -> Node:
    """A load assignment of one locality."""
    hosts = [{"endpoint": {"address": one}} for one in addresses]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": hosts}]}


def http_protocol(node: Node) -> Node:
    """How a cluster speaks HTTP."""
    kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {f"envoy.{kind}": typed(kind, node)}


def is_loopback(host: str) -> bool:
    """Only this machine reaches `host`."""
    return ip_address(host).is_loopback if is_ip(host) else host == "localhost"
