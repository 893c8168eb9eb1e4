"""The parts of an Envoy configuration by what Tollgate uses them for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from extproc.config import schema, typed
from extproc.config.findings import Finding, Path
from extproc.config.source import Document
from extproc.config.tree import At
from extproc.headers import NAMESPACE
from extproc.policy import HostPolicy, RoutePolicy, TargetPolicy

_PRIORITY_GROUP = f"{schema.PRIORITY_GROUP}.PriorityGroupClusterSpecifier"
GENERIC_KEY = "envoy.extensions.http.injected_credentials.generic.v3.Generic"
"""A key that a filter adds, and that Envoy reads from a secret."""
_Policy = TypeVar("_Policy", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Manager:
    """One HttpConnectionManager, with Tollgate's filter in it, if any."""

    listener: At
    node: At
    table: At
    """Its route table; a node of None when a server delivers it."""
    inline: bool
    """The table stands in the listener."""
    filter: At
    """The `typed_config` of the ext_proc filter that says `x-tollgate-filter`."""
    role: str
    """`gateway`, `target` or empty."""

    @property
    def routes(self) -> Iterator[tuple[At, At]]:
        """Every route with its virtual host."""
        for host in self.table.get("virtual_hosts"):
            for route in host.get("routes"):
                yield host, route


def chain_of(route: At) -> At:
    """The priority groups of a route, or a node of None."""
    config = route.get("route", "inline_cluster_specifier_plugin", "extension", "typed_config")
    kind = config.get("@type").text.rpartition("/")[2]
    return config if kind == _PRIORITY_GROUP else At(config.document, config.path, None)


def policy_at(place: At) -> At:
    """Tollgate's metadata of a route or virtual host."""
    return place.get("metadata", "filter_metadata", NAMESPACE)


@dataclass(slots=True)
class Configuration:
    """All parts of one configuration."""

    bootstrap: At
    findings: list[Finding] = field(default_factory=list)
    """What was wrong with reading it."""
    documents: list[Document] = field(default_factory=list)
    listeners: list[At] = field(default_factory=list)
    clusters: list[At] = field(default_factory=list)
    managers: list[Manager] = field(default_factory=list)
    remote: bool = False
    """Clusters or listeners come from a server."""
    targets: list[tuple[Manager, TargetPolicy]] = field(default_factory=list)
    hosts: list[tuple[At, HostPolicy]] = field(default_factory=list)
    rules: list[tuple[At, At, RoutePolicy]] = field(default_factory=list)
    """Virtual host, route, policy."""
    policy_findings: list[Finding] = field(default_factory=list)

    def of_role(self, role: str) -> list[Manager]:
        """Managers whose filter is `gateway` or `target`."""
        return [one for one in self.managers if one.role == role]

    def ours(self) -> list[Manager]:
        """Managers with either filter."""
        return [*self.of_role("gateway"), *self.of_role("target")]

    def cluster(self, name: str) -> At | None:
        """A cluster by name."""
        return next((one for one in self.clusters if one.get("name").text == name), None)

    @property
    def cluster_names(self) -> list[str]:
        """All clusters there are."""
        return [one.get("name").text for one in self.clusters]

    def chain_routes(self) -> Iterator[tuple[At, At, At]]:
        """Routes of the gateway that walk a chain: virtual host, route, chain."""
        for manager in self.of_role("gateway"):
            for host, route in manager.routes:
                if chain := chain_of(route):
                    yield host, route, chain

    def services(self) -> list[At]:
        """Clusters in which the filters find the service."""
        service = ("grpc_service", "envoy_grpc", "cluster_name")
        return self._named({one.filter.get(*service).text for one in self.ours()})

    def levels(self) -> list[At]:
        """Clusters that are a level of some chain."""
        names = {one.cluster for _, host in self.hosts for one in host.targets.values()}
        for _, _, chain in self.chain_routes():
            for group in chain.get("priority_groups"):
                names |= {one.get("cluster_name").text for one in group.get("clusters")}
        return self._named(names)

    def providers(self) -> list[At]:
        """Clusters that targets forward to."""
        routes = [route for one in self.of_role("target") for _, route in one.routes]
        return self._named({one.get("route", "cluster").text for one in routes})

    def _named(self, names: set[str]) -> list[At]:
        return [one for one in self.clusters if one.get("name").text in names]

    def read_policies(self) -> None:
        """Fill `targets`, `hosts` and `rules`; what cannot be read is a finding."""
        for manager in self.of_role("target"):
            for _, route in manager.routes:
                policy = self._read(TargetPolicy, route, "target")
                # A level may have several routes of one target: with and without its body.
                if policy is not None and (manager, policy) not in self.targets:
                    self.targets.append((manager, policy))
        seen: set[Path] = set()
        for host, route, _ in self.chain_routes():
            if host.path not in seen:
                seen.add(host.path)
                shared = self._read(HostPolicy, host, "virtual host")
                if shared is not None:
                    self.hosts.append((host, shared))
            rule = self._read(RoutePolicy, route, "route")
            if rule is not None:
                self.rules.append((host, route, rule))

    def _read(self, kind: type[_Policy], place: At, what: str) -> _Policy | None:
        at = policy_at(place)
        if not at:
            message = f"there is no policy of the {what}; the service cannot decide"
            self.policy_findings.append(at.say(message, "missing-policy"))
            return None

        def report(path: Path, message: str, _: str) -> None:
            self.policy_findings.append(at.document.finding(path, message, "policy"))

        found: _Policy | None = typed.read(kind, at.node, at.path, report)
        return found


def level_listener(cluster: At) -> str | None:
    """The internal listener that a level's cluster leads to."""
    for locality in cluster.get("load_assignment", "endpoints"):
        for host in locality.get("lb_endpoints"):
            address = host.get("endpoint", "address", "envoy_internal_address")
            if found := address.get("server_listener_name").text:
                return found
    return None
