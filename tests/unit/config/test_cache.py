"""The cache on its way from gateway.yaml to the service."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc import headers as h
from extproc.cache.control import READS
from extproc.cache.rules import (
    DYNAMIC_TTL,
    FACTUAL_TTL,
    LARGEST_ENTRY,
    MOST_KINDS,
    MOST_TAGS,
    MOST_WORDS,
    SMALLEST_ENTRY,
    TTL,
    Rules,
    rules,
)
from extproc.config import ConfigError, Severity, check, load, render
from extproc.config.cache import cache_field, plain
from extproc.config.gateway import Cache, CacheTimes
from extproc.config.parts import Node
from extproc.config.typed import read
from extproc.config.writer import to_yaml
from extproc.filters.asking import BESIDE
from extproc.policy import (
    CacheField,
    CacheKind,
    CachePolicy,
    CacheTtl,
    HostPolicy,
    RoutePolicy,
    cache_policy,
    parse,
)
from tests.unit.config.envoy import Envoy
from tests.unit.config.test_guard import (
    BASE,
    HARD,
    ROUTES,
    TEXT,
    as_envoy_says,
    host_of,
    hosts_in,
    policies,
    said_at,
    text_of,
    whole,
)

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "tests" / "fixtures" / "good" / "cache.yaml"
DOCS = (ROOT / "docs" / "configuration.md").read_text()
[PAGE] = re.findall(r"^### cache\n(.*?)^### ", DOCS, re.MULTILINE | re.DOTALL)
CONTRACT = (ROOT / "docs" / "contract.md").read_text()


def made(host: CacheField | None, route: CacheField | None) -> Rules:
    found = rules(host, route)
    assert found is not None
    return found


def test_what_is_written_reaches_the_service() -> None:
    given = load(GOOD)
    host, routes = policies(GOOD.read_text())
    assert host.cache == cache_field(given.cache)
    assert [one.cache for one in routes] == [
        cache_policy(cache_field(one.cache)) for one in given.routes
    ]
    writing, search, support, everything = [rules(host.cache, one.cache) for one in routes]
    assert writing is None
    assert search is not None
    assert support is not None
    assert everything is not None
    assert (search.semantic, search.wait, search.tags) == (False, 10.0, ("gateway",))
    assert (support.semantic, support.serve, support.strict, support.audit) == (
        *(True, True, True, 0.1),
    )
    assert (support.scope, support.allow_scope, support.judge) == ("user", "tenant", "own")
    assert (support.wait, support.max_entry_bytes, support.longest_ttl) == (0.0, 1 << 20, 7200.0)
    assert support.tags == ("gateway", "support", "plan-a")
    assert (support.ttl("default"), support.ttl("factual"), support.ttl("support")) == (
        *(90.0, 30 * 86_400.0, 86_400.0),
    )
    assert support.of("support").threshold == 0.92
    assert support.of("code").max_error == 0.001
    assert support.kinds.of("why this stack trace") == "code"
    assert support.kinds.of("I want a refund") == "support"
    assert (everything.semantic, everything.serve) == (True, False)


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("off", CachePolicy(mode="off")),
        ("false", CachePolicy(mode=False)),
        ("exact", CachePolicy(mode="exact")),
        ("semantic", CachePolicy(mode="semantic")),
        ("observe", CachePolicy(mode="observe")),
        ("{}", CachePolicy()),
        ("{mode: off}", CachePolicy(mode="off")),
        ("{strict: false, audit: 0, wait: 0}", CachePolicy(strict=False, audit=0, wait=0)),
        ("{kinds: {support: {}}}", CachePolicy(kinds={"support": CacheKind()})),
        ("{ttl: {default: 7d}}", CachePolicy(ttl=CacheTtl(default=604_800))),
    ],
)
def test_nothing_that_is_said_is_left_out(written: str, policy: CachePolicy) -> None:
    """Elsewhere a field that is false or nought is not rendered."""
    host, [route] = policies(f"{BASE}{ROUTES}cache: {written}\n")
    assert (cache_policy(host.cache), route.cache) == (policy, None)
    host, [route] = policies(f"{BASE}routes: [{{name: r, chain: main, cache: {written}}}]\n")
    assert (host.cache, cache_policy(route.cache)) == (None, policy)


def test_nothing_is_said_where_nobody_speaks_of_a_cache() -> None:
    host = host_of(f"{BASE}{ROUTES}")
    assert "cache" not in said_at(host)
    assert "cache" not in said_at(host["routes"][0])


SCORES = st.none() | st.floats(0, 1)
TIMES = st.none() | st.sampled_from([1.0, 1.5, 3600.0])


@given(
    st.builds(
        CachePolicy,
        mode=st.sampled_from([None, "off", "exact", "semantic", "observe", False]),
        max_error=SCORES,
        threshold=SCORES,
        strict=st.none() | st.booleans(),
        scope=st.sampled_from([None, "user", "shared"]),
        ttl=st.builds(
            CacheTtl,
            default=TIMES,
            longest=TIMES,
            kinds=st.dictionaries(TEXT, st.sampled_from([1.0, 2.5]), max_size=2),
        ),
        kinds=st.dictionaries(
            TEXT,
            st.builds(CacheKind, words=st.lists(TEXT, max_size=3).map(tuple), threshold=SCORES),
            max_size=2,
        ),
        max_entry_bytes=st.none() | st.integers(0, 1 << 40),
        tags=st.lists(TEXT, max_size=3).map(tuple),
        wait=TIMES,
        judge=st.none() | TEXT,
    ),
    st.booleans(),
)
def test_any_cache_survives_the_way(policy: CachePolicy, utf8: bool) -> None:
    node: Node = {"cache": plain(policy)}
    said = YAML(typ="safe", pure=True).load(to_yaml(node))
    assert parse(HostPolicy, as_envoy_says(said, utf8=utf8)).cache == policy


def test_envoy_itself_reads_every_value_as_it_is(tmp_path: Path) -> None:
    """`config_dump` shows the metadata as Envoy holds it."""
    cache = Cache(
        mode="off",
        strict=False,
        audit=0.0,
        max_error=0.015,
        kinds={"hard": CacheKind(words=tuple(HARD), threshold=0.925)},
    )
    gateway = msgspec.structs.replace(load(f"{BASE}{ROUTES}"), cache=cache)
    envoy = Envoy(tmp_path, gateway)
    try:
        envoy.wait_for_workers()
        found = envoy.get("config_dump?resource=dynamic_route_configs")
        texts = [text_of(one) for one in hosts_in(found)]
    finally:
        envoy.stop()
    assert [parse(HostPolicy, one).cache for one in texts] == [cache_field(cache)]


@pytest.mark.parametrize("mode", ["off", "false", "on", '"off"'])
def test_a_mode_in_envoys_own_yaml_is_a_mode(mode: str) -> None:
    """Whoever writes Envoy's metadata by hand may write it as in gateway.yaml."""
    said = YAML(typ="safe", pure=True)
    said.version = "1.1"
    found: list[str] = []
    for text in (f"cache: {mode}", f"cache: {{mode: {mode}}}"):
        data = said.load(text)
        policy = read(HostPolicy, data, (), lambda *one: found.append(str(one)))
        assert found == []
        assert parse(HostPolicy, as_envoy_says(data, utf8=True)).cache == policy.cache
        if mode != "on":
            assert rules(policy.cache, None) is None


