"""What translating costs: CPU of one request or one stream, as a multiple of reading and writing
the same JSON with msgspec.

`python -m tests.bench.dialects`: arms take turns in one run, several rounds; the table shows
medians. Nothing is sent anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from time import process_time_ns
from typing import Final, cast

import click
import msgspec

from extproc.dialects import ClientFormat, Counted, Dialect, StreamReader, formats, load
from extproc.policy import DialectName, TargetPolicy
from tests.bench import talk

MOST: Final = 3.0
"""Times the JSON alone that a translation may cost."""
STRAIGHT: Final = 1.3
"""Times as much a kB (or an event) of the largest may cost as of the one before it."""

SIZES: Final = {"1 kB": 1_000, "20 kB": 20_000, "300 kB": 300_000}
EVENTS: Final = (50, 2_000)
PIECE: Final = 16_384
"""Bytes of a piece when events do not come one by one: what Envoy reads at once."""
_READ: Final = "read strictly"
"""What the gateway does with every body before any target is chosen: no translation, so no goal."""
_SLOT: Final = 2_000_000
"""Nanoseconds that one measurement takes at least."""

_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.decode


@dataclass(slots=True)
class Cell:
    """One thing that is measured, beside the same JSON alone."""

    row: str
    column: str
    amount: float
    """kB or events, for the cost of one."""
    work: Callable[[], object]
    plain: Callable[[], object]
    work_us: list[float] = field(default_factory=list)
    plain_us: list[float] = field(default_factory=list)

    @property
    def us(self) -> float:
        """The work's median."""
        return median(self.work_us)

    @property
    def ratio(self) -> float:
        """The median of the rounds' own ratios: both halves of one met the same machine."""
        return median(a / b for a, b in zip(self.work_us, self.plain_us, strict=True))


def measure(cells: list[Cell], rounds: int) -> None:
    """Every cell once a round, each time beside its own yardstick."""
    counts = [(_count(cell.work), _count(cell.plain)) for cell in cells]
    for _ in range(rounds):
        for cell, (works, plains) in zip(cells, counts, strict=True):
            cell.plain_us.append(_timed(cell.plain, plains))
            cell.work_us.append(_timed(cell.work, works))


def _timed(what: Callable[[], object], count: int) -> float:
    begun = process_time_ns()
    for _ in range(count):
        what()
    return (process_time_ns() - begun) / count / 1000


def _count(what: Callable[[], object]) -> int:
    what()
    return max(1, math.ceil(_SLOT / 1000 / max(_timed(what, 1), 0.1)))


# --- what is measured ---------------------------------------------------------------------


def _target(dialect: str) -> TargetPolicy:
    return TargetPolicy(
        provider="p",
        system="s",
        dialect=cast("DialectName", dialect),
        model="flagship-2026",
        deployment="d" if dialect == "azure" else None,
        project="p-1" if dialect == "vertex" else None,
        location="europe-west1" if dialect == "vertex" else None,
    )


def _plain_body(body: bytes) -> Callable[[], object]:
    return lambda: _encode(_decode(body))


def requests(clients: dict[str, ClientFormat], dialects: dict[str, Dialect]) -> list[Cell]:
    """Reading each format strictly, and taking it to each provider, in three sizes; much said
    in turn with tools, and (`text`) one long question."""
    found = []
    for name, client in clients.items():
        for long in (False, True):
            for column, size in SIZES.items():
                body = talk.body(name, size, long=long)
                kind = f"{name}{' text' if long else ''}"

                def add(row: str, work: Callable[[], object]) -> None:
                    cell = Cell(f"{kind} {row}", column, len(body) / 1000, work, _plain_body(body))  # noqa: B023 - called at once
                    found.append(cell)

                add(_READ, _reading(client, body))
                for dialect_name, dialect in dialects.items():
                    target = _target(dialect_name)
                    request = client.decode(body)
                    if dialect.lacks(request, target) is not None:
                        continue
                    if isinstance(dialect.write(request, body, target), Counted):
                        continue
                    how = "passes" if dialect.native(name, target) else "->"
                    add(f"{how} {dialect_name}", _translating(client, dialect, target, body))
    return found


def _reading(client: ClientFormat, body: bytes) -> Callable[[], object]:
    """What the gateway filter does with a body."""
    return lambda: client.forwarded(client.parse(body), body, None)


