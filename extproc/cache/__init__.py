"""The cache: exact and semantic. Here are its doors: what an embedder and an index hand over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # who never looks semantically need not load it
    import numpy as np
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[np.float32]"


class CacheAway(Exception):  # noqa: N818 - a state of the world
    """A part of the cache does not answer: the request is a miss."""


class Embedder(Protocol):
    """Texts to vectors. Vectors of two embedders are never compared: `id` says model, version and
    width."""

    @property
    def id(self) -> str:
        """Of the model, its version and the width of its vectors."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text. Raises CacheAway."""


class Neighbour(NamedTuple):
    """A stored entry near a question. `score` is the cosine; entries whose answers are the same
    share `answer`."""

    entry: int
    score: float
    answer: int
