"""What a request's headers, the policy and the provider say of keeping answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import ONLY, Clients, is_kept, said
from tests.e2e.cache_gateways import CACHE, Cached, cached_gateway, fresh, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import admin
from tests.e2e.levels import headers
from tests.e2e.limits_gateways import code

pytestmark = pytest.mark.e2e

DAY = 86_400.0


# What a header means does not depend on the store: the one that workers share.
@pytest.fixture(scope="module")
def cached_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    with cached_gateway(tmp_path_factory.mktemp("redis"), store="redis") as found:
        yield found


@pytest.fixture
def cached(cached_one: Cached) -> Cached:
    """The gateway, with the simulator's record empty."""
    cached_one.gateway.forget()
    return cached_one


# --- for how long -------------------------------------------------------------------------


def entry(cached: Cached, answer: httpx.Response) -> Json:
    """What is told of the entry of a hit."""
    found: Json = admin(cached.gateway, f"/cache/entries/{parts(answer)['id']}").json()
    found["ttl"] = found["expires"] - found["created"]
    return found


def test_an_entry_that_is_over(cached: Cached) -> None:
    text, hasty = fresh(), fresh()
    began = time.monotonic()
    first = parts(cached.warm(text, "short"))["id"]
    second = cached.warm(hasty, "exact", headers={"x-tollgate-cache-ttl": "1s"})
    poll(lambda: not is_kept(cached, hasty), within=3, what="the end of a second")
    assert time.monotonic() - began < 5
    poll(lambda: not is_kept(cached, text, "short"), within=4, what="the end of two seconds")
    assert time.monotonic() - began >= 1.9
    assert parts(cached.warm(text, "short"))["id"] != first
    assert admin(cached.gateway, f"/cache/entries/{parts(second)['id']}").status_code == 404


@pytest.mark.parametrize(
    ("question", "route", "kind", "ttl"),
    [
        ("What is the latest news today, {}?", "exact", "dynamic", 3600),
        ("What is the price of the ticket {}?", "exact", "dynamic", 3600),
        ("What is the capital of France, {}?", "exact", "factual", 30 * DAY),
        ("What is {} + 4?", "exact", "factual", 30 * DAY),
        ("Write a poem about {}.", "exact", "default", 6 * 3600),
        ("Where is my refund {}?", "kinds", "billing", 3),
        ("Write a poem about {}.", "kinds", "default", 6 * 3600),
    ],
)
def test_kinds_of_content(question: str, route: str, kind: str, ttl: float, cached: Cached) -> None:
    before = figures(cached.gateway)
    found = entry(cached, cached.warm(question.format(time.time_ns()), route))
    assert found["kind"] == kind
    assert found["ttl"] == pytest.approx(ttl)
    after = figures(cached.gateway)
    for name in ("tollgate_cache_stored_total", "tollgate_cache_requests_total"):
        assert after.sum(name, kind=kind) > before.sum(name, kind=kind)


@pytest.mark.parametrize(
    ("head", "kind", "ttl"),
    [
        ({"x-tollgate-cache-ttl": "90"}, "default", 90),
        ({"x-tollgate-cache-ttl": "15m"}, "default", 900),
        ({"x-tollgate-cache-ttl": "365d"}, "default", 30 * DAY),
        ({"x-tollgate-cache-kind": "dynamic"}, "dynamic", 3600),
        ({"x-tollgate-cache-kind": "factual", "x-tollgate-cache-ttl": "2h"}, "factual", 7200),
        ({"cf-aig-cache-ttl": "600"}, "default", 600),
        ({"helicone-cache-enabled": "true", "cache-control": "max-age=700"}, "default", 700),
    ],
)
def test_a_request_may_say_how_long(head: Json, kind: str, ttl: float, cached: Cached) -> None:
    found = entry(cached, cached.warm(fresh(), headers=head))
    assert (found["kind"], found["ttl"]) == (kind, pytest.approx(ttl))


