"""Embeddings, input by input: which are asked for again, what is kept of an answer, and an answer
made of what was kept and what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc import strict_json


class Vector(Struct, frozen=True):
    """What is kept of one input."""

    embedding: Raw
    """JSON, as the provider gave it: numbers or base64."""
    model: str = ""
    tokens: int = 0
    """Its share of the tokens of the request that it came with."""

    def entry(self) -> bytes:
        """As it is kept."""
        return msgspec.json.encode(self)


def vector(entry: bytes) -> Vector | None:
    """What was kept. None: it cannot be read."""
    try:
        return _VECTOR.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def inputs(given: object) -> list[Any]:
    """The inputs of a request, in the order of the keys in `Asked.items`. A list of numbers is one
    input, as tokens."""
    if isinstance(given, list) and not any(isinstance(one, int) for one in given):
        return given
    return [given]


def missing(body: bytes, given: object, at: Sequence[int]) -> bytes:
    """A body that asks for these inputs alone, by their places."""
    every = inputs(given)
    return strict_json.splice(body, {"input": [every[number] for number in at]})


def vectors(answer: bytes, given: object) -> list[Vector] | None:
    """What there is to be kept of an answer, one for each of the inputs it was asked for. None: it
    is not a whole answer to them."""
    every = inputs(given)
    try:
        found = _ANSWER.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    by_index = {one.index: one.embedding for one in found.data}
    if sorted(by_index) != list(range(len(every))) or len(found.data) != len(every):
        return None
    shares = _shares(found.usage.prompt_tokens, [_size(one) for one in every])
    return [Vector(by_index[number], found.model, share) for number, share in enumerate(shares)]


def joined(found: Sequence[Vector]) -> bytes:
    """The answer that these vectors are, with usage as it was when each came."""
    tokens = sum(one.tokens for one in found)
    data = [
        {"object": "embedding", "index": index, "embedding": one.embedding}
        for index, one in enumerate(found)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = found[0].model if found else ""
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def _size(given: object) -> int:
    """Nearly in proportion to an input's tokens, whatever their number: bytes of a text, four for a
    token."""
    if isinstance(given, str):
        return max(1, len(given.encode("utf-8", "surrogatepass")))
    return 4 * len(given) if isinstance(given, list) else 1


def _shares(total: int, sizes: list[int]) -> list[int]:
    """`total` shared out by size, so that the shares add up to it."""
    whole, shares, before, seen = sum(sizes), [], 0, 0
    for size in sizes:
        seen += size
        upto = total * seen // whole
        shares.append(upto - before)
        before = upto
    return shares


class _One(Struct):
    embedding: Raw
    index: int


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0


class _Answer(Struct):
    data: list[_One]
    model: str = ""
    usage: _Usage = _Usage()


_VECTOR: Final = msgspec.json.Decoder(Vector)
_ANSWER: Final = msgspec.json.Decoder(_Answer)
