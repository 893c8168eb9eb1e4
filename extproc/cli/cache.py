"""`tollgate cache`: what is kept of answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from extproc.cli.asking import Client, Failed, reaching, segment, span_of
from extproc.cli.cache_import import import_
from extproc.cli.shown import cell, clock, count, dumped, exact, pairs, plain, table
from extproc.cli.writing import opened

LONGEST_LINE: Final = 128 << 20
"""Bytes of an exported entry: the longest answer, each character of which may be escaped."""
PAGE: Final = 1000
MOST_LISTED: Final = 1_000_000

Record = Mapping[str, Any]
Query = list[tuple[str, str]]
F = TypeVar("F", bound=Callable[..., Any])


class Age(click.ParamType[str]):
    """A length of time, as the gateway reads it."""

    name = "SPAN"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As given."""
        try:
            span_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value.strip()


def choosing(command: F) -> F:
    """The flags by which entries are chosen, which the command gets as `query`."""

    @click.option("--tag", "tag", metavar="TAG", help="Of entries with this tag.")
    @click.option("--route", metavar="NAME", help="Of this route.")
    @click.option("--tenant", metavar="NAME", help="Of this tenant.")
    @click.option("--model", metavar="NAME", help="Asked of this model, as clients call it.")
    @click.option("--older-than", type=Age(), help="Older than 90m, 24h, 30d.")
    @functools.wraps(command)
    def with_query(*args: Any, **flags: Any) -> Any:
        names = ("tag", "route", "tenant", "model", "older_than")
        given = {name: flags.pop(name) for name in names}
        query = [(name, value) for name, value in given.items() if value is not None]
        for name, value in query:
            if not value:
                raise click.UsageError(f"--{name.replace('_', '-')} is empty")
        return command(*args, query=query, **flags)

    return cast(F, with_query)


@click.group()
def cache() -> None:
    """Kept answers: look, invalidate, move, warm."""


@cache.command()
@click.option("--json", "as_json", is_flag=True)
@reaching
def stats(*, client: Client, as_json: bool) -> None:
    """Show how many entries there are, and what they have saved."""
    found: Record = client.get("/cache/stats", holds=["entries", "bytes", "saved_usd"])
    if as_json:
        click.echo(dumped(found))
        return
    said = []
    for name, value in found.items():
        if name == "saved_usd":
            said.append(("saved", exact(value)))
        else:
            said.append((plain(name), _size(value) if name == "bytes" else count(value)))
    click.echo(pairs(said))


@cache.command("list")
@choosing
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True,
              help="So many, or a few more.")  # fmt: skip
@click.option("--after", metavar="CURSOR", help="Where another list has ended.")
@click.option("--json", "as_json", is_flag=True, help="A list of entries as JSON.")
@reaching
def list_(*, client: Client, query: Query, limit: int, after: str | None, as_json: bool) -> None:
    """List entries, in no order. All of the flags must hold."""
    found: list[Record] = []
    following = after or ""
    while True:
        asked = [*query, ("limit", str(min(limit - len(found), PAGE)))]
        asked += [("after", following)] if following else []
        page = client.get("/cache/entries", asked, holds=["entries", "after"])
        found += page["entries"]
        following = str(page["after"])
        if not following or len(found) >= limit:
            break
    if as_json:
        click.echo(dumped(found))
    elif found:
        click.echo(table(_HEAD, map(_row, found), _TEXTS))
    word = "entry" if len(found) == 1 else "entries"
    more = f"; more with --after {plain(following)}" if following else ""
    click.echo(f"{len(found)} {word}{more}", err=True)


_HEAD: Final = ("id", "route", "model", "kind", "tags", "created", "expires", "size", "hits",
                "saved")  # fmt: skip
_TEXTS: Final = 7


def _row(one: Record) -> list[str]:
    return [
        cell(one.get("id")),
        cell(one.get("route")),
        cell(one.get("model")),
        cell(one.get("kind")),
        cell(",".join(map(str, one.get("tags") or ()))),
        clock(one.get("created")),
        clock(one.get("expires")),
        _size(one.get("size")),
        count(one.get("hits")),
        exact(one.get("saved_usd") or 0.0),
    ]