# --- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        ("true", "cache: true is no mode; use exact, semantic, observe or off"),
        ("", "cache: says nothing; say cache: exact, semantic or off, or leave it out"),
        ("exatc", "cache: 'exatc' is not one of off, exact, semantic, observe"),
        ("5", "cache: expected `str`, got `int`"),
        ("[exact]", "cache: expected `str`, got `array`"),
        ("{mode: all}", "cache.mode: 'all' is not one of off, exact, semantic, observe"),
        ("{mode: true}", "cache.mode: true is no mode; use exact, semantic, observe or off"),
        ("{max_error: 1%}", "cache.max_error: expected `float`, got `str`"),
        ("{max_error: 0}", "cache.max_error: 0 is not above 0 and at most 0.5"),
        ("{audit: 5}", "cache.audit: 5 is not from 0 to 1"),
        ("{verifier: exact}", "cache.verifier: 'exact' is not one of calibrated, threshold"),
        ("{threshold: 95}", "cache.threshold: 95 is not from 0 to 1"),
        ("{threshold: 0.4}", "cache.threshold: the threshold, 0.4, is below min_score, 0.5"),
        ("{min_score: .nan}", "cache.min_score: nan is not from 0 to 1"),
        ("{strict: maybe}", "cache.strict: expected `bool`, got `str`"),
        ("{scope: team}", "cache.scope: 'team' is not one of session, user, tenant, shared"),
        ("{allow_scope: user}", "cache.allow_scope: 'user' is narrower than the scope, 'tenant'"),
        ("{custom_keys: 2}", "cache.custom_keys: expected `bool`, got `int`"),
        ("{ttl: {default: 0}}", "cache.ttl.default: '0' is not a duration; "),
        ("{ttl: {default: 10ms}}", "cache.ttl.default: 0.01 s is not from 1 s to a year (365d)"),
        ("{ttl: {longest: 2y}}", "cache.ttl.longest: '2y' is not a duration; "),
        ("{ttl: {kinds: {A: 1h}}}", "cache.ttl.kinds.A: 'A' is not a name; use up to 40"),
        ("{ttl: {kinds: {dynamic: 1h}}}", "cache.ttl.kinds.dynamic: is built in; say ttl: {dyn"),
        ("{kinds: [support]}", "cache.kinds: must be a mapping, not a list"),
        ("{kinds: {support: [refund]}}", "cache.kinds.support: must be a mapping, not a list"),
        ("{kinds: {a: {words: [5]}}}", "cache.kinds.a.words[0]: expected `str`, got `int`"),
        ("{kinds: {a: {ttl: 1h}}}", "cache.kinds.a.ttl: unknown field; "),
        ("{kinds: {default: {words: [x]}}}", "cache.kinds.default.words: is the kind of what no"),
        ("{max_entry_bytes: 100}", "cache.max_entry_bytes: 100 is not from 256 to 16,777,216"),
        ("{max_entry_bytes: 1GB}", "cache.max_entry_bytes: '1GB' is not a size; write it as "),
        ("{temperature_max: 2.1}", "cache.temperature_max: 2.1 is not from 0 to 2"),
        ("{embed: all}", "cache.embed: 'all' is not one of last_user_turn, conversation"),
        ("{tool_calls: yes}", "cache.tool_calls: expected `bool`, got `str`"),
        ("{tags: pricing}", "cache.tags: must be a list, not a text"),
        ('{tags: ["a,b"]}', "cache.tags[0]: 'a,b' is not a tag; use up to 64 letters"),
        ("{wait: 1h}", "cache.wait: 3600 is not from 0 to 300"),
        ("{judge: nobody}", "cache.judge: no chain 'nobody'; there is main"),
        ("{treshold: 0.9}", "cache.treshold: unknown field; did you mean 'threshold'?"),
    ],
)
def test_what_is_no_cache_is_told(cache: str, words: str) -> None:
    for place, text in (
        ("", f"{BASE}{ROUTES}cache: {cache}\n"),
        ("routes[0].", f"{BASE}routes:\n  - name: r\n    chain: main\n    cache: {cache}\n"),
    ):
        with pytest.raises(ConfigError) as error:
            load(text)
        assert f": {place}{words}" in str(error.value)


