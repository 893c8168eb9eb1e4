"""What an embedding endpoint answers, read with suspicion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_DIM: Final = 8_192
"""Numbers of a vector: twice those of the widest models on offer."""
LONGEST: Final = 65_536
"""Bytes of an answer beside its numbers."""
_MOST_TOKENS: Final = 10_000_000
"""Of one request; above, a count is taken to be wrong."""


class AnswerError(Exception):
    """It cannot be used; the text says why and holds nothing of it."""


class Row(NamedTuple):
    """Of one text."""

    vector: NDArray[np.float32]
    """Of length 1."""
    tokens: int
    """Its part of those that were counted for the request."""


class _One(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_One]
    usage: _Usage | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def rows(answer: bytes, texts: Sequence[str], dim: int) -> list[Row]:
    """A row for each of the texts that were sent. `dim`: what earlier answers had; 0: there were
    none. Raises AnswerError."""
    try:
        found = _ANSWER.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AnswerError("the answer is no list of embeddings") from None
    vectors = _in_order(found.data, len(texts))
    width = len(vectors[0])
    if not 0 < width <= MOST_DIM or any(len(one) != width for one in vectors):
        raise AnswerError("the answer's vectors have no common width")
    if dim and width != dim:
        raise AnswerError(f"the answer's vectors have {width} numbers, before they had {dim}")
    shares = _shares(_tokens(found.usage), [len(text) for text in texts])
    return [Row(*one) for one in zip(_normal(vectors), shares, strict=True)]


def _in_order(data: list[_One], count: int) -> list[list[float]]:
    if len(data) != count:
        raise AnswerError(f"the answer has {len(data)} vectors for {count} texts")
    indexes = [one.index for one in data]
    if all(index is None for index in indexes):
        return [one.embedding for one in data]
    by_index = {one.index: one.embedding for one in data}
    if set(by_index) != set(range(count)):
        raise AnswerError("the answer's vectors are not numbered as the texts are")
    return [by_index[number] for number in range(count)]


def _normal(vectors: list[list[float]]) -> NDArray[np.float32]:
    """Rows of length 1."""
    made: NDArray[Any] = np.array(vectors, np.float64)
    greatest = np.abs(made).max(axis=1, keepdims=True)
    if not np.isfinite(greatest).all() or not (greatest > 0).all():
        raise AnswerError("the answer has a vector without a direction")
    made /= greatest  # or the squares of great numbers would be infinite
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float32)


def _tokens(usage: _Usage | None) -> int:
    if usage is None:
        return 0
    counted = usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    return counted if counted is not None and 0 <= counted <= _MOST_TOKENS else 0


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` shared out by size, so that the shares add up to it."""
    whole, shares, before, seen = sum(sizes), [], 0, 0
    for size in sizes:
        seen += size
        upto = total * seen // whole
        shares.append(upto - before)
        before = upto
    return shares
