"""Envoy's own judgement, where its binary is at hand."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from extproc.config.binary import find_envoy
from extproc.config.configuration import GENERIC_KEY, Configuration

_TIMEOUT = 60.0
"""Seconds; a configuration of a thousand clusters takes two."""
_LOG = re.compile(r"^\[[^\]]*\]\[\d+\]\[(critical|error|warning)\]\[[^\]]*\] \[[^\]]*\] (.*)$")


def validate(config: Configuration) -> str | None:
    """What `envoy --mode validate` says against the configuration, in one line; None when it
    takes it, or when there is no binary.

    Envoy does not read files that a bootstrap refers to when it validates, so they are put in
    the place of the reference.
    """
    binary = find_envoy()
    if binary is None:
        return None
    text = msgspec.json.encode(_with_secrets(_whole(config))).decode()
    with tempfile.TemporaryDirectory(prefix="tollgate-") as folder:
        place = Path(folder) / "envoy.json"
        place.write_text(text, encoding="utf-8")
        command = [str(binary), "--mode", "validate", "-l", "error", "-c", str(place)]
        try:
            done = subprocess.run(  # noqa: S603 - the binary is the user's own
                command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"envoy could not be asked: {error}"
    return None if done.returncode == 0 else _reason(done.stdout + done.stderr, str(place))


def _whole(config: Configuration) -> dict[str, Any]:
    bootstrap = dict(config.bootstrap.node)
    dynamic = config.bootstrap.get("dynamic_resources")
    if not dynamic or config.remote:
        return bootstrap
    tables = {id(one.node.node): one.table.node for one in config.managers if one.table}
    static = dict(config.bootstrap.get("static_resources").node or {})
    static["listeners"] = [_inlined(_plain(one.node), tables) for one in config.listeners]
    static["clusters"] = [_plain(one.node) for one in config.clusters]
    bootstrap.pop(dynamic.key)
    return {**bootstrap, "static_resources": static}


def _with_secrets(bootstrap: dict[str, Any]) -> dict[str, Any]:
    """The bootstrap with a secret in the place of each file that tells of a key: Envoy wants those
    to be there even when it validates."""
    names: dict[str, None] = {}

    def replaced(node: Any) -> Any:
        if isinstance(node, list):
            return [replaced(one) for one in node]
        if not isinstance(node, dict):
            return node
        found = {key: replaced(one) for key, one in node.items()}
        credential = found.get("credential")
        if str(found.get("@type", "")).endswith(GENERIC_KEY) and isinstance(credential, dict):
            names[str(credential.get("name"))] = None
            found["credential"] = {"name": credential.get("name")}
        return found

    whole: dict[str, Any] = replaced(bootstrap)
    if not names:
        return whole
    key = "staticResources" if "staticResources" in whole else "static_resources"
    static = dict(whole.get(key) or {})
    added = [
        {"name": name, "generic_secret": {"secret": {"inline_string": "key"}}} for name in names
    ]
    static["secrets"] = [*(static.get("secrets") or []), *added]
    return {**whole, key: static}


def _plain(resource: Any) -> Any:
    return {key: one for key, one in resource.items() if key != "@type"}


def _inlined(node: Any, tables: dict[int, Any]) -> Any:
    """`node` with `rds` of each HttpConnectionManager replaced by its table."""
    if isinstance(node, list):
        return [_inlined(one, tables) for one in node]
    if not isinstance(node, dict):
        return node
    table = tables.get(id(node))
    if table is None or "rds" not in node:
        return {key: _inlined(one, tables) for key, one in node.items()}
    rest = {key: one for key, one in node.items() if key != "rds"}
    return {**rest, "route_config": _plain(table)}


def _reason(output: str, place: str) -> str:
    """The last complaint of Envoy's log: it repeats the whole configuration in between."""
    lines = output.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        found = _LOG.match(lines[index])
        if found is None:
            continue
        first = found[2].removeprefix(f"error initializing configuration '{place}': ")
        last = lines[-1] if index < len(lines) - 1 else ""
        said = f"{first} … {last}" if last and last != lines[index] else first
        return re.sub(r"goo\.gle/debug\w+\s*", "", said)
    return lines[-1] if lines else "no reason given"
