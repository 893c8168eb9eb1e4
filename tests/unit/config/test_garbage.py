"""Whatever stands in a file, `check` says something about it and does not fall over."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc.config import ConfigError, load, render
from extproc.config.checking import _check_envoy
from extproc.config.loading import load_document
from extproc.config.source import Document

GOOD = Path(__file__).parents[2] / "fixtures" / "good" / "gateway.yaml"
SHORT = YAML(typ="safe", pure=True).load(GOOD.read_text())
LONG = YAML(typ="safe", pure=True).load(render(load(GOOD)).single())
GARBAGE: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "10s", [], {}, [None], [{}], {"x": None}, [[1]], {"a": "b"}]
)
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items if isinstance(node, (dict, list)) else ():
        found += places(value, (*path, key)) if isinstance(value, (dict, list)) else [(*path, key)]
    return found


def spoiled(data: Any, path: tuple[Any, ...], garbage: object) -> Any:
    found = copy.deepcopy(data)
    node = found
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = garbage
    return found


@FEW
@given(st.sampled_from(places(LONG)), GARBAGE)
def test_envoy_configurations(path: tuple[Any, ...], garbage: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOLLGATE_ENVOY", "/nonexistent")
        found = _check_envoy(Document("envoy.yaml", spoiled(LONG, path, garbage), {}))
    assert all(str(one) for one in found)


@FEW
@given(st.sampled_from(places(SHORT)), GARBAGE)
def test_gateway_files(path: tuple[Any, ...], garbage: object) -> None:
    with contextlib.suppress(ConfigError):
        gateway = load_document(Document("gateway.yaml", spoiled(SHORT, path, garbage), {}))
        assert render(gateway).single()
