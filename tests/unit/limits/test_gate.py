from __future__ import annotations

import asyncio
from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.limits.rules import Compiled
from extproc.records import Caller, Cost, Usage
from extproc.state import StateError
from extproc.state.counters import Ask, Outcome
from tests.unit.limits.gating import ONE, Gating, asking, candidate, compiled, target

# --- limits ---------------------------------------------------------------------------------


async def test_what_is_not_limited_costs_no_call() -> None:
    gating = Gating()
    grant = await gating.granted(compiled())
    assert (grant.ask, grant.outcome, grant.headers) == (None, None, [])
    assert gating.gate.lease(grant) is None
    gating.served(grant)
    assert gating.store.figures()["held"] == {"ids": 0.0}


async def test_a_reservation_becomes_what_was_used() -> None:
    gating = Gating()
    rules = compiled({"user": {"tokens": "1000/h", "usd": "1/d", "requests": "9/h"}})
    grant = await gating.granted(rules)
    assert [await gating.used(grant, one) for one in range(3)] == [1, 150, 700_000]
    gating.served(grant, (80, 20), nano=300_000)
    assert [await gating.used(grant, one) for one in range(3)] == [1, 100, 300_000]


async def test_more_than_was_reserved_is_charged_too() -> None:
    gating = Gating()
    grant = await gating.granted(compiled({"user": {"tokens": "1000/h"}}))
    gating.served(grant, (100, 700))
    assert await gating.used(grant) == 800


async def test_what_used_nothing_counts_as_a_request_only() -> None:
    gating = Gating()
    rules = compiled({"user": {"tokens": "1000/h", "usd": "1/d", "requests": "9/h"}})
    grant = await gating.granted(rules)
    gating.gate.settle(grant, None, None, None, ())
    assert [await gating.used(grant, one) for one in range(3)] == [1, 0, 0]


async def test_tokens_without_a_price_cost_what_was_reserved() -> None:
    gating = Gating()
    grant = await gating.granted(compiled({"user": {"usd": "1/d"}}))
    gating.served(grant, nano=None)
    assert await gating.used(grant) == 700_000


async def test_retry_after_is_true() -> None:
    gating = Gating()
    rules = compiled({"user": {"requests": "2/m", "tokens": "400/m"}})
    for number in range(2):
        await gating.granted(rules, f"r{number}")
    error = await gating.refused(rules, "r3")
    fields = dict(error.headers())
    wait = int(fields["retry-after"])
    assert wait == 30
    assert fields["x-ratelimit-remaining-requests"] == "0"
    assert fields["x-ratelimit-remaining-tokens"] == "100"
    gating.clock.at += wait - 2
    await gating.refused(rules, "r4")
    gating.clock.at += 2
    await gating.granted(rules, "r5")


async def test_the_limit_that_holds_longest_is_told() -> None:
    gating = Gating()
    rules = compiled({"user": {"requests": ["1/m", "1/d"]}})
    await gating.granted(rules)
    error = await gating.refused(rules, "r2")
    assert "requests 1/d" in error.message
    assert error.retry_after == 12 * 3600
    assert sorted(gating.heard.decisions) == [
        ("gateway: user requests 1/d", "refused"), ("gateway: user requests 1/m", "refused"),
    ]  # fmt: skip


async def test_a_wait_that_nobody_knows_is_guessed_from_how_long_requests_take() -> None:
    gating = Gating()
    rules = compiled({"user": {"concurrent": 2}})
    first = await gating.granted(rules, "r1")
    await gating.granted(rules, "r2")
    assert (await gating.refused(rules, "r3")).retry_after == 1
    gating.clock.at += 8
    gating.served(first)
    await gating.granted(rules, "r4")
    assert (await gating.refused(rules, "r5")).retry_after == 4


async def test_a_key_whose_limits_cannot_be_read_is_let_in_nowhere() -> None:
    gating = Gating()
    caller = Caller(source="key", key="k", limits='{"tokens": "many"}')
    error = await gating.refused(compiled(), "r1", caller=caller)
    assert (error.status, error.code) == (503, "misconfigured_limits")
    observed = await gating.granted(compiled(mode="observe"), caller=caller, observe=True)
    assert observed.ask is None


async def test_nothing_is_taken_by_a_request_that_one_limit_refuses() -> None:
    gating = Gating()
    rules = compiled({"user": {"requests": "5/m"}, "feature": {"tokens": "200/h"}})
    grant = await gating.granted(rules)
    await gating.refused(rules, "r2")
    assert sorted([await gating.used(grant, one) for one in range(2)]) == [1, 150]


async def test_a_client_that_goes_while_it_asks_leaves_nothing_behind() -> None:
    gating = Gating()
    asked = gating.store.admit

    async def slow(ask: Ask) -> Outcome:
        await asked(ask)
        await asyncio.Event().wait()
        raise AssertionError

    gating.store.admit = slow  # type: ignore[method-assign]
    rules = compiled({"user": {"concurrent": 1}})
    task = asyncio.create_task(gating.gate.admit(asking(), rules))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gating.store.admit = asked  # type: ignore[method-assign]
    await gating.granted(rules, "r2")


