"""Who hears of what the cache finds, keeps and cannot do."""

from __future__ import annotations

from typing import Literal, Protocol

Stage = Literal["exact", "embed", "search", "wait"]
Part = Literal["store", "embedder", "index", "judge"]


class Told(Protocol):
    """Nothing here raises or waits."""

    def took(self, seconds: float, stage: Stage) -> None:
        """A part of a lookup is over."""

    def failed(self, part: Part) -> None:
        """A part of the cache was away, too slow or not understood."""

    def label(self, equal: bool, audit: bool) -> None:  # noqa: FBT001 - both are what is told
        """An answer was compared with the one kept for a neighbour. `audit`: that would have been
        served."""

    def embedded(self, tokens: int) -> None:
        """An endpoint billed so many tokens."""

    def stored(self, kind: str) -> None:
        """An answer is kept."""

    def not_stored(self, reason: str) -> None:
        """An answer is not."""
