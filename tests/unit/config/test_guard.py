"""The guard on its way from gateway.yaml to the service."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc.config import ConfigError, Severity, check, load, render
from extproc.config.gateway import Guard, Route
from extproc.config.guard import guard_policy, plain
from extproc.config.parts import Node
from extproc.config.routes import GUARD_EXTRA, INNER_EXTRA, OUTER_EXTRA
from extproc.config.typed import seconds
from extproc.config.writer import to_yaml
from extproc.guard.rules import KEEP, LONGEST_KEEP, MOST_PATTERNS, MOST_TEXT, rules
from extproc.headers import NAMESPACE
from extproc.pb.metadata_pb2 import Metadata
from extproc.policy import GuardPolicy, HostPolicy, RoutePolicy, parse
from tests.unit.config.envoy import Envoy

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "tests" / "fixtures" / "good" / "guard.yaml"
DOCS = (ROOT / "docs" / "configuration.md").read_text()
[PAGE] = re.findall(r"^### guard\n(.*?)^### ", DOCS, re.MULTILINE | re.DOTALL)
BASE = """\
providers:
  local: {dialect: openai, url: http://127.0.0.1:8000}
targets:
  llama: {provider: local, model: llama-3.1-8b-instruct, price: {input: 0, output: 0}}
chains:
  main: [llama]
"""
ROUTES = "routes: [{name: r, chain: main}]\n"
HARD = [
    r"\bPRJ-\d{4}\b|\\\.\x{20}",
    "\"q\" 'p' `b`",
    "Ärger 社外秘 \U0001f600",
    "a\tb\nc\r\x7f\u0085\u2028\ufeff\u200b",
    *("0815", "0.50", "1e5", "true", "null", "~", " x ", "#a: b", "{a}", "%d", "'", '"', "\\"),
]
"""Texts that one writer or reader on the way might take for something else."""
TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(HARD)


def as_envoy_says(said: Any, *, utf8: bool) -> str:
    """Metadata in text format, as Envoy hands it over: it reads fractions as text."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(one) for name, one in value.items()}
        if isinstance(value, list):
            return [read(one) for one in value]
        return str(value) if isinstance(value, float) else value

    metadata = Metadata()
    metadata.filter_metadata[NAMESPACE].update(read(said))
    return text_format.MessageToString(metadata, as_utf8=utf8)


def host_of(text: str) -> Any:
    """The virtual host in front."""
    document = YAML(typ="safe", pure=True).load(render(load(text)).single())
    listener = document["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]


def said_at(place: Any) -> Any:
    return place["metadata"]["filter_metadata"][NAMESPACE]


def policies(text: str) -> tuple[HostPolicy, list[RoutePolicy]]:
    """As the service reads them."""
    host = host_of(text)
    return (
        parse(HostPolicy, as_envoy_says(said_at(host), utf8=False)),
        [
            parse(RoutePolicy, as_envoy_says(said_at(one), utf8=True))
            for one in host["routes"]
            if "metadata" in one
        ],
    )


def whole(example: str) -> str:
    return BASE + example + ("" if "routes:" in example else ROUTES)


def test_what_is_written_reaches_the_service() -> None:
    given = load(GOOD)
    host, routes = policies(GOOD.read_text())
    assert host.guard == guard_policy(given.guard)
    assert [one.guard for one in routes] == [guard_policy(one.guard) for one in given.routes]
    own, support, everything = [rules(host.guard, one.guard) for one in routes]
    assert own is None
    assert support is not None
    assert everything is not None
    assert support.detector.least_of["PERSON"] == 0.0
    assert support.action("CUSTOM:ticket") == "block"
    assert support.detector.patterns["ticket"] == 'SUP-\\d{4}|\\bTT"\\d+"\\\\'
    assert (support.restore, support.response) == (False, True)
    assert everything.detector.words == {"code-names": ("Blauwal", "Project Ünder", "0815")}
    assert (everything.keep, everything.block_images) == (8 * 3600.0, True)


def test_what_undoes_something_is_not_left_out() -> None:
    """Elsewhere a field that is false or nought is not rendered."""
    own = "{enabled: false, restore: false, confidence: {PERSON: 0.0}, actions: {JWT: ignore}}"
    text = (
        f"{BASE}routes: [{{name: r, chain: main, guard: {own}}}]\n"
        "guard: {enabled: true, restore: true, confidence: {PERSON: 1.0}}\n"
    )
    host, [route] = policies(text)
    assert host.guard == GuardPolicy(enabled=True, restore=True, confidence={"PERSON": 1.0})
    assert route.guard == GuardPolicy(
        enabled=False, restore=False, confidence={"PERSON": 0.0}, actions={"JWT": "ignore"}
    )


def test_a_guard_with_its_defaults_is_one() -> None:
    host, [route] = policies(f"{BASE}{ROUTES}guard: {{}}\n")
    assert (host.guard, route.guard) == (GuardPolicy(), None)
    host, [route] = policies(f"{BASE}routes: [{{name: r, chain: main, guard: {{}}}}]\n")
    assert (host.guard, route.guard) == (None, GuardPolicy())


def test_nothing_is_said_where_nobody_speaks_of_a_guard() -> None:
    host = host_of(f"{BASE}{ROUTES}")
    assert "guard" not in said_at(host)
    assert "guard" not in said_at(host["routes"][0])


@given(
    st.builds(
        GuardPolicy,
        enabled=st.none() | st.booleans(),
        patterns=st.dictionaries(TEXT, TEXT, max_size=3),
        words=st.dictionaries(TEXT, st.lists(TEXT, max_size=3).map(tuple), max_size=2),
        allow=st.lists(TEXT, max_size=3).map(tuple),
        confidence=st.dictionaries(TEXT, st.floats(0, 1), max_size=2),
        keep=st.sampled_from([None, 1.0, 1.5, 3600.0]),
    ),
    st.booleans(),
)
def test_any_text_survives_the_way(policy: GuardPolicy, utf8: bool) -> None:
    node: Node = {"guard": plain(policy)}
    read = YAML(typ="safe", pure=True).load(to_yaml(node))
    assert parse(HostPolicy, as_envoy_says(read, utf8=utf8)).guard == policy


def test_envoy_itself_reads_every_text_as_it_is(tmp_path: Path) -> None:
    """`config_dump` shows the metadata as Envoy holds it."""
    words = [one for one in HARD if len(one.strip()) > 1 and re.search(r"\w", one)]
    gateway = load(f"{BASE}{ROUTES}")
    guard = Guard(words={"hard": tuple(words)}, allow=tuple(HARD), confidence={"JWT": 0.5})
    gateway = msgspec.structs.replace(gateway, guard=guard)
    envoy = Envoy(tmp_path, gateway)
    try:
        envoy.wait_for_workers()
        found = envoy.get("config_dump?resource=dynamic_route_configs")
        texts = [text_of(one) for one in hosts_in(found)]
    finally:
        envoy.stop()
    assert [parse(HostPolicy, one).guard for one in texts] == [guard_policy(guard)]


def hosts_in(node: Any) -> list[Any]:
    """Virtual hosts of the gateway, wherever they stand."""
    if isinstance(node, list):
        return [found for one in node for found in hosts_in(one)]
    if not isinstance(node, dict):
        return []
    if node.get("name") == "gateway" and "domains" in node:
        return [node]
    return [found for one in node.values() for found in hosts_in(one)]


def text_of(host: Any) -> str:
    metadata = Metadata()
    metadata.filter_metadata[NAMESPACE].update(said_at(host))
    return text_format.MessageToString(metadata)


@pytest.mark.parametrize(
    ("host", "own", "more"),
    [
        ("", "", 0),
        ("guard: {}", "", GUARD_EXTRA),
        ("", ", guard: {mode: observe}", GUARD_EXTRA),
        ("guard: {}", ", guard: {enabled: false}", 0),
        ("guard: {enabled: false}", "", 0),
    ],
)
def test_bodies_may_grow_where_there_is_a_guard(host: str, own: str, more: int) -> None:
    text = f"{BASE}routes: [{{name: r, chain: main{own}}}]\n{host}\n"
    route = host_of(text)["routes"][0]
    assert route["request_body_buffer_limit"] == (32 << 20) + OUTER_EXTRA + more
    assert INNER_EXTRA > OUTER_EXTRA + GUARD_EXTRA


# --- mistakes -----------------------------------------------------------------------------


def test_a_mistake_is_named_with_its_line() -> None:
    text = f"""{BASE}routes:
  - name: r
    chain: main
    guard:
      actions:
        PERSON: redact
        EMAIL_ADRESS: block
guard:
  words:
    projects:
      - Blauwal
      - x
  keep: 60d
"""
    with pytest.raises(ConfigError) as error:
        load(text)
    assert str(error.value).splitlines() == [
        "gateway.yaml:18: guard.words.projects[1]: is too short; a word has 2 characters at least",
        "gateway.yaml:19: guard.keep: 5.184e+06 s is not from 1 s to 30 days (720h)",
        (
            "gateway.yaml:13: routes[0].guard.actions.EMAIL_ADRESS: no type 'EMAIL_ADRESS'; "
            "did you mean 'EMAIL_ADDRESS'?"
        ),
    ]


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ("true", "guard: must be a mapping, not a boolean"),
        ("", "guard: says nothing; say guard: {} for one with its defaults, or leave it out"),
        ("{mode: watch}", "guard.mode: 'watch' is not one of enforce, observe"),
        ("{direction: answer}", "guard.direction: 'answer' is not one of request, response, both"),
        ("{actions: redact}", "guard.actions: must be a mapping, not a text"),
        ("{actions: }", "guard.actions: must be a mapping, not nothing"),
        ("{actions: {PERSON: hide}}", "guard.actions.PERSON: 'hide' is not one of ignore, flag,"),
        ("{restore: maybe}", "guard.restore: expected `bool`, got `str`"),
        ("{images: drop}", "guard.images: 'drop' is not one of pass, block"),
        ("{files: flag}", "guard.files: 'flag' is not one of pass, block"),
        ("{confidence: {PERSON: high}}", "guard.confidence.PERSON: expected `float`, got `str`"),
        ("{allow: a@b.c}", "guard.allow: must be a list, not a text"),
        ("{words: {x: Blauwal}}", "guard.words.x: must be a list, not a text"),
        ("{words: {x: [4711]}}", "guard.words.x[0]: expected `str`, got `int`"),
        ("{patterns: {x: [a]}}", "guard.patterns.x: expected `str`, got `array`"),
        ("{on_failure: close}", "guard.on_failure: 'close' is not one of closed, open"),
        ("{keep: 0}", "guard.keep: '0' is not a duration; "),
        ("{action: {}}", "guard.action: unknown field; did you mean 'actions'?"),
    ],
)
def test_what_is_no_guard_is_told(guard: str, words: str) -> None:
    for place, text in (
        ("", f"{BASE}{ROUTES}guard: {guard}\n"),
        ("routes[0].", f"{BASE}routes:\n  - name: r\n    chain: main\n    guard: {guard}\n"),
    ):
        with pytest.raises(ConfigError) as error:
            load(text)
        assert f": {place}{words}" in str(error.value)


