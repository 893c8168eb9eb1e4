"""The index in Postgres does what the one in memory does, and a Postgres that is away is a miss."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import numpy as np
import pytest

from extproc.cache import CacheAway
from extproc.cache.index import Near
from extproc.cache.index.postgres import PostgresIndex
from tests.unit.cache.index.conftest import Wire
from tests.unit.cache.index.vectors import DIM, around_topics, by_hand, close_to

HALF = 2e-3
LONG = 5.0


@asynccontextmanager
async def an_index(wire: Wire, embedder: str = "") -> AsyncIterator[PostgresIndex]:
    index = PostgresIndex(wire.url, embedder or secrets.token_hex(8), DIM)
    try:
        yield index
    finally:
        await index.close()


async def _back(
    index: PostgresIndex, partition: bytes, row: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> list[Near]:
    """What it finds once it is there again."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await index.search(partition, row, 8, LONG)
            except CacheAway:
                await asyncio.sleep(0.02)


async def test_nearest_first_with_their_cosines(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(300)
        await index.add(b"p", range(300), rows)
        asked = close_to(rows[:1])[0]
        found = await index.search(b"p", asked, 8, LONG)
        wanted = by_hand(dict(enumerate(rows)), asked, 8)
        assert found[0].entry == wanted[0][0]
        assert [one.score for one in found] == pytest.approx([s for _, s in wanted], abs=HALF)
        assert await index.search(b"p", asked, 0, LONG) == []


async def test_a_partition_sees_all_of_its_own_and_nothing_else(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(500)
        await index.add(b"large", range(10, 500), rows[10:])
        await index.add(b"small", range(10), rows[:10])
        for row in rows[::50]:
            found = await index.search(b"small", row, 10, LONG)
            assert {one.entry for one in found} == {*range(10)}
        assert await index.search(b"other", rows[0], 8, LONG) == []


async def test_an_entry_is_in_one_place_only(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(3)
        largest = (1 << 63) - 1
        await index.add(b"a", [largest], rows[:1])
        await index.add(b"b", [largest, largest], rows[1:])
        assert await index.search(b"a", rows[0], 8, LONG) == []
        (found,) = await index.search(b"b", rows[2], 8, LONG)
        assert found.entry == largest
        assert found.score == pytest.approx(1.0, abs=HALF)
        assert await index.size() == 1


async def test_what_is_removed_is_not_found_from_then_on(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(20)
        await index.add(b"p", range(20), rows)
        assert await index.remove([3, 4, 99]) == 2
        found = await index.search(b"p", rows[3], 20, LONG)
        assert {one.entry for one in found} == {*range(20)} - {3, 4}


async def test_what_would_be_near_to_everything_is_turned_down(wire: Wire) -> None:
    async with an_index(wire) as index:
        with pytest.raises(ValueError, match="length"):
            await index.add(b"p", [1], 2 * around_topics(1))
        with pytest.raises(ValueError, match="31"):
            await index.search(b"p", around_topics(1, dim=31)[0], 8, LONG)


async def test_workers_that_start_at_once_share_one_table(wire: Wire) -> None:
    name = secrets.token_hex(8)
    async with an_index(wire, name) as one, an_index(wire, name) as two:
        rows = around_topics(4)
        await asyncio.gather(one.add(b"p", [1, 2], rows[:2]), two.add(b"p", [4, 3], rows[2:]))
        assert await one.size() == await two.size() == 4
        async with an_index(wire, name) as later:
            assert len(await _back(later, b"p", rows[0])) == 4


async def test_vectors_of_two_embedders_are_apart(wire: Wire) -> None:
    async with an_index(wire) as one, an_index(wire) as two:
        rows = around_topics(2)
        await one.add(b"p", [1], rows[:1])
        await two.add(b"p", [1, 2], rows)
        assert await one.size() == 1
        assert len(await one.search(b"p", rows[0], 8, LONG)) == 1


async def test_before_it_is_connected_all_is_a_miss_and_then_it_is_there(wire: Wire) -> None:
    async with an_index(wire) as index:
        with pytest.raises(CacheAway):
            await index.search(b"p", around_topics(1)[0], 8)
        assert await _back(index, b"p", around_topics(1)[0]) == []


async def test_a_server_that_is_away_is_a_miss_at_once_and_comes_back_by_itself(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(1)
        await index.add(b"p", [1], rows)
        await wire.cut()
        for _ in range(20):
            started = asyncio.get_running_loop().time()
            with pytest.raises(CacheAway):
                await index.search(b"p", rows[0], 8)
            assert asyncio.get_running_loop().time() - started < 0.1
        with pytest.raises(CacheAway):
            await index.add(b"p", [2], rows)
        with pytest.raises(CacheAway):
            await index.remove([1])
        await wire.mend()
        assert [one.entry for one in await _back(index, b"p", rows[0])] == [1]


async def test_a_server_that_hangs_is_a_miss_at_the_deadline(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(1)
        await index.add(b"p", [1], rows)
        wire.flowing.clear()
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(CacheAway):
            await index.search(b"p", rows[0], 8)
        assert 0.019 < loop.time() - started < 0.15
        many = [index.search(b"p", rows[0], 8) for _ in range(50)]
        said = await asyncio.gather(*many, return_exceptions=True)
        assert all(isinstance(one, CacheAway) for one in said)
        assert loop.time() - started < 0.5
        wire.flowing.set()
        assert [one.entry for one in await _back(index, b"p", rows[0])] == [1]


async def test_a_table_that_was_dropped_is_made_again(wire: Wire) -> None:
    async with an_index(wire) as index:
        rows = around_topics(1)
        await index.add(b"p", [1], rows)
        connection = await asyncpg.connect(wire.url)
        await connection.execute(f"DROP TABLE {index._table}")
        await connection.close()
        assert await _back(index, b"p", rows[0]) == []
        await index.add(b"p", [1], rows)
        assert await index.size() == 1


async def test_nobody_listens() -> None:
    index = PostgresIndex("postgresql://nobody@127.0.0.1:1/none", "static-1-32", DIM)
    with pytest.raises(CacheAway):
        await index.add(b"p", [1], around_topics(1))
    with pytest.raises(CacheAway):
        await index.size()
    await index.close()
    with pytest.raises(CacheAway):
        await index.search(b"p", around_topics(1)[0], 8)
