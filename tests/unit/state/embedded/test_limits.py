"""The store of a single process, on clocks that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from extproc.state.counters import (
    LEASE,
    Ask,
    Correction,
    Counter,
    Crossed,
    Option,
    Outcome,
    Place,
    Settled,
    Take,
)
from extproc.state.embedded.limits import DONE_SECONDS, MemoryLimits

AT_ONCE = Counter("at once", "concurrent", 1.0)
TOKENS = Counter("tokens", "bucket", 100.0, 10.0, 10.0, warn=True)
SLOT = Option("target", (Take(Counter("slot", "concurrent", 1.0), 1),))


class Scene:
    """A store that has not been started: it beats when it is told to."""

    def __init__(self) -> None:
        self.now = 1e6
        self.events: list[Crossed] = []
        self.store = MemoryLimits(steady=lambda: self.now, wall=lambda: self.now + 5e6)
        self.store._notify = self.events.append

    async def ask(self, ask: Ask) -> str:
        return (await self.store.admit(ask)).what

    async def queue(self, ask: Ask) -> asyncio.Task[Outcome]:
        assert await self.ask(ask) == "waiting"
        turn = asyncio.create_task(self.store.turn(ask))
        await asyncio.sleep(0)
        return turn

    async def used(self, counter: Counter) -> float:
        return (await self.store.peek([counter]))[0].used

    def settle(self, ask: Ask, outcome: Outcome, *used: int) -> None:
        self.store.settle(Settled(ask.id, ask.takes, outcome.takes, used))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.store.stop()


def place(**changed: object) -> Place:
    fields: dict[str, object] = {
        "pool": "p", "rank": 1, "weight": 0.0, "tenant": "t", "feature": "f", "cost": 1.0,
        "ttl": 10.0, "depth": 100, "class_depth": 100, "tenant_depth": 100, "feature_depth": 100,
        "label": "normal",
    }  # fmt: skip
    return Place(**(fields | changed))  # type: ignore[arg-type]


def slot(name: str, **changed: object) -> Ask:
    return Ask(name, (), (SLOT,), place(**changed))


def tokens(name: str, amount: int, *, wait: bool = False) -> Ask:
    takes = (Take(AT_ONCE, 1, force=True), Take(TOKENS, amount, queue=wait))
    return Ask(name, takes, place=place(pool="") if wait else None)


async def test_all_or_nothing(scene: Scene) -> None:
    other = Counter("other", "concurrent", 1.0)
    assert await scene.ask(Ask("1", (Take(other, 1),))) == "granted"
    denied = await scene.store.admit(Ask("2", (Take(TOKENS, 10), Take(other, 1))))
    assert denied.what == "denied"
    assert [standing.wait for standing in denied.takes] == [0, -1]
    assert await scene.used(TOKENS) == 0


async def test_two_takes_of_one_counter_must_fit_together(scene: Scene) -> None:
    twice = (Take(TOKENS, 60), Take(TOKENS, 60))
    assert await scene.ask(Ask("1", twice)) == "denied"
    assert await scene.ask(Ask("2", twice[:1], (Option("o", twice[1:]),))) == "denied"
    assert await scene.ask(Ask("3", (Take(TOKENS, 60), Take(TOKENS, 40)))) == "granted"
    assert await scene.used(TOKENS) == 100
    scene.store.leave("3")
    assert await scene.used(TOKENS) == 0


async def test_reserve_then_settle(scene: Scene) -> None:
    ask = tokens("1", 80)
    outcome = await scene.store.admit(ask)
    assert await scene.used(TOKENS) == 80
    scene.settle(ask, outcome, 0, 30)
    assert await scene.used(TOKENS) == 30
    scene.settle(ask, outcome, 0, 90)
    scene.store.leave("1")
    assert await scene.used(TOKENS) == 30


async def test_an_id_may_be_used_again_when_it_is_over(scene: Scene) -> None:
    ask = tokens("1", 10)
    scene.settle(ask, await scene.store.admit(ask), 0, 10)
    again = await scene.store.admit(ask)
    assert again.what == "granted"
    scene.settle(ask, again, 0, 5)
    assert await scene.used(TOKENS) == 15


async def test_asked_twice_it_is_taken_once(scene: Scene) -> None:
    ask = Ask("1", tokens("1", 10).takes, (SLOT,), place())
    first = await scene.store.admit(ask)
    assert await scene.store.admit(ask) == first
    assert await scene.used(TOKENS) == 10
    waiter = Ask("2", tokens("2", 10).takes, (SLOT,), place())
    turn = await scene.queue(waiter)
    assert (await scene.store.admit(waiter)).what == "waiting"
    assert await scene.used(TOKENS) == 20
    scene.store.leave("1")
    assert (await turn).what == "granted"


async def test_what_was_given_back_meanwhile_is_charged_in_full(scene: Scene) -> None:
    ask = Ask("1", (Take(TOKENS, 20),), owner="other")
    outcome = await scene.store.admit(ask)
    for _ in range(4):
        scene.now += 3.0
        scene.store.beat()
    assert await scene.used(TOKENS) == 0
    scene.store.settle(Settled("1", ask.takes, outcome.takes, (30,), only_held=True))
    assert await scene.used(TOKENS) == 0
    scene.settle(ask, outcome, 30)
    assert await scene.used(TOKENS) == 30


async def test_a_crashed_owner_holds_nothing_and_waits_no_longer(scene: Scene) -> None:
    await scene.store.admit(Ask("1", (), (SLOT,), place(), "other"))
    await scene.store.admit(Ask("2", (), (SLOT,), place(), "other"))
    turn = await scene.queue(slot("3", ttl=100.0))
    for _ in range(3):
        scene.now += 3.0
        scene.store.beat()
    assert not turn.done()
    scene.now += 3.0
    scene.store.beat()
    assert (await turn).what == "granted"
    assert scene.store.figures()["held"] == {"ids": 1}


async def test_an_owner_who_beats_keeps_what_it_holds(scene: Scene) -> None:
    await scene.store.admit(Ask("1", (Take(TOKENS, 100),), owner="other"))
    for _ in range(5):
        scene.now += 3.0
        scene.store.beat("other")
        scene.store.beat()
    assert scene.store.figures()["held"] == {"ids": 1}
    assert scene.store.figures()["owners"] == {"alive": 2}


async def test_nobody_is_taken_for_dead_when_all_stood_still(scene: Scene) -> None:
    await scene.store.admit(Ask("1", (Take(TOKENS, 100),), owner="other"))
    scene.store.beat("other")
    scene.now += 10 * LEASE
    scene.store.beat()
    assert scene.store.figures()["held"] == {"ids": 1}


async def test_the_next_one_goes_when_a_slot_is_free(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    two, three = await scene.queue(slot("2")), await scene.queue(slot("3"))
    scene.store.settle(Settled("1", SLOT.takes, (), (0,)))
    outcome = await asyncio.wait_for(two, 1.0)  # at once, not when a timer looks after it
    assert (outcome.what, outcome.option) == ("granted", 0)
    assert not three.done()
    scene.store.leave("2")
    assert (await three).what == "granted"


async def test_who_is_woken_by_time() -> None:
    store = MemoryLimits()
    fast = Counter("fast", "bucket", 100.0, 1000.0, 0.1)
    await store.admit(Ask("1", (Take(fast, 100),)))
    ask = Ask("2", (Take(fast, 20, queue=True),), place=place())
    assert (await store.admit(ask)).what == "waiting"
    assert (await asyncio.wait_for(store.turn(ask), 5.0)).what == "granted"
    await store.stop()


async def test_its_time_to_live_ends_without_anything_else_happening() -> None:
    store = MemoryLimits()
    await store.admit(slot("1"))
    ask = slot("2", ttl=0.02)
    assert (await store.admit(ask)).what == "waiting"
    assert (await asyncio.wait_for(store.turn(ask), 5.0)).what == "expired"
    assert store.figures()["waiting"] == {}
    await store.stop()


async def test_what_a_stale_one_held_is_given_back(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    holding = Ask("2", (Take(TOKENS, 70),), (SLOT,), place())
    turn = await scene.queue(holding)
    assert await scene.used(TOKENS) == 70
    scene.now += 10.0
    scene.store.beat()
    outcome = await turn
    assert (outcome.what, outcome.levels[0].wait) == ("expired", -1)
    assert await scene.used(TOKENS) == 0


async def test_cancelled_it_is_out_of_the_queue(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    two, three = await scene.queue(slot("2")), await scene.queue(slot("3"))
    two.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await two
    assert scene.store.figures()["waiting"] == {"normal": 1}
    scene.store.leave("1")
    assert (await three).what == "granted"


async def test_cancelled_as_it_is_granted_it_gives_it_back(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    two, three = await scene.queue(slot("2")), await scene.queue(slot("3"))
    scene.store.leave("1")
    two.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await two
    assert two.cancelled()
    assert (await three).what == "granted"
    assert scene.store.figures()["held"] == {"ids": 1}


async def test_granted_before_anybody_waits_for_it(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    assert await scene.ask(slot("2")) == "waiting"
    scene.store.leave("1")
    assert (await scene.store.turn(slot("2"))).what == "granted"
    assert (await scene.store.turn(slot("2"))).what == "granted"
    assert (await scene.store.turn(slot("none"))).what == "expired"


async def test_settled_while_it_waits_it_leaves(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    holding = Ask("2", (Take(TOKENS, 70),), (SLOT,), place())
    turn = await scene.queue(holding)
    scene.store.settle(Settled("2", holding.takes, (), (70,)))
    assert (await turn).what == "expired"
    assert await scene.used(TOKENS) == 0


@pytest.mark.parametrize(
    ("depths", "full"),
    [
        ({"feature_depth": 1}, "feature"),
        ({"tenant_depth": 1}, "tenant"),
        ({"class_depth": 1}, "class"),
        ({"depth": 1}, "all"),
    ],
)
async def test_depth(scene: Scene, depths: dict[str, object], full: str) -> None:
    assert await scene.ask(slot("1")) == "granted"
    await scene.ask(slot("2"))
    outcome = await scene.store.admit(slot("3", **depths))
    assert (outcome.what, outcome.full) == ("full", full)
    assert scene.store.figures()["waiting"] == {"normal": 1}


async def test_who_can_go_at_once_is_not_refused_for_depth(scene: Scene) -> None:
    await scene.ask(tokens("1", 100))
    await scene.queue(Ask("2", (Take(TOKENS, 50, queue=True),), (SLOT,), place()))
    assert await scene.ask(slot("3", depth=1, feature_depth=1)) == "granted"


async def test_a_higher_class_takes_the_place_of_a_lower_one(scene: Scene) -> None:
    assert await scene.ask(slot("1")) == "granted"
    low, lower = await scene.queue(slot("2", rank=2)), await scene.queue(slot("3", rank=2))
    high = await scene.queue(slot("4", rank=0, depth=2))
    assert (await lower).what == "displaced"
    scene.store.leave("1")
    assert (await high).what == "granted"
    assert not low.done()
    low.cancel()


async def test_a_small_one_does_not_pass_a_big_one_at_their_bucket(scene: Scene) -> None:
    await scene.ask(tokens("1", 100))
    big = await scene.queue(tokens("2", 50, wait=True))
    scene.now += 2.0
    small = await scene.queue(tokens("3", 10, wait=True))
    scene.now += 2.9
    scene.store.beat()
    assert not small.done()
    scene.now += 0.2
    scene.store.beat()
    assert (await big).what == "granted"
    assert not small.done()
    small.cancel()


async def test_who_cannot_wait_passes_nobody_who_is_ready(scene: Scene) -> None:
    bucket = Option("target", (Take(TOKENS, 60),))
    less = Option("target", (Take(TOKENS, 10),))
    await scene.ask(tokens("1", 80))
    turn = await scene.queue(Ask("2", (), (bucket,), place()))
    assert await scene.ask(Ask("3", (), (less,), place(ttl=0.0))) == "denied"
    assert await scene.ask(Ask("4", (), (less,), place(ttl=0.0, pool="other"))) == "granted"
    turn.cancel()


async def test_a_level_near_its_ceiling_is_left_alone_while_another_has_room(scene: Scene) -> None:
    def option(name: str) -> Option:
        return Option(name, (Take(Counter(name, "concurrent", 10.0), 1),), 0.5)

    found = []
    for name in range(21):
        outcome = await scene.store.admit(Ask(str(name), (), (option("a"), option("b"))))
        found.append(outcome.option)
    assert found == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5 + [-1]


async def test_a_provider_says_that_it_is_full(scene: Scene) -> None:
    option = Option("target", (Take(TOKENS, 10),))
    scene.store.correct([Correction(TOKENS, remaining=5.0)])
    denied = await scene.store.admit(Ask("1", (), (option,)))
    assert denied.what == "denied"
    assert denied.levels[0].wait == pytest.approx(0.5)
    scene.store.correct([Correction(TOKENS, until=7.0)])
    scene.now += 5.0
    turn = await scene.queue(Ask("2", (), (option,), place(pool="p")))
    scene.now += 2.0
    scene.store.beat()
    assert (await turn).what == "granted"


async def test_a_slowed_runaway(scene: Scene) -> None:
    trend = Counter("spend", "trend", 0.0, params=(1.0, 1000.0, 10.0, 1.0, 100.0, 60.0))
    slow = Counter("slow", "bucket", 1.0, 0.1, 10.0)

    def ask(name: str) -> Ask:
        return Ask(name, (Take(trend, 0), Take(slow, 1, guard=0)))

    async def spend(name: str, units: int) -> Outcome:
        outcome = await scene.store.admit(ask(name))
        if outcome.what == "granted":
            scene.settle(ask(name), outcome, units, 1)
        return outcome

    for number in range(500):
        assert (await spend(f"{number}", 1)).takes[1].at == -1
        scene.now += 1.0
    scene.events.clear()
    await spend("a lot", 50_000)
    assert [event.key for event in scene.events] == ["spend"]
    assert (await spend("slowed 1", 0)).what == "granted"
    denied = await scene.store.admit(ask("slowed 2"))
    assert denied.what == "denied"
    assert denied.takes[1].wait == pytest.approx(10.0)
    scene.now += 61.0
    assert (await spend("free", 0)).takes[1].at == -1


async def test_four_fifths_of_a_limit_are_told(scene: Scene) -> None:
    for name in range(3):
        ask = tokens(f"{name}", 1)
        scene.settle(ask, await scene.store.admit(ask), 0, 30)
    assert [(event.key, event.share, event.used) for event in scene.events] == [("tokens", 0.8, 90)]


async def test_what_is_held_is_not_saved_and_what_was_used_is(scene: Scene) -> None:
    day = Counter("day", "bucket", 1000.0, 0.01, 86_400.0, lasting=True)
    ask, other = Ask("1", (Take(day, 100),)), Ask("2", (Take(day, 100),))
    outcome = await scene.store.admit(ask)
    await scene.store.admit(other)
    scene.settle(ask, outcome, 40)
    saved = scene.store.dirty()
    assert scene.store.dirty() == []
    again = Scene()
    again.store.load(saved)
    assert await again.used(day) == pytest.approx(40.0)


async def test_stopped_it_holds_nothing_and_nobody_waits(scene: Scene) -> None:
    await scene.ask(tokens("1", 10))
    await scene.ask(slot("2"))
    turn = await scene.queue(slot("3"))
    await scene.store.stop()
    assert (await turn).what == "expired"
    assert await scene.used(TOKENS) == 0
    assert scene.store.figures()["held"] == {"ids": 0}


async def test_it_beats_once_started() -> None:
    store = MemoryLimits()
    await store.start(lambda _: None)
    await store.ping()
    assert store._beating is not None
    beating = store._beating
    beating._run()
    assert store._beating is not beating
    beating.cancel()
    await store.stop()
    assert store._beating is None


async def test_ids_are_remembered_for_a_bounded_time(scene: Scene) -> None:
    for number in range(1000):
        scene.store.leave(str(number))
    assert len(scene.store._done) == 1000
    scene.now += DONE_SECONDS
    scene.store.beat()
    assert not scene.store._done
    assert not scene.store._done_order


async def test_an_outcome_nobody_asks_for_is_forgotten(scene: Scene) -> None:
    await scene.ask(slot("1"))
    await scene.ask(slot("2"))
    scene.now += 10.0
    scene.store.beat()
    scene.now += LEASE + 1.0
    scene.store.beat()
    assert not scene.store._waiters


async def test_who_was_held_up_by_another_goes_once_turns_have_changed_the_order(
    scene: Scene,
) -> None:
    """A turn in a pass lets another tenant be first at a counter."""
    other = Option("other", (Take(Counter("other", "concurrent", 1.0), 1),))
    shared = Counter("shared", "window", 5.0, params=(0.0, 1e9, 3e9, 4e9))
    await scene.ask(slot("first"))
    big, small = Take(shared, 9, queue=True), Take(shared, 1, queue=True)
    await scene.queue(Ask("big", (big,), (other,), place(tenant="x", pool="o")))
    following = await scene.queue(slot("next", tenant="x", cost=5.0))
    last = await scene.queue(Ask("small", (small,), (other,), place(tenant="y", pool="o")))
    scene.store.leave("first")
    assert (await following).what == "granted"
    async with asyncio.timeout(1):
        assert (await last).what == "granted"
