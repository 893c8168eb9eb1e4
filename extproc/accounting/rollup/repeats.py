"""What an exact cache would have served: requests whose like was answered a while before."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

TTL: Final = 86_400.0
"""Seconds that an answer would have been kept."""
MOST_KEPT: Final = 200_000
"""Answers in the imagined cache; about 200 bytes each. Beyond it the oldest goes, so hits are
counted too few and never too many."""


class RepeatSum(msgspec.Struct, frozen=True, kw_only=True):
    """What would have come from the cache on a route."""

    route: str
    requests: int
    """On the route that were observed and have a fingerprint."""
    hits: int
    saved: int
    """Nano-dollars: what the hits did cost."""


class Repeats:
    """Takes requests in order of their start and keeps the times at which answers were there.

    An answer is kept from the end of the request that brought it, for `TTL`; hits do not prolong
    it. A request that came while the first was still being answered is no hit.
    """

    __slots__ = ("_answers", "_most", "_sums", "evicted")

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._answers: OrderedDict[int, float] = OrderedDict()
        self._most = most
        self._sums: dict[str, list[int]] = {}
        self.evicted = 0

    def take(
        self, route: str, fingerprint: str, started: float, ended: float | None, cost: int
    ) -> bool:
        """A request; whether it would have been a hit. Times in UTC epoch seconds, `ended` None
        if no good answer came; `cost` in nano-dollars."""
        answers = self._answers
        while answers:
            oldest, kept = next(iter(answers.items()))
            if kept + TTL >= started:
                break
            del answers[oldest]
        sums = self._sums.setdefault(route, [0, 0, 0])
        sums[0] += 1
        key = hash(fingerprint)
        since = answers.get(key)
        if since is not None and since <= started <= since + TTL:
            sums[1] += 1
            sums[2] += cost
            return True
        expired = since is not None and started > since
        if ended is not None and (since is None or expired):
            answers[key] = ended
            answers.move_to_end(key)
            if len(answers) > self._most:
                answers.popitem(last=False)
                self.evicted += 1
        return False

    def sums(self) -> tuple[RepeatSum, ...]:
        """By route, most saved first."""
        found = [
            RepeatSum(route=route, requests=requests, hits=hits, saved=saved)
            for route, (requests, hits, saved) in self._sums.items()
        ]
        return tuple(sorted(found, key=lambda one: (-one.saved, -one.hits, one.route)))
