"""In which order requests wait: by class, within it fairly between tenants, within a tenant fairly
between features, and first come first served below that.

Fairness is start-time fair queueing (Goyal, Vin and Cheng, 1996): each flow has a tag, the smallest
is served, and is raised by what the turn cost. A flow that comes back after a while starts where
its siblings are now, so that nobody saves turns up by staying away. Only the order is kept here;
whether a turn can be given is asked of the caller.
"""

from __future__ import annotations

from asyncio import Future
from bisect import bisect_left, insort
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Literal

from extproc.state.counters import Ask, Outcome, Place

REMEMBERED: Final = 4096
"""Idle flows of one parent whose tags are remembered while others of it wait. Beyond it those that
are nearest to the others are forgotten; what one gains by it is less than a turn."""
FEW: Final = 64
"""What is left over from the past is not looked through for fewer."""

Lane = tuple[str, frozenset[str]]
"""Waiters that are blocked by the same: their pool, and the counters they have yet to take from."""


class Waiter:
    """A request that waits, or did: then it has an `outcome`."""

    __slots__ = ("ask", "deadline", "future", "holds", "lane", "outcome", "owner", "place", "seq")

    def __init__(
        self, ask: Ask, place: Place, owner: str, *, seq: int, deadline: float, holds: bool
    ) -> None:
        self.ask = ask
        self.place = place
        self.owner = owner
        self.seq = seq
        """Who came first has the smaller one."""
        self.deadline = deadline
        self.holds = holds
        """It has its own takes and waits for an option only."""
        needs = () if holds else (take.counter.key for take in ask.takes if not take.force)
        self.lane: Lane = (place.pool, frozenset(needs))
        self.outcome: Outcome | None = None
        self.future: Future[Outcome] | None = None


class Feature:
    """The waiters of one feature of one tenant in one class."""

    __slots__ = ("lanes", "tag", "waiting")

    def __init__(self) -> None:
        self.tag = 0.0
        self.waiting: OrderedDict[int, Waiter] = OrderedDict()
        self.lanes: dict[Lane, OrderedDict[int, Waiter]] = {}

    def add(self, waiter: Waiter) -> None:
        """At the end."""
        self.waiting[waiter.seq] = waiter
        self.lanes.setdefault(waiter.lane, OrderedDict())[waiter.seq] = waiter

    def remove(self, waiter: Waiter) -> None:
        """It waits no longer."""
        del self.waiting[waiter.seq]
        lane = self.lanes[waiter.lane]
        del lane[waiter.seq]
        if not lane:
            del self.lanes[waiter.lane]

    def charge(self, waiter: Waiter) -> None:
        """First come first served needs no tags."""


class Flows:
    """The flows of a parent: the tenants of a class, or the features of a tenant."""

    __slots__ = ("_keys", "_limit", "_make", "_name", "children", "order", "tag", "vt", "waiting")

    def __init__(self, make: Callable[[], Flows | Feature], name: Callable[[Place], str]) -> None:
        self.tag = 0.0
        self.vt = 0.0
        """The largest tag served yet."""
        self.waiting: OrderedDict[int, Waiter] = OrderedDict()
        self.children: dict[str, Flows | Feature] = {}
        self.order: list[tuple[float, int, str]] = []
        """Tag, first waiter and name of each child that has waiters, sorted."""
        self._keys: dict[str, tuple[float, int, str]] = {}
        self._make = make
        self._name = name
        self._limit = FEW

    def child(self, place: Place) -> Flows | Feature | None:
        """The flow that a place belongs to, if it is known."""
        return self.children.get(self._name(place))

    def add(self, waiter: Waiter) -> None:
        """At the end of its flow."""
        self.waiting[waiter.seq] = waiter
        name = self._name(waiter.place)
        child = self.children.get(name)
        if child is None:
            child = self.children[name] = self._make()
        if not child.waiting:
            child.tag = max(child.tag, self.vt)
        child.add(waiter)
        self._sort(name, child)

    def remove(self, waiter: Waiter) -> None:
        """It waits no longer."""
        del self.waiting[waiter.seq]
        name = self._name(waiter.place)
        child = self.children[name]
        child.remove(waiter)
        self._sort(name, child)
        if not self.waiting:
            self.children.clear()
            self.vt = 0.0
        elif not child.waiting and len(self.children) - len(self.order) > self._limit:
            self._forget()

    def charge(self, waiter: Waiter) -> None:
        """It is served: its flow pays for that, at each level."""
        name = self._name(waiter.place)
        child = self.children[name]
        self.vt = max(self.vt, child.tag)
        child.tag += max(1.0, waiter.place.cost)
        child.charge(waiter)
        self._sort(name, child)

    def _sort(self, name: str, child: Flows | Feature) -> None:
        key = (child.tag, next(iter(child.waiting)), name) if child.waiting else None
        old = self._keys.pop(name, None)
        if old is not None:
            del self.order[bisect_left(self.order, old)]
        if key is not None:
            self._keys[name] = key
            insort(self.order, key)

    def _forget(self) -> None:
        """Leave out idle flows whose tags say nothing any more, and what is too many."""
        idle = [
            (child.tag, name) for name, child in self.children.items() if name not in self._keys
        ]
        idle.sort(reverse=True)
        for place, (tag, name) in enumerate(idle):
            if tag <= self.vt or place >= REMEMBERED // 2:
                del self.children[name]
        left = len(self.children) - len(self.order)
        self._limit = min(REMEMBERED, max(FEW, 2 * left, len(self.order)))