@pytest.mark.parametrize("streams", [False, True])
def test_a_provider_may_say_how_long(streams: bool, cached: Cached) -> None:
    """Its headers are for the gateway; what is no time or kind is as if it said nothing. The
    client's word goes before."""
    told = {"x-tollgate-cache-ttl": "20m", "x-tollgate-cache-kind": "dynamic"}
    text = fresh()
    miss = cached.chat(text, script={"text": "Yes.", "headers": told}, stream=streams)
    assert not told.keys() & miss.headers.keys()
    found = entry(cached, cached.warm(text))
    assert (found["kind"], found["ttl"]) == ("dynamic", pytest.approx(1200))
    wrong = {"x-tollgate-cache-ttl": "soon", "x-tollgate-cache-kind": "mine"}
    text = fresh()
    cached.chat(text, script={"text": "Yes.", "headers": wrong}, stream=streams)
    found = entry(cached, cached.warm(text))
    assert (found["kind"], found["ttl"]) == ("default", pytest.approx(6 * 3600))
    text = fresh()
    head = {"x-tollgate-cache-ttl": "5m", "x-tollgate-cache-kind": "factual"}
    cached.chat(text, script={"text": "Yes.", "headers": told}, stream=streams, headers=head)
    found = entry(cached, cached.warm(text))
    assert (found["kind"], found["ttl"]) == ("factual", pytest.approx(300))


# --- what a request may want --------------------------------------------------------------

NEW: list[Mapping[str, str]] = [
    {CACHE: "no-cache"},
    {CACHE: "refresh"},
    {CACHE: "max-age=0"},
    {"cache-control": "no-cache"},
    {"cache-control": "max-age=0, no-transform"},
    {"x-portkey-cache-force-refresh": "true"},
]
"""They ask the provider, and its answer is the one that is kept."""
PASSING: list[Mapping[str, str]] = [
    {CACHE: "no-cache, no-store"},
    {"cache-control": "No-Cache, No-Store"},
    {"helicone-cache-enabled": "false"},
    {"cf-aig-skip-cache": "true"},
]
"""They have nothing to do with the cache."""


@pytest.mark.parametrize("head", NEW)
def test_a_new_answer(head: Mapping[str, str], cached: Cached) -> None:
    text = fresh()
    cached.warm(text, said="Old.")
    if "max-age" in str(head):
        poll(lambda: int(parts(cached.hit(text))["age"]) >= 1, what="an older answer")
    answer = cached.chat(text, said="New.", headers=head)
    assert said(answer) == "New."
    assert where(answer) == ("miss" if "max-age" in str(head) else "bypass")

    def is_new() -> bool:
        found = cached.chat(text, headers=ONLY)
        return found.status_code == 200 and said(found) == "New."

    poll(is_new, what="the new answer")
    assert cached.asked() == 2


@pytest.mark.parametrize("head", PASSING)
def test_nothing_of_the_cache(head: Mapping[str, str], cached: Cached) -> None:
    text = fresh()
    assert cached.told(text, said="New.", headers=head) == "bypass"
    cached.warm(fresh())  # what came later is kept
    assert not is_kept(cached, text)
    cached.warm(text, said="Old.")
    assert said(cached.chat(text, said="New.", headers=head)) == "New."
    assert said(cached.hit(text)) == "Old."
    assert cached.asked() == 4


def test_no_store_may_be_answered(cached: Cached) -> None:
    for head in ({CACHE: "no-store"}, {"cache-control": "no-store"}):
        text = fresh()
        assert cached.told(text, headers=head) == "miss"
        cached.warm(fresh())  # what came later is kept
        assert not is_kept(cached, text)
        cached.warm(text)
        cached.hit(text, headers=head)


def test_not_older_than(cached: Cached) -> None:
    text = fresh()
    cached.warm(text)
    for head in ({CACHE: "max-age=60"}, {"cache-control": "max-age=60"},
                 {CACHE: "max-age=60, only-if-cached"}):  # fmt: skip
        cached.hit(text, headers=head)
    poll(lambda: int(parts(cached.hit(text))["age"]) >= 1, what="an older answer")
    old = cached.chat(text, headers={CACHE: "max-age=0, only-if-cached"})
    assert code(old) == (504, "not_cached")
    assert cached.asked() == 1


def test_only_what_is_there(cached: Cached) -> None:
    """In each client's own words; nothing is paid."""
    for head in (ONLY, {"cache-control": "only-if-cached"}):
        assert code(cached.chat(fresh(), headers=head)) == (504, "not_cached")
    with Clients.of(cached) as clients, pytest.raises(anthropic.InternalServerError) as refused:
        clients.say("messages", "claude", fresh(), streams=True, headers=ONLY)
    assert refused.value.status_code == 504
    body: Any = refused.value.body
    assert body["type"] == "error"
    assert "only-if-cached" in body["error"]["message"]
    assert cached.asked() == 0


