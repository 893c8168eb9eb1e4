import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.identity import ALL_FIELDS, ANONYMOUS, Attribution, Caller, user_hash
from extproc.identity import attribution as whole_attribution


def attribution(*sent: Any) -> Attribution:
    """Of a client that may say everything."""
    found, ignored = whole_attribution(*sent)
    assert ignored == ()
    return found


def test_nobody_is_nobody() -> None:
    assert attribution({":path": "/v1/chat/completions", "x-request-id": "1"}) is ANONYMOUS
    assert attribution({}, None, {}) is ANONYMOUS
    assert attribution({"x-tollgate-user": "  "}) is ANONYMOUS


def test_our_own_headers() -> None:
    found = attribution(
        {
            "x-tollgate-user": "alice",
            "x-tollgate-feature": "search",
            "x-tollgate-team": "web",
            "x-tollgate-session": "s1",
            "x-tollgate-label-tier": "gold",
            "x-tollgate-label-app.v": "2",
            "x-tollgate-priority": "high",
        }
    )
    labels = (("app.v", "2"), ("tier", "gold"))
    assert found == Attribution("alice", "search", "web", "s1", labels, "high")


def test_openais_user_and_metadata() -> None:
    found = attribution({}, "bob", {"feature": "chat", "team": "ops", "build": "7"})
    assert found == Attribution("bob", "chat", "ops", None, (("build", "7"),))
    assert attribution({}, None, {"user": "carol"}).user == "carol"


def test_portkeys_metadata() -> None:
    value = json.dumps({"_user": "dave", "feature": "mail", "environment": "prod", "n": 3})
    found = attribution({"x-portkey-metadata": value})
    assert found == Attribution("dave", "mail", None, None, (("environment", "prod"), ("n", "3")))


def test_helicones_headers() -> None:
    found = attribution(
        {
            "helicone-user-id": "erin",
            "helicone-property-session": "s9",
            "helicone-property-conversation": "c1",
            "helicone-auth": "Bearer secret",
        }
    )
    assert found == Attribution("erin", None, None, "s9", (("conversation", "c1"),))


def test_the_first_source_that_says_something_wins() -> None:
    found = attribution(
        {
            "helicone-user-id": "erin",
            "x-portkey-metadata": '{"_user": "dave", "team": "p", "a": "p", "b": "p"}',
            "x-tollgate-user": "alice",
            "x-tollgate-label-a": "ours",
        },
        "bob",
        {"team": "m", "b": "m"},
    )
    assert found == Attribution("alice", None, "m", None, (("a", "ours"), ("b", "m")))


@pytest.mark.parametrize(
    "value", ["", "{", "[]", "null", "3", '"x"', "[" * 100_000, "{'a': 1}", "\udc80"]
)
def test_malformed_metadata_is_left_out(value: str) -> None:
    found = attribution({"x-portkey-metadata": value, "x-tollgate-user": "alice"})
    assert found == Attribution("alice")


def test_values_are_cut_and_cleaned() -> None:
    found = attribution({"x-tollgate-user": "a\x00b\r\nc\x7f" + "x" * 1000})
    assert found.user == "abc" + "x" * 253


def test_names_are_lower_case_and_plain() -> None:
    found = attribution({}, None, {"Cost Centre": "1", "naïve": "2", "  ": "3", "!!": "4"})
    assert found.labels == (("cost_centre", "1"), ("na_ve", "2"))


def test_there_are_sixteen_labels_at_most_and_ours_come_first() -> None:
    found = attribution(
        {"x-tollgate-label-zz": "ours"}, None, {f"k{number:02}": "v" for number in range(40)}
    )
    assert len(found.labels) == 16
    assert ("zz", "ours") in found.labels


