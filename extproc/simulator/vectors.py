"""Embeddings that mean nothing, but are the same for the same text."""

from __future__ import annotations

import base64
import math
import random
import struct
from collections.abc import Sequence


def vector(text: str, size: int) -> list[float]:
    """A vector of length 1."""
    draw = random.Random(text).gauss
    values = [draw(0.0, 1.0) for _ in range(size)]
    length = math.sqrt(sum(one * one for one in values)) or 1.0
    return [round(one / length, 8) for one in values]


def packed(values: Sequence[float]) -> str:
    """The vector as little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def scaled(values: Sequence[float], *, signed: bool) -> list[int]:
    """The vector in bytes: -128 to 127, or 0 to 255."""
    top = max(map(abs, values), default=1.0) or 1.0
    whole = [round(one / top * 127) for one in values]
    return whole if signed else [one + 128 for one in whole]


def bits(values: Sequence[float], *, signed: bool) -> list[int]:
    """The signs of the vector, eight to a byte: -128 to 127, or 0 to 255."""
    found = []
    for n in range(0, len(values), 8):
        byte = sum((one > 0) << (7 - k) for k, one in enumerate(values[n : n + 8]))
        found.append(byte - 128 if signed else byte)
    return found
