"""The door to what is counted, reserved and waited for: `LimitStore`.

A `Counter` is one count of one thing (the tokens of user u this hour). A request brings an `Ask`:
what it takes from which counters, all or nothing, and the options (levels) of which it needs any
one. What it took is held under its id until it is settled to what was really used, or given back
when its owner, the process that serves it, has not been heard of for `LEASE` seconds.

Times are seconds: the store's own clock (Redis's `TIME`; embedded, the system's for windows and the
monotonic one for the rest). Amounts are integers: requests, tokens, nano-dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

LEASE: Final = 10.0
"""Seconds without a beat after which a process counts as dead: what it held and its waiters are
given back."""
BEAT: Final = 2.0
"""Seconds between two beats."""
SLICES: Final = 60
"""Parts of a rolling window."""

Kind = Literal["bucket", "window", "rolling", "concurrent", "trend"]


class Counter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One count. Everything that is needed to keep it travels with it; the store knows no rules."""

    key: str
    """Unique among counters and bounded in length; says which rule and whose."""
    kind: Kind
    most: float
    """bucket: units it holds when full; window, rolling: units in one window; concurrent: units at
    once; trend: 0."""
    rate: float = 0.0
    """bucket: units a second that flow back."""
    period: float = 0.0
    """bucket: seconds of the limit as written (one event of each share in it); rolling: seconds."""
    params: tuple[float, ...] = ()
    """window: four boundaries, epoch seconds: the window before, this one, the next, its end; the
    store takes the one that its clock is in. trend: seconds of the fast mean, of the slow one,
    factor, floor (units a second), age (seconds) before it may speak, seconds that it stays
    marked."""
    lasting: bool = False
    """It must survive a restart (windows over a minute)."""
    warn: bool = False
    """Tell when 80 % and 95 % are used."""
    closed: bool = False
    """While the store is away only a small lease of it may be used: money, everything strict, and
    tokens over more than a minute. Other counters go on in each process with its share of them."""


class Take(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Some units of one counter."""

    counter: Counter
    amount: int
    force: bool = False
    """Counts, and never refuses: it is only observed."""
    queue: bool = False
    """If nothing but takes like this one do not fit, the request may wait."""
    guard: int = -1
    """Index of a trend among the takes: this one is taken only while that trend is marked."""


class Option(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One level (target) that could serve, with what it costs there."""

    name: str
    takes: tuple[Take, ...]
    high_water: float = 1.0
    """Share of each counter (0 to 1] up to which the option counts as having room, as long as
    another option has some."""


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where in the queue a request waits."""

    pool: str
    """Requests of one pool need the same options: none passes another of its pool that is before
    it, and a blocked pool blocks no other."""
    rank: int
    """Its class: 0 is served first."""
    weight: float
    """0: classes are strict, a lower rank goes first always. Else of all waiting classes each gets
    turns by its weight."""
    tenant: str
    feature: str
    cost: float
    """What its turn costs its tenant and feature in fairness (tokens, at least 1)."""
    ttl: float
    """Seconds it may wait."""
    depth: int
    """Requests that may wait in all; when full, one of a lower class is displaced (the youngest of
    the lowest)."""
    class_depth: int
    tenant_depth: int
    """Of one tenant in one class."""
    feature_depth: int
    """Of one feature of one tenant in one class."""
    label: str = ""
    """The class's name, for figures."""


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one request wants."""

    id: str
    takes: tuple[Take, ...]
    options: tuple[Option, ...] = ()
    """Any one of them, the first that has room. Empty: none is needed."""
    place: Place | None = None
    """None: it never waits."""
    owner: str = ""
    """The process that will settle it. Empty: this one."""


class Standing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a counter stands: after the take if it was taken, else before it."""

    used: float
    """Units; of a bucket what is missing to full. Never negative."""
    wait: float
    """Seconds until the take fits if nobody else takes meanwhile: 0 if it does, negative if nobody
    can know (concurrent)."""
    reset: float
    """Seconds until the counter is as if nothing had been used."""
    at: float = 0.0
    """Which window it was taken in: needed to settle."""


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of an ask."""

    what: Literal["granted", "denied", "waiting", "full", "expired", "displaced"]
    """denied: takes do not fit, or no option has room and there is no place to wait. full: its
    place in the queue is. expired, displaced: it waited and is out of the queue."""
    now: float = 0.0
    takes: tuple[Standing, ...] = ()
    """One for each of the ask's, in order."""
    option: int = -1
    """granted: which one; -1 if none was needed."""
    levels: tuple[Standing, ...] = ()
    """granted: one for each take of that option. Otherwise one for each option: `wait` is the
    longest of its takes."""
    position: int = 0
    """waiting: how many are before it, and itself."""
    full: Literal["", "all", "class", "tenant", "feature"] = ""


class Settled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was really used, of one ask. Settling one id twice changes nothing the second time; one
    whose reservation was given back meanwhile is charged in full."""

    id: str
    takes: tuple[Take, ...]
    """As they were reserved, those of the option at the end."""
    standings: tuple[Standing, ...]
    """As they were answered."""
    used: tuple[int, ...]
    """Units in the end, one for each take (concurrent: 0)."""
    owner: str = ""
    only_held: bool = False
    """Nothing happens if nothing is held under the id: its reservation may never have been."""


class Crossed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something happened that somebody wants to know of."""

    key: str
    """The counter's."""
    share: float
    """0.8 or 0.95: that much is used, said once a window. 0: a trend was marked."""
    used: float
    """Units; of a trend, units a second of its fast mean."""
    usual: float = 0.0
    """Of a trend: units a second of its slow mean."""


class Correction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a provider says of its own ceiling."""

    counter: Counter
    remaining: float | None = None
    """Units it will still take: the counter is set to no more than that."""
    until: float | None = None
    """Seconds for which it takes nothing."""


class LimitStore(Protocol):
    """Counters, reservations and the queue. Methods that wait raise StateError when the store is
    away; the others keep what they were told until it is back, as far as memory is set aside."""

    owner: str
    """This process, unlike any other and any before."""

    async def admit(self, ask: Ask) -> Outcome:
        """Take all of it, or wait in the queue, or nothing: in one step, seen by all."""
        ...

    async def turn(self, ask: Ask) -> Outcome:
        """Wait for an ask that is `waiting`, no longer than its time to live. Cancelled: it leaves
        the queue."""
        ...

    def leave(self, ask_id: str, owner: str = "") -> None:
        """Give everything back that is held under an id, and let it wait no longer."""
        ...

    def settle(self, settled: Settled) -> None:
        """Exchange what was reserved for what was used."""
        ...

    def correct(self, corrections: Sequence[Correction]) -> None:
        """Take a provider's word for its ceiling."""
        ...

    async def peek(self, counters: Sequence[Counter]) -> list[Standing]:
        """How counters stand."""
        ...

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """`waiting` by class of this process's waiters, `owners` alive, `held` ids, `behind`:
        settlements not yet told to the store."""
        ...

    async def start(self, notify: Callable[[Crossed], None]) -> None:
        """Begin to beat; `notify` hears of what this process's settlements crossed."""
        ...

    async def stop(self) -> None:
        """Give back what is held, save what lasts, close."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...


class Saved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lasting counter of the embedded store, as it stands in a file."""

    key: str
    kind: Kind
    state: tuple[float, ...]
    """As the store has it, with times in epoch seconds."""
    expires: float
    """Epoch seconds from which it is as if it had never been used."""
