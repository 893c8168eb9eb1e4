"""Figures and texts for people."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cli.shown import (
    change,
    csv_line,
    dumped,
    exact,
    money,
    pairs,
    plain,
    seconds,
    share,
    table,
)


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "-"),
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (1, "$1.00"),
        (0.0421, "$0.0421"),
        (0.01, "$0.0100"),
        (0.0012345, "$0.0012"),
        (0.000012, "$0.000012"),
        (1e-9, "$0.000000001"),
        (1.2e-8, "$0.000000012"),
        (-3.5, "-$3.50"),
        (-0.002, "-$0.0020"),
        (1e12, "$1,000,000,000,000.00"),
    ],
)
def test_money(dollars: float | None, text: str) -> None:
    assert money(dollars) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0004, "0 ms"), (0.84, "840 ms"), (1.42, "1.42 s"), (75.2, "75 s")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_exact_money() -> None:
    assert [exact(one) for one in (0, 3, 0.0042, 1.23e-7, 0.1 + 0.2, 12.345678901)] == [
        "$0",
        "$3",
        "$0.0042",
        "$0.000000123",
        "$0.3",
        "$12.345678901",
    ]


def test_shares_and_changes() -> None:
    assert (share(0.4), share(None)) == ("40.0 %", "-")
    assert (change(3, 2), change(1, 2), change(1, 0), change(0, 0)) == (
        "+50.0 %",
        "-50.0 %",
        "new",
        "0.0 %",
    )
    assert change(1, None) == "-"


def test_a_feature_that_looks_like_a_number_stays_a_text() -> None:
    assert "1e5" in table(["feature", "cost"], [["1e5", "$1"]], 1)
    assert "007" in table(["feature", "cost"], [["007", "$1"]], 1)


@given(st.text())
def test_no_text_gets_out_of_its_line(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert "\n" not in table(["a"], [[plain(text, 80)]], 1).split("\n", 2)[2]
    assert pairs([("a", shown)]).count("\n") == 0
    assert plain("abc Grüße 你好") == "abc Grüße 你好"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_cell_of_a_csv_file_is_a_formula(texts: list[str]) -> None:
    line = csv_line(["id", *texts])
    assert line.count("\n") == 1
    (cells,) = csv.reader(io.StringIO(line))
    assert len(cells) == len(texts) + 1
    for sent, got in zip(texts, cells[1:], strict=True):
        assert got.isprintable()
        assert not got.startswith(("=", "+", "-", "@"))
        if sent.isprintable():
            assert got in {sent, f"'{sent}"}


def test_json_is_ascii_and_exact() -> None:
    text = dumped({"a": Decimal("12345678901.123456789"), "b": "\x9b\u202e😀é"})
    assert text.isascii()
    assert text == '{"a":12345678901.123456789,"b":"\\u009b\\u202e\\ud83d\\ude00\\u00e9"}'
    assert json.loads(text)["b"] == "\x9b\u202e😀é"
