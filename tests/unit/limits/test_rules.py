"""Which limits a caller meets, and what is wrong with those that cannot be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limits.expression import MOST
from extproc.limits.rule import DIMENSIONS
from extproc.limits.rules import Compiled, Rule, check_own, host_errors, route_errors
from extproc.policy import Ceilings, HostPolicy, QueuePolicy, RoutePolicy, TargetPolicy
from extproc.records import NOBODY, Caller
from extproc.rule_error import RuleError

CHAINS = {"main": [{"t": 1}], "cheap": [{"t": 1}]}
URL = "https://acme.example/plans"


def host(**said: Any) -> HostPolicy:
    return HostPolicy(chains=CHAINS, **said)


def route(limits: dict[str, Any] | None = None, **said: Any) -> RoutePolicy:
    return RoutePolicy(route="support", chain="main", limits=limits or {}, **said)


def rules(limits: dict[str, Any], **said: Any) -> list[Rule]:
    """Of a gateway."""
    return list(Compiled(host(limits=limits, **said), route()).of(NOBODY).rules)


def only(limits: dict[str, Any], **said: Any) -> Rule:
    [found] = rules(limits, **said)
    return found


def caller(tier: str | None = None, limits: dict[str, Any] | None = None) -> Caller:
    return Caller(
        source="key", key="k" * 12, tier=tier, limits=json.dumps(limits) if limits else None
    )


def errors(limits: dict[str, Any]) -> list[str]:
    return [str(one) for one in host_errors(host(limits=limits))]


# --- one limit ----------------------------------------------------------------------------


def test_a_bucket() -> None:
    found = only({"user": {"input_tokens": "100000/h burst 2x"}})
    assert found == Rule(
        name="gateway: user input_tokens 100000/h burst 2x",
        scope="g|user|input_tokens|h|0",
        dims=("user",),
        measure="input_tokens",
        form="bucket",
        amount=100_000,
        most=200_000,
        period=3600.0,
        unit="h",
    )


def test_a_budget() -> None:
    said = {
        "limit": "500/mo",
        "name": "team-month",
        "on_exhausted": {"downgrade": "cheap"},
        "status": 402,
        "upgrade_url": URL,
        "timezone": "Europe/Berlin",
    }
    found = only({"team": {"usd": said}})
    assert (found.form, found.budget, found.amount) == ("window", True, 500 * 10**9)
    assert (found.on_exhausted, found.downgrade, found.status) == ("downgrade", "cheap", 402)
    assert (found.name, found.zone, found.upgrade_url) == ("team-month", "Europe/Berlin", URL)


@pytest.mark.parametrize(
    ("text", "form", "budget"),
    [
        ("1/s", "bucket", False),
        ("1/h", "bucket", False),
        ("1/d", "window", True),
        ("1/w rolling", "rolling", True),
        ("1/h rolling", "rolling", False),
        ("1/request", "request", False),
    ],
)
def test_forms_of_money(text: str, form: str, budget: bool) -> None:
    found = only({"user": {"usd": text}})
    assert (found.form, found.budget) == (form, budget)
    assert found.unit == ("" if form == "request" else text[2])


def test_dimensions_are_a_set() -> None:
    one, other = only({"model,user": {"tokens": "1/h"}}), only({"user, model": {"tokens": "1/h"}})
    assert one == other
    assert one.dims == ("user", "model")
    assert only({"all": {"tokens": "1/h"}}).dims == ()
    everything = only({",".join(reversed(DIMENSIONS)): {"tokens": "1/h"}})
    assert everything.dims == DIMENSIONS


def test_two_windows_of_one_measure() -> None:
    found = rules({"user": {"tokens": ["100/m", "1000/d"], "name": "chat"}})
    assert [(one.name, one.unit) for one in found] == [("chat-tokens", "m"), ("chat-tokens-d", "d")]
    assert len({one.scope for one in found}) == 2


def test_a_changed_amount_is_the_same_counter() -> None:
    """Who raises a limit at noon does not give the day away anew."""
    for before, after in (
        ("1000/d", "2000/d"),
        ("100/h", "100/h burst 3x"),
        ("10/m rolling", "20/m rolling"),
    ):
        one = only({"user": {"tokens": before}})
        other = only({"user": {"tokens": after, "on_exhausted": "queue"}})
        assert one.scope == other.scope
    kinds = ("1/h", "1/h rolling", "1/m", "1/d", "1/d rolling", "1/request")
    scopes = {only({"user": {"tokens": one}}).scope for one in kinds}
    assert len(scopes) == 6


def test_the_order_in_which_limits_are_written_says_nothing() -> None:
    """Envoy's metadata has none."""
    groups: dict[str, Any] = {
        "user": {"tokens": ["1/h", "2/h"], "requests": "1/s"},
        "team": {"usd": "1/d", "name": "day"},
        "runaway": {"slow": "1/s"},
    }
    turned = {name: dict(reversed(one.items())) for name, one in reversed(groups.items())}
    assert rules(groups) == rules(turned)


