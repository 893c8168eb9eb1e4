"""What is known of a partition before its first label: a model fitted to public streams, one for
each family of embedders. `tests/bench/fit_prior.py` makes the file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from extproc.cache.verifier.features import COLUMNS
from extproc.cache.verifier.logistic import Gaussian

FAMILIES: Final = ("static", "minilm")


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Coefficients, how firmly they are believed, and the probability to serve from before a
    partition has labels enough for a line of its own, at a `max_error` of 1 %."""

    gaussian: Gaussian
    fresh: float
    """An answer that one question led to, before the first refit."""
    single: float
    """The same after it."""
    several: float
    """An answer that several wordings led to."""


class _Table(Struct, frozen=True):
    columns: list[str]
    mean: list[float]
    precision: list[list[float]]
    fresh: float
    single: float
    several: float


@cache
def shipped(family: str) -> Prior | None:
    """The prior of a family of embedders; None for one that nobody measured (`http`)."""
    if family not in FAMILIES:
        return None
    raw = files(__package__).joinpath(f"prior_{family}.toml").read_bytes()
    table = msgspec.toml.decode(raw, type=_Table)
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"prior_{family}.toml is of other features; make it again")
    gaussian = Gaussian(np.array(table.mean), np.array(table.precision))
    return Prior(gaussian, table.fresh, table.single, table.several)
