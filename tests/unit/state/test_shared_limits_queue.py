"""The queue in Redis: who waits, who is next, and who is woken."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from typing import Any

import pytest
import redis

from extproc.state import StateError
from extproc.state.counters import BEAT, LEASE, Ask, Counter, Option, Outcome, Place, Take
from extproc.state.shared_limits import SharedLimits
from tests.unit.state.test_shared_limits import Clock, Opener, clock, opened, store

__all__ = ["clock", "opened", "store"]

SLOT = Counter("slot", "concurrent", 1)
OTHER = Counter("other", "concurrent", 1)
HUGE = 10**6


def place(**more: Any) -> Place:
    values: dict[str, Any] = {
        "pool": "pool",
        "rank": 1,
        "weight": 0,
        "tenant": "tenant",
        "feature": "",
        "cost": 1,
        "ttl": 60,
        "depth": HUGE,
        "class_depth": HUGE,
        "tenant_depth": HUGE,
        "feature_depth": HUGE,
        "label": "normal",
    }
    return Place(**(values | more))


def wanting(name: str, *takes: Take, slot: Counter = SLOT, **more: Any) -> Ask:
    return Ask(name, takes, (Option("target", (Take(slot, 1),)),), place(**more))


class Line:
    """Requests that wait, in the order in which they have their turn."""

    def __init__(self, store: SharedLimits) -> None:
        self.store = store
        self.served: list[str] = []
        self._turns: set[asyncio.Task[None]] = set()

    async def join(self, ask: Ask) -> Outcome:
        outcome = await self.store.admit(ask)
        if outcome.what == "waiting":
            task = asyncio.create_task(self._turn(ask))
            self._turns.add(task)
            task.add_done_callback(self._turns.discard)
        elif outcome.what == "granted":
            self.served.append(ask.id)
        return outcome

    async def _turn(self, ask: Ask) -> None:
        try:
            outcome = await self.store.turn(ask)
        except StateError:
            return  # the store ends with the test
        self.served.append(ask.id if outcome.what == "granted" else f"{ask.id} {outcome.what}")

    async def serve(self) -> list[str]:
        """One after another, each when the one before it has gone."""
        done = 0
        while self._turns or done < len(self.served):
            if done < len(self.served):
                self.store.leave(self.served[done])
                done += 1
            await asyncio.sleep(0)
        return self.served


@pytest.fixture
def line(store: SharedLimits) -> Line:
    return Line(store)


async def test_nobody_waits_while_there_is_room(store: SharedLimits) -> None:
    granted = await store.admit(wanting("1"))
    assert (granted.what, granted.option) == ("granted", 0)
    waiting = await store.admit(wanting("2"))
    assert (waiting.what, waiting.position) == ("waiting", 1)
    assert waiting.levels[0].wait == -1
    assert store.figures()["waiting"] == {"normal": 1}


async def test_who_came_first_goes_first(line: Line) -> None:
    for number in range(10):
        await line.join(wanting(str(number)))
    assert await line.serve() == [str(number) for number in range(10)]


async def test_strict_classes_go_by_rank(line: Line) -> None:
    for name, rank in (("a", 2), ("b", 2), ("c", 1), ("d", 0), ("e", 1)):
        await line.join(wanting(name, rank=rank))
    assert await line.serve() == ["a", "d", "c", "e", "b"]


async def test_weighted_classes_share_turns_by_weight(line: Line) -> None:
    await line.join(wanting("first"))
    for number in range(40):
        await line.join(wanting(f"heavy {number}", rank=0, weight=3))
        await line.join(wanting(f"light {number}", rank=1, weight=1))
    served = (await line.serve())[1:41]
    assert Tally(name.split()[0] for name in served) == {"heavy": 30, "light": 10}


async def test_a_loud_tenant_costs_a_quiet_one_nothing(line: Line) -> None:
    for number in range(40):
        await line.join(wanting(f"loud {number}", tenant="loud"))
    for number in range(4):
        await line.join(wanting(f"quiet {number}", tenant="quiet"))
    served = await line.serve()
    assert [name for name in served[:9] if name.startswith("quiet")] == [
        f"quiet {number}" for number in range(4)
    ]


async def test_a_large_request_counts_for_more(line: Line) -> None:
    await line.join(wanting("first"))
    for number in range(10):
        await line.join(wanting(f"large {number}", tenant="large", cost=1000))
        await line.join(wanting(f"small {number}", tenant="small", cost=100))
    served = (await line.serve())[1:12]
    assert Tally(name.split()[0] for name in served) == {"large": 1, "small": 10}


async def test_a_batch_feature_does_not_hold_up_the_others_of_its_tenant(line: Line) -> None:
    for number in range(20):
        await line.join(wanting(f"batch {number}", feature="batch"))
    await line.join(wanting("chat", feature="chat"))
    await line.join(wanting("other", tenant="other"))
    assert set((await line.serve())[1:4]) == {"batch 1", "chat", "other"}


async def test_who_comes_back_is_not_paid_for_having_been_away(line: Line) -> None:
    await line.join(wanting("first"))
    for number in range(30):
        await line.join(wanting(f"a {number}", tenant="a"))
    store = line.store
    for name in ["first", *(f"a {number}" for number in range(19))]:
        store.leave(name)
        await store.ping()
    for number in range(10):
        await line.join(wanting(f"b {number}", tenant="b"))
    line.served.clear()
    store.leave("a 19")
    await store.ping()
    await asyncio.sleep(0)
    assert line.served
    served = await line.serve()
    assert Tally(name[0] for name in served[:10]) == {"a": 5, "b": 5}


async def test_a_blocked_pool_holds_up_no_other(line: Line, store: SharedLimits) -> None:
    await line.join(wanting("1"))
    await line.join(wanting("2", rank=0))
    assert (await line.join(wanting("3", pool="q", slot=OTHER))).what == "granted"
    assert (await line.join(wanting("4", pool="q", slot=OTHER))).what == "waiting"
    store.leave("3")
    await store.ping()
    assert line.served == ["1", "3", "4"]


async def test_who_waits_for_its_own_limit_holds_up_nobody_else(
    store: SharedLimits, clock: Clock
) -> None:
    mine = Counter("mine", "bucket", 10, 1, 10)
    both = Line(store)
    await both.join(wanting("0", Take(mine, 10, queue=True)))
    assert (await both.join(wanting("1", Take(mine, 5, queue=True), slot=OTHER))).what == "waiting"
    # A small one does not pass it at the same limit, another's request does.
    clock.now += 2
    assert (await both.join(wanting("2", Take(mine, 1, queue=True), slot=OTHER))).what == "waiting"
    assert (await both.join(wanting("3", tenant="b", slot=OTHER))).what == "granted"
    store.leave("3")
    clock.now += 3
    await store.beat()
    await asyncio.sleep(0)
    assert both.served == ["0", "3", "1"]
    store.leave("2")


async def test_a_limit_that_refuses_is_not_waited_for(store: SharedLimits) -> None:
    mine = Counter("mine", "bucket", 10, 1, 10)
    await store.admit(wanting("1", Take(mine, 10)))
    assert (await store.admit(wanting("2", Take(mine, 1)))).what == "denied"


@pytest.mark.parametrize(
    ("full", "depths"),
    [
        ("feature", {"feature_depth": 2}),
        ("tenant", {"tenant_depth": 2}),
        ("class", {"class_depth": 2}),
        ("all", {"depth": 2}),
    ],
)
async def test_the_queue_is_full_at_its_depth(
    store: SharedLimits, full: str, depths: dict[str, Any]
) -> None:
    whats = [await store.admit(wanting(str(number), **depths)) for number in range(4)]
    assert [one.what for one in whats] == ["granted", "waiting", "waiting", "full"]
    assert whats[3].full == full
    elsewhere: tuple[dict[str, Any], ...] = {"feature": "f"}, {"tenant": "t"}, {"rank": 0}
    for more in elsewhere[("feature", "tenant", "class", "all").index(full) :]:
        assert (await store.admit(wanting(str(more), **depths, **more))).what == "waiting"


async def test_a_higher_class_takes_the_place_of_the_youngest_of_the_lowest(line: Line) -> None:
    await line.join(wanting("0"))
    for name, rank in (("a", 1), ("b", 2), ("c", 2)):
        await line.join(wanting(name, rank=rank, depth=3))
    assert (await line.join(wanting("d", rank=0, depth=3))).what == "waiting"
    assert (await line.join(wanting("e", rank=2, depth=3))).full == "all"
    assert await line.serve() == ["0", "c displaced", "d", "a", "b"]


async def test_who_has_waited_too_long_is_out_of_the_queue(
    store: SharedLimits, line: Line, clock: Clock
) -> None:
    mine = Counter("mine", "window", 10, params=(0, 1, 2, 10 * clock.now))
    await line.join(wanting("0"))
    await line.join(wanting("1", Take(mine, 4), ttl=5))
    assert [one.used for one in await store.peek([mine])] == [4]
    clock.now += 5
    await store.beat()
    await asyncio.sleep(0)
    assert line.served == ["0", "1 expired"]
    assert [one.used for one in await store.peek([mine])] == [0]


async def test_the_time_to_live_is_kept_even_if_redis_says_nothing(store: SharedLimits) -> None:
    await store.admit(wanting("0"))
    ask = wanting("1", ttl=0.05)
    await store.admit(ask)
    assert (await store.turn(ask)).what == "expired"
    assert store.figures()["waiting"] == {}


async def test_a_client_that_is_gone_is_out_of_the_queue_at_once(store: SharedLimits) -> None:
    await store.admit(wanting("0"))
    first, second = wanting("1"), wanting("2")
    for ask in (first, second):
        await store.admit(ask)
    turns = [asyncio.create_task(store.turn(ask)) for ask in (first, second)]
    await asyncio.sleep(0)
    turns[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await turns[0]
    store.leave("0")
    assert (await turns[1]).what == "granted"


async def test_a_client_that_is_gone_before_the_answer_holds_nothing(store: SharedLimits) -> None:
    await store.ping()
    asking = asyncio.create_task(store.admit(wanting("1")))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [one.used for one in await store.peek([SLOT])] == [0]


async def test_a_turn_is_told_across_processes(opened: Opener) -> None:
    one, other = opened("one"), opened("other")
    await one.admit(wanting("1"))
    ask = wanting("2")
    assert (await other.admit(ask)).what == "waiting"
    turn = asyncio.create_task(other.turn(ask))
    one.leave("1")
    assert (await asyncio.wait_for(turn, BEAT / 2)).what == "granted"


async def test_a_turn_whose_message_was_lost_is_found(opened: Opener) -> None:
    one, other = opened("one"), opened("other")
    await one.admit(wanting("1"))
    ask = wanting("2")
    await other.admit(ask)
    turn = asyncio.create_task(other.turn(ask))
    other._calls._heard = lambda _: None
    one.leave("1")
    await one.ping()
    await other.ping()
    assert not turn.done()
    await other.beat()
    assert (await turn).what == "granted"


async def test_a_turn_told_before_the_answer_that_it_waits_is_not_lost(store: SharedLimits) -> None:
    await store.admit(wanting("0"))
    ask = wanting("1")
    waiting = asyncio.create_task(store.admit(ask))
    await asyncio.sleep(0)
    store.leave("0")
    assert (await waiting).what == "waiting"
    assert (await asyncio.wait_for(store.turn(ask), BEAT / 2)).what == "granted"


async def test_what_flows_back_is_given_out_in_time(opened: Opener) -> None:
    stores = [opened(str(number), timed=False) for number in range(3)]
    flow = Counter("flow", "bucket", 2, 50, 1)

    async def one(store: SharedLimits, number: int) -> str:
        option = Option("target", (Take(flow, 1),))
        ask = Ask(f"{store.owner} {number}", (), (option,), place(cost=1))
        outcome = await store.admit(ask)
        if outcome.what == "waiting":
            outcome = await store.turn(ask)
        store.leave(f"{store.owner} {number} never was")
        return outcome.what

    loop = asyncio.get_running_loop()
    began = loop.time()
    whats = await asyncio.gather(*(one(store, n) for store in stores for n in range(10)))
    assert set(whats) == {"granted"}
    # 30 at 50 a second, 2 of them at once; no beat has come to help.
    assert 0.5 < loop.time() - began < BEAT


async def test_a_dead_process_frees_its_slots_and_its_places(opened: Opener, clock: Clock) -> None:
    dead, living = opened("dead"), opened("living")
    await dead.beat()
    await dead.admit(wanting("held", Take(Counter("mine", "concurrent", 9), 1)))
    for number in range(3):
        await dead.admit(wanting(f"lost {number}", rank=0))
    ask = wanting("alive")
    outcome = await living.admit(ask)
    assert (outcome.what, outcome.position) == ("waiting", 4)
    turn = asyncio.create_task(living.turn(ask))
    while clock.now <= 1_000 * 86_400 + LEASE:
        await living.beat()
        assert not turn.done()
        clock.now += BEAT
    await living.beat()
    assert (await turn).what == "granted"
    assert living.figures()["owners"]["alive"] == 1


async def test_turns_of_a_dead_process_go_to_others_at_once(opened: Opener, redis_url: str) -> None:
    """Not when its lease is over: until then it would be given every turn there is."""
    channel = b"tollgate:limits:wake:dead"
    dead, living = opened("dead", timed=False), opened("living", timed=False)
    first = wanting("first")
    outcome = await living.admit(first)
    for number in range(3):
        assert (await dead.admit(wanting(f"lost {number}", rank=0))).what == "waiting"
    ask = wanting("alive")
    assert (await living.admit(ask)).position == 4
    turn = asyncio.create_task(living.turn(ask))
    assert outcome.what == "granted"
    await dead._calls.close()  # as the system does with what a killed process had
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(1000):
            if not dict(client.pubsub_numsub(channel))[channel]:
                break
            await asyncio.sleep(0.01)
    living.leave(first.id)
    async with asyncio.timeout(LEASE / 2):
        assert (await turn).what == "granted"


async def test_many_processes_serve_everybody_and_leave_nothing_behind(
    opened: Opener, redis_url: str
) -> None:
    stores = [opened(str(number), timed=False) for number in range(4)]
    for each in stores:
        await each.start(lambda _: None)
    slots = Counter("slots", "concurrent", 5)
    most = 0

    async def one(store: SharedLimits, number: int) -> str:
        nonlocal most
        name = f"{store.owner} {number}"
        more = {"rank": number % 3, "tenant": f"t{number % 5}", "feature": f"f{number % 2}"}
        ask = Ask(name, (), (Option("target", (Take(slots, 1),)),), place(**more))
        outcome = await store.admit(ask)
        if outcome.what == "waiting":
            outcome = await store.turn(ask)
        most = max(most, int(outcome.levels[0].used))
        await asyncio.sleep(0)
        store.leave(name)
        return outcome.what

    whats = await asyncio.gather(*(one(store, n) for store in stores for n in range(50)))
    assert Tally(whats) == {"granted": 200}
    assert most == 5
    for each in stores:
        await each.ping()
        assert each.figures()["held"] == {"ids": 0}
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys("*:q:*") == [b"{tollgate:limits}:q:seq"]
        assert client.keys("*:h:*") == client.keys("*:c:*") == []


def spent(user: str) -> Take:
    """From a limit of which nothing is left."""
    return Take(Counter(user, "window", 0.5, params=(0.0, 1e9, 3e9, 4e9)), 1, queue=True)


@pytest.mark.parametrize("users", [1, 300])
async def test_those_at_their_own_limits_hold_up_nobody_however_many(
    line: Line, users: int
) -> None:
    await line.join(wanting("first"))
    for number in range(300):
        await line.join(wanting(f"spent {number}", spent(f"u{number % users}"), tenant="loud"))
    await line.join(wanting("quiet", tenant="quiet"))
    line.store.leave("first")
    for _ in range(5000):
        if "quiet" in line.served:
            break
        await asyncio.sleep(0.001)
    assert "quiet" in line.served


async def test_one_whose_limit_has_room_again_is_looked_at_again(line: Line) -> None:
    own = Counter("own", "concurrent", 1)
    await line.store.admit(Ask("mine", (Take(own, 1),)))
    await line.join(wanting("2", Take(own, 1, queue=True)))
    await line.join(wanting("3", tenant="other", slot=OTHER))
    await line.store.ping()
    assert line.served == ["3"]
    line.store.leave("mine")
    await line.store.ping()
    await asyncio.sleep(0.01)
    assert line.served == ["3", "2"]


async def test_who_was_held_up_by_another_goes_once_turns_have_changed_the_order(
    line: Line,
) -> None:
    """A turn in a pass lets another tenant be first at a counter."""
    shared = Counter("shared", "window", 5, params=(0.0, 1e9, 3e9, 4e9))
    big, small = Take(shared, 9, queue=True), Take(shared, 1, queue=True)
    await line.join(wanting("first"))
    await line.join(wanting("big", big, tenant="x", slot=OTHER))
    await line.join(wanting("next", tenant="x", cost=5))
    await line.join(wanting("small", small, tenant="y", slot=OTHER))
    assert line.served == ["first"]
    line.store.leave("first")
    await line.store.ping()
    await asyncio.sleep(0.01)
    assert line.served == ["first", "next", "small"]