def test_names_that_separate_scopes_are_escaped() -> None:
    policy = RoutePolicy(route="a|user", chain="main", limits={"team": {"requests": "1/s"}})
    [found] = Compiled(host(), policy).of(NOBODY).rules
    assert found.scope == "r:a%7Cuser|team|requests|s|0"


# --- options ------------------------------------------------------------------------------


def test_options_of_a_group_hold_where_they_have_a_meaning() -> None:
    limits = {
        "user": {
            "requests": "10/s",
            "input_tokens": {"limit": "100/d", "strict": False},
            "output_tokens": "100/h",
            "usd": "1/d",
            "strict": True,
            "burst": "2x",
            "timezone": "Asia/Tokyo",
            "status": 402,
            "mode": "observe",
            "on_exhausted": "queue",
        }
    }
    requests, read, written, money = rules(limits)
    assert [one.strict for one in (requests, read, written, money)] == [False, False, True, True]
    assert (requests.most, written.most, money.most) == (20, 200, 10**9)
    assert (read.zone, money.zone) == ("Asia/Tokyo", "Asia/Tokyo")
    assert (written.status, money.status) == (429, 402)
    assert all(one.observe for one in (requests, read, written, money))
    assert money.on_exhausted == "queue"


def test_a_limits_own_option_is_nearer() -> None:
    limits = {
        "user": {
            "tokens": {"limit": "100/h", "burst": 150, "mode": "enforce"},
            "requests": ["1/h", "1/m burst 3x"],
            "burst": "2x",
            "mode": "observe",
        }
    }
    hour, minute, tokens = rules(limits)
    assert (tokens.most, tokens.observe) == (150, False)
    assert (hour.most, minute.most, minute.observe) == (2, 3, True)


def test_a_window_that_is_said_to_roll() -> None:
    assert only({"user": {"tokens": "1/d", "rolling": True}}).form == "rolling"
    assert only({"user": {"tokens": {"limit": "1/d", "rolling": True}}}).form == "rolling"
    assert only({"user": {"tokens": "1/d", "rolling": False}}).form == "window"


def test_a_time_zone_for_all() -> None:
    assert only({"user": {"tokens": "1/d"}}, timezone="Asia/Tokyo").zone == "Asia/Tokyo"


def test_a_limit_in_an_object() -> None:
    assert only({"user": {"concurrent": {"limit": 5, "on_exhausted": "queue"}}}).most == 5
    # Envoy hands a fraction of its metadata over as text.
    assert only({"user": {"usd": {"limit": "1/h", "burst": "1.5"}}}).most == 15 * 10**8
    assert only({"user": {"usd": {"limit": "1/d", "status": "402"}}}).status == 402


# --- whose --------------------------------------------------------------------------------

TIERS = {
    "free": {"tokens": "10000/d", "upgrade_url": URL, "priority": "low"},
    "pro": {"user": {"tokens": "500000/d"}, "tenant": {"tokens": "5M/d"}, "priority": "high"},
    "enterprise": {"tokens": "1M/h", "burst": "2x", "user": {"requests": "10/s"}},
    "none": {},
}


def test_a_tiers_measures_are_the_callers_own() -> None:
    compiled = Compiled(host(tiers=TIERS), route())
    free = compiled.of(caller("free"))
    assert [(one.name, one.dims) for one in free.rules] == [
        ("tier free: tokens 10000/d", ("whose",))
    ]
    assert (free.priority, free.rules[0].upgrade_url) == ("low", URL)
    pro = compiled.of(caller("pro"))
    assert {one.dims for one in pro.rules} == {("user",), ("tenant",)}
    assert pro.priority == "high"
    enterprise = compiled.of(caller("enterprise"))
    assert {one.measure: one.most for one in enterprise.rules} == {
        "tokens": 2_000_000,
        "requests": 20,
    }
    for other in ("none", "unheard-of", None):
        assert compiled.of(caller(other)).rules == ()


