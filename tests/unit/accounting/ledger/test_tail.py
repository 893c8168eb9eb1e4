from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest

from extproc.accounting.ledger import Tail
from extproc.accounting.ledger import tail as module


async def test_nobody_listens_until_somebody_does() -> None:
    tail = Tail()
    heard = [tail.listening]
    reader = tail.subscribe()
    heard.append(tail.listening)
    tail.unsubscribe(reader)
    assert [*heard, tail.listening] == [False, True, False]


async def test_a_reader_sees_what_comes_after_it_came() -> None:
    tail = Tail()
    tail.offer(b"1")
    reader = tail.subscribe()
    tail.offer(b"2")
    tail.offer(b"3")
    assert [await anext(reader), await anext(reader)] == [b"2", b"3"]


async def test_a_reader_waits_for_what_comes() -> None:
    tail = Tail()
    reader = tail.subscribe()
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    tail.offer(b"1")
    assert await waiting == b"1"


async def test_a_slow_reader_loses_the_oldest_and_is_told_while_another_loses_nothing() -> None:
    tail = Tail(bound=3)
    slow, quick = tail.subscribe(), tail.subscribe()
    for of in range(5):
        tail.offer(b"%d" % of)
        assert await anext(quick) == b"%d" % of
    assert [await anext(slow) for _ in range(4)] == [b'{"lost":2}', b"2", b"3", b"4"]
    assert tail.lost == 2


async def test_a_reader_ends_after_what_was_waiting() -> None:
    tail = Tail()
    reader = tail.subscribe()
    tail.offer(b"1")
    tail.unsubscribe(reader)
    tail.offer(b"2")
    assert [line async for line in reader] == [b"1"]


async def test_a_reader_that_waits_ends_with_the_service() -> None:
    tail = Tail()
    reader = tail.subscribe()
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    tail.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_reader_that_is_let_go_of_is_forgotten() -> None:
    tail = Tail()
    reader = tail.subscribe()
    del reader
    gc.collect()
    assert not tail.listening


async def test_what_is_published_is_bounded_and_its_failures_are_counted() -> None:
    seen: list[bytes] = []
    fails = True

    async def publish(lines: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        if fails:
            raise ConnectionError
        seen.extend(lines)

    tail = Tail(publish, bound=2)
    for of in range(3):
        tail.offer(b"%d" % of)
    await tail.flush()
    assert (tail.errors, tail.lost) == (1, 3)
    fails = False
    tail.offer(b"3")
    await tail.flush()
    await tail.flush()
    assert seen == [b"3"]


async def test_publishing_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_WITHIN", 0.01)
    never = asyncio.Event()

    async def publish(lines: Sequence[bytes]) -> None:
        del lines
        await never.wait()

    tail = Tail(publish)
    tail.offer(b"1")
    await tail.flush()
    assert (tail.errors, tail.lost) == (1, 1)
