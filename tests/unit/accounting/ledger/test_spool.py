from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from extproc.accounting.ledger import LedgerError
from extproc.accounting.ledger.frames import RESERVE, SETTLE, frame, parts, scan
from extproc.accounting.ledger.spool import Spool
from tests.unit.accounting.ledger.fakes import Disk, number, record, reservation

LIMIT = 256 * 1024
Open = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens spools on one folder; the one before is left as a killed process leaves it."""
    all_: list[Spool] = []

    def again(limit: int = LIMIT, write: Callable[[int, bytes], int] = os.write) -> Spool:
        for one in all_:
            leave(one)
        spool = Spool(tmp_path / "0", limit, write)
        spool.lock()
        spool.recover()
        all_.append(spool)
        return spool

    yield again
    for one in all_:
        leave(one)


def leave(spool: Spool) -> None:
    current = None if spool._current is None else spool._current.fd
    for fd in (spool._lock, *spool._rolled, current):
        if fd is not None:
            os.close(fd)
    spool._lock = spool._current = None
    spool._rolled = []


def reserve(spool: Spool, of: int) -> bool:
    return spool.reserve(number(of), msgspec.json.encode(reservation(of)))


def settle(spool: Spool, of: int, content: bytes | None = None) -> bool:
    return spool.settle(number(of), msgspec.json.encode(record(of)), content)


def is_open(spool: Spool) -> bool:
    return not spool.full


def settled_in(spool: Spool) -> dict[str, str | None]:
    """The first settlement of each id, by id: its error."""
    found: dict[str, str | None] = {}
    for segment in spool.segments.values():
        for each in scan(segment.path.read_bytes(), whole=True).frames:
            if each.kind not in (RESERVE, 4):
                tree = msgspec.json.decode(parts(each)[0])
                found.setdefault(tree["id"], tree["error_type"])
    return found


def last(spool: Spool) -> Path:
    assert spool.current is not None
    return spool.current.path


def test_what_is_settled_survives_the_process(opened: Open) -> None:
    spool = opened()
    assert reserve(spool, 1)
    assert settle(spool, 1)
    assert settled_in(opened()) == {number(1): None}


def test_what_was_open_is_settled_as_lost_once(opened: Open) -> None:
    assert reserve(opened(), 1)
    spool = opened()
    assert settled_in(spool) == {number(1): "lost"}
    assert spool.recovered == 1
    assert spool.open_count == 0
    assert opened().recovered == 0


def test_a_settlement_cut_at_any_byte_leaves_its_reservation(opened: Open) -> None:
    lost, fine = b'{"id":"a","error_type":"lost"}', b'{"id":"a","error_type":null}'
    for cut in range(1, len(frame(SETTLE, fine)) + 1):
        spool = opened()
        assert spool.reserve("a", lost)
        assert spool.settle("a", fine)
        os.truncate(last(spool), last(spool).stat().st_size - cut)
        spool = opened()
        assert settled_in(spool) == {"a": "lost"}
        for segment in spool.segments.values():
            segment.path.unlink()


def test_a_reservation_cut_at_any_byte_is_none_and_the_folder_stays_usable(opened: Open) -> None:
    payload = b'{"id":"a","error_type":"lost"}'
    for cut in range(1, len(frame(RESERVE, payload)) + 1):
        spool = opened()
        assert settle(spool, cut)
        assert spool.reserve("a", payload)
        os.truncate(last(spool), last(spool).stat().st_size - cut)
        spool = opened()
        assert set(settled_in(spool)) == {number(each) for each in range(1, cut + 1)}
        assert spool.corrupt == 0


def test_a_broken_place_in_the_middle_costs_one_record_and_is_said(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    for of in range(1, 6):
        assert settle(spool, of)
    path = last(spool)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x20
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        spool = opened()
    assert set(settled_in(spool)) == {number(of) for of in (1, 2, 4, 5)}
    assert spool.corrupt == 1
    assert [each.message for each in caplog.records] == ["segment corrupt"]


def test_a_reserve_with_nothing_readable_in_it_is_said_to_be_corrupt(opened: Open) -> None:
    spool = opened()
    assert spool.reserve(number(1), b"[]")
    assert opened().corrupt == 1


def test_files_that_are_no_segments_are_left_alone(opened: Open, tmp_path: Path) -> None:
    opened()
    notes, odd = tmp_path / "0" / "README", tmp_path / "0" / "1.spool"
    link = tmp_path / "0" / "000000000007.spool"
    for each in (notes, odd):
        each.write_text("hands off")
    link.symlink_to(notes)
    (tmp_path / "0" / "000000000009.spool").mkdir()
    spool = opened()
    assert settle(spool, 1)
    assert notes.read_text() == odd.read_text() == "hands off"
    assert link.is_symlink()
    assert spool.corrupt == 0


def test_a_segment_that_cannot_be_read_stops_nothing_and_is_said(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    assert settle(spool, 1)
    spool.seal()
    assert settle(spool, 2)
    bad, read = spool.segments[1].path, Path.read_bytes

    def refuses(path: Path) -> bytes:
        if path == bad:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuses)
    spool = opened()
    assert spool.corrupt == 1
    assert list(settled_in(spool)) == [number(2)]
    assert bad.exists()


def test_a_second_process_is_refused_in_words(opened: Open, tmp_path: Path) -> None:
    opened()
    with pytest.raises(LedgerError, match=rf"in use by another process \({os.getpid()}\)"):
        Spool(tmp_path / "0", LIMIT).lock()


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("a file")
    with pytest.raises(LedgerError, match="cannot be used"):
        Spool(tmp_path / "0", LIMIT).lock()


# Room.


def test_what_was_reserved_can_be_settled_when_the_limit_is_reached(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    of = 0
    with caplog.at_level(logging.INFO):
        while reserve(spool, of):
            of += 1
        assert not reserve(spool, of)
    assert spool.full
    assert [each.message for each in caplog.records] == ["spool full"]
    others = range(10_000, 20_000)
    taken = next(each for each in others if not settle(spool, each)) - others.start
    for each in range(of):
        assert settle(spool, each)
    assert spool.used <= LIMIT
    assert (spool.unreserved, spool.unrecorded) == (2, 1)
    expected = (*range(of), *others[:taken])
    assert set(settled_in(spool)) == {number(each) for each in expected}


def test_there_is_room_again_when_a_segment_has_gone(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    of = 0
    while settle(spool, of):
        of += 1
    assert spool.full
    caplog.clear()
    with caplog.at_level(logging.INFO):
        for segment in list(spool.segments.values())[:2]:
            spool.forget(segment)
            segment.path.unlink()
        assert is_open(spool)
        spool.look_again()
    assert [each.message for each in caplog.records] == ["spool has room again"]
    assert reserve(spool, of)


def test_content_is_dropped_where_the_record_alone_has_room(opened: Open) -> None:
    spool = opened()
    assert reserve(spool, 1)
    assert settle(spool, 1, b"x" * 2 * LIMIT)
    assert spool.contents_dropped == 1
    assert list(settled_in(spool)) == [number(1)]


def test_content_that_fits_is_kept(opened: Open) -> None:
    spool = opened()
    assert settle(spool, 1, b'{"request":"hi"}')
    (found,) = scan(last(spool).read_bytes(), whole=True).frames
    assert parts(found)[1] == b'{"request":"hi"}'


# The disk.


def test_a_full_disk_refuses_new_ones_and_keeps_what_was_reserved(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    spool = opened(write=disk.write)
    assert reserve(spool, 1)
    assert reserve(spool, 2)
    disk.full = True
    with caplog.at_level(logging.INFO):
        assert settle(spool, 1, b"{}")
        assert not reserve(spool, 3)
        assert not settle(spool, 3)
        assert spool.full
        for _ in range(3):
            spool.look_again()
        disk.full = False
        assert spool.full
        spool.look_again()
    assert is_open(spool)
    assert [each.message for each in caplog.records] == [
        "the disk refuses the spool",
        "the disk takes the spool again",
    ]
    assert settle(spool, 2)
    assert settled_in(spool) == {number(1): None, number(2): None}
    assert spool.open_count == 0
    assert (spool.unreserved, spool.unrecorded, spool.contents_dropped) == (1, 1, 1)


@pytest.mark.parametrize("takes", [0, 1, 12, 13, 14, 300])
def test_what_the_disk_takes_in_part_is_taken_back(opened: Open, takes: int) -> None:
    disk = Disk()
    spool = opened(write=disk.write)
    assert settle(spool, 1)
    disk.takes = takes
    assert not settle(spool, 2)
    disk.takes = None
    spool.look_again()
    assert settle(spool, 3)
    assert set(settled_in(spool)) == {number(1), number(3)}
    assert opened().corrupt == 0


def test_what_cannot_be_taken_back_is_left_behind(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    spool = opened(write=disk.write)
    assert settle(spool, 1)
    disk.takes = 20
    with monkeypatch.context() as patch:

        def refuses(_: int, __: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "ftruncate", refuses)
        assert not settle(spool, 2)
    disk.takes = None
    spool.look_again()
    assert settle(spool, 3)
    spool = opened()
    assert set(settled_in(spool)) == {number(1), number(3)}
    assert spool.corrupt == 0


def test_a_folder_that_vanishes_is_a_disk_that_refuses(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    (tmp_path / "0").rename(tmp_path / "away")
    assert not reserve(spool, 1)
    assert spool.full
    (tmp_path / "away").rename(tmp_path / "0")
    spool.look_again()
    assert reserve(spool, 1)


def test_what_was_lost_is_settled_when_the_disk_is_full_at_the_start(opened: Open) -> None:
    spool = opened()
    assert reserve(spool, 1)
    assert reserve(spool, 2)
    disk = Disk()
    disk.full = True
    spool = opened(write=disk.write)
    assert settled_in(spool) == {}
    disk.full = False
    spool.look_again()
    assert settled_in(spool) == {number(1): "lost", number(2): "lost"}


# Carrying over.


def test_a_long_request_does_not_hold_its_old_segment(opened: Open) -> None:
    spool = opened()
    assert reserve(spool, 1)
    spool.seal()
    (old,) = spool.segments.values()
    assert spool.carry(old)
    assert old.open == 0
    spool.forget(old)
    old.path.unlink()
    assert settled_in(opened()) == {number(1): "lost"}


def test_a_request_that_was_carried_over_is_settled_as_usual(opened: Open) -> None:
    spool = opened()
    assert reserve(spool, 1)
    spool.seal()
    (old,) = spool.segments.values()
    assert spool.carry(old)
    assert settle(spool, 1)
    assert [each.open for each in spool.segments.values()] == [0, 0]
    assert settled_in(opened()) == {number(1): None}


def test_nothing_is_carried_over_onto_a_full_disk(opened: Open) -> None:
    disk = Disk()
    spool = opened(write=disk.write)
    assert reserve(spool, 1)
    spool.seal()
    disk.full = True
    (old,) = spool.segments.values()
    assert not spool.carry(old)
    assert not spool.carry(old)
    assert old.open == 1


def test_segments_stay_short(opened: Open) -> None:
    spool = opened()
    for of in range(200):
        assert settle(spool, of)
    assert max(each.size for each in spool.segments.values()) < LIMIT // 8 + 2048
    assert len(spool.segments) > 3
    spool.sync()
    assert spool._rolled == []


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "1", LIMIT)
    spool.lock()
    spool.recover(least_number=40)
    assert settle(spool, 1)
    assert list(spool.segments) == [40]
    spool.close()


def test_a_closed_spool_takes_nothing_and_says_so(opened: Open) -> None:
    spool = opened()
    spool.close()
    spool.close()
    assert spool.full
    assert not reserve(spool, 1)
    assert not settle(spool, 1)


def test_a_disk_that_does_not_sync_is_said_and_tried_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    assert settle(spool, 1)
    synced: list[int] = []

    def refuses(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuses)
    spool.sync()
    assert "for good" in caplog.text
    monkeypatch.setattr(os, "fdatasync", synced.append)
    spool.sync()
    assert len(synced) == 1
    spool.sync()
    assert len(synced) == 1
