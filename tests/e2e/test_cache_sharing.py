"""Who gets an answer that was given before, and who never does; and answers that are forgotten."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import ONLY
from tests.e2e.cache_gateways import Cached, cached_gateway, fresh, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.guard_gateways import EMAIL, LETTER, MAIL, PERSON
from tests.e2e.ledger_books import admin, at_rest, record, told, tollgate
from tests.e2e.limits_gateways import code

pytestmark = pytest.mark.e2e

OTHER = "bob.other@posteo-mail.example"
ONLY_ONE = 20
"""Requests by which every worker is asked."""


@pytest.fixture(scope="module", params=["embedded", "redis"])
def cached_one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cached]:
    with cached_gateway(tmp_path_factory.mktemp(request.param), store=request.param) as found:
        yield found


@pytest.fixture
def cached(cached_one: Cached) -> Cached:
    """The gateway, with the simulator's record empty."""
    cached_one.gateway.forget()
    return cached_one


def named(what: str) -> str:
    """A name that nobody has."""
    return f"{what}-{time.time_ns()}"


def gets(cached: Cached, text: str, route: str = "exact", **headers: str) -> bool:
    """Whether there is an answer for who asks so."""
    head = {f"x-tollgate-{name.replace('_', '-')}": one for name, one in headers.items()}
    answer = cached.chat(text, route, headers={**head, **ONLY})
    if answer.status_code == 200:
        assert where(answer) == "hit"
        return True
    assert code(answer) == (504, "not_cached")
    return False


def has(cached: Cached, text: str, route: str = "exact", **headers: str) -> bool:
    """There is an answer for who asks so."""
    head = {f"x-tollgate-{name.replace('_', '-')}": one for name, one in headers.items()}
    return cached.hit(text, route, headers=head).status_code == 200


def nobody_gets(cached: Cached, text: str, route: str = "exact") -> bool:
    """In no worker there is an answer."""
    return not any(gets(cached, text, route) for _ in range(ONLY_ONE))


# --- whose --------------------------------------------------------------------------------


def test_tenants_have_nothing_in_common(cached: Cached) -> None:
    """The same text, and the other's ids in every header that could carry them."""
    one, other = (cached.other(tenant=named(who)) for who in ("acme", "rival"))
    text = fresh()
    hit = one.warm(text, said="Ours alone.")
    name, ours = parts(hit)["id"], record(cached.gateway, hit.headers["x-tollgate-request-id"])
    assert not gets(other, text)
    guesses: list[Mapping[str, str]] = [
        {"x-tollgate-tenant": ours["tenant"]},
        {"x-tollgate-cache-id": name},
        {"x-tollgate-cache-scope": "tenant"},
        {"cf-aig-cache-key": name},
        {"x-portkey-cache-namespace": ours["tenant"]},
        {"helicone-cache-seed": name},
        {"x-tollgate-user": ours["tenant"], "x-tollgate-session": name},
        {"x-tollgate-i-id": ours["id"], "if-none-match": name},
    ]
    for guess in guesses:
        for route in ("exact", "own-keys", "may-share"):
            answer = other.chat(text, route, headers={**guess, **ONLY})
            assert code(answer) == (504, "not_cached"), (guess, route)
    miss = other.chat(text, said="Theirs.")
    assert where(miss) == "miss"
    assert miss.json()["choices"][0]["message"]["content"] == "Theirs."
    # Both have their own now.
    assert other.warm(text).json() == miss.json()
    assert one.warm(text).json() == hit.json()
    assert cached.asked() == 2


def test_a_tenants_keys_share(cached: Cached) -> None:
    tenant, text = named("acme"), fresh()
    one, other = (cached.other(tenant=tenant) for _ in range(2))
    one.warm(text)
    assert has(other, text)
    assert not gets(cached, text)


@pytest.mark.parametrize("scope", ["user", "session"])
def test_a_narrower_scope(scope: str, cached: Cached) -> None:
    """By the route, and by a header on a route that shares; who is not named gets nothing."""
    text, ann = fresh(), named("ann")
    mine: Any = {scope: ann}
    cached.warm(text, scope, headers={f"x-tollgate-{scope}": ann})
    assert has(cached, text, scope, **mine)
    assert not gets(cached, text, scope, **{scope: named("bob")})
    assert not gets(cached, text, scope)
    assert cached.told(text, scope) == "bypass"
    # The same name at another tenant's is somebody else.
    assert not gets(cached.other(tenant=named("rival")), text, scope, **mine)
    narrow: Any = {"cache_scope": scope, **mine}
    assert not gets(cached, text, **narrow)
    cached.warm(text, headers={"x-tollgate-cache-scope": scope, f"x-tollgate-{scope}": ann})
    assert has(cached, text, **narrow)
    assert not gets(cached, text)
    assert not gets(cached, text, **mine)


