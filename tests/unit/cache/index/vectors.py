"""Vectors that lie as embeddings do: around topics, some of them close."""

from __future__ import annotations

import numpy as np

from extproc.cache import Vectors

DIM = 32


def unit(rows: Vectors) -> Vectors:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    made: Vectors = (rows / length).astype(np.float32)
    return made


def around_topics(many: int, seed: int = 0, *, dim: int = DIM, topics: int = 50) -> Vectors:
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((topics, dim), np.float32)
    return unit(
        centres[draw.integers(0, topics, many)]
        + 0.7 * draw.standard_normal((many, dim), np.float32)
    )


def close_to(rows: Vectors, seed: int = 1, noise: float = 0.3) -> Vectors:
    draw = np.random.default_rng(seed)
    return unit(rows + noise / rows.shape[1] ** 0.5 * draw.standard_normal(rows.shape, np.float32))


def by_hand(entries: dict[int, Vectors], asked: Vectors, k: int) -> list[tuple[int, float]]:
    """The nearest, by comparing with all."""
    scored = [(entry, float(np.dot(row, asked))) for entry, row in entries.items()]
    return sorted(scored, key=lambda one: -one[1])[:k]