@cache.command()
@click.argument("entry", metavar="ID")
@click.option("--answer", is_flag=True, help="What it answers too: it is not for everybody's eyes.")
@click.option("--json", "as_json", is_flag=True, help="The entry as JSON.")
@reaching
def show(*, client: Client, entry: str, answer: bool, as_json: bool) -> None:
    """Show an entry, by the id in x-tollgate-cache. What was asked is kept nowhere."""
    query = [("answer", "1")] if answer else []
    found = client.get(f"/cache/entries/{segment(entry)}", query, holds=["id"])
    if as_json:
        click.echo(dumped(found))
        return
    click.echo(_described(found))
    if answer:
        lines = str(found.get("answer") or dumped(found.get("body"))).split("\n")
        click.echo("\n" + "\n".join(map(plain, lines)))


_SHOWN: Final[Mapping[str, Callable[[Any], str]]] = {
    "created": clock,
    "expires": clock,
    "saved_usd": exact,
    "cost_usd": exact,
}


def _described(found: Record) -> str:
    said = []
    for name, value in found.items():
        if value in (None, "", []) or name in ("answer", "body"):
            continue
        if name == "size":
            text = _size(value)
        elif isinstance(value, list):
            text = ", ".join(map(plain, value))
        else:
            text = _SHOWN.get(name, plain)(value)
        said.append((plain(name.removesuffix("_usd")), text))
    return pairs(said)


@cache.command()
@choosing
@click.option("--id", "entry", metavar="ID",
              help="The answer of this entry, in whatever words it is asked for.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="All there is.")
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask back (--all).")
@reaching
def invalidate(
    *,
    client: Client,
    query: Query,
    entry: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Forget entries: on every replica nobody gets one of them a second later.

    By one of --tag, --route, --tenant, --model, --older-than, --id, --all. An answer that is on its
    way from a provider meanwhile is not kept.
    """
    if len(query) + (entry is not None) + everything != 1:
        raise click.UsageError(
            "say one of --tag, --route, --tenant, --model, --older-than, --id, --all"
        )
    if dry_run:
        number = _number(client, query, entry)
        click.echo(f"would invalidate {_entries(number)}")
        return
    if everything and not yes:
        click.confirm("Forget all kept answers?", abort=True, err=True)
    if entry is not None:
        found = client.delete(f"/cache/entries/{segment(entry)}", holds=["invalidated"])
    else:
        chosen = query or [("all", "1")]
        found = client.delete("/cache/entries", chosen, holds=["invalidated"])
    click.echo(f"invalidated {_entries(found['invalidated'])}")


def _number(client: Client, query: Query, entry: str | None) -> int:
    if entry is not None:
        shown = client.get(f"/cache/entries/{segment(entry)}", holds=["answer_id"])
        query = [("answer", str(shown["answer_id"]))]
    return int(client.get("/cache/count", query, holds=["entries"])["entries"])


def _entries(number: int) -> str:
    return f"{count(number)} {'entry' if number == 1 else 'entries'}"


@cache.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@choosing
@reaching
def export(*, client: Client, file: Path, query: Query) -> None:
    """Write entries to FILE (- for standard output) as JSON lines, which `import` takes.

    They hold answers, so the file is readable by its owner only; they hold no questions, and are
    good with this gateway's key secret only.
    """
    number = 0
    with opened(file, private=True) as out:
        for line in client.lines("/cache/export", query, longest=LONGEST_LINE):
            out.write(line + b"\n")
            number += not line.startswith(b'{"export"')
    click.echo(f"exported {_entries(number)}", err=True)


cache.add_command(import_)


def _size(value: object) -> str:
    """Bytes: `312 B`, `4.2 kB`."""
    if not isinstance(value, int | float):
        raise Failed("what came is no entry")
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":  # noqa: PLR2004 - a thousand
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return cell(value)
