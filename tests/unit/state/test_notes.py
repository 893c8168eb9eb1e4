"""Notes in memory and in a real Redis give the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from extproc import state
from extproc.state import MOST_NOTES, Notes, StateError
from extproc.state.memory import MemoryNotes
from extproc.state.shared import SharedNotes, connect


@pytest.fixture(params=["memory", "redis"])
async def notes(request: pytest.FixtureRequest) -> AsyncIterator[Notes]:
    if request.param == "memory":
        yield MemoryNotes()
        return
    found = SharedNotes(connect(request.getfixturevalue("redis_url")))
    yield found
    await found.close()


async def test_notes_come_back_in_order_and_once(notes: Notes) -> None:
    await notes.leave("r1", b"one")
    await notes.leave("r2", b"other")
    await notes.leave("r1", b"two")
    assert await notes.take("r1") == [b"one", b"two"]
    assert await notes.take("r1") == []
    assert await notes.take("r2") == [b"other"]


async def test_nobody_left_anything(notes: Notes) -> None:
    assert await notes.take("nobody") == []
    await notes.ping()


async def test_notes_of_one_request_are_bounded(notes: Notes) -> None:
    for number in range(MOST_NOTES + 5):
        await notes.leave("many", str(number).encode())
    assert len(await notes.take("many")) == MOST_NOTES


async def test_memory_forgets_in_time() -> None:
    now = 0.0
    notes = MemoryNotes(lambda: now)
    for number in range(1000):
        await notes.leave(str(number), b"x")
    now = state.NOTE_SECONDS + 1
    assert await notes.take("1") == []
    await notes.leave("late", b"x")
    assert len(notes) == 1


async def test_redis_forgets_in_time(redis_url: str) -> None:
    client = connect(redis_url)
    notes = SharedNotes(client)
    await notes.leave("short", b"x")
    left = await client.pttl("tollgate:{short}:notes")
    assert 0 < left <= state.NOTE_SECONDS * 1000
    await notes.close()


async def test_a_redis_that_is_away_is_a_state_error(tmp_path: Path) -> None:
    notes = SharedNotes(connect(f"unix://{tmp_path}/nobody.sock"))
    with pytest.raises(StateError):
        await notes.leave("r", b"x")
    with pytest.raises(StateError):
        await notes.take("r")
    with pytest.raises(StateError):
        await notes.ping()
    await notes.close()
