"""Policies of a cache that can be, and do other than they seem."""

from __future__ import annotations

import pytest

from extproc.cache.rules import host_errors
from extproc.cache.weak import host_warnings, route_warnings
from extproc.policy import CacheField, CacheKind, CachePolicy, CacheTtl
from extproc.rule_error import RuleError


def places(found: list[RuleError]) -> list[str]:
    return [one.place for one in found]


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        (CachePolicy(scope="shared"), "cache.scope"),
        (CachePolicy(allow_scope="shared"), "cache.allow_scope"),
        (CachePolicy(custom_keys=True), "cache.custom_keys"),
        (CachePolicy(temperature_max=0.5), "cache.temperature_max"),
        (CachePolicy(mode="semantic", temperature_max=1.5), "cache.temperature_max"),
        (CachePolicy(mode="semantic", audit=0), "cache.audit"),
        (CachePolicy(mode="semantic", audit=1), "cache.audit"),
        (CachePolicy(mode="semantic", verifier="threshold"), "cache.verifier"),
        (CachePolicy(mode="exact", threshold=0.9), "cache.threshold"),
        (CachePolicy(kinds={"factual": CacheKind(max_error=0.1)}), "cache.kinds.factual.max_error"),
        (CachePolicy(kinds={"a": CacheKind()}), "cache.kinds.a"),
        (CachePolicy(ttl=CacheTtl(kinds={"a": 5})), "cache.ttl.kinds.a"),
    ],
)
def test_what_does_other_than_it_seems(policy: CachePolicy, place: str) -> None:
    assert places(host_warnings(policy)) == [place]
    assert places(route_warnings(None, policy)) == [place]
    assert host_errors(policy) == []


@pytest.mark.parametrize(
    "field",
    [
        CachePolicy(mode="semantic", kinds={"a": CacheKind(words=("x",), threshold=0.9)}),
        CachePolicy(temperature_max=2),
        CachePolicy(mode="off", scope="shared"),
        *("exact", "semantic", "observe", "off", False),
    ],
)
def test_what_is_sound_is_not_warned_of(field: CacheField) -> None:
    assert host_warnings(field) == []
    assert route_warnings(None, field) == []


def test_who_has_no_tenants_shares_with_none() -> None:
    policy = CachePolicy(scope="shared", allow_scope="shared")
    assert host_warnings(policy, tenants=False) == []
    assert places(route_warnings("exact", policy)) == ["cache.scope"]


def test_what_all_routes_share_is_for_those_that_have_a_cache() -> None:
    scores = CachePolicy(mode="exact", max_error=0.02)
    assert places(host_warnings(scores, [None, "off"])) == ["cache.max_error"]
    assert host_warnings(scores, [None, "semantic"]) == []
    widened = CachePolicy(mode="off", scope="shared")
    assert host_warnings(widened, [None]) == []
    assert places(host_warnings(widened, [None, "exact"])) == ["cache.scope"]
    assert host_warnings(CachePolicy(scope="shared"), ["off"]) == []


def test_a_route_that_turns_to_other_words_is_told_of_the_temperature_it_inherits() -> None:
    host = CachePolicy(temperature_max=1.5)
    (warning,) = route_warnings(host, CachePolicy(mode="semantic"))
    assert warning.place == "cache.mode"
    assert warning.message.startswith("temperature_max is 1.5: ")
    (warning,) = route_warnings(host, "semantic")
    assert warning.place == "cache"


def test_a_misspelt_kind_gets_a_hint() -> None:
    policy = CachePolicy(
        kinds={"support": CacheKind(words=("refund",))}, ttl=CacheTtl(kinds={"suport": 60})
    )
    (warning,) = host_warnings(policy)
    assert warning.message.endswith("; did you mean 'support'?")
