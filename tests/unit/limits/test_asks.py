from __future__ import annotations

from collections import Counter as Tally
from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.limits.amounts import Learned
from extproc.limits.asks import Asks, Built, counter_key
from extproc.limits.rules import Compiled
from extproc.policy import Ceilings, QueuePolicy
from extproc.records import Attribution, Caller
from tests.unit.limits.gating import NOON, Clock, Heard, asking, candidate, compiled

RPM = Ceilings(rpm=10)


def build(rules: Compiled, draws: tuple[float, ...] = (), **fields: Any) -> Built:
    coming = list(draws)
    asks = Asks(Heard(), Learned(), Clock(), lambda: coming.pop(0) if coming else 0.5)
    asked = asking(**fields)
    return asks.build(asked, rules, rules.of(asked.caller))


def keys(rules: Compiled, **fields: Any) -> list[str]:
    found = build(rules, **fields).ask
    return [] if found is None else [one.counter.key for one in found.takes]


# --- whose count it is ----------------------------------------------------------------------


def test_each_user_has_a_count_of_his_own() -> None:
    rules = compiled({"user": {"requests": "5/m"}})
    alice = keys(rules, attribution=Attribution(user="alice"))
    assert alice == keys(rules, attribution=Attribution(user="alice", feature="x"))
    assert alice != keys(rules, attribution=Attribution(user="bob"))


def test_changing_an_amount_keeps_the_count() -> None:
    small, large = compiled({"user": {"requests": "5/m"}}), compiled({"user": {"requests": "9/m"}})
    assert keys(small) == keys(large)


def test_a_rule_for_what_the_request_lacks_is_none_for_it() -> None:
    rules = compiled({"session": {"requests": "5/m"}, "user,team": {"requests": "5/m"}})
    assert build(rules, levels=[candidate()]).ask is None


def test_a_combination_is_one_count_for_each_pair() -> None:
    rules = compiled({"user,model": {"requests": "5/m"}})
    assert keys(rules, model="best") != keys(rules, model="cheap")
    assert len(keys(rules)) == 1


def test_all_is_one_count_over_everybody() -> None:
    rules = compiled({"all": {"requests": "5/m"}})
    assert keys(rules) == keys(rules, attribution=Attribution(user="bob"), model="x")


@pytest.mark.parametrize(
    ("caller", "user", "same_as"),
    [
        (Caller(source="key", key="k2", tenant="t2", tier="free"), "alice", "user"),
        (Caller(source="key", key="k1", tenant="t2", tier="free"), None, "key"),
        (Caller(source="jwt", tenant="acme", tier="free"), None, "tenant"),
    ],
)
def test_a_tiers_limits_are_each_users_else_keys_else_tenants(
    caller: Caller, user: str | None, same_as: str
) -> None:
    rules = compiled(tiers={"free": {"tokens": "10000/d"}})
    likewise = {
        "user": (Caller(source="jwt", tenant="t2", tier="free"), "alice"),
        "key": (Caller(source="key", key="k1", tier="free"), None),
        "tenant": (Caller(source="jwt", tenant="acme", tier="free"), None),
    }
    mine = keys(rules, caller=caller, attribution=Attribution(user=user))
    assert len(mine) == 1
    for name, (other, other_user) in likewise.items():
        theirs = keys(rules, caller=other, attribution=Attribution(user=other_user))
        assert (mine == theirs) is (name == same_as)


@pytest.mark.parametrize("dims", ["user", "team", "session", "user,feature"])
def test_names_are_each_tenants_own(dims: str) -> None:
    rules = compiled(limits={dims: {"tokens": "10000/d"}})
    says = Attribution(user="alice", team="web", session="s", feature="chat")
    found = {
        tuple(keys(rules, caller=Caller(source="jwt", tenant=name), attribution=says))
        for name in ("acme", "umbrella", None)
    }
    assert len(found) == 3


def test_a_user_called_like_a_key_is_not_that_key() -> None:
    rules = compiled(tiers={"free": {"tokens": "10000/d"}})
    user = Caller(source="jwt", tier="free")
    key = Caller(source="key", key="k1", tier="free")
    assert keys(rules, caller=user, attribution=Attribution(user="k1")) != keys(
        rules, caller=key, attribution=Attribution()
    )


