"""Headers that say what a request wants of the cache."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import headers as names
from extproc.cache.control import NOTHING, READS, Control, control, of_answer
from extproc.cache.rules import Rules, rules
from extproc.errors import ClientError
from extproc.policy import CacheKind, CachePolicy

POLICY = CachePolicy(mode="semantic", kinds={"support": CacheKind(words=("refund",))})


def made(**more: Any) -> Rules:
    found = rules(POLICY, CachePolicy(**more))
    assert found is not None
    return found


RULES = made()


def of(**headers: str) -> Control:
    return control({name.replace("_", "-"): one for name, one in headers.items()}, RULES)


def refused(headers: dict[str, str], found: Rules = RULES) -> ClientError:
    with pytest.raises(ClientError) as caught:
        control(headers, found)
    return caught.value


def test_a_request_that_says_nothing_wants_nothing() -> None:
    assert control({"accept": "*/*", ":path": "/v1/chat/completions"}, RULES) is NOTHING
    assert Control() == NOTHING


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no-cache", Control(read=False)),
        ("no-store", Control(write=False)),
        ("no-cache, no-store", Control(read=False, write=False)),
        ("refresh", Control(read=False, refresh=True)),
        ("only-if-cached", Control(only=True)),
        ("max-age=60", Control(max_age=60)),
        (" Max-Age = 60 ,only-if-cached,", Control(max_age=60, only=True)),
        ('max-age="60", max-age=30', Control(max_age=30)),
        ("max-age=0", Control(max_age=0)),
    ],
)
def test_our_own_header(text: str, wanted: Control) -> None:
    assert of(x_tollgate_cache=text) == wanted


def test_cache_control_says_the_same_and_more_that_is_for_others() -> None:
    text = "no-transform, max-stale=3, min-fresh, private=x, max-age=60, no-store"
    assert of(cache_control=text) == Control(write=False, max_age=60)
    assert of(cache_control="refresh") == NOTHING
    assert of(cache_control="max-age=9", x_tollgate_cache="max-age=5").max_age == 5


def test_time_kind_tags_and_scope() -> None:
    found = of(
        x_tollgate_cache_ttl="15m",
        x_tollgate_cache_kind="support",
        x_tollgate_tags="pricing, plan-a,,pricing",
        x_tollgate_cache_scope="User",
    )
    assert found == Control(ttl=900, kind="support", tags=("pricing", "plan-a"), scope="user")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (names.PORTKEY_REFRESH, "True", Control(read=False, refresh=True)),
        (names.PORTKEY_REFRESH, "false", NOTHING),
        (names.PORTKEY_NAMESPACE, "user-123", Control(namespace="user-123")),
        (names.HELICONE_CACHE, "true", NOTHING),
        (names.HELICONE_CACHE, "false", Control(read=False, write=False)),
        (names.HELICONE_SEED, "1", Control(seed="1")),
        (names.CLOUDFLARE_SKIP, "true", Control(read=False, write=False)),
        (names.CLOUDFLARE_SKIP, "false", NOTHING),
        (names.CLOUDFLARE_TTL, "3600", Control(ttl=3600)),
        (names.CLOUDFLARE_KEY, "responseA", Control(key="responseA")),
    ],
)
def test_switches_of_others(name: str, text: str, wanted: Control) -> None:
    assert control({name: text}, RULES) == wanted


def test_helicone_keeps_an_answer_as_long_as_cache_control_says() -> None:
    found = of(helicone_cache_enabled="true", cache_control="max-age = 2592000")
    assert found == Control(max_age=2_592_000, ttl=2_592_000)
    assert of(cache_control="max-age=60").ttl is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (names.CACHE, ""),
        (names.CACHE, ","),
        (names.CACHE, "nocache"),
        (names.CACHE, "no-cache=1"),
        (names.CACHE, "max-age"),
        (names.CACHE, "max-age=-1"),
        (names.CACHE, "max-age=1.5"),
        (names.CACHE, "max-age=1h"),
        (names.CACHE, "max-age=" + "9" * 20),
        (names.CACHE, "no-cache, only-if-cached"),
        (names.CACHE, "refresh, no-store"),
        (names.CACHE_CONTROL, "max-age:1000, max-age=x"),
        (names.CACHE_TTL, "0"),
        (names.CACHE_TTL, "366d"),
        (names.CACHE_TTL, "soon"),
        (names.CACHE_KIND, "unheard-of"),
        (names.TAGS, "a b"),
        (names.TAGS, "-x"),
        (names.TAGS, "x" * 65),
        (names.TAGS, ",".join(f"t{n}" for n in range(17))),
        (names.CACHE_SCOPE, "everyone"),
        (names.PORTKEY_REFRESH, "maybe"),
        (names.PORTKEY_NAMESPACE, ""),
        (names.PORTKEY_NAMESPACE, "x" * 257),
        (names.HELICONE_CACHE, "yes"),
        (names.HELICONE_SEED, "é"),
        (names.CLOUDFLARE_SKIP, ""),
        (names.CLOUDFLARE_TTL, "-5"),
        (names.CLOUDFLARE_KEY, "a\x00b"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name: str, text: str) -> None:
    error = refused({name: text})
    assert error.status == 400
    assert error.param == name
    assert name in error.message
    assert error.message.isascii()


def test_wishes_of_two_headers_that_cannot_both_be_met() -> None:
    error = refused({names.CACHE: "only-if-cached", names.PORTKEY_REFRESH: "true"})
    assert error.status == 400
    assert names.CACHE in error.message


def test_a_wider_scope_is_refused_unless_the_route_allows_it() -> None:
    error = refused({names.CACHE_SCOPE: "shared"})
    assert (error.status, error.code) == (403, "cache_scope_not_allowed")
    assert names.CACHE_SCOPE in error.message
    allowed = made(allow_scope="shared")
    assert control({names.CACHE_SCOPE: "shared"}, allowed).scope == "shared"
    narrow = made(scope="session")
    assert refused({names.CACHE_SCOPE: "tenant"}, narrow).status == 403
    assert control({names.CACHE_SCOPE: "session"}, narrow).scope == "session"


def test_a_header_asks_for_no_more_than_the_policy_keeps() -> None:
    assert RULES.ttl("default", 60) == 60
    assert RULES.ttl("default", 365 * 86_400) == RULES.by_kind["factual"].ttl
    assert RULES.ttl("dynamic") == 3600


def test_an_answer_may_say_how_long_it_is_true() -> None:
    assert of_answer({names.CACHE_TTL: "6h", names.CACHE_KIND: "support"}, RULES.kinds.names) == (
        21_600,
        "support",
    )
    assert of_answer({names.CACHE_TTL: "ever", names.CACHE_KIND: "?"}, RULES.kinds.names) == (
        None,
        None,
    )
    assert of_answer({}, RULES.kinds.names) == (None, None)


@given(
    st.dictionaries(
        st.sampled_from(sorted(READS)),
        st.text(max_size=40)
        | st.lists(
            st.sampled_from(
                ["no-cache", "no-store", "refresh", "max-age=", "9", "=", ",", " ", "true", "30d"]
            )
        ).map("".join),
    )
)
def test_whatever_comes_is_understood_or_refused_by_name(headers: dict[str, str]) -> None:
    found: Control | ClientError
    try:
        found = control(headers, RULES)
    except ClientError as error:
        found = error
    if isinstance(found, ClientError):
        assert found.status in (400, 403)
        assert found.param in headers
    else:
        assert found.read or not found.only
        assert found.ttl is None or found.ttl >= 0


def test_envoy_sends_every_header_that_is_read() -> None:
    known = [one.removesuffix("*") for one in names.GATEWAY_READS]
    for name in READS:
        assert any(name == one or (name.startswith(one) and one[-1] == "-") for one in known), name
