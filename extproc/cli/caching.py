"""The cache's flags of `tollgate serve` and `tollgate run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, TypeVar

import click

from extproc.cache.embedders import HTTP, MINILM, NAMES, STATIC, TOKEN, models_folder
from extproc.cache.judge import TOKEN as JUDGE_KEY
from extproc.cache.judge import Judge
from extproc.cache.settings import Caching

Command = TypeVar("Command", bound=Callable[..., Any])

_MIB: Final = 1 << 20
_DEFAULT: Final = Caching()
_FLAGS: Final = (
    click.option("--embedder", default=STATIC, show_default=True, envvar="TOLLGATE_EMBEDDER",
                 type=click.Choice(NAMES),
                 help="What makes vectors of questions, where a cache is semantic. minilm: a model "
                      "in this process; http: an endpoint."),
    click.option("--embedder-url", default=None, metavar="URL", envvar="TOLLGATE_EMBEDDER_URL",
                 help=f"The endpoint of --embedder http; the bearer token is in {TOKEN}."),
    click.option("--embedder-model", default=None, metavar="NAME",
                 envvar="TOLLGATE_EMBEDDER_MODEL", help="The model that it is asked for."),
    click.option("--vectors", default=None, metavar="URL", envvar="TOLLGATE_VECTORS",
                 help="A Postgres with pgvector that holds the vectors for all workers; by default "
                      "each holds them."),
    click.option("--cache-entries", default=_DEFAULT.entries, show_default=True, metavar="N",
                 envvar="TOLLGATE_CACHE_ENTRIES", type=click.IntRange(1, 1 << 40),
                 help="Answers kept at most."),
    click.option("--cache-mib", default=_DEFAULT.bytes // _MIB, show_default=True, metavar="MIB",
                 envvar="TOLLGATE_CACHE_MIB", type=click.IntRange(1, 1 << 30),
                 help="What they take up at most."),
)  # fmt: skip


class Flags(TypedDict):
    """What the flags say."""

    embedder: str
    embedder_url: str | None
    embedder_model: str | None
    vectors: str | None
    cache_entries: int
    cache_mib: int


def flags(command: Command) -> Command:
    """A command with the cache's flags, which come to it as `Flags`."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def caching(said: Flags, judge_url: str | None = None) -> Caching:
    """The cache that the flags mean."""
    return Caching(
        embedder=said["embedder"],
        embedder_url=said["embedder_url"],
        embedder_model=said["embedder_model"],
        vectors=said["vectors"],
        entries=said["cache_entries"],
        bytes=said["cache_mib"] * _MIB,
        judge_url=judge_url,
    )


def check(said: Caching, environ: Mapping[str, str], data: Path) -> None:
    """Whether there can be such a cache, at once and with nothing asked over a network. `data`: the
    data folder. Raises ValueError; its text says what to do."""
    url, model = said.embedder_url, said.embedder_model
    if said.embedder == HTTP:
        if url is None or model is None:
            missing = "--embedder-url" if url is None else "--embedder-model"
            raise ValueError(f"--embedder http needs {missing}")
        _check_endpoint(url, model, environ)
    elif url is not None or model is not None:
        raise ValueError("--embedder-url and --embedder-model go with --embedder http")
    if said.embedder == MINILM:
        _check_minilm(models_folder(environ, data))
    if said.vectors is not None:
        _check_vectors(said.vectors)
    if said.judge_url is not None:
        # It asks nobody before it is told to.
        Judge(said.judge_url, environ.get(JUDGE_KEY) or None, told=_Nobody())


class _Nobody:
    def failed(self, part: Literal["judge"]) -> None:
        """Is not told."""


def _check_endpoint(url: str, model: str, environ: Mapping[str, str]) -> None:
    from extproc.cache.embedders import EmbedderError, embedder  # noqa: PLC0415 - seldom needed

    try:
        embedder(HTTP, url, model, environ, Path())
    except EmbedderError as error:
        raise ValueError(f"--embedder http: {error}") from error


def _check_minilm(folder: Path) -> None:
    from extproc.cache.embedders.minilm import COMMANDS, FILE  # noqa: PLC0415 - seldom needed

    if find_spec("onnxruntime") is None:
        raise ValueError(f"--embedder minilm needs onnxruntime; run: {COMMANDS[0]}")
    if not (folder / FILE).is_file():
        commands = "\n  ".join(COMMANDS)
        raise ValueError(f"--embedder minilm: no model at {folder / FILE}; run:\n  {commands}")


def _check_vectors(url: str) -> None:
    if find_spec("asyncpg") is None:
        raise ValueError("--vectors needs asyncpg; run: pip install 'tollgate[pgvector]'")
    from extproc.cache.index import open_index  # noqa: PLC0415 - seldom needed

    try:
        open_index(url, STATIC, 1)
    except ValueError as error:
        # The URL may hold a password, and is not repeated.
        raise ValueError("--vectors must be postgresql://…") from error
