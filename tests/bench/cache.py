"""What an answer out of the cache takes, beside an ext_proc service that answers at once; and what
a cache adds to a request that it cannot answer.

`python -m tests.bench.cache`: arms take turns in one run, at 16 connections and at one; the table
shows medians, the last line of stdout is one JSON object. docs/benchmarks.md explains it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from extproc.cache.embedders import MODELS, EmbedderError
from extproc.stack import StackError
from tests.bench import cache_report as report
from tests.bench.cache_arms import MINILM, NAMES, Arm, Figures, Rounds, arms, measure
from tests.bench.processes import Fleet, Generator, NotReadyError, many_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    rounds: int
    seconds: float
    wanted: frozenset[str]
    models: Path | None
    url: str | None
    model: str | None


@contextlib.asynccontextmanager
async def _everything(plan: Plan) -> AsyncIterator[tuple[list[Arm], Generator]]:
    """All processes of all arms; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="tgb-") as name:
        folder = Path(name)
        models = plan.models
        if models is None and any(one.endswith(MINILM) for one in plan.wanted):
            models = _built(folder)
        fleet = Fleet(folder)
        try:
            async with arms(
                fleet, plan.wanted, models=models, url=plan.url, model=plan.model
            ) as known:
                generator = await Generator.start()
                try:
                    yield known, generator
                finally:
                    await generator.stop()
        finally:
            await fleet.stop()


def _built(folder: Path) -> Path | None:
    """The folder of the model of `minilm`, made now; None, and why, where it cannot be."""
    from extproc.cache.embedders import building  # noqa: PLC0415 - half a second, and an extra
    from extproc.cache.embedders.minilm import FILE  # noqa: PLC0415 - as above

    try:
        graph = building.build(None, lambda _: None).graph
    except (EmbedderError, ImportError) as error:
        print(f"{MINILM} is left out: {error}")
        return None
    (folder / FILE).write_bytes(graph)
    return folder


async def _rounds(plan: Plan, known: list[Arm], generator: Generator) -> Rounds:
    """Every arm in turn, each round beginning with another one."""
    found: Rounds = {}
    for arm in known:
        # Connections, caches and lazy imports of every process before anything counts.
        await measure(arm, generator, 0.5)
    for number in range(plan.rounds):
        turn = number % len(known)
        this: dict[str, Figures] = {}
        for arm in known[turn:] + known[:turn]:
            this[arm.name] = one = await measure(arm, generator, plan.seconds)
            found.setdefault(arm.name, []).append(one)
        said = ", ".join(f"{arm.name} {this[arm.name].p50_1_ms:.2f}" for arm in known)
        print(f"round {number + 1}, p50 at one connection, ms: {said}", flush=True)
    return found


async def run(plan: Plan) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    began = time.monotonic()
    async with _everything(plan) as (known, generator):
        print(f"{len(known)} arms are up after {time.monotonic() - began:.0f} s", flush=True)
        found = await _rounds(plan, known, generator)
    print(f"\n{report.table(found)}\n")
    for line in report.notes(found):
        print(line)
    promised = report.budgets(found)
    print("Budgets:")
    for budget in promised:
        print(f"  {budget.line()}")
    print(f"\n{time.monotonic() - began:.0f} s in all. Of the cache there are also:")
    print("  make bench-cache-index DATA=folder     searching and filling the index")
    print("  make bench-cache-stream STREAM=file    hits and wrong answers on a stream")
    print("  make bench-pairs PAIRS=file            which pairs of questions the guards tell apart")
    print("  make bench-equality ANSWERS=file       which answers are taken for the same")
    return {
        "arms": report.plain(found),
        "budgets": [one.plain() for one in promised],
    }


def _arms(_: click.Context, __: click.Parameter, value: str) -> frozenset[str]:
    chosen = frozenset(name.strip() for name in value.split(",") if name.strip())
    unknown = sorted(chosen - set(NAMES))
    if unknown:
        raise click.BadParameter(f"no arm {unknown[0]}; there are {', '.join(NAMES)}")
    return chosen or frozenset(NAMES)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
              help="An arm's turn at 16 connections; at one it gets half of it.")  # fmt: skip
@click.option("--arms", "wanted", default="", callback=_arms, metavar="NAME,…",
              help="Only these.")  # fmt: skip
@click.option("--models", envvar=MODELS, type=click.Path(path_type=Path, exists=True),
              help="Folder of the model of `minilm`. Without: it is made.")  # fmt: skip
@click.option("--embedder-url", help="An endpoint for the arm `semantic_http`.")
@click.option("--embedder-model", help="The model that it is asked for.")
def main(
    *,
    rounds: int,
    seconds: float,
    wanted: frozenset[str],
    models: Path | None,
    embedder_url: str | None,
    embedder_model: str | None,
) -> None:
    """Measure what an answer out of the cache takes."""
    many_files()
    # A gateway of this run looks where it is told to, not where the caller's does.
    os.environ.pop(MODELS, None)
    plan = Plan(
        rounds=rounds, seconds=seconds, wanted=wanted, models=models,
        url=embedder_url, model=embedder_model,
    )  # fmt: skip
    try:
        found = uvloop.run(run(plan))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
