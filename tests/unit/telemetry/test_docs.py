"""docs/metrics.md against the names in code. UPDATE_DOCS=1 writes the table anew."""

import os
from pathlib import Path

from extproc.telemetry import names

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics: generated -->\n", "<!-- end -->\n"


def table() -> str:
    rows = ["| metric | on `/metrics` | kind | labels | what |", "|---|---|---|---|---|"]
    for metric in names.ALL:
        shown = metric.name.replace(".", "_")
        suffix = {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
        shown += "" if shown.endswith(suffix) else suffix
        shown += {"counter": "_total", "histogram": "_{bucket,sum,count}"}.get(
            metric.kind.value, ""
        )
        labels = ", ".join(f"`{one.replace('.', '_')}`" for one in metric.attributes) or "-"
        cells = (f"`{metric.name}`", f"`{shown}`", metric.kind.value, labels, metric.description)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def test_the_page_lists_every_metric() -> None:
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(before + BEGIN + table() + END + after, "utf-8")
    else:
        assert old == table(), "docs/metrics.md is out of date: run pytest with UPDATE_DOCS=1"
