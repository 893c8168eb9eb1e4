"""Hits and wrong answers of the semantic cache on a stream of questions with known answers.

    python -m tests.bench.cache_stream FILE [--delta 0.01] [--embedder static|minilm]
        [--arms tollgate,vcache,threshold]

FILE has one `{"text": …, "answer": …}` a line, answers equal by string. Beside the production
core stand vCache's published rule and plain thresholds in the same shuffled passes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tabulate import tabulate

from extproc.cache.core import Rules
from tests.bench.cache_drive import Outcome, Store, Turn, Vectors, tollgate
from tests.bench.cache_embedders import embedder
from tests.bench.cache_vcache import vcache
from tests.bench.cache_vectors import FAMILIES, vectors

Arm = Callable[[Sequence[Turn], Vectors, int], Outcome]


def threshold(turns: Sequence[Turn], rows: Vectors, seed: int, line: float) -> Outcome:
    """Serves the nearest entry from a cosine of `line` on, whatever it says."""
    store = Store(len(turns), rows.shape[1])
    hits, wrong = [], []
    for turn, row in zip(turns, rows, strict=True):
        near = store.near(row, 1)
        hit = bool(near) and near[0].score >= line
        hits.append(hit)
        wrong.append(hit and store.truths[near[0].entry] != turn.answer)
        if not hit:
            store.add(turn.text, row, turn.answer, None)
    return Outcome.of(seed, hits, wrong, 0)


def arms(rules: Rules, family: str, chosen: Sequence[str]) -> dict[str, Arm]:
    made: dict[str, Arm] = {}
    if "tollgate" in chosen:
        made["tollgate"] = lambda turns, rows, seed: tollgate(turns, rows, family, seed, rules)
    if "vcache" in chosen:
        made["vcache"] = lambda turns, rows, seed: vcache(turns, rows, seed, rules.max_error)
    if "threshold" in chosen:
        for line in (0.85, 0.90, 0.95):
            made[f"threshold_{line:.2f}"] = lambda turns, rows, seed, at=line: threshold(
                turns, rows, seed, at
            )  # type: ignore[misc]
    return made


def read(path: Path) -> list[Turn]:
    lines = path.read_text("utf-8").splitlines()
    return [Turn(one["text"], one["answer"]) for one in map(json.loads, filter(str.strip, lines))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stream", type=Path)
    parser.add_argument("--delta", type=float, default=0.01)
    parser.add_argument("--embedder", choices=FAMILIES, default="static")
    parser.add_argument("--min-score", type=float, default=Rules().min_score)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--arms", default="tollgate,vcache,threshold")
    options = parser.parse_args()
    turns = read(options.stream)
    rows = vectors(options.embedder, [turn.text for turn in turns], embedder(options.embedder))
    rules = Rules(max_error=options.delta, min_score=options.min_score)
    results: dict[str, list[Outcome]] = {}
    started = time.monotonic()
    for name, run in arms(rules, options.embedder, options.arms.split(",")).items():
        for seed in options.seeds:
            order = np.random.default_rng(seed).permutation(len(turns))
            results.setdefault(name, []).append(run([turns[at] for at in order], rows[order], seed))
    seconds = time.monotonic() - started
    print(
        f"{options.stream.name}: {len(turns)} requests, {options.embedder}, "
        f"δ {options.delta:.1%}, {seconds:.0f} s"
    )
    heads = (
        "arm",
        "seed",
        "hit %",
        "wrong %",
        "precision %",
        "hit % 2nd half",
        "wrong % 2nd half",
        "audits",
    )
    table = [(name, *asdict(one).values()) for name, many in results.items() for one in many]
    print(tabulate(table, heads, floatfmt=".2f"))
    print(json.dumps({name: [asdict(one) for one in many] for name, many in results.items()}))


if __name__ == "__main__":
    main()