def test_namespaces_seeds_and_keys(cached: Cached) -> None:
    """They keep apart what is the same; a key stands for the request only where the route has it
    so."""
    text = fresh()
    cached.warm(text)
    for name in ("x-portkey-cache-namespace", "helicone-cache-seed", "cf-aig-cache-key"):
        assert not is_kept_with(cached, text, {name: "one"})
        cached.warm(text, headers={name: "one"})
        cached.hit(text, headers={name: "one"})
        assert not is_kept_with(cached, text, {name: "two"})
        assert not is_kept_with(cached, fresh(), {name: "one"})
    key = {"cf-aig-cache-key": f"own-{time.time_ns()}"}
    hit = cached.warm(text, "own-keys", said="By key.", headers=key)
    other = cached.hit(fresh(), "own-keys", headers=key)
    assert other.json() == hit.json()
    rival = cached.other(tenant=f"rival-{time.time_ns()}")
    assert code(rival.chat(text, "own-keys", headers={**key, **ONLY})) == (504, "not_cached")


def is_kept_with(cached: Cached, text: str, head: Mapping[str, str]) -> bool:
    """Whether there is an answer for who says so."""
    return cached.chat(text, headers={**head, **ONLY}).status_code == 200


def test_what_a_provider_sees_of_it(cached: Cached) -> None:
    head = {
        CACHE: "refresh", "x-tollgate-tags": "a,b", "x-tollgate-cache-ttl": "1h",
        "x-tollgate-cache-kind": "dynamic", "x-tollgate-cache-scope": "tenant",
        "x-portkey-cache-namespace": "n", "x-portkey-cache-force-refresh": "true",
        "helicone-cache-enabled": "true", "helicone-cache-seed": "s", "cf-aig-skip-cache": "false",
        "cf-aig-cache-ttl": "60", "cf-aig-cache-key": "k",
    }  # fmt: skip
    assert cached.chat(fresh(), headers=head).status_code == 200
    (sent,) = cached.gateway.asked()
    assert not head.keys() & headers(sent).keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (CACHE, "max-age=soon"), (CACHE, "everything"), (CACHE, "no-cache=x"), (CACHE, "max-age"),
        (CACHE, "only-if-cached, no-cache"), (CACHE, "refresh, no-store"), (CACHE, ","),
        ("cache-control", "max-age=-1"),
        ("x-tollgate-cache-ttl", "soon"), ("x-tollgate-cache-ttl", "0"),
        ("x-tollgate-cache-ttl", "9999d"), ("x-tollgate-cache-kind", "mine"),
        ("x-tollgate-tags", "a b"), ("x-tollgate-tags", "x" * 65),
        ("x-tollgate-tags", ",".join(f"t{n}" for n in range(17))),
        ("x-tollgate-cache-scope", "world"),
        ("x-portkey-cache-force-refresh", "maybe"), ("x-portkey-cache-namespace", "x" * 257),
        ("helicone-cache-enabled", "yes"), ("helicone-cache-seed", "x" * 257),
        ("cf-aig-skip-cache", "perhaps"), ("cf-aig-cache-ttl", "-1"),
        ("cf-aig-cache-key", "x" * 257),
    ],
)  # fmt: skip
def test_what_is_malformed(name: str, value: str, cached: Cached) -> None:
    """400 that names the header, in the client's dialect; nobody is asked."""
    answer = cached.chat(fresh(), headers={name: value})
    assert code(answer) == (400, "invalid_header")
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert name in error["message"]
    body = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    head = {**cached.head(), name: value, "anthropic-version": "2023-06-01"}
    url = f"{cached.gateway.url}/messages"
    theirs = cached.gateway.http.post(url, json=body, headers=head)
    assert theirs.status_code == 400
    assert theirs.json()["type"] == "error"
    assert theirs.json()["error"]["type"] == "invalid_request_error"
    assert name in theirs.json()["error"]["message"]
    # Where there is no cache nobody reads it.
    assert cached.told("Hello", "off", headers={name: value}) == "bypass"
    assert cached.asked() == 1