async def test_strict_never_passes_the_limit_however_it_ends() -> None:
    gating = Gating()
    rules = compiled({"user": {"tokens": {"limit": "1000/h", "strict": True}}})
    grant = await gating.granted(rules, bound=300, output=None)
    assert grant.cap == 700
    assert await gating.used(grant) == 1_000
    gating.served(grant, (300, 700))
    assert await gating.used(grant) == 1_000


# --- only observed ----------------------------------------------------------------------------


async def test_a_rule_that_is_observed_counts_and_refuses_nothing() -> None:
    gating = Gating()
    rules = compiled({"user": {"requests": {"limit": "1/m", "mode": "observe", "name": "trial"}}})
    assert (await gating.granted(rules, "r1")).observed == []
    grant = await gating.granted(rules, "r2")
    (seen,) = grant.observed
    assert (seen.capability, seen.outcome, seen.detail) == ("limits", "refused", "trial")
    assert seen.saved == 700_000
    assert await gating.used(grant) == 2
    assert gating.heard.decisions == [("trial", "observed")]


async def test_a_route_that_observes_refuses_nothing_and_saves_each_dollar_once() -> None:
    gating = Gating()
    limits = {"user": {"requests": "1/m", "tokens": ["160/h", "120/request"]}}
    rules = compiled(limits, mode="observe")
    levels = [candidate(ceilings=ONE)]
    await gating.granted(rules, "r1", observe=True, levels=levels)
    grant = await gating.granted(rules, "r2", observe=True, levels=levels, deadline="soon")
    assert [one.detail for one in grant.observed] == [
        "gateway: user tokens 120/request",
        "gateway: user requests 1/m",
        "gateway: user tokens 160/h",
        "a: at its ceiling",
    ]
    assert [one.saved > 0 for one in grant.observed] == [True, False, False, False]
    assert grant.headers == []
    lease = gating.gate.lease(grant)
    assert await gating.gate.attempt("r2", lease, target("z", ceilings=ONE)) == (True, None)


# --- budgets ----------------------------------------------------------------------------------


def budget(**options: Any) -> Compiled:
    return compiled({"user": {"usd": {"limit": "0.001/d", "name": "daily", **options}}})


async def test_the_spent_share_is_told() -> None:
    gating = Gating()
    grant = await gating.granted(budget())
    assert grant.spent == {"daily": 0.7}
    assert ("x-tollgate-budget", "daily=0.70") in grant.headers


async def test_a_spent_budget_refuses_until_its_day_is_over() -> None:
    gating = Gating()
    rules = budget(status=402)
    gating.served(await gating.granted(rules), nano=1_000_000)
    error = await gating.refused(rules, "r2")
    assert (error.status, error.retry_after) == (402, 12 * 3600)
    gating.clock.at += 12 * 3600
    await gating.granted(rules, "r3")


async def test_a_spent_budget_sends_requests_to_its_other_chain() -> None:
    gating = Gating()
    rules = budget(on_exhausted={"downgrade": "cheap"})
    gating.served(await gating.granted(rules), nano=900_000)
    grant = await gating.gate.admit(asking("r2"), rules)
    assert (grant.downgrade, grant.downgraded_by) == ("cheap", "daily")
    again = await gating.granted(rules, "r2", skip=frozenset({"daily"}), model="cheap")
    assert again.observed == []
    gating.served(again, nano=50_000)
    assert await gating.used(again) == 950_000
    gating.gate.settle(grant, None, None, None, ())
    assert await gating.used(again) == 950_000


async def test_another_limit_that_is_reached_goes_before_a_downgrade() -> None:
    gating = Gating()
    rules = compiled(
        {"user": {"usd": {"limit": "0.001/d", "on_exhausted": {"downgrade": "cheap"}},
                  "requests": "1/m"}}
    )  # fmt: skip
    gating.served(await gating.granted(rules), nano=900_000)
    error = await gating.refused(rules, "r2")
    assert "requests 1/m" in error.message


async def test_a_spent_budget_may_let_requests_wait() -> None:
    gating = Gating()
    rules = budget(on_exhausted="queue")
    first = await gating.granted(rules)
    waiting = await gating.gate.admit(asking("r2"), rules)
    assert waiting.wait == 10
    assert ("x-tollgate-queue-position", "1") in waiting.headers
    turn = asyncio.create_task(gating.gate.turn(waiting))
    await asyncio.sleep(0)
    gating.clock.at += 2
    gating.served(first, nano=100_000)
    await turn
    assert waiting.waited == 2
    assert ("x-tollgate-queue-wait", "2.000") in waiting.headers
    assert waiting.spent == {"daily": 0.8}
    assert gating.heard.queue == [("normal", "waited 2")]


