"""All stores of sessions' placeholders give the same answers: memory, a file, a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.state import LARGEST_MAPPING, Mappings, StateError
from extproc.state.mappings import open_mappings
from extproc.state.memory import SWEPT_EVERY, MemoryMappings
from extproc.state.shared import DEADLINE
from extproc.state.shared_mappings import SharedMappings
from extproc.state.sqlite.mappings import SqliteMappings
from tests.unit.state.conftest import serving

LONG = 1e6


class Subject:
    """A store as two workers have it open (memory has one), and its clock."""

    def __init__(self, kind: str, folder: Path, url: str) -> None:
        self.now = 1e9
        self._redis = url if kind == "redis" else None
        self.one: Mappings
        self.other: Mappings
        if kind == "memory":
            self.one = self.other = MemoryMappings(lambda: self.now)
        elif kind == "sqlite":
            self.one = SqliteMappings(folder, wall=lambda: self.now)
            self.other = SqliteMappings(folder, wall=lambda: self.now)
        else:
            self.one, self.other = SharedMappings(url), SharedMappings(url)

    async def expire(self, name: str) -> None:
        """Let an entry's time go by, and nearly no other's."""
        if self._redis is None:
            await self.one.touch(name, 1.0)
            self.now += 1.0
            return
        await self.one.touch(name, 0.001)
        async with asyncio.timeout(10):
            while await self.other.get(name) is not None:  # noqa: ASYNC110 - Redis's clock is its own
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        await self.one.close()
        await self.other.close()


KINDS = ["memory", "sqlite", "redis"]


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind == "redis" else ""


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    found = Subject(request.param, tmp_path, url_of(request.param, request))
    yield found
    await found.close()


async def test_what_one_worker_puts_another_gets(subject: Subject) -> None:
    await subject.other.ping()
    assert await subject.other.get("a") is None
    first = await subject.one.put("a", b"\x00\xff", version=0, ttl=LONG)
    assert first >= 1
    assert await subject.other.get("a") == (b"\x00\xff", first)
    second = await subject.other.put("a", b"two", version=first, ttl=LONG)
    assert second not in (0, first)
    assert await subject.one.get("a") == (b"two", second)
    assert await subject.one.get("b") is None


async def test_who_comes_late_changes_nothing(subject: Subject) -> None:
    first = await subject.one.put("a", b"one", version=0, ttl=LONG)
    assert await subject.other.put("a", b"late", version=0, ttl=LONG) == 0
    assert await subject.other.put("a", b"late", version=first + 1, ttl=LONG) == 0
    assert await subject.other.put("b", b"late", version=first, ttl=LONG) == 0
    assert await subject.one.get("a") == (b"one", first)
    assert await subject.one.get("b") is None


async def test_an_entry_is_gone_when_its_time_is_over(subject: Subject) -> None:
    first = await subject.one.put("a", b"one", version=0, ttl=LONG)
    kept = await subject.one.put("b", b"two", version=0, ttl=LONG)
    await subject.expire("a")
    assert await subject.other.get("a") is None
    assert not await subject.other.touch("a", LONG)
    assert await subject.other.put("a", b"late", version=first, ttl=LONG) == 0
    again = await subject.other.put("a", b"anew", version=0, ttl=LONG)
    assert await subject.one.get("a") == (b"anew", again)
    assert await subject.one.get("b") == (b"two", kept)


async def test_a_touched_entry_stays_what_it_was(subject: Subject) -> None:
    first = await subject.one.put("a", b"one", version=0, ttl=0.5)
    assert await subject.other.touch("a", LONG)
    subject.now += LONG - 1
    assert await subject.one.get("a") == (b"one", first)
    assert not await subject.one.touch("nobody", LONG)


async def test_a_forgotten_entry_never_has_a_version_again(subject: Subject) -> None:
    first = await subject.one.put("a", b"one", version=0, ttl=LONG)
    await subject.other.forget("a")
    await subject.other.forget("nobody")
    assert await subject.one.get("a") is None
    second = await subject.other.put("a", b"two", version=0, ttl=LONG)
    assert await subject.one.put("a", b"late", version=first, ttl=LONG) == 0
    assert await subject.one.get("a") == (b"two", second)


async def test_of_many_who_put_at_once_one_does(subject: Subject) -> None:
    version = 0
    for _ in range(3):
        calls = [
            store.put("a", b"%d" % number, version=version, ttl=LONG)
            for number in range(10)
            for store in (subject.one, subject.other)
        ]
        done = await asyncio.gather(*calls)
        assert sum(map(bool, done)) == 1
        version = max(done)
        assert await subject.one.get("a") == (b"%d" % (done.index(version) // 2), version)


async def test_an_entry_is_bounded(subject: Subject) -> None:
    largest = bytes(LARGEST_MAPPING)
    version = await subject.one.put("a", largest, version=0, ttl=LONG)
    assert await subject.other.get("a") == (largest, version)
    with pytest.raises(StateError, match="at most"):
        await subject.one.put("a", largest + b"x", version=version, ttl=LONG)
    assert await subject.other.get("a") == (largest, version)


# --- any order of calls -------------------------------------------------------------------

NAMES = st.sampled_from("ab")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "late", "touch", "forget", "expire"]),
        NAMES,
        st.booleans(),
        st.binary(max_size=4),
    ),
    max_size=30,
)


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_calls(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = url_of(kind, request)

    @settings(max_examples=25)
    @given(steps=STEPS)
    def follow(steps: list[tuple[str, str, bool, bytes]]) -> None:
        asyncio.run(walked(Subject(kind, tmp_path_factory.mktemp("any"), url), steps))

    follow()


async def walked(subject: Subject, steps: list[tuple[str, str, bool, bytes]]) -> None:
    for name in "ab":
        await subject.one.forget(name)
    known: dict[str, tuple[bytes, int]] = {}
    seen = {0}
    for what, name, second, sealed in steps:
        store = subject.other if second else subject.one
        version = known[name][1] if name in known else 0
        match what:
            case "put":
                new = await store.put(name, sealed, version=version, ttl=LONG)
                assert new not in seen
                seen.add(new)
                known[name] = (sealed, new)
            case "late":
                for old in seen - {version}:
                    assert await store.put(name, sealed, version=old, ttl=LONG) == 0
            case "touch":
                assert await store.touch(name, LONG) == (name in known)
            case "forget":
                await store.forget(name)
                known.pop(name, None)
            case _:
                await subject.expire(name)
                known.pop(name, None)
        for reader in (subject.one, subject.other):
            assert {n: f for n in "ab" if (f := await reader.get(n))} == known
    await subject.close()


# --- memory -------------------------------------------------------------------------------


async def test_memory_lets_go_of_what_is_over_and_of_what_is_too_much() -> None:
    now = 0.0
    store = MemoryMappings(lambda: now, most=100)
    for number in range(50):
        await store.put(f"short {number}", b"x", version=0, ttl=SWEPT_EVERY / 2)
    await store.put("long", b"x" * 40, version=0, ttl=LONG)
    now = SWEPT_EVERY + 1
    await store.put("longer", b"x" * 40, version=0, ttl=2 * LONG)
    assert len(store) == 2
    await store.put("another", b"x" * 40, version=0, ttl=1.0)
    assert await store.get("long") is None
    assert await store.get("longer") is not None
    assert await store.get("another") is not None
    await store.ping()
    await store.close()


# --- Redis away ---------------------------------------------------------------------------


def calls(store: Mappings) -> list[Callable[[], object]]:
    return [
        lambda: store.get("a"),
        lambda: store.put("a", b"x", version=0, ttl=LONG),
        lambda: store.touch("a", LONG),
        lambda: store.forget("a"),
        store.ping,
    ]


async def all_refuse(store: Mappings, within: float) -> None:
    for call in calls(store):
        began = time.monotonic()
        with pytest.raises(StateError):
            await call()  # type: ignore[misc]  # every one of them is awaited
        assert time.monotonic() - began < within


@contextlib.contextmanager
def standing_still(path: Path) -> Iterator[None]:
    with redis.Redis.from_url(f"unix://{path}") as client:
        server = psutil.Process(client.info("server")["process_id"])
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


async def test_a_redis_that_is_away_is_a_state_error_at_once(tmp_path: Path) -> None:
    store = open_mappings(f"unix://{tmp_path}/nobody.sock", tmp_path)
    await all_refuse(store, DEADLINE / 2)
    await store.close()


async def test_a_redis_that_stands_still_is_a_state_error_in_time(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with serving(path):
        store = SharedMappings(f"unix://{path}")
        version = await store.put("b", b"one", version=0, ttl=LONG)
        with standing_still(path):
            await all_refuse(store, DEADLINE + 0.3)
        # No answer to an earlier call is taken for that to a later one.
        for _ in range(3):
            assert await store.get("b") == (b"one", version)
            assert await store.get("nobody") is None
        await store.close()


async def test_a_restarted_redis_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    store = SharedMappings(f"unix://{path}")
    with serving(path), redis.Redis.from_url(f"unix://{path}") as client:
        version = await store.put("a", b"one", version=0, ttl=LONG)
        client.client_kill_filter(_type="normal", skipme=True)
        assert await store.get("a") == (b"one", version)
    await all_refuse(store, DEADLINE)
    path.unlink(missing_ok=True)
    with serving(path):
        # It knows neither the script nor the entry.
        assert await store.put("a", b"late", version=version, ttl=LONG) == 0
        version = await store.put("a", b"two", version=0, ttl=LONG)
        assert await store.get("a") == (b"two", version)
        await store.close()


async def test_a_redis_that_refuses_is_a_state_error(redis_url: str) -> None:
    store = SharedMappings(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.set("tollgate:{a}:placeholders", "not what we put there")
    with pytest.raises(StateError):
        await store.get("a")
    with pytest.raises(StateError):
        await store.put("a", b"x", version=0, ttl=LONG)
    await store.close()


async def test_redis_lets_go_in_time(redis_url: str) -> None:
    store = SharedMappings(redis_url)
    await store.put("a", b"x", version=0, ttl=3600.0)
    with redis.Redis.from_url(redis_url) as client:
        (name,) = cast("list[bytes]", client.keys("*"))
        assert 0 < client.execute_command("PTTL", name) <= 3_600_000
    await store.close()


async def test_without_redis_it_is_a_file(tmp_path: Path) -> None:
    store = open_mappings(None, tmp_path / "data")
    version = await store.put("a", b"x", version=0, ttl=LONG)
    await store.close()
    again = open_mappings(None, tmp_path / "data")
    assert await again.get("a") == (b"x", version)
    await again.close()
