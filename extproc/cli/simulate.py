"""`tollgate simulate`: providers to develop and test against."""

from __future__ import annotations

from pathlib import Path

import click

from extproc import simulator


@click.command()
@click.argument("ports", nargs=-1, metavar="[NAME=PORT[:DIALECT[:keyless]]]...")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--config", type=click.Path(path_type=Path, exists=True), default=None,
              help="JSON: a script for each name.")  # fmt: skip
@click.option("--replay", type=click.Path(path_type=Path, exists=True), default=None,
              help="A folder of recorded exchanges to answer from.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the usage figures.")
def simulate(
    *, ports: tuple[str, ...], host: str, config: Path | None, replay: Path | None, seed: int
) -> None:
    """Speak every provider's format on each of PORTS (default: four from 9910)."""
    try:
        wanted = [simulator.parse_port(one) for one in ports] or [
            simulator.port_of(name, number) for name, number in simulator.DEFAULT_PORTS.items()
        ]
        click.echo("".join(f"{one.name}  http://{host}:{one.number}\n" for one in wanted), nl=False)
        simulator.run(
            {one.name: one for one in wanted}, host=host, config=config, replay=replay, seed=seed
        )
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
