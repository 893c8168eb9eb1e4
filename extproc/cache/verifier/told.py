"""What one worker tells the others of a partition that they share: a label, and what happened
there since its last one."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import Struct

from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.logistic import Floats

_LARGEST = 1e3
MOST_SERVED = 50
"""Rows of served requests that wait for the next label, at most; what is beyond them is lost."""


class Resumption(Struct, frozen=True):
    """The model that serving was resumed with."""

    coefficients: list[float]
    line: float | None


class Told(Struct, frozen=True, array_like=True):
    """One label. `number` counts what `source`, an instance of a partition, has told; `requests`
    and `would` are its lookups since the one before, and those of them that its rule would have
    served; `served` rows of features of those that were (one in `labels.THINNED`)."""

    source: bytes
    number: int
    epoch: int
    width: int = WIDTH
    features: bytes = b""
    """Float32, little-endian; none when nothing was learned of the features."""
    right: bool = False
    counted: bool = False
    """The rule would not have served it: it speaks for the rate of repeats."""
    allowed: float | None = None
    """For an audit: the share of wrong answers among the served that keeps the promise."""
    requests: int = 0
    would: int = 0
    served: list[bytes] = []
    same: list[int] = []
    """Answers that turned out to be one."""
    resumed: Resumption | None = None

    def encoded(self) -> bytes:
        """For `told`."""
        return msgspec.msgpack.encode(self)


def told(raw: bytes) -> Told:
    """Reads it. Raises ValueError for what is none."""
    try:
        one = msgspec.msgpack.decode(raw, type=Told)
    except msgspec.MsgspecError as error:
        raise ValueError("not the label of a partition") from error
    by = one.resumed.coefficients if one.resumed else ()
    counts = (one.number, one.epoch, one.requests, one.would)
    if min(counts) < 0 or len(one.served) > MOST_SERVED or not plausible(np.array(by)):
        raise ValueError("not the label of a partition")
    return one


def plausible(numbers: Floats) -> bool:
    """Features and coefficients as there can be: finite, and of a size that squares well."""
    return bool((np.abs(numbers) <= _LARGEST).all())  # false for NaN


def packed(features: Floats) -> bytes:
    """A row of features."""
    return features.astype("<f4").tobytes()


def unpacked(raw: bytes) -> Floats:
    """What `packed` gave. Raises ValueError when it is not of this width."""
    row = np.frombuffer(raw, "<f4").astype(np.float64)
    if row.shape != (WIDTH,):
        raise ValueError(f"{row.size} features, not {WIDTH}")
    if not plausible(row):
        raise ValueError("features that cannot be")
    return row