def test_keys_of_counters_are_bounded_and_tell_values_apart() -> None:
    assert len(counter_key("r:" + "x" * 500, ("y" * 256, "z" * 256))) < 90
    assert counter_key("r", ("a", "b")) != counter_key("r", ("a', 'b",))
    assert counter_key("r", ("a",)) != counter_key("r", ("a", ""))
    assert counter_key("r:1", ()) != counter_key("r:2", ())
    assert counter_key("r", ("\ud800",)) != counter_key("r", ("\\ud800",))


# --- what is counted ------------------------------------------------------------------------


def test_each_kind_of_limit_becomes_its_counter() -> None:
    limits = {
        "user": {
            "requests": "10/m burst 2x",
            "tokens": ["5000/d", "900/h rolling"],
            "usd": {"limit": "5/mo", "on_exhausted": "queue"},
            "concurrent": 4,
            "input_tokens": {"limit": "9000/s", "mode": "observe"},
        }
    }
    built = build(compiled(limits))
    assert built.ask is not None
    found = {rule.name.removeprefix("gateway: user "): take for rule, take
             in zip(built.rules, built.ask.takes, strict=True)}  # fmt: skip
    bucket = found["requests 10/m burst 2x"].counter
    assert (bucket.kind, bucket.most, bucket.rate, bucket.period) == ("bucket", 20, 10 / 60, 60)
    assert (bucket.lasting, bucket.warn, bucket.closed) == (False, True, False)
    day = found["tokens 5000/d"].counter
    assert (day.kind, day.most, day.lasting, day.closed) == ("window", 5000, True, True)
    assert day.params[1] == NOON - 12 * 3600
    assert day.params[2] == NOON + 12 * 3600
    rolling = found["tokens 900/h rolling"].counter
    assert (rolling.kind, rolling.period, rolling.lasting) == ("rolling", 3600, True)
    money = found["usd 5/mo"]
    assert (money.counter.most, money.counter.closed, money.queue) == (5e9, True, True)
    at_once = found["concurrent 4"].counter
    assert (at_once.kind, at_once.most, at_once.lasting, at_once.warn) == (
        "concurrent", 4, False, False,
    )  # fmt: skip
    observed = found["input_tokens 9000/s"]
    assert observed.force
    assert not observed.counter.warn  # there would be an event a second
    assert {name: take.amount for name, take in found.items()} == {
        "requests 10/m burst 2x": 1, "tokens 5000/d": 150, "tokens 900/h rolling": 150,
        "usd 5/mo": 700_000, "concurrent 4": 1, "input_tokens 9000/s": 100,
    }  # fmt: skip


def test_a_budget_sent_the_request_down_already_counts_and_refuses_no_more() -> None:
    rules = compiled({"user": {"usd": {"limit": "5/d", "name": "b"}, "requests": "5/m"}})
    built = build(rules, skip=frozenset({"b"}))
    assert built.ask is not None
    forced = {
        rule.name: take.force for rule, take in zip(built.rules, built.ask.takes, strict=True)
    }
    assert forced == {"b": True, "gateway: user requests 5/m": False}


def test_a_runaways_bucket_hangs_on_its_trend() -> None:
    rules = compiled({"user": {"requests": "5/m"}, "runaway": {"slow": "10/m"}})
    built = build(rules)
    assert built.ask is not None
    kinds = [take.counter.kind for take in built.ask.takes]
    (guard,) = [take for take in built.ask.takes if take.guard >= 0]
    assert kinds[guard.guard] == "trend"
    assert built.ask.takes[guard.guard].amount == 0
    assert not guard.counter.warn


def test_money_is_nobodys_where_the_caller_pays_himself() -> None:
    rules = compiled({"user": {"usd": "5/d", "tokens": "1000/h"}, "runaway": {"slow": "1/m"}})
    built = build(rules, own_key=True, levels=[candidate(ceilings=RPM)])
    assert [rule.measure for rule in built.rules] == ["tokens"]
    assert built.choices == ()


