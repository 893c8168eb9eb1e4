"""All stores of cached answers give the same answers: memory, a file, a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.state.answers import (
    LARGEST_BLOB,
    ROW,
    Listed,
    Match,
    Room,
    alias_of,
    new_id,
    open_answers,
    read_id,
    shown,
)
from extproc.state.shared_answers import SharedAnswers
from extproc.state.sqlite.answers import SqliteAnswers
from tests.unit.state.answer_stores import KINDS, LONG, NOW, Follower, Subject, entry, key, opened


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind == "redis" else ""


@pytest.fixture
def room() -> Room:
    """Parametrized where a test is about it."""
    return Room()


@pytest.fixture(params=KINDS)
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, room: Room
) -> AsyncIterator[Subject]:
    url = url_of(request.param, request)
    async with opened(request.param, tmp_path, url, room, 50) as found:
        yield found


async def all_of(subject: Subject, match: Match | None = None) -> list[Listed]:
    found: dict[int, Listed] = {}
    after = ""
    while True:
        page = await subject.other.page(after, 3, match)
        found.update((one.head.id, one) for one in page.entries)
        after = page.after
        if not after:
            return list(found.values())


async def test_what_one_worker_puts_another_gets(subject: Subject) -> None:
    await subject.other.ping()
    assert await subject.other.get(key("a")) is None
    assert await subject.other.find(new_id()) is None
    one = entry("a", b"\x00\xff" * 1000, b"vector", tags=("x", "ü"), meta=b"sealed")
    assert await subject.one.put(one)
    whole = msgspec.structs.replace(one, vector=b"")
    assert await subject.other.get(key("a")) == whole
    assert await subject.other.find(one.head.id) == whole
    assert await subject.other.get(key("b")) is None


async def test_an_entry_takes_the_place_of_the_one_with_its_key(subject: Subject) -> None:
    first, second = entry("a", b"one", b"v1"), entry("a", b"two", b"v2")
    assert await subject.one.put(first)
    assert await subject.other.put(second)
    found = await subject.one.get(key("a"))
    assert found is not None
    assert found.value == b"two"
    assert await subject.one.find(first.head.id) is None
    assert (await subject.one.stats()).entries == 1
    assert [one.head for one in await all_of(subject)] == [second.head]
    follower = Follower(subject.other)
    await follower.follow()
    assert set(follower.placed) == {second.head.id}


async def test_many_who_put_at_once_leave_one_entry(subject: Subject) -> None:
    entries = [entry("a", b"%d" % n, b"v") for n in range(10)]
    stores = (subject.one, subject.other)
    await asyncio.gather(*(stores[n % 2].put(one) for n, one in enumerate(entries)))
    last = entry("a", b"last", b"v")
    assert await subject.one.put(last)
    found = await subject.other.get(key("a"))
    assert found is not None
    assert found.value == b"last"
    stats = await subject.one.stats()
    assert (stats.entries, stats.bytes) == (1, ROW + 5)


@pytest.mark.parametrize(
    "bad",
    [
        entry("a", id=0),
        entry("a", id=1 << 63),
        entry("a", exact=b"short"),
        entry("a", b"v", b"", embedder="static"),
        entry("a", b"v", b"vector", embedder=""),
    ],
)
async def test_what_is_no_entry_is_not_kept(subject: Subject, bad: Any) -> None:
    with pytest.raises(ValueError, match=r"id|keys|vector"):
        await subject.one.put(bad)
    assert (await subject.one.stats()).entries == 0


async def test_nobody_gets_an_entry_whose_time_is_over(subject: Subject) -> None:
    one = entry("a", b"one", b"v", expires=NOW + 10)
    kept = entry("b", b"two", b"v")
    await subject.one.put(one)
    await subject.one.put(kept)
    follower = Follower(subject.other)
    await follower.follow()
    subject.now += 10
    assert await subject.other.get(key("a")) is None
    assert await subject.other.find(one.head.id) is None
    assert [found.head.id for found in await all_of(subject)] == [kept.head.id]
    assert not await subject.one.put(entry("c", expires=NOW + 10))
    await subject.tidy()
    stats = await subject.other.stats()
    assert (stats.entries, stats.expired) == (1, 1)
    await follower.follow()
    assert set(follower.placed) == {kept.head.id}
    assert follower.reloads == 1


MATCHES = {
    "tag": Match("tag", "pricing"),
    "route": Match("route", "support"),
    "tenant": Match("tenant", "acme"),
    "model": Match("model", "claude"),
    "family": Match("family", key("other").hex()),
    "older": Match("older", repr(NOW - 5)),
    "all": Match("all"),
}


@pytest.mark.parametrize("what", MATCHES)
async def test_what_is_forgotten_nobody_gets(subject: Subject, what: str) -> None:
    meant = entry(
        "meant",
        b"old",
        b"v",
        tags=("a", "pricing"),
        route="support",
        tenant="acme",
        model="claude",
        family=key("other"),
        created=NOW - 6,
    )
    other = entry("other", b"new", b"v", tags=("pricing-b",), created=NOW - 5)
    for one in (meant, other):
        assert await subject.one.put(one)
    follower = Follower(subject.other)
    await follower.follow()
    assert len(await all_of(subject, MATCHES[what])) == (2 if what == "all" else 1)
    gone = await subject.one.forget(MATCHES[what])
    assert gone == (2 if what == "all" else 1)
    assert await subject.other.get(key("meant")) is None
    assert await subject.other.find(meant.head.id) is None
    assert (await subject.other.get(key("other")) is None) == (what == "all")
    await follower.follow()
    assert follower.forgotten == [MATCHES[what]]
    assert set(follower.placed) == (set() if what == "all" else {other.head.id})
    assert follower.reloads == 1
    stats = await subject.other.stats()
    assert stats.forgotten == gone
    assert await subject.other.forget(MATCHES[what]) == 0
    again = entry("meant", b"anew", tags=("pricing",))
    assert await subject.other.put(again, since=await subject.other.cursor())
    assert await subject.one.get(key("meant")) == again


async def test_a_time_that_is_none_is_refused(subject: Subject) -> None:
    for bad in ("", "yesterday", "nan", "-1", "inf"):
        with pytest.raises(ValueError, match=r".*"):
            await subject.one.forget(Match("older", bad))


async def test_an_answer_on_its_way_is_not_kept_when_its_like_is_forgotten(
    subject: Subject,
) -> None:
    before = await subject.one.cursor()
    kept = entry("a", b"fresh", tags=("news",))
    assert await subject.one.put(entry("b", tags=("news",)), since=before)
    await subject.other.forget(Match("tag", "news"))
    assert await subject.other.put(kept, since=await subject.other.cursor())
    assert not await subject.one.put(entry("a", b"late", tags=("x", "news")), since=before)
    assert await subject.other.get(key("a")) == kept
    assert await subject.one.put(entry("c", tags=("x",)), since=before)
    assert await subject.one.put(entry("d", tags=("news",)))
    assert not await subject.one.put(entry("e"), since="of another store:1")
    await subject.one.forget(Match("older", repr(NOW - 100)))
    assert not await subject.one.put(entry("f", created=NOW - 101))


async def test_an_alias_goes_with_its_answer(subject: Subject) -> None:
    one = entry("a", b"answer", b"v1", tags=("x",), created=NOW - 50, expires=NOW + 50)
    await subject.one.put(one)
    original = await subject.one.find(one.head.id)
    assert original is not None
    other = entry("b", vector=b"v2", tags=("y",))
    alias = alias_of(original, other.head, b"v2")
    head = alias.head
    assert (head.answer, head.created, head.expires) == (one.head.id, NOW - 50, NOW + 50)
    assert head.tags == ("y", "x")
    assert await subject.one.put(alias, of=one.head.id)
    found = await subject.other.get(key("b"))
    assert found is not None
    assert found.value == b"answer"
    follower = Follower(subject.other)
    await follower.follow()
    assert {one.answer for one in follower.placed.values()} == {original.head.id}
    assert await subject.other.forget(Match("answer", shown(one.head.id))) == 2
    assert await subject.one.get(key("b")) is None
    assert not await subject.one.put(alias, of=one.head.id)
    assert await subject.one.get(key("b")) is None


async def test_entries_are_dropped_by_id(subject: Subject) -> None:
    entries = [entry(n, vector=b"v") for n in range(700)]
    for one in entries:
        await subject.one.put(one)
    follower = Follower(subject.other)
    await follower.follow()
    ids = [one.head.id for one in entries[:600]]
    assert await subject.other.drop([*ids, new_id(), 0]) == 600
    assert await subject.other.drop(ids) == 0
    await follower.follow()
    assert set(follower.placed) == {one.head.id for one in entries[600:]}
    stats = await subject.one.stats()
    assert (stats.entries, stats.evicted, stats.forgotten) == (100, 0, 0)
    assert await subject.one.get(entries[5].head.exact) is None


# --- room ---------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [Room(entries=3)])
async def test_what_saved_least_for_its_bytes_goes_first(subject: Subject) -> None:
    cheap = entry("cheap", bytes(1000), b"v", cost=1000)
    dear = entry("dear", bytes(1000), b"v", cost=1_000_000)
    large = entry("large", bytes(100_000), b"v", cost=1_000_000)
    for one in (cheap, dear, large):
        await subject.one.put(one)
    follower = Follower(subject.other)
    await follower.follow()
    for _ in range(200):
        subject.one.touch(large.head.id, 1_000_000)
    await subject.one.flush()
    for name in ("new", "newer"):
        assert await subject.other.put(entry(name, bytes(1000), cost=10_000_000))
    assert await subject.one.get(key("cheap")) is None
    assert await subject.one.get(key("dear")) is None
    found = {one.head.exact: one for one in await all_of(subject)}
    assert set(found) == {key("large"), key("new"), key("newer")}
    listed = found[key("large")]
    assert (listed.hits, listed.saved, listed.size) == (200, 200_000_000, 100_001 + ROW)
    stats = await subject.other.stats()
    assert (stats.entries, stats.evicted, stats.hits, stats.saved) == (3, 2, 200, 200_000_000)
    await follower.follow()
    assert set(follower.placed) == {large.head.id}


@pytest.mark.parametrize("room", [Room(entries=3)])
async def test_what_is_used_no_longer_is_overtaken(subject: Subject) -> None:
    """Whatever it once saved: each that goes raises what those must have saved that come."""
    await subject.one.put(once := entry("once", bytes(10), cost=1000))
    for _ in range(20):
        subject.one.touch(once.head.id, 1000)
    await subject.one.flush()
    for n in range(100):
        assert await subject.one.put(entry(n, bytes(10), cost=1000))
        if await subject.other.get(key("once")) is None:
            break
    assert 20 < n < 99


@pytest.mark.parametrize("room", [Room(bytes=10 * ROW + 100)])
async def test_bytes_are_bounded(subject: Subject) -> None:
    for n in range(9):
        assert await subject.one.put(entry(n, b"v" * 10))
    assert not await subject.one.put(entry("larger than all", bytes(10 * ROW)))
    assert (await subject.one.stats()).entries == 9
    assert await subject.other.put(entry("large", bytes(7 * ROW), cost=1))
    stats = await subject.one.stats()
    assert (stats.entries, stats.evicted) == (2 + 1, 7)
    assert stats.bytes <= 10 * ROW + 100
    assert await subject.one.get(key("large")) is not None


@pytest.mark.parametrize("room", [Room(entries=2)])
async def test_what_is_over_goes_before_what_is_not(subject: Subject) -> None:
    await subject.one.put(entry("over", cost=10**9, expires=NOW + 1))
    await subject.one.put(entry("cheap", cost=1))
    subject.now += 1
    await subject.one.put(entry("new"))
    assert await subject.one.get(key("cheap")) is not None
    stats = await subject.one.stats()
    assert (stats.entries, stats.expired, stats.evicted) == (2, 1, 0)


@pytest.mark.parametrize("room", [Room(bytes=2000 * ROW)])
async def test_one_large_entry_takes_the_place_of_many(subject: Subject) -> None:
    for n in range(1000):
        await subject.one.put(entry(n, b""))
    await subject.one.put(entry("large", bytes(1900 * ROW)))
    stats = await subject.one.stats()
    assert (stats.entries, stats.evicted) == (100, 901)
    assert stats.bytes == 2000 * ROW


@pytest.mark.parametrize("room", [Room(entries=10)])
async def test_room_is_kept_when_many_put_at_once(subject: Subject) -> None:
    stores = (subject.one, subject.other)
    entries = [entry(n % 150, bytes(n), b"v") for n in range(200)]
    done = await asyncio.gather(*(stores[n % 2].put(one) for n, one in enumerate(entries)))
    assert all(done)
    listed = await all_of(subject)
    stats = await subject.one.stats()
    assert stats.entries == len(listed) == 10
    assert stats.bytes == sum(one.size for one in listed)
    follower = Follower(subject.other)
    await follower.follow()
    assert set(follower.placed) == {one.head.id for one in listed}


# --- changes ------------------------------------------------------------------------------


async def test_who_follows_knows_all_vectors(subject: Subject) -> None:
    follower = Follower(subject.other)
    await follower.follow()
    for n in range(20):
        await subject.one.put(entry(n, vector=b"v%d" % n))
        await subject.one.put(entry(f"exact {n}"))
    await follower.follow()
    assert follower.reloads == 1
    placed = {one.exact: one for one in follower.placed.values()}
    assert set(placed) == {key(n) for n in range(20)}
    assert placed[key(7)].vector == b"v7"
    assert placed[key(7)].embedder == "static"
    assert placed[key(7)].family == key("family")
    assert placed[key(7)].expires == NOW + LONG


async def test_who_fell_behind_is_told_to_reload(subject: Subject) -> None:
    follower, other = Follower(subject.other), Follower(subject.one)
    await follower.follow()
    for n in range(49):
        await subject.one.put(entry(n, vector=b"v"))
    await follower.follow()
    assert follower.reloads == 1
    for n in range(51):
        await subject.one.put(entry(100 + n, vector=b"v"))
    await follower.follow()
    await other.follow()
    assert follower.reloads == 2
    assert follower.placed == other.placed
    assert len(follower.placed) == 100
    for strange in ("", "x", "x:1", "x.y:3"):
        found = await subject.one.changes(strange)
        assert found.reload
        assert not found.changes
        assert found.cursor == await subject.one.cursor()


async def test_an_entry_without_a_vector_takes_the_place_of_one_with(subject: Subject) -> None:
    follower = Follower(subject.other)
    await subject.one.put(entry("a", vector=b"v"))
    await follower.follow()
    await subject.one.put(entry("a"))
    await follower.follow()
    assert not follower.placed


# --- blobs and labels ---------------------------------------------------------------------


async def test_a_blob_is_replaced_by_who_saw_it_last(subject: Subject) -> None:
    assert await subject.one.read("a") is None
    assert await subject.one.write("a", b"late", 5) == 0
    first = await subject.one.write("a", b"one", 0)
    assert first
    assert await subject.other.write("a", b"late", 0) == 0
    assert await subject.other.read("a") == (b"one", first)
    assert await subject.other.read("b") is None
    second = await subject.other.write("a", b"two", first)
    assert second not in (0, first)
    assert await subject.one.write("a", b"late", first) == 0
    done = await asyncio.gather(
        *(store.write("a", b"x", second) for store in (subject.one, subject.other) * 5)
    )
    assert sum(map(bool, done)) == 1
    with pytest.raises(ValueError, match="at most"):
        await subject.one.write("b", bytes(LARGEST_BLOB + 1), 0)
    await subject.other.discard("a")
    assert await subject.one.read("a") is None
    assert await subject.one.write("a", b"", 0)
    found = await subject.one.read("a")
    assert found is not None
    assert found[0] == b""


async def test_no_label_is_lost_when_several_append(subject: Subject) -> None:
    stores = (subject.one, subject.other)
    await asyncio.gather(
        *(stores[n % 2].append("a", [b"%d" % n, b"+%d" % n]) for n in range(50)),
        stores[0].append("b", [b"other"]),
    )
    found, after = await subject.one.labels("a", most=60)
    assert len(found) == 60
    more, last = await subject.one.labels("a", after)
    assert sorted([*found, *more]) == sorted(
        b"%s%d" % (s, n) for n in range(50) for s in (b"", b"+")
    )
    assert await subject.other.labels("a", last) == ([], last)
    await subject.other.append("a", [])
    await subject.other.append("a", [b"new"])
    found, again = await subject.one.labels("a", last)
    assert found == [b"new"]
    assert again != last
    assert await subject.one.labels("nobody") == ([], "")
    await subject.one.discard("a")
    assert (await subject.one.labels("a"))[0] == []


async def test_old_labels_go(subject: Subject) -> None:
    for n in range(50):
        await subject.one.append("a", [b"%d" % (10 * n + m) for m in range(10)], keep=100)
    found, _ = await subject.other.labels("a")
    assert found[-100:] == [b"%d" % n for n in range(400, 500)]
    assert len(found) <= 300


def test_a_store_is_opened_where_it_is_wanted(tmp_path: Path) -> None:
    assert isinstance(open_answers(None, tmp_path), SqliteAnswers)
    assert isinstance(open_answers("redis://127.0.0.1:1", tmp_path), SharedAnswers)
    with pytest.raises(ValueError, match="Redis URL"):
        open_answers("http://127.0.0.1", tmp_path)


def test_ids_are_shown_and_read() -> None:
    for one in (1, (1 << 63) - 1, new_id()):
        assert read_id(shown(one)) == one
    for bad in ("", "0" * 16, "f" * 16, "1", "0x00000000000001", "g" * 16, "\u0660" * 16, "1" * 17):
        with pytest.raises(ValueError, match="no entry's id"):
            read_id(bad)
