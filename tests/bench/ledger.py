"""What identity and ledger cost: CPU a request, questions over 90 days, memory over many requests.

`python -m tests.bench.ledger`: arms take turns in one run; the last line of stdout is one JSON
object. docs/benchmarks.md explains it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec
import uvloop

from extproc.stack import StackError
from tests.bench import ledger_memory as memory
from tests.bench import ledger_questions as questions
from tests.bench.ledger_arms import ARMS, KINDS, OFF, REDIS, SQLITE, Figures, arms, measure
from tests.bench.processes import Generator, NotReadyError, many_files
from tests.bench.report import aligned

USERS = 1000
"""Of the rounds; those of the memory's run are more."""
PHASES = ("cpu", "query", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    rounds: int
    seconds: float
    days: int
    requests: int
    phases: Sequence[str]


Rounds = dict[tuple[str, str], list[Figures]]
"""By arm and kind of request."""


async def _rounds(folder: Path, plan: Plan) -> Rounds:
    """Every arm in turn, each round beginning with another one."""
    found: Rounds = {}
    async with arms(folder) as known:
        generator = await Generator.start()
        try:
            for arm in known:
                for kind in KINDS:
                    # Connections, caches and lazy imports before anything counts.
                    await measure(arm, generator, kind, range(USERS), seconds=1.0)
            for number in range(plan.rounds):
                turn = number % len(known)
                said = []
                for kind in KINDS:
                    for arm in known[turn:] + known[:turn]:
                        one = await measure(
                            arm, generator, kind, range(USERS), seconds=plan.seconds
                        )
                        found.setdefault((arm.name, kind), []).append(one)
                        said.append(f"{arm.name} {kind} {one.cpu_us:.0f}")
                print(f"round {number + 1}, service µs a request: {', '.join(said)}", flush=True)
        finally:
            await generator.stop()
    return found


def ratios(found: Rounds, name: str, kind: str, *, store: bool = False) -> float:
    """The median of the rounds' ratios to the arm without identity and ledger. `store`: with the
    store's own process."""
    pairs = zip(found[name, kind], found[OFF, kind], strict=True)
    return median((one.cpu_us + store * one.store_us) / base.cpu_us for one, base in pairs)


def table(found: Rounds) -> str:
    """Medians."""
    rows = [["arm", "request", "requests/s", "service µs", "ratio", "store µs", "with store"]]
    for kind in KINDS:
        for name in ARMS:
            all_ = found[name, kind]
            rows.append(
                [
                    *(name, kind, f"{median(one.rps for one in all_):.0f}"),
                    f"{median(one.cpu_us for one in all_):.0f}",
                    f"{ratios(found, name, kind):.3f}",
                    f"{median(one.store_us for one in all_):.0f}",
                    f"{ratios(found, name, kind, store=True):.3f}",
                ]
            )
    return aligned(rows)


async def _cpu(folder: Path, plan: Plan) -> dict[str, Any]:
    found = await _rounds(folder, plan)
    print(f"\n{table(found)}\n")
    failed = sum(one.failed for all_ in found.values() for one in all_)
    if failed:
        print(f"{failed} answers failed or were cut")
    return {
        "cpu_ratio": round(ratios(found, SQLITE, "chat"), 3),
        "cpu_ratio_stream": round(ratios(found, SQLITE, "stream"), 3),
        "cpu_ratio_redis": round(ratios(found, REDIS, "chat"), 3),
        "cpu_ratio_redis_stream": round(ratios(found, REDIS, "stream"), 3),
        "failed": failed,
        "arms": {
            f"{name}_{kind}": {
                "cpu_us": round(median(one.cpu_us for one in all_), 1),
                "store_us": round(median(one.store_us for one in all_), 1),
            }
            for (name, kind), all_ in found.items()
        },
    }


async def run(plan: Plan) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    began = time.monotonic()
    found: dict[str, Any] = dict.fromkeys(("cpu_ratio", "query_ms", "rss_start_mb", "rss_end_mb"))
    with tempfile.TemporaryDirectory(prefix="tgb-") as name:
        folder = Path(name)
        if "cpu" in plan.phases:
            found |= await _cpu(folder / "cpu", plan)
        if "query" in plan.phases:
            found |= await questions.run(folder / "query", plan.days)
        if "memory" in plan.phases:
            found |= await memory.run(folder / "memory", plan.requests)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return found


def _phases(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    chosen = [name.strip() for name in value.split(",") if name.strip()] or list(PHASES)
    unknown = sorted(set(chosen) - set(PHASES))
    if unknown:
        raise click.BadParameter(f"no phase {unknown[0]}; there are {', '.join(PHASES)}")
    return chosen


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
              help="An arm's turn with one kind of request.")  # fmt: skip
@click.option("--days", default=90, show_default=True, type=click.IntRange(8, 370),
              help="Days of history that are asked about.")  # fmt: skip
@click.option("--requests", default=200_000, show_default=True, type=click.IntRange(6_000),
              help="Requests over which memory is watched.")  # fmt: skip
@click.option("--phases", default="", callback=_phases, metavar="NAME,…",
              help="Only these of cpu, query, memory.")  # fmt: skip
def main(*, rounds: int, seconds: float, days: int, requests: int, phases: Sequence[str]) -> None:
    """Measure what identity and ledger cost."""
    many_files()
    plan = Plan(rounds=rounds, seconds=seconds, days=days, requests=requests, phases=phases)
    try:
        found = uvloop.run(run(plan))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
