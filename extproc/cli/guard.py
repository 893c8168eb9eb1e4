"""`tollgate guard`: what would be found in a text."""

from __future__ import annotations

import asyncio
import os
import sys
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from extproc.cli.asking import Failed
from extproc.cli.shown import cell, dumped, table
from extproc.guard import Finding, GuardError, Scanner, Text
from extproc.guard.default import LEAST, DetectorPolicy
from extproc.guard.scanning import NAMES, scanner

MOST: Final = 64 * 1024 * 1024
"""Bytes of a text: more than any request has."""
PATIENCE: Final = 60.0
"""Seconds that a person waits for a model who has asked for one file."""


@click.group()
def guard() -> None:
    """Personal data and secrets."""


@guard.command("test")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--show", is_flag=True, help="The values too: they are not for everybody's eyes.")
@click.option("--least", type=click.FloatRange(0, 1), default=LEAST, show_default=True,
              help="Confidence that a finding needs.")  # fmt: skip
@click.option("--guard", "name", default="default", show_default=True, envvar="TOLLGATE_GUARD",
              type=click.Choice(NAMES), help="What it is found with.")  # fmt: skip
@click.option("--guard-url", "url", default=None, metavar="URL", envvar="TOLLGATE_GUARD_URL",
              help="The endpoint of --guard http; the bearer token is in "
                   "TOLLGATE_GUARD_TOKEN.")  # fmt: skip
@click.option("--guard-timeout", "timeout", default=PATIENCE, show_default=True,
              type=click.FloatRange(0, min_open=True),
              help="Seconds that Presidio or the endpoint has.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON lines.")
def check(
    *,
    file: Path,
    show: bool,
    least: float,
    name: str,
    url: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Show what would be found in FILE (- for standard input): type, line:column, offsets in
    characters, confidence; never the value unless told so. Ends with 1 if anything is."""
    text = _text(file)
    try:
        found = asyncio.run(_found(scanner(name, url, os.environ, timeout=timeout), text, least))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except GuardError as error:
        raise Failed(str(error)) from None
    lines = [0, *(at + 1 for at, one in enumerate(text) if one == "\n")]
    if as_json:
        for one in found:
            click.echo(dumped(_record(one, lines, text if show else None)))
    elif found:
        head = ["type", "place", "characters", "confidence", *(["value"] if show else [])]
        click.echo(table(head, (_row(one, lines, text if show else None) for one in found), 3))
    else:
        click.echo("nothing found")
    if found:
        sys.exit(1)


async def _found(made: Scanner, text: str, least: float) -> list[Finding]:
    try:
        scan = made.scan(DetectorPolicy(least=least))
        return (await scan.find([Text(text, "file")]))[0]
    finally:
        await made.close()


def _text(file: Path) -> str:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            data = opened.read(MOST + 1)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None
    if len(data) > MOST:
        raise Failed(f"{file}: more than {MOST // 1024 // 1024} MiB")
    # What is no UTF-8 counts as one character a byte.
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _place(one: Finding, lines: Sequence[int]) -> tuple[int, int]:
    """Line and column, both from 1."""
    line = bisect_right(lines, one.start)
    return line, one.start - lines[line - 1] + 1


def _row(one: Finding, lines: Sequence[int], text: str | None) -> list[str]:
    line, column = _place(one, lines)
    row = [one.type, f"{line}:{column}", f"{one.start}-{one.end}", f"{one.confidence:.2f}"]
    return row if text is None else [*row, cell(text[one.start : one.end])]


def _record(one: Finding, lines: Sequence[int], text: str | None) -> dict[str, object]:
    line, column = _place(one, lines)
    record: dict[str, object] = {
        "type": one.type,
        "line": line,
        "column": column,
        "start": one.start,
        "end": one.end,
        "confidence": round(one.confidence, 2),
    }
    if text is not None:
        record["value"] = text[one.start : one.end]
    return record
