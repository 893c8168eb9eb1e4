"""Where the service's CPU goes: one arm under load with the worker in cProfile.

`python -m tests.bench.profile tollgate_openai`: the functions that take longest by themselves.
The profile makes everything two or three times slower; only the shares mean something.
"""

from __future__ import annotations

import io
import pstats
import sys
import tempfile
from pathlib import Path

import click
import uvloop

from extproc.stack import Stack, StackError
from tests.bench.arms import NAMES, build, measure
from tests.bench.gateway import running
from tests.bench.processes import Fleet, Generator, NotReadyError, many_files

STATS = "service.prof"
_NOT_IMPORTS = r"^(?!.*(importlib|<built-in method builtins.exec))"


class ProfiledStack(Stack):
    """The same with the service in cProfile; its statistics are written when it stops."""

    async def _spawn(self, name: str, *command: str, env: dict[str, str]) -> None:
        if name == "service":
            out = str(self.options.folder.resolve() / STATS)
            command = (command[0], "-m", "cProfile", "-o", out, *command[1:])
        await super()._spawn(name, *command, env=env)


async def run(name: str, seconds: float, lines: int, sort: str) -> str:
    """The table of functions."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as where:
        folder = Path(where)
        fleet = Fleet(folder)
        async with running(folder / "gateway", kind=ProfiledStack) as gateway:
            arms = await build(fleet, gateway, {name})
            generator = await Generator.start()
            figures = await measure(arms[name], generator, seconds, alone=False)
            await generator.stop()
        requests = round(figures.rps_16 * seconds)
        text = io.StringIO()
        stats = pstats.Stats(str(folder / "gateway" / STATS), stream=text)
        stats.sort_stats(sort).print_stats(_NOT_IMPORTS, lines)
        return f"{name}: about {requests} requests, {figures.failed} failed\n{text.getvalue()}"


@click.command()
@click.argument("arm", type=click.Choice([one for one in NAMES if one.startswith("tollgate_")]))
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1, 60))
@click.option("--lines", default=60, show_default=True, type=click.IntRange(1))
@click.option("--sort", default="tottime", show_default=True,
              type=click.Choice(["tottime", "cumulative", "ncalls"]))  # fmt: skip
def main(*, arm: str, seconds: float, lines: int, sort: str) -> None:
    """Profile the service while it serves ARM."""
    many_files()
    try:
        sys.stdout.write(uvloop.run(run(arm, seconds, lines, sort)))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
