"""What limits cost, how exactly they hold, and whom the queue protects.

`python -m tests.bench.limits`: arms take turns in one run; the last line of stdout is one JSON
object. docs/benchmarks.md explains it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from extproc.stack import StackError
from tests.bench import limits_cost as cost
from tests.bench import limits_queue as queue
from tests.bench import limits_race as race
from tests.bench.processes import NotReadyError, many_files

PHASES = ("cost", "race", "queue")
PROMISED = (
    "overshoot_tokens",
    "overshoot_tokens_estimated",
    "ratio_memory_5",
    "ratio_redis_5",
    "quiet_p95_ratio",
)
"""In the JSON object always; `null` where its phase was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    rounds: int
    seconds: float
    races: int
    race_seconds: float
    bursts: int
    phases: Sequence[str]


async def run(plan: Plan) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    began = time.monotonic()
    found: dict[str, Any] = dict.fromkeys(PROMISED)
    with tempfile.TemporaryDirectory(prefix="tgb-") as name:
        folder = Path(name)
        if "cost" in plan.phases:
            found |= await cost.run(folder / "cost", plan.rounds, plan.seconds)
        if "race" in plan.phases:
            found |= await race.run(plan.races, plan.race_seconds)
        if "queue" in plan.phases:
            found |= await queue.run(folder / "queue", plan.bursts)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return found


def _phases(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    chosen = [name.strip() for name in value.split(",") if name.strip()] or list(PHASES)
    unknown = sorted(set(chosen) - set(PHASES))
    if unknown:
        raise click.BadParameter(f"no phase {unknown[0]}; there are {', '.join(PHASES)}")
    return chosen


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1),
              help="Rounds of the arms of cost.")  # fmt: skip
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
              help="An arm's turn.")  # fmt: skip
@click.option("--races", default=5, show_default=True, type=click.IntRange(1),
              help="Races for each limit and number of workers.")  # fmt: skip
@click.option("--race-seconds", default=3.0, show_default=True, type=click.FloatRange(0.5, 60))
@click.option("--bursts", default=3, show_default=True, type=click.IntRange(1),
              help="Rounds of the queue's bursts.")  # fmt: skip
@click.option("--phases", default="", callback=_phases, metavar="NAME,…",
              help="Only these of cost, race, queue.")  # fmt: skip
def main(*, phases: Sequence[str], **numbers: Any) -> None:
    """Measure what limits cost and what they hold."""
    many_files()
    plan = Plan(phases=phases, **numbers)
    try:
        found = uvloop.run(run(plan))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
