from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from extproc.limits.away import AwayError, Guarded, Pace
from extproc.state import StateError
from extproc.state.counters import (
    Ask,
    Counter,
    Crossed,
    LimitStore,
    Option,
    Outcome,
    Place,
    Settled,
    Take,
)
from extproc.state.embedded.limits import MemoryLimits
from tests.unit.limits.flaky import Clock, Flaky

NOW = 1_800_000_000.0
MINUTE = Counter("user a requests", "bucket", 60, rate=1.0, period=60.0)
DAY = (NOW - 90_000, NOW - 3600, NOW + 82_800, NOW + 169_200)
BUDGET = Counter("team usd", "window", 100_000, params=DAY, lasting=True, closed=True, warn=True)
DAILY = Counter("user requests day", "window", 100, params=DAY, lasting=True)
AT_ONCE = Counter("key concurrent", "concurrent", 8)
CEILING = Counter("t:gpt:rpm", "bucket", 60, rate=1.0, period=60.0)
PACE = Pace(first=0.01, longest=0.02, grace=0.03)


@dataclass
class Scene:
    clock: Clock
    shared: Flaky
    local: MemoryLimits
    store: Guarded
    decisions: list[str] = field(default_factory=list)
    crossed: list[Crossed] = field(default_factory=list)

    async def used(self, counter: Counter) -> float:
        return (await self.shared.inner.peek([counter]))[0].used

    async def back(self) -> None:
        self.shared.revive()
        await until(lambda: not self.store.away and self.owed == 0)

    @property
    def owed(self) -> float:
        return self.store.figures()["away"]["owed"]


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not there():  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.002)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    clock = Clock(NOW)
    shared = Flaky(clock, processes=4)
    local = MemoryLimits(steady=clock, wall=clock)
    decisions: list[str] = []
    store = Guarded(shared, local, decided=decisions.append, pace=PACE, clock=clock, wall=clock)
    made = Scene(clock, shared, local, store, decisions)
    await store.start(made.crossed.append)
    yield made
    if shared.down:
        shared.revive()
    await store.stop()


def ask(ask_id: str, *takes: Take, **more: object) -> Ask:
    return Ask(ask_id, takes, **more)  # type: ignore[arg-type]


def settled(of: Ask, outcome: Outcome, *used: int) -> Settled:
    takes, standings = of.takes, outcome.takes
    if outcome.option >= 0:
        takes += of.options[outcome.option].takes
        standings += outcome.levels
    return Settled(of.id, takes, standings, used)


async def spend(store: LimitStore, ask_id: str, *takes: Take) -> str:
    """Ask, and use exactly what was asked for."""
    of = ask(ask_id, *takes)
    outcome = await store.admit(of)
    if outcome.what == "granted":
        store.settle(settled(of, outcome, *(take.amount for take in takes)))
    return outcome.what


def test_it_is_a_store_of_limits(scene: Scene) -> None:
    store: LimitStore = scene.store
    assert store.owner == scene.shared.owner


async def test_while_the_store_is_there_it_alone_decides(scene: Scene) -> None:
    assert await spend(scene.store, "1", Take(MINUTE, 60)) == "granted"
    assert await spend(scene.store, "2", Take(MINUTE, 1)) == "denied"
    assert scene.decisions == []
    assert await scene.used(MINUTE) == 60


async def test_away_a_limit_by_the_minute_goes_on_with_this_processs_share(scene: Scene) -> None:
    scene.shared.die()
    granted = [await spend(scene.store, str(one), Take(MINUTE, 1)) for one in range(20)]
    assert granted == ["granted"] * 15 + ["denied"] * 5
    assert scene.decisions == ["local"] * 15 + ["denied"] * 5
    # The share flows back at its own rate, and the wait says when.
    denied = await scene.store.admit(ask("w", Take(MINUTE, 1)))
    assert denied.takes[0].used == 60
    scene.clock.at += denied.takes[0].wait
    assert await spend(scene.store, "x", Take(MINUTE, 1)) == "granted"


