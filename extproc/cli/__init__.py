"""The `tollgate` command, one module a group."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from extproc import __version__

COMMANDS: Final = {
    "run": "extproc.cli.run:run",
    "serve": "extproc.cli.serve:serve",
    "render": "extproc.cli.config:render",
    "check": "extproc.cli.config:check",
    "simulate": "extproc.cli.simulate:simulate",
    "keys": "extproc.cli.keys:keys",
    "usage": "extproc.cli.usage:usage",
    "cache": "extproc.cli.cache:cache",
    "tail": "extproc.cli.tail:tail",
    "report": "extproc.cli.report:report",
    "guard": "extproc.cli.guard:guard",
    "models": "extproc.cli.models:models",
}
"""Where each command is. One that only asks a running gateway need not wait for the modules that
run one, which take half a second to import."""


class Commands(click.Group):
    """Commands that are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order in which a person meets them."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called so."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(
    cls=Commands,
    context_settings={"auto_envvar_prefix": "TOLLGATE", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tollgate")
def main() -> None:
    """An LLM gateway for people who already run Envoy."""
