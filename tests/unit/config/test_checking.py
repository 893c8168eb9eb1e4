"""`check` on whole configurations, and on what is no configuration."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from extproc.config import RenderOptions, Severity, check, find_envoy, load, render
from extproc.config.gateway import (
    Guard,
    Health,
    Identity,
    Jwt,
    Listen,
    Outlier,
    Provider,
    Queue,
    Route,
    Seconds,
    Target,
    Tls,
    Wait,
)
from extproc.config.rule_names import RULES
from extproc.config.tree import json_name
from extproc.policy import Ceilings, HeaderIdentity, MtlsIdentity

GOOD = Path(__file__).parents[2] / "fixtures" / "good" / "gateway.yaml"
DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    place = tmp_path / "envoy.yaml"
    place.write_text(render(load(GOOD), RenderOptions(extproc=["127.0.0.1:7000"])).single())
    return place


def test_one_bootstrap_is_warned_of_its_route_tables(rendered: Path) -> None:
    found = check(rendered)
    assert [one.rule for one in found] == ["inline-routes"]
    assert found[0].severity is Severity.WARNING


def test_json_with_json_names_is_judged_alike(rendered: Path) -> None:
    data = YAML(typ="safe", pure=True).load(rendered.read_text())

    def camel(node: object, name: str = "") -> object:
        if isinstance(node, list):
            return [camel(one) for one in node]
        if not isinstance(node, dict) or name in ("filter_metadata", "json_format"):
            return node
        found = {}
        for key, one in node.items():
            plain = "." in key or key.startswith("@")
            found[key if plain else json_name(key)] = camel(one, key)
        return found

    place = rendered.with_suffix(".json")
    place.write_text(json.dumps(camel(data), indent="\t"))
    assert [str(one) for one in check(place) if one.rule != "inline-routes"] == []


def test_the_line_of_a_mistake_is_where_it_stands(rendered: Path) -> None:
    lines = rendered.read_text().splitlines()
    index = next(number for number, line in enumerate(lines) if "num_retries: 1" in line)
    lines[index] = lines[index].replace("num_retries: 1", "num_retries: 3")
    rendered.write_text("\n".join(lines))
    finding = check(rendered)[0]
    assert (finding.rule, finding.line) == ("num-retries", index + 1)
    assert str(finding).startswith(f"{rendered}:{index + 1}: static_resources.listeners[0].")


def test_a_folder_that_was_moved_is_still_whole(tmp_path: Path) -> None:
    first = tmp_path / "first"
    render(load(GOOD)).write_dir(first)
    shutil.move(first, tmp_path / "second")
    assert check(tmp_path / "second") == []


def test_a_folder_without_a_bootstrap(tmp_path: Path) -> None:
    assert [one.rule for one in check(tmp_path)] == ["no-bootstrap"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    place = tmp_path / "envoy.yaml"
    if content is not None:
        place.write_bytes(content)
    assert [one.rule for one in check(place)] == ["unreadable"]


def test_a_table_in_another_file_is_named_by_that_file(tmp_path: Path) -> None:
    render(load(GOOD)).write_dir(tmp_path)
    table = tmp_path / "rds-target-claude.yaml"
    table.write_text(table.read_text().replace("per_try_timeout: 10s", "per_try_timeout: 1s", 1))
    assert [(one.rule, one.file) for one in check(tmp_path)] == [("level-timeout", str(table))]


def test_listeners_from_a_server_are_not_guessed_at(tmp_path: Path) -> None:
    place = tmp_path / "envoy.yaml"
    place.write_text(
        "dynamic_resources:\n"
        "  lds_config: {ads: {}, resource_api_version: V3}\n"
        "  cds_config: {ads: {}, resource_api_version: V3}\n"
    )
    assert [one.rule for one in check(place) if one.rule != "envoy"] == []


def test_where_envoy_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "envoy"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("TOLLGATE_ENVOY", str(own))
    assert find_envoy() == own
    own.chmod(0o644)
    assert find_envoy() is None
    monkeypatch.delenv("TOLLGATE_ENVOY")
    found = find_envoy()
    assert found is not None
    assert os.access(found, os.X_OK)


def test_the_documentation_lists_every_rule() -> None:
    text = DOCS.read_text()
    missing = [f"| `{name}` | {what} |" for name, what in RULES.items()]
    assert [line for line in missing if line not in text] == []


KINDS = [
    *(Provider, Health, Outlier, Target, Route, Listen, Tls, Identity, Jwt),
    *(MtlsIdentity, HeaderIdentity, Queue, Ceilings, Guard),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_lists_every_field_with_its_default(kind: type[msgspec.Struct]) -> None:
    lines = DOCS.read_text().splitlines()
    for one in msgspec.structs.fields(kind):
        rows = [line for line in lines if line.startswith(f"| `{one.name}` | ")]
        if one.required:
            rows = [line for line in rows if line.startswith(f"| `{one.name}` | required | ")]
        elif isinstance(one.default, (str, int, float)):
            unit = "s" if isinstance(one.default, (Seconds, Wait)) else ""
            number = isinstance(one.default, (int, float)) and not isinstance(one.default, bool)
            said = f"{one.default:g}{unit}" if number else str(one.default).lower()
            rows = [line for line in rows if line.startswith(f"| `{one.name}` | `{said}` | ")]
        assert rows, f"{kind.__name__}.{one.name}"
