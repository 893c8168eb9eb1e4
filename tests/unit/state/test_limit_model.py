"""Any interleaving of asking, settling, leaving, crashing and waiting, on each store, against what
must hold of both; and the same on both at once, which must answer alike."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from extproc.state.counters import (
    LEASE,
    Ask,
    Correction,
    Counter,
    Option,
    Outcome,
    Place,
    Settled,
    Standing,
    Take,
)
from tests.unit.state.limit_stores import Clock, Memory, Shared, Subject

DAY = 100.0
"""A short one, so that windows end while the machine runs."""
TTL = 12.0


# --- what there is to take ----------------------------------------------------------------


def bucket(key: str, most: float, rate: float, *, warn: bool = False) -> Counter:
    return Counter(key, "bucket", most, rate, most / rate, warn=warn)


def window(key: str, most: float, now: float) -> Counter:
    start = math.floor(now / DAY) * DAY
    bounds = (start - DAY, start, start + DAY, start + 2 * DAY)
    return Counter(key, "window", most, params=bounds, lasting=True, warn=True)


def rolling(key: str, most: float) -> Counter:
    return Counter(key, "rolling", most, period=30.0, lasting=True, warn=True)


def concurrent(key: str, most: float) -> Counter:
    return Counter(key, "concurrent", most)


def trend(key: str) -> Counter:
    return Counter(key, "trend", 0.0, params=(2.0, 40.0, 2.0, 0.5, 3.0, 6.0))


OPTIONS = {
    "a": (
        Option(
            "t1", (Take(concurrent("t1:at once", 3), 1), Take(bucket("t1:tpm", 10, 0.5), 2)), 0.5
        ),
        Option("t2", (Take(concurrent("t2:at once", 1), 1),)),
    ),
    "b": (Option("t3", (Take(concurrent("t3:at once", 2), 1),)),),
    "": (),
}


def takes(user: str, tokens: int, now: float, *, patient: bool, forced: bool) -> tuple[Take, ...]:
    return (
        Take(concurrent(f"{user}:at once", 4), 1, queue=patient),
        Take(bucket(f"{user}:tokens", 20, 1.0, warn=True), tokens, forced, patient),
        Take(window("all:day", 120, now), tokens),
        Take(rolling("all:rolling", 60), tokens, queue=patient),
        Take(trend(f"{user}:trend"), 0),
        Take(bucket(f"{user}:slow", 1, 0.2), 1, queue=patient, guard=4),
    )


# --- what is known of each request --------------------------------------------------------


@dataclass
class Request:
    ask: Ask
    owner: str
    came: int
    outcome: Outcome
    turns: list[asyncio.Task[Outcome]] = field(default_factory=list)
    """One for each store."""

    @property
    def granted(self) -> bool:
        return self.outcome.what == "granted"

    @property
    def taken(self) -> tuple[tuple[Take, Standing], ...]:
        """What it was granted."""
        own = tuple(zip(self.ask.takes, self.outcome.takes, strict=True))
        if self.outcome.option < 0:
            return own
        option = self.ask.options[self.outcome.option]
        return own + tuple(zip(option.takes, self.outcome.levels, strict=True))

    @property
    def line(self) -> tuple[object, ...]:
        """Those who must go in the order in which they came."""
        place = self.ask.place
        assert place is not None
        # Who would not wait for its limits holds them while it waits for a level, and may go first.
        needs = frozenset(
            (take.counter.key, take.queue) for take in self.ask.takes if not take.force
        )
        return (place.rank, place.tenant, place.feature, place.pool, needs)


class Limits(RuleBasedStateMachine):
    """The machine, on memory alone or beside Redis."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self.subjects: list[Subject] = [Memory(self.clock)]
        if self.url:
            self.subjects.append(Shared(self.url, self.clock))
        self.other = "b0"
        self.crashed: dict[str, float] = {}
        self.open: dict[str, Request] = {}
        """Waiting or granted, by id."""
        self.came = 0
        self.weights = (0.0, 0.0)
        self.over = 0
        """Units that were used beyond what was reserved, or forced, or charged by a correction."""

    def run(self, coroutine: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def both(self, make: Any) -> Any:
        """Ask each store; the answers must be alike."""
        answers = [self.run(make(subject)) for subject in self.subjects]
        for answer in answers[1:]:
            alike(answers[0], answer)
        return answers[0]

    @initialize(weighted=st.booleans())
    def begin(self, *, weighted: bool) -> None:
        self.weights = (3.0, 1.0) if weighted else (0.0, 0.0)
        self.settle_down()

    # What may happen.

    @rule(
        user=st.sampled_from("uv"),
        tokens=st.integers(1, 12),
        pool=st.sampled_from(["", "a", "a", "b"]),
        rank=st.integers(0, 1),
        tenant=st.sampled_from("xy"),
        feature=st.sampled_from("pq"),
        ttl=st.sampled_from([TTL, TTL, TTL, 0.0, -1.0]),
        depth=st.sampled_from([100, 100, 100, 3]),
        patient=st.booleans(),
        forced=st.sampled_from([False, False, False, True]),
        ours=st.booleans(),
    )
    def ask(
        self, *, user: str, tokens: int, pool: str, rank: int, tenant: str, feature: str,
        ttl: float, depth: int, patient: bool, forced: bool, ours: bool,
    ) -> None:  # fmt: skip
        place = Place(
            pool, rank, self.weights[rank], tenant, feature, float(tokens), ttl,
            depth, depth, depth, depth, f"class {rank}",
        )  # fmt: skip
        self.came += 1
        found = takes(user, tokens, self.clock.now, patient=patient, forced=forced)
        ask = Ask(str(self.came), found, OPTIONS[pool], place if ttl >= 0 else None)
        self.over += tokens if forced else 0
        self.admit("a" if ours else self.other, ask)

    def admit(self, owner: str, ask: Ask) -> None:
        before = self.standing(ask)
        outcome = self.both(lambda subject: subject.admit(owner, ask))
        if outcome.what == "waiting":
            request = Request(ask, owner, self.came, outcome)
            request.turns = [
                self.loop.create_task(subject.turn(owner, ask)) for subject in self.subjects
            ]
            self.open[ask.id] = request
        elif outcome.what == "granted":
            self.open[ask.id] = Request(ask, owner, self.came, outcome)
        else:
            # All or nothing: who is refused has taken nothing.
            assert outcome.what in {"denied", "full"}
            if outcome.what == "denied":
                alike(before, self.standing(ask))
            assert (
                any(standing.wait != 0 for standing in (*outcome.takes, *outcome.levels))
                or outcome.what == "full"
                or self.line_at(ask)
            )
        self.settle_down()

    def line_at(self, ask: Ask) -> bool:
        """Somebody waits before an ask that cannot wait."""
        place = ask.place
        return place is not None and any(
            not request.granted and request.ask.place and request.ask.place.pool == place.pool
            for request in self.open.values()
        )

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        if not self.open:
            return
        request = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        if request.owner in self.crashed or not request.granted:
            return
        answers = [self.run(subject.admit(request.owner, request.ask)) for subject in self.subjects]
        for answer in answers:
            assert (answer.what, answer.option) == ("granted", request.outcome.option)
        self.settle_down()

    @rule(data=st.data(), share=st.sampled_from([0.0, 0.3, 1.0, 1.0, 2.0, 3.0]))
    def settle(self, data: st.DataObject, share: float) -> None:
        request = self.any_granted(data)
        if request is None:
            return
        used = []
        for take, standing in request.taken:
            units = 7 if take.counter.kind == "trend" else math.ceil(take.amount * share)
            units = 0 if take.counter.kind == "concurrent" else units
            used.append(units)
            if take.counter.kind != "trend" and standing.at != -1:
                self.over += max(0, units - take.amount)
        self.tell(request, used)
        if data.draw(st.booleans()):
            self.tell(request, [9 * each for each in used])
        self.end(request)

    def any_granted(self, data: st.DataObject) -> Request | None:
        ready = sorted(
            ask_id
            for ask_id, request in self.open.items()
            if request.granted and request.owner not in self.crashed
        )
        return self.open[data.draw(st.sampled_from(ready))] if ready else None

    def tell(self, request: Request, used: Sequence[int]) -> None:
        found, standings = zip(*request.taken, strict=True)
        settled = Settled(request.ask.id, found, standings, tuple(used))
        for subject in self.subjects:
            subject.settle(request.owner, settled)

    def end(self, request: Request) -> None:
        del self.open[request.ask.id]
        self.settle_down()

    @rule(data=st.data(), cancelled=st.booleans())
    def leave(self, data: st.DataObject, *, cancelled: bool) -> None:
        ready = sorted(i for i, request in self.open.items() if request.owner not in self.crashed)
        if not ready:
            return
        request = self.open[data.draw(st.sampled_from(ready))]
        if cancelled and not request.granted:
            self.cancel(request)
        else:
            for subject in self.subjects:
                subject.leave(request.owner, request.ask.id)
            self.cancel(request)
        self.end(request)

    def cancel(self, request: Request) -> None:
        for turn in request.turns:
            turn.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.run(turn)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 2.0, 4.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.settle_down()

    @rule(remaining=st.sampled_from([None, 0.0, 1.0, 100.0]), until=st.sampled_from([None, 3.0]))
    def hear(self, remaining: float | None, until: float | None) -> None:
        counter = OPTIONS["a"][0].takes[1].counter
        for subject in self.subjects:
            subject.correct([Correction(counter, remaining, until)])
        self.settle_down()

    @rule()
    def crash(self) -> None:
        """The other process is no more, and another one takes its place."""
        self.crashed[self.other] = self.clock.now
        self.other = f"b{len(self.crashed)}"
        self.settle_down()

    # What follows.

    def settle_down(self) -> None:
        """Every living process beats, and hears whose turn it is."""
        for owner in ("a", self.other):
            for subject in self.subjects:
                self.run(subject.beat(owner))
        self.run(_breathe())
        for request in sorted(self.open.values(), key=lambda each: each.came):
            done = [turn.done() for turn in request.turns]
            if request.granted or request.owner in self.crashed or not any(done):
                continue
            assert all(done)
            outcomes = [turn.result() for turn in request.turns]
            assert len({(each.what, each.option) for each in outcomes}) == 1, outcomes
            request.outcome = outcomes[0]
            if outcomes[0].what == "granted":
                self.in_line(request)
            else:
                assert outcomes[0].what in {"expired", "displaced"}
                del self.open[request.ask.id]
        for owner, at in self.crashed.items():
            if self.clock.now - at > LEASE:
                for ask_id in [i for i, one in self.open.items() if one.owner == owner]:
                    del self.open[ask_id]  # a process that is gone says nothing more
        events = [
            sorted((each.key, each.share, round(each.used, 6)) for each in subject.events)
            for subject in self.subjects
        ]
        assert all(each == events[0] for each in events)

    def in_line(self, request: Request) -> None:
        """Nobody of its line who came before it waits still."""
        assert not [
            other.ask.id
            for other in self.open.values()
            if not other.granted
            and not any(turn.done() for turn in other.turns)
            and other.came < request.came
            and other.line == request.line
        ]

    # What holds always.

    def standing(self, ask: Ask) -> list[Standing]:
        counters = [take.counter for take in ask.takes]
        counters += [take.counter for option in ask.options for take in option.takes]
        found: list[Standing] = self.both(lambda subject: subject.peek(counters))
        return found

    def everything(self) -> Iterator[Counter]:
        for user in "uv":
            for take in takes(user, 1, self.clock.now, patient=False, forced=False):
                yield take.counter
        for options in OPTIONS.values():
            for option in options:
                for take in option.takes:
                    yield take.counter

    @invariant()
    def bounded(self) -> None:
        """Nothing is used beyond its limit but what requests needed more than they had reserved."""
        counters = list(self.everything())
        for counter, standing in zip(
            counters, self.both(lambda subject: subject.peek(counters)), strict=True
        ):
            assert standing.used >= 0
            assert standing.reset >= 0
            if counter.kind != "trend":
                assert standing.used <= counter.most + self.over + 1e-6, counter

    @invariant()
    def exact(self) -> None:
        """What runs is counted, no more and no less; so is what is left of a window."""
        running: dict[str, int] = {}
        for request in self.open.values():
            owned = request.taken if request.granted else ()
            for take, _ in owned:
                if take.counter.kind == "concurrent":
                    running[take.counter.key] = running.get(take.counter.key, 0) + take.amount
        counters = [counter for counter in self.everything() if counter.kind == "concurrent"]
        found = self.both(lambda subject: subject.peek(counters))
        for counter, standing in zip(counters, found, strict=True):
            # Those that wait hold their own takes, or none; what a process was given after its end
            # it does not know of.
            waiting = sum(
                take.counter.key == counter.key
                for request in self.open.values()
                if not request.granted
                for takes in (
                    request.ask.takes,
                    *(
                        option.takes
                        for option in request.ask.options
                        if request.owner in self.crashed
                    ),
                )
                for take in takes
            )
            least = running.get(counter.key, 0)
            assert least <= standing.used <= least + waiting, counter

    @invariant()
    def nobody_forgotten(self) -> None:
        """Who waits alone waits for something."""
        waiting = [request for request in self.open.values() if not request.granted]
        if len(waiting) != 1 or waiting[0].owner in self.crashed:
            return
        request = waiting[0]
        before = self.standing(request.ask)
        fits = [standing.wait == 0 for standing in before]
        own = len(request.ask.takes)
        lacking = not all(fits[:own]) or any(
            standing.used + take.amount > take.counter.most
            for take, standing in zip(request.ask.takes, before, strict=False)
        )
        place = own
        free = not request.ask.options
        for option in request.ask.options:
            width = len(option.takes)
            free = free or all(
                standing.wait == 0 and standing.used + take.amount <= take.counter.most
                for take, standing in zip(option.takes, before[place : place + width], strict=True)
            )
            place += width
        assert lacking or not free

    def teardown(self) -> None:
        try:
            self.all_ends()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(_breathe())
            for subject in self.subjects:
                self.run(subject.stop())
            self.run(_breathe())
            self.loop.close()

    def all_ends(self) -> None:
        """When all have ended nothing is held, whoever crashed."""
        for _ in range(4):
            for request in list(self.open.values()):
                if request.granted and request.owner not in self.crashed:
                    self.tell(request, [0] * len(request.taken))
                    self.end(request)
            self.clock.now += TTL / 2
            self.settle_down()
        assert not self.open
        counters = [counter for counter in self.everything() if counter.kind == "concurrent"]
        for standing in self.both(lambda subject: subject.peek(counters)):
            assert standing.used == 0


async def _breathe() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def alike(one: Any, other: Any) -> None:
    """The same answer, but for the last digits."""
    if isinstance(one, Outcome):
        assert isinstance(other, Outcome)
        for name in ("what", "option", "position", "full"):
            assert getattr(one, name) == getattr(other, name), (name, one, other)
        alike(one.takes, other.takes)
        alike(one.levels, other.levels)
    elif isinstance(one, Standing):
        assert isinstance(other, Standing)
        for name in ("used", "wait", "reset", "at"):
            a, b = getattr(one, name), getattr(other, name)
            assert a == pytest.approx(b, rel=1e-6, abs=1e-5), (name, one, other)
    else:
        assert len(one) == len(other)
        for each, its in zip(one, other, strict=True):
            alike(each, its)


def test_memory_keeps_its_promises() -> None:
    run_state_machine_as_test(Limits, settings=settings(max_examples=100, stateful_step_count=50))


def test_redis_answers_as_memory_does(redis_url: str) -> None:
    class Both(Limits):
        url = redis_url

    run_state_machine_as_test(Both, settings=settings(max_examples=25, stateful_step_count=40))