async def test_away_a_request_larger_than_a_share_gets_through_once(scene: Scene) -> None:
    scene.shared.die()
    assert await spend(scene.store, "1", Take(MINUTE, 50)) == "granted"
    assert await spend(scene.store, "2", Take(MINUTE, 50)) == "denied"


async def test_away_money_is_spent_from_a_small_lease_and_then_closed(scene: Scene) -> None:
    scene.shared.die()
    for one in range(25):
        assert await spend(scene.store, str(one), Take(BUDGET, 10)) == "granted"
    # 1 % of the limit divided by four processes.
    with pytest.raises(AwayError) as closed:
        await spend(scene.store, "x", Take(BUDGET, 10))
    assert closed.value.retry_after > 0
    assert isinstance(closed.value, StateError)
    assert scene.decisions == ["lease"] * 25 + ["closed"]


async def test_away_a_lease_never_passes_what_was_last_known_to_remain(scene: Scene) -> None:
    await spend(scene.store, "1", Take(BUDGET, 99_870))
    scene.shared.die()
    # 130 remain, of which one of four processes has 32.
    for one in range(3):
        assert await spend(scene.store, f"a{one}", Take(BUDGET, 10)) == "granted"
    with pytest.raises(AwayError):
        await spend(scene.store, "b", Take(BUDGET, 10))


async def test_away_one_request_of_a_tiny_budget_still_goes_through(scene: Scene) -> None:
    scene.shared.die()
    assert await spend(scene.store, "1", Take(BUDGET, 50_000)) == "granted"
    with pytest.raises(AwayError):
        await spend(scene.store, "2", Take(BUDGET, 1))


async def test_away_a_new_day_has_a_lease_of_its_own(scene: Scene) -> None:
    await spend(scene.store, "0", Take(BUDGET, 100_000))
    scene.shared.die()
    with pytest.raises(AwayError):
        await spend(scene.store, "1", Take(BUDGET, 10))
    scene.clock.at = DAY[2] + 1
    assert await spend(scene.store, "2", Take(BUDGET, 10)) == "granted"


async def test_what_is_closed_gives_nothing_of_the_rest_away(scene: Scene) -> None:
    scene.shared.die()
    takes = (Take(MINUTE, 1), Take(BUDGET, 250))
    assert await spend(scene.store, "1", *takes) == "granted"
    for one in range(14):
        with pytest.raises(AwayError):
            await spend(scene.store, f"c{one}", *takes)
    granted = [await spend(scene.store, f"d{one}", Take(MINUTE, 1)) for one in range(15)]
    assert granted.count("granted") == 14


async def test_a_share_that_says_no_gives_the_lease_back(scene: Scene) -> None:
    scene.shared.die()
    for one in range(15):
        await spend(scene.store, f"m{one}", Take(MINUTE, 1))
    for one in range(5):
        takes = (Take(MINUTE, 1), Take(BUDGET, 250))
        assert await spend(scene.store, f"d{one}", *takes) == "denied"
    assert await spend(scene.store, "x", Take(BUDGET, 250)) == "granted"


async def test_a_daily_limit_on_requests_goes_on_but_not_beyond_what_remained(
    scene: Scene,
) -> None:
    await spend(scene.store, "1", Take(DAILY, 90))
    scene.shared.die()
    found = [await spend(scene.store, f"r{one}", Take(DAILY, 1)) for one in range(12)]
    assert found == ["granted"] * 10 + ["denied"] * 2
    denied = await scene.store.admit(ask("d", Take(DAILY, 1)))
    assert denied.takes[0].wait == DAY[2] - NOW


async def test_what_only_counts_never_refuses(scene: Scene) -> None:
    scene.shared.die()
    for one in range(30):
        takes = (Take(MINUTE, 5, force=True), Take(BUDGET, 1000, force=True))
        assert await spend(scene.store, str(one), *takes) == "granted"
    await scene.back()
    assert await scene.used(BUDGET) == 30_000


