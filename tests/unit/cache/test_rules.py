"""The cache's policy: what holds, and what cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.cache.rules import Rules, host_errors, is_on, merged, route_errors, rules
from extproc.policy import CacheField, CacheKind, CachePolicy, CacheTtl, HostPolicy, RoutePolicy
from extproc.rule_error import RuleError


def made(route: CacheField | None, host: CacheField | None = None, **more: Any) -> Rules:
    found = rules(host, route, **more)
    assert found is not None
    return found


def places(found: list[RuleError]) -> list[str]:
    return [one.place for one in found]


def test_what_holds_where_nothing_is_said() -> None:
    found = made(CachePolicy())
    kind = found.of("default")
    assert (kind.ttl, kind.threshold, kind.min_score, kind.max_error) == (21_600, 0.95, 0.5, 0.01)
    assert (found.of("factual").ttl, found.of("dynamic").ttl) == (30 * 86_400, 3600)
    assert (found.scope, found.allow_scope, found.audit) == ("tenant", "tenant", 0.05)
    assert (found.serve, found.semantic, found.calibrated, found.strict) == (
        True,
        False,
        True,
        False,
    )
    assert not found.tool_calls
    assert not found.custom_keys
    assert found.of("unheard-of") == kind


@pytest.mark.parametrize("field", [None, "off", False, CachePolicy(mode="off")])
def test_no_cache(field: CacheField | None) -> None:
    assert rules(field, None) is None
    assert rules(None, field) is None
    assert not is_on(None, field)


def test_a_route_may_be_without_the_cache_that_all_have() -> None:
    assert rules("semantic", "off") is None
    assert made("exact", "semantic").semantic is False


def test_modes() -> None:
    assert made("semantic").semantic
    observed = made("observe")
    assert observed.semantic
    assert not observed.serve
    assert not made("semantic", observe=True).serve


def test_a_mode_survives_envoys_yaml() -> None:
    for text in ("off", False):
        found = msgspec.convert(
            {"route": "a", "chain": "b", "cache": {"mode": text}}, RoutePolicy, strict=False
        )
        assert not is_on(None, found.cache)
    short = msgspec.convert({"cache": "semantic"}, HostPolicy, strict=False)
    assert made(None, short.cache).semantic


def test_what_a_route_says_stands_over_what_all_say() -> None:
    host = CachePolicy(
        mode="semantic",
        max_error=0.02,
        ttl=CacheTtl(default=60, factual=120, kinds={"a": 5, "b": 6}),
        kinds={"a": CacheKind(words=("x",), threshold=0.9)},
        tags=("all",),
    )
    route = CachePolicy(
        ttl=CacheTtl(default=90, kinds={"b": 7}),
        kinds={"a": CacheKind(min_score=0.5)},
        tags=("own", "all"),
        scope="user",
    )
    found = made(route, host)
    assert found.semantic
    assert found.scope == "user"
    assert found.tags == ("all", "own")
    assert [found.of(name).ttl for name in ("default", "factual", "a", "b")] == [90, 120, 5, 7]
    assert (found.of("a").threshold, found.of("a").min_score) == (0.9, 0.5)
    assert found.of("a").max_error == 0.02
    assert found.kinds.of("x") == "a"
    assert merged(host, None) == host


def test_a_kind_may_differ_in_all_that_decides() -> None:
    found = made(
        CachePolicy(
            mode="semantic",
            threshold=0.94,
            kinds={
                "support": CacheKind(words=("refund",), threshold=0.92, max_error=0.02),
                "factual": CacheKind(threshold=0.97),
            },
        )
    )
    assert found.of("support").threshold == 0.92
    assert found.of("support").max_error == 0.02
    assert found.of("factual").threshold == 0.97
    assert found.of("default").threshold == 0.94
    assert found.of("support").ttl == found.of("default").ttl


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        (CachePolicy(mode=True), "cache.mode"),
        (CachePolicy(max_error=0), "cache.max_error"),
        (CachePolicy(max_error=0.6), "cache.max_error"),
        (CachePolicy(max_error=float("nan")), "cache.max_error"),
        (CachePolicy(audit=1.5), "cache.audit"),
        (CachePolicy(threshold=1.1), "cache.threshold"),
        (CachePolicy(threshold=0.4), "cache.threshold"),
        (CachePolicy(min_score=0.97), "cache.min_score"),
        (CachePolicy(ttl=CacheTtl(default=0)), "cache.ttl.default"),
        (CachePolicy(ttl=CacheTtl(factual=4e7)), "cache.ttl.factual"),
        (CachePolicy(ttl=CacheTtl(kinds={"a": -1})), "cache.ttl.kinds.a"),
        (CachePolicy(ttl=CacheTtl(kinds={"factual": 5})), "cache.ttl.kinds.factual"),
        (CachePolicy(ttl=CacheTtl(kinds={"A b": 5})), "cache.ttl.kinds.A b"),
        (CachePolicy(kinds={"Support": CacheKind()}), "cache.kinds.Support"),
        (CachePolicy(kinds={"a": CacheKind(threshold=2)}), "cache.kinds.a.threshold"),
        (CachePolicy(kinds={"a": CacheKind(threshold=0.4)}), "cache.kinds.a.threshold"),
        (CachePolicy(kinds={"a": CacheKind(words=("ok", "?"))}), "cache.kinds.a.words[1]"),
        (CachePolicy(kinds={"default": CacheKind(words=("x",))}), "cache.kinds.default.words"),
        (CachePolicy(kinds={"a": CacheKind(words=("x",) * 501)}), "cache.kinds"),
        (CachePolicy(scope="tenant", allow_scope="user"), "cache.allow_scope"),
        (CachePolicy(max_entry_bytes=0), "cache.max_entry_bytes"),
        (CachePolicy(temperature_max=2.5), "cache.temperature_max"),
        (CachePolicy(wait=-1), "cache.wait"),
        (CachePolicy(tags=("ok", "not ok")), "cache.tags[1]"),
        (CachePolicy(judge="nobody"), "cache.judge"),
    ],
)
def test_what_cannot_be_is_named_by_its_place(policy: CachePolicy, place: str) -> None:
    assert place in places(host_errors(policy, ("main", "judges")))
    assert place in places(route_errors(CachePolicy(), policy, ("main",)))
    if policy.judge is None:
        with pytest.raises(RuleError, match=r"^cache\."):
            rules(None, CachePolicy(**{**_said(policy), "mode": policy.mode or "exact"}))


def _said(policy: CachePolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in policy.__struct_fields__}


def test_a_misspelt_judge_gets_a_hint() -> None:
    (error,) = host_errors(CachePolicy(judge="judge"), ("judges", "main"))
    assert "did you mean 'judges'?" in error.message
    assert host_errors(CachePolicy(judge="judge")) == []


def test_what_the_route_inherits_is_blamed_on_who_said_it() -> None:
    wrong = CachePolicy(max_error=0)
    assert places(host_errors(wrong)) == ["cache.max_error"]
    assert route_errors(wrong, CachePolicy(audit=0.1)) == []


def test_a_mode_alone_has_no_places_within() -> None:
    assert places(host_errors(True)) == ["cache"]
    assert places(route_errors("exact", True)) == ["cache"]


def test_scores_that_cross_only_together_are_told_where_the_route_says_its_own() -> None:
    host = CachePolicy(mode="semantic", kinds={"code": CacheKind(words=("diff",), threshold=0.9)})
    (error,) = route_errors(host, CachePolicy(min_score=0.92))
    assert (error.place, error.message) == (
        "cache.min_score",
        "the threshold, 0.9, is below min_score, 0.92, for 'code'",
    )


@pytest.mark.parametrize(
    "policy",
    [
        CachePolicy(mode="exact", custom_keys=True, scope="shared"),
        CachePolicy(mode="exact", custom_keys=True, allow_scope="shared"),
    ],
)
def test_a_key_of_ones_own_is_for_no_other_tenant(policy: CachePolicy) -> None:
    """Who guesses it would answer for all."""
    (error,) = route_errors(None, policy)
    assert error.place == "cache.custom_keys"
