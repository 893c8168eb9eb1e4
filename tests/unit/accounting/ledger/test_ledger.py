from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from extproc.accounting.ledger import Ledger, LedgerError
from extproc.records import Attribution, Content, RequestRecord
from extproc.state import Entry, StateError
from tests.unit.accounting.ledger.fakes import (
    FAST,
    Disk,
    FakeStore,
    ListSink,
    id_of,
    kill,
    ledger,
    number,
    record,
    reservation,
    until,
)

KEEPING = replace(FAST, keep=3600.0, keep_least=3600.0)
Made = Callable[..., Ledger]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def made(tmp_path: Path, store: FakeStore) -> AsyncIterator[Made]:
    all_: list[Ledger] = []

    def make(**options: object) -> Ledger:
        one = ledger(tmp_path, store, **options)  # type: ignore[arg-type]
        all_.append(one)
        return one

    yield make
    for one in all_:
        await one.stop()


def segments(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*.spool"))


async def test_each_finished_request_is_in_the_store_once(made: Made, store: FakeStore) -> None:
    one = made()
    await one.start()
    for of in range(50):
        assert one.reserve(reservation(of))
    for of in range(50):
        assert one.settle(record(of))
    await until(lambda: len(store.taken) == 50)
    assert set(store.errors().values()) == {None}
    await until(lambda: one.figures()["waiting"] == 0)
    assert one.figures()["open"] == 0


async def test_nothing_is_recorded_before_the_start_and_after_the_stop(made: Made) -> None:
    one = made()
    assert one.full
    assert not one.settle(record(1))
    await one.start()
    assert one.figures()["spool_full"] == 0
    await one.stop()
    assert not one.reserve(reservation(2))
    assert not one.settle(record(2))
    assert one.figures()["unrecorded"] == 2


async def test_content_goes_with_its_record(made: Made, store: FakeStore) -> None:
    one = made()
    await one.start()
    assert one.settle(record(1), Content(request='{"a": 1}', answer="data: x\n\n"))
    await until(lambda: len(store.taken) == 1)
    kept = store.taken[number(1)].content
    assert kept is not None
    assert msgspec.json.decode(kept) == {"request": '{"a": 1}', "answer": "data: x\n\n"}


async def test_large_contents_do_not_stop_the_rest(made: Made, store: FakeStore) -> None:
    one = made(limit=64 * 1024 * 1024)
    await one.start()
    large = Content(request="\x01" * 256 * 1024, answer="é" * 200 * 1024)
    for of in range(4):
        assert one.settle(record(of), large)
        assert one.settle(record(of + 100))
    await until(lambda: len(store.taken) == 8)
    kept = store.taken[number(2)].content
    assert kept is not None
    assert msgspec.json.decode(kept, type=Content) == large


async def test_a_killed_process_leaves_lost_records_for_what_was_open(
    made: Made, store: FakeStore
) -> None:
    one = made()
    await one.start()
    one.reserve(reservation(1))
    one.reserve(reservation(2))
    one.settle(record(2))
    kill(one)
    two = made()
    await two.start()
    await until(lambda: len(store.taken) == 2)
    assert store.errors() == {number(1): "lost", number(2): None}
    assert two.figures()["recovered"] == 1


async def test_a_store_that_is_away_is_said_once_and_gets_everything_later(
    made: Made, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    one = made()
    store.away = True
    await one.start()
    for of in range(30):
        assert one.settle(record(of))
    await until(lambda: one.figures()["store_errors"] >= 3)
    assert one.figures()["waiting"] == 30
    assert [each.message for each in caplog.records] == ["store takes no records"]
    store.away = False
    await until(lambda: len(store.taken) == 30)
    await until(lambda: one.figures()["waiting"] == 0)
    assert [each.message for each in caplog.records][1:] == ["store takes records again"]


async def test_the_oldest_that_waits_is_known(made: Made, store: FakeStore) -> None:
    one = made()
    await one.start()
    assert one.figures()["oldest_seconds"] == 0
    refused = asyncio.Event()

    async def write(entries: Sequence[object]) -> int:
        refused.set()
        raise StateError(f"{len(entries)} too many")

    store.write = write  # type: ignore[method-assign]
    now = time.time()
    one.settle(msgspec.structs.replace(record(1), started=now - 100, duration=10.0))
    await refused.wait()
    assert 90 <= one.figures()["oldest_seconds"] < 95


async def test_after_a_restart_of_the_store_what_it_forgot_is_shipped_again(
    made: Made, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    one = made(pace=KEEPING)
    await one.start()
    for of in range(40):
        one.settle(record(of))
    await until(lambda: len(store.taken) == 40)
    store.restart(forgets=11)
    assert len(store.taken) == 29
    await until(lambda: len(store.taken) == 40)
    assert "the store was restarted" in caplog.text
    assert one.figures()["store_restarts"] == 1


async def test_a_restart_of_both_at_once_loses_nothing(made: Made, store: FakeStore) -> None:
    one = made(pace=KEEPING)
    await one.start()
    for of in range(40):
        one.settle(record(of))
    await until(lambda: len(store.taken) == 40)
    await one.stop()
    store.restart(forgets=11)
    two = made(pace=KEEPING)
    await two.start()
    await until(lambda: len(store.taken) == 40)


async def test_a_restart_of_the_service_ships_nothing_twice(made: Made, store: FakeStore) -> None:
    one = made(pace=KEEPING)
    await one.start()
    for of in range(40):
        one.settle(record(of))
    await one.stop()
    assert len(store.taken) == 40
    writes = store.writes
    two = made(pace=KEEPING)
    await two.start()
    two.settle(record(41))
    await until(lambda: len(store.taken) == 41)
    assert store.writes == writes + 1


async def test_nothing_is_deleted_while_the_store_is_away(
    made: Made, store: FakeStore, tmp_path: Path
) -> None:
    one = made(pace=replace(FAST, keep=0.05, keep_least=0.05), limit=64 * 1024)
    await one.start()
    for of in range(30):
        one.settle(record(of))
    await until(lambda: len(store.taken) == 30)
    store.away = True
    one.settle(record(31))
    left = segments(tmp_path)
    before = one.figures()["store_errors"]
    await until(lambda: one.figures()["store_errors"] > before + 8)
    assert segments(tmp_path) == left
    store.away = False
    await until(lambda: len(segments(tmp_path)) == 1)


async def test_a_long_stream_is_carried_over_and_recorded_once(
    made: Made, store: FakeStore, tmp_path: Path
) -> None:
    one = made(limit=64 * 1024)
    await one.start()
    one.reserve(reservation(0))
    first = segments(tmp_path)[0]
    of = 0
    while first in segments(tmp_path):
        of += 1
        one.settle(record(of))
        await asyncio.sleep(0.001)
    kill(one)
    two = made(limit=64 * 1024)
    await two.start()
    await until(lambda: store.errors().get(number(0)) == "lost")
    assert len(store.taken) == of + 1


async def test_the_spool_is_full_while_the_store_is_away_and_empties_by_itself(
    made: Made, store: FakeStore
) -> None:
    one = made(limit=64 * 1024)
    store.away = True
    await one.start()
    accepted = 0
    while one.settle(record(accepted)):
        accepted += 1
    assert one.full
    assert one.figures()["unrecorded"] == 1
    store.away = False
    await until(lambda: not one.full)
    assert one.settle(record(accepted))
    await until(lambda: len(store.taken) == accepted + 1)


async def test_a_full_disk_is_over_by_itself(made: Made, store: FakeStore) -> None:
    disk = Disk()
    one = made(write=disk.write)
    await one.start()
    one.reserve(reservation(1))
    disk.full = True
    assert one.settle(record(1))
    assert not one.reserve(reservation(2))
    assert one.full
    disk.full = False
    await until(lambda: not one.full)
    await until(lambda: store.errors() == {number(1): None})


async def test_one_record_that_nobody_can_use_holds_up_no_other(
    made: Made, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.chokes_on.add(number(3))
    one = made()
    await one.start()
    one._spool.settle("odd", b'{"id":"odd"}')
    for of in range(10):
        one.settle(record(of))
    await until(lambda: len(store.taken) == 9)
    assert one.figures()["refused"] == 2
    assert number(3) in [vars(each).get("record") for each in caplog.records]


async def test_a_store_that_chokes_on_everything_loses_nothing(
    made: Made, store: FakeStore
) -> None:
    store.chokes_on.update(map(number, range(10)))
    one = made()
    await one.start()
    one.settle(record(1))
    await until(lambda: one.figures()["store_errors"] > 2)
    one.settle(record(2))
    await until(lambda: one.figures()["store_errors"] > 5)
    assert one.figures()["refused"] == 0
    store.chokes_on.remove(number(2))
    await until(lambda: list(store.taken) == [number(2)])
    await until(lambda: one.figures()["refused"] == 1)


async def test_a_record_that_cannot_be_summed_up_is_kept_all_the_same(
    tmp_path: Path, store: FakeStore
) -> None:
    def breaks(record: RequestRecord, content: bytes | None, *, raw: bytes) -> Entry:
        raise ZeroDivisionError(record.id, content, raw)

    one = Ledger(tmp_path, store, breaks, pace=FAST)
    await one.start()
    one.settle(record(1))
    await until(lambda: len(store.taken) == 1)
    assert one.figures()["refused"] == 1
    await one.stop()


async def test_a_file_that_breaks_under_a_running_service_costs_what_was_broken(
    made: Made, store: FakeStore, tmp_path: Path
) -> None:
    store.away = True
    one = made(pace=KEEPING)
    await one.start()
    for of in range(10):
        one.settle(record(of))
    path = tmp_path / "0" / segments(tmp_path)[0]
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0\0\0")
    store.away = False
    await until(lambda: len(store.taken) == 9)
    assert one.figures()["corrupt"] == 1
    one.settle(record(11))
    await until(lambda: len(store.taken) == 10)


async def test_a_file_that_vanishes_is_said_and_stops_nothing(
    made: Made, store: FakeStore, tmp_path: Path
) -> None:
    store.away = True
    one = made(limit=64 * 1024)
    await one.start()
    for of in range(40):
        one.settle(record(of))
    (tmp_path / "0" / segments(tmp_path)[0]).unlink()
    store.away = False
    await until(lambda: one.figures()["waiting"] == 0)
    assert 20 < len(store.taken) < 40
    assert one.figures()["corrupt"] == 1


async def test_an_unreadable_cursor_ships_everything_again(
    made: Made, store: FakeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = made(pace=KEEPING)
    await one.start()
    one.settle(record(1))
    await one.stop()
    (tmp_path / "0" / "store.cursor").write_text("{")
    store.restart(forgets=1)
    two = made(pace=KEEPING)
    await two.start()
    await until(lambda: len(store.taken) == 1)
    assert "cursor unreadable" in caplog.text


async def test_a_second_service_is_refused_in_words(made: Made) -> None:
    await made().start()
    with pytest.raises(LedgerError, match="in use by another process"):
        await made().start()


async def test_the_next_process_waits_for_the_one_before(made: Made) -> None:
    one, two = made(), made(pace=replace(FAST, lock=5.0))
    await one.start()
    starting = asyncio.create_task(two.start())
    await one.stop()
    await starting
    assert not two.full


async def test_workers_share_a_folder_and_the_store(made: Made, store: FakeStore) -> None:
    both = [made(slot=slot, slots=2) for slot in range(2)]
    for each in both:
        await each.start()
    for of in range(20):
        both[of % 2].settle(record(of))
    await until(lambda: len(store.taken) == 20)
    await asyncio.gather(*(each.stop() for each in both))
    assert sum(each.figures()["orphans_recovered"] for each in both) == 0


async def test_what_workers_left_that_are_no_more_is_shipped_and_removed(
    made: Made, store: FakeStore, tmp_path: Path
) -> None:
    sink = ListSink()
    store.away = True
    third = made(slot=2, slots=3)
    await third.start()
    third.reserve(reservation(1))
    third.settle(record(2))
    kill(third)
    one = made(sinks=[sink])
    await one.start()
    store.away = False
    await until(lambda: store.errors() == {number(1): "lost", number(2): None})
    await until(lambda: not (tmp_path / "2").exists())
    assert sorted(sink.ids) == [number(1), number(2)]
    await until(lambda: one.figures()["orphans_recovered"] == 1)
    assert one.figures()["orphans"] == 0


async def test_folders_that_are_no_workers_are_left_alone(made: Made, tmp_path: Path) -> None:
    for name in ("7", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "000000000001.spool").write_bytes(b"mine")
    one = made()
    await one.start()
    await until(lambda: one._looked > 0)
    await one.stop()
    assert (tmp_path / "7" / "000000000001.spool").read_bytes() == b"mine"
    assert (tmp_path / "notes" / "000000000001.spool").read_bytes() == b"mine"


async def test_an_orphan_that_somebody_else_ships_is_left_to_him(
    made: Made, tmp_path: Path
) -> None:
    await made(slot=5, slots=6).start()
    one = made()
    await one.start()
    await until(lambda: one._looked > 0)
    assert one.figures()["orphans"] == 0
    assert (tmp_path / "5").exists()


async def test_the_stop_is_bounded_when_the_store_hangs(made: Made, store: FakeStore) -> None:
    hung = asyncio.Event()

    async def generation() -> str:
        await hung.wait()
        return "1"

    store.generation = generation  # type: ignore[method-assign]
    one = made(pace=replace(FAST, stop=0.05))
    await one.start()
    one.settle(record(1))
    await one.stop()
    del store.generation
    two = made()
    await two.start()
    await until(lambda: len(store.taken) == 1)


async def test_text_that_utf8_cannot_carry_is_recorded_all_the_same(
    made: Made, store: FakeStore
) -> None:
    one = made()
    await one.start()
    odd = msgspec.structs.replace(
        record(1), attribution=Attribution(user="half \ud83d", labels=(("a\ud800", "b"),))
    )
    assert one.reserve(odd)
    assert one.settle(odd, Content(request="\udfff", answer=""))
    await until(lambda: len(store.taken) == 1)
    kept = msgspec.json.decode(store.taken[number(1)].record, type=RequestRecord)
    assert kept.attribution.user == "half ?"


async def test_what_is_no_record_is_counted_and_fails_no_request(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    one = made()
    await one.start()
    odd = msgspec.structs.replace(record(1), route=object())
    assert not one.reserve(odd)
    assert not one.settle(odd)
    assert one.figures()["unrecorded"] == 1
    assert "record not written" in caplog.text


def test_a_limit_without_room_is_refused_in_words(tmp_path: Path, store: FakeStore) -> None:
    with pytest.raises(LedgerError, match="65536 bytes a worker"):
        ledger(tmp_path, store, limit=128 * 1024, slots=3)


async def test_who_watches_sees_requests_as_they_finish(made: Made) -> None:
    published: list[bytes] = []

    async def publish(lines: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        published.extend(lines)

    one = made(publish=publish)
    await one.start()
    reader = one.tail.subscribe()
    one.reserve(reservation(1))
    one.settle(record(1))
    assert id_of(await anext(reader)) == number(1)
    await until(lambda: [id_of(line) for line in published] == [number(1)])
    await one.stop()
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_the_housekeeping_outlives_a_mistake(
    made: Made, store: FakeStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = made()
    await one.start()

    def breaks() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(one._spool, "sync", breaks)
        await until(lambda: "housekeeping failed" in caplog.text)
    one.settle(record(1))
    await until(lambda: not one._spool._dirty)
    await until(lambda: len(store.taken) == 1)


async def test_memory_does_not_grow_with_requests(made: Made, store: FakeStore) -> None:
    """The store in memory grows, so it is made to forget; what is left is the ledger's own."""
    import tracemalloc  # noqa: PLC0415 - only here

    one = made(limit=512 * 1024)
    await one.start()

    async def some(many: int) -> None:
        for of in range(many):
            await until(lambda: not one.full)
            assert one.reserve(reservation(of))
            assert one.settle(record(of))
            if of % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: one.figures()["waiting"] == 0)
        store.taken.clear()

    await some(500)
    tracemalloc.start()
    try:
        await some(500)
        before, _ = tracemalloc.get_traced_memory()
        await some(3000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 150_000


async def test_the_disk_has_everything_within_a_moment(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def sync(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    one = made()
    await one.start()
    one.settle(record(1))
    await until(lambda: bool(synced))
    assert synced[0] == one._spool.used


async def test_quiet_when_nothing_is_wrong(
    made: Made, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    one = made(sinks=[ListSink()])
    with caplog.at_level(logging.INFO):
        await one.start()
        one.reserve(reservation(1))
        one.settle(record(1))
        await until(lambda: len(store.taken) == 1)
        await one.stop()
    assert [each.message for each in caplog.records if each.name.startswith("extproc")] == []
