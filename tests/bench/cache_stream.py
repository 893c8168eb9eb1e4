"""Hits and wrong answers of the semantic cache on a stream of questions with known answers.

    python -m tests.bench.cache_stream FILE [--delta 0.01] [--embedder static|minilm]
        [--arms tollgate,vcache,threshold] [--plot FILE.svg]

FILE has one `{"text": …, "answer": …}` a line, answers equal by string. Beside the production
core stand vCache's published rule and plain thresholds in the same shuffled passes. `--plot` draws
wrong answers against hits, of the two rules that take a δ at several.
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
from tests.bench.cache_files import lines, share
from tests.bench.cache_plot import Point, plot
from tests.bench.cache_vcache import vcache
from tests.bench.cache_vectors import FAMILIES, vectors

ARMS = ("tollgate", "vcache", "threshold")
DELTAS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05)
LINES = (0.8, 0.85, 0.9, 0.95, 0.98)
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
    """Raises SystemExit that names the line which is none."""
    turns = []
    for number, line in lines(path):
        try:
            one = json.loads(line)
            turn = Turn(one["text"], one["answer"])
        except (ValueError, KeyError, TypeError):
            turn = Turn("", None)  # type: ignore[arg-type]
        if not (isinstance(turn.text, str) and isinstance(turn.answer, str)):
            raise SystemExit(f'{path}, line {number}: not {{"text": "…", "answer": "…"}}')
        turns.append(turn)
    return turns


def passes(
    options: argparse.Namespace, turns: list[Turn], rows: Vectors
) -> dict[str, list[Outcome]]:
    """Every arm once a seed."""
    rules = Rules(max_error=options.delta, min_score=options.min_score)
    results: dict[str, list[Outcome]] = {}
    for name, run in arms(rules, options.embedder, options.arms.split(",")).items():
        for seed in options.seeds:
            order = np.random.default_rng(seed).permutation(len(turns))
            results.setdefault(name, []).append(run([turns[at] for at in order], rows[order], seed))
    return results


def drawn(options: argparse.Namespace, turns: list[Turn], rows: Vectors) -> str:
    """The plot, of the first seed."""
    seed = options.seeds[0]
    order = np.random.default_rng(seed).permutation(len(turns))
    shuffled, placed = [turns[at] for at in order], rows[order]
    found: dict[str, list[Point]] = {"tollgate": [], "vcache": [], "threshold": []}
    for delta in DELTAS:
        rules = Rules(max_error=delta, min_score=options.min_score)
        core = tollgate(shuffled, placed, options.embedder, seed, rules)
        other = vcache(shuffled, placed, seed, delta)
        found["tollgate"].append((core.hit, core.wrong))
        found["vcache"].append((other.hit, other.wrong))
    for line in LINES:
        plain = threshold(shuffled, placed, seed, line)
        found["threshold"].append((plain.hit, plain.wrong))
    title = (
        f"{options.stream.stem}, {options.embedder}, max_error {DELTAS[0]:.1%} to {DELTAS[-1]:.0%}"
    )
    return plot(title, found, limit=100.0 * options.delta)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stream", type=Path)
    parser.add_argument("--delta", type=share, default=0.01)
    parser.add_argument("--embedder", choices=FAMILIES, default="static")
    parser.add_argument("--min-score", type=float, default=Rules().min_score)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    options = parser.parse_args()
    unknown = set(options.arms.split(",")) - set(ARMS)
    if unknown:
        parser.error(f"there is no arm {', '.join(sorted(unknown))}; there are {', '.join(ARMS)}")
    turns = read(options.stream)
    started = time.monotonic()
    rows = vectors(embedder(options.embedder), [turn.text for turn in turns])
    results = passes(options, turns, rows)
    if options.plot:
        options.plot.write_text(drawn(options, turns, rows), "utf-8")
    print(
        f"{options.stream.name}: {len(turns)} requests, {options.embedder}, "
        f"δ {options.delta:.1%}, {time.monotonic() - started:.0f} s"
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
