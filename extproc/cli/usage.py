"""`tollgate usage`: what was used, by whom, and what it did cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from extproc.cli.asking import (
    Client,
    Moment,
    Names,
    Pair,
    Where,
    reaching,
    segment,
    where_query,
)
from extproc.cli.shown import (
    cell,
    change,
    count,
    csv_text,
    dumped,
    exact,
    money,
    pairs,
    plain,
    seconds,
    share,
    table,
)

SINCE: Final = "7d"
FORMATS: Final = ("csv", "jsonl", "parquet")
MOST_TOP: Final = 10_000

Row = Mapping[str, Any]

since_option = click.option(
    "--since", type=Moment(), default=SINCE, show_default=True,
    help="7d, 24h, 90m, 2026-11-20 or 2026-11-20T10:00Z.",
)  # fmt: skip
until_option = click.option("--until", type=Moment(), help="The same. None: until now.")
where_option = click.option(
    "--where", multiple=True, type=Pair(),
    help="Only those: feature=support, model!=gpt-4o, label:env=prod; may be repeated (of one "
         "name: any of the values). No value: what has none.",
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.option("--by", type=Names(),
              help="tenant, team, tier, key, feature, user, route, model, target, provider, cache, "
                   "label:NAME, hour, day; of what the guard found: guard_type, guard_action, "
                   "guard_direction, guard_mode.")  # fmt: skip
@since_option
@until_option
@where_option
@click.option("--compare", type=click.Choice(["previous"]),
              help="Beside it the time before, equally long.")  # fmt: skip
@click.option(
    "--top", type=click.IntRange(1, MOST_TOP), help="So many, the dearest; the rest as one."
)
@click.option("--latency", is_flag=True, help="With quantiles of duration and time to first token.")
@click.option("--csv", "as_csv", is_flag=True, help="Rows as CSV.")
@click.option("--json", "as_json", is_flag=True, help="A list of rows as JSON.")
@reaching
@click.pass_context
def usage(
    ctx: click.Context,
    *,
    client: Client,
    by: str | None,
    since: str,
    until: str | None,
    where: Where,
    compare: str | None,
    top: int | None,
    latency: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Sum up what was used: tollgate usage --by feature,model --since 7d.

    Of cost and tokens, dearest first, in whole hours (by day: whole UTC days).
    """
    if ctx.invoked_subcommand is not None:
        _refuse_own(ctx)
        return
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    query = [("since", since), *where_query(where)]
    given = {"by": by, "until": until, "compare": compare, "top": top}
    query += [(name, str(value)) for name, value in given.items() if value is not None]
    if latency:
        query.append(("latency", "1"))
    found = client.get("/usage", query, holds=["by", "rows", "total"], exact=True)
    if as_json:
        click.echo(dumped(found["rows"]))
    elif as_csv:
        click.echo(csv_text(_columns(found), found["rows"]), nl=False)
    else:
        click.echo(_told(found, compare=compare is not None, latency=latency))


def _refuse_own(ctx: click.Context) -> None:
    """A flag in front of `show` or `export` that would mean nothing."""
    given = [
        name
        for name, value in ctx.params.items()
        if name not in {"admin", "token"}
        and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        and value
    ]
    if given:
        raise click.UsageError(f"flags of 'usage {ctx.invoked_subcommand}' stand behind it")


def _columns(found: Mapping[str, Any]) -> list[str]:
    seen = dict.fromkeys(found["by"])
    for row in found["rows"] or [found["total"]]:
        seen |= dict.fromkeys(row)
    return list(seen)


def _told(found: Mapping[str, Any], *, compare: bool, latency: bool) -> str:
    """For people: a table, its total and the time it is of."""
    by: Sequence[str] = found["by"]
    findings = "findings" in found["total"]
    head = [*(plain(name) for name in by), "findings" if findings else "cost", "share"]
    head += ["before", "change"] if compare else []
    head += ["requests"] if findings else [*_COUNTED]
    head += ["p50", "p95", "first token p50", "p95"] if latency else []
    rows = [
        [*(cell(row.get(name)) for name in by), *_figures(row, compare=compare, latency=latency)]
        for row in found["rows"]
    ]
    if by:
        total = {**found["total"], "cost_share": None, "findings_share": None}
        name = ["total", *[""] * (len(by) - 1)]
        rows.append([*name, *_figures(total, compare=compare, latency=latency)])
    lines = [table(head, rows, len(by)), "", f"{plain(found['since'])} to {plain(found['until'])}"]
    if found.get("rest"):
        lines[-1] += f"; {count(found['rest'])} more in (rest)"
    return "\n".join(lines)


_COUNTED: Final = ("requests", "input", "output", "saved", "cache hits", "errors")
"""Titles of figures that are not compared."""