async def test_what_hangs_on_a_trend_does_not_hold(scene: Scene) -> None:
    trend = Counter("k", "trend", 0, params=(60, 86_400, 10, 0, 0, 600))
    slow = Counter("slow", "bucket", 1, rate=0.01, period=60)
    scene.shared.die()
    for one in range(5):
        takes = (Take(trend, 0), Take(slow, 1, guard=0), Take(MINUTE, 1))
        assert await spend(scene.store, str(one), *takes) == "granted"
    await scene.back()
    assert await scene.used(slow) == 0
    assert await scene.used(MINUTE) == 5


async def test_the_limit_of_what_runs_at_once_is_shared_and_given_back(scene: Scene) -> None:
    scene.shared.die()
    one, two = ask("1", Take(AT_ONCE, 1)), ask("2", Take(AT_ONCE, 1))
    first = await scene.store.admit(one)
    assert (await scene.store.admit(two)).what == "granted"
    third = await scene.store.admit(ask("3", Take(AT_ONCE, 1)))
    assert (third.what, third.takes[0].wait) == ("denied", -1)
    scene.store.settle(settled(one, first, 0))
    scene.store.leave("2")
    assert (await scene.store.admit(ask("4", Take(AT_ONCE, 1)))).what == "granted"
    assert (await scene.store.admit(ask("5", Take(AT_ONCE, 1)))).what == "granted"


async def test_ceilings_are_shared_too(scene: Scene) -> None:
    scene.shared.die()
    for one in range(16):
        of = ask(str(one), options=(Option("gpt", (Take(CEILING, 1),)),))
        outcome = await scene.store.admit(of)
        if outcome.what == "granted":
            scene.store.settle(settled(of, outcome, 1))
    assert outcome.what == "denied"
    assert outcome.levels[0].wait > 0
    await scene.back()
    assert await scene.used(CEILING) == 15


async def test_when_it_is_back_it_is_told_what_was_spent(scene: Scene) -> None:
    await spend(scene.store, "0", Take(BUDGET, 1000))
    scene.shared.die()
    of = ask("1", Take(BUDGET, 200), Take(MINUTE, 1))
    outcome = await scene.store.admit(of)
    # Less than was reserved.
    scene.store.settle(settled(of, outcome, 50, 1))
    await scene.back()
    assert await scene.used(BUDGET) == 1050
    assert await scene.used(MINUTE) == 1
    assert await spend(scene.store, "2", Take(BUDGET, 98_950)) == "granted"
    assert await spend(scene.store, "3", Take(BUDGET, 1)) == "denied"


async def test_who_was_let_in_without_it_and_ends_with_it_is_charged(scene: Scene) -> None:
    scene.shared.die()
    of = ask("1", Take(BUDGET, 200))
    outcome = await scene.store.admit(of)
    await scene.back()
    assert await scene.used(BUDGET) == 0
    scene.store.settle(settled(of, outcome, 70))
    await until(lambda: scene.owed == 0)
    assert await scene.used(BUDGET) == 70


async def test_who_was_let_in_with_it_and_ends_without_it_is_charged_once(scene: Scene) -> None:
    of = ask("1", Take(BUDGET, 200))
    outcome = await scene.store.admit(of)
    scene.shared.die()
    with pytest.raises(AwayError):
        await spend(scene.store, "2", Take(BUDGET, 99_900))
    scene.store.settle(settled(of, outcome, 70))
    await scene.back()
    assert await scene.used(BUDGET) == 70


async def test_an_answer_that_got_lost_is_not_counted_twice(scene: Scene) -> None:
    scene.shared.deaf = 1
    assert await spend(scene.store, "1", Take(BUDGET, 200), Take(MINUTE, 1)) == "granted"
    assert scene.decisions == ["lease"]
    await until(lambda: not scene.store.away and scene.owed == 0)
    assert await scene.used(BUDGET) == 200
    assert await scene.used(MINUTE) == 1
    assert scene.shared.asked[0] == "1"


