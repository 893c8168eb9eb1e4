"""How one counter counts: what all kinds share, buckets, and what runs at once. No clock of its own
and nothing to wait for.

All methods take the moment `now`. Windows follow the calendar and so the wall clock; everything
else a steady one. What a counter is limited to comes with each call, so that a changed limit holds
at once for what was counted before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from extproc.state.counters import Counter, Crossed, Kind, Standing

EPSILON: Final = 1e-9
"""Units by which rounding may be off."""
LEAST_WAIT: Final = 1e-6
"""Seconds: what does not fit waits for longer than nothing."""
BACKWARDS: Final = 1.0
"""Seconds that a clock may go back before a bucket begins anew from there."""
SHARES: Final = (0.95, 0.8)
"""Shares of a limit that somebody wants to know of."""


class Now(msgspec.Struct, frozen=True, gc=False):
    """One moment on both clocks, in seconds."""

    steady: float
    wall: float


Reserved = tuple[Counter, int, float]
"""What an ask holds of a counter: how much, and `Standing.at` of the take."""


class Count:
    """What is known of one counter. A new one is as if nothing had ever been used."""

    __slots__ = ("blocked", "expires", "warned", "warned_at")
    kind: ClassVar[Kind]

    def __init__(self) -> None:
        self.blocked = 0.0
        """Until then its provider takes nothing. Steady clock."""
        self.warned = 0.0
        """The share that was told of last, at `warned_at`; 0: none."""
        self.warned_at = 0.0
        self.expires = 0.0
        """From then on it may be forgotten. Steady clock; of a window, the wall's."""

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """Seconds until an amount fits: 0 if it does, negative if nobody can know."""
        raise NotImplementedError

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """Whether an amount fits into a share (0 to 1] of the counter."""
        raise NotImplementedError

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """Take it, whether or not it fits; returns how it stands then, with the wait that was
        found out before."""
        raise NotImplementedError

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """How it stands, with the wait that was found out before."""
        raise NotImplementedError

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """Put what was used in the place of what is held."""
        raise NotImplementedError

    def give_back(self, held: Reserved, now: Now) -> None:
        """Nothing was used, for nothing has run."""
        self.exchange(held, 0, now)

    def marked(self, now: Now) -> bool:
        """Whether what is guarded by it holds: only a trend can say so."""
        del now
        return False

    def crossed(self, counter: Counter, now: Now) -> Crossed | None:
        """What is to be told after an exchange that used something."""
        if not counter.warn or counter.most <= 0:
            return None
        self._tell_again(counter, now)
        used = self.standing(counter, 0.0, now).used
        told = next((share for share in SHARES if used / counter.most >= share), 0.0)
        if told <= self.warned:
            return None
        self.warned, self.warned_at = told, now.steady
        self._keep(counter)
        return Crossed(counter.key, told, used)

    def _tell_again(self, counter: Counter, now: Now) -> None:
        if now.steady - self.warned_at >= counter.period:
            self.warned = 0.0

    def _keep(self, counter: Counter) -> None:
        """Remember what was told for as long as it must not be told again."""
        self.expires = max(self.expires, self.warned_at + counter.period)

    def block(self, seconds: float, now: Now) -> None:
        """Nothing fits before that many seconds have gone."""
        self.blocked = max(self.blocked, now.steady + seconds)
        self.expires = max(self.expires, self.blocked)

    def lower(self, counter: Counter, remaining: float, now: Now) -> None:
        """No more than `remaining` units are left."""

    def over(self, now: Now) -> bool:
        """It may be forgotten."""
        return self.expires <= now.steady

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """As numbers, as if what is held had been given back. `shift`: seconds that the wall clock
        is before the steady one."""
        raise NotImplementedError

    def load(self, state: Sequence[float], shift: float) -> None:
        """The reverse. Raises ValueError."""
        raise NotImplementedError

    def _held_up(self, wait: float, now: Now) -> float:
        """A wait, with what the provider said."""
        if wait >= 0.0 and self.blocked > now.steady:
            return max(wait, self.blocked - now.steady)
        return wait