def test_what_is_weak_is_a_warning(tmp_path: Path) -> None:
    place = tmp_path / "gateway.yaml"
    place.write_text(
        f"{BASE}routes: [{{name: r, chain: main, guard: {{restore: true}}}}]\n"
        "guard: {direction: response, on_failure: open}\nidentity: keys\n"
    )
    found = check(place)
    assert [(one.rule, one.severity, one.path) for one in found] == [
        ("weak-guard", Severity.WARNING, "routes[0].guard.restore"),
        ("weak-guard", Severity.WARNING, "guard.on_failure"),
    ]
    render(load(place)).write_dir(tmp_path / "envoy")
    assert [one.path.partition("tollgate.")[2] for one in check(tmp_path / "envoy")] == [
        "guard.on_failure",
        "guard.restore",
    ]


# --- the documentation --------------------------------------------------------------------


def test_the_example_of_the_documentation_is_taken(tmp_path: Path) -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    place = tmp_path / "gateway.yaml"
    place.write_text(whole(example))
    assert check(place) == []
    gateway = load(place)
    host = guard_policy(gateway.guard)
    trial, own, everything = [rules(host, guard_policy(one.guard)) for one in gateway.routes]
    assert own is None
    assert trial is not None
    assert everything is not None
    assert (trial.enforce, trial.response, trial.action("IP_ADDRESS")) == (False, True, "ignore")
    assert (everything.action("IP_ADDRESS"), everything.restore) == ("redact", False)
    assert (everything.action("CUSTOM:project"), everything.action("CUSTOM:ticket")) == (
        *("hash", "flag"),
    )


