"""docs/catalogue.md against the tables. UPDATE_DOCS=1 writes its table anew."""

import os
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "catalogue.md"
BEGIN, END = "<!-- models: generated -->\n", "<!-- end -->\n"


def notes(entry: dict[str, Any]) -> str:
    found = []
    if long := entry.get("long"):
        found.append(f"above {long['above']:,} input: {long['input']} / {long['output']}")
    if change := entry.get("next"):
        found.append(f"from {change['from']}: {change['input']} / {change['output']}")
    if hour := entry.get("cache_write_1h"):
        found.append(f"cached for an hour: {hour}")
    if heard := entry.get("audio_input"):
        spoken = entry.get("audio_output")
        found.append(f"audio: {heard} / {spoken}" if spoken else f"audio: {heard}")
    return "; ".join(found)


def figure(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def row(entry: dict[str, Any]) -> str:
    cells = [
        ", ".join(f"`{name}`" for name in entry["match"]),
        entry["input"],
        entry["output"],
        entry.get("cached_input", "as input"),
        entry.get("cache_write", "as input"),
        figure(entry.get("context_window")),
        figure(entry.get("output_cap")),
        str(entry["date"]),
        notes(entry),
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
