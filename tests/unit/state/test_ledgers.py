"""Both ledgers give the same answers, and those of a sum by hand."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.state import DAY, HOUR, MEASURES, Cell, Entry, LedgerStore, StateError
from extproc.state.spans import MOST
from tests.unit.state.conftest import LedgerMaker
from tests.unit.state.entries import START, added, all_records, by_key, cell, entry

EVER = (0, START + 1000 * DAY)


async def test_a_record_comes_back_with_its_content(ledger: LedgerStore) -> None:
    written = [entry("a", content=b"said"), entry("b"), entry("c", content=b"")]
    assert await ledger.write(written) == 3
    assert await ledger.record("a") == (b'{"id": "a"}', b"said")
    assert await ledger.record("b") == (b'{"id": "b"}', None)
    assert await ledger.record("c") == (b'{"id": "c"}', b"")
    assert await ledger.record("nobody") is None


async def test_nothing_written_is_nothing_found(ledger: LedgerStore) -> None:
    assert await ledger.write([]) == 0
    assert await ledger.rows("main", *EVER) == []
    assert await ledger.rows("main", START, START) == []
    assert await ledger.series("main", START, START + DAY, HOUR) == {}
    assert await all_records(ledger, *EVER) == []
    await ledger.prune(START, START)
    await ledger.ping()


async def test_an_entry_counts_once_however_often_it_comes(ledger: LedgerStore) -> None:
    one, two, three = entry("1"), entry("2"), entry("3")
    assert await ledger.write([one, two, one]) == 2
    assert await ledger.write([one, two]) == 0
    assert await ledger.write([two, three, one]) == 1
    (row,) = await ledger.rows("main", *EVER)
    assert row.sums[0] == 3
    assert row.sums[MEASURES.index("cost")] == 21


async def test_the_first_of_two_with_one_id_stays(ledger: LedgerStore) -> None:
    first = entry("1", START, cell(cost=1))
    other = Entry("1", START, b"other", (cell(cost=100),), b"more")
    assert await ledger.write([first, other]) == 1
    assert await ledger.write([other]) == 0
    assert await ledger.record("1") == (first.record, None)
    (row,) = await ledger.rows("main", *EVER)
    assert row.sums[MEASURES.index("cost")] == 1


async def test_batches_that_race_count_each_entry_once(
    make_ledger: LedgerMaker, tmp_path: Path
) -> None:
    stores = [make_ledger(tmp_path), make_ledger(tmp_path)]
    entries = [entry(str(number), START + number, cell(d1=1)) for number in range(300)]
    taken = await asyncio.gather(
        stores[0].write(entries[:200]),
        stores[1].write(entries[100:]),
        stores[1].write(entries[::-1]),
        stores[0].write(entries[::3]),
    )
    assert sum(taken) == 300
    (row,) = await stores[0].rows("main", *EVER, bins=True)
    assert row.sums[0] == 300
    assert row.bins == {"d1": 300}
    for store in stores:
        await store.close()


async def test_sketches_come_only_when_asked_for_and_merge_by_name(ledger: LedgerStore) -> None:
    await ledger.write([entry("1", START, cell(d1=1, t5=1)), entry("2", START, cell(d1=2))])
    await ledger.write([entry("3", START + DAY, cell(d1=1, d7=1)), entry("4", START, cell())])
    (row,) = await ledger.rows("main", *EVER)
    assert row.bins == {}
    (row,) = await ledger.rows("main", *EVER, bins=True)
    assert row.bins == {"d1": 4, "t5": 1, "d7": 1}
    assert row.sums[0] == 4


async def test_views_and_keys_are_told_apart(ledger: LedgerStore) -> None:
    odd = '["a","\\"\\n\x00…",null,"' + "x" * 10_000 + '"]'
    await ledger.write(
        [entry("1", START, cell("main", "[]", cost=1), cell("user", "[]", cost=2), cell(key=odd))]
    )
    main = by_key(await ledger.rows("main", *EVER))
    assert set(main) == {"[]", odd}
    assert main["[]"].sums[MEASURES.index("cost")] == 1
    (user,) = await ledger.rows("user", *EVER)
    assert user.sums[MEASURES.index("cost")] == 2
    assert await ledger.rows("use", *EVER) == []


async def test_no_single_record_can_spoil_a_row(ledger: LedgerStore) -> None:
    huge = Cell("main", "[]", (2**80, -(2**80), *(1,) * (len(MEASURES) - 2)))
    await ledger.write([entry("1", START, huge), entry("2", START, cell(key="[]"))])
    (row,) = await ledger.rows("main", *EVER)
    assert row.sums[:3] == (MOST + 1, -MOST, 1)


async def test_sums_are_exact_to_the_nano_dollar(ledger: LedgerStore) -> None:
    dollars = 8_000_000 * 10**9
    parts = [entry(str(n), START, cell(cost=dollars // 16 + n % 2)) for n in range(16)]
    await ledger.write(parts)
    (row,) = await ledger.rows("main", *EVER)
    assert row.sums[MEASURES.index("cost")] == dollars + 8


async def test_records_come_oldest_first_and_whole(ledger: LedgerStore) -> None:
    # Shuffled, many with the same start, more than a page, over three days.
    numbers = [number * 7919 % 1300 for number in range(1300)]
    entries = [entry(f"{n:04}", START + n // 10 * 2000.25, cell()) for n in numbers]
    for at in range(0, len(entries), 400):
        await ledger.write(entries[at : at + 400])
    expected = sorted(entries, key=lambda one: one.started)
    found = await all_records(ledger, *EVER)
    assert sorted(found) == sorted(one.record for one in expected)
    starts = {one.record: one.started for one in entries}
    assert [starts[record] for record in found] == [one.started for one in expected]
    since, until = START + 2000.25, START + 40 * 2000.25
    within = [one.record for one in expected if since <= one.started < until]
    assert sorted(await all_records(ledger, since, until)) == sorted(within)
    sizes = [len(batch) async for batch in ledger.records(*EVER)]
    assert max(sizes) <= 500


async def test_records_and_rollups_are_forgotten_each_by_its_own_age(ledger: LedgerStore) -> None:
    old = entry("old", START + HOUR, cell(key="gone", d1=1), content=b"c")
    noon = entry("noon", START + DAY + 12 * HOUR, cell(d1=1), content=b"c")
    late = entry("late", START + DAY + 13 * HOUR, cell(d1=1))
    await ledger.write([old, noon, late])
    await ledger.prune(START + DAY + 12.5 * HOUR, START)
    assert await all_records(ledger, *EVER) == [late.record]
    assert await ledger.record("noon") is None
    assert by_key(await ledger.rows("main", *EVER, bins=True)) == added(
        [old, noon, late], "main", *EVER
    )
    await ledger.prune(START, START + DAY + 12.5 * HOUR)
    assert await ledger.record("late") == (late.record, None)
    assert by_key(await ledger.rows("main", *EVER, bins=True)) == added([noon, late], "main", *EVER)
    assert sorted(await ledger.series("main", *EVER, DAY)) == [START + DAY]
    await ledger.prune(START + 2 * DAY, START + 2 * DAY)
    assert await ledger.rows("main", *EVER) == []
    assert await all_records(ledger, *EVER) == []


async def test_many_records_are_forgotten(ledger: LedgerStore) -> None:
    entries = [entry(f"{n:05}", START + n, cell(key=f"k{n}", d1=1)) for n in range(2600)]
    await ledger.write(entries)
    await ledger.prune(START + 2500, 0)
    assert len(await all_records(ledger, *EVER)) == 100
    await ledger.prune(0, START + DAY)
    assert await ledger.rows("main", *EVER) == []
    assert len(await all_records(ledger, *EVER)) == 100


async def test_a_series_has_what_each_period_has(ledger: LedgerStore) -> None:
    starts = [
        START + 5 * HOUR,
        START + 5.5 * HOUR,
        START + 6 * HOUR,
        START + DAY + 3,
        START + 2 * DAY,
    ]
    entries = [entry(str(n), start, cell(cost=2**n)) for n, start in enumerate(starts)]
    await ledger.write(entries)

    async def costs(since: int, until: int, step: int) -> dict[int, int]:
        found = await ledger.series("main", since, until, step)
        assert list(found) == sorted(found)
        at = MEASURES.index("cost")
        return {start - START: row.sums[at] for start, (row,) in found.items()}

    assert await costs(*EVER, HOUR) == {
        5 * HOUR: 3,
        6 * HOUR: 4,
        DAY: 8,
        2 * DAY: 16,
    }
    assert await costs(*EVER, DAY) == {0: 7, DAY: 8, 2 * DAY: 16}
    # Days that are only partly asked for hold what was asked for.
    assert await costs(START + 6 * HOUR, START + 2 * DAY, DAY) == {0: 4, DAY: 8}
    assert await costs(START + 5 * HOUR, START + 6 * HOUR, DAY) == {0: 3}
    assert await costs(START + 6 * HOUR, START + DAY, HOUR) == {6 * HOUR: 4}
    with pytest.raises(ValueError, match="60"):
        await ledger.series("main", START, START + DAY, 60)


CELLS = st.builds(
    Cell,
    view=st.sampled_from(["main", "user"]),
    key=st.sampled_from(['["a"]', '["b"]', "[null]"]),
    sums=st.tuples(*(st.integers(-5, 10**12) for _ in MEASURES)),
    bins=st.dictionaries(st.sampled_from(["d1", "d-3", "t9"]), st.integers(1, 5), max_size=3),
)
ENTRIES = st.lists(
    st.builds(
        Entry,
        id=st.integers(0, 30).map(str),
        started=st.integers(0, 24 * DAY - 1).map(lambda second: START + second + 0.25),
        record=st.just(b"{}"),
        cells=st.lists(CELLS, max_size=3).map(tuple),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)
SPANS = st.tuples(st.integers(-2, 600), st.integers(-2, 600)).map(
    lambda hours: (START + min(hours) * HOUR, START + max(hours) * HOUR)
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(ENTRIES, st.lists(SPANS, min_size=1, max_size=4), st.integers(1, 12))
def test_any_span_sums_to_what_its_records_do(
    make_ledger: LedgerMaker, entries: list[Entry], spans: list[tuple[int, int]], cut: int
) -> None:
    async def check(folder: Path) -> None:
        ledger = make_ledger(folder)
        try:
            for batch in (entries[:cut], entries[cut // 2 :], entries):
                await ledger.write(batch)
            for since, until in spans:
                for view in ("main", "user"):
                    expected = added(entries, view, since, until)
                    found = await ledger.rows(view, since, until, bins=True)
                    assert by_key(found) == expected
                    for step in (HOUR, DAY):
                        series = await ledger.series(view, since, until, step)
                        for start, rows in series.items():
                            within = (max(since, start), min(until, start + step))
                            sums = {row.key: row.sums for row in rows}
                            wanted = added(entries, view, *within)
                            assert sums == {key: row.sums for key, row in wanted.items()}
                        total = sum(row.sums[0] for rows in series.values() for row in rows)
                        assert total == sum(row.sums[0] for row in expected.values())
        finally:
            await ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


async def test_a_closed_ledger_is_a_state_error(ledger: LedgerStore) -> None:
    await ledger.write([entry("1")])
    await ledger.close()
    with pytest.raises(StateError):
        await ledger.write([entry("2")])
    with pytest.raises(StateError):
        await ledger.rows("main", *EVER)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage is collected: what all tests before have left would stop every thread for as long
    as a query takes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_a_long_query_holds_up_neither_the_loop_nor_the_writer(ledger: LedgerStore) -> None:
    sums = (1,) * len(MEASURES)
    bins = {f"d{number}": 1 for number in range(20)}
    for day in range(6):
        cells = tuple(Cell("user", f'["user {n}"]', sums, bins) for n in range(3000))
        await ledger.write([entry(f"{day}", START + day * DAY, *cells)])
    clock = asyncio.get_running_loop().time
    began = clock()
    query = asyncio.create_task(ledger.rows("user", *EVER, bins=True))
    lags: list[float] = []
    written = 0
    while not query.done():
        before = clock()
        await asyncio.sleep(0)
        lags.append(clock() - before)
        if written < 3 and len(lags) % 5 == 1:
            await ledger.write([entry(f"meanwhile {written}")])
            written += 1
    assert len(await query) == 3000
    assert written == 3
    # Other threads get 5 ms each when they want to run; the query takes far longer than that.
    assert max(lags) < (clock() - began) / 3
