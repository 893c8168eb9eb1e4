from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from extproc.identity import FieldError, KeyRecord
from extproc.identity.record import Digest, fields_of, made, read, stored
from extproc.records import Caller
from extproc.state import StateError, StoredKey
from tests.unit.identity.keystore import NOW

ID = "0123456789Ab"


def record(said: dict[str, Any], tiers: tuple[str, ...] = ()) -> KeyRecord:
    return made(fields_of(said), ID, NOW, tiers)


EVERYTHING = {
    "name": "ci of the web team",
    "tenant": "acme",
    "team": "web",
    "user": "ci@acme.example",
    "tier": "pro",
    "models": ["flagship", "cheap", "flagship"],
    "routes": ["support"],
    "expires_in": 3600,
    "limits": {"tokens": "10000/d", "user": {"requests": 5}},
    "labels": {"cost-centre": "42", "app": "ci <b>"},
    "may_set": ["user", "label-build", "label-build"],
}


def test_everything_that_may_be_said() -> None:
    found = record(EVERYTHING, ("free", "pro"))
    assert found.caller() == Caller(
        source="key",
        key=ID,
        tenant="acme",
        team="web",
        user="ci@acme.example",
        tier="pro",
        models=("flagship", "cheap"),
        routes=("support",),
        may_set=frozenset({"user", "label-build"}),
        labels=(("app", "ci <b>"), ("cost-centre", "42")),
        limits='{"tokens":"10000/d","user":{"requests":5}}',
    )
    assert (found.name, found.created, found.expires) == ("ci of the web team", NOW, NOW + 3600)


def test_nothing_need_be_said() -> None:
    found = record({"tenant": None, "team": "", "limits": {}})
    expected = Caller(source="key", key=ID, may_set=frozenset({"feature", "session", "labels"}))
    assert found.caller() == expected
    assert found.status(NOW + 1e9) == "active"


def test_a_key_may_be_given_no_rights_at_all() -> None:
    assert record({"may_set": []}).caller().may_set == frozenset()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"tennant": "a"}, "tennant: a key has no such field; did you mean 'tenant'?"),
        ({"tenant": 3}, "tenant: expected `str | null`, got `int`"),
        ({"tenant": "a" * 257}, "tenant: 257 characters; 256 are the most"),
        ({"team": "a\nb"}, r'team: "a\\nb" has control characters or space around it'),
        ({"user": " a"}, 'user: " a" has control characters or space around it'),
        ({"user": "\x00"}, "user: .* has control characters"),
        ({"name": "\u2028"}, "name: .* has control characters"),
        ({"tier": "gold"}, 'tier: there is no "gold"; there are free, pro'),
        ({"models": "a"}, "models: expected `array | null`, got `str`"),
        ({"models": [1]}, "models: expected `str`, got `int`"),
        ({"models": [""]}, "models: an entry is empty"),
        ({"routes": [str(one) for one in range(65)]}, "routes: 65 entries; 64 are the most"),
        ({"expires_in": 0}, "expires_in: 0.* is not a number of seconds from now"),
        ({"expires_in": float("inf")}, "expires_in: inf is not"),
        ({"expires_in": 1e12}, "expires_in: .* is no time"),
        ({"expires_at": NOW}, "expires_at: is past"),
        ({"expires_at": "2020-01-01"}, "expires_at: is past"),
        ({"expires_at": NOW * 1000}, "expires_at: .* is no time in seconds"),
        ({"expires_at": "soon"}, 'expires_at: "soon" is no time of ISO 8601'),
        ({"expires_at": NOW + 1, "expires_in": 1}, "expires_at: expires_in is there too"),
        ({"limits": {"a": "x" * 5000}}, "limits: 5008 bytes; 4096 are the most"),
        ({"limits": {"a": "\udc80"}}, "limits: not JSON"),
        ({"limits": [1]}, "limits: expected `object | null`, got `array`"),
        ({"labels": {"Cost": "1"}}, 'labels: a name has up to 64 of .* unlike "Cost"'),
        ({"labels": {"_": "1"}}, "labels: a name"),
        ({"labels": {"a": ""}}, "labels.a: empty"),
        ({"labels": {"a": "x" * 10_000}}, "labels.a: 10000 characters"),
        ({"labels": {f"a{one}": "x" for one in range(17)}}, "labels: 17 labels; 16 are the most"),
        ({"may_set": ["tenant"]}, 'may_set: "tenant" is none of feature, labels, .* no label-NAME'),
        ({"may_set": ["label-"]}, 'may_set: "label-" is none of'),
        ({"may_set": ["label-A"]}, 'may_set: "label-A" is none of'),
    ],
)
def test_what_cannot_be_is_named(said: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match="(?s)^" + message):
        record(said, ("free", "pro"))


def test_limits_have_a_depth() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(FieldError, match="limits: nested deeper than 8"):
        record({"limits": deep})


@pytest.mark.parametrize(
    "text", ["2030-01-01T00:00:00Z", "2030-01-01", "2030-01-01T01:00:00+01:00"]
)
def test_times_may_be_written_out(text: str) -> None:
    assert record({"expires_at": text}).expires == 1_893_456_000


def test_what_people_are_shown_holds_no_digest() -> None:
    digests = (Digest("a" * 64), Digest("b" * 64, NOW + 60), Digest("c" * 64, NOW - 1))
    found = structs.replace(record(EVERYTHING), digests=digests).shown(NOW)
    assert "digests" not in found
    assert (found["status"], found["old_until"], found["tenant"]) == ("active", NOW + 60, "acme")
    assert not any("a" * 64 in str(one) for one in found.values())


def test_a_record_keeps_everything_in_the_store() -> None:
    whole = structs.replace(record(EVERYTHING), digests=(Digest("a" * 64), Digest("b" * 64, 5.0)))
    kept = stored(whole)
    assert kept.digests == ("a" * 64, "b" * 64)
    assert read(kept) == whole


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_said(text: bytes) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        read(StoredKey(ID, text, ()))


def test_a_record_under_anothers_id_is_not_taken() -> None:
    with pytest.raises(StateError, match="another key's"):
        read(StoredKey("BA9876543210", stored(record({})).record, ()))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def attempt(said: dict[str, Any]) -> KeyRecord | str:
    try:
        return record(said)
    except FieldError as error:
        return str(error)


@given(
    st.dictionaries(
        st.sampled_from([*EVERYTHING, "expires_at", "id", "digests"]) | st.text(max_size=3),
        json | st.sampled_from(list(EVERYTHING.values())),
    )
)
def test_whatever_is_said_is_bounded_or_refused(said: dict[str, Any]) -> None:
    found = attempt(said)
    if isinstance(found, str):
        assert found.isprintable()
        assert len(found) < 400
        return
    assert read(stored(found)) == found
    assert len(stored(found).record) < 64 * 1024
    for value in (found.tenant, found.team, found.user, found.tier):
        assert value is None or (0 < len(value) <= 256 and value == value.strip())
