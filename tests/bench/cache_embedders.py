"""The two in-process embedders as they ship, for benchmarks and the fit of the shipped prior.

The graph of `minilm` is taken from where the gateway takes it (TOLLGATE_MODELS, else
`tollgate-data/models`); where there is none it is built into a temporary folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extproc.cache.embedders import EmbedderError, models_folder
from extproc.cache.embedders.static import StaticEmbedder

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embed:
    """Texts to rows of length 1. `id` says model and version."""

    id: str
    run: Callable[[Sequence[str]], Vectors]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        return self.run(texts)


def embedder(family: str) -> Embed:
    """`static` or `minilm`. Raises SystemExit with what to do when it cannot be had."""
    try:
        if family == "static":
            table = StaticEmbedder()
            return Embed(table.id, table.vectors)
        return _minilm()
    except (EmbedderError, ImportError) as error:
        raise SystemExit(str(error)) from error


def _minilm() -> Embed:
    from extproc.cache.embedders import building  # noqa: PLC0415 - half a second, and an extra
    from extproc.cache.embedders.minilm import FILE, MiniLM  # noqa: PLC0415 - as above

    path = models_folder(os.environ, Path("tollgate-data")) / FILE
    made = path.exists()
    model = MiniLM(path if made else building.build(None, lambda _: None).graph)
    print(f"{model.id} {f'of {path}' if made else 'built from the package'}", file=sys.stderr)
    return Embed(model.id, model.vectors)