def _tenant() -> Flows:
    return Flows(Feature, lambda place: place.feature)


class Class(Flows):
    """The waiters of one priority class."""

    __slots__ = ("weight",)

    def __init__(self) -> None:
        super().__init__(_tenant, lambda place: place.tenant)
        self.weight = 0.0


class Blocked:
    """What was found to have no room in one pass, and where the pass is."""

    __slots__ = ("classes", "counters", "pools")

    def __init__(self) -> None:
        self.pools: set[str] = set()
        self.counters: set[str] = set()
        self.classes: dict[int, _Round] = {}

    def holds_up(self, lane: Lane) -> bool:
        """Whether nobody of a lane can go."""
        return lane[0] in self.pools or not self.counters.isdisjoint(lane[1])


class _Lanes:
    """A pass over one feature: its lanes by who is first in them."""

    __slots__ = ("_blocked", "_feature", "_heap")

    def __init__(self, feature: Feature, blocked: Blocked) -> None:
        self._feature = feature
        self._blocked = blocked
        self._heap = [(next(iter(lane)), key) for key, lane in feature.lanes.items()]
        heapify(self._heap)

    def earliest(self) -> int | None:
        """Who came first of those that are not known to be blocked."""
        while self._heap:
            seq, key = self._heap[0]
            lane = self._feature.lanes.get(key)
            if lane is None or self._blocked.holds_up(key):
                heappop(self._heap)
                continue
            first = next(iter(lane))
            if first == seq:
                return seq
            heapreplace(self._heap, (first, key))
        return None

    def best(self) -> Waiter | None:
        """The same one."""
        seq = self.earliest()
        return None if seq is None else self._feature.waiting[seq]


class _Round:
    """A pass over the flows of a parent. Tags and who is first in a flow only grow while it lasts,
    so that what stands in the heaps is never too large and is put right when it comes up."""

    __slots__ = ("_blocked", "_by_seq", "_by_tag", "_flows", "_inner")

    def __init__(self, flows: Flows, blocked: Blocked) -> None:
        self._flows = flows
        self._blocked = blocked
        self._by_tag = flows.order.copy()
        self._by_seq: list[tuple[int, str]] | None = None
        self._inner: dict[str, _Round | _Lanes] = {}

    def _child(self, name: str) -> int | None:
        """Who came first of those of a child that are not known to be blocked."""
        inner = self._inner.get(name)
        if inner is None:
            child = self._flows.children.get(name)
            if child is None:
                return None
            inner = (
                _Lanes(child, self._blocked)
                if isinstance(child, Feature)
                else _Round(child, self._blocked)
            )
            self._inner[name] = inner
        return inner.earliest()

    def earliest(self) -> int | None:
        """Who came first of those that are not known to be blocked."""
        if self._by_seq is None:
            self._by_seq = [(first, name) for _, first, name in self._by_tag]
            heapify(self._by_seq)
        heap = self._by_seq
        while heap:
            seq, name = heap[0]
            first = self._child(name)
            if first == seq:
                return seq
            if first is None:
                heappop(heap)
            else:
                heapreplace(heap, (first, name))
        return None

    def best(self) -> Waiter | None:
        """Whose turn it is of those."""
        heap = self._by_tag
        while heap:
            name = heap[0][2]
            first = self._child(name)
            if first is None:
                heappop(heap)
                continue
            key = (self._flows.children[name].tag, first, name)
            if key == heap[0]:
                return self._inner[name].best()
            heapreplace(heap, key)
        return None


def _lower(tally: Tally[str], key: str) -> None:
    tally[key] -= 1
    if not tally[key]:
        del tally[key]