def test_all_places_hold_at_once() -> None:
    compiled = Compiled(
        host(limits={"user": {"requests": "10/s"}}, tiers=TIERS),
        route({"feature": {"requests": "5/s"}}),
    )
    own = {
        "tokens": "5/h",
        "user": {"requests": "1/s"},
        "all": {"usd": "1/d"},
        "priority": "normal",
    }
    found = compiled.of(caller("free", own))
    assert {(one.name, one.dims) for one in found.rules} == {
        ("gateway: user requests 10/s", ("user",)),
        ("route support: feature requests 5/s", ("feature",)),
        ("tier free: tokens 10000/d", ("whose",)),
        ("key: user requests 1/s", ("key", "user")),
        ("key: usd 1/d", ("key",)),
        ("key: tokens 5/h", ("key",)),
    }
    assert found.priority == "normal"
    assert len({one.scope for one in found.rules}) == 6


def test_a_keys_name_for_a_limit_is_no_other_limits() -> None:
    """Budgets are known by name: who may name his own must not stand for the gateway's."""
    compiled = Compiled(host(limits={"team": {"usd": "5/d", "name": "day"}}), route())
    found = compiled.of(caller(None, {"usd": {"limit": "1/d", "name": "day"}}))
    assert [one.name for one in found.rules] == ["day", "key-day"]


def test_a_keys_limits_that_cannot_be() -> None:
    compiled = Compiled(host(), route())
    for limits, message in (
        ({"tokens": "5/x"}, "tokens: no unit"),
        ({"tokens": {"limit": "5/d", "on_exhausted": {"downgrade": "gone"}}}, "no chain 'gone'"),
        ({"priority": "urgent"}, "no priority class 'urgent'"),
    ):
        for _ in range(2):
            with pytest.raises(RuleError, match=message):
                compiled.of(caller(None, limits))
    for text in ("{", "[1]", "[" * 2000):
        with pytest.raises(RuleError):
            compiled.of(Caller(source="key", limits=text))


def test_a_keys_limits_are_checked_where_no_chain_is_known() -> None:
    check_own({"usd": {"limit": "5/d", "on_exhausted": {"downgrade": "any"}}, "priority": "any"})
    with pytest.raises(RuleError, match=r"^tokens: no unit 'x'"):
        check_own({"tokens": "5/x"})


def test_nothing_is_limited() -> None:
    target = TargetPolicy(provider="p", system="s", dialect="openai", model="m")
    compiled = Compiled(host(targets={"t": target}, tiers={"free": {"priority": "low"}}), route())
    assert compiled.empty
    assert compiled.free(caller("free"))
    assert not compiled.free(caller(None, {"tokens": "1/h"}))
    ceilings = msgspec.structs.replace(target, provider_ceilings=Ceilings(rpm=5))
    assert not Compiled(host(targets={"t": ceilings}), route()).empty
    assert not Compiled(host(tiers=TIERS), route()).empty
    assert not Compiled(host(), route({"all": {"requests": "1/s"}})).empty


def test_what_a_route_knows_of_the_queue() -> None:
    queue = QueuePolicy(classes=("chat", "batch"), default="batch", ttl=7.0)
    compiled = Compiled(host(queue=queue), route(priority="chat"))
    assert (compiled.queue, compiled.priority, compiled.ttl) == (queue, "chat", 7.0)
    assert Compiled(host(queue=queue), route(ttl=0.0)).ttl == 0.0


def test_strict() -> None:
    said = {"user": {"tokens": {"limit": "5/h", "strict": True}}}
    assert Compiled(host(limits=said), route()).strict
    assert Compiled(host(tiers={"free": said}), route()).strict
    assert not Compiled(host(tiers=TIERS), route()).strict
    found = Compiled(host(), route()).of(caller(None, {"usd": "5/h", "strict": True}))
    assert found.strict


# --- runaways -----------------------------------------------------------------------------