def _translating(
    client: ClientFormat, dialect: Dialect, target: TargetPolicy, body: bytes
) -> Callable[[], object]:
    """What a target filter does with it."""

    def work() -> object:
        request = client.decode(body)
        dialect.lacks(request, target)
        return dialect.write(request, body, target)

    return work


def streams(clients: dict[str, ClientFormat], dialects: dict[str, Dialect]) -> list[Cell]:
    """Each provider's stream in each format, event by event and in pieces."""
    found = []
    for dialect_name, dialect in dialects.items():
        target = _target(dialect_name)
        for name, client in clients.items():
            if name not in talk.STREAMS:
                continue
            native = dialect.native(name, target)
            how = "passes" if native else "->"
            for count in EVENTS:
                data, sent = talk.stream(name if native else dialect_name, count)
                whole = b"".join(sent)
                edges = [*range(0, len(whole), PIECE), len(whole)]
                cut = [whole[a:b] for a, b in pairwise(edges)]
                make = _reader(client, name, dialect, target)
                for pieces, way in ((sent, "one by one"), (cut, "16 kB")):
                    cell = Cell(
                        f"{dialect_name} {how} {name}, {way}",
                        f"{count} events",
                        count,
                        _streaming(make, pieces),
                        _plain_events(data),
                    )
                    found.append(cell)
    return found


def _plain_events(data: list[bytes]) -> Callable[[], object]:
    def work() -> None:
        for one in data:
            _encode(_decode(one))

    return work


def _reader(
    client: ClientFormat, name: str, dialect: Dialect, target: TargetPolicy
) -> Callable[[], StreamReader]:
    body = talk.body(name, 1000, long=False)
    request = client.decode(body)
    wire = dialect.write(request, body, target)
    if isinstance(wire, Counted):
        raise TypeError(f"{dialect.name} sends no stream for {name}")
    if dialect.native(name, target) and not wire.reply.passed:
        return client.watch
    return lambda: dialect.stream(client.writer(request), wire.reply)


def _streaming(make: Callable[[], StreamReader], pieces: list[bytes]) -> Callable[[], object]:
    reader = make()
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    if reader.failure is not None or not reader.finished:
        raise ValueError(f"the stream was not read: {reader.failure}")

    def work() -> None:
        reader = make()
        feed = reader.feed
        for piece in pieces:
            feed(piece)
        reader.end()

    return work


# --- what is told -------------------------------------------------------------------------


def table(cells: list[Cell], unit: str) -> list[str]:
    """Rows side by side; returns what misses the goal."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    columns = list(dict.fromkeys(cell.column for cell in cells))
    width = max(map(len, rows))
    head = "".join(f"{column:>12} {'x':>6}" for column in columns)
    print(f"{'':{width}}{head}{f'µs/{unit}':>10}{'growth':>8}")
    missed = []
    for row, found in rows.items():
        shown = {cell.column: f"{cell.us:12,.1f} {cell.ratio:6.2f}" for cell in found}
        line = "".join(shown.get(column, " " * 19) for column in columns)
        each = [cell.us / cell.amount for cell in found]
        growth = each[-1] / each[-2] if len(each) > 1 else math.nan
        print(f"{row:{width}}{line}{each[-1]:10.2f}{growth:8.2f}")
        if row.endswith(_READ):
            continue
        missed += [
            f"{row}, {cell.column}: {cell.ratio:.2f} x" for cell in found if cell.ratio > MOST
        ]
        if growth > STRAIGHT:
            missed.append(f"{row}: a {unit} of {found[-1].column} costs {growth:.2f} x as much")
    return missed


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--only", default="", help="Rows that contain this.")
def main(rounds: int, only: str) -> None:
    """Measure all formats and all dialects."""
    clients, dialects = formats(), load()
    missed = []
    for title, cells, unit in (
        ("requests: µs, and times the JSON alone", requests(clients, dialects), "kB"),
        ("streams: µs, and times the JSON alone", streams(clients, dialects), "event"),
    ):
        chosen = [cell for cell in cells if only in cell.row]
        if not chosen:
            continue
        measure(chosen, rounds)
        print(f"\n{title}\n")
        missed += table(chosen, unit)
    print(f"\ngoal: at most {MOST:g} x the JSON alone, and growth at most {STRAIGHT:g}")
    print("\n".join(["missed by:", *missed]) if missed else "met by all")


if __name__ == "__main__":
    main()
