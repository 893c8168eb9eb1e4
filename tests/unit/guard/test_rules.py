"""What a route wants of the guard, and what is wrong with it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.default import LEAST, DefaultDetector
from extproc.guard.rules import (
    MOST_TEXT,
    TYPES,
    Rules,
    host_errors,
    host_warnings,
    is_on,
    merged,
    route_errors,
    route_warnings,
    rules,
)
from extproc.guard.together import ALIASES, NAMED
from extproc.policy import GuardAction, GuardPolicy
from extproc.rule_error import RuleError

ACTIONS: tuple[GuardAction, ...] = get_args(GuardAction)
NAMES = st.sampled_from(["PERSON", "JWT", "CUSTOM", "default", "CUSTOM:a", "CUSTOM:b"])
MAYBE = st.none() | st.booleans()
OWN = {"a": "A1+", "b": "B1+"}


def one_of(*words: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *words])


@st.composite
def policies(draw: st.DrawFn) -> GuardPolicy | None:
    if draw(st.integers(0, 4)) == 0:
        return None
    said: dict[str, Any] = {
        "enabled": draw(MAYBE),
        "mode": draw(one_of("enforce", "observe")),
        "direction": draw(one_of("request", "response", "both")),
        "actions": draw(st.dictionaries(NAMES, st.sampled_from(ACTIONS))),
        "restore": draw(MAYBE),
        "images": draw(one_of("pass", "block")),
        "files": draw(one_of("pass", "block")),
        "confidence": draw(st.dictionaries(NAMES, st.sampled_from([0.0, 0.25, 0.5, 1.0]))),
        "allow": draw(st.lists(st.sampled_from(["x@y.z", "Ann"]), max_size=2).map(tuple)),
        "patterns": draw(st.sampled_from([{}, OWN, {"a": "A2+"}])),
        "words": draw(st.sampled_from([{}, {"a": ("alpha",)}, {"b": ("beta", "gamma")}])),
        "keep": draw(st.sampled_from([None, 1.0, 60.0, 30 * 86_400.0])),
        "on_failure": draw(one_of("closed", "open")),
    }
    return GuardPolicy(**said)


def of(host: GuardPolicy | None, route: GuardPolicy | None = None, **how: bool) -> Rules:
    found = rules(host, route, **how)
    assert found is not None
    return found


def told(found: list[RuleError]) -> list[str]:
    return [str(one) for one in found]


def test_where_nobody_speaks_of_a_guard_there_is_none() -> None:
    assert rules(None, None) is None
    assert rules(GuardPolicy(enabled=False), None) is None
    assert rules(GuardPolicy(), GuardPolicy(enabled=False)) is None
    assert rules(GuardPolicy(enabled=False), GuardPolicy(mode="observe")) is None
    assert rules(GuardPolicy(enabled=False), GuardPolicy(enabled=True)) is not None
    assert not is_on(None, None)
    assert is_on(None, GuardPolicy())


def test_what_holds_where_nothing_is_said() -> None:
    found = of(GuardPolicy())
    assert (found.enforce, found.request, found.response, found.restore) == (
        *(True, True, False, True),
    )
    assert (found.block_images, found.block_files, found.open) == (False, False, False)
    assert found.keep == 3600.0
    assert {found.action(one) for one in TYPES} == {"redact"}
    assert found.action("CUSTOM:any") == found.action("WHAT_ELSE") == "redact"
    assert (found.detector.types, found.detector.least, found.detector.least_of) == (
        *(None, LEAST, {}),
    )
    assert found.searches


def test_a_route_goes_before_its_virtual_host() -> None:
    host = GuardPolicy(
        mode="observe",
        actions={"default": "flag", "PERSON": "block", "CUSTOM": "hash"},
        confidence={"PERSON": 0.9, "default": 0.6},
        allow=("a@b.c", "Ann"),
        patterns={"x": "X1", "y": "Y1"},
        words={"z": ("zeta",)},
        keep=60.0,
        restore=False,
    )
    route = GuardPolicy(
        mode="enforce",
        direction="both",
        actions={"PERSON": "mask", "CUSTOM:y": "ignore", "JWT": "redact"},
        confidence={"PERSON": 0.0},
        allow=("Ann", "Bob"),
        patterns={"x": "X2"},
        words={"z": ("zed",)},
        restore=True,
    )
    found = of(host, route)
    assert (found.enforce, found.response, found.restore, found.keep) == (True, True, True, 60.0)
    said = {one: found.action(one) for one in ("PERSON", "JWT", "API_KEY", "CUSTOM:x", "CUSTOM:y")}
    assert list(said.values()) == ["mask", "redact", "flag", "hash", "ignore"]
    wanted = found.detector
    assert (wanted.least, wanted.least_of["PERSON"]) == (0.6, 0.0)
    assert wanted.allow == ("a@b.c", "Ann", "Bob")
    assert wanted.patterns == {"x": "X2"}
    assert wanted.words == {"z": ("zed",)}


@given(policies(), policies())
def test_each_field_is_the_routes_where_it_says_one(
    host: GuardPolicy | None, route: GuardPolicy | None
) -> None:
    found = merged(host, route)
    if host is None or route is None:
        assert found == (host or route)
        return
    assert found is not None
    for field in ("enabled", "mode", "direction", "restore", "images", "files", "keep"):
        own = getattr(route, field)
        assert getattr(found, field) == (getattr(host, field) if own is None else own)
    for field in ("actions", "confidence", "patterns", "words"):
        own, above = getattr(route, field), getattr(host, field)
        said = getattr(found, field)
        assert set(said) == {*own, *above}
        assert all(said[name] == own.get(name, above.get(name)) for name in said)
    assert set(found.allow) == {*host.allow, *route.allow}
    assert merged(found, route) == found


@given(policies(), policies(), st.booleans())
def test_the_detector_looks_for_just_what_is_acted_on(
    host: GuardPolicy | None, route: GuardPolicy | None, observe: bool
) -> None:
    owned = GuardPolicy(patterns=OWN)
    found = rules(merged(owned, host), route, observe=observe)
    said = merged(merged(owned, host), route)
    assert said is not None
    if found is None:
        assert said.enabled is False
        return
    wanted = found.detector
    for type_ in ("PERSON", "JWT", "IP_ADDRESS"):
        looked = wanted.types is None or type_ in wanted.types
        looked = looked and wanted.least_of.get(type_, wanted.least) <= 1
        assert looked == (found.action(type_) != "ignore")
    for name in OWN:
        looked = name in wanted.patterns or name in wanted.words
        assert looked == (found.action(f"CUSTOM:{name}") != "ignore")
    assert found.enforce == (said.mode != "observe" and not observe)
    assert not (found.restore and said.direction == "response")
    DefaultDetector(wanted)


def test_what_is_ignored_is_not_in_the_way_of_what_is_not() -> None:
    text = "Mail jane.doe@acme.example or call 192.0.2.7"
    found = of(GuardPolicy(actions={"IP_ADDRESS": "ignore"}))
    types = {one.type for one in DefaultDetector(found.detector).find(text)}
    assert "EMAIL_ADDRESS" in types
    assert "IP_ADDRESS" not in types
    only = of(GuardPolicy(actions={"default": "ignore", "IP_ADDRESS": "flag"}))
    assert only.detector.types == frozenset({"IP_ADDRESS"})
    assert {one.type for one in DefaultDetector(only.detector).find(text)} == {"IP_ADDRESS"}


def test_what_tells_of_nobody_alone_is_sought_where_it_is_named() -> None:
    policy = GuardPolicy(
        actions={"DATE_TIME": "redact", "URL": "ignore", "CUSTOM": "hash", "CUSTOM:x": "flag"},
        confidence={"LOCATION": 0.7, "default": 0.6},
        patterns={"x": "X1"},
    )
    assert of(policy).detector.named == {"DATE_TIME", "LOCATION"}
    assert of(GuardPolicy()).detector.named == set()
    assert {*NAMED, *ALIASES.values()} <= TYPES
    assert not {*ALIASES} & TYPES


def test_a_guard_that_ignores_all_does_not_search() -> None:
    nothing = GuardPolicy(actions={"default": "ignore"}, patterns={"x": "X1"}, images="block")
    found = of(nothing)
    assert (found.searches, found.block_images) == (False, True)
    assert of(nothing, GuardPolicy(actions={"CUSTOM": "flag"})).searches


def test_own_types_share_what_is_said_of_all_of_them() -> None:
    policy = GuardPolicy(
        actions={"CUSTOM": "hash", "CUSTOM:x": "block"},
        confidence={"CUSTOM": 0.3, "CUSTOM:x": 0.9},
        patterns={"x": "X1", "y": "Y1"},
    )
    found = of(policy)
    assert (found.action("CUSTOM:x"), found.action("CUSTOM:y")) == ("block", "hash")
    assert found.detector.least_of == {"CUSTOM:x": 0.9, "CUSTOM:y": 0.3}


def test_either_may_observe() -> None:
    assert not of(GuardPolicy(mode="observe")).enforce
    assert not of(GuardPolicy(mode="enforce"), observe=True).enforce
    assert of(GuardPolicy(mode="observe"), GuardPolicy(mode="enforce")).enforce


@pytest.mark.parametrize(
    ("said", "restores"),
    [
        ({}, True),
        ({"direction": "both"}, True),
        ({"restore": False}, False),
        ({"direction": "response"}, False),
        ({"actions": {"default": "mask"}}, False),
        ({"actions": {"default": "hash", "PERSON": "redact"}}, True),
        ({"actions": {"default": "ignore", "CUSTOM": "redact"}}, False),
        ({"actions": {"default": "flag", "CUSTOM": "redact"}, "words": {"w": ("ww",)}}, True),
    ],
)
def test_values_come_back_where_some_are_taken_out(said: dict[str, Any], restores: bool) -> None:
    assert of(GuardPolicy(**said)).restore == restores


# --- what is wrong ------------------------------------------------------------------------


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"actions": {"EMAIL_ADRESS": "block"}},
     "actions.EMAIL_ADRESS: no type 'EMAIL_ADRESS'; did you mean 'EMAIL_ADDRESS'?"),
    ({"actions": {"person": "block"}}, "actions.person: no type 'person'; did you mean 'PERSON'?"),
    ({"actions": {"credit-card": "block"}},
     "actions.credit-card: no type 'credit-card'; did you mean 'CREDIT_CARD'?"),
    ({"actions": {"EMAIL": "block"}},
     "actions.EMAIL: no type 'EMAIL'; did you mean 'EMAIL_ADDRESS'?"),
    ({"actions": {"NAME": "block"}}, "actions.NAME: no type 'NAME'; did you mean 'PERSON'?"),
    ({"actions": {"CARD": "block"}},
     "actions.CARD: no type 'CARD'; did you mean 'CREDIT_CARD' or 'DE_ID_CARD' or "),
    ({"actions": {"SSN": "block"}}, "actions.SSN: no type 'SSN'; did you mean 'US_SSN'?"),
    ({"actions": {"Default": "flag"}},
     "actions.Default: no type 'Default'; did you mean 'default'?"),
    ({"actions": {"codes": "flag"}, "words": {"codes": ("abc",)}},
     "actions.codes: no type 'codes'; did you mean 'CUSTOM:codes'?"),
    ({"actions": {"QQQQ": "flag"}}, "actions.QQQQ: no type 'QQQQ'"),
    ({"actions": {"": "flag"}}, "actions.'': no type ''"),
    ({"actions": {"a\x1b[31m": "flag"}},
     r"actions.'a\x1b[31m': no type 'a\x1b[31m'"),
    ({"confidence": {"PERSN": 0.5}},
     "confidence.PERSN: no type 'PERSN'; did you mean 'PERSON'?"),
    ({"confidence": {"PERSON": 85}}, "confidence.PERSON: 85 is not from 0 to 1"),
    ({"confidence": {"default": -0.1}}, "confidence.default: -0.1 is not from 0 to 1"),
    ({"confidence": {"PERSON": float("nan")}}, "confidence.PERSON: nan is not from 0 to 1"),
    ({"allow": ("a", " ")}, "allow[1]: is empty"),
    ({"patterns": {"x": "("}}, "patterns.x: missing ): ("),
    ({"patterns": {"x": "a*"}},
     "patterns.x: the pattern matches an empty text, so it would match everywhere"),
    ({"patterns": {"x": ""}},
     "patterns.x: the pattern matches an empty text, so it would match everywhere"),
    ({"patterns": {"x": "(?=a)"}}, "patterns.x: invalid perl operator: (?="),
    ({"patterns": {"x": r"(a)\1"}}, r"patterns.x: invalid escape sequence: \1"),
    ({"patterns": {"x": "a" * 2001}}, "patterns.x: a pattern has at most 2000 characters"),
    ({"patterns": {"x": "((a{100}){100}){100}"}}, "patterns.x: "),
    ({"patterns": {"No Name": "a"}},
     "patterns.No Name: 'No Name' is not a name; use up to 40 small letters, digits, '_' and '-'"),
    ({"patterns": {f"p{n}": "a" for n in range(101)}},
     "patterns: has 101 patterns; 100 are the most: join some by |"),
    ({"words": {"7th": ("abc",)}}, "words.7th: '7th' is not a name; "),
    ({"words": {"x": ()}}, "words.x: is empty; name a word, or leave it out"),
    ({"words": {"x": ("ab", " c ")}},
     "words.x[1]: is too short; a word has 2 characters at least"),
    ({"words": {"x": ("--",)}},
     "words.x[0]: is no word: it has no letter and no digit, or is too long"),
    ({"words": {"x": ("a" * 2001,)}},
     "words.x[0]: is no word: it has no letter and no digit, or is too long"),
    ({"keep": 0.5}, "keep: 0.5 s is not from 1 s to 30 days (720h)"),
    ({"keep": 31 * 86_400.0}, "keep: 2.6784e+06 s is not from 1 s to 30 days (720h)"),
    ({"keep": float("nan")}, "keep: nan s is not from 1 s to 30 days (720h)"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "words"), WRONG)
def test_what_is_wrong_is_told_with_its_place(said: dict[str, Any], words: str) -> None:
    policy = GuardPolicy(**said)
    for found in (host_errors(policy, []), route_errors(None, policy)):
        assert len(found) == 1
        assert str(found[0]).startswith(f"guard.{words}")
    with pytest.raises(RuleError, match=r"^guard\."):
        rules(None, policy)


def test_too_much_to_be_sent_with_every_request() -> None:
    words = {f"w{n}": tuple(["x" * 1500] * 10) for n in range(5)}
    [found] = host_errors(GuardPolicy(words=words), [])
    assert str(found) == (
        f"guard: has 75000 characters of patterns, words and allowed values; {MOST_TEXT} are the "
        "most, since they come with every request"
    )


def test_every_mistake_is_told_at_once() -> None:
    policy = GuardPolicy(
        actions={"PERSN": "block"}, confidence={"JWT": 2.0}, words={"x": ("a", "b")}, keep=0.0
    )
    places = [one.place for one in host_errors(policy)]
    assert places == [
        *("guard.actions.PERSN", "guard.confidence.JWT"),
        *("guard.words.x[0]", "guard.words.x[1]", "guard.keep"),
    ]


def test_own_types_exist_on_the_route_or_above() -> None:
    names = GuardPolicy(actions={"CUSTOM:x": "block"}, confidence={"CUSTOM:x": 1.0})
    has = GuardPolicy(patterns={"x": "X1"})
    assert route_errors(has, names) == []
    assert host_errors(names, [None, has]) == []
    assert told(route_errors(None, names)) == [
        "guard.actions.CUSTOM:x: no own pattern or list of words 'x'",
        "guard.confidence.CUSTOM:x: no own pattern or list of words 'x'",
    ]
    assert told(host_errors(names, [GuardPolicy(words={"heron": ("abc",)})]))[0].endswith(
        "'x'; there is CUSTOM:heron"
    )
    # Of other routes a route knows nothing: what the virtual host says of their types may stand.
    assert of(names, GuardPolicy()).action("CUSTOM:x") == "block"


def test_types_of_other_detectors_may_be_named() -> None:
    said = dict.fromkeys(["LOCATION", "NRP", "DATE_TIME", "CRYPTO", "PL_PESEL"], ACTIONS[0])
    assert host_errors(GuardPolicy(actions=said)) == []


@pytest.mark.parametrize("action", ["mask", "hash"])
def test_other_actions_may_stand_beside_restore(action: GuardAction) -> None:
    policy = GuardPolicy(actions={"PERSON": action}, restore=True)
    assert host_errors(policy) == []
    assert host_warnings(policy) == []


# --- what is weak -------------------------------------------------------------------------


WEAK: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"on_failure": "open"},
     ["on_failure: while the detector or the store is away, requests go on unguarded"]),
    ({"on_failure": "open", "enabled": False}, []),
    ({"actions": {"default": "ignore"}},
     ["actions: all types are ignored, so the guard does nothing"]),
    ({"actions": {"default": "ignore", "JWT": "ignore"}, "patterns": {"x": "X1"}},
     ["actions: all types are ignored, so the guard does nothing"]),
    ({"actions": {"default": "ignore"}, "files": "block"}, []),
    ({"actions": {"default": "ignore", "JWT": "block"}, "patterns": {"x": "X1"}},
     ["patterns.x: is not looked for; say actions: {CUSTOM:x: …}"]),
    ({"actions": {"default": "ignore", "JWT": "block", "CUSTOM:x": "ignore"},
      "words": {"x": ("xy",)}}, []),
    ({"direction": "response"}, []),
    ({"direction": "response", "restore": True},
     ["restore: has no effect: with direction: response nothing is taken out of requests"]),
    ({"actions": {"default": "mask"}}, []),
    ({"actions": {"default": "mask"}, "restore": True},
     ["restore: has no effect: nothing is redacted"]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "words"), WEAK)
def test_what_is_weak_is_told(said: dict[str, Any], words: list[str]) -> None:
    policy = GuardPolicy(**said)
    expected = [f"guard.{one}" for one in words]
    assert told(host_warnings(policy)) == expected
    assert told(route_warnings(None, policy)) == expected
    # Once is enough, and a route that adds nothing is told nothing.
    assert route_warnings(policy, None) == []
    assert route_warnings(policy, GuardPolicy(keep=5.0)) == []


def test_what_is_weak_only_together_is_told_of_the_route() -> None:
    host = GuardPolicy(restore=True)
    route = GuardPolicy(direction="response")
    assert host_warnings(host) == []
    assert [one.place for one in route_warnings(host, route)] == ["guard.restore"]
