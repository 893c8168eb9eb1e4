"""The index of vectors at 1,000 to 1,000,000 entries, beside FAISS's exhaustive one of the same
run: `python -m tests.bench.cache_index DATA [--entries N …] [--dim WIDTH]`.

The vectors are static embeddings of the texts in DATA (any .json, .jsonl, .csv), each with noise as
often as it takes; the questions are stored vectors with noise again, to a cosine of about 0.94 and
0.80. One process a size, so that what it takes of memory can be seen. Last line of stdout: one JSON
object, sizes by name.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import faiss
import numpy as np
from numpy.typing import NDArray

from extproc.cache.index.memory import MemoryIndex
from tests.bench.cache_embedders import Vectors, embedder
from tests.bench.cache_vectors import vectors

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
NEIGHBOURS: Final = 8
"""As many as the verifier looks at."""
NOISE: Final = {"near": 0.35, "far": 0.75}
STORED: Final = (0.2, 0.9)
QUESTIONS: Final = 1000
_LONGEST: Final = 600
_BATCH: Final = 500
_MOST: Final = 60_000_000_000
"""Numbers that FAISS Flat compares for the truth at most: at 1M, 230 questions of 256."""

Truth = tuple[NDArray[np.int64], NDArray[np.float32]]


def texts(data: Path) -> list[str]:
    """Every text of a folder, once each."""
    found = {
        text
        for path in sorted(data.rglob("*"))
        for text in _of(path)
        if 8 <= len(text) <= _LONGEST  # neither a label nor a document
    }
    if not found:
        raise click.ClickException(f"there is no text in {data}")
    return sorted(found)


def _of(path: Path) -> Iterator[str]:
    if path.suffix == ".json":
        yield from _strings(json.loads(path.read_text("utf-8")))
    elif path.suffix == ".jsonl":
        for line in path.read_text("utf-8").splitlines():
            yield from _strings(json.loads(line))
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                yield from row


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


class Corpus:
    """Base vectors with noise, made a batch at a time and the same each time."""

    def __init__(self, base: Vectors, entries: int) -> None:
        self._base = base
        self.entries = entries
        self.dim = base.shape[1]

    def batch(self, at: int) -> Vectors:
        draw = np.random.default_rng((1, at))
        many = min(_BATCH, self.entries - at)
        rows = self._base[draw.integers(0, len(self._base), many)]
        return self._noisy(rows, draw.uniform(*STORED, many).astype(np.float32)[:, None], draw)

    def questions(self, many: int, noise: float) -> Vectors:
        draw = np.random.default_rng(2)
        chosen = draw.integers(0, self.entries, many)
        rows = np.stack([self.batch(one - one % _BATCH)[one % _BATCH] for one in chosen.tolist()])
        return self._noisy(rows, noise, draw)

    def _noisy(self, rows: Vectors, noise: Any, draw: np.random.Generator) -> Vectors:
        moved = rows + noise / self.dim**0.5 * draw.standard_normal(rows.shape, np.float32)
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit


def rss() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


class Pulse:
    """How long the event loop's own thread works without a break, and how much memory there was at
    most."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.most = 0

    async def beat(self) -> None:
        number, before = 0, time.thread_time()
        while True:
            # What the loop's other callbacks work in one turn is between two of these.
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            number += 1
            if number % 100 == 0:
                self.most = max(self.most, rss())
                await asyncio.sleep(0.001)
            before = time.thread_time()