def test_the_documentation_has_every_field_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, re.MULTILINE))
    fields = [one.name for one in msgspec.structs.fields(Guard)]
    assert [name for name in rows if name in fields] == fields
    said = {name: rows[name].strip("`") for name in fields if rows[name] != "none"}
    said["keep"] = seconds(said["keep"])
    said["keep"] = float(said["keep"])
    assert said["keep"] == KEEP
    policy = msgspec.convert(yaml_of(said), GuardPolicy)
    written, unsaid = rules(policy, None), rules(GuardPolicy(), None)
    assert written is not None
    assert unsaid is not None
    assert replace(written, actions=unsaid.actions) == unsaid
    assert written.action("PERSON") == unsaid.action("PERSON")
    assert [one.name for one in msgspec.structs.fields(GuardPolicy)] == fields


def yaml_of(said: dict[str, Any]) -> dict[str, Any]:
    return {
        name: YAML(typ="safe").load(value) if isinstance(value, str) else value
        for name, value in said.items()
    }


def test_the_documentation_has_every_action_and_bound() -> None:
    for action in ("ignore", "flag", "redact", "mask", "hash", "block"):
        assert f"\n| `{action}` | " in PAGE
    assert f"up to {MOST_PATTERNS}, each up to 2,000 characters" in PAGE
    assert f"{MOST_TEXT:,} characters" in PAGE
    assert f"`{LONGEST_KEEP / 3600:g}h`" in PAGE
    assert any(one.name == "guard" for one in msgspec.structs.fields(Route))
