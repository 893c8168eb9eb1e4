"""What an ask takes: whether it fits, and what is held under its id."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from extproc.state.counters import Ask, Outcome, Standing, Take
from extproc.state.embedded.counting import Count, Now, Reserved
from extproc.state.embedded.counts import Counts

SKIPPED: Final = Standing(0.0, 0.0, 0.0, -1.0)
"""Of a take whose trend is not marked."""
NOTHING: Final = Standing(0.0, 0.0, 0.0)
"""Of an option that takes nothing."""

Judged = tuple[Take, Count | None, int, float]
"""Whether a take fits: its count (None: it is skipped), the amount with what is taken of the same
counter before it, and the seconds until that fits (0: it does; negative: nobody knows)."""


class Hold:
    """What is held under an id."""

    __slots__ = ("ask", "outcome", "owner", "standings")

    def __init__(self, ask: Ask, owner: str) -> None:
        self.ask = ask
        self.owner = owner
        self.standings: tuple[Standing, ...] = ()
        """As the ask's own takes were taken."""
        self.outcome: Outcome | None = None
        """None: it waits for an option."""

    def reserved(self) -> Iterator[Reserved]:
        """Each take that was not skipped."""
        yield from _reserved(self.ask.takes, self.standings)
        if self.outcome is not None and self.outcome.option >= 0:
            option = self.ask.options[self.outcome.option]
            yield from _reserved(option.takes, self.outcome.levels)


def _reserved(takes: Sequence[Take], standings: Sequence[Standing]) -> Iterator[Reserved]:
    for take, standing in zip(takes, standings, strict=True):
        if standing.at != SKIPPED.at:
            yield take.counter, take.amount, standing.at


class Book:
    """Judges takes by the counts there are."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def judge(self, takes: Sequence[Take], now: Now, before: Sequence[Judged] = ()) -> list[Judged]:
        """How long each has to wait. `before`: what is taken with them."""
        get = self._counts.get
        taken = {take.counter.key: amount for take, count, amount, _ in before if count is not None}
        judged: list[Judged] = []
        for take in takes:
            counter = take.counter
            if take.guard >= 0 and not get(takes[take.guard].counter).marked(now):
                judged.append((take, None, 0, 0.0))
                continue
            count = get(counter)
            amount = taken[counter.key] = take.amount + taken.get(counter.key, 0)
            judged.append((take, count, amount, count.wait(counter, amount, now)))
        return judged

    def choose(self, ask: Ask, now: Now, before: Sequence[Judged]) -> tuple[int, Sequence[Judged]]:
        """The first option with room below its high water, else the first with any; -1: none."""
        found: tuple[int, Sequence[Judged]] = (-1, ())
        for index, option in enumerate(ask.options):
            judged = self.judge(option.takes, now, before)
            if unfit(judged):
                continue
            share = option.high_water
            if share >= 1.0 or all(
                count is None or take.force or count.roomy(take.counter, amount, now, share)
                for take, count, amount, _ in judged
            ):
                return index, judged
            if found[0] < 0:
                found = (index, judged)
        return found

    def levels(self, ask: Ask, now: Now, before: Sequence[Judged] = ()) -> tuple[Standing, ...]:
        """Of each option the take that has to wait longest."""
        levels: list[Standing] = []
        for option in ask.options:
            judged = self.judge(option.takes, now, before)
            levels += stand([max(judged, key=length)], now) if judged else (NOTHING,)
        return tuple(levels)


def unfit(judged: Sequence[Judged]) -> list[Judged]:
    """What stands in the way."""
    return [each for each in judged if each[3] != 0.0 and not each[0].force]


def take_all(judged: Sequence[Judged], now: Now) -> tuple[Standing, ...]:
    """Take each, but for those that are skipped."""
    return tuple(
        SKIPPED if count is None else count.take(take.counter, take.amount, wait, now)
        for take, count, _, wait in judged
    )


def stand(judged: Iterable[Judged], now: Now) -> tuple[Standing, ...]:
    """How the counters of takes that were not taken stand."""
    return tuple(
        SKIPPED if count is None else count.standing(take.counter, wait, now)
        for take, count, _, wait in judged
    )


def length(judged: Judged) -> float:
    """A wait, where not to know is longer than any."""
    return math.inf if judged[3] < 0.0 else judged[3]
