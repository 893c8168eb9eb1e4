"""What one record adds to the ledger."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.accounting.rollup import OTHER, VIEWS, Bounds, Limits, entry_of
from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.state import DAY, MEASURES
from tests.unit.accounting.rollup import naive
from tests.unit.accounting.rollup.ledgers import START, traffic

_FULL = VIEWS["full"]


def _record(**changes: Any) -> RequestRecord:
    plain = RequestRecord(
        id="r1", started=float(START), duration=1.0, route="all", request_model="m"
    )
    return msgspec.structs.replace(plain, **changes)


def _said(**fields: Any) -> RequestRecord:
    return _record(attribution=Attribution(**fields))


def _values(record: RequestRecord, bounds: Bounds, view: str = "full") -> dict[str, Any]:
    cells = {cell.view: cell for cell in entry_of(record, None, bounds).cells}
    return dict(zip(VIEWS[view], json.loads(cells[view].key), strict=True))


def test_a_record_has_a_row_in_each_view_and_the_same_sums_in_all() -> None:
    for record in traffic(300):
        entry = entry_of(record, None, Bounds())
        assert [cell.view for cell in entry.cells] == ["main", "user", "full"]
        for cell in entry.cells:
            assert dict(zip(MEASURES, cell.sums, strict=True)) == naive.sums([record])


def test_an_entry_holds_the_record_itself() -> None:
    record = _record(usage=Usage(1, 2), cost=Cost(3, 1, output=2))
    entry = entry_of(record, b'{"request":"","answer":""}', Bounds())
    assert msgspec.json.decode(entry.record, type=RequestRecord) == record
    assert (entry.id, entry.started) == (record.id, record.started)
    assert entry.content == b'{"request":"","answer":""}'
    assert entry_of(record, None, Bounds(), raw=b"as it was").record == b"as it was"


def test_a_count_of_tokens_and_what_used_nothing_are_not_without_a_price() -> None:
    unpriced = MEASURES.index("unpriced")
    for record, expected in (
        (_record(usage=Usage(5, 5)), 1),
        (_record(usage=Usage(5, 5), operation="count_tokens"), 0),
        (_record(usage=Usage(5, 5), cost=Cost(0)), 0),
        (_record(), 0),
    ):
        assert entry_of(record, None, Bounds()).cells[0].sums[unpriced] == expected


def test_durations_count_of_what_was_served_to_its_end() -> None:
    def bins(**changes: Any) -> set[str]:
        cells = entry_of(_record(**changes), None, Bounds()).cells
        return {name[0] for name in cells[0].bins}

    assert bins() == {"d"}
    assert bins(ttft=0.5) == {"d", "t"}
    assert bins(ttft=0.5, aborted=True) == {"t"}
    assert bins(status=503) == set()


def test_the_model_is_the_one_that_answered_else_the_one_asked_for() -> None:
    bounds = Bounds()
    assert _values(_record(response_model="gpt-y"), bounds)["model"] == "gpt-y"
    assert _values(_record(), bounds)["model"] == "m"
    assert _values(_record(request_model=""), bounds)["model"] is None


def test_a_million_users_take_bounded_rows_and_memory() -> None:
    bounds = Bounds(Limits(main=100, user=200, full=300))
    keys: dict[str, set[str]] = {view: set() for view in VIEWS}
    for number in range(5_000):
        record = _said(user=f"u{number}", feature=f"f{number}", labels=(("id", f"{number}"),))
        for cell in entry_of(record, None, bounds).cells:
            keys[cell.view].add(cell.key)
    # Those beyond are one row: its tenant, route and so on are all the same.
    assert [len(keys[view]) for view in ("main", "user", "full")] == [101, 201, 301]
    assert bounds.held < 100 + 200 + 300 + 2 * 1_000 + 10


def test_what_operators_say_stays_apart_longest() -> None:
    bounds = Bounds(Limits(main=2, user=2, full=2))
    for number in range(2):
        _values(_said(user=f"u{number}"), bounds)
    late = _record(
        tenant="acme",
        key="k1",
        attribution=Attribution(user="late", feature="f", team="red", labels=(("a", "b"),)),
    )
    found = _values(late, bounds)
    assert {name for name, value in found.items() if value == OTHER} == {"user", "feature"}
    assert found["labels"] == [["*", OTHER]]
    # One row of each coarser sort has room here: the next gives up its team and model too.
    found = _values(msgspec.structs.replace(late, tenant="second"), bounds)
    assert (found["tenant"], found["team"], found["model"]) == ("second", OTHER, OTHER)
    found = _values(msgspec.structs.replace(late, tenant="third"), bounds)
    assert set(map(str, found.values())) == {OTHER, str([["*", OTHER]])}


def test_what_was_kept_apart_stays_so_all_day() -> None:
    bounds = Bounds(Limits(user=1))
    assert _values(_said(user="first"), bounds, "user")["user"] == "first"
    assert _values(_said(user="second"), bounds, "user")["user"] == OTHER
    assert _values(_said(user="first"), bounds, "user")["user"] == "first"


def test_each_label_has_its_own_number_of_values_and_names_are_bounded() -> None:
    bounds = Bounds(Limits(values=2, names=3))
    for number in range(5):
        found = _values(_said(labels=(("a", f"{number}"), ("b", "same"))), bounds)
        expected = OTHER if number > 1 else f"{number}"
        assert found["labels"] == [["a", expected], ["b", "same"]]
    assert _values(_said(labels=(("c", "x"),)), bounds)["labels"] == [["c", "x"]]
    assert _values(_said(labels=(("d", "x"), ("e", "y"))), bounds)["labels"] == [[OTHER, OTHER]]
    bounds = Bounds(Limits(values=2))
    for number in range(5):
        expected = f"m{number}" if number < 2 else OTHER
        assert _values(_record(request_model=f"m{number}"), bounds)["model"] == expected


def test_memory_is_given_back_when_the_day_is_over() -> None:
    bounds = Bounds()
    for day in range(10):
        for number in range(100):
            record = _record(
                started=START + day * DAY + number, attribution=Attribution(user=f"u{number}")
            )
            entry_of(record, None, bounds)
    one_day = Bounds()
    for number in range(100):
        entry_of(_said(user=f"u{number}"), None, one_day)
    assert bounds.held == 3 * one_day.held


def test_days_that_are_over_leave_nothing_behind() -> None:
    def days(bounds: Bounds, count: int) -> None:
        for day in range(count):
            entry_of(_record(started=float(START + day * DAY)), None, bounds)

    bounds = Bounds()
    days(bounds, 3)
    tracemalloc.start()
    try:
        days(bounds, 13)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Those of the first three days were not traced: what is here are the tables of three others.
    assert taken < 3 * 2_200_000


def test_new_users_take_no_memory_once_the_caches_are_full() -> None:
    bounds = Bounds()

    def ask(users: range) -> int:
        for number in users:
            entry_of(_said(user=f"user-{number:06}", feature=f"f{number % 20}"), None, bounds)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, last = ask(range(2_000)), ask(range(2_000, 10_000))
    finally:
        tracemalloc.stop()
    assert last - first < 50_000


def test_a_new_day_has_room_again() -> None:
    bounds = Bounds(Limits(user=1))
    _values(_said(user="first"), bounds)
    tomorrow = msgspec.structs.replace(_said(user="second"), started=float(START + DAY))
    assert _values(tomorrow, bounds, "user")["user"] == "second"


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a\nb\r\x00\x1b[31m", '","x":"', OTHER, "\u2028", "=1+1"]
)
def test_values_are_data_whatever_they_look_like(text: str) -> None:
    record = _record(tenant=text, attribution=Attribution(user=text, labels=(("env", text),)))
    found = _values(record, Bounds())
    assert (found["tenant"], found["user"], found["labels"]) == (text, text, [["env", text]])


def test_long_values_and_many_labels_are_cut() -> None:
    labels = tuple((f"l{number:03}", "x" * 10_000) for number in range(100))
    record = _record(tenant="t" * 10_000, attribution=Attribution(user="u" * 10_000, labels=labels))
    entry = entry_of(record, None, Bounds())
    assert max(len(cell.key) for cell in entry.cells) < 6_000
    found = _values(record, Bounds())
    assert found["user"] == "u" * 256
    assert [len(value) for _, value in found["labels"]] == [256] * 16


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            _said,
            user=st.none() | st.text(max_size=3),
            feature=st.none() | st.sampled_from("abcdef"),
            team=st.none() | st.text(max_size=2),
            labels=st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)), max_size=3).map(
                lambda pairs: tuple(sorted(dict(pairs).items()))
            ),
        ),
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_no_bound_loses_a_request(records: list[RequestRecord], most: int) -> None:
    bounds = Bounds(Limits(main=most, user=most, full=most, values=most, names=most))
    keys: dict[str, set[str]] = {view: set() for view in VIEWS}
    for record in records:
        entry = entry_of(record, None, bounds)
        assert [cell.view for cell in entry.cells] == list(VIEWS)
        assert all(cell.sums[0] == 1 for cell in entry.cells)
        for cell in entry.cells:
            keys[cell.view].add(cell.key)
            assert len(json.loads(cell.key)) == len(VIEWS[cell.view])
    # As many as allowed, two coarser sorts of one each, and what is left of all others.
    assert all(len(found) <= most + 2 + 1 for found in keys.values())