def test_a_runaway() -> None:
    trend, slow = rules({"runaway": {"slow": "10/m"}})
    assert (trend.form, trend.measure, trend.dims, trend.most) == ("trend", "usd", ("caller",), 0)
    assert trend.trend == (60.0, 86_400.0, 10.0, 10**9 / 3600, 3600.0, 600.0)
    assert (slow.form, slow.measure, slow.amount, slow.guard) == ("bucket", "requests", 10, True)
    assert rules({"runaway": True}) == [trend]
    said = {"factor": "2.5", "at_least": "0.6/m", "window": "30s", "past": "7d", "after": 60,
            "hold": "1.5h", "mode": "observe", "name": "watch"}  # fmt: skip
    found = only({"runaway": said})
    assert list(found.trend) == [30.0, 604_800.0, 2.5, 1e7, 60.0, 5400.0]
    assert (found.name, found.observe) == ("watch", True)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"factor": 1}, "factor: '1' is not a number above 1"),
        ({"factor": True}, "factor: true is not a number above 1"),
        ({"factor": "nan"}, "factor: 'nan' is not a number above 1"),
        ({"at_least": "1/d"}, "at_least: '1/d' is not a rate by /s, /m, /h"),
        ({"slow": "10/m rolling"}, "slow: '10/m rolling' is not a rate"),
        ({"slow": "x"}, "slow: 'x' does not say for how long"),
        ({"window": "2h", "past": "1h"}, "past: is not longer than window"),
        ({"hold": "0s"}, "hold: '0s' is not a time from 1s to 30d"),
        ({"hold": None}, "hold: nothing is not a time"),
        ({"hold": "31d"}, "hold: '31d' is not a time from 1s to 30d"),
        ({"mode": "shout"}, "mode: 'shout' is none of enforce, observe"),
        ({"mode": []}, "mode: a list is none of enforce, observe"),
        ({"name": "a b"}, "name: 'a b' is not a name"),
        ({"factr": 2}, "factr: no field 'factr'; did you mean 'factor'?"),
        (5, "'5' is not a mapping"),
    ],
)
def test_a_runaway_that_cannot_be(said: Any, message: str) -> None:
    [found] = errors({"runaway": said})
    assert found.removeprefix("limits.runaway").lstrip(".: ").startswith(message)


# --- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"user": {"tokens": "1/h", "strict": "yes"}}, "user.strict: 'yes' is not true or false"),
        ({"user": {"tokens": "1/h", "mode": "off"}}, "user.mode: 'off' is none of"),
        ({"user": {"tokens": "1/h", "status": 500}}, "user.status: '500' is neither 402 nor 429"),
        ({"user": {"tokens": "1/h", "status": True}}, "user.status: true is neither"),
        ({"user": {"tokens": "1/h", "upgrade_url": "x"}}, "user.upgrade_url: 'x' is not an http"),
        ({"user": {"tokens": "1/h", "name": "a=b"}}, "user.name: 'a=b' is not a name"),
        ({"user": {"tokens": "1/h", "name": 5}}, "user.name: '5' is not a name"),
        ({"user": {"tokens": "1/h", "on_exhausted": "wait"}}, "none of reject, queue, {downgrade"),
        ({"user": {"tokens": "1/h", "on_exhausted": "downgrade"}}, "says not where to"),
        ({"user": {"tokens": "1/h", "on_exhausted": {"to": "x"}}}, "is reject, queue or"),
        ({"user": {"tokens": "1/h", "on_exhausted": {"downgrade": 5}}}, "'5' is not a chain"),
        ({"user": {"tokens": "1/h", "on_exhausted": []}}, "a list is none of reject, queue"),
        ({"user": {"tokens": {"burst": "2x"}}}, "user.tokens: says no limit"),
        ({"user": {"tokens": {"limit": None}}}, "user.tokens: nothing is not a limit"),
        ({"user": {"tokens": {"limit": "1/h", "timezone": "UTC"}}}, "timezone: is for /d, /w"),
        (
            {"user": {"tokens": {"limit": "1/h burst 2x", "burst": 5}}},
            "burst: is said in the limit",
        ),
        ({"user": {"tokens": {"limit": "1/request", "on_exhausted": "queue"}}}, "is refused"),
        ({"user": {"tokens": []}}, "user.tokens: is an empty list"),
        ({"user": {"tokens": ["1/h", "1/h"]}}, "user.tokens[1]: 'gateway: user tokens 1/h' is"),
        ({"user": {"tokens": "1/h", "burst": "0.5x"}}, "user.burst: 0.5x is less than"),
        ({"user": {"tokens": "1/mo", "rolling": True}}, "user.rolling: /mo keeps to the calendar"),
        ({"user": {"tokens": "1/h", "timezone": "UTC"}}, "user.timezone: has no effect"),
        ({"user": {"concurrent": 1, "rolling": True}}, "user.rolling: has no effect"),
        ({"user": {"tokens": "1/h"}, "strict": True, "burst": 9}, None),
        ({"user": {"requests": "1/h"}, "strict": True}, "limits.strict: has no effect"),
        ({"all,user": {"tokens": "1/h"}}, "limits.all,user: 'all' stands alone"),
        ({"user,": {"tokens": "1/h"}}, "limits.user,: no dimension or option ''"),
        ({"priority": "high"}, "limits.priority: no dimension or option 'priority'"),
        ({"\x1b[31m": {"tokens": "1/h"}}, "limits.'\\x1b[31m': no dimension"),
        ({"user": "100/h"}, "limits.user: '100/h' is not a mapping of limits"),
    ],
)
def test_limits_that_cannot_be(limits: dict[str, Any], message: str | None) -> None:
    found = errors(limits)
    if message is None:
        assert found == []
        return
    assert len(found) == 1
    assert message in found[0]
    with pytest.raises(RuleError):
        Compiled(host(limits=limits), route())


