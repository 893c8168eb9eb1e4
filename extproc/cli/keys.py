"""`tollgate keys`: the keys that callers show."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from extproc.cli.asking import SPAN, Client, Pair, reaching, segment, span_of
from extproc.cli.shown import cell, clock, dumped, pairs, plain, table
from extproc.cli.writing import opened
from extproc.identity.keys import PREFIX, parse

DAY: Final = 86_400.0
MOST_IMPORTED: Final = 64 * 1024 * 1024
"""Bytes of a file of keys that the gateway takes."""

MADE: Final = ("key", "id")
"""What an answer with a new key holds."""

Record = Mapping[str, Any]


class KeyId(click.ParamType[str]):
    """A key's id. A key that somebody has found may stand there itself: only its id is sent."""

    name = "ID"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id."""
        if not value.startswith(PREFIX):
            return value
        found = parse(value)
        if found is None:
            self.fail("is neither an id nor a whole key", param, ctx)
        return found.id


as_json = click.option("--json", "as_json", is_flag=True, help="The record as JSON.")
key_id = click.argument("key_id", metavar="ID", type=KeyId())


@click.group()
def keys() -> None:
    """Keys that callers show: make, list, rotate, revoke, move."""


@keys.command()
@click.option("--name", help="What people call it.")
@click.option("--tenant")
@click.option("--team")
@click.option("--user")
@click.option("--tier")
@click.option("--model", "models", multiple=True, metavar="NAME",
              help="A model that it may ask for; may be repeated. None: what the route "
                   "allows.")  # fmt: skip
@click.option("--route", "routes", multiple=True, metavar="NAME",
              help="A route that it may take; may be repeated. None: every route.")  # fmt: skip
@click.option("--expires", metavar="SPAN|DATE",
              help="30d from now, or 2027-01-01. None: never.")  # fmt: skip
@click.option("--limit", "limits", multiple=True, type=Pair(),
              help="A limit of its own: input_tokens=100000/h, priority=low; may be "
                   "repeated.")  # fmt: skip
@click.option("--label", "labels", multiple=True, type=Pair(),
              help="On each of its requests; may be repeated.")  # fmt: skip
@click.option("--may-set", multiple=True, metavar="FIELD",
              help="What its requests may say of themselves: user, feature, team, session, "
                   "priority, labels, label-NAME; may be repeated. None given: feature, session "
                   "and labels.")  # fmt: skip
@click.option("--nothing-set", is_flag=True, help="Its requests may say nothing of themselves.")
@as_json
@reaching
def create(
    *,
    client: Client,
    models: tuple[str, ...],
    routes: tuple[str, ...],
    expires: str | None,
    limits: tuple[tuple[str, str], ...],
    labels: tuple[tuple[str, str], ...],
    may_set: tuple[str, ...],
    nothing_set: bool,
    as_json: bool,
    **who: str | None,
) -> None:
    """Make a key and print it, this once."""
    if nothing_set and may_set:
        raise click.UsageError("--nothing-set and --may-set exclude each other")
    body: dict[str, Any] = {name: value for name, value in who.items() if value is not None}
    lists = {"models": list(models), "routes": list(routes)}
    body |= {name: values for name, values in lists.items() if values}
    body |= _limits(limits) | _map("labels", labels) | _expiry(expires)
    if may_set or nothing_set:
        body["may_set"] = list(may_set)
    _hand_out(client.post("/keys", body, holds=MADE), as_json=as_json)


@keys.command("list")
@click.option("--tenant")
@click.option("--team")
@click.option("--user")
@click.option("--json", "as_json", is_flag=True, help="A list of records as JSON.")
@reaching
def list_(*, client: Client, as_json: bool, **who: str | None) -> None:
    """List the keys; a key itself cannot be shown again."""
    query = [(name, value) for name, value in who.items() if value is not None]
    found: Sequence[Record] = client.get("/keys", query, holds=["keys"])["keys"]
    if as_json:
        click.echo(dumped(found))
        return
    columns = ("id", "name", "tenant", "team", "user", "tier")
    rows = [
        [
            *(cell(one.get(name)) for name in columns),
            cell(one.get("status")),
            clock(one.get("created")),
            clock(one.get("expires")),
        ]
        for one in found
    ]
    if rows:
        head = [*columns, "status", "created", "expires"]
        click.echo(table(head, rows, len(head)))
    click.echo(f"{len(rows)} {'key' if len(rows) == 1 else 'keys'}", err=True)


@keys.command()
@key_id
@as_json
@reaching
def show(*, client: Client, key_id: str, as_json: bool) -> None:
    """Show what is known of a key."""
    found: Record = client.get(f"/keys/{segment(key_id)}", holds=["id"])
    click.echo(dumped(found) if as_json else described(found))


@keys.command()
@key_id
@click.option("--overlap", type=SPAN, default="0s", show_default="none",
              help="How long the old key is good beside the new one: 24h.")  # fmt: skip
@as_json
@reaching
def rotate(*, client: Client, key_id: str, overlap: float, as_json: bool) -> None:
    """Give the caller of a key a new one and print it, this once."""
    found = client.post(f"/keys/{segment(key_id)}/rotate", {"overlap": overlap}, holds=MADE)
    _hand_out(found, as_json=as_json)


@keys.command()
@key_id
@as_json
@reaching
def revoke(*, client: Client, key_id: str, as_json: bool) -> None:
    """Make a key worthless, everywhere within a second and for good."""
    found: Record = client.post(f"/keys/{segment(key_id)}/revoke", {}, holds=["id"])
    if as_json:
        click.echo(dumped(found))
    else:
        click.echo(f"revoked {plain(found.get('id'))}", err=True)


@keys.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="What was made as JSON.")
@reaching
def import_(*, client: Client, file: Any, as_json: bool) -> None:
    """Take over the keys of FILE (JSON lines; - for standard input): all of them or none.

    For a line that brings no digests a key is made, and printed behind its id, this once.
    """
    body = file.read(MOST_IMPORTED + 1)
    if len(body) > MOST_IMPORTED:
        raise click.ClickException(f"the file is longer than {MOST_IMPORTED >> 20} MiB")
    found = client.send("/keys/import", body, "application/x-ndjson", holds=["imported", "keys"])
    if as_json:
        click.echo(dumped(found))
    else:
        for one in found["keys"]:
            if one.get("key"):
                click.echo(f"{plain(one['id'])} {plain(one['key'])}")
        click.echo(f"imported {found['imported']}", err=True)


@keys.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="A file, readable by its owner only. None: standard output.")  # fmt: skip
@reaching
def export(*, client: Client, output: Path | None) -> None:
    """Write all keys as JSON lines: their digests, never the keys. `import` takes them.

    The digests are good with this gateway's key secret only.
    """
    number = 0
    with opened(output, private=True) as out:
        for line in client.lines("/keys/export"):
            out.write(line + b"\n")
            number += 1
    click.echo(f"exported {number}", err=True)


def described(found: Record) -> str:
    """A key, one fact a line."""
    known = {name: value for name, value in found.items() if value not in (None, "", [], {})}
    lines = []
    for name, value in known.items():
        if name in {"created", "expires", "revoked", "old_until"}:
            shown = clock(value)
        elif isinstance(value, Mapping):
            shown = ", ".join(f"{plain(one)}={plain(what)}" for one, what in value.items())
        elif isinstance(value, list):
            shown = ", ".join(plain(one) for one in value)
        else:
            shown = plain(value)
        lines.append((plain(name), shown))
    return pairs(lines)


def _hand_out(found: Record, *, as_json: bool) -> None:
    """The key alone on standard output, so that `KEY=$(tollgate keys create)` is the key."""
    if as_json:
        click.echo(dumped(found))
        return
    click.echo(plain(found["key"]))
    click.echo(described({name: value for name, value in found.items() if name != "key"}), err=True)
    if sys.stdout.isatty():
        click.echo("The key is not shown again.", err=True)


def _map(name: str, given: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    found = dict(given)
    if len(found) != len(given):
        raise click.UsageError(f"--{name.removesuffix('s')} names something twice")
    return {name: found} if found else {}


def _limits(given: Sequence[tuple[str, str]]) -> dict[str, dict[str, str | list[str]]]:
    """A measure that is named twice has two limits."""
    found: dict[str, list[str]] = {}
    for name, value in given:
        found.setdefault(name, []).append(value)
    limits = {name: one[0] if len(one) == 1 else one for name, one in found.items()}
    return {"limits": limits} if limits else {}


def _expiry(expires: str | None) -> dict[str, float | str]:
    if expires is None:
        return {}
    try:
        return {"expires_in": span_of(expires)}
    except ValueError:
        pass
    try:
        datetime.fromisoformat(expires)
    except ValueError:
        raise click.BadParameter(
            "must be a span such as 30d, or a date such as 2027-01-01", param_hint="'--expires'"
        ) from None
    return {"expires_at": expires}
