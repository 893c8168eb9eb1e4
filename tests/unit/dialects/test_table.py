"""The tables of docs/dialects.md are whole, and name tests that there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generate import DIALECTS_PAGE, ROOT, dialects_page
from tests.unit.dialects.cells import DIALECTS, Dropped, Refused, Sent, Shown
from tests.unit.dialects.features import FEATURES
from tests.unit.dialects.level import FORMATS
from tests.unit.dialects.table import FORMATS as HOW
from tests.unit.dialects.table import TABLES
from tests.unit.dialects.table_requests import REQUESTS

HERE = Path(__file__).parent
CELLS = [
    (f"{table}: {feature}", cell)
    for table, rows in TABLES.items()
    for feature, row in rows.items()
    for cell in row.values()
]


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_cell_for_each_dialect(table: str) -> None:
    for row in TABLES[table].values():
        assert sorted(row) == sorted(DIALECTS)


def test_every_feature_of_a_request_has_a_row() -> None:
    assert list(FEATURES) == list(REQUESTS)
    assert sorted(HOW) == sorted(FORMATS)


def test_nothing_is_put_off() -> None:
    page = dialects_page().lower()
    for words in ("not yet", "todo", "later", "planned", "unsupported"):
        assert words not in page


def test_a_refusal_begins_with_what_is_refused() -> None:
    for where, cell in CELLS:
        if isinstance(cell, Refused):
            assert re.match(r"[a-z_]+: .", cell.text), where
        if isinstance(cell, Sent):
            assert cell.at, where
        if isinstance(cell, Dropped):
            assert cell.names, where


def test_every_named_test_is_collected() -> None:
    named = {
        node
        for _, cell in CELLS
        if isinstance(cell, Shown)
        for node in (cell.whole, cell.streamed)
        if node is not None
    }
    files = sorted({str(HERE / node.partition("::")[0]) for node in named})
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--no-header", *files],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    prefix = HERE.relative_to(ROOT).as_posix() + "/"
    nodes = {line.removeprefix(prefix) for line in listing.splitlines() if "::" in line}
    nodes |= {node.partition("[")[0] for node in nodes}
    assert named <= nodes


def test_the_page_is_the_table() -> None:
    assert DIALECTS_PAGE.read_text() == dialects_page(), "run `make docs`"


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_shown_by_one_file(table: str) -> None:
    """The page links to it once."""
    for row in TABLES[table].values():
        nodes = [
            node
            for cell in row.values()
            if isinstance(cell, Shown)
            for node in (cell.whole, cell.streamed)
            if node is not None
        ]
        assert len({node.partition("::")[0] for node in nodes}) <= 1
