"""YAML and JSON with lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config import ConfigError
from extproc.config.source import read_file, read_text

KEYS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, DATA, max_size=5))
def test_json_reads_as_json(data: dict[str, object]) -> None:
    assert read_text(json.dumps(data), "a.json").data == data
    assert read_text(json.dumps(data, indent="\t"), "a.json").data == data


def test_every_value_has_its_line() -> None:
    document = read_text("a:\n  b: 1\n  c:\n  - x\n  - y: 2\n", "a.yaml")
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 1, "y")) == 5
    assert document.line(("a", "missing")) == 1


def test_a_duplicate_key_is_found_at_any_depth() -> None:
    document = read_text("a:\n- b: 1\n  b: 2\n", "a.yaml")
    assert [(one.line, one.path) for one in document.findings] == [(3, "a[0].b")]


def test_anchors_and_merges_are_plain_data() -> None:
    document = read_text("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n", "a.yaml")
    assert document.data == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": {"a": 1, "b": 2}}
    assert document.findings == []


@pytest.mark.parametrize("text", ["a: [", "a: 'x", "? [a]\n: b", "a: b: c", "- &a [*a]"])
def test_what_is_no_yaml_says_so(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_text(text, "a.yaml")
    assert caught.value.findings[0].rule == "syntax"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_file(path)