class Bucket(Count):
    """A token bucket: it holds `most` and `rate` flow back each second."""

    __slots__ = ("at", "level")
    kind: ClassVar[Kind] = "bucket"

    def __init__(self) -> None:
        super().__init__()
        self.level = math.inf
        self.at = 0.0

    def _available(self, counter: Counter, steady: float) -> float:
        if self.at > steady + BACKWARDS:
            self.at = steady
        return min(counter.most, self.level + counter.rate * max(0.0, steady - self.at))

    def _set(self, counter: Counter, level: float, steady: float) -> None:
        self.level, self.at = level, steady
        full = steady + (counter.most - level) / counter.rate if counter.rate > 0 else math.inf
        self.expires = max(full, self.blocked)
        if self.warned:
            self._keep(counter)

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """See `Count`."""
        missing = amount - self._available(counter, now.steady)
        if missing <= EPSILON:
            wait = 0.0
        else:
            wait = max(missing / counter.rate, LEAST_WAIT) if counter.rate > 0 else -1.0
        return self._held_up(wait, now) if self.blocked else wait

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """See `Count`."""
        kept = counter.most - counter.most * share
        return amount <= self._available(counter, now.steady) - kept + EPSILON

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """See `Count`."""
        level = self._available(counter, now.steady) - amount
        self._set(counter, level, now.steady)
        missing = max(0.0, counter.most - level)
        return Standing(missing, wait, missing / counter.rate if counter.rate > 0 else 0.0)

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """See `Count`."""
        missing = max(0.0, counter.most - self._available(counter, now.steady))
        return Standing(missing, wait, missing / counter.rate if counter.rate > 0 else 0.0)

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """See `Count`."""
        counter, amount, _ = held
        level = self._available(counter, now.steady) + (amount - used)
        self._set(counter, min(counter.most, level), now.steady)

    def lower(self, counter: Counter, remaining: float, now: Now) -> None:
        """See `Count`."""
        level = min(self._available(counter, now.steady), max(0.0, remaining))
        self._set(counter, level, now.steady)

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """See `Count`."""
        level = self.level
        if held:
            level = min(held[0][0].most, level + sum(amount for _, amount, _ in held))
        return (level, self.at + shift, self.warned, self.warned_at + shift)

    def load(self, state: Sequence[float], shift: float) -> None:
        """See `Count`."""
        self.level, at, self.warned, warned_at = state
        self.at, self.warned_at = at - shift, warned_at - shift


class Concurrent(Count):
    """`most` at once."""

    __slots__ = ("used",)
    kind: ClassVar[Kind] = "concurrent"

    def __init__(self) -> None:
        super().__init__()
        self.used = 0

    def _set(self, used: int) -> None:
        self.used = max(0, used)
        self.expires = math.inf if self.used else self.blocked

    def wait(self, counter: Counter, amount: int, now: Now) -> float:
        """See `Count`."""
        wait = 0.0 if self.used + amount <= counter.most + EPSILON else -1.0
        return self._held_up(wait, now) if self.blocked else wait

    def roomy(self, counter: Counter, amount: int, now: Now, share: float) -> bool:
        """See `Count`."""
        del now
        return self.used + amount <= counter.most * share + EPSILON

    def take(self, counter: Counter, amount: int, wait: float, now: Now) -> Standing:
        """See `Count`."""
        del counter, now
        self._set(self.used + amount)
        return Standing(float(self.used), wait, 0.0)

    def standing(self, counter: Counter, wait: float, now: Now) -> Standing:
        """See `Count`."""
        del counter, now
        return Standing(float(self.used), wait, 0.0)

    def exchange(self, held: Reserved, used: int, now: Now) -> None:
        """A request that has ended occupies nothing, whatever it used."""
        del used, now
        self._set(self.used - held[1])

    def crossed(self, counter: Counter, now: Now) -> Crossed | None:
        """See `Count`."""
        del counter, now
        return None

    def save(self, held: Sequence[Reserved], shift: float) -> tuple[float, ...]:
        """Nothing: what is running now is not running after a restart."""
        del held, shift
        return ()

    def load(self, state: Sequence[float], shift: float) -> None:
        """See `Count`."""
        del shift
        if state:
            raise ValueError
