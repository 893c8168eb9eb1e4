"""How often the comparison of answers is wrong:
`python -m tests.bench.cache_equality FILE.csv [--embedder static]`.

FILE has, for each question, two models' full answers and whether each was right (RouteLLM's GSM8K,
columns `<model>` and `<model>_response`). Both right: the answers are equal. One right: they
differ. Both wrong: unknown.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

from extproc.cache.equality import same
from tests.bench.cache_embedders import embedder
from tests.bench.cache_files import whole
from tests.bench.cache_vectors import FAMILIES, vectors

_END = "_response"


def read(path: Path) -> tuple[list[dict[str, str]], str, str]:
    """Rows of which at least one answer was right, and the two models' names. Raises SystemExit
    for what is no such file."""
    rows = list(csv.DictReader(io.StringIO(whole(path), newline="")))
    models = [name.removesuffix(_END) for name in rows[0] if name.endswith(_END)] if rows else []
    if len(models) != 2 or not set(models) <= rows[0].keys():
        raise SystemExit(f"{path}: not two columns of answers, <model>{_END}, beside <model>")
    first, second = models
    rows = [row for row in rows if "True" in (row[first], row[second])]
    kinds = {row[first] == row[second] for row in rows}
    if kinds != {True, False}:
        raise SystemExit(f"{path}: there must be equal and different answers in it")
    return rows, first, second


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--embedder", choices=FAMILIES)
    options = parser.parse_args()
    rows, first, second = read(options.file)
    cosine: list[float | None] = [None] * len(rows)
    if options.embedder:
        embed = embedder(options.embedder)
        a, b = (vectors(embed, [row[f"{name}{_END}"] for row in rows]) for name in (first, second))
        cosine = [float(one) for one in (a * b).sum(1)]
    said = [
        same(row[f"{first}{_END}"], row[f"{second}{_END}"], near)
        for row, near in zip(rows, cosine, strict=True)
    ]
    equal = [row[first] == row[second] for row in rows]
    false_equal = sum(yes and not truth for yes, truth in zip(said, equal, strict=True))
    false_different = sum(truth and not yes for yes, truth in zip(said, equal, strict=True))
    many, others = sum(equal), len(equal) - sum(equal)
    print(
        f"{len(rows)} questions of {options.file.name}: {many} with equal answers, "
        f"{others} with different ones"
    )
    print(f"false equal      {false_equal:4d}  {100 * false_equal / others:.2f} % of the different")
    print(
        f"false different  {false_different:4d}  {100 * false_different / many:.2f} % of the equal"
    )
    figures = {
        "false_equal": round(100 * false_equal / others, 2),
        "false_different": round(100 * false_different / many, 2),
        "equal": many,
        "different": others,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
