"""What only Redis does: restarts, expiry, clusters, and telling the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import redis
from redis.crc import key_slot

from extproc.state import DAY, StateError, StoredKey
from extproc.state.shared_keys import SharedKeys
from extproc.state.shared_ledger import KEPT_AT_LEAST, SharedLedger
from extproc.state.shared_tail import CHANNEL, MESSAGE_BYTES, SharedTail
from tests.unit.state.conftest import serving
from tests.unit.state.entries import START, cell, entry

EVER = (0, START + 10**8)


def opened(url: str) -> SharedLedger:
    return SharedLedger(url, keep_records=30.0 * DAY, keep_rollups=400.0 * DAY)


async def first(lines: AsyncIterator[bytes]) -> bytes:
    return await anext(lines)


async def heard_by(url: str, listeners: int) -> None:
    with redis.Redis.from_url(url) as client:
        for _ in range(1000):
            ((_, found),) = cast("list[tuple[bytes, int]]", client.pubsub_numsub(CHANNEL))
            if found >= listeners:
                return
            await asyncio.sleep(0.01)
    raise AssertionError


async def test_a_redis_that_is_away_is_a_state_error_of_all(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    ledger, keys, tail = opened(url), SharedKeys(url), SharedTail(url)
    for call in (
        ledger.write([entry("1")]),
        ledger.record("1"),
        ledger.rows("main", *EVER),
        ledger.series("main", *EVER, DAY),
        ledger.prune(0, 0),
        ledger.generation(),
        ledger.ping(),
        keys.add([]),
        keys.replace(StoredKey("1", b"", ()), b""),
        keys.find("d"),
        keys.get("1"),
        keys.list(),
        keys.settle("a", "b"),
        keys.ping(),
        tail.publish([b"line"]),
    ):
        with pytest.raises(StateError):
            await call
    with pytest.raises(StateError):
        _ = [batch async for batch in ledger.records(*EVER)]
    with pytest.raises(StateError):
        await first(tail.subscribe())
    for store in (ledger, keys, tail):
        await store.close()


async def test_a_restarted_redis_is_another_generation_and_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    url = f"unix://{path}"
    ledger, keys = opened(url), SharedKeys(url)
    key = StoredKey("1", b"r", ("d",))
    with serving(path):
        assert await ledger.write([entry("1")]) == 1
        await keys.add([key])
        generation = await ledger.generation()
        assert await ledger.generation() == generation
    with pytest.raises(StateError):
        await ledger.write([entry("2")])
    with pytest.raises(StateError):
        await keys.find("d")
    path.unlink(missing_ok=True)
    with serving(path):
        # It knows neither the scripts nor what was written.
        assert await ledger.write([entry("1"), entry("2")]) == 2
        assert await ledger.generation() != generation
        assert await keys.find("d") is None
        await keys.add([key])
        assert await keys.find("d") == key
        await ledger.close()
        await keys.close()


async def test_days_expire_each_sort_by_its_own_age(redis_url: str) -> None:
    now = time.time()
    today = int(now // DAY) * DAY
    ledger = opened(redis_url)
    await ledger.write([entry("1", today, cell(d1=1), content=b"c")])
    old = today - 300 * DAY
    await ledger.write([entry("2", old, cell(d1=1))])
    await ledger.close()
    with redis.Redis.from_url(redis_url) as client:
        names = {name.decode() for name in cast("list[bytes]", client.keys("*{ledger:*"))}
        ends: dict[tuple[bool, bool], set[int]] = {}
        for name in names:
            rollup = ":hour:" in name or ":day:" in name
            end = cast("int", client.execute_command("PTTL", name))
            # Relative to the clock of the server, which runs on meanwhile.
            seconds, micros = cast("tuple[int, int]", client.time())
            at = round(seconds + micros / 1e6 + end / 1000)
            ends.setdefault((name_of(old) in name, rollup), set()).add(at)
    assert len(names) == 3 + 4 + 2 + 4
    expected = {
        (False, False): today + DAY + 30 * DAY,
        (False, True): today + DAY + 400 * DAY,
        # Long past its time: kept a while yet, so that it is not counted again when it comes again.
        (True, False): now + KEPT_AT_LEAST,
        (True, True): old + DAY + 400 * DAY,
    }
    assert {which: min(found) for which, found in ends.items()} == pytest.approx(expected, abs=2)
    assert {which: max(found) for which, found in ends.items()} == pytest.approx(expected, abs=2)


def name_of(moment: float) -> str:
    return f"{{ledger:{datetime.fromtimestamp(moment, UTC):%Y%m%d}}}"


async def test_a_day_lives_on_one_node_and_names_tell_nothing(redis_url: str) -> None:
    ledger, keys = opened(redis_url), SharedKeys(redis_url)
    secret = "alice@example.org"
    for day in range(3):
        cells = [cell(view, f'["{secret}"]', d1=1) for view in ("main", "user")]
        await ledger.write([entry(f"{secret} {day}", START + day * DAY, *cells, content=b"c")])
    await keys.add([StoredKey(f"{secret} {n}", b"", (f"{secret} {n}",)) for n in range(3)])
    await keys.settle(secret, secret)
    await ledger.close()
    await keys.close()
    with redis.Redis.from_url(redis_url) as client:
        names = cast("list[bytes]", client.keys())
    slots: dict[bytes, set[int]] = {}
    for name in names:
        assert secret.encode() not in name
        slots.setdefault(name.partition(b"}")[0], set()).add(key_slot(name))
    days = [tag for tag in slots if b"{ledger:" in tag]
    assert len(days) == 3
    assert all(len(slots[tag]) == 1 for tag in (*days, b"tollgate:{keys"))


async def test_pruning_leaves_nothing_of_a_day(redis_url: str) -> None:
    ledger = opened(redis_url)
    await ledger.write([entry("1", START, cell(d1=1), content=b"c"), entry("2", START + DAY)])
    await ledger.prune(START + DAY, START + DAY)
    await ledger.close()
    with redis.Redis.from_url(redis_url) as client:
        names = b" ".join(cast("list[bytes]", client.keys())).decode()
    assert name_of(START) not in names
    assert name_of(START + DAY) in names


async def test_all_who_listen_are_told_each_line(redis_url: str) -> None:
    speaker = SharedTail(redis_url)
    listeners = [SharedTail(redis_url) for _ in range(2)]
    streams = [cast("AsyncGenerator[bytes]", each.subscribe()) for each in listeners]
    lines = [b'{"n": %d, "x": "%s"}' % (n, b"x" * (MESSAGE_BYTES // 4)) for n in range(10)]

    async def first_ten(stream: AsyncGenerator[bytes]) -> list[bytes]:
        return [await anext(stream) for _ in lines]

    waiting = [asyncio.create_task(first_ten(stream)) for stream in streams]
    await heard_by(redis_url, 2)
    await speaker.publish(lines[:1])
    await speaker.publish([])
    await speaker.publish(lines[1:])
    for task in waiting:
        assert await task == lines
    for stream, listener in zip(streams, listeners, strict=True):
        await stream.aclose()
        await listener.close()
    await speaker.close()


async def test_who_listens_is_told_that_redis_went(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    tail = SharedTail(f"unix://{path}")
    with serving(path):
        waiting = asyncio.create_task(first(tail.subscribe()))
        await heard_by(f"unix://{path}", 1)
    with pytest.raises(StateError):
        await waiting
    await tail.close()
