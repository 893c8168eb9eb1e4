"""Distributions as counts of bins: they merge by adding, in any order.

The bins are those of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019) with its logarithmic
mapping: whatever is read from them is within 1 % of a value that was there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

ACCURACY: Final = 0.01
SHORTEST: Final = 1e-4
"""Seconds; what is shorter counts as this. No answer is made in less."""
LONGEST: Final = 86_400.0
"""Seconds; what is longer counts as this. With the shortest it bounds a row's bins to about a
thousand for each distribution; real ones have some dozens."""
DURATION: Final = "d"
TTFT: Final = "t"

_MAPPING: Final = LogarithmicMapping(ACCURACY)
_key = _MAPPING.key


def bin_of(sort: str, seconds: float) -> str:
    """The name of the bin that a value falls into: its sort (one letter) and its index."""
    if not SHORTEST <= seconds <= LONGEST:  # NaN too
        seconds = LONGEST if seconds > LONGEST else SHORTEST
    return f"{sort}{_key(seconds)}"


def merge(into: dict[str, int], bins: Mapping[str, int]) -> None:
    """Add counts up."""
    get = into.get
    for name, count in bins.items():
        into[name] = get(name, 0) + count


def quantiles(bins: Mapping[str, int], sort: str, wanted: Iterable[float]) -> list[float | None]:
    """Values at quantiles (0 to 1) of one sort, in seconds with three significant digits at
    least; None for each when there are none. Names that are no bins of ours are passed over."""
    store = DenseStore()
    for name, count in bins.items():
        if name[:1] == sort and count > 0:
            try:
                index = int(name[1:])
            except ValueError:
                continue
            if abs(index) <= _MOST_INDEX:
                store.add(index, count)
    sketch = BaseDDSketch(_MAPPING, store, DenseStore(), 0.0)
    return [_rounded(sketch.get_quantile_value(quantile)) for quantile in wanted]


_MOST_INDEX: Final = 1 + max(abs(_key(SHORTEST)), abs(_key(LONGEST)))


def _rounded(value: float | None) -> float | None:
    """To five significant digits, which is finer than the sketch."""
    if value is None or value == 0:
        return value
    return round(value, 4 - math.floor(math.log10(abs(value))))
