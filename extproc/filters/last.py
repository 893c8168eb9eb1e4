"""Which target served a chain last: what the walk over its levels has come to."""

from __future__ import annotations

import time
from typing import Final

from extproc.filters.admission import Asked, Planned
from extproc.routing import OWN

FOR: Final = 30.0
"""Seconds for which a target is taken to be the one that would serve: as long as Envoy's outlier
detection keeps a host out for the first time."""
MOST: Final = 10_000


class Last:
    """By route and chain, where it is the client's own by its targets."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[tuple[str, ...], tuple[str, float]] = {}

    def served(self, asked: Asked) -> None:
        """A target has answered."""
        if asked.target is None:
            return
        if len(self._at) >= MOST:
            self._at.clear()
        self._at[_key(asked, asked.names)] = (asked.target.target, time.monotonic())

    def servable(self, asked: Asked, planned: Planned) -> frozenset[str]:
        """The targets of a plan that would serve it now: those of its first level, and the one of a
        later level that has just done so, which means that those before it did not."""
        first = {name for name, _ in planned.levels[0]}
        target, at = self._at.get(_key(asked, planned.levels), ("", 0.0))
        if target and time.monotonic() - at < FOR:
            first |= {name for level in planned.levels[1:] for name, _ in level if name == target}
        return frozenset(first)


def _key(asked: Asked, levels: tuple[tuple[tuple[str, int], ...], ...]) -> tuple[str, ...]:
    key = (asked.route.policy.route, asked.chain_name)
    if asked.chain_name != OWN:
        return key
    return (*key, *(name for level in levels for name, _ in level))
