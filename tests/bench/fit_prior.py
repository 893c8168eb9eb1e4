"""Fits the prior that ships with the project: `python -m tests.bench.fit_prior DATA` writes
`extproc/cache/verifier/prior_<family>.toml` and prints what it does on streams that it has not
seen.

Rows come from two sources. *Streams*: the production core watches (nothing is served) the first
requests of each stream, so that rows of an empty cache are among them. *Pairs*: a question beside
one stored entry alone, its nearest with the same answer and its nearest with another, as a new
partition meets them. Each stream weighs the same, its pairs a third. From streams without repeats
only rows count in which that already shows: before, nothing in a request could tell.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from extproc.cache import Neighbour
from extproc.cache.core import Partition, Rules
from extproc.cache.guards import compare, signs
from extproc.cache.verifier.features import COLUMNS, INTERCEPTS, WIDTH, row
from extproc.cache.verifier.logistic import Floats, Gaussian, fit, information, probability
from extproc.cache.verifier.prior import FAMILIES
from tests.bench.cache_drive import Turn, Vectors, steps
from tests.bench.cache_embedders import embedder
from tests.bench.cache_streams import streams
from tests.bench.cache_vectors import vectors

FRESH, SINGLE_LINE, SEVERAL = 0.8, 0.9, 0.95
"""Lines before a partition has its own. Chosen on the streams left out, below: wrong answers stay
near 1 % of the requests in the worst of them."""

WATCHED, PASSES = 2_500, (11, 12)
PAIRED = 1_500
LABELS = 50.0  # of a partition's own weigh as much as the prior
RIDGE, LEAST = 0.3, 0.05
LINES = (FRESH, 0.85, SINGLE_LINE, SEVERAL, 0.98)
UNIQUE = ("unique", "creative")
_RATE = tuple(at for at, name in enumerate(COLUMNS) if name.endswith("repeat rate"))
_KNOWN = 0.7
_read = lru_cache(50_000)(signs)


class Rows(NamedTuple):
    """Features and labels of one stream."""

    stream: str
    pairs: bool
    x: Floats
    y: Floats


def watched(name: str, turns: list[Turn], table: Vectors, family: str) -> Rows:
    """What a partition sees that serves nothing."""
    x: list[Floats] = []
    y: list[bool] = []
    for seed in PASSES:
        order = np.random.default_rng(seed).permutation(len(turns))[:WATCHED]
        partition = Partition(Rules(observe=True), f"no prior for {family}")
        for decision, right in steps([turns[at] for at in order], table[order], partition):
            if decision.features is not None:
                x.append(decision.features)
                y.append(right)
    return Rows(name, False, np.array(x), np.array(y, float))


def paired(name: str, turns: list[Turn], table: Vectors) -> Rows:
    """Each question beside one entry."""
    x: list[Floats] = []
    y: list[bool] = []
    for at in np.random.default_rng(3).permutation(len(turns))[:PAIRED]:
        scores = table @ table[at]
        done: set[bool] = set()
        for other in np.argsort(-scores)[:200]:
            same = turns[other].answer == turns[at].answer
            asked, stored = _read(turns[at].text), _read(turns[other].text)
            if same in done or turns[other].text == turns[at].text or compare(asked, stored):
                continue
            done.add(same)
            near = [Neighbour(0, float(scores[other]), 0)]
            x.append(row(asked, stored, near, 0, support=1, repeats=1.0))
            y.append(same)
            if len(done) == 2:
                break
    return Rows(name, True, np.array(x), np.array(y, float))


def prior(rows: Iterable[Rows], without: str = "") -> Gaussian:
    """Fitted to every stream but one."""
    xs, ys, ws = [], [], []
    for one in rows:
        if one.stream == without or (one.pairs and one.stream in UNIQUE):
            continue
        keep = (
            one.x[:, _RATE].max(1) < _KNOWN if one.stream in UNIQUE else np.ones(len(one.x), bool)
        )
        xs.append(one.x[keep])
        ys.append(one.y[keep])
        ws.append(np.full(keep.sum(), (300.0 if one.pairs else 1000.0) / keep.sum()))
    x, y, w = np.concatenate(xs), np.concatenate(ys), np.concatenate(ws)
    mean = fit(x, y, Gaussian.flat(WIDTH, ridge=RIDGE, free=INTERCEPTS), weights=w)
    return Gaussian(mean, information(x, mean, w) * LABELS + np.eye(WIDTH) * LEAST)


def left_out(rows: list[Rows]) -> list[tuple[str, ...]]:
    """For each stream, by a prior that has not seen it: served and wrong, percent of requests,
    from several lines."""
    table = []
    for one in rows:
        p = probability(one.x, prior(rows, one.stream).mean)
        cells = [
            f"{100 * (p >= at).mean():.1f} / {100 * ((p >= at) & (one.y == 0)).mean():.2f}"
            for at in LINES
        ]
        table.append(
            (
                one.stream + (" (pairs)" if one.pairs else ""),
                str(len(p)),
                f"{one.y.mean():.2f}",
                *cells,
            )
        )
    return table


def written(gaussian: Gaussian) -> str:
    lines = ["# Made by tests/bench/fit_prior.py.", "columns = ["]
    lines += [f'  "{name}",' for name in COLUMNS]
    lines += ["]", f"fresh = {FRESH}", f"single = {SINGLE_LINE}", f"several = {SEVERAL}"]
    lines += ["mean = [" + ", ".join(f"{one:.5g}" for one in gaussian.mean) + "]", "precision = ["]
    lines += ["  [" + ", ".join(f"{one:.4g}" for one in line) + "]," for line in gaussian.precision]
    return "\n".join([*lines, "]", ""])


def collected(data: Path, family: str) -> list[Rows]:
    embed = embedder(family)
    made: list[Rows] = []
    for name, turns in streams(data).items():
        table = vectors(embed, [turn.text for turn in turns])
        made += [watched(name, turns, table, family), paired(name, turns, table)]
    return made


def figures(family: str, rows: list[Rows], gaussian: Gaussian) -> None:
    heads = (
        "stream left out",
        "rows",
        "equal",
        *(f"from {at}" for at in LINES),
    )
    print(f"\n{family}: served / wrong, % of rows")
    print(tabulate(left_out(rows), heads, disable_numparse=True))
    print(tabulate(zip(COLUMNS, (f"{one:.2f}" for one in gaussian.mean), strict=True)))


def main(arguments: Mapping[int, str]) -> None:
    folder = Path(__file__).parents[2] / "extproc" / "cache" / "verifier"
    for family in FAMILIES:
        rows = collected(Path(arguments[1]), family)
        gaussian = prior(rows)
        figures(family, rows, gaussian)
        (folder / f"prior_{family}.toml").write_text(written(gaussian), "utf-8")


if __name__ == "__main__":
    main(dict(enumerate(sys.argv)))
