"""`tollgate render` and `tollgate check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from extproc import addresses
from extproc.config import ConfigError, RenderOptions, load
from extproc.config import check as check_file
from extproc.config import render as render_gateway


@click.command()
@click.argument("gateway", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="A file: one bootstrap. A folder: files that Envoy reloads.",
)
@click.option(
    "--extproc",
    default=None,
    metavar="ADDRESS",
    help="Where the service listens: unix:PATH ({n}: worker's number) or HOST:PORT.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--listen", default=None, metavar="HOST:PORT", help="The gateway's address.")
@click.option("--admin", default=None, metavar="HOST:PORT", help="Envoy's admin address.")
@click.option("--access-log", default=None, metavar="PATH")
def render(
    *,
    gateway: Path,
    output: Path | None,
    extproc: str | None,
    workers: int,
    listen: str | None,
    admin: str | None,
    access_log: str | None,
) -> None:
    """Write the Envoy configuration for GATEWAY (a gateway.yaml)."""
    folder = output is not None and (output.is_dir() or not output.suffix)
    try:
        endpoints = addresses.of_workers(extproc, workers) if extproc else ()
        rendered = render_gateway(
            load(gateway),
            RenderOptions(
                extproc=tuple(endpoints), listen=listen, admin=admin, access_log=access_log
            ),
        )
        if output is None:
            click.echo(rendered.single(), nl=False)
        elif folder:
            rendered.write_dir(output)
        else:
            rendered.write_single(output)
    except ConfigError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        sys.exit(1)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(*, files: tuple[Path, ...]) -> None:
    """Judge each of FILES: a gateway.yaml, an Envoy bootstrap, or a rendered folder."""
    errors = 0
    for path in files:
        for finding in check_file(path):
            click.echo(str(finding), err=True)
            errors += finding.severity == "error"
    if errors:
        sys.exit(1)
    click.echo(f"{len(files)} checked, no errors")
