"""What several workers show, as one: only the parent's port is scraped."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Final

_CHOSEN: Final[dict[str, Callable[[float, float], float]]] = {
    "tollgate_cache_bytes": max,
    "tollgate_cache_entries": max,
    "tollgate_cache_evicted_total": max,
    "tollgate_cache_expired_total": max,
    "tollgate_cache_following_behind_seconds": max,
    "tollgate_cache_forgotten_total": max,
    "tollgate_cache_halted": max,
    "tollgate_cache_index_entries": max,
    "tollgate_cache_partitions": max,
    "tollgate_event_loop_lag_seconds": max,
    "tollgate_ledger_oldest_seconds": max,
    "tollgate_limits_processes": max,
    "tollgate_target_headroom": min,
}
"""Figures of which the largest or the smallest counts; all else is added up. What each worker says
of the one store that all share would be counted several times."""
_FIRST: Final = frozenset({"target_info"})
"""Facts of which the first worker's stands for all: they differ by an instance id only."""


class _Family:
    """One metric: its `# HELP` and `# TYPE`, and its samples by name and labels as written."""

    __slots__ = ("head", "samples")

    def __init__(self) -> None:
        self.head: list[str] = []
        self.samples: dict[str, float] = {}


def merge(texts: Iterable[str]) -> bytes:
    """Add up the texts that several workers expose, sample by sample.

    Counters, histograms and requests in flight are summed; of the event loops' lags and of what
    workers know of the cache's store the largest stays, of targets' headroom the smallest. A text
    that cannot be read is left out: one sick worker does not blind the others.

    The texts are ours, so a sample is known by its line up to the value: the same series is
    written the same way by every worker. Reading them as any Prometheus text, with the client
    library's parser, takes a hundred times as long: seconds for a few thousand series.
    """
    whole: dict[str, _Family] = {}
    for text in texts:
        try:
            families = _read(text)
        except ValueError:
            continue
        for name, family in families.items():
            known = whole.setdefault(name, family)
            if known is not family and name not in _FIRST:
                _add(known.samples, family.samples, _CHOSEN.get(name, operator.add))
    lines: list[str] = []
    for family in whole.values():
        lines += family.head
        lines += [f"{key} {_number(value)}" for key, value in family.samples.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _add(
    into: dict[str, float], more: dict[str, float], both: Callable[[float, float], float]
) -> None:
    for key, value in more.items():
        before = into.get(key)
        into[key] = value if before is None else both(before, value)


def _number(value: float) -> str:
    """As the text format writes it: `repr` is exact, infinities have names of their own."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _read(text: str) -> dict[str, _Family]:
    """Families by name. Raises ValueError."""
    found: dict[str, _Family] = {}
    family: _Family | None = None
    for line in text.removesuffix("\n").split("\n") if text else ():
        if line.startswith("#"):
            _, _, name, *_ = line.split(" ", 3)
            family = found.setdefault(name, _Family())
            family.head.append(line)
        elif family is not None:
            key, _, value = line.rpartition(" ")
            family.samples[key] = float(value)
        else:
            raise ValueError(f"a sample before its family: {line!r}")
    return found
