"""docs/catalogue.md against the tables. UPDATE_DOCS=1 writes its table anew."""

import os
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "catalogue.md"
BEGIN, END = "<!-- models: generated -->\n", "<!-- end -->\n"


def row(entry: dict[str, Any]) -> str:
    change = entry.get("next")
    note = f"from {change['from']}: {change['input']} / {change['output']}" if change else ""
    if long := entry.get("long"):
        note = f"above {long['above']:,} input: {long['input']} / {long['output']}"
    cells = [
        ", ".join(f"`{name}`" for name in entry["match"]),
        entry["input"],
        entry["output"],
        entry.get("cached_input", "as input"),
        entry.get("cache_write", "as input"),
        f"{entry['context_window']:,}",
        f"{entry['output_cap']:,}",
        str(entry["date"]),
        note,
    ]
    return "| " + " | ".join(cells) + " |"


def tables() -> str:
    text = ""
    for file in sorted((ROOT / "extproc" / "catalogue").glob("*.toml")):
        found = tomllib.loads(file.read_text("utf-8"))
        systems = ", ".join(f"`{one}`" for one in found["systems"])
        text += f"### {systems}\n\n{found['source']}\n\n"
        text += (
            "| model | input | output | cached | cache write | context | output cap | date | |\n"
        )
        text += "|---|---|---|---|---|---|---|---|---|\n"
        text += "\n".join(row(entry) for entry in found["model"]) + "\n\n"
    return text


def test_the_page_lists_every_model() -> None:
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(before + BEGIN + tables() + END + after, "utf-8")
    else:
        assert old == tables(), "docs/catalogue.md is out of date: run pytest with UPDATE_DOCS=1"