def test_every_mistake_is_found() -> None:
    policy = host(
        limits={"user": {"tokens": "1/x", "requests": "0/s"}, "usr": {"usd": "1/d"}},
        tiers={"free": {"tokens": "1/y"}, "pro": {"priority": "urgent"}},
        timezone="Mars",
        queue=QueuePolicy(classes=()),
    )
    places = [one.place for one in host_errors(policy)]
    assert set(places) == {
        *("timezone", "queue.classes", "limits.user.requests", "limits.user.tokens"),
        *("limits.usr", "tiers.free.tokens", "tiers.pro.priority"),
    }


def test_names_are_unique_where_they_meet() -> None:
    named = {"user": {"requests": "1/s", "name": "day"}}
    shared = host(limits=named, tiers={"free": {"team": {"usd": "1/d", "name": "day"}}})
    assert [one.place for one in host_errors(shared)] == ["tiers.free.team.name"]
    assert [one.place for one in route_errors(host(limits=named), route(named))] == [
        "limits.user.name"
    ]
    # Nobody is of two tiers.
    assert host_errors(host(tiers={"free": named, "pro": named})) == []


def test_a_route_that_cannot_be() -> None:
    found = route_errors(
        host(), route({"user": {"tokens": "1"}}, priority="urgent", ttl=float("nan"))
    )
    assert [one.place for one in found] == ["limits.user.tokens", "priority", "ttl"]
    with pytest.raises(RuleError, match=r"^limits\.user\.tokens: "):
        Compiled(host(), route({"user": {"tokens": "1"}}))


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"classes": ("a", "a"), "default": "a"}, "classes[1]"),
        ({"classes": ("a b",), "default": "a b"}, "classes[0]"),
        ({"default": "urgent"}, "default"),
        ({"between": "weighted", "weights": {"high": 0}}, "weights.high"),
        ({"weights": {"high": 2}}, "weights"),
        ({"class_depth": {"urgent": 5}}, "class_depth.urgent"),
        ({"class_depth": {"low": 0}}, "class_depth.low"),
        ({"tenant_depth": -1}, "tenant_depth"),
        ({"ttl": -1.0}, "ttl"),
        ({"ttl": 1e9}, "ttl"),
    ],
)
def test_a_queue_that_cannot_be(said: dict[str, Any], place: str) -> None:
    found = host_errors(host(queue=QueuePolicy(**said)))
    assert [one.place for one in found] == [f"queue.{place}"]


# --- anything -----------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *DIMENSIONS, "all", "user,model", "requests", "tokens", "usd", "concurrent", "runaway",
        "limit", "burst", "rolling", "timezone", "strict", "mode", "on_exhausted", "status",
        "upgrade_url", "name", "priority", "downgrade", "slow", "factor",
    ]
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(
        ["1/h", "5/d rolling", "2/mo", "3/m burst 2x", "9/request", "2x", "UTC", "observe", "queue",
         "cheap", "high", 402, 5, 0, 1.5, True, False, None, "x"]
    ),
    st.text(max_size=8),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.one_of(WORDS, st.text(max_size=5)), inner, max_size=5),
        st.lists(inner, max_size=3),
    ),
    max_leaves=20,
)
SECTIONS = st.dictionaries(st.one_of(WORDS, st.text(max_size=5)), TREES, max_size=5)


@given(SECTIONS, SECTIONS, SECTIONS, SECTIONS)
def test_whatever_is_said_is_read_or_refused(
    shared: dict[str, Any], own: dict[str, Any], tier: dict[str, Any], key: dict[str, Any]
) -> None:
    policy = host(limits=shared, tiers={"free": tier})
    found = [*host_errors(policy), *route_errors(policy, route(own))]
    assert all(str(one).isprintable() for one in found)
    try:
        ruled = Compiled(policy, route(own)).of(caller("free", key)).rules
    except RuleError:
        return
    assert len({one.name for one in ruled}) == len(ruled)
    assert len({one.scope for one in ruled}) == len(ruled)
    for one in ruled:
        assert one.form == "trend" or 1 <= min(one.amount, one.most) <= MOST