async def test_80_and_95_percent_are_told_once() -> None:
    gating = Gating()
    await gating.gate.start()
    rules = compiled({"user": {"usd": "1/d"}})
    for number, nano in enumerate([820_000_000, 10_000_000, 150_000_000]):
        gating.served(await gating.granted(rules, f"r{number}"), nano=nano)
    assert [alert.event for alert in gating.heard.alerts] == ["limit_80", "limit_95"]
    assert gating.heard.alerts[0].who == {"user": "alice"}
    assert gating.heard.alerts[0].used == pytest.approx(0.82)
    await gating.gate.stop()


async def test_a_runaway_is_told_and_slowed() -> None:
    gating = Gating()
    await gating.gate.start()
    slow = {"factor": 5, "at_least": "0.01/h", "after": "1m", "slow": "2/m", "past": "1h"}
    rules = compiled({"runaway": slow})
    for number in range(90):
        gating.clock.at += 20
        gating.served(await gating.granted(rules, f"a{number}"), nano=100_000)
    assert gating.heard.alerts == []
    for number in range(30):
        gating.clock.at += 1
        gating.served(await gating.granted(rules, f"b{number}"), nano=30_000_000)
        if gating.heard.alerts:
            break
    (alert,) = gating.heard.alerts
    assert (alert.event, alert.who) == ("runaway", {"key": "k1"})
    for number in range(2):
        await gating.granted(rules, f"c{number}")
    error = await gating.refused(rules, "c2")
    assert error.status == 429
    other = Caller(source="key", key="k2", tenant="acme")
    for number in range(5):
        await gating.granted(rules, f"d{number}", caller=other)
    await gating.gate.stop()


# --- the store is away ------------------------------------------------------------------------


class AwayError(StateError):
    retry_after = 4.0


async def away(ask: Ask) -> Outcome:  # noqa: ARG001 - as the store's
    raise AwayError("gone")


async def test_without_the_store_nothing_is_let_through_on_trust() -> None:
    gating = Gating()
    gating.store.admit = away  # type: ignore[method-assign]
    error = await gating.refused(compiled({"user": {"usd": "1/d"}}), "r1")
    assert (error.status, error.code, error.retry_after) == (503, "limits_unavailable", 4)


async def test_what_only_counts_goes_on_uncounted() -> None:
    gating = Gating()
    gating.store.admit = away  # type: ignore[method-assign]
    rules = compiled({"user": {"usd": {"limit": "1/d", "mode": "observe"}}})
    grant = await gating.granted(rules)
    gating.served(grant)
    assert gating.heard.decisions == [("store", "uncounted")]


async def test_a_later_level_is_tried_without_the_store() -> None:
    gating = Gating()
    gating.store.admit = away  # type: ignore[method-assign]
    found = await gating.gate.attempt("r1", "w1;1;1;", target("b", ceilings=ONE))
    assert found == (True, None)


async def test_a_store_that_goes_away_while_it_waits_ends_the_wait() -> None:
    gating = Gating()
    first = await gating.granted(compiled(), "r1", levels=[candidate(ceilings=ONE)])
    grant = await gating.waiting("r2")
    turn = gating.store.turn
    gating.store.turn = away  # type: ignore[method-assign]
    with pytest.raises(ClientError) as caught:
        await gating.gate.turn(grant)
    assert caught.value.code == "limits_unavailable"
    gating.store.turn = turn  # type: ignore[method-assign]
    gating.gate.settle(grant, None, None, None, ())
    gating.served(first)
    await gating.granted(compiled(), "r3", levels=[candidate(ceilings=ONE)])


async def test_a_strict_limit_keeps_what_was_reserved_of_who_left() -> None:
    gating = Gating()
    strict = compiled({"user": {"tokens": {"limit": "1000/d", "strict": True}}})
    grant = await gating.granted(strict, bound=200)
    assert await gating.used(grant) == 250
    gating.gate.settle(grant, Usage(5, estimated=True), Cost(0), None, ())
    assert await gating.used(grant) == 250
    gating.served(await gating.granted(strict, "r2", bound=200), (100, 50))
    assert await gating.used(grant) == 400


async def test_a_strict_limit_by_target_keeps_it_too() -> None:
    gating = Gating()
    rules = compiled({"user,target": {"tokens": {"limit": "1000/d", "strict": True}}})
    levels = [candidate("a"), candidate("b")]
    for number, served in enumerate((None, "a", "b")):
        grant = await gating.granted(rules, f"r{number}", levels=levels, bound=200)
        gating.gate.settle(grant, Usage(5, estimated=True), Cost(0), served, ["a", "b"])
    standings = await gating.store.peek(
        [take.counter for option in grant.ask.options for take in option.takes]  # type: ignore[union-attr]
    )
    assert [one.used for one in standings] == [500, 250]