def test_a_mistake_is_named_with_its_line() -> None:
    text = f"""{BASE}routes:
  - name: r
    chain: main
    cache:
      kinds:
        support:
          words:
            - refund
            - "!"
cache:
  mode: semantic
  ttl:
    factual: 400d
"""
    with pytest.raises(ConfigError) as error:
        load(text)
    assert str(error.value).splitlines() == [
        "gateway.yaml:19: cache.ttl.factual: 400d is not from 1 s to a year (365d)",
        (
            "gateway.yaml:15: routes[0].cache.kinds.support.words[1]: is no word: it has no letter "
            "and no digit, or over 80 of them"
        ),
    ]


def test_what_does_other_than_it_seems_is_a_warning(tmp_path: Path) -> None:
    place = tmp_path / "gateway.yaml"
    place.write_text(
        f"{BASE}routes:\n"
        "  - {name: open, match: {headers: {x-a: b}}, chain: main, identity: open, "
        "cache: {mode: semantic, scope: shared}}\n"
        "  - {name: r, chain: main, cache: {mode: semantic, scope: shared, temperature_max: 2}}\n"
        "cache: {audit: 0, mode: off}\nidentity: keys\n"
    )
    found = check(place)
    assert [(one.rule, one.severity, one.path) for one in found] == [
        ("weak-cache", Severity.WARNING, "routes[1].cache.scope"),
        ("weak-cache", Severity.WARNING, "routes[1].cache.temperature_max"),
        ("weak-cache", Severity.WARNING, "cache.audit"),
    ]
    render(load(place)).write_dir(tmp_path / "envoy")
    assert [one.path.partition("tollgate.")[2] for one in check(tmp_path / "envoy")] == [
        *("cache.audit", "cache.scope", "cache.temperature_max"),
    ]


@pytest.mark.parametrize(
    ("identity", "warned"),
    [
        ("open", False),
        ("keys", True),
        ("{open: true, keys: true}", True),
        ("{header: {headers: {user: x-user}}}", False),
        ("{header: {headers: {tenant: x-tenant}}}", True),
        ("{header: {headers: {user: x-user}, fixed: {tenant: acme}}, open: true}", True),
    ],
)
def test_who_tells_no_tenants_apart_may_share(identity: str, warned: bool, tmp_path: Path) -> None:
    place = tmp_path / "gateway.yaml"
    place.write_text(f"{BASE}{ROUTES}cache: {{scope: shared}}\nidentity: {identity}\n")
    assert [one.path for one in check(place)] == ["cache.scope"] * warned