def test_a_session_is_its_users(cached: Cached) -> None:
    text, name = fresh(), named("s")
    ann, bob = ({"user": named(who), "session": name} for who in ("ann", "bob"))
    cached.warm(text, "session", headers={f"x-tollgate-{k}": v for k, v in ann.items()})
    assert has(cached, text, "session", **ann)
    assert not gets(cached, text, "session", **bob)


def test_shared_only_where_it_is_said(cached: Cached) -> None:
    """By all tenants, since the route says so; or by a header, where the route lets it."""
    one, other = (cached.other(tenant=named(who)) for who in ("acme", "rival"))
    text = fresh()
    one.warm(text, "shared")
    assert has(other, text, "shared")
    text = fresh()
    one.warm(text, "may-share")
    assert not gets(other, text, "may-share")
    assert not gets(other, text, "may-share", cache_scope="shared")
    one.warm(text, "may-share", headers={"x-tollgate-cache-scope": "shared"})
    assert has(other, text, "may-share", cache_scope="shared")
    assert not gets(other, text, "may-share")


@pytest.mark.parametrize(
    ("route", "scope"),
    [("exact", "shared"), ("user", "tenant"), ("user", "shared"), ("session", "user")],
)
def test_a_wider_scope_is_refused(route: str, scope: str, cached: Cached) -> None:
    answer = cached.chat(fresh(), route, headers={"x-tollgate-cache-scope": scope})
    assert code(answer) == (403, "cache_scope_not_allowed")
    assert "x-tollgate-cache-scope" in answer.json()["error"]["message"]
    assert cached.asked() == 0


def test_routes_have_their_own(cached: Cached) -> None:
    text = fresh()
    cached.warm(text)
    assert not gets(cached, text, "tagged")


# --- the guard ----------------------------------------------------------------------------


def letter(cached: Cached, text: str, user: str, route: str = "guarded") -> httpx.Response:
    """An answer with placeholders in it; `user` asks."""
    head = {"x-tollgate-user": user} if user else {}
    said = "To <PERSON_1> at <EMAIL_ADDRESS_1>."
    answer = cached.chat(text, route, said=said, headers=head)
    assert answer.status_code == 200, answer.text
    return answer


def said(answer: httpx.Response) -> str:
    """What a chat completion says."""
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def test_a_users_values_are_nobody_elses(cached: Cached) -> None:
    """What the provider was asked is the same for both, once the values are out."""
    ann, bob, mark = named("ann"), named("bob"), fresh()
    text, theirs = f"{LETTER} {mark}", f"Dear Mrs Petra Lindqvist, write to {OTHER} today. {mark}"
    first = letter(cached, text, ann)
    assert said(first) == f"To {PERSON} at {EMAIL}."
    hit = poll(
        lambda: next((one for one in [letter(cached, text, ann)] if where(one) == "hit"), None),
        what="a hit of the same user",
    )
    assert said(hit) == f"To {PERSON} at {EMAIL}."
    before = cached.asked()
    for who in (bob, ""):
        answer = letter(cached, theirs, who)
        assert where(answer) != "hit"
        assert EMAIL not in answer.text
        assert PERSON not in answer.text
    assert cached.asked() == before + 2
    # The same user about somebody else: whatever it is from, the values are of this request.
    again = letter(cached, theirs, ann)
    assert EMAIL not in again.text
    assert PERSON not in again.text
    assert "To " in said(again)
    sent = "\n".join(json.dumps(one["body"]) for one in cached.gateway.asked())
    assert EMAIL not in sent


@pytest.mark.parametrize(
    ("route", "text", "answer"),
    [
        ("guarded-flag", MAIL, "Well."),
        ("guarded-flag", "Who?", "Well."),
        ("guarded-both", "Who?", f"It is {PERSON}, {EMAIL}."),
    ],
)
def test_what_the_guard_has_seen(route: str, text: str, answer: str, cached: Cached) -> None:
    """Values that stay in the request keep it out of the cache; the ones of an answer are taken
    out, or it is not kept."""
    text = f"{text} {fresh()}"
    came = [cached.chat(text, route, said=answer) for _ in range(2)]
    assert {one.status_code for one in came} == {200}
    if EMAIL in text:
        assert [where(one) for one in came] == ["bypass"] * 2
        return
    if EMAIL not in answer:
        assert where(cached.warm(text, route)) == "hit"
        return
    at_rest(cached.gateway)
    for entry in admin(cached.gateway, "/cache/entries", route=route).json()["entries"]:
        path = f"/cache/entries/{entry['id']}"
        kept = admin(cached.gateway, path, answer="1").text
        assert EMAIL not in kept
        assert PERSON not in kept


# --- forgetting ---------------------------------------------------------------------------