async def measure(corpus: Corpus) -> dict[str, Any]:
    """All figures of one size."""
    corpus.batch(0)
    index = MemoryIndex("static-256", corpus.dim)
    ids = np.random.default_rng(3).permutation(np.arange(1, corpus.entries + 1)) * 1_000_003
    pulse, before = Pulse(), rss()
    beating = asyncio.create_task(pulse.beat())
    spent = 0.0
    for at in range(0, corpus.entries, _BATCH):
        rows = await asyncio.to_thread(corpus.batch, at)
        started = time.perf_counter()
        await index.add(b"partition", ids[at : at + _BATCH], rows)
        spent += time.perf_counter() - started
    started = time.perf_counter()
    await index.settled()
    settled = time.perf_counter() - started
    beating.cancel()
    figures = {
        "entries": corpus.entries,
        "groups": sum(len(one.groups) for one in index._partitions[b"partition"].groups),
        "added_per_second": round(corpus.entries / spent),
        "settled_seconds": round(settled, 1),
        "bytes_per_entry": round((rss() - before) / corpus.entries),
        "bytes_per_entry_at_most": round((max(pulse.most, rss()) - before) / corpus.entries),
        "loop_worked_ms_at_most": round(pulse.longest * 1e3, 3),
    }
    figures |= await _one_by_one(index, corpus)
    flat = faiss.IndexFlatIP(corpus.dim)
    for at in range(0, corpus.entries, _BATCH):
        flat.add(corpus.batch(at))
    for name, noise in NOISE.items():
        many = max(100, min(QUESTIONS, _MOST // (corpus.entries * corpus.dim)))
        asked = corpus.questions(many, noise)
        figures |= {
            f"{name}_{key}": value
            for key, value in (await _compare(index, flat, ids, asked)).items()
        }
    await index.close()
    return figures


async def _one_by_one(index: MemoryIndex, corpus: Corpus) -> dict[str, float]:
    """Adding and removing, an entry at a time."""
    fresh = corpus.questions(300, 0.5)
    added = await _timed([_adding(index, at, row) for at, row in enumerate(fresh)])
    removed = await _timed([_removing(index, at) for at in range(len(fresh))])
    return {"add_p50_ms": _ms(added, 50), "remove_p50_ms": _ms(removed, 50)}


def _adding(index: MemoryIndex, at: int, row: Vectors) -> Callable[[], Awaitable[Any]]:
    return lambda: index.add(b"partition", [at * 1_000_003 + 7], row[None])


def _removing(index: MemoryIndex, at: int) -> Callable[[], Awaitable[Any]]:
    return lambda: index.remove([at * 1_000_003 + 7])


async def _timed(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[float]:
    seconds = []
    for call in calls:
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    return seconds


async def _compare(
    index: MemoryIndex, flat: faiss.IndexFlatIP, ids: NDArray[np.int64], asked: Vectors
) -> dict[str, float]:
    ours, theirs = [], []
    nearest = eight = 0
    off = 0.0
    for row in asked:
        started = time.perf_counter()
        found = await index.search(b"partition", row, NEIGHBOURS, 10.0)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        scores, numbers = flat.search(row[None], NEIGHBOURS)
        theirs.append(time.perf_counter() - started)
        wanted = ids[numbers[0]].tolist()
        got = {one.entry: one.score for one in found}
        nearest += bool(found) and found[0].entry == wanted[0]
        eight += len(got.keys() & set(wanted))
        for entry, score in zip(wanted, scores[0].tolist(), strict=True):
            off = max(off, abs(got.get(entry, score) - score))
    return {
        "p50_ms": _ms(ours, 50),
        "p99_ms": _ms(ours, 99),
        "flat_p50_ms": _ms(theirs, 50),
        "of_flat_percent": round(100 * float(np.median(ours) / np.median(theirs)), 2),
        "recall_at_1": round(nearest / len(asked), 4),
        "recall_at_8": round(eight / len(asked) / NEIGHBOURS, 4),
        "score_off_at_most": round(off, 6),
    }


def _ms(seconds: Sequence[float], percentile: float) -> float:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 4)


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--entries", multiple=True, type=int, default=SIZES, show_default=True)
@click.option("--dim", type=int, default=256, help="Width: the first numbers of each vector.")
@click.option("--here", is_flag=True, help="One size, in this process; DATA is a file of vectors.")
def main(data: Path, entries: tuple[int, ...], dim: int, *, here: bool) -> None:
    """Measure the index with the texts in DATA."""
    if here:
        faiss.omp_set_num_threads(1)
        print(json.dumps(asyncio.run(measure(Corpus(np.load(data), entries[0])))))
        return
    base = vectors(embedder("static"), texts(data))[:, :dim]
    base = base / np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-6)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "base.npy"
        np.save(file, base)
        _sizes(file, entries)


def _sizes(base: Path, entries: Sequence[int]) -> None:
    every: dict[str, Any] = {}
    for size in entries:
        command = [sys.executable, "-m", "tests.bench.cache_index", str(base), "--here"]
        command += ["--entries", str(size)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        every[str(size)] = json.loads(said.splitlines()[-1])
        for name, value in every[str(size)].items():
            print(f"{size:>9,}  {name:<26} {value:>12,}", flush=True)
    print(json.dumps(every))


if __name__ == "__main__":
    main()