# --- headers ------------------------------------------------------------------------------


def test_envoy_sends_the_service_every_header_that_the_cache_reads() -> None:
    for name in (*READS, *BESIDE):
        assert any(
            name == one or (one.endswith("*") and name.startswith(one[:-1]))
            for one in h.GATEWAY_READS
        ), name


def test_what_an_answer_says_of_its_age_ends_at_the_gateways_edge() -> None:
    document = YAML(typ="safe", pure=True).load(render(load(f"{BASE}{ROUTES}")).single())
    gateway, level = document["static_resources"]["listeners"]
    [strip, *_] = filters_of(gateway)
    removed = {one.get("remove") for one in strip["mutations"]["response_mutations"]}
    assert {h.CACHE_TTL, h.CACHE_KIND} <= removed
    for listener in (gateway, level):
        for one in filters_of(listener):
            if "forward_rules" in one:
                patterns = one["forward_rules"]["allowed_headers"]["patterns"]
                assert {"prefix": "x-tollgate-"} in patterns


def filters_of(listener: Any) -> list[Any]:
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return [one["typed_config"] for one in manager["http_filters"]]


# --- the documentation --------------------------------------------------------------------


def test_the_example_of_the_documentation_is_taken(tmp_path: Path) -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    place = tmp_path / "gateway.yaml"
    place.write_text(whole(example))
    assert check(place) == []
    host, routes = policies(whole(example))
    writing, support, everything = [rules(host.cache, one.cache) for one in routes]
    assert writing is None
    assert support is not None
    assert everything is not None
    assert (support.semantic, support.serve, support.scope) == (True, True, "user")
    assert (support.of("default").max_error, support.of("refunds").threshold) == (0.02, 0.92)
    assert (everything.semantic, everything.ttl("dynamic")) == (False, 600.0)


def test_the_documentation_has_every_field_with_its_default() -> None:
    tables = [
        dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", one, re.MULTILINE))
        for one in re.split(r"^`(?:ttl|kinds)`:$", PAGE, flags=re.MULTILINE)
    ]
    kinds: list[tuple[type[msgspec.Struct], dict[str, str]]] = list(
        zip((Cache, CacheTimes, CacheKind), tables, strict=True)
    )
    for kind, rows in kinds:
        assert list(rows) == [one.name for one in msgspec.structs.fields(kind)]
    policy = [one.name for one in msgspec.structs.fields(CachePolicy)]
    assert policy == [one.name for one in msgspec.structs.fields(Cache)]
    said = {
        name: YAML(typ="safe", pure=True).load(value.strip("`"))
        for name, value in tables[0].items()
        if value.startswith("`")
    }
    said["ttl"] = {
        name: value.strip("`") for name, value in tables[1].items() if value.startswith("`")
    }
    found: list[str] = []
    written = read(Cache, said, (), lambda *one: found.append(str(one)))
    assert found == []
    assert (written.ttl.default, written.ttl.factual, written.ttl.dynamic) == (
        *(TTL, FACTUAL_TTL, DYNAMIC_TTL),
    )
    unsaid = made(CachePolicy(), None)
    assert replace(made(cache_field(written), None), kinds=unsaid.kinds) == unsaid


def test_the_documentation_has_every_bound() -> None:
    for bound in (
        f"up to {MOST_TAGS} tags",
        f"up to {MOST_KINDS} kinds",
        f"up to {MOST_WORDS} words",
        f"from {SMALLEST_ENTRY} bytes to {LARGEST_ENTRY >> 20} MiB",
    ):
        assert bound in PAGE, bound


def test_the_contract_has_every_header_of_the_cache() -> None:
    requests = re.split(r"^## Requests\n", CONTRACT, flags=re.MULTILINE)[1]
    requests, answers = re.split(r"^## Answers\n", requests, flags=re.MULTILINE)
    for name in READS:
        assert f"`{name}" in requests, name
    for name in (h.CACHE, *h.CACHE_OF_ANSWER):
        assert f"`{name}" in answers, name
    for code in ("invalid_header", "cache_scope_not_allowed", "not_cached"):
        assert f"`{code}`" in CONTRACT


def test_a_route_says_its_cache_in_its_policy() -> None:
    assert {"cache"} <= {one.name for one in msgspec.structs.fields(RoutePolicy)}


def test_a_time_alone_is_that_of_every_kind() -> None:
    text = f"{BASE}routes: [{{name: r, chain: main, cache: {{mode: semantic, ttl: 6h}}}}]\n"
    found = rules(None, cache_field(load(text).routes[0].cache))
    assert found is not None
    assert {kind: one.ttl for kind, one in found.by_kind.items()} == dict.fromkeys(
        ("default", "factual", "dynamic"), 21_600
    )
