"""gateway.yaml to Envoy's configuration: one bootstrap, or files that Envoy watches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extproc.config import schema
from extproc.config.clusters import all_clusters
from extproc.config.credentials import secrets
from extproc.config.findings import ConfigError, Finding, dotted
from extproc.config.findings import Path as Where
from extproc.config.gateway import Gateway
from extproc.config.listeners import all_listeners
from extproc.config.options import RenderOptions, Settings
from extproc.config.parts import Node, Noted, extension, socket_address
from extproc.config.routes import GATEWAY_TABLE, all_tables
from extproc.config.writer import to_yaml

_HEAD = """\
Written by `tollgate render` from gateway.yaml. It is complete: a person can read it from top
to bottom, change it by hand, and hold it against `tollgate check`.

  client -> listener "gateway" -> chain of levels -> internal listener "target-..." -> provider
"""
_WRITTEN = "Written by `tollgate render` from gateway.yaml."
_RESOURCES = {
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration, not yet written."""

    gateway: Gateway
    settings: Settings

    def single(self, folder: Path | None = None) -> str:
        """One bootstrap with everything in it. Envoy reads it once, at its start.

        With a `key_file` it needs the files of `secrets` beside it, in `folder`: Envoy reads again
        only what it is told of by a file of its own. Raises ConfigError when no folder is said.
        """
        if folder is None and (files := self.secrets()):
            message = f"a key_file needs {', '.join(files)} beside it; write to a file or a folder"
            raise ConfigError([Finding("envoy.yaml", None, "", message, "key-file-alone")])
        tables = all_tables(self.gateway, self.settings)
        inline = {name: {"route_config": table} for name, table in tables.items()}
        node = _bootstrap(
            self.settings,
            {
                "static_resources": {
                    "listeners": all_listeners(
                        self.gateway, self.settings, inline, folder and folder.absolute()
                    ),
                    "clusters": all_clusters(self.gateway, self.settings),
                }
            },
        )
        _judge(node, "envoy.yaml")
        return to_yaml(node, _HEAD)

    def secrets(self) -> dict[str, str]:
        """File name to text of the files that tell Envoy where keys are; none of them holds one."""
        return {
            name: to_yaml({"resources": [node]}, _WRITTEN)
            for name, node in secrets(self.gateway).items()
        }

    def files(self, directory: Path) -> dict[str, str]:
        """File name to text, in the order in which they have to be put in place: what is
        referred to comes before what refers to it. Envoy finds them under `directory`."""
        base = directory.absolute()
        tables = all_tables(self.gateway, self.settings)
        names = {name: _table_file(name) for name in tables}
        watched = {
            name: {"rds": {"route_config_name": name, "config_source": _source(base / file)}}
            for name, file in names.items()
        }
        found = self.secrets()
        found["cds.yaml"] = _resources("clusters", all_clusters(self.gateway, self.settings))
        for name, table in tables.items():
            found[names[name]] = _resources("routes", [table])
        found["lds.yaml"] = _resources(
            "listeners", all_listeners(self.gateway, self.settings, watched, base)
        )
        bootstrap = _bootstrap(
            self.settings,
            {
                "dynamic_resources": {
                    "lds_config": _source(base / "lds.yaml"),
                    "cds_config": _source(base / "cds.yaml"),
                }
            },
        )
        _judge(bootstrap, "envoy.yaml")
        found["envoy.yaml"] = to_yaml(bootstrap, _HEAD)
        return found

    def write_dir(self, path: Path | str) -> Path:
        """Write the files to the folder `path`, each moved into place whole, so that an Envoy
        that watches them never reads half a file. Files of targets that are gone are removed.
        Returns the path of the bootstrap."""
        directory = Path(path)
        directory.mkdir(parents=True, exist_ok=True)
        files = self.files(directory)
        for name, text in files.items():
            place = directory / name
            if place.is_file() and place.read_text(encoding="utf-8") == text:
                continue
            temporary = directory / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(place)
        for pattern in ("rds-*.yaml", "secret-*.yaml"):
            for stale in directory.glob(pattern):
                if stale.name not in files:
                    stale.unlink()
        return directory / "envoy.yaml"

    def write_single(self, path: Path | str) -> None:
        """Write the bootstrap to the file `path`, and what it needs beside it."""
        place = Path(path)
        text = self.single(place.parent)
        for name, secret in self.secrets().items():
            (place.parent / name).write_text(secret, encoding="utf-8")
        place.write_text(text, encoding="utf-8")


def render(gateway: Gateway, options: RenderOptions | None = None) -> Rendered:
    """Decide everything that is open. Raises ConfigError for options that cannot be."""
    try:
        settings = Settings.of(gateway, options or RenderOptions())
    except ValueError as error:
        raise ConfigError([Finding("options", None, "", str(error), "bad-address")]) from error
    return Rendered(gateway, settings)


def _table_file(name: str) -> str:
    return "rds-gateway.yaml" if name == GATEWAY_TABLE else f"rds-{name}.yaml"


def _source(path: Path) -> Node:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _resources(kind: str, nodes: list[Node]) -> str:
    resources: list[Node] = []
    for node in nodes:
        whole = {"@type": _RESOURCES[kind], **node}
        resources.append(Noted(node.note, whole) if isinstance(node, Noted) else whole)
    for index, resource in enumerate(resources):
        plain = {key: one for key, one in resource.items() if key != "@type"}
        _judge(plain, kind, ("resources", index), _RESOURCES[kind])
    return to_yaml({"resources": resources}, _WRITTEN)


def _bootstrap(settings: Settings, resources: Node) -> Node:
    return {
        "node": {"id": "tollgate", "cluster": "tollgate"},
        "admin": {"address": socket_address(*settings.admin)},
        "bootstrap_extensions": [
            Noted(
                "Levels are listeners inside this Envoy.",
                extension(
                    "envoy.bootstrap.internal_listener",
                    "extensions.bootstrap.internal_listener.v3.InternalListener",
                ),
            )
        ],
        **resources,
        "layered_runtime": Noted(
            "Streams to the service are closed, not reset: gRPC for Python keeps 80 bytes for each "
            "read that a reset cuts off.",
            {
                "layers": [
                    {
                        "name": "static",
                        "static_layer": {
                            "envoy.reloadable_features.ext_proc_graceful_grpc_close": True
                        },
                    }
                ]
            },
        ),
        "overload_manager": Noted(
            "Connections from clients, not streams; what comes beyond them is closed at once.",
            {
                "resource_monitors": [
                    extension(
                        "envoy.resource_monitors.global_downstream_max_connections",
                        "extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        {"max_active_downstream_connections": 20000},
                    )
                ]
            },
        ),
    }


def _judge(node: Any, name: str, path: Where = (), url: str = schema.BOOTSTRAP) -> None:
    """What is written fits Envoy's own types. A failure is a mistake of this package."""
    found: list[Finding] = []

    def report(at: Where, message: str, rule: str) -> None:
        found.append(Finding(name, None, dotted(at), message, rule))

    schema.judge(node, path, report, url)
    if found:
        raise ConfigError(found)
