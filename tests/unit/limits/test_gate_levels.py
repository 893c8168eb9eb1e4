"""Levels with ceilings, and the queue in front of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.policy import Ceilings, QueuePolicy
from extproc.records import Attribution, Usage
from tests.unit.limits.gating import ONE, Gating, asking, candidate, compiled, target

# --- levels -----------------------------------------------------------------------------------


def two(first: Ceilings, second: Ceilings | None) -> list[Any]:
    return [candidate("a", ceilings=first), candidate("b", ceilings=second)]


async def test_a_level_at_its_ceiling_is_passed_over() -> None:
    gating = Gating()
    levels = two(ONE, ONE)
    first = await gating.granted(compiled(), "r1", levels=levels)
    assert (first.level, first.target, first.passed) == (0, "a", ())
    second = await gating.granted(compiled(), "r2", levels=levels)
    assert (second.level, second.target, second.passed) == (1, "b", ("a",))
    gating.served(first)
    assert (await gating.granted(compiled(), "r3", levels=levels)).target == "a"


async def test_near_its_ceiling_it_is_passed_over_as_long_as_another_has_room() -> None:
    gating = Gating()
    levels = two(Ceilings(rpm=4, high_water=0.5), Ceilings(concurrent=1, high_water=1.0))
    targets = [
        (await gating.granted(compiled(), f"r{number}", levels=levels)).target
        for number in range(5)
    ]
    assert targets == ["a", "a", "b", "a", "a"]
    assert gating.heard.room["a"] == 0


async def test_where_envoy_draws_nobody_is_named() -> None:
    gating = Gating()
    levels = [candidate("a", ceilings=ONE), [(candidate("b"), 1), (candidate("c"), 1)]]
    await gating.granted(compiled(), "r1", levels=levels)
    grant = await gating.granted(compiled(), "r2", levels=levels)
    assert (grant.level, grant.target) == (1, None)


async def test_when_every_level_is_full_the_least_wait_is_told() -> None:
    gating = Gating()
    rules = compiled(ttl=0.0)
    levels = two(Ceilings(rpm=1), Ceilings(rpm=2))
    for number in range(3):
        await gating.granted(rules, f"r{number}", levels=levels)
    error = await gating.refused(rules, "r4", levels=levels)
    assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", 30)
    assert "(a, b)" in error.message
    assert gating.heard.decisions == [("capacity", "refused")]
    gating.clock.at += 30
    assert (await gating.granted(rules, "r5", levels=levels)).target == "b"


async def test_limits_and_levels_both_have_to_have_room() -> None:
    gating = Gating()
    rules = compiled({"user": {"requests": "1/m"}}, ttl=0.0)
    levels = [candidate("a", ceilings=Ceilings(rpm=1))]
    await gating.granted(rules, "r1", levels=levels)
    gating.clock.at += 30
    await gating.granted(
        compiled({"user": {"requests": "1/m"}}, ttl=0.0), "r2", levels=[candidate("z")],
        attribution=Attribution(user="bob"),
    )  # fmt: skip
    assert (await gating.refused(rules, "r3", levels=levels)).retry_after == 30


async def test_a_level_that_served_is_settled_to_what_it_used() -> None:
    gating = Gating()
    levels = [candidate("a", ceilings=Ceilings(rpm=9, tpm=1000, itpm=500, otpm=500, concurrent=2))]
    grant = await gating.granted(compiled(), levels=levels)
    assert await gating.used_at(grant) == [1, 150, 100, 50, 1]
    gating.served(grant, (120, 10))
    assert await gating.used_at(grant) == [1, 130, 120, 10, 0]


async def test_a_level_that_did_not_serve_has_used_a_request_and_no_tokens() -> None:
    gating = Gating()
    ceilings = Ceilings(rpm=9, tpm=1000, concurrent=2)
    levels = two(ceilings, ceilings)
    grant = await gating.granted(compiled(), levels=levels)
    lease = gating.gate.lease(grant)
    assert lease == "w1;100;50;a"
    assert await gating.gate.attempt("r1", lease, levels[0].target) == (True, None)
    assert await gating.used_at(grant) == [1, 150, 1]
    assert await gating.gate.attempt("r1", lease, levels[1].target) == (True, None)
    assert await gating.used_at(grant, 1) == [1, 150, 1]
    gating.served(grant, (100, 20), by="b", walked=["a"])
    assert await gating.used_at(grant) == [1, 0, 0]
    assert await gating.used_at(grant, 1) == [1, 120, 0]
    assert gating.store.figures()["held"] == {"ids": 0.0}


async def test_a_level_that_was_never_asked_has_used_nothing() -> None:
    gating = Gating()
    grant = await gating.granted(compiled(), levels=[candidate(ceilings=Ceilings(rpm=9))])
    gating.gate.settle(grant, None, None, None, ())
    assert await gating.used_at(grant) == [0]


async def test_a_client_that_left_before_the_answer_has_used_the_leased_level() -> None:
    gating = Gating()
    grant = await gating.granted(compiled(), levels=[candidate(ceilings=Ceilings(rpm=9, tpm=900))])
    gating.gate.settle(grant, Usage(100, 0, estimated=True), None, None, ())
    assert await gating.used_at(grant) == [1, 100]


async def test_what_a_level_took_for_a_request_that_broke_off_is_given_back() -> None:
    gating = Gating()
    levels = two(ONE, Ceilings(rpm=5, concurrent=1))
    grant = await gating.granted(compiled(), levels=levels)
    await gating.gate.attempt("r1", gating.gate.lease(grant), levels[1].target)
    gating.gate.settle(grant, None, None, None, ["a"])
    assert await gating.used_at(grant, 1) == [0, 0]


async def test_a_level_that_took_room_just_after_the_end_gives_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("extproc.limits.gate.LATE", 0.01)
    gating = Gating()
    levels = two(ONE, ONE)
    grant = await gating.granted(compiled(), levels=levels)
    gating.gate.settle(grant, None, None, None, ["a"])
    await gating.gate.attempt("r1", gating.gate.lease(grant), levels[1].target)
    assert await gating.used_at(grant, 1) == [1]
    async with asyncio.timeout(5):
        while await gating.used_at(grant, 1) != [0]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_later_level_at_its_ceiling_says_how_long() -> None:
    gating = Gating()
    second = candidate("b", ceilings=Ceilings(rpm=1))
    levels = [candidate("a"), second]
    grant = await gating.granted(compiled(), levels=levels)
    assert grant.ask is None
    lease = gating.gate.lease(grant)
    assert lease == "w1;100;50;"
    assert await gating.gate.attempt("r1", lease, second.target) == (True, None)
    assert await gating.gate.attempt("r2", lease, second.target) == (False, 60)
    gating.clock.at += 60
    assert await gating.gate.attempt("r3", lease, second.target) == (True, None)


async def test_a_later_level_that_is_busy_cannot_say_how_long() -> None:
    gating = Gating()
    busy = target("b", ceilings=ONE)
    assert await gating.gate.attempt("r1", "w1;1;1;", busy) == (True, None)
    assert await gating.gate.attempt("r2", "w1;1;1;", busy) == (False, None)


async def test_without_a_lease_nothing_is_counted_at_a_level() -> None:
    gating = Gating()
    for number in range(3):
        found = await gating.gate.attempt(f"r{number}", None, target("b", ceilings=ONE))
        assert found == (True, None)


async def test_who_pays_the_provider_himself_meets_no_ceiling() -> None:
    gating = Gating()
    levels = [candidate("a", ceilings=ONE)]
    for number in range(3):
        grant = await gating.granted(compiled(), f"r{number}", levels=levels, own_key=True)
        assert gating.gate.lease(grant) is None


async def test_a_limit_by_target_is_charged_where_it_was_served() -> None:
    gating = Gating()
    rules = compiled({"user,target": {"tokens": "1000/d"}})
    levels = [candidate("a"), candidate("b")]
    grant = await gating.granted(rules, levels=levels)
    assert grant.target == "a"
    gating.served(grant, (100, 20), by="b", walked=["a"])
    assert await gating.used_at(grant) == [0]
    assert await gating.used_at(grant, 1) == [120]


async def test_a_limit_by_target_that_is_used_up_everywhere_says_which() -> None:
    gating = Gating()
    rules = compiled({"target": {"requests": "2/h"}})
    levels = [candidate("a"), candidate("b")]
    for number in range(4):
        grant = await gating.granted(rules, f"r{number}", levels=levels)
        assert grant.wait is None
    with pytest.raises(ClientError) as caught:
        await gating.granted(rules, "r4", levels=levels)
    error = caught.value
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert "target requests 2/h" in error.message
    assert "2 of 2 requests" in error.message
    assert error.retry_after == pytest.approx(1800, abs=1)


async def test_a_provider_that_says_no_is_left_alone_as_long_as_it_says() -> None:
    gating = Gating()
    levels = two(Ceilings(rpm=100), Ceilings(rpm=100))
    gating.gate.heard(levels[0].target, 429, {"retry-after": "7"})
    assert (await gating.granted(compiled(), "r1", levels=levels)).target == "b"
    gating.clock.at += 7.1
    assert (await gating.granted(compiled(), "r2", levels=levels)).target == "a"


# --- the queue --------------------------------------------------------------------------------


async def test_a_request_waits_for_a_level_and_is_then_leased_there() -> None:
    gating = Gating()
    first = await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    second = await gating.waiting("r2")
    turn = asyncio.create_task(gating.gate.turn(second))
    await asyncio.sleep(0)
    assert not turn.done()
    gating.served(first)
    await turn
    assert (second.target, second.level) == ("a", 0)
    assert gating.gate.lease(second) == "w1;100;50;a"
    gating.served(second)
    assert await gating.used_at(second) == [0]


async def test_one_that_waited_too_long_is_told_so() -> None:
    gating = Gating()
    await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    grant = await gating.waiting("r2", deadline="20ms")
    turn = asyncio.create_task(gating.gate.turn(grant))
    await asyncio.sleep(0)
    gating.clock.at += 1
    gating.store.beat()
    with pytest.raises(ClientError) as caught:
        await turn
    assert (caught.value.status, caught.value.code) == (503, "queue_timeout")
    assert caught.value.retry_after is not None
    assert "waited 1.0 seconds" in caught.value.message
    assert gating.heard.queue == [("normal", "expired")]
    gating.gate.settle(grant, None, None, None, ())
    assert gating.store.figures()["held"] == {"ids": 1.0}


async def test_a_client_that_goes_leaves_the_queue() -> None:
    gating = Gating()
    first = await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    grant = await gating.waiting("r2")
    turn = asyncio.create_task(gating.gate.turn(grant))
    await asyncio.sleep(0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    gating.gate.settle(grant, None, None, None, ())
    gating.served(first)
    assert gating.store.figures()["waiting"].get("normal", 0) == 0
    await gating.granted(compiled(), "r3", levels=[candidate(ceilings=ONE)])
    assert gating.heard.queue == [("normal", "gone")]


async def test_one_whose_turn_is_never_asked_for_leaves_the_queue() -> None:
    gating = Gating()
    first = await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    gating.gate.settle(await gating.waiting("r2"), None, None, None, ())
    gating.served(first)
    await gating.granted(compiled(), "r3", levels=[candidate(ceilings=ONE)])


async def test_a_full_queue_says_so_and_a_higher_class_takes_a_place() -> None:
    gating = Gating()
    rules = compiled(queue=QueuePolicy(depth=1))
    await gating.granted(rules, "r1", levels=[candidate(ceilings=ONE)])
    low = await gating.waiting("r2", rules=rules, attribution=Attribution(priority="low"))
    error = await gating.refused(rules, "r3", levels=[candidate(ceilings=ONE)],
        attribution=Attribution(priority="low"),
    )  # fmt: skip
    assert (error.status, error.code) == (503, "queue_full")
    assert ("retry-after", "1") in error.headers()
    await gating.waiting("r4", rules=rules, attribution=Attribution(priority="high"))
    with pytest.raises(ClientError) as caught:
        await gating.gate.turn(low)
    assert (caught.value.status, caught.value.code) == (503, "displaced")
    assert gating.heard.queue == [("low", "full"), ("low", "displaced")]


async def test_a_level_that_also_stands_further_down_is_settled_there() -> None:
    gating = Gating()
    first, again = candidate("a"), candidate("x", ceilings=ONE)
    levels = [[(first, 1), (again, 1)], again]
    gating.draws = [0.1, 0.9]
    grant = await gating.granted(compiled(), levels=levels)
    assert grant.target == "a"
    lease = gating.gate.lease(grant)
    assert await gating.gate.attempt("r1", lease, again.target) == (True, None)
    gating.served(grant, by="x", walked=["a"])
    assert gating.store.figures()["held"] == {"ids": 0.0}
    await gating.granted(compiled(), "r2", levels=[again])


async def test_a_level_between_is_settled_when_one_stands_twice() -> None:
    gating = Gating()
    twice, between = candidate("a"), candidate("x", ceilings=ONE)
    levels = [twice, between, twice]
    grant = await gating.granted(compiled(), levels=levels)
    lease = gating.gate.lease(grant)
    assert await gating.gate.attempt("r1", lease, between.target) == (True, None)
    gating.served(grant, by="a", walked=["a", "x"])
    assert gating.store.figures()["held"] == {"ids": 0.0}


async def test_a_grant_that_nobody_hears_of_is_given_back() -> None:
    gating = Gating()

    def fails(*_: object) -> None:
        raise RuntimeError

    gating.heard.headroom = fails  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError):
        await gating.gate.admit(asking("r1", [candidate(ceilings=ONE)]), compiled())
    assert gating.store.figures()["held"] == {"ids": 0.0}


async def test_what_a_client_asks_for_does_not_drown_the_cost_of_turns() -> None:
    gating = Gating()
    await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    grant = await gating.waiting("r2", output=2**31 - 1, answers=128)
    assert grant.ask is not None
    assert grant.ask.place is not None
    assert grant.ask.place.cost == 1e7
