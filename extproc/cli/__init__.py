"""The `tollgate` command, one module a group."""

from __future__ import annotations

import click

from extproc import __version__
from extproc.cli.config import check, render
from extproc.cli.run import run
from extproc.cli.serve import serve
from extproc.cli.simulate import simulate


@click.group(
    context_settings={"auto_envvar_prefix": "TOLLGATE", "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="tollgate")
def main() -> None:
    """An LLM gateway for people who already run Envoy."""


for command in (run, serve, render, check, simulate):
    main.add_command(command)
