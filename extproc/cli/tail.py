"""`tollgate tail`: requests as they finish."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from extproc.cli.asking import SILENT, Client, Failed, Pair, Where, reaching, where_query
from extproc.cli.shown import NANO, cell, clock, count, dumped, money, plain, seconds

Record = Mapping[str, Any]
_GOOD: Final = 400
_TYPES: Final = 3
"""Types of findings that a line names."""
_TYPE: Final = 32
"""Characters of each."""


@click.command()
@click.option("--where", multiple=True, type=Pair(),
              help="Only those: feature=support, model!=gpt-4o, label:env=prod; may be repeated. "
                   "No value: what has none.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Records as JSON lines.")
@reaching
def tail(*, client: Client, where: Where, as_json: bool) -> None:
    """Show requests as they finish, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        for line in client.lines("/tail", where_query(where), within=SILENT):
            _show(line, as_json=as_json)
        raise Failed("the gateway has stopped")


def _show(line: bytes, *, as_json: bool) -> None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Failed("what came is no record") from None
    if not isinstance(found, dict):
        raise Failed("what came is no record")
    if "error" in found:
        raise Failed(str(found["error"]["message"]))
    if "lost" in found:
        click.echo(f"missed {count(found['lost'])} requests: they came too fast", err=True)
    else:
        click.echo(dumped(found) if as_json else told(found))


def told(record: Record) -> str:
    """A record in one line."""
    usage, cost = record.get("usage") or {}, record.get("cost")
    error = record.get("error_type")
    good = record.get("status", 200) < _GOOD and error is None
    parts = [
        clock(record.get("started"))[11:],
        click.style(plain(record.get("status", 200)), fg="green" if good else "red"),
        f"{cell(record.get('route')):<12}",
        f"{_who(record):<20}",
        f"{cell(record.get('request_model'))} > {cell(record.get('target'))}",
        f"{count(usage.get('input'))}+{count(usage.get('output'))} tokens",
        money(None if cost is None else cost["total"] / NANO),
        seconds(record.get("duration")),
    ]
    if record.get("kind") == "shadow":
        parts.append("shadow")
    if record.get("cache", "bypass") != "bypass":
        parts.append(_cached(record))
    if record.get("guard"):
        parts.append(_found(record["guard"]))
    if record.get("aborted"):
        parts.append("aborted")
    if error is not None:
        parts.append(plain(error))
    return "  ".join([*parts, plain(record.get("id"))])


def _cached(record: Record) -> str:
    """What the cache did: `cache semantic 0.973, saved $0.0120`."""
    score, saved = record.get("cache_score"), record.get("saved")
    like = "" if score is None else f" {score:.3f}"
    less = f", saved {money(saved / NANO)}" if saved else ""
    return f"cache {plain(record['cache'])}{like}{less}"


def _found(counts: Sequence[Mapping[str, Any]]) -> str:
    """What the guard found: `guard EMAIL_ADDRESS 2, PERSON 1`."""
    sums: dict[str, int] = {}
    for one in counts:
        sums[one["type"]] = sums.get(one["type"], 0) + one["count"]
    shown = [f"{plain(type_, _TYPE)} {count(number)}" for type_, number in sums.items()]
    more = f", {len(shown) - _TYPES} more" if len(shown) > _TYPES else ""
    word = "would guard" if all(one.get("observed") for one in counts) else "guard"
    return f"{word} {', '.join(shown[:_TYPES])}{more}"


def _who(record: Record) -> str:
    said = record.get("attribution") or {}
    names = [record.get("tenant"), said.get("team"), said.get("user"), said.get("feature")]
    return "/".join(plain(one, 24) for one in names if one) or "-"
