"""Precision and recall of guards and verifier on pairs of questions, beside plain cosine:
`python -m tests.bench.cache_pairs FILE [--embedder static|minilm]`.

FILE has one `{"a": …, "b": …, "same": true|false}` a line. Each pair meets a new partition with
the shipped prior: `a` is stored, `b` is asked.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from extproc.cache import Neighbour
from extproc.cache.core import Decision, Partition, Rules
from tests.bench.cache_embedders import embedder
from tests.bench.cache_files import lines, share
from tests.bench.cache_vectors import FAMILIES, vectors


def read(path: Path) -> list[dict[str, Any]]:
    """Raises SystemExit that names the line which is none."""
    pairs = []
    for number, line in lines(path):
        try:
            pair = json.loads(line)
            good = [type(pair[key]) for key in ("a", "b", "same")] == [str, str, bool]
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise SystemExit(f'{path}, line {number}: not {{"a": "…", "b": "…", "same": true}}')
        pairs.append(pair)
    return pairs


def judged(a: str, b: str, score: float, family: str, rules: Rules) -> Decision:
    """What a new partition does with `b` when `a` is all it has."""
    partition = Partition(rules, family, draw=lambda: 1.0)
    return partition.decide(b, [Neighbour(0, score, 0)], lambda _: a)


def figures(said: Sequence[bool], truth: Sequence[bool]) -> dict[str, float]:
    """Percent."""
    right = sum(yes and is_so for yes, is_so in zip(said, truth, strict=True))
    return {
        "precision": round(100.0 * right / max(sum(said), 1), 2),
        "recall": round(100.0 * right / max(sum(truth), 1), 2),
        "served": sum(said),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--embedder", choices=FAMILIES, default="static")
    parser.add_argument("--delta", type=share, default=0.01)
    options = parser.parse_args()
    pairs = read(options.pairs)
    family = options.embedder
    embed = embedder(family)
    a, b = (vectors(embed, [pair[side] for pair in pairs]) for side in "ab")
    scores = [float(one) for one in (a * b).sum(1)]
    truth = [bool(pair["same"]) for pair in pairs]
    rules = Rules(max_error=options.delta)
    decisions = [
        judged(pair["a"], pair["b"], near, family, rules)
        for pair, near in zip(pairs, scores, strict=True)
    ]
    arms = {"tollgate": figures([one.would for one in decisions], truth)}
    for line in (0.75, 0.85, 0.90, 0.95):
        arms[f"guards_{line:.2f}"] = figures(
            [
                one.candidate is not None and near >= line
                for one, near in zip(decisions, scores, strict=True)
            ],
            truth,
        )
        arms[f"cosine_{line:.2f}"] = figures([near >= line for near in scores], truth)
    print(f"{options.pairs.name}: {len(pairs)} pairs, {sum(truth)} the same, {family}")
    print(
        tabulate(
            [(name, *one.values()) for name, one in arms.items()],
            ("arm", "precision %", "recall %", "served"),
        )
    )
    turned = Counter(
        (one.reason, is_so)
        for one, is_so in zip(decisions, truth, strict=True)
        if one.candidate is None
    )
    reasons = sorted({reason for reason, _ in turned})
    print(
        tabulate(
            [(r, turned[r, False], turned[r, True]) for r in reasons],
            ("guard", "different", "same (lost)"),
        )
    )
    print(json.dumps(arms))


if __name__ == "__main__":
    main()
