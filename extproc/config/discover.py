"""Reads an Envoy configuration with everything it refers to.

A bootstrap may hold listeners, clusters and route tables itself, or say in which files they
are; what it would get from a server is not known here, and nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File

from extproc.config import schema, source
from extproc.config.configuration import Configuration, Manager
from extproc.config.findings import ConfigError, Path, Severity
from extproc.config.source import Document
from extproc.config.tree import At
from extproc.headers import FILTER

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"


def discover(document: Document) -> Configuration:
    """Everything that the bootstrap in `document` holds or refers to by file."""
    top = At(document, (), document.data)
    config = Configuration(top)
    _judge(config, document, (), schema.BOOTSTRAP)
    config.documents.append(document)
    config.findings += document.findings
    static = top.get("static_resources")
    config.listeners += static.get("listeners")
    config.clusters += static.get("clusters")
    dynamic = top.get("dynamic_resources")
    config.listeners += _resources(config, dynamic.get("lds_config"), "listener.v3.Listener")
    config.clusters += _resources(config, dynamic.get("cds_config"), "cluster.v3.Cluster")
    if dynamic.get("ads_config"):
        config.remote = True
    for listener in config.listeners:
        config.managers += _managers(config, listener)
    config.read_policies()
    return config


def _judge(config: Configuration, document: Document, path: Path, url: str) -> None:
    """Unknown fields and wrong types, before anything else is asked of the data."""
    node = At(document, (), document.data).get(*path)
    plain = node.node
    if url != schema.BOOTSTRAP and isinstance(plain, dict):
        plain = {key: one for key, one in plain.items() if key != "@type"}

    def report(at: Path, message: str, rule: str) -> None:
        severity = Severity.WARNING if rule == "unknown-type" else Severity.ERROR
        config.findings.append(document.finding(at, message, rule, severity))

    schema.judge(plain, path, report, url)


def _resources(config: Configuration, where: At, kind: str) -> Iterator[At]:
    """Resources of the file that a config source names."""
    if not where:
        return
    path = where.get("path_config_source", "path")
    if not path.text:
        config.remote = True
        return
    document = _open(config, path)
    if document is None:
        return
    for resource in At(document, (), document.data).get("resources"):
        url = resource.get("@type").text
        if not url.endswith(f".{kind}"):
            message = f"'{url}' stands where a {kind.rpartition('.')[2]} is expected"
            config.findings.append(resource.get("@type").say(message, "wrong-resource"))
            continue
        _judge(config, document, resource.path, url)
        yield resource


def beside(path: At) -> File:
    """The file as it is named, else the one of that name beside the file that names it:
    configurations are written in one place and mounted in another."""
    named = File(path.text)
    return named if named.is_file() else File(path.document.name).parent / named.name


def _open(config: Configuration, path: At) -> Document | None:
    place = beside(path)
    known = next((one for one in config.documents if one.name == str(place)), None)
    if known is not None:
        return known
    if not place.is_file():
        config.findings.append(path.say(f"no file '{path.text}'", "missing-file"))
        return None
    try:
        document = source.read_file(place)
    except ConfigError as error:
        config.findings += error.findings
        return None
    config.documents.append(document)
    config.findings += document.findings
    return document


def _managers(config: Configuration, listener: At) -> Iterator[Manager]:
    chains = [*listener.get("filter_chains"), listener.get("default_filter_chain")]
    for chain in chains:
        for one in chain.get("filters"):
            node = one.get("typed_config")
            if node.get("@type").text.endswith(_HCM):
                table, inline = _table(config, node)
                found, role = _our_filter(node)
                yield Manager(listener, node, table, inline, found, role)


def _table(config: Configuration, manager: At) -> tuple[At, bool]:
    inline = manager.get("route_config")
    if inline:
        return inline, True
    rds = manager.get("rds")
    name = rds.get("route_config_name").text
    found = list(_resources(config, rds.get("config_source"), "route.v3.RouteConfiguration"))
    for table in found:
        if table.get("name").text == name:
            return table, False
    if found:
        message = f"the file holds no route table '{name}'"
        config.findings.append(rds.get("route_config_name").say(message, "missing-table"))
    return At(rds.document, rds.path, None), False


def _our_filter(manager: At) -> tuple[At, str]:
    for one in manager.get("http_filters"):
        config = one.get("typed_config")
        if not config.get("@type").text.endswith(_EXT_PROC):
            continue
        for pair in config.get("grpc_service", "initial_metadata"):
            if pair.get("key").text == FILTER:
                return config, pair.get("value").text
    return At(manager.document, manager.path, None), ""