def forget(cached: Cached, **query: str) -> int:
    """Invalidate over HTTP; returns how many there were."""
    url = f"http://127.0.0.1:{cached.gateway.admin}/cache/entries"
    answer = cached.gateway.http.delete(url, params=query)
    assert answer.status_code == 200, answer.text
    found: int = answer.json()["invalidated"]
    return found


def test_a_tag_is_forgotten_in_every_worker(cached: Cached) -> None:
    tag = named("plan")
    texts = [fresh() for _ in range(3)]
    for text in texts[:2]:
        cached.warm(text, headers={"x-tollgate-tags": f"pricing, {tag}"})
    cached.warm(texts[2], headers={"x-tollgate-tags": f"{tag}-b"})
    assert forget(cached, tag=tag) == 2
    for text in texts[:2]:
        assert nobody_gets(cached, text)
    assert has(cached, texts[2])
    assert forget(cached, tag=tag) == 0
    # What is asked for afterwards is kept as before.
    cached.warm(texts[0])


def test_what_else_things_are_forgotten_by(cached: Cached) -> None:
    tenant = named("acme")
    ours, theirs = cached.other(tenant=tenant), cached.other(tenant=named("rival"))
    text = fresh()

    def warm() -> tuple[str, str, str, str]:
        return (
            parts(ours.warm(text))["id"],
            parts(theirs.warm(text))["id"],
            parts(theirs.warm(text, model="claude"))["id"],
            parts(theirs.warm(text, "tagged"))["id"],
        )

    def left() -> list[bool]:
        asks: list[tuple[Cached, Json]] = [
            (ours, {}),
            (theirs, {}),
            (theirs, {"model": "claude"}),
            (theirs, {"route": "tagged"}),
        ]
        # Several times: a busy machine may take longer for a look than it is given.
        return [
            any(who.chat(text, headers=ONLY, **how).status_code == 200 for _ in range(3))
            for who, how in asks
        ]

    warm()
    assert left() == [True] * 4
    assert forget(cached, tenant=tenant) == 1
    assert left() == [False, True, True, True]
    warm()
    assert forget(cached, model="claude") >= 1
    assert left() == [True, True, False, True]
    warm()
    assert forget(cached, tag="handbook") >= 1
    assert left() == [True, True, True, False]
    names = warm()
    url = f"http://127.0.0.1:{cached.gateway.admin}/cache/entries"
    assert cached.gateway.http.delete(f"{url}/{names[1]}").json() == {"invalidated": 1}
    assert left() == [True, False, True, True]
    assert cached.gateway.http.delete(f"{url}/{names[1]}").status_code == 404
    warm()
    assert forget(cached, route="tagged") >= 1
    assert left() == [True, True, True, False]
    warm()
    assert forget(cached, older_than="1h") == 0
    assert left() == [True] * 4
    assert forget(cached, all="1") >= 4
    assert left() == [False] * 4


def test_forgotten_from_the_command_line(cached: Cached) -> None:
    tag, text = named("plan"), fresh()
    name = parts(cached.warm(text, headers={"x-tollgate-tags": tag}))["id"]
    listed = json.loads(told(cached.gateway, "cache", "list", "--tag", tag, "--json"))
    assert [one["id"] for one in listed] == [name]
    dry = told(cached.gateway, "cache", "invalidate", "--tag", tag, "--dry-run")
    assert "would invalidate 1 entry" in dry
    assert has(cached, text)
    assert "invalidated 1 entry" in told(cached.gateway, "cache", "invalidate", "--tag", tag)
    assert nobody_gets(cached, text)
    again = parts(cached.warm(text))["id"]
    assert "invalidated 1 entry" in told(cached.gateway, "cache", "invalidate", "--id", again)
    assert nobody_gets(cached, text)
    assert tollgate(cached.gateway, "cache", "invalidate", "--id", again).returncode == 1
    assert re.search(r"forgotten\s+\d+", told(cached.gateway, "cache", "stats"))


def test_an_answer_on_its_way_is_forgotten_too(cached: Cached) -> None:
    """It was asked for before, and comes after."""
    tag, text = named("plan"), fresh()
    before = figures(cached.gateway).sum("tollgate_cache_not_stored_total", reason="forgotten")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(
            cached.chat, text, script={"text": "Old.", "latency": 0.6},
            headers={"x-tollgate-tags": tag},
        )  # fmt: skip
        poll(cached.asked, what="the provider to be asked")
        forget(cached, tag=tag)
        assert slow.result().status_code == 200
    poll(
        lambda: figures(cached.gateway).sum(
            "tollgate_cache_not_stored_total", reason="forgotten"
        ) > before,
        what="an answer that is not kept",
    )  # fmt: skip
    assert nobody_gets(cached, text)
