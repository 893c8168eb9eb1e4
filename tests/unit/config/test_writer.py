"""What is written reads back as what was meant."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc.config.parts import Noted
from extproc.config.writer import to_yaml

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
WORDS = st.sampled_from(
    ["yes", "No", "on", "null", "~", "", "1.0", "0x1", "10s", "1e3", "127.0.0.1", "::1", "-", "- a",
     "a: b", "a #b", "#a", "%X%", "*", "&a", "!a", "[a]", "{a}", "'a'", "a:", "@type", "2026-11-23",
     "a, b", "a,b", "x ", " x", "a\nb", "1:30", "<<", "=", "a/b:c", "http://a:1/b"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | TEXT | WORDS
DATA: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT | WORDS, DATA, max_size=4))
def test_any_data_survives(data: dict[str, Any]) -> None:
    assert (YAML(typ="safe", pure=True).load(to_yaml(data)) or {}) == data


def test_short_things_stand_on_one_line_and_sections_have_comments() -> None:
    text = to_yaml(
        {
            "node": {"id": "a"},
            "clusters": [
                Noted("First.", {"name": "one", "type": "STATIC"}),
                Noted("Second,\nin two lines.", {"name": "two", "ports": [1, 2]}),
            ],
        },
        "The head.",
    )
    assert text == (
        "# The head.\n"
        "node: {id: a}\n"
        "\n"
        "clusters:\n"
        "# First.\n"
        "- {name: one, type: STATIC}\n"
        "\n"
        "# Second,\n"
        "# in two lines.\n"
        "- {name: two, ports: [1, 2]}\n"
    )
