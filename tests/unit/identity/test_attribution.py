import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.identity import ANONYMOUS, Attribution, attribution, user_hash


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
    assert found == Attribution("alice", "search", "web", "s1", (("app.v", "2"), ("tier", "gold")))


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


def test_a_hash_stands_for_a_user() -> None:
    plain = user_hash("alice")
    assert plain is not None
    assert plain == user_hash("alice")
    assert len(plain) == 16
    assert int(plain, 16) >= 0
    assert plain != user_hash("bob")
    assert plain != user_hash("alice", b"key")
    assert user_hash("alice", b"key") != user_hash("alice", b"other")
    assert user_hash(None) is None
