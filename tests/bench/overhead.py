"""What Tollgate costs, beside Envoy alone, a no-op service and other gateways.

`python -m tests.bench.overhead`: arms take turns in one run, several rounds; the table shows
medians and spreads, the last line of stdout is one JSON object. docs/benchmarks.md explains it.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from extproc.stack import StackError
from tests.bench import report, streams
from tests.bench.arms import NAMES, Arm, Figures, build, measure
from tests.bench.gateway import Running, running
from tests.bench.processes import Fleet, Generator, NotReadyError, many_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    rounds: int
    long_rounds: int
    seconds: float
    arms: set[str]
    streams: int


@dataclass(slots=True)
class Kept:
    """Figures of the rounds that count."""

    figures: dict[str, list[Figures]] = field(default_factory=dict)
    discarded: list[str] = field(default_factory=list)
    rounds: int = 0
    """Rounds of the short arms that count."""

    def add(self, found: dict[str, Figures]) -> bool:
        """Keep a round, or say why not."""
        why = report.suspect(found)
        if why:
            self.discarded.append(why)
            print(f"round discarded: {why}")
            return False
        for name, one in found.items():
            self.figures.setdefault(name, []).append(one)
        return True


async def _rounds(plan: Plan, arms: dict[str, Arm], generator: Generator) -> Kept:
    """Every arm in turn, each round beginning with another one."""
    kept = Kept()
    short = [arm for arm in arms.values() if not arm.long]
    for arm in short:
        # Connections, caches and lazy imports of every process before anything counts.
        await measure(arm, generator, 0.3)
    number = 0
    # A discarded round is made up for, but a machine that is too busy is not waited for.
    while kept.rounds < plan.rounds and number < 2 * plan.rounds:
        turn = number % max(len(short), 1)
        number += 1
        found = {}
        for arm in short[turn:] + short[:turn]:
            found[arm.name] = await measure(arm, generator, plan.seconds)
        print(_said(f"round {number}", found), flush=True)
        kept.rounds += kept.add(found)
    for number in range(plan.long_rounds):
        found = {
            arm.name: await measure(arm, generator, plan.seconds, alone=number == 0)
            for arm in arms.values()
            if arm.long
        }
        print(_said(f"long streams {number + 1} of {plan.long_rounds}", found), flush=True)
        kept.add(found)
    return kept


def _said(title: str, found: dict[str, Figures]) -> str:
    rates = ", ".join(f"{name} {one.rps_16:.4g}" for name, one in found.items())
    return f"{title}: {rates} requests/s at 16 connections"


@contextlib.asynccontextmanager
async def _everything(plan: Plan) -> AsyncIterator[tuple[Running, dict[str, Arm], Generator]]:
    """All processes of all arms; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        folder = Path(name)
        fleet = Fleet(folder)
        try:
            async with running(folder / "gateway") as gateway:
                arms = await build(fleet, gateway, plan.arms)
                generator = await Generator.start()
                try:
                    yield gateway, arms, generator
                finally:
                    await generator.stop()
                    await fleet.stop()
        finally:
            await fleet.stop()


async def run(plan: Plan) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    began = time.monotonic()
    async with _everything(plan) as (gateway, arms, generator):
        print(f"{len(arms)} arms are up after {time.monotonic() - began:.0f} s", flush=True)
        kept = await _rounds(plan, arms, generator)
        checked = await streams.check(gateway, plan.streams) if plan.streams else None
    summary = report.Summary(kept.figures)
    budgets = report.budgets(summary, checked.lost if checked else None)
    print(f"\n{report.table(summary)}\n")
    for name in summary.arms:
        if summary.failed(name):
            print(f"{name}: {summary.failed(name)} answers failed or were cut")
    if checked:
        print(checked.line())
    if kept.discarded:
        print(f"{len(kept.discarded)} rounds were discarded")
    print("\nBudgets:")
    for budget in budgets:
        print(f"  {budget.line()}")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return {
        "arms": summary.plain(),
        "budgets": [one.plain() for one in budgets],
        "streams": checked.plain() if checked else None,
        "discarded": kept.discarded,
    }


def _arms(_: click.Context, __: click.Parameter, value: str) -> set[str]:
    chosen = {name.strip() for name in value.split(",") if name.strip()} or set(NAMES)
    unknown = sorted(chosen - set(NAMES))
    if unknown:
        raise click.BadParameter(f"no arm {unknown[0]}; there are {', '.join(NAMES)}")
    return chosen


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(0))
@click.option("--long-rounds", default=2, show_default=True, type=click.IntRange(0),
              help="Rounds of the long streams: 20 s an arm.")  # fmt: skip
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
              help="An arm's turn at 16 connections; at one it gets half of it.")  # fmt: skip
@click.option("--arms", default="", callback=_arms, metavar="NAME,…", help="Only these.")
@click.option("--streams", default=1000, show_default=True, type=click.IntRange(0, 5000),
              help="Concurrent streams of the check; 0: none.")  # fmt: skip
def main(*, rounds: int, long_rounds: int, seconds: float, arms: set[str], streams: int) -> None:
    """Measure what Tollgate costs."""
    many_files()
    plan = Plan(rounds=rounds, long_rounds=long_rounds, seconds=seconds, arms=arms, streams=streams)
    try:
        found = uvloop.run(run(plan))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
