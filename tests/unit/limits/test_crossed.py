from __future__ import annotations

from typing import Any

import pytest

from extproc.limits.amounts import Learned
from extproc.limits.asks import Asks
from extproc.limits.crossed import KEPT, Crossings
from extproc.limits.rule import CALLER, Rule
from extproc.state.counters import Crossed
from tests.unit.limits.gating import NOON, Clock, Heard, asking, compiled


def one_rule(limits: dict[str, Any]) -> Rule:
    return compiled(limits).of(asking().caller).rules[0]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def crossings(heard: Heard) -> Crossings:
    return Crossings(heard, heard.alerts.append, Clock())


def asks(heard: Heard) -> Asks:
    return Asks(heard, Learned(), Clock())


def test_a_budget_nearly_spent_is_told_in_dollars(crossings: Crossings, heard: Heard) -> None:
    rule = one_rule({"user,feature": {"usd": "5/d"}})
    counter = asks(heard).counter(rule, ("alice", "chat"))
    crossings.knows(rule, ("alice", "chat"), counter)
    crossings.notify(Crossed(counter.key, 0.8, 4.1e9))
    (alert,) = heard.alerts
    assert (alert.event, alert.limit) == ("limit_80", rule.name)
    assert alert.who == {"user": "alice", "feature": "chat"}
    assert [alert.used, alert.of, alert.share] == pytest.approx([4.1, 5.0, 0.82])
    assert alert.resets_at == NOON + 12 * 3600
    assert heard.events == [(rule.name, 0.8)]


def test_a_runaway_is_told_by_the_hour(crossings: Crossings, heard: Heard) -> None:
    rule = one_rule({"runaway": {"at_least": "1/h"}})
    assert rule.dims == (CALLER,)
    counter = asks(heard).counter(rule, ("key:k1",))
    crossings.knows(rule, ("key:k1",), counter)
    crossings.notify(Crossed(counter.key, 0.0, 5e9 / 3600, 0.25e9 / 3600))
    (alert,) = heard.alerts
    assert (alert.event, alert.who) == ("runaway", {"key": "k1"})
    assert [alert.share, alert.used, alert.of] == pytest.approx([20, 5, 0.25])
    assert heard.events == [(rule.name, 0.0)]


def test_a_runaway_without_a_past_divides_by_nothing(crossings: Crossings, heard: Heard) -> None:
    rule = one_rule({"runaway": {}})
    counter = asks(heard).counter(rule, ("user:u",))
    crossings.knows(rule, ("user:u",), counter)
    crossings.notify(Crossed(counter.key, 0.0, 1.0, 0.0))
    assert heard.alerts[0].share == 0.0


def test_what_nobody_knows_is_dropped(crossings: Crossings, heard: Heard) -> None:
    crossings.notify(Crossed("?", 0.8, 1.0))
    assert heard.alerts == []


def test_what_is_remembered_is_bounded(crossings: Crossings, heard: Heard) -> None:
    rule = one_rule({"user": {"tokens": "5/d"}})
    maker = asks(heard)
    for number in range(KEPT + 5):
        crossings.knows(rule, (f"u{number}",), maker.counter(rule, (f"u{number}",)))
    crossings.notify(Crossed(maker.counter(rule, ("u0",)).key, 0.8, 4))
    crossings.notify(Crossed(maker.counter(rule, (f"u{KEPT}",)).key, 0.95, 5))
    assert [alert.event for alert in heard.alerts] == ["limit_95"]
