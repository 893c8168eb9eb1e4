"""The table of docs/dialects.md says what is true: each cell's test exists, or is refused so."""

import subprocess
import sys
from pathlib import Path

import pytest

from extproc.dialects import chat
from extproc.errors import ClientError
from tests.generate import DIALECTS_PAGE, ROOT, dialects_page
from tests.unit.dialects.samples import DIALECTS, FEATURES, body
from tests.unit.dialects.table import COLUMNS, TABLE, Refusal

HERE = Path(__file__).parent
REFUSALS = [
    (feature, dialect, mode, cell.text)
    for feature, cells in TABLE.items()
    for (dialect, mode), cell in cells.items()
    if isinstance(cell, Refusal)
]


@pytest.mark.parametrize("feature", TABLE)
def test_no_cell_is_empty(feature: str) -> None:
    assert list(TABLE[feature]) == COLUMNS
    assert all(TABLE[feature].values())


def test_every_feature_of_a_request_has_a_row() -> None:
    assert set(FEATURES) <= set(TABLE)


@pytest.mark.parametrize(("feature", "dialect", "mode", "text"), REFUSALS)
def test_refused_in_these_words(feature: str, dialect: str, mode: str, text: str) -> None:
    stream = mode == "streamed"
    assert text.startswith(f"{feature}: ")
    assert DIALECTS[dialect].lacks(chat.parse(body(stream=stream, **FEATURES[feature]))) == text


@pytest.mark.parametrize(("dialect", "mode"), COLUMNS)
@pytest.mark.parametrize("feature", FEATURES)
def test_what_is_not_refused_is_carried(dialect: str, mode: str, feature: str) -> None:
    given = body(stream=mode == "streamed", **FEATURES[feature])
    refused = isinstance(TABLE[feature][dialect, mode], Refusal)
    assert (DIALECTS[dialect].lacks(chat.parse(given)) is not None) is refused
    if not refused:
        DIALECTS[dialect].request(given, "m", base_path=None, output_cap=None)


def test_every_named_test_is_collected() -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--no-header", str(HERE)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    prefix = HERE.relative_to(ROOT).as_posix() + "/"
    nodes = {line.removeprefix(prefix) for line in listing.splitlines() if "::" in line}
    nodes |= {node.partition("[")[0] for node in nodes}
    named = {cell for cells in TABLE.values() for cell in cells.values() if isinstance(cell, str)}
    assert named <= nodes


def test_the_page_is_the_table() -> None:
    assert DIALECTS_PAGE.read_text() == dialects_page(), "run `make docs`"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@pytest.mark.parametrize("feature", ["vision", "audio", "files", "custom_tools"])
def test_a_request_that_was_not_asked_about_is_refused_all_the_same(
    dialect: str, feature: str
) -> None:
    with pytest.raises(ClientError) as caught:
        DIALECTS[dialect].request(body(**FEATURES[feature]), "m", base_path=None, output_cap=None)
    refusal = TABLE[feature][dialect, "whole"]
    assert isinstance(refusal, Refusal)
    assert caught.value.message == refusal.text
