"""A session's placeholders over its turns, in every store that may keep them."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import redis

from extproc.guard import Finding, GuardError
from extproc.guard.placeholders import Mapping, Redactor
from extproc.guard.sessions import FullError, Sessions
from extproc.state import StateError
from extproc.state.mappings import open_mappings
from extproc.state.memory import MemoryMappings
from extproc.state.sqlite import SqliteMappings
from tests.unit.guard.inline import Inline
from tests.unit.state.conftest import serving

KEY = b"k" * 32
OWNER = json.dumps(["tenant-blue", "key-1", "ann@firm.example"])
SESSION = "conversation 17"
KEEP = 3600.0
ANN = Mapping({"PERSON_1": "Ann Lee"})
BOTH = Mapping({"PERSON_1": "Ann Lee", "PERSON_2": "Bo Ek"})


class Store(MemoryMappings):
    """Memory on a clock that stands still, with a look inside."""

    def __init__(self) -> None:
        self.now = 0.0
        self.writes = 0
        super().__init__(lambda: self.now)

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:
        self.writes += 1
        return await super().put(name, sealed, version=version, ttl=ttl)


class Away(MemoryMappings):
    """Says what a store says when it is away."""

    async def get(self, name: str) -> tuple[bytes, int] | None:
        raise StateError(f"connection refused, {len(name)}")

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:  # noqa: ARG002 - the door's names
        raise StateError("connection refused")

    async def forget(self, name: str) -> None:
        raise StateError(f"connection refused, {len(name)}")

    async def ping(self) -> None:
        raise StateError("connection refused")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store, KEY, Inline())


async def saved(sessions: Sessions, mapping: Mapping, session: str = SESSION) -> None:
    assert await sessions.save(await sessions.load(OWNER, session), mapping, KEEP)


async def test_what_one_turn_saves_the_next_loads(sessions: Sessions, store: Store) -> None:
    held = await sessions.load(OWNER, SESSION)
    assert (held.mapping, held.version) == (Mapping(), 0)
    assert await sessions.save(held, ANN, KEEP)
    other_worker = Sessions(store, KEY, Inline())
    assert (await other_worker.load(OWNER, SESSION)).mapping == ANN


async def test_a_request_may_save_twice(sessions: Sessions) -> None:
    held = await sessions.load(OWNER, SESSION)
    assert await sessions.save(held, ANN, KEEP)
    assert await sessions.save(held, BOTH, KEEP)
    assert (await sessions.load(OWNER, SESSION)).mapping == BOTH


async def test_who_saves_later_is_told_and_loads_again(sessions: Sessions) -> None:
    one = await sessions.load(OWNER, SESSION)
    other = await sessions.load(OWNER, SESSION)
    assert await sessions.save(one, ANN, KEEP)
    assert not await sessions.save(other, Mapping({"PERSON_1": "Bo Ek"}), KEEP)
    assert (await sessions.load(OWNER, SESSION)).mapping == ANN
    assert await sessions.save(await sessions.load(OWNER, SESSION), BOTH, KEEP)
    assert not await sessions.save(one, Mapping({**ANN.values, "SECRET_1": "x"}), KEEP)
    assert (await sessions.load(OWNER, SESSION)).mapping == BOTH


async def test_nothing_new_only_keeps_it_for_longer(sessions: Sessions, store: Store) -> None:
    await saved(sessions, ANN)
    writes = store.writes
    for _ in range(5):
        store.now += KEEP - 1
        held = await sessions.load(OWNER, SESSION)
        assert await sessions.save(held, Mapping(dict(ANN.values)), KEEP)
    assert store.writes == writes
    store.now += KEEP
    assert (await sessions.load(OWNER, SESSION)).mapping == Mapping()


async def test_nothing_found_leaves_nothing(sessions: Sessions, store: Store) -> None:
    await saved(sessions, Mapping())
    assert len(store) == 0


async def test_what_ended_during_a_request_is_kept_again(sessions: Sessions, store: Store) -> None:
    await saved(sessions, ANN)
    held = await sessions.load(OWNER, SESSION)
    store.now += KEEP + 1
    assert await sessions.save(held, ANN, KEEP)
    assert (await sessions.load(OWNER, SESSION)).mapping == ANN


async def test_what_is_not_to_be_kept_is_not(sessions: Sessions, store: Store) -> None:
    held = await sessions.load(OWNER, SESSION)
    assert await sessions.save(held, ANN, 0.0)
    assert len(store) == 0
    await saved(sessions, ANN)
    assert await sessions.save(await sessions.load(OWNER, SESSION), BOTH, 0.0)
    assert len(store) == 0


async def test_a_forgotten_session_begins_anew(sessions: Sessions) -> None:
    await saved(sessions, ANN)
    await saved(sessions, BOTH, "another")
    await sessions.forget(OWNER, SESSION)
    assert (await sessions.load(OWNER, SESSION)).version == 0
    assert (await sessions.load(OWNER, "another")).mapping == BOTH


@pytest.mark.parametrize(
    ("owner", "session"),
    [
        (OWNER, "conversation 18"),
        (OWNER.replace("ann", "bob"), SESSION),
        (OWNER + SESSION[0], SESSION[1:]),
        (OWNER + "\0", SESSION),
        (OWNER, "\0" + SESSION),
        ("", OWNER + SESSION),
        (OWNER, "\ud800"),
    ],
)
async def test_nobody_else_has_it(sessions: Sessions, owner: str, session: str) -> None:
    await saved(sessions, ANN)
    assert (await sessions.load(owner, session)).mapping == Mapping()


async def test_an_entry_moved_to_another_name_does_not_open(
    sessions: Sessions, store: Store
) -> None:
    await saved(sessions, ANN)
    await saved(sessions, BOTH, "mine")
    stolen, mine = await sessions.load(OWNER, SESSION), await sessions.load(OWNER, "mine")
    store._entries[mine.name] = store._entries[stolen.name]
    assert (await sessions.load(OWNER, "mine")).mapping == Mapping()
    assert sessions.unreadable == 1


async def test_what_another_secret_sealed_begins_anew_and_is_said_once(
    sessions: Sessions, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await saved(sessions, ANN)
    name = (await sessions.load(OWNER, SESSION)).name
    other = Sessions(store, b"x" * 32, Inline())
    assert (await other.load(OWNER, SESSION)).name != name
    # Damage shows as another secret does.
    sealed, version, expires = store._entries[name]
    store._entries[name] = (sealed[:-1] + bytes([sealed[-1] ^ 1]), version, expires)
    with caplog.at_level(logging.WARNING):
        held = await sessions.load(OWNER, SESSION)
        assert held.mapping == Mapping()
        assert await sessions.save(held, Mapping(), KEEP)
        held = await sessions.load(OWNER, SESSION)
        assert await sessions.save(held, BOTH, KEEP)
    assert sessions.unreadable == 2
    assert caplog.text.count("cannot be read") == 1
    assert SESSION not in caplog.text
    assert (await sessions.load(OWNER, SESSION)).mapping == BOTH


async def test_ten_thousand_values_are_kept_and_too_many_are_refused(sessions: Sessions) -> None:
    many = Mapping({f"EMAIL_ADDRESS_{n}": f"somebody.{n}@firm.example" for n in range(1, 10_001)})
    await saved(sessions, many)
    held = await sessions.load(OWNER, SESSION)
    assert held.mapping == many
    large = Mapping({"SECRET_1": "s3cr3t" * 200_000})
    with pytest.raises(FullError) as error:
        await sessions.save(held, large, KEEP)
    assert "s3cr3t" not in str(error.value)
    assert (await sessions.load(OWNER, SESSION)).mapping == many


async def test_a_store_that_is_away_is_a_guard_error(sessions: Sessions) -> None:
    held = await sessions.load(OWNER, SESSION)
    away = Sessions(Away(), KEY, Inline())
    for call in (
        away.load(OWNER, SESSION),
        away.save(held, ANN, KEEP),
        away.forget(OWNER, SESSION),
        away.ping(),
    ):
        with pytest.raises(GuardError, match="refused") as error:
            await call
        assert not isinstance(error.value, FullError)
        assert "Ann" not in str(error.value)
        assert SESSION not in str(error.value)


async def test_nothing_shows_a_value_or_a_session(sessions: Sessions) -> None:
    await saved(sessions, ANN)
    held = await sessions.load(OWNER, SESSION)
    assert "Ann" not in repr(held)
    assert SESSION not in repr(held)
    assert "ann@firm" not in repr(held)


# --- in the stores ------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "redis"])
async def workers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Sessions, Sessions, str | None]]:
    """Two workers' sessions in one store, and the URL of its Redis."""
    if request.param == "sqlite":
        one, other = (Sessions(open_mappings(None, tmp_path), KEY, Inline()) for _ in range(2))
        yield one, other, None
        await one.close()
        await other.close()
        return
    url = f"unix://{tmp_path}/redis.sock"
    with serving(tmp_path / "redis.sock"):
        one, other = (Sessions(open_mappings(url, tmp_path), KEY, Inline()) for _ in range(2))
        yield one, other, url
        await one.close()
        await other.close()


