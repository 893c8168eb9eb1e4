"""`tollgate report`: what routes that only observe would have done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from extproc.cli.asking import Client, Moment, reaching
from extproc.cli.shown import cell, count, dumped, money, plain, share, table

Document = Mapping[str, Any]


WITHIN: Final = 600.0
"""Seconds for a report: the gateway reads every record of its time."""


@click.command()
@click.option("--since", type=Moment(), default="7d", show_default=True,
              help="7d, 24h, 2026-11-20 or 2026-11-20T10:00Z; at most 31 days.")  # fmt: skip
@click.option("--until", type=Moment(), help="The same. None: until now.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@reaching
def report(*, client: Client, since: str, until: str | None, as_json: bool) -> None:
    """Sum up what routes with `mode: observe` would have done, in money and requests.

    With settings that the traffic suggests, and how each was derived.
    """
    query = [("since", since)] + ([("until", until)] if until is not None else [])
    found = client.get("/report", query, holds=["requests", "suggestions"], within=WITHIN)
    click.echo(dumped(found) if as_json else told(found))


def told(found: Document) -> str:
    """A report for people."""
    seen = found["observed_requests"]
    span = f"{plain(found['since'])} to {plain(found['until'])}"
    sums = f"{count(found['requests'])} requests, {money(found['cost_usd'])}"
    parts = [
        f"{span}\n{sums}; {count(seen)} of them on routes that only observe",
        _table(
            "Would have been done",
            ["route", "capability", "outcome", "requests", "cost", "would be saved"],
            found["observed"],
            texts=3,
        ),
        _table(
            "Asked again, word for word: an exact cache would have served",
            ["route", "requests", "hits", "would be saved"],
            found["repeats"],
            texts=1,
        ),
        _table(
            "Levels that refused",
            ["target", "reasons", "tried", "refused", "share"],
            found["levels"],
            texts=2,
        ),
        _suggested(found["suggestions"]),
        "\n".join(f"- {plain(one)}" for one in found["notes"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(title: str, head: Sequence[str], found: Sequence[Document], *, texts: int) -> str:
    rows = [
        [_CELLS.get(name, cell)(one[_FIELDS.get(name, name)]) for name in head] for one in found
    ]
    return f"{title}\n\n{table(head, rows, texts)}" if rows else ""


def _reasons(found: Mapping[str, int]) -> str:
    return ", ".join(f"{plain(reason)} {count(number)}" for reason, number in found.items())


_FIELDS: Final = {"cost": "cost_usd", "would be saved": "saved_usd"}
"""By a column's title."""
_CELLS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(("requests", "hits", "tried", "refused"), count),
    **dict.fromkeys(("cost", "would be saved"), money),
    "share": share,
    "reasons": _reasons,
}


def _suggested(found: Sequence[Document]) -> str:
    if not found:
        return ""
    lines = ["Settings that the traffic suggests"]
    for one in found:
        lines += ["", f"  {plain(one['about'])}: {plain(one['value'])}"]
        # YAML of several lines: each is shown as one, whatever stands in it.
        lines += [f"    {plain(line)}" for line in str(one["setting"]).split("\n") if line]
        lines.append(f"    ({plain(one['derivation'])})")
    return "\n".join(lines)