def test_values_that_are_no_text() -> None:
    odd: Any = {"a": 1, "b": True, "c": None, "d": [1], "e": {"f": 1}, "g": 1.5}
    assert attribution({}, None, odd).labels == (("a", "1"), ("b", "true"), ("g", "1.5"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
headers = st.dictionaries(
    st.sampled_from(
        ["x-tollgate-user", "x-tollgate-team", "helicone-user-id", "x-portkey-metadata"]
    )
    | st.text(max_size=8).map("x-tollgate-label-".__add__)
    | st.text(max_size=8).map("helicone-property-".__add__),
    st.text(st.characters(), max_size=400) | anything.map(json.dumps),
    max_size=24,
)


@given(headers, st.none() | st.text(), st.none() | st.dictionaries(st.text(), anything))
def test_whatever_is_sent_is_bounded(sent: dict[str, str], user: Any, metadata: Any) -> None:
    found = attribution(sent, user, metadata)
    values = [found.user, found.feature, found.team, found.session]
    values += [value for _, value in found.labels]
    for value in values:
        if value is not None:
            assert 0 < len(value) <= 256
            assert not any(ord(one) < 32 or ord(one) == 127 for one in value)
            value.encode()
    assert len(found.labels) <= 16
    assert list(found.labels) == sorted(found.labels)
    for name, _ in found.labels:
        assert 0 < len(name) <= 64
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")


# --- callers ------------------------------------------------------------------------------

SENT = {
    "x-tollgate-user": "root",
    "x-tollgate-feature": "search",
    "x-tollgate-team": "admin",
    "x-tollgate-session": "s1",
    "x-tollgate-priority": "high",
    "x-tollgate-label-app": "x",
    "x-tollgate-label-build": "7",
}
OWN = Caller(source="key", user="alice", team="web", labels=(("app", "ci"),))


def of(may_set: set[str], *sent: Any) -> tuple[Attribution, tuple[str, ...]]:
    caller = Caller(
        source="key",
        user=OWN.user,
        team=OWN.team,
        labels=OWN.labels,
        may_set=frozenset(may_set),
    )
    headers, user, metadata = (*sent, None, None)[:3]
    return whole_attribution(headers, user, metadata, caller)


def test_what_a_caller_may_not_say_is_ignored_and_told() -> None:
    found, ignored = of(set(), SENT)
    assert found == Attribution("alice", None, "web", None, (("app", "ci"),))
    assert ignored == ("feature", "labels", "priority", "session", "team", "user")


def test_a_caller_is_known_though_its_request_says_nothing() -> None:
    expected = Attribution("alice", None, "web", None, (("app", "ci"),))
    assert of(set(), {}) == of(set(ALL_FIELDS), {":path": "/"}) == (expected, ())
    assert whole_attribution({}, None, None, Caller(source="jwt")) == (ANONYMOUS, ())


def test_what_a_caller_may_say_goes_before_its_own_but_not_its_labels() -> None:
    found, ignored = of(set(ALL_FIELDS), SENT)
    labels = (("app", "ci"), ("build", "7"))
    assert found == Attribution("root", "search", "admin", "s1", labels, "high")
    assert ignored == ("labels",)


@pytest.mark.parametrize("field", ["user", "feature", "team", "session", "priority"])
def test_each_right_is_its_own(field: str) -> None:
    found, ignored = of({field}, SENT)
    assert getattr(found, field) == SENT[f"x-tollgate-{field}"]
    assert set(ignored) == ALL_FIELDS - {field}
    for other in {"user", "feature", "team", "session", "priority"} - {field}:
        assert getattr(found, other) == getattr(OWN, other, None)


def test_a_right_to_one_label() -> None:
    found, ignored = of({"label-build"}, {"x-tollgate-label-build": "7"})
    assert found.labels == (("app", "ci"), ("build", "7"))
    assert ignored == ()
    found, ignored = of({"label-build"}, {"x-tollgate-label-built": "7"})
    assert found.labels == (("app", "ci"),)
    assert ignored == ("labels",)


@pytest.mark.parametrize(
    "sent",
    [
        ({"x-tollgate-user": "root"},),
        ({}, "root"),
        ({}, None, {"user": "root"}),
        ({"x-portkey-metadata": '{"_user": "root"}'},),
        ({"x-portkey-metadata": '{"user": "root"}'},),
        ({"helicone-user-id": "root"},),
        ({"helicone-property-user": "root"},),
    ],
)
def test_no_way_of_saying_it_gets_round_a_right(sent: Any) -> None:
    found, ignored = of({"feature", "session", "labels"}, *sent)
    assert found.user == "alice"
    assert ignored == ("user",)
    assert of({"user"}, *sent)[0].user == "root"


@pytest.mark.parametrize(
    "sent",
    [
        ({"x-tollgate-label-app": "x"},),
        ({"x-tollgate-label-APP": "x"},),
        ({}, None, {"app": "x"}),
        ({"x-portkey-metadata": '{"app": "x"}'},),
        ({"helicone-property-app": "x"},),
    ],
)
def test_no_way_of_saying_it_changes_a_label_of_the_key(sent: Any) -> None:
    found, ignored = of(set(ALL_FIELDS), *sent)
    assert found.labels == (("app", "ci"),)
    assert ignored == ("labels",)


def test_what_says_nothing_is_not_told() -> None:
    sent = {"x-tollgate-user": " ", "x-tollgate-label-": "x", "x-tollgate-priority": ""}
    assert of(set(), sent)[1] == ()
    assert of(set(), {"x-tollgate-key": "tg-x", "x-tollgate-cache": "no-store"})[1] == ()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("low", "low"),
        ("Normal ", "normal"),
        ("HIGH", "high"),
        ("0", "0"),
        ("9", "9"),
        ("10", "10"),
        ("-1", None),
        ("urgent", "urgent"),
        ("u" * 64, None),
        ("high, low", None),
        ("\u0663", None),
        ("5\n5", None),
        ("", None),
    ],
)
def test_priorities(sent: str, kept: str | None) -> None:
    assert attribution({"x-tollgate-priority": sent}).priority == kept


rights = st.sets(st.sampled_from([*sorted(ALL_FIELDS), "label-a", "label-app"]))


@given(
    headers | st.just(SENT),
    st.none() | st.text(),
    st.none() | st.dictionaries(st.text(), anything),
    rights,
)
def test_nothing_is_said_without_a_right(
    sent: dict[str, str], user: Any, metadata: Any, may_set: set[str]
) -> None:
    found, ignored = of(may_set, sent, user, metadata)
    for field in ("user", "feature", "team", "session", "priority"):
        if field not in may_set:
            assert getattr(found, field) == getattr(OWN, field, None)
    for name, value in found.labels:
        if name == "app":
            assert value == "ci"
        elif "labels" not in may_set:
            assert f"label-{name}" in may_set
    assert len(found.labels) <= 16
    assert set(ignored) <= ALL_FIELDS
    assert not may_set.intersection(ignored) - {"labels"}


def test_a_hash_stands_for_a_user() -> None:
    hashed = user_hash("alice", b"key")
    assert hashed == user_hash("alice", b"key")
    assert len(hashed) == 16
    assert int(hashed, 16) >= 0
    assert hashed != user_hash("bob", b"key")
    assert hashed != user_hash("alice", b"other")
    assert hashed != hashlib.sha256(b"alice").hexdigest()[:16]
    assert user_hash("a\ud800", b"key")
