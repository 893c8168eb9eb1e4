"""An ask as it is put to this process's own store while the shared one is away.

Every counter is cut to the share of one process. What needs a lease, what is only observed and
what hangs on a trend is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.limits.leases import leased
from extproc.state.counters import (
    Ask,
    Correction,
    Counter,
    Option,
    Outcome,
    Place,
    Standing,
    Take,
)

NOTHING: Final = Standing(0.0, 0.0, 0.0)
SKIPPED: Final = Standing(0.0, 0.0, 0.0, -1.0)
"""Of a take that was not taken, because its trend is not marked."""
Remaining = Callable[[Counter], float]


@dataclass(frozen=True, slots=True)
class Share:
    """An ask for the local store, and how it belongs to the whole one."""

    whole: Ask
    ask: Ask
    places: tuple[int, ...]
    """For each take of the whole: which one of the local ask's it is, -1 if it is none."""
    processes: int
    """Of which this is the share of one."""
    foreign: bool
    """Another process will settle it."""

    @property
    def leases(self) -> list[Take]:
        """Takes that need a lease."""
        return [take for take in self.whole.takes if leased(take)]

    @property
    def empty(self) -> bool:
        """The local store has nothing to say to it."""
        return not self.ask.takes and not self.ask.options


def share(ask: Ask, processes: int, remaining: Remaining, *, foreign: bool) -> Share:
    """One process's part of an ask. `remaining`: units of a window that may still be had."""
    takes: list[Take] = []
    places: list[int] = []
    for take in ask.takes:
        if _left_out(take) or _unheard(take, foreign=foreign):
            places.append(-1)
        else:
            places.append(len(takes))
            takes.append(_cut(take, processes, remaining))
    options = tuple(
        Option(
            one.name,
            tuple(
                _cut(take, processes, remaining)
                for take in one.takes
                if not _unheard(take, foreign=foreign)
            ),
            one.high_water,
        )
        for one in ask.options
    )
    place = None if ask.place is None else _place(ask.place, processes)
    local = Ask(ask.id, tuple(takes), options, place)
    return Share(ask, local, tuple(places), processes, foreign)


def _left_out(take: Take) -> bool:
    return take.force or take.guard >= 0 or take.counter.kind == "trend" or leased(take)


def _unheard(take: Take, *, foreign: bool) -> bool:
    """Nobody here would hear of its end."""
    return foreign and take.counter.kind == "concurrent"


def _cut(take: Take, processes: int, remaining: Remaining) -> Take:
    return msgspec.structs.replace(
        take, counter=counter_share(take.counter, take.amount, processes, remaining)
    )


def counter_share(
    counter: Counter, amount: int, processes: int, remaining: Remaining | None = None
) -> Counter:
    """A counter of one process. It holds one unit at least, and the one request that asks: else a
    request larger than a share would never get through."""
    most = max(1.0, counter.most / processes, float(amount))
    if counter.kind == "concurrent":
        most = float(int(most))
    elif counter.kind in ("window", "rolling") and remaining is not None:
        most = min(most, remaining(counter))
    return msgspec.structs.replace(
        counter, most=most, rate=counter.rate / processes, lasting=False, warn=False
    )


def _place(place: Place, processes: int) -> Place:
    def part(depth: int) -> int:
        return -(-depth // processes)

    return msgspec.structs.replace(
        place,
        depth=part(place.depth),
        class_depth=part(place.class_depth),
        tenant_depth=part(place.tenant_depth),
        feature_depth=part(place.feature_depth),
    )


def whole(of: Share, outcome: Outcome, other: Callable[[Counter], Standing]) -> Outcome:
    """The local store's outcome, in the words of the whole ask: shares are scaled up to the limits
    they are shares of. `other`: how a counter stands that the local store does not have."""
    takes = tuple(_taken(of, outcome, index, other) for index in range(len(of.whole.takes)))
    levels = outcome.levels
    if outcome.what == "granted" and outcome.option >= 0:
        levels = _levels(of, outcome)
    return msgspec.structs.replace(outcome, takes=takes, levels=levels)


def _taken(
    of: Share, outcome: Outcome, index: int, other: Callable[[Counter], Standing]
) -> Standing:
    take, place = of.whole.takes[index], of.places[index]
    if take.guard >= 0:
        return SKIPPED
    if place < 0 or place >= len(outcome.takes):
        return other(take.counter)
    return _scaled(outcome.takes[place], take.counter, of.processes, other(take.counter))


def _levels(of: Share, outcome: Outcome) -> tuple[Standing, ...]:
    cut = of.ask.options[outcome.option].takes
    found = {
        take.counter.key: standing for take, standing in zip(cut, outcome.levels, strict=False)
    }
    return tuple(
        _scaled(found[take.counter.key], take.counter, of.processes, NOTHING)
        if take.counter.key in found
        else NOTHING
        for take in of.whole.options[outcome.option].takes
    )


def _scaled(standing: Standing, counter: Counter, processes: int, seen: Standing) -> Standing:
    """What one process sees, for all. A share smaller than the amount asked for never has room
    (`wait` -1), but the limit itself has when its window is over."""
    used = min(counter.most, seen.used + standing.used * processes)
    wait, reset = standing.wait, max(standing.reset, seen.reset)
    if wait < 0 and counter.kind != "concurrent":
        wait = reset
    return Standing(used, wait, reset, standing.at)


def corrections(of: Sequence[Correction], processes: int) -> list[Correction]:
    """What a provider says of all of us, as each of us takes it."""
    return [
        Correction(
            counter_share(one.counter, 0, processes),
            None if one.remaining is None else one.remaining / processes,
            one.until,
        )
        for one in of
    ]