async def test_telling_again_charges_once(scene: Scene) -> None:
    scene.shared.die()
    await spend(scene.store, "1", Take(BUDGET, 200), Take(DAILY, 1))
    scene.shared.deaf = 3
    await scene.back()
    assert len([one for one in scene.shared.asked if ":away:" in one]) == 4
    assert await scene.used(BUDGET) == 200
    assert await scene.used(DAILY) == 1


async def test_a_store_that_comes_and_goes_counts_right_and_hands_out_no_new_lease(
    scene: Scene,
) -> None:
    granted = 0
    for flap in range(10):
        scene.shared.die()
        for one in range(40):
            try:
                await spend(scene.store, f"{flap}.{one}", Take(BUDGET, 10))
            except AwayError:
                break
            granted += 10
        await scene.back()
    assert granted == 250
    assert await scene.used(BUDGET) == granted


async def test_what_was_spent_in_a_window_that_is_over_is_not_charged_to_the_next(
    scene: Scene,
) -> None:
    scene.shared.die()
    await spend(scene.store, "1", Take(BUDGET, 100))
    scene.clock.at = DAY[2] + 10
    await spend(scene.store, "2", Take(BUDGET, 30))
    await scene.back()
    assert await scene.used(BUDGET) == 30


async def test_an_hour_by_the_minute_is_not_charged_at_once(scene: Scene) -> None:
    scene.shared.die()
    for one in range(240):
        await spend(scene.store, str(one), Take(MINUTE, 1))
        scene.clock.at += 5
    scene.clock.at += 3600
    await scene.back()
    assert await scene.used(MINUTE) == 0


async def test_events_are_told_of_the_whole_limit_not_of_a_share(scene: Scene) -> None:
    await spend(scene.store, "0", Take(BUDGET, 79_900))
    scene.shared.die()
    await spend(scene.store, "1", Take(BUDGET, 200))
    assert scene.crossed == []
    await scene.back()
    assert [(one.key, one.share) for one in scene.crossed] == [(BUDGET.key, 0.8)]


async def test_what_another_process_settles_is_charged_here_and_holds_nothing(
    scene: Scene,
) -> None:
    scene.shared.die()
    takes = (Take(CEILING, 5), Take(AT_ONCE, 1))
    for one in range(2):
        of = ask(f"r{one}/gpt", options=(Option("gpt", takes),), owner="another")
        assert (await scene.store.admit(of)).what == "granted"
    of = ask("r2/gpt", *takes, owner="another")
    assert (await scene.store.admit(of)).what == "granted"
    assert scene.local.figures()["held"]["ids"] == 0
    await scene.back()
    assert await scene.used(CEILING) == 15
    assert await scene.used(AT_ONCE) == 0


async def test_asked_again_it_answers_the_same(scene: Scene) -> None:
    scene.shared.die()
    of = ask("1", Take(MINUTE, 10), Take(BUDGET, 250))
    assert await scene.store.admit(of) == await scene.store.admit(of)
    scene.store.leave("1")
    assert (await scene.store.admit(of)).what == "granted"


async def test_what_left_owes_nothing(scene: Scene) -> None:
    scene.shared.die()
    await scene.store.admit(ask("1", Take(MINUTE, 10), Take(BUDGET, 250)))
    scene.store.leave("1")
    await scene.back()
    assert await scene.used(BUDGET) == 0
    assert await scene.used(MINUTE) == 0


async def test_figures_say_that_it_is_away_and_what_is_owed(scene: Scene) -> None:
    assert scene.store.figures()["away"]["now"] == 0
    scene.shared.die()
    await spend(scene.store, "1", Take(MINUTE, 1), Take(BUDGET, 1))
    found = scene.store.figures()["away"]
    assert (found["now"], found["processes"], found["owed"]) == (1, 4, 2)
    assert (await scene.store.peek([BUDGET]))[0].reset == DAY[2] - NOW