async def turn(sessions: Sessions, value: str, tries: int = 100) -> str:
    """One request that finds a value; its placeholder."""
    for _ in range(tries):
        held = await sessions.load(OWNER, SESSION)
        redactor = Redactor(held.mapping)
        redacted = redactor.redact(value, [Finding(0, len(value), "PERSON", 1.0)])
        if await sessions.save(held, redactor.mapping, KEEP):
            return redacted
    raise AssertionError


async def test_no_value_is_lost_however_two_workers_interleave(
    workers: tuple[Sessions, Sessions, str | None],
) -> None:
    values = [f"Name{number} Surname" for number in range(12)]
    one, other, _ = workers
    turns = [turn(one if at % 2 else other, value) for at, value in enumerate([*values, *values])]
    given = await asyncio.gather(*turns)
    assert given[:12] == given[12:]
    assert len(set(given)) == 12
    mapping = (await one.load(OWNER, SESSION)).mapping
    assert {f"<{name}>": value for name, value in mapping.values.items()} == dict(
        zip(given, values, strict=False)
    )


def all_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("sessions.db*"))


async def test_whoever_reads_the_store_learns_nothing(
    workers: tuple[Sessions, Sessions, str | None], tmp_path: Path
) -> None:
    one, _, url = workers
    await turn(one, "Ann Lee")
    held = await one.load(OWNER, SESSION)
    if url is None:
        with closing(sqlite3.connect(tmp_path / "sessions.db")) as reader:
            assert reader.execute("SELECT name FROM mappings").fetchall() == [(held.name,)]
        lies = all_in(tmp_path)
    else:
        with redis.Redis.from_url(url) as client:
            (name,) = cast("list[bytes]", client.keys("*"))
            fields = cast("dict[bytes, bytes]", client.hgetall(name.decode()))
            lies = b" ".join((name, *fields, *fields.values()))
    assert held.name.encode() in lies
    for text in ("Ann", "Lee", "PERSON", SESSION, "conversation", "tenant-blue", "ann@firm"):
        assert text.encode() not in lies


async def test_a_session_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Sessions(SqliteMappings(tmp_path), KEY, Inline())
    await saved(first, ANN)
    await first.close()
    second = Sessions(SqliteMappings(tmp_path), KEY, Inline())
    assert (await second.load(OWNER, SESSION)).mapping == ANN
    await second.close()
