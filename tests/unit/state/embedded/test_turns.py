"""In which order those who wait are served."""

from __future__ import annotations

import random
from collections import Counter as Tally

import pytest

from extproc.state.counters import Ask, Counter, Outcome, Place, Take
from extproc.state.embedded.turns import Blocked, Turns, Waiter

GONE = Outcome("granted")


def place(
    tenant: str = "t", feature: str = "f", *, pool: str = "p", rank: int = 0, weight: float = 0.0,
    cost: float = 1.0,
) -> Place:  # fmt: skip
    return Place(pool, rank, weight, tenant, feature, cost, 10.0, 9, 9, 9, 9)


def needing(*keys: str) -> tuple[Take, ...]:
    return tuple(Take(Counter(key, "concurrent", 1.0), 1, queue=True) for key in keys)


class Line:
    """Turns, with names for those who wait."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.named: dict[str, Waiter] = {}

    def come(
        self, name: str, where: Place, *, takes: tuple[Take, ...] = (), deadline: float = 10.0
    ) -> None:
        waiter = Waiter(
            Ask(name, takes, place=where), where, "me",
            seq=self.turns.next_seq(), deadline=deadline, holds=not takes,
        )  # fmt: skip
        self.named[name] = waiter
        self.turns.add(waiter)

    def serve(self, times: int = 10_000) -> list[str]:
        """Everybody fits."""
        blocked, served = Blocked(), []
        while times and (waiter := self.turns.pick(blocked)):
            times -= 1
            self.turns.charge(waiter)
            self.gone(waiter.ask.id)
            served.append(waiter.ask.id)
        return served

    def gone(self, name: str) -> None:
        waiter = self.named.pop(name)
        self.turns.remove(waiter)
        waiter.outcome = GONE


def test_first_come_first_served_in_a_feature() -> None:
    line = Line()
    for name in "abcd":
        line.come(name, place())
    line.gone("b")
    assert line.serve() == ["a", "c", "d"]


def test_a_higher_class_goes_first() -> None:
    line = Line()
    for name, rank in ("a2", 2), ("b0", 0), ("c1", 1), ("d0", 0):
        line.come(name, place(rank=rank))
    assert line.serve() == ["b0", "d0", "c1", "a2"]


def test_weights_between_classes() -> None:
    line = Line()
    for number in range(60):
        line.come(f"high {number}", place(rank=0, weight=3.0))
        line.come(f"low {number}", place(rank=1, weight=1.0))
    first = Tally(name.split()[0] for name in line.serve(40))
    assert first == {"high": 30, "low": 10}


def test_a_loud_tenant_has_no_more_turns_than_a_quiet_one() -> None:
    line = Line()
    for number in range(100):
        line.come(f"loud {number}", place("loud"))
    for number in range(5):
        line.come(f"quiet {number}", place("quiet"))
    served = line.serve(10)
    assert Tally(name.split()[0] for name in served) == {"loud": 5, "quiet": 5}


def test_what_a_turn_costs_counts() -> None:
    line = Line()
    for number in range(100):
        line.come(f"large {number}", place("large", cost=300))
        line.come(f"small {number}", place("small", cost=100))
    assert Tally(name.split()[0] for name in line.serve(40)) == {"large": 10, "small": 30}


def test_a_batch_feature_cannot_hold_up_the_chatbot_of_its_tenant() -> None:
    line = Line()
    for number in range(100):
        line.come(f"batch {number}", place("x", "batch"))
    for number in range(5):
        line.come(f"chat {number}", place("x", "chat"))
    assert Tally(name.split()[0] for name in line.serve(10)) == {"batch": 5, "chat": 5}


def test_a_tenant_with_many_features_has_no_more_turns() -> None:
    line = Line()
    for number in range(50):
        line.come(f"many {number}", place("many", f"feature {number}"))
        line.come(f"one {number}", place("one"))
    assert Tally(name.split()[0] for name in line.serve(40)) == {"many": 20, "one": 20}


def test_staying_away_saves_no_turns_up() -> None:
    line = Line()
    for number in range(200):
        line.come(f"here {number}", place("here"))
    line.serve(100)
    for number in range(50):
        line.come(f"back {number}", place("back"))
    assert Tally(name.split()[0] for name in line.serve(20)) == {"here": 10, "back": 10}


def test_going_away_for_a_moment_gains_nothing() -> None:
    line = Line()
    for number in range(40):
        line.come(f"a {number}", place("a"))
    order = []
    for number in range(20):
        # b is never there with more than one, and each of its turns costs ten of a's.
        line.come(f"b {number}", place("b", cost=10))
        order += line.serve(2)
    assert Tally(name.split()[0] for name in order)["b"] <= 5


def test_nothing_is_remembered_when_nobody_waits() -> None:
    line = Line()
    line.come("a", place("a", cost=1e9))
    line.serve()
    line.come("a", place("a"))
    line.come("b", place("b"))
    assert line.serve() == ["a", "b"]
    assert not line.turns.classes
    assert line.turns.deadline() is None


def test_idle_tenants_are_forgotten() -> None:
    line = Line()
    line.come("stays", place("stays"))
    for number in range(20_000):
        line.come(f"{number}", place(f"tenant {number}"))
        line.gone(f"{number}")
    assert len(line.turns.classes[0].children) < 200
    for number in range(20_000):
        # Each is ahead of the one that stays, for it was just served.
        line.come(f"{number}", place(f"tenant {number}", cost=5))
        line.turns.charge(line.named[f"{number}"])
        line.gone(f"{number}")
    assert len(line.turns.classes[0].children) < 10_000
    assert line.serve() == ["stays"]


def test_a_blocked_pool_blocks_no_other() -> None:
    line = Line()
    for name, pool in ("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"):
        line.come(name, place(pool=pool))
    blocked = Blocked()
    first = line.turns.pick(blocked)
    assert first is not None
    assert first.ask.id == "a1"
    blocked.pools.add("a")
    second = line.turns.pick(blocked)
    assert second is not None
    assert second.ask.id == "b1"
    blocked.pools.add("b")
    assert line.turns.pick(blocked) is None


def test_who_waits_for_a_counter_holds_up_only_those_who_need_it() -> None:
    line = Line()
    line.come("big of u", place(), takes=needing("u", "all"))
    line.come("small of u", place(), takes=needing("u"))
    line.come("of v", place(), takes=needing("v"))
    line.come("holds", place())
    blocked = Blocked()
    found = []
    while (waiter := line.turns.pick(blocked)) is not None:
        found.append(waiter.ask.id)
        if waiter.ask.id == "big of u":
            blocked.counters.add("u")
        else:
            line.turns.charge(waiter)
            line.gone(waiter.ask.id)
    assert found == ["big of u", "of v", "holds"]


@pytest.mark.parametrize("seed", range(30))
def test_a_pass_goes_on_where_it_was_as_if_begun_anew(seed: int) -> None:
    """The heaps of a pass are put right as it goes; a new pass with the same blocked sets must
    find the same one."""
    dice = random.Random(seed)
    line, blocked = Line(), Blocked()
    for number in range(80):
        where = place(
            dice.choice("xyz"), dice.choice("fg"), pool=dice.choice("pqr"),
            rank=dice.choice([0, 0, 1]), cost=dice.choice([1.0, 1.0, 3.0]),
        )  # fmt: skip
        takes = needing(*dice.sample("uvw", dice.randrange(3)))
        line.come(str(number), where, takes=takes)
    while (waiter := line.turns.pick(blocked)) is not None:
        fresh = Blocked()
        fresh.pools, fresh.counters = set(blocked.pools), set(blocked.counters)
        assert line.turns.pick(fresh) is waiter
        chance = dice.random()
        if chance < 0.05:
            blocked.pools.add(waiter.place.pool)
        elif chance < 0.15 and waiter.lane[1]:
            blocked.counters.add(dice.choice(sorted(waiter.lane[1])))
        else:
            line.turns.charge(waiter)
            line.gone(waiter.ask.id)
    left = [waiter.lane for waiter in line.named.values()]
    assert all(blocked.holds_up(lane) for lane in left)


def test_who_is_overdue() -> None:
    line = Line()
    for name, deadline in ("a", 3.0), ("b", 1.0), ("c", 2.0):
        line.come(name, place(), deadline=deadline)
    assert line.turns.deadline() == 1.0
    line.gone("c")
    for waiter in line.turns.overdue(2.5):
        assert waiter.ask.id == "b"
        line.gone("b")
    assert line.turns.deadline() == 3.0
    for number in range(1000):
        line.come(f"{number}", place(), deadline=1e9)
        line.gone(f"{number}")
    assert len(line.turns._deadlines) < 200


def test_who_makes_room() -> None:
    line = Line()
    line.come("a", place(rank=1))
    line.come("b", place(rank=2))
    line.come("c", place(rank=2))
    line.come("d", place(rank=1))
    youngest = line.turns.youngest_below(0)
    assert youngest is not None
    assert youngest.ask.id == "c"
    assert line.turns.youngest_below(2) is None


def test_position() -> None:
    line = Line()
    line.come("a", place(rank=1))
    line.come("b", place(rank=1))
    line.come("c", place(rank=0))
    assert [line.turns.position(line.named[name]) for name in "abc"] == [2, 3, 1]
    for name in "abc":
        line.gone(name)
    line.come("d", place(rank=1, weight=1.0))
    line.come("e", place(rank=0, weight=2.0))
    assert [line.turns.position(line.named[name]) for name in "de"] == [1, 2]