@pytest.mark.parametrize(
    ("limits", "fields", "param"),
    [
        ({"tokens": "120/h"}, {}, "max_tokens"),
        ({"tokens": "90/h"}, {}, "messages"),
        ({"output_tokens": "40/h"}, {}, "max_tokens"),
        ({"input_tokens": "40/h"}, {"output": None}, "messages"),
        ({"tokens": "120/request"}, {}, "max_tokens"),
        ({"input_tokens": "90/request"}, {}, "messages"),
        ({"usd": "0.0001/d"}, {}, "messages"),
    ],
)
def test_a_request_larger_than_the_limit_itself_is_refused(
    limits: dict[str, Any], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(ClientError) as caught:
        build(compiled({"user": limits}), **fields)
    assert (caught.value.status, caught.value.code) == (400, "request_exceeds_limit")
    assert caught.value.param == param


def test_where_it_is_only_observed_it_is_not() -> None:
    rules = compiled({"user": {"tokens": ["90/h", "120/request"]}}, mode="observe")
    built = build(rules, observe=True)
    assert [rule.unit for rule in built.over] == [""]
    assert built.ask is not None
    assert built.ask.takes[0].force


def test_a_budget_that_could_never_hold_it_sends_it_down() -> None:
    rules = compiled(
        {"user": {"usd": {"limit": "0.0001/d", "on_exhausted": {"downgrade": "cheap"}}}}
    )
    built = build(rules)
    assert built.downgrade is not None
    assert built.ask is None


# --- levels ---------------------------------------------------------------------------------


def test_levels_are_options_until_one_has_room_always() -> None:
    levels = [candidate("a", ceilings=RPM), candidate("b"), candidate("c", ceilings=RPM)]
    built = build(compiled(), levels=levels)
    assert built.ask is not None
    assert [(one.name, len(one.takes)) for one in built.ask.options] == [("a", 1), ("b", 0)]
    assert built.ask.place is None  # b takes it at once


def test_a_first_level_without_ceilings_asks_nothing() -> None:
    built = build(compiled(), levels=[candidate("a"), candidate("b", ceilings=RPM)])
    assert built.ask is None


def test_a_level_shared_by_weight_is_drawn_by_weight() -> None:
    rules = compiled()
    first: Tally[str] = Tally()
    level = [(candidate("a", ceilings=RPM), 3), (candidate("b", ceilings=RPM), 1)]
    steps = 40
    for one in range(steps):
        for other in range(steps):
            draws = ((one + 0.5) / steps, (other + 0.5) / steps)
            built = build(rules, draws, levels=[level])
            assert built.ask is not None
            first[built.ask.options[0].name] += 1
            assert len(built.ask.options) == 2
    assert first["a"] / steps**2 == pytest.approx(0.75, abs=0.01)


def test_envoy_draws_among_those_that_have_no_ceilings() -> None:
    level = [(candidate("b"), 1), (candidate("c"), 1)]
    built = build(compiled(), levels=[candidate("a", ceilings=RPM), level])
    assert [one.named for one in built.choices] == [True, False]
    mixed = [(candidate("b"), 1), (candidate("c", ceilings=RPM), 1)]
    built = build(compiled(), (0.9, 0.1), levels=[mixed])
    assert [(one.candidate.target.target, one.named) for one in built.choices] == [
        ("c", True), ("b", True),
    ]  # fmt: skip


def test_a_limit_by_target_is_taken_at_the_level() -> None:
    rules = compiled({"user,target": {"tokens": "1000/h"}})
    built = build(rules, levels=[candidate("a"), candidate("b", ceilings=RPM)])
    assert built.ask is not None
    assert built.ask.takes == ()
    first, second = built.ask.options
    assert [take.amount for take in first.takes] == [150]
    assert len(second.takes) == 2
    assert first.takes[0].counter.key != second.takes[1].counter.key


def test_a_limit_by_target_that_none_could_hold_refuses() -> None:
    rules = compiled({"target": {"tokens": "100/h"}})
    with pytest.raises(ClientError) as caught:
        build(rules, levels=[candidate("a"), candidate("b")])
    assert caught.value.code == "request_exceeds_limit"


def test_where_a_route_only_observes_the_first_that_is_drawn_serves() -> None:
    built = build(
        compiled(mode="observe"), observe=True,
        levels=[candidate("a", ceilings=RPM), candidate("b", ceilings=RPM)],
    )  # fmt: skip
    assert built.ask is not None
    (option,) = built.ask.options
    assert [take.force for take in option.takes] == [True]
    assert built.ask.place is None


# --- the queue ------------------------------------------------------------------------------


def place(rules: Compiled, **fields: Any) -> Any:
    fields.setdefault("levels", [candidate(ceilings=RPM)])
    ask = build(rules, **fields).ask
    assert ask is not None
    return ask.place


def test_it_waits_beside_its_tenant_and_feature() -> None:
    found = place(compiled())
    assert (found.tenant, found.feature, found.cost, found.ttl) == ("acme", "chat", 150, 10)
    assert (found.rank, found.label, found.weight) == (1, "normal", 0)
    alone = place(compiled(), caller=Caller(source="key", key="acme"), attribution=Attribution())
    assert (alone.tenant, alone.feature) == ("key:acme", "-")
    user = place(compiled(), caller=Caller(source="open"), attribution=Attribution(user="acme"))
    assert user.tenant == "user:acme"
    nobody = place(compiled(), caller=Caller(source="open"), attribution=Attribution())
    assert nobody.tenant == "-"


def said(priority: str) -> Attribution:
    return Attribution(user="alice", priority=priority)


def test_the_class_is_what_the_request_says_else_its_key_its_route_the_queue() -> None:
    tier = Caller(source="key", key="k", tier="free")
    rules = compiled(tiers={"free": {"priority": "low"}}, priority="high")
    assert place(rules, caller=tier, attribution=said("normal")).label == "normal"
    assert place(rules, caller=tier).label == "low"
    assert place(rules).label == "high"
    assert place(compiled()).label == "normal"


@pytest.mark.parametrize(("digit", "class_"), [("0", "high"), ("1", "normal"), ("2", "low"),
                                               ("9", "low")])  # fmt: skip
def test_a_digit_is_a_class_by_its_number(digit: str, class_: str) -> None:
    assert place(compiled(), attribution=said(digit)).label == class_


def test_a_class_that_there_is_not_is_ignored_and_counted() -> None:
    heard = Heard()
    asks = Asks(heard, Learned(), Clock())
    rules = compiled(queue=QueuePolicy(classes=("now", "then"), default="then"))
    asked = asking(attribution=said("high"), levels=[candidate(ceilings=RPM)])
    built = asks.build(asked, rules, rules.of(asked.caller))
    assert built.ask is not None
    assert built.ask.place is not None
    assert built.ask.place.label == "then"
    assert heard.decisions == [("queue", "priority_ignored")]


def test_classes_by_weight_and_depth_are_as_the_queue_says() -> None:
    queue = QueuePolicy(
        between="weighted", weights={"high": 5}, depth=70, class_depth={"low": 9}, tenant_depth=8
    )
    high = place(compiled(queue=queue), attribution=said("high"))
    low = place(compiled(queue=queue), attribution=said("low"))
    assert (high.weight, high.class_depth, high.tenant_depth) == (5, 70, 8)
    assert (low.weight, low.class_depth) == (1, 9)


def test_it_waits_no_longer_than_its_route_and_its_client_allow() -> None:
    assert place(compiled(), deadline="2.5").ttl == 2.5
    assert place(compiled(), deadline="1m").ttl == 10
    assert place(compiled(ttl=3.0)).ttl == 3
    assert place(compiled(ttl=0.0)) is None
    assert place(compiled(), deadline=str(NOON - 5)) is None
    with pytest.raises(ClientError):
        place(compiled(), deadline="soon")


def test_requests_for_the_same_levels_are_one_pool() -> None:
    a, b = candidate("a", ceilings=RPM), candidate("b", ceilings=RPM)
    assert place(compiled(), levels=[a, b]).pool == place(compiled(), levels=[b, a]).pool
    assert place(compiled(), levels=[a]).pool != place(compiled(), levels=[b]).pool
    many = [candidate(f"target-with-a-long-name-{one}", ceilings=RPM) for one in range(9)]
    assert len(place(compiled(), levels=many).pool) < 64


def test_who_waits_for_his_budget_waits_for_nobody_elses() -> None:
    rules = compiled({"user": {"usd": {"limit": "5/d", "on_exhausted": "queue"}}})
    mine = place(rules, levels=[candidate()])
    assert mine.pool == place(rules, levels=[candidate()], model="x").pool
    assert mine.pool != place(rules, levels=[candidate()], attribution=Attribution(user="b")).pool


def test_a_limit_that_rejects_makes_nobody_wait() -> None:
    assert place(compiled({"user": {"requests": "5/m"}}), levels=[candidate()]) is None
