"""Cached answers in Redis: away and back, damaged, and looked at by two workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from extproc.state import StateError
from extproc.state.answers import CacheStore, Entry, Match, alias_of
from extproc.state.shared_answers import GET_SECONDS, PREFIX, SharedAnswers
from tests.unit.state.answer_stores import PATIENT, Follower, entry, key
from tests.unit.state.conftest import serving

LATER = 4e9
SLACK = 0.2
"""Seconds: the machine that runs tests is busy."""


def fresh(name: str | int, value: bytes = b"answer", vector: bytes = b"", **other: Any) -> Entry:
    return entry(name, value, vector, **{"created": time.time(), "expires": LATER, **other})


@contextlib.asynccontextmanager
async def two(url: str, seconds: float = PATIENT) -> AsyncIterator[tuple[SharedAnswers, ...]]:
    stores = tuple(SharedAnswers(url, seconds=seconds) for _ in range(2))
    try:
        yield stores
    finally:
        for one in stores:
            await one.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as found:
        yield found


async def back(store: CacheStore) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StateError):
                await store.get(key("nothing"))
                await store.ping()
                return
            await asyncio.sleep(0.01)


async def until_missing(store: CacheStore, entry_id: int) -> None:
    async with asyncio.timeout(20):
        while await store.drop([entry_id]):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)


# --- away ---------------------------------------------------------------------------------


async def test_a_server_that_is_gone_costs_nobody_time(tmp_path: Path) -> None:
    url = f"unix://{tmp_path / 'redis.sock'}"
    async with two(url, GET_SECONDS) as (store, other):
        started = time.perf_counter()
        with pytest.raises(StateError, match="Redis"):
            await store.get(key("a"))
        assert time.perf_counter() - started < GET_SECONDS + SLACK
        with serving(tmp_path / "redis.sock"):
            await back(store)
            await back(other)
            await store.put(fresh("a"))
            follower = Follower(other)
            await follower.follow()
            reading = [asyncio.create_task(store.get(key("a"))) for _ in range(100)]
        # The server was killed while they waited.
        done = await asyncio.gather(*reading, return_exceptions=True)
        assert all(isinstance(one, StateError) or one is not None for one in done)
        with pytest.raises(StateError):
            await store.get(key("a"))
        started = time.perf_counter()
        for _ in range(1000):
            with pytest.raises(StateError):
                await store.get(key("a"))
        assert time.perf_counter() - started < 1.0 + SLACK
        with serving(tmp_path / "redis.sock"):
            await back(store)
            await back(other)
            assert await store.get(key("a")) is None
            assert await store.put(fresh("b", vector=b"v"))
            await follower.follow()
            assert follower.reloads == 2
            assert [one.exact for one in follower.placed.values()] == [key("b")]


async def test_a_server_that_hangs_is_not_asked_by_everybody(tmp_path: Path) -> None:
    url = f"unix://{tmp_path / 'redis.sock'}"
    with serving(tmp_path / "redis.sock"), redis.Redis.from_url(url) as client:
        pid = client.info("server")["process_id"]
        async with two(url, GET_SECONDS) as (store, _):
            await back(store)
            await store.put(fresh("a"))
            os.kill(pid, signal.SIGSTOP)
            try:
                started = time.perf_counter()
                with pytest.raises(StateError, match=r"no answer within 0\.01 s"):
                    await store.get(key("a"))
                assert GET_SECONDS / 2 < time.perf_counter() - started < GET_SECONDS + SLACK
                started = time.perf_counter()
                for _ in range(1000):
                    with pytest.raises(StateError, match="overdue"):
                        await store.get(key("a"))
                assert time.perf_counter() - started < SLACK
                # Given up after a while, and still nobody waits.
                async with asyncio.timeout(20):
                    with contextlib.suppress(StateError):
                        while True:
                            try:
                                await store.get(key("a"))
                            except StateError as error:
                                if "overdue" not in str(error):
                                    break
                            await asyncio.sleep(0.01)
                started = time.perf_counter()
                with pytest.raises(StateError):
                    await store.get(key("a"))
                assert time.perf_counter() - started < SLACK
            finally:
                os.kill(pid, signal.SIGCONT)
            await back(store)
            found = await store.get(key("a"))
            assert found is not None
            assert client.info("clients")["connected_clients"] <= 8


async def test_a_stall_that_goes_by_leaves_no_trace(tmp_path: Path) -> None:
    url = f"unix://{tmp_path / 'redis.sock'}"
    with serving(tmp_path / "redis.sock"), redis.Redis.from_url(url) as client:
        pid = client.info("server")["process_id"]
        async with two(url, GET_SECONDS) as (store, _):
            await back(store)
            await store.put(one := fresh("a"))
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(StateError):
                    await store.get(key("a"))
            finally:
                os.kill(pid, signal.SIGCONT)
            await back(store)
            # Answers that came late are not taken for those of later questions.
            assert await store.get(key("b")) is None
            assert await store.get(key("a")) == one


async def test_scripts_that_were_forgotten_are_sent_again(
    client: redis.Redis, redis_url: str
) -> None:
    async with two(redis_url) as (store, other):
        await store.put(one := fresh("a"))
        await other.put(fresh("b"))
        assert await store.write("x", b"x", 0)
        client.script_flush()
        assert await store.get(key("a")) == one
        client.script_flush()
        assert await store.put(two_ := fresh("a", b"two"))
        assert await other.get(key("a")) == two_
        client.script_flush()
        assert await store.write("x", b"y", 0) == 0
        client.script_flush()
        assert await store.forget(Match("all")) == 2


# --- lost and damaged ---------------------------------------------------------------------


async def test_bytes_that_were_changed_are_a_miss(client: redis.Redis, redis_url: str) -> None:
    async with two(redis_url) as (store, other):
        await store.put(fresh(0, bytes(100)))
        place = b"tollgate:cache:" + key(0).hex().encode()
        whole = client.hgetall(place)
        assert whole
        body = cast("bytes", whole[b"body"])
        length = len(body)
        for count, at in enumerate((0, 15, 16, 40, length - 1), 1):
            damaged = bytearray(body)
            damaged[at] ^= 1
            one = fresh(0, bytes(100))
            await store.put(one)
            client.hset(
                place, mapping={"id": one.head.id.to_bytes(8, "big"), "body": bytes(damaged)}
            )
            assert await other.get(key(0)) is None
            assert other.corrupt == count
            await until_missing(store, one.head.id)
            assert await other.get(key(0)) is None
            assert other.corrupt == count
        assert (await store.stats()).entries == 0


@pytest.mark.parametrize("harm", ["short", "gone body", "id", "other's", "no id"])
async def test_what_is_not_as_it_was_written_is_a_miss(
    client: redis.Redis, redis_url: str, harm: str
) -> None:
    async with two(redis_url) as (store, other):
        one = fresh("a", b"mine")
        await store.put(one)
        await store.put(fresh("b", b"another's"))
        place, strange = (b"tollgate:cache:" + key(name).hex().encode() for name in "ab")
        body = client.hget(place, "body") or b""
        if harm == "short":
            client.hset(place, "body", body[:-1])
        elif harm == "gone body":
            client.hdel(place, "body")
        elif harm == "id":
            client.hset(place, "id", b"12345678")
        elif harm == "other's":
            client.hset(place, "body", client.hget(strange, "body") or b"")
        else:
            client.hset(place, "id", b"")
        assert await other.get(key("a")) is None
        assert other.corrupt == 1
        await until_missing(store, one.head.id)
        assert (await other.get(key("b"))) is not None
        assert await other.put(fresh("a", b"anew"))
        assert (await other.get(key("a"))) is not None


async def test_damaged_rows_and_vectors_are_left_out(client: redis.Redis, redis_url: str) -> None:
    async with two(redis_url) as (store, other):
        entries = [fresh(n, vector=b"vector") for n in range(4)]
        cursor = await store.cursor()
        for one in entries:
            await store.put(one)
        client.hset(b"tollgate:cache:" + key(0).hex().encode(), "vector", b"x" * 30)
        name = entries[1].head.id.to_bytes(8, "big")
        row = cast("bytes", client.hget(PREFIX + b"rows", name))
        client.hset(PREFIX + b"rows", name, row[:-1] + b"\xc1")
        found = [one.exact async for batch in other.vectors() for one in batch]
        assert sorted(found) == [key(2), key(3)]
        assert other.corrupt == 2
        changes = await other.changes(cursor)
        assert len(changes.changes) == 2
        page = await store.page()
        assert {one.head.exact for one in page.entries} == {key(0), key(2), key(3)}
        client.hset(PREFIX + b"rows", entries[2].head.id.to_bytes(8, "big"), b"short")
        assert await other.forget(Match("all")) >= 2
        # What no longer fits together is begun anew.
        assert await store.put(fresh("new"))
        assert (await store.stats()).entries == 1
        assert await store.get(key("new")) is not None


async def test_blobs_that_were_damaged_are_empty(client: redis.Redis, redis_url: str) -> None:
    async with two(redis_url) as (store, other):
        await store.write("a", b"state", 0)
        await store.append("a", [b"one", b"two"])
        (blob,) = (name for name in client.scan_iter(match="*:blob"))
        client.hset(blob, "blob", b"x" * 40)
        found = await other.read("a")
        assert found is not None
        assert found[0] == b""
        assert other.corrupt == 1
        assert await other.write("a", b"state", found[1])


@pytest.mark.parametrize("lost", ["ids", "rows", "order", "expiry", "state", "log"])
async def test_a_server_that_let_go_of_a_part_begins_anew(
    client: redis.Redis, redis_url: str, lost: str
) -> None:
    async with two(redis_url) as (store, other):
        for n in range(3):
            await store.put(fresh(n, vector=b"v"))
        follower = Follower(other)
        await follower.follow()
        client.delete(PREFIX + lost.encode())
        for n in range(3, 5):
            assert await other.put(fresh(n, vector=b"v"))
            assert await store.get(key(n)) is not None
        await follower.follow()
        # Who has seen all that was in the log need not begin anew.
        assert follower.reloads == (1 if lost == "log" else 2)
        stats = await store.stats()
        assert stats.entries == (5 if lost == "log" else 2) == len(follower.placed)


async def test_an_answer_that_redis_let_go_of_is_a_miss(
    client: redis.Redis, redis_url: str
) -> None:
    async with two(redis_url) as (store, other):
        await store.put(fresh("a"))
        client.delete(b"tollgate:cache:" + key("a").hex().encode())
        assert await other.get(key("a")) is None
        assert other.corrupt == 0
        assert await other.put(fresh("a", b"anew"))
        assert (await store.get(key("a"))) is not None


async def test_redis_lets_go_of_answers_in_time(client: redis.Redis, redis_url: str) -> None:
    async with two(redis_url) as (store, _):
        await store.put(fresh("a", expires=time.time() + 60))
        place = b"tollgate:cache:" + key("a").hex().encode()
        assert 50_000 < client.pttl(place) <= 60_000
        await store.forget(Match("route", "chat"))
        assert not client.exists(place)


# --- two workers --------------------------------------------------------------------------


async def test_what_one_forgets_the_other_does_not_serve_though_it_was_not_removed(
    client: redis.Redis, redis_url: str
) -> None:
    async with two(redis_url) as (store, other):
        for n in range(10):
            await store.put(fresh(n, tags=(f"t{n % 2}",)))
        original = await store.get(key(0))
        assert original is not None
        alias = alias_of(original, fresh("alias").head, b"")
        # As far as one gets who is killed then.
        await store._run("forget", "", 1000, "tag\0t0", "")
        assert await other.get(key(0)) is None
        assert await other.get(key(1)) is not None
        assert not await other.put(alias, of=alias.head.answer)
        assert {one.head.tags for one in (await other.page()).entries} == {("t1",)}
        fresh_one = fresh(2, b"fresh", tags=("t0",))
        assert await other.put(fresh_one)
        assert await store.get(key(2)) == fresh_one
        await other.tidy()
        assert (await store.stats()).entries == 6
        assert not client.exists(PREFIX + b"pending")
        assert await store.get(key(2)) == fresh_one


async def test_the_other_follows_within_a_second(redis_url: str) -> None:
    async with two(redis_url) as (store, other):
        for n in range(2000):
            await store.put(fresh(n, vector=b"v", tags=(f"t{n % 2}",)))
        follower = Follower(other)
        await follower.follow()
        forgetting = asyncio.create_task(store.forget(Match("tag", "t0")))
        started = time.perf_counter()
        while not follower.forgotten:
            await follower.follow()
            await asyncio.sleep(0.01)
        assert time.perf_counter() - started < 1
        assert await other.get(key(0)) is None
        assert await forgetting == 1000
        await follower.follow()
        assert len(follower.placed) == 1000


async def test_no_key_says_who_asked_or_what(client: redis.Redis, redis_url: str) -> None:
    async with two(redis_url) as (store, _):
        await store.put(fresh("a", vector=b"v", tags=("secret",), tenant="secret", route="secret"))
        await store.write("secret", b"x", 0)
        await store.append("secret", [b"x"])
        await store.forget(Match("tag", "secret"))
        names = list(client.scan_iter())
        assert len(names) > 3
        assert not any(b"secret" in name for name in names)


async def test_a_secret_keeps_others_from_making_entries(redis_url: str) -> None:
    mine, forger = SharedAnswers(redis_url, secret=b"mine"), SharedAnswers(redis_url)
    await mine.put(one := fresh("a"))
    assert await mine.get(key("a")) == one
    await forger.put(fresh("a", b"forged"))
    assert await mine.get(key("a")) is None
    assert mine.corrupt == 1
    await mine.close()
    await forger.close()