async def test_it_starts_without_the_store_and_starts_the_store_when_it_comes() -> None:
    clock = Clock(NOW)
    shared = Flaky(clock)
    shared.die()
    local = MemoryLimits(steady=clock, wall=clock)
    store = Guarded(shared, local, processes=2, pace=PACE, clock=clock, wall=clock)
    await store.start(lambda _: None)
    assert store.away
    assert [await spend(store, str(one), Take(MINUTE, 1)) for one in range(31)].count(
        "granted"
    ) == 30
    shared.revive()
    await until(lambda: not store.away)
    assert shared.started == 1
    await store.stop()
    assert shared.started == 1


async def test_what_could_not_be_told_before_the_end_is_said(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.shared.die()
    await spend(scene.store, "1", Take(BUDGET, 1))
    await scene.store.stop()
    assert "is lost" in caplog.text


# Those who wait.


def waiting(ask_id: str, *takes: Take, ttl: float = 30.0) -> Ask:
    place = Place("p", 1, 0.0, "t", "f", 1.0, ttl, 100, 100, 100, 100, "normal")
    queued = tuple(Take(take.counter, take.amount, queue=True) for take in takes)
    return Ask(ask_id, queued, place=place)


async def begin(scene: Scene, of: Ask) -> asyncio.Task[Outcome]:
    assert (await scene.store.admit(of)).what == "waiting"
    task = asyncio.create_task(scene.store.turn(of))
    for _ in range(5):  # it has begun to wait
        await asyncio.sleep(0)
    return task


async def test_who_waits_when_the_store_dies_waits_on_here(scene: Scene) -> None:
    held = ask("0", Take(AT_ONCE, 8))
    await scene.store.admit(held)
    turns = [await begin(scene, waiting(str(one), Take(AT_ONCE, 1))) for one in range(1, 5)]
    scene.shared.die()
    await until(lambda: sum(turn.done() for turn in turns) == 2)
    # The share of one of four processes is two at once; the rest wait in this process.
    (one, two), (three, four) = (
        [(of, turn) for of, turn in zip("1234", turns, strict=True) if turn.done() is done]
        for done in (True, False)
    )
    assert (one[1].result().what, two[1].result().what) == ("granted", "granted")
    scene.store.settle(settled(waiting(one[0], Take(AT_ONCE, 1)), one[1].result(), 0))
    await asyncio.wait({three[1], four[1]}, return_when=asyncio.FIRST_COMPLETED)
    last = four[1] if three[1].done() else three[1]
    assert not last.done()
    last.cancel()
    await asyncio.wait(turns)
    assert scene.local.figures()["waiting"].get("normal", 0) == 0
    await scene.back()
    assert scene.shared.figures()["waiting"].get("normal", 0) == 0


async def test_who_waits_is_called_here_when_the_store_is_away_for_long(scene: Scene) -> None:
    await scene.store.admit(ask("0", Take(AT_ONCE, 8)))
    turn = await begin(scene, waiting("1", Take(AT_ONCE, 1)))
    scene.shared.patient = True
    scene.shared.die()
    await spend(scene.store, "x", Take(MINUTE, 1))
    await asyncio.sleep(5 * PACE.longest)
    assert not turn.done()
    scene.clock.at += 1
    assert (await turn).what == "granted"
    scene.store.leave("1")
    await scene.back()
    assert scene.shared.figures()["waiting"].get("normal", 0) == 0


async def test_who_waits_here_when_the_store_comes_back_waits_there(scene: Scene) -> None:
    scene.shared.die()
    for one in range(2):
        assert (await scene.store.admit(ask(f"h{one}", Take(AT_ONCE, 1)))).what == "granted"
    turn = await begin(scene, waiting("1", Take(AT_ONCE, 1)))
    assert scene.decisions[-1] == "waiting"
    scene.shared.revive()
    # The whole limit has room.
    assert (await turn).what == "granted"
    assert await scene.used(AT_ONCE) == 1


async def test_time_goes_on_for_who_changes_places(scene: Scene) -> None:
    await scene.store.admit(ask("0", Take(AT_ONCE, 8)))
    turn = await begin(scene, waiting("1", Take(AT_ONCE, 3), ttl=5))
    scene.clock.at += 6
    scene.shared.die()
    assert (await turn).what == "expired"


async def test_who_leaves_while_waiting_here_leaves_nothing_behind(scene: Scene) -> None:
    scene.shared.die()
    await scene.store.admit(ask("0", Take(AT_ONCE, 2)))
    of = waiting("1", Take(AT_ONCE, 1))
    of = Ask(of.id, (*of.takes, Take(BUDGET, 250)), place=of.place)
    turn = await begin(scene, of)
    with pytest.raises(AwayError):
        await scene.store.admit(ask("2", Take(BUDGET, 250)))
    turn.cancel()
    await asyncio.wait({turn})
    assert turn.cancelled()
    assert (await scene.store.admit(ask("2", Take(BUDGET, 250)))).what == "granted"
    assert scene.store.figures()["waiting"].get("normal", 0) == 0


async def test_a_call_that_came_too_late_costs_nobody_his_place(scene: Scene) -> None:
    await scene.store.admit(ask("0", Take(AT_ONCE, 8)))
    turns = [await begin(scene, waiting(str(one), Take(AT_ONCE, 4))) for one in range(1, 3)]
    scene.shared.deaf = 1
    await spend(scene.store, "x", Take(MINUTE, 1))
    await until(lambda: not scene.store.away)
    assert scene.shared.asked.count("1") == scene.shared.asked.count("2") == 1
    scene.store.leave("0")
    assert [(await turn).what for turn in turns] == ["granted", "granted"]


async def test_those_who_change_places_keep_their_order(scene: Scene) -> None:
    scene.shared.die()
    await scene.store.admit(ask("0", Take(AT_ONCE, 2)))
    for counter in (Take(AT_ONCE, 8),):
        await scene.shared.inner.admit(ask("elsewhere", counter))
    turns = [await begin(scene, waiting(str(one), Take(AT_ONCE, 1))) for one in range(1, 9)]
    scene.shared.revive()
    await until(lambda: scene.shared.asked[-8:] == [str(one) for one in range(1, 9)])
    scene.shared.inner.leave("elsewhere")
    assert [(await turn).what for turn in turns] == ["granted"] * 8


async def test_a_storm_of_comings_and_goings_loses_and_doubles_nothing(scene: Scene) -> None:
    """Every request that was let in is charged exactly once."""
    charged, cut = 0, 0

    async def one(number: int) -> None:
        nonlocal charged, cut
        of = waiting(str(number), Take(AT_ONCE, 1), ttl=1000)
        of = Ask(of.id, (*of.takes, Take(DAILY_MANY, 3, queue=True)), place=of.place)
        try:
            outcome = await scene.store.admit(of)
            if outcome.what == "waiting":
                outcome = await scene.store.turn(of)
        except AwayError:
            cut += 1
            return
        if outcome.what != "granted":
            cut += 1
            return
        await asyncio.sleep(0.002)
        scene.store.settle(settled(of, outcome, 0, 2))
        charged += 2

    async def weather() -> None:
        for _ in range(12):
            await asyncio.sleep(0.01)
            scene.shared.die()
            await asyncio.sleep(0.03)
            scene.shared.deaf = 1
            scene.shared.revive()
            await asyncio.sleep(0.02)

    storm = asyncio.create_task(weather())
    for wave in range(20):
        await asyncio.gather(*(one(wave * 20 + number) for number in range(20)))
    await storm
    await scene.back()
    assert charged + 2 * cut == 800
    assert charged > 400
    assert await scene.used(DAILY_MANY) == charged
    assert await scene.used(AT_ONCE) == 0
    assert scene.local.figures()["held"]["ids"] == 0
    assert scene.shared.inner.figures()["held"]["ids"] == 0


DAILY_MANY = Counter("many", "window", 1_000_000, params=DAY, lasting=True)
