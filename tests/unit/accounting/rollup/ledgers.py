"""A ledger in memory, and traffic to fill one with."""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from extproc.accounting.rollup import Bounds, entry_of
from extproc.accounting.rollup.entries import Limits
from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.state import DAY, HOUR, MEASURES, Entry, LedgerStore, Row
from extproc.state.shared_ledger import SharedLedger
from extproc.state.sqlite import SqliteLedger
from tests.unit.state.conftest import serving

START = 20_000 * DAY
"""A day's beginning, 2024-10-04."""


class FakeLedger:
    """A LedgerStore that keeps entries and adds them up when it is asked."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    async def write(self, entries: Sequence[Entry]) -> int:
        new = [entry for entry in entries if entry.id not in self.entries]
        self.entries |= {entry.id: entry for entry in new}
        return len(new)

    async def record(self, record_id: str) -> tuple[bytes, bytes | None] | None:
        entry = self.entries.get(record_id)
        return None if entry is None else (entry.record, entry.content)

    async def records(self, since: float, until: float) -> AsyncIterator[Sequence[bytes]]:
        found = sorted(self._within(since, until), key=lambda entry: entry.started)
        for at in range(0, len(found), 100):
            yield [entry.record for entry in found[at : at + 100]]

    async def rows(self, view: str, since: int, until: int, *, bins: bool = False) -> list[Row]:
        assert since % HOUR == until % HOUR == 0
        return _rows(self._within(since, until), view, bins=bins)

    async def series(self, view: str, since: int, until: int, step: int) -> Mapping[int, list[Row]]:
        by_start: dict[int, list[Entry]] = defaultdict(list)
        for entry in self._within(since, until):
            by_start[int(entry.started // step) * step].append(entry)
        return {start: _rows(found, view, bins=False) for start, found in by_start.items()}

    async def prune(self, records_before: float, rollups_before: float) -> None:
        raise NotImplementedError

    async def generation(self) -> str:
        return "one"

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _within(self, since: float, until: float) -> list[Entry]:
        return [entry for entry in self.entries.values() if since <= entry.started < until]


def _rows(entries: Iterable[Entry], view: str, *, bins: bool) -> list[Row]:
    sums: dict[str, list[int]] = {}
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in entries:
        for cell in entry.cells:
            if cell.view == view:
                row = sums.setdefault(cell.key, [0] * len(MEASURES))
                for at, value in enumerate(cell.sums):
                    row[at] += value
                for name, count in cell.bins.items():
                    counts[cell.key][name] = counts[cell.key].get(name, 0) + count
    return [Row(key, tuple(row), counts[key] if bins else {}) for key, row in sums.items()]


@contextlib.contextmanager
def ledger(sort: str, folder: Path) -> Iterator[LedgerStore]:
    """An empty ledger by its name, closed by whoever uses it."""
    if sort == "fake":
        yield FakeLedger()
    elif sort == "sqlite":
        yield SqliteLedger(folder)
    else:
        with serving(folder / "redis.sock"):
            url = f"unix://{folder / 'redis.sock'}"
            yield SharedLedger(url, keep_records=LONG, keep_rollups=LONG)


LONG = 100.0 * 365 * DAY
"""Seconds; `START` lies in the past, and Redis forgets by itself."""


async def fill(
    store: LedgerStore, records: Iterable[RequestRecord], limits: Limits | None = None
) -> None:
    """Write records into a ledger."""
    bounds = Bounds(limits)
    entries = [entry_of(record, None, bounds) for record in records]
    for at in range(0, len(entries), 500):
        await store.write(entries[at : at + 500])


def traffic(count: int, *, seconds: float = 4 * DAY, seed: int = 1) -> list[RequestRecord]:
    """Mixed records over a span from `START`, in order of time."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        served = draw.random() > 0.1
        usage = None
        if served:
            given, made = draw.randrange(1, 9999), draw.randrange(500)
            cached = draw.randrange(given)
            usage = Usage(given, made, cached, 0, draw.randrange(made + 1), draw.random() < 0.1)
        stream = draw.random() < 0.5
        labels = tuple(
            (name, value)
            for name in ("env", "zone")
            if (value := draw.choice(["", "prod", "test", "<b>&\"'\n"]))
        )
        found.append(
            RequestRecord(
                id=f"r{number:06}",
                started=START + seconds * number / count,
                duration=draw.lognormvariate(0, 1),
                route=draw.choice(["everything", "support"]),
                target=draw.choice(["claude", "gpt"]) if served else None,
                provider=draw.choice(["anthropic", "openai"]) if served else None,
                request_model="flagship",
                response_model=draw.choice(["claude-x", "gpt-y", None]) if served else None,
                operation=draw.choice(["chat", "chat", "count_tokens"]),
                stream=stream,
                status=200 if served else draw.choice([400, 429, 503]),
                error_type=None if served else "rate_limited",
                usage=usage,
                cost=Cost(draw.randrange(10**9)) if served and draw.random() < 0.9 else None,
                ttft=draw.lognormvariate(-1, 1) if stream and served else None,
                attempts=draw.choice([1, 1, 2]),
                attribution=Attribution(
                    user=draw.choice([None, "ann", "bob", "eve"]),
                    feature=draw.choice([None, "chat", "search", "<script>"]),
                    team=draw.choice([None, "red", "blue"]),
                    labels=labels,
                ),
                aborted=draw.random() < 0.1,
                key=draw.choice([None, "k1", "k2"]),
                tenant=draw.choice([None, "acme", "other & sons"]),
                tier=draw.choice([None, "free", "pro"]),
                cache=draw.choice(["bypass", "hit", "miss", "semantic"]),
                saved=draw.choice([0, 0, 12345]),
            )
        )
    return found