class Turns:
    """All that wait. A request is in it from `add` until `remove`."""

    def __init__(self) -> None:
        self.classes: dict[int, Class] = {}
        """By rank; only those that have waiters, and those of them that had, while others wait."""
        self.pools: Tally[str] = Tally()
        """How many wait of each pool."""
        self.holding: Tally[str] = Tally()
        """How many of them have their own takes."""
        self.needed: Tally[str] = Tally()
        """How many of the others have yet to take from each counter."""
        self._vt = 0.0
        self._seq = 0
        self._size = 0
        self._deadlines: list[tuple[float, int, Waiter]] = []

    def __len__(self) -> int:
        """How many wait."""
        return self._size

    def next_seq(self) -> int:
        """A number for who comes now."""
        self._seq += 1
        return self._seq

    def add(self, waiter: Waiter) -> None:
        """Let it wait."""
        place = waiter.place
        found = self.classes.get(place.rank)
        if found is None:
            found = self.classes[place.rank] = Class()
        if not found.waiting:
            found.tag = max(found.tag, self._vt)
        found.weight = place.weight
        found.add(waiter)
        self._size += 1
        self.pools[place.pool] += 1
        if waiter.holds:
            self.holding[place.pool] += 1
        self.needed.update(waiter.lane[1])
        heappush(self._deadlines, (waiter.deadline, waiter.seq, waiter))
        if len(self._deadlines) > 2 * self._size + FEW:
            self._deadlines = [each for each in self._deadlines if each[2].outcome is None]
            heapify(self._deadlines)

    def remove(self, waiter: Waiter) -> None:
        """Let it wait no longer. Its outcome must be set before or at once after."""
        place = waiter.place
        self.classes[place.rank].remove(waiter)
        self._size -= 1
        _lower(self.pools, place.pool)
        if waiter.holds:
            _lower(self.holding, place.pool)
        for key in waiter.lane[1]:
            _lower(self.needed, key)
        if not self._size:
            self.classes.clear()
            self._deadlines.clear()
            self._vt = 0.0

    def awaited(self, ask: Ask) -> bool:
        """Whether somebody waits for a counter for which this one would wait, too."""
        return bool(self.needed) and any(
            take.queue and not take.force and take.counter.key in self.needed for take in ask.takes
        )

    def charge(self, waiter: Waiter) -> None:
        """It is served."""
        found = self.classes[waiter.place.rank]
        if self._weighted():
            self._vt = max(self._vt, found.tag)
            found.tag += 1.0 / found.weight
        found.charge(waiter)

    def _weighted(self) -> bool:
        return all(each.weight > 0 for each in self.classes.values() if each.waiting)

    def pick(self, blocked: Blocked) -> Waiter | None:
        """Whose turn it is, of those that are not known to be blocked in this pass."""
        if self.pools.keys() <= blocked.pools:
            return None
        waiting = [(rank, each) for rank, each in self.classes.items() if each.waiting]
        if self._weighted():
            waiting.sort(key=lambda entry: (entry[1].tag, entry[0]))
        else:
            waiting.sort(key=lambda entry: entry[0])
        for rank, each in waiting:
            found = blocked.classes.get(rank)
            if found is None:
                found = blocked.classes[rank] = _Round(each, blocked)
            waiter = found.best()
            if waiter is not None:
                return waiter
        return None

    def overdue(self, steady: float) -> Iterator[Waiter]:
        """Those whose time is over; to be removed by who asks."""
        while self._deadlines and self._deadlines[0][0] <= steady:
            waiter = heappop(self._deadlines)[2]
            if waiter.outcome is None:
                yield waiter

    def deadline(self) -> float | None:
        """The next one."""
        while self._deadlines and self._deadlines[0][2].outcome is not None:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def youngest_below(self, rank: int) -> Waiter | None:
        """Who came last of the lowest class, if that is a lower one."""
        lowest = max(rank for rank, each in self.classes.items() if each.waiting)
        return next(reversed(self.classes[lowest].waiting.values())) if lowest > rank else None

    def position(self, waiter: Waiter) -> int:
        """How many are before it, and itself."""
        if self._weighted():
            return 1 + sum(
                1 for each in self.classes.values() for seq in each.waiting if seq < waiter.seq
            )
        rank = waiter.place.rank
        higher = sum(len(each.waiting) for its, each in self.classes.items() if its < rank)
        return higher + self._before(self.classes[rank], waiter.seq) + 1

    @staticmethod
    def _before(flows: Flows, seq: int) -> int:
        if next(reversed(flows.waiting)) == seq:
            return len(flows.waiting) - 1
        return sum(1 for each in flows.waiting if each < seq)

    def too_deep(self, waiter: Waiter) -> Literal["", "feature", "tenant", "class"]:
        """Which depth it passes: feature, tenant or class. Empty: none of them."""
        place = waiter.place
        itself = self.classes[place.rank]
        tenant = itself.child(place)
        if isinstance(tenant, Flows):
            feature = tenant.child(place)
            if feature is not None and len(feature.waiting) > place.feature_depth:
                return "feature"
            if len(tenant.waiting) > place.tenant_depth:
                return "tenant"
        return "class" if len(itself.waiting) > place.class_depth else ""
