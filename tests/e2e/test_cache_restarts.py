"""One flight, restarts, a Redis that is away, damaged entries, and that nothing is written of who
asked what."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from statistics import median
from typing import Any

import httpx2 as httpx
import pytest
import redis

from tests.e2e.cache_clients import USAGE, is_kept, said, scripted
from tests.e2e.cache_gateways import CACHE, Cached, cached_gateway, fresh, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import admin, at_rest, record
from tests.e2e.ledger_processes import Service

pytestmark = pytest.mark.e2e

CROWD = 50
AWAY = 0.05
"""Seconds that a request may take longer while the store is away: its look is given 10 ms, and a
machine that runs much else the rest."""


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


# --- one flight ---------------------------------------------------------------------------


async def _crowd(
    cached: Cached,
    bodies: Sequence[Json],
    script: Json,
    route: str = "exact",
    path: str = "chat/completions",
) -> list[tuple[httpx.Response, float]]:
    """Answers to requests that are made at once, and the seconds that each took."""
    head = {**cached.head(route), **scripted(**script)}
    url = f"{cached.gateway.url}/{path}"
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(timeout=30, limits=limits) as client:

        async def one(body: Json) -> tuple[httpx.Response, float]:
            began = time.monotonic()
            answer = await client.post(url, json=body, headers=head)
            return answer, time.monotonic() - began

        return list(await asyncio.gather(*map(one, bodies)))


def body_of(text: str, **more: Any) -> Json:
    return {"model": "gpt", "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("streams", ["none", "all", "every-other"])
async def test_many_at_once_are_one(streams: str, cached: Cached) -> None:
    """Whole and streamed, whichever comes first; in whatever worker."""
    text = fresh()
    every = {"none": [False], "all": [True], "every-other": [True, False]}[streams]
    bodies = [body_of(text, stream=every[number % len(every)]) for number in range(CROWD)]
    script = {"text": "One for all.", "latency": 0.5, "usage": USAGE}
    answers = [one for one, _ in await _crowd(cached, bodies, script)]
    assert {one.status_code for one in answers} == {200}
    assert cached.asked() == 1
    assert Counter(map(where, answers)) == {"hit": CROWD - 1, "miss": 1}
    assert len({parts(one)["id"] for one in answers if where(one) == "hit"}) == 1
    whole = [one.json() for one in answers if "event-stream" not in one.headers["content-type"]]
    assert all(one == whole[0] for one in whole)
    streamed = [one.text for one in answers if "event-stream" in one.headers["content-type"]]
    assert len(whole) + len(streamed) == CROWD
    assert all(one.rstrip().endswith("data: [DONE]") for one in streamed)


async def test_many_embeddings_at_once_are_one(cached: Cached) -> None:
    text = fresh("a cat")
    body: Json = {"model": "vectors", "input": text}
    script = {"latency": 0.5}
    answers = [one for one, _ in await _crowd(cached, [body] * CROWD, script, path="embeddings")]
    assert {one.status_code for one in answers} == {200}
    assert cached.asked() == 1
    assert Counter(map(where, answers)) == {"hit": CROWD - 1, "miss": 1}
    vectors = [[one["embedding"] for one in answer.json()["data"]] for answer in answers]
    assert all(one == vectors[0] for one in vectors)
    # The first one failing frees the others.
    body = {"model": "vectors", "input": [fresh("a bird"), text]}
    wrong = {"id": fresh(), "sequence": [{"status": 500, "latency": 0.4}, {}]}
    answers = [one for one, _ in await _crowd(cached, [body] * 5, wrong, path="embeddings")]
    good = [one.json()["data"] for one in answers if one.status_code == 200]
    assert len(good) == 4
    assert all(data[1]["embedding"] == vectors[0][0] for data in good)


@pytest.mark.parametrize(
    "first",
    [{"status": 500, "latency": 0.4}, {"text": "Half", "finish": "length", "latency": 0.4}],
    ids=["error", "truncated"],
)
async def test_the_first_one_failing_frees_the_others(first: Json, cached: Cached) -> None:
    """At once: they do not wait for what is not coming."""
    text = fresh()
    script = {"id": text, "sequence": [first, {"text": "Well.", "usage": USAGE}]}
    answers = await _crowd(cached, [body_of(text)] * 8, script)
    good = [one for one, _ in answers if one.status_code == 200 and said(one) == "Well."]
    assert len(good) == 7
    assert max(took for _, took in answers) < 3
    assert 2 <= cached.asked() <= 8
    poll(lambda: is_kept(cached, text), what="the second answer")


async def test_the_first_one_leaving_frees_the_others(cached: Cached) -> None:
    text = fresh()
    script = {"id": text, "sequence": [{"latency": 20}, {"text": "Well.", "usage": USAGE}]}
    head = {**cached.head(), **scripted(**script)}
    url = f"{cached.gateway.url}/chat/completions"
    async with httpx.AsyncClient(timeout=30) as client:
        first = asyncio.create_task(client.post(url, json=body_of(text), headers=head))
        await asyncio.to_thread(poll, cached.asked)
        others = asyncio.create_task(_crowd(cached, [body_of(text)] * 4, script))

        def all_wait() -> bool:
            return figures(cached.gateway).sum("tollgate_requests_in_flight") == 5

        await asyncio.to_thread(poll, all_wait)
        first.cancel()
        answers = await asyncio.wait_for(others, 5)
    assert [said(one) for one, _ in answers] == ["Well."] * 4


async def test_who_does_not_wait(cached: Cached) -> None:
    """On a route whose requests go alone, or for a time that is over before the answer comes."""
    script = {"text": "Yes.", "latency": 0.3}
    text = fresh()
    alone = await _crowd(cached, [body_of(text)] * 3, script, "alone")
    assert [where(one) for one, _ in alone] == ["miss"] * 3
    assert cached.asked() == 3
    cached.gateway.forget()
    slow = {"text": "Yes.", "latency": 1.5}
    text = fresh()
    hasty = await _crowd(cached, [body_of(text)] * 2, slow, "hasty")
    assert [where(one) for one, _ in hasty] == ["miss"] * 2
    assert cached.asked() == 2


# --- damage -------------------------------------------------------------------------------


def damage(cached: Cached, name: str) -> None:
    """Change a byte of an entry where it is kept."""
    if cached.redis is None:
        path = cached.gateway.folder / "data" / "cache.db"
        with closing(sqlite3.connect(path, timeout=10)) as database, database:
            number = int(name, 16)
            ((body,),) = database.execute("SELECT body FROM bodies WHERE id = ?", (number,))
            database.execute("UPDATE bodies SET body = ? WHERE id = ?", (_bent(body), number))
        return
    with redis.Redis.from_url(cached.redis.url) as client:
        for key in client.scan_iter(match=b"tollgate:cache:*", count=1000):
            if client.type(key) == b"hash" and client.hget(key, "id") == bytes.fromhex(name):
                client.hset(key, "body", _bent(client.hget(key, "body")))
                return
    raise AssertionError(name)


def _bent(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def test_a_damaged_entry_is_a_miss(cached: Cached) -> None:
    text = fresh()
    before = figures(cached.gateway).sum("tollgate_cache_corrupt_total")
    name = parts(cached.warm(text, said="As it was."))["id"]
    damage(cached, name)
    answer = cached.chat(text, said="As it is.")
    assert where(answer) == "miss"
    assert said(answer) == "As it is."
    poll(
        lambda: figures(cached.gateway).sum("tollgate_cache_corrupt_total") > before,
        what="figures of what is damaged",
    )
    assert said(cached.warm(text)) == "As it is."
    assert cached.asked() == 2


# --- nothing is written -------------------------------------------------------------------


def test_nothing_is_written_of_who_asked_what(cached: Cached) -> None:
    """Not in the store's files, nor in logs and figures: looked for byte by byte."""
    mark = f"canary{time.time_ns()}"
    user, session, tenant = (f"{what}-{mark}" for what in ("ann", "session", "tenant"))
    one = cached.other(tenant=tenant)
    head = {"x-tollgate-user": user, "x-tollgate-session": session}
    key = {"cf-aig-cache-key": f"key-{mark}"}
    for route in ("exact", "user", "session", "semantic", "own-keys"):
        one.warm(f"What of {mark}, the bird?", route, headers={**head, **key}, said="Well.")
    one.chat(f"What of {mark}, the bird?", headers={**head, "x-tollgate-cache-ttl": mark})
    found = record(cached.gateway, one.chat("Hello").headers["x-tollgate-request-id"])
    at_rest(cached.gateway)
    gateway = cached.gateway
    places = {
        str(path.relative_to(gateway.folder)): path.read_bytes()
        for path in gateway.folder.rglob("*")
        if path.is_file() and ("cache" in path.name or path.suffix == ".log")
    }
    places["metrics"] = gateway.metrics().encode()
    if cached.redis is not None:
        with redis.Redis.from_url(cached.redis.url) as client:
            for name in client.scan_iter(match=b"tollgate:cache*", count=1000):
                places[repr(name)] = name + (client.dump(name) or b"")
            names = list(client.scan_iter(count=1000))
            assert not [name for name in names if mark.encode() in name]
    assert any("cache" in name for name in places)
    # The access log has the tenant.
    secrets = [f"What of {mark}", user, session, f"key-{mark}", one.key, one.key[3:]]
    where_it_is = {
        name: secret
        for name, data in places.items()
        for secret in secrets
        if secret.encode() in data
    }
    assert where_it_is == {}
    assert found["tenant"] == tenant


