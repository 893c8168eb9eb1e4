"""Writes the pages of docs/ that are made from tables in the tests.

python -m tests.generate            write them
python -m tests.generate --check    exit 1 if one of them is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.unit.dialects.table import DIALECTS, TABLE, Cell, Refusal

ROOT = Path(__file__).parents[1]
DIALECTS_PAGE = ROOT / "docs" / "dialects.md"

NAMES = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini"}
HEAD = """\
# Dialects

The client speaks OpenAI chat completions. A target speaks OpenAI (or a compatible server's
version of it), Anthropic Messages or Gemini generateContent; requests, answers, streams and
errors are translated both ways, except to a target that speaks OpenAI: there every byte but
the model's name passes through.

Each cell names the test that shows the feature (in `tests/unit/dialects/`), or the refusal: a
target that cannot do what a request asks for refuses it, and the next level of the chain is
tried. What can be left out without changing the meaning (a seed, a penalty) is left out and
named in `x-tollgate-warning`.

This page is generated (`make docs`); the table stands in `tests/unit/dialects/table.py`.
"""
TESTS = "../tests/unit/dialects"


def cell(value: Cell) -> str:
    """A test as a link to its file, or a refusal in its own words."""
    if isinstance(value, Refusal):
        return f"refused: *{value.text}*"
    return f"[`{value}`]({TESTS}/{value.partition('::')[0]})"


def dialects_page() -> str:
    """The whole of docs/dialects.md."""
    titles = [f"{NAMES[name]}{mode}" for name in DIALECTS for mode in ("", ", streamed")]
    lines = [
        "| feature | " + " | ".join(titles) + " |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for feature, cells in TABLE.items():
        lines.append(f"| {feature} | " + " | ".join(map(cell, cells.values())) + " |")
    return HEAD + "\n" + "\n".join(lines) + "\n"


PAGES: dict[Path, Callable[[], str]] = {DIALECTS_PAGE: dialects_page}


def main(arguments: list[str]) -> int:
    """Write or check every page."""
    stale = []
    for path, page in PAGES.items():
        text = page()
        if arguments == ["--check"]:
            if not path.exists() or path.read_text() != text:
                stale.append(path.relative_to(ROOT).as_posix())
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"not up to date: {', '.join(stale)} (run `make docs`)\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