def _figures(row: Row, *, compare: bool, latency: bool) -> list[str]:
    if "findings" in row:
        return _findings(row, compare=compare)
    found = [money(row["cost_usd"]), share(row.get("cost_share"))]
    if compare:
        before = row.get("previous_cost_usd")
        found += [money(before), change(row["cost_usd"], before)]
    found += [count(row[name]) for name in ("requests", "input_tokens", "output_tokens")]
    found += [money(row["saved_usd"]), count(row["cache_hits"]), count(row["errors"])]
    if latency:
        names = ("duration_p50", "duration_p95", "ttft_p50", "ttft_p95")
        found += [seconds(row.get(name)) for name in names]
    return found


def _findings(row: Row, *, compare: bool) -> list[str]:
    """Figures of what the guard found."""
    found = [count(row["findings"]), share(row.get("findings_share"))]
    if compare:
        before = row.get("previous_findings")
        found += [count(before), change(row["findings"], before)]
    return [*found, count(row["requests"])]


# --- one request --------------------------------------------------------------------------


@usage.command()
@click.argument("request_id")
@click.option("--json", "as_json", is_flag=True, help="The story as JSON.")
@reaching
def show(*, client: Client, request_id: str, as_json: bool) -> None:
    """Tell the whole story of a request, by its x-tollgate-request-id."""
    found = client.get(f"/usage/requests/{segment(request_id)}", holds=["id"])
    click.echo(dumped(found) if as_json else story(found))


def story(found: Mapping[str, Any]) -> str:
    """A request's story for people."""
    first = ("id", "started", "outcome", "status", "error_type", "cache")
    parts = [pairs((name, plain(found[name])) for name in first if found.get(name) is not None)]
    parts += [_section(name, found.get(name)) for name in ("who", "asked", "answered")]
    if found.get("cached"):
        parts.append(_section("cached", found["cached"]))
    parts.append(_section("tokens", found.get("tokens")))
    cost = found.get("cost")
    if cost is not None:
        amounts = {"total": cost["total_usd"]} | {
            part.removesuffix("_usd"): amount for part, amount in cost["parts"].items() if amount
        }
        parts.append(_section("cost", {name: exact(one) for name, one in amounts.items()}))
    if found.get("saved_usd"):
        parts.append(f"saved\n  {exact(found['saved_usd'])}")
    parts.append(_listed("levels", [_level(one) for one in found.get("levels", ())]))
    timeline = [(f"{one['at']:.3f} s", plain(one["what"])) for one in found.get("timeline", ())]
    parts.append(_listed("timeline", [f"{at:>10}  {what}" for at, what in timeline]))
    parts.append(_listed("observed", [_observed(one) for one in found.get("observed", ())]))
    parts.append(_listed("guard", [_guarded(one) for one in found.get("guard", ())]))
    content = found.get("content")
    if content:
        parts += [f"{plain(name)}\n  {plain(text)}" for name, text in content.items()]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, found: Mapping[str, Any] | None) -> str:
    # A count of none says no more than its absence.
    known = {name: one for name, one in (found or {}).items() if one or one is False}
    if not known:
        return f"{title}\n  unknown" if found is None else ""
    lines = pairs((plain(name), _value(one)) for name, one in known.items()).splitlines()
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _value(one: Any) -> str:
    if isinstance(one, Mapping):
        return ", ".join(f"{plain(name)}={plain(value)}" for name, value in one.items())
    if isinstance(one, bool):
        return "yes" if one else "no"
    return plain(one)


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _level(one: Mapping[str, Any]) -> str:
    reason = f" ({plain(one['reason'])})" if one.get("reason") else ""
    return f"{plain(one['target'])}: {plain(one['outcome'])}{reason}"


def _observed(one: Mapping[str, Any]) -> str:
    detail = f": {plain(one['detail'])}" if one.get("detail") else ""
    return f"{plain(one['capability'])} {plain(one['outcome'])}{detail}, {exact(one['saved_usd'])}"


def _guarded(one: Mapping[str, Any]) -> str:
    would = "would " if one.get("observed") else ""
    done = f"{would}{plain(one['action'])} in the {plain(one['direction'])}"
    return f"{plain(one['type'])} {count(one['count'])}: {done}"


# --- records ------------------------------------------------------------------------------


@usage.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default=None,
              help="None: by the end of FILE's name, else csv.")  # fmt: skip
@since_option
@until_option
@where_option
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="A file. None: standard output (not for parquet).")  # fmt: skip
@reaching
def export(
    *,
    client: Client,
    form: str | None,
    since: str,
    until: str | None,
    where: Where,
    output: Path | None,
) -> None:
    """Write one record a request, oldest first."""
    from extproc.cli.export import write  # noqa: PLC0415 - its types take a while to load

    if form is None:
        end = "" if output is None else output.suffix.removeprefix(".")
        form = end if end in FORMATS else FORMATS[0]
    if form == "parquet" and (output is None or str(output) == "-"):
        raise click.UsageError("parquet needs a file: -o FILE")
    query = [("since", since), *where_query(where)]
    query += [("until", until)] if until is not None else []
    number = write(form, client.lines("/usage/records", query), output)
    click.echo(f"exported {count(number)} requests", err=True)
