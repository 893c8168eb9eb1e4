"""Counts of a span of time: calendar windows, and windows that roll."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar, Final

from extproc.state.counters import SLICES, Counter, Kind, Standing
from extproc.state.embedded.counting import EPSILON, LEAST_WAIT, Count, Now, Reserved

EDGE: Final = 1e-6
"""Part of a slice by which its beginning may be off."""


class Window(Count):
    """A calendar window: `most` in each."""

    __slots__ = ("start", "used")
    kind: ClassVar[Kind] = "window"

    def __init__(self) -> None:
        super().__init__()
        self.start = -math.inf
        self.used = 0

    def _turn(self, counter: Counter, now: Now) -> float:
        """Begin the window that the clock is in, if it is another; returns its end."""
        _, first, second, third = counter.params
        wall = now.wall
        index = 0 if wall < first else 1 if wall < second else 2
        start = counter.params[index]
        if self.start != start:
            self.start, self.used, self.warned = start, 0, 0.0
        return third if index == 2 else counter.params[index + 1]  # noqa: PLR2004 - the last one

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """See `Count`."""
        end = self._turn(counter, now)
        fits = self.used + amount <= counter.most + EPSILON
        wait = 0.0 if fits else max(end - now.wall, LEAST_WAIT)
        return self._held_up(wait, now) if self.blocked else wait

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """See `Count`."""
        self._turn(counter, now)
        return self.used + amount <= counter.most * share + EPSILON

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """See `Count`."""
        end = self._turn(counter, now)
        self.expires = max(self.expires, end)
        self.used += amount
        return Standing(float(self.used), wait, max(0.0, end - now.wall), self.start)

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """See `Count`."""
        end = self._turn(counter, now)
        return Standing(float(self.used), wait, max(0.0, end - now.wall), self.start)

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """See `Count`."""
        counter, amount, at = held
        end = self._turn(counter, now)
        if at == self.start:
            self.expires = max(self.expires, end)
            self.used = max(0, self.used + (used - amount))

    def lower(self, counter: Counter, remaining: float, now: Now) -> None:
        """See `Count`."""
        self.expires = max(self.expires, self._turn(counter, now))
        self.used = max(self.used, math.ceil(counter.most - max(0.0, remaining)))

    def _tell_again(self, counter: Counter, now: Now) -> None:
        """A new window tells anew; see `_turn`."""

    def _keep(self, counter: Counter) -> None:
        """It is kept until its end."""

    def block(self, seconds: float, now: Now) -> None:
        """See `Count`."""
        self.blocked = max(self.blocked, now.steady + seconds)
        self.expires = max(self.expires, now.wall + seconds)

    def over(self, now: Now) -> bool:
        """See `Count`."""
        return self.expires <= now.wall

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """See `Count`."""
        del shift
        reserved = sum(amount for _, amount, at in held if at == self.start)
        return (self.start, float(max(0, self.used - reserved)), self.warned)

    def load(self, state: Sequence[float], shift: float) -> None:
        """See `Count`."""
        del shift
        self.start, used, self.warned = state
        self.used = int(used)


class Rolling(Count):
    """`most` in any `period`, counted in slices of a sixtieth. One slice more than the period has
    is kept, so that the edge of a slice lets nothing through."""

    __slots__ = ("amounts", "indices", "length", "used")
    kind: ClassVar[Kind] = "rolling"

    def __init__(self) -> None:
        super().__init__()
        self.length = 0.0
        """Seconds of a slice."""
        self.indices: list[int] = []
        self.amounts: list[int] = []
        self.used = 0

    def _roll(self, counter: Counter, now: Now) -> int:
        """Let old slices go; returns the index of this one."""
        length = counter.period / SLICES
        if length != self.length:
            self.length, self.used = length, 0
            self.indices.clear()
            self.amounts.clear()
        index = math.floor(now.steady / length)
        while self.indices and self.indices[0] < index - SLICES:
            del self.indices[0]
            self.used -= self.amounts.pop(0)
        return index

    def _gone(self, index: int) -> float:
        """When a slice no longer counts, on the steady clock."""
        return (index + SLICES + 1) * self.length

    def _add(self, index: int, amount: int) -> None:
        place = bisect_left(self.indices, index)
        if place == len(self.indices) or self.indices[place] != index:
            self.indices.insert(place, index)
            self.amounts.insert(place, 0)
        kept = max(0, self.amounts[place] + amount)
        self.used += kept - self.amounts[place]
        self.amounts[place] = kept
        if not kept:
            del self.indices[place], self.amounts[place]
        last = self._gone(self.indices[-1]) if self.indices else 0.0
        self.expires = max(last, self.blocked)

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """See `Count`."""
        self._roll(counter, now)
        over = self.used + amount - counter.most
        wait = 0.0 if over <= EPSILON else -1.0
        if wait and amount <= counter.most:
            for index, gone in zip(self.indices, self.amounts, strict=True):
                over -= gone
                if over <= EPSILON:
                    wait = max(self._gone(index) - now.steady, LEAST_WAIT)
                    break
        return self._held_up(wait, now) if self.blocked else wait

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """See `Count`."""
        self._roll(counter, now)
        return self.used + amount <= counter.most * share + EPSILON

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """See `Count`."""
        index = self._roll(counter, now)
        self._add(index, amount)
        if self.warned:
            self._keep(counter)
        return self.standing(counter, wait, now)

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """See `Count`."""
        index = self._roll(counter, now)
        reset = max(0.0, self._gone(self.indices[-1]) - now.steady) if self.indices else 0.0
        return Standing(float(self.used), wait, reset, float(index))

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """See `Count`."""
        counter, amount, at = held
        if at >= self._roll(counter, now) - SLICES and used != amount:
            self._add(int(at), used - amount)
            if self.warned:
                self._keep(counter)

    def lower(self, counter: Counter, remaining: float, now: Now) -> None:
        """See `Count`."""
        index = self._roll(counter, now)
        missing = math.ceil(counter.most - max(0.0, remaining)) - self.used
        if missing > 0:
            self._add(index, missing)

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """What was told, the length of a slice, then each one's beginning and amount."""
        reserved: dict[int, int] = {}
        for _, amount, at in held:
            reserved[int(at)] = reserved.get(int(at), 0) + amount
        numbers = [self.warned, self.warned_at + shift, self.length]
        for index, amount in zip(self.indices, self.amounts, strict=True):
            kept = max(0, amount - reserved.get(index, 0))
            numbers += (index * self.length + shift, float(kept))
        return tuple(numbers)

    def load(self, state: Sequence[float], shift: float) -> None:
        """See `Count`."""
        self.warned, warned_at, self.length, *slices = state
        self.warned_at = warned_at - shift
        for start, amount in zip(slices[::2], slices[1::2], strict=True):
            # Clocks that went apart meanwhile let a slice begin within one: it counts as the later.
            index = math.ceil((start - shift) / self.length - EDGE)
            if self.indices and self.indices[-1] == index:
                self.amounts[-1] += int(amount)
            else:
                self.indices.append(index)
                self.amounts.append(int(amount))
        self.used = sum(self.amounts)
