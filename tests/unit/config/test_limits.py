"""Limits, tiers, the queue and ceilings on their way from gateway.yaml to the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from ruamel.yaml import YAML

from extproc.config import ConfigError, check, load, render
from extproc.headers import NAMESPACE
from extproc.limits.rules import Compiled
from extproc.pb.metadata_pb2 import Metadata
from extproc.policy import Ceilings, HostPolicy, QueuePolicy, RoutePolicy, TargetPolicy, parse
from extproc.records import NOBODY, Caller

GOOD = Path(__file__).parents[2] / "fixtures" / "good" / "limits.yaml"
DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"
SHIPPED = Path(__file__).parents[3] / "envoy" / "gateway.yaml"
BASE = """\
providers:
  local: {dialect: openai, url: http://127.0.0.1:8000}
targets:
  llama: {provider: local, model: llama-3.1-8b-instruct, price: {input: 0, output: 0}}
chains:
  main: [llama]
  cheap: [llama]
"""
ROUTES = "routes: [{name: r, chain: main}]\n"


def envoys(node: Any) -> str:
    """Metadata as Envoy hands it over: it reads fractions as text."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(one) for name, one in value.items()}
        if isinstance(value, list):
            return [read(one) for one in value]
        return str(value) if isinstance(value, float) else value

    metadata = Metadata()
    metadata.filter_metadata[NAMESPACE].update(read(node))
    return text_format.MessageToString(metadata)


def listeners(text: str) -> list[dict[str, Any]]:
    document = YAML(typ="safe", pure=True).load(render(load(text)).single())
    found: list[dict[str, Any]] = document["static_resources"]["listeners"]
    return found


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def policies(text: str) -> tuple[HostPolicy, list[RoutePolicy], dict[str, TargetPolicy]]:
    """As the service reads them."""
    edge, *levels = map(manager, listeners(text))
    [shared] = edge["route_config"]["virtual_hosts"]

    def said(place: dict[str, Any]) -> str:
        return envoys(place["metadata"]["filter_metadata"][NAMESPACE])

    targets = [
        parse(TargetPolicy, said(one["route_config"]["virtual_hosts"][0]["routes"][0]))
        for one in levels
    ]
    return (
        parse(HostPolicy, said(shared)),
        [parse(RoutePolicy, said(one)) for one in shared["routes"] if "metadata" in one],
        {one.target: one for one in targets},
    )


def test_what_is_written_reaches_the_service() -> None:
    given = load(GOOD)
    host, routes, targets = policies(GOOD.read_text())
    assert (host.limits, host.tiers, host.timezone) == (
        given.limits,
        given.tiers,
        "Europe/Berlin",
    )
    assert host.queue == QueuePolicy(
        between="weighted", weights={"high": 6, "normal": 3}, ttl=30.0, class_depth={"low": 100}
    )
    assert [(one.priority, one.ttl) for one in routes] == [("high", None), (None, 120.0)]
    assert routes[0].limits == {"session": {"requests": "10/m burst 20"}}
    anthropic = Ceilings(rpm=50, itpm=30_000, otpm=8000, concurrent=20)
    local = Ceilings(tpm=1_000_000, high_water=0.8)
    for where in (host.targets, targets):
        claude, llama = where["claude"], where["llama"]
        assert (claude.provider_ceilings, claude.ceilings) == (anthropic, None)
        assert (llama.provider_ceilings, llama.ceilings) == (None, local)
    compiled = Compiled(host, routes[0])
    free = compiled.of(Caller(source="key", tier="free"))
    assert {one.name.partition(":")[0] for one in free.rules} == {
        *("gateway", "route chat", "tier free", "team-month"),
    }
    assert not any(one.strict for one in free.rules if one.dims == ("user", "model"))


def test_what_undoes_an_option_is_not_left_out() -> None:
    """Elsewhere a field that is false or empty is not rendered."""
    limits = "{tokens: {limit: 5/h, strict: false}, usd: 0.50/h, burst: 1.5x, strict: true}"
    text = f"{BASE}{ROUTES}limits: {{user: {limits}}}\ntiers: {{free: {{}}, pro: {{}}}}\n"
    host, [route], _ = policies(text)
    tokens, usd = Compiled(host, route).of(NOBODY).rules
    assert (tokens.strict, usd.strict) == (False, True)
    assert (tokens.most, usd.most) == (7, 750_000_000)
    assert host.tiers == {"free": {}, "pro": {}}


def test_nothing_is_said_of_what_nobody_limits() -> None:
    text = f"{BASE}{ROUTES}"
    shared = manager(listeners(text)[0])["route_config"]["virtual_hosts"][0]
    said = shared["metadata"]["filter_metadata"][NAMESPACE]
    assert not {"limits", "tiers", "queue", "timezone"} & set(said)
    host, [route], _ = policies(text)
    assert Compiled(host, route).empty
    assert (route.priority, route.ttl) == (None, None)


@pytest.mark.parametrize(("ttl", "longest", "idle"), [("0", 600, 300), ("15m", 960, 990)])
def test_envoy_is_as_patient_as_the_queue(
    ttl: str, longest: int, idle: int, tmp_path: Path
) -> None:
    text = f"{BASE}routes: [{{name: r, chain: main, ttl: {ttl}}}]\n"
    edge, level = map(manager, listeners(text))
    ours = next(one for one in edge["http_filters"] if one["name"] == "tollgate.gateway")
    assert ours["typed_config"]["max_message_timeout"] == f"{longest}s"
    assert edge["stream_idle_timeout"] == f"{idle}s"
    assert level["stream_idle_timeout"] == "300s"
    render(load(text)).write_dir(tmp_path)
    assert check(tmp_path) == []


def test_the_queues_own_time_holds_where_a_route_says_none() -> None:
    edge = manager(listeners(f"{BASE}{ROUTES}queue: {{ttl: 20m}}\n")[0])
    ours = next(one for one in edge["http_filters"] if one["name"] == "tollgate.gateway")
    assert ours["typed_config"]["max_message_timeout"] == "1260s"


@pytest.mark.parametrize("ttl", ["0", "0s", "0.0", "500ms", "1h", "3600"])
def test_times_that_may_be_none(ttl: str) -> None:
    text = f"{BASE}routes: [{{name: r, chain: main, ttl: {ttl}}}]\nqueue: {{ttl: {ttl}}}\n"
    found = load(text)
    assert found.routes[0].ttl == found.queue.ttl
    assert 0 <= found.queue.ttl <= 3600


@pytest.mark.parametrize("ttl", ["-1", "-1s", "soon", "false", "1d", "''"])
def test_times_that_are_none(ttl: str) -> None:
    with pytest.raises(ConfigError, match=r"queue\.ttl: "):
        load(f"{BASE}{ROUTES}queue: {{ttl: {ttl}}}\n")


def test_a_mistake_is_named_with_its_line() -> None:
    text = f"""{BASE}routes:
  - name: r
    chain: main
    limits:
      user:
        tokens:
          - 100/h
          - limit: 5/d
            burst: 2x
"""
    with pytest.raises(ConfigError) as error:
        load(text)
    assert str(error.value) == (
        "gateway.yaml:16: routes[0].limits.user.tokens[1].burst: a calendar window (/d) has no "
        "burst; it is for /s, /m, /h"
    )


def test_the_examples_of_the_documentation_are_taken() -> None:
    sections = re.split(r"^#+ ", DOCS.read_text(), flags=re.MULTILINE)
    named = {one.partition("\n")[0]: one for one in sections}
    for name in ("limits", "tiers", "queue"):
        [example] = re.findall(r"```yaml\n(.*?)```", named[name], flags=re.DOTALL)
        assert load(f"{BASE}{ROUTES}{example}")


def test_what_the_shipped_file_offers_can_be_taken() -> None:
    text = SHIPPED.read_text()
    start = text.index("# limits:")
    offered = re.sub(r"^# ", "", text[start:], flags=re.MULTILINE)
    assert offered.startswith("limits:")
    found = load(text[:start] + offered)
    assert set(found.tiers) == {"free", "pro"}