# --- the store is away --------------------------------------------------------------------


def anybody(cached: Cached, text: str, route: str = "open", **headers: str) -> httpx.Response:
    """An answer where nobody is asked for a key, which would be looked up in the same store."""
    head = {"x-test-route": route, **headers}
    return cached.gateway.chat("gpt", text, script={"text": "Yes."}, headers=head)


def _took(cached: Cached, texts: Sequence[str], route: str = "open") -> list[float]:
    """Seconds that each of several requests takes, which the provider answers."""
    found = []
    for text in texts:
        began = time.monotonic()
        answer = anybody(cached, text, route)
        found.append(time.monotonic() - began)
        assert answer.status_code == 200, answer.text
        assert where(answer) in ("miss", "bypass"), answer.headers[CACHE]
    return found


def test_redis_away_and_back(cached: Cached) -> None:
    """Everybody is served meanwhile, not noticeably later; then there are hits again."""
    if cached.redis is None:
        pytest.skip("the embedded store is in the service itself")
    text = fresh()
    poll(lambda: where(anybody(cached, text)) == "hit", what="a hit")
    usual = median(_took(cached, [fresh() for _ in range(20)]))
    before = figures(cached.gateway).sum("tollgate_cache_failures_total", part="store")
    cached.redis.kill()
    try:
        away = _took(cached, [text] * 5 + [fresh() for _ in range(25)])
        with ThreadPoolExecutor(8) as pool:
            crowd = list(pool.map(lambda _: anybody(cached, text), range(24)))
        said_so = figures(cached.gateway).sum("tollgate_cache_failures_total", part="store")
    finally:
        cached.redis.start()
    assert {one.status_code for one in crowd} == {200}
    assert max(away) < usual + AWAY, (usual, sorted(away))
    assert said_so > before
    poll(lambda: where(anybody(cached, text)) == "hit", within=15, what="hits to be back")
    other = fresh()
    poll(lambda: where(anybody(cached, other)) == "hit", what="a hit of what came since")


# --- a restart ----------------------------------------------------------------------------


def _ready(cached: Cached) -> bool:
    try:
        return admin(cached.gateway, "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _again(cached: Cached, service: Service, texts: Sequence[str]) -> None:
    """Start the service, which knows all it knew."""
    service.start()
    poll(lambda: _ready(cached), within=60, what="the service's next start")
    poll(lambda: cached.chat("Hello").status_code == 200, within=30, what="an answer")
    cached.gateway.forget()
    for text in texts:
        cached.hit(text)
    assert cached.asked() == 0


def test_restarts(cached: Cached) -> None:
    """The last test of its gateway: its service is stopped, and killed, and knows every answer that
    it has served."""
    texts = [fresh() for _ in range(5)]
    first = {text: parts(cached.warm(text, said=text))["id"] for text in texts}
    with Service.held(cached.gateway) as service:
        service.kill()
        _again(cached, service, texts)
        later = fresh()
        cached.warm(later)
        service.process.terminate()
        service.process.wait(30)
        _again(cached, service, [*texts, later])
        for text in texts:
            hit = cached.hit(text)
            assert parts(hit)["id"] == first[text]
            assert said(hit) == text
        assert json.loads(cached.chat(later).text)["object"] == "chat.completion"
