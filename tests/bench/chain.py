"""How long a walk takes: the true four-level chain with three silent levels, and levels that
refuse or are dead.

`python -m tests.bench.chain`: a table, then one JSON object on the last line of stdout.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import msgspec
import uvloop

from extproc.headers import ATTEMPTS, TARGET
from extproc.stack import StackError
from tests.bench import report, workload
from tests.bench.gateway import Running, running
from tests.bench.load import Answer, Job, answers, percentile
from tests.bench.processes import ROOT, NotReadyError, chat_request, many_files

TRUE_CHAIN: Final = ROOT / "envoy" / "gateway.yaml"
SILENT: Final = ("anthropic", "openai", "gemini")
DEADLINES: Final = 10.0 + 8.0 + 8.0
"""Seconds that the chain gives its first three levels."""
TARGET_MS: Final = 10.0
"""What four refusing levels may add at the median."""
WALKS: Final = {
    "no walk": (None, 0),
    "1 refuses": ("walk-1", 1),
    "2 refuse": ("walk-2", 2),
    "3 refuse": ("walk-3", 3),
    "4 refuse": ("walk-4", 4),
    "1 is dead": ("walk-dead", 0),
}
_TURNS: Final = 5


@dataclass(frozen=True, slots=True)
class Waited:
    """One walk of the true chain."""

    title: str
    status: int
    target: str
    attempts: str
    first_s: float
    total_s: float
    whole: bool

    @classmethod
    def of(cls, title: str, answer: Answer, *, stream: bool) -> Waited:
        """From what came."""
        return cls(
            title=title,
            status=answer.status,
            target=answer.header(TARGET),
            attempts=answer.header(ATTEMPTS),
            first_s=answer.first_ms / 1000,
            total_s=answer.total_ms / 1000,
            whole=answer.whole and (answer.done or not stream),
        )


def _flagship(*, stream: bool, silence: str) -> bytes:
    body: dict[str, object] = {
        "model": "flagship",
        "messages": [{"role": "user", "content": "Who is there?"}],
        "stream": stream,
    }
    by = {"by": {name: {"silence": silence} for name in SILENT}}
    return chat_request(body, [(workload.SCRIPT, msgspec.json.encode(by).decode())])


async def wait(gateway: Running) -> list[Waited]:
    """All at once: the levels' deadlines run side by side."""
    asked = {
        "whole answer, levels 1 to 3 silent": (False, "before_head"),
        "stream, levels 1 to 3 silent": (True, "before_head"),
        "stream, levels 1 to 3 silent after their 200": (True, "after_head"),
    }

    async def one(title: str, *, stream: bool, how: str) -> Waited:
        request = _flagship(stream=stream, silence=how)
        job = Job(port=gateway.port, requests=[request], connections=1, each=1, keep=True)
        found = await answers(job)
        return Waited.of(title, found[0] if found else Answer(), stream=stream)

    return await asyncio.gather(
        *(one(title, stream=stream, how=how) for title, (stream, how) in asked.items())
    )


@dataclass(frozen=True, slots=True)
class Walked:
    """Many walks of one kind. Times in milliseconds."""

    median_ms: float
    p99_ms: float
    added_ms: float
    """The median beyond that of a request that walks nowhere."""
    served: int
    asked: int


async def walk(gateway: Running, requests: int) -> dict[str, Walked]:
    """One request at a time, the kinds in turn."""
    each = max(1, requests // _TURNS)
    times: dict[str, list[float]] = {title: [] for title in WALKS}
    for turn in range(_TURNS + 1):
        for title, (feature, levels) in WALKS.items():
            sim = workload.refusals(levels) if levels else None
            request = workload.chat(feature=feature, sim=sim)
            job = Job(port=gateway.port, requests=[request], connections=1, each=each)
            found = await answers(job)
            if turn:  # the first one warms up
                times[title] += [one.total_ms for one in found if one.whole and one.status == 200]
    base = median(times["no walk"]) if times["no walk"] else math.nan
    return {
        title: Walked(
            median_ms=percentile(values, 0.5),
            p99_ms=percentile(values, 0.99),
            added_ms=percentile(values, 0.5) - base,
            served=len(values),
            asked=each * _TURNS,
        )
        for title, values in times.items()
    }


async def run(requests: int, *, true_chain: bool) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    waited: list[Waited] = []
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        if true_chain:
            print(f"the true chain: three silent levels take {DEADLINES:g} s", flush=True)
            async with running(Path(name) / "chain", TRUE_CHAIN) as gateway:
                waited = await wait(gateway)
            print(f"\n{_waited_table(waited)}\n", flush=True)
        async with running(Path(name) / "walks") as gateway:
            walked = await walk(gateway, requests)
    print(f"{_walked_table(walked)}\n")
    four = walked["4 refuse"]
    verdict = "kept" if four.added_ms <= TARGET_MS else "NOT KEPT"
    print(f"four refusing levels add {four.added_ms:.1f} ms, at most {TARGET_MS:g}: {verdict}")
    return {"chain": [_plain(one) for one in waited],
            "walks": {title: _plain(one) for title, one in walked.items()}}  # fmt: skip


def _plain(one: Waited | Walked) -> Mapping[str, Any]:
    """NaN, which JSON has not, becomes null."""
    found: Mapping[str, Any] = msgspec.to_builtins(one)
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in found.items()
    }


def _waited_table(waited: list[Waited]) -> str:
    rows = [["walk", "status", "target", "attempts", "first byte s", "end s", "beyond s", "whole"]]
    for one in waited:
        beyond = one.first_s - DEADLINES
        whole = "yes" if one.whole else "NO"
        rows.append([one.title, str(one.status), one.target, one.attempts, f"{one.first_s:.3f}",
                     f"{one.total_s:.3f}", f"{beyond:.3f}", whole])  # fmt: skip
    return report.aligned(rows)


def _walked_table(walked: Mapping[str, Walked]) -> str:
    rows = [["walk", "served", "median ms", "p99 ms", "added ms"]]
    for title, one in walked.items():
        rows.append([title, f"{one.served} of {one.asked}", f"{one.median_ms:.2f}",
                     f"{one.p99_ms:.2f}", f"{one.added_ms:.2f}"])  # fmt: skip
    return report.aligned(rows)


@click.command()
@click.option("--requests", default=200, show_default=True, type=click.IntRange(1, 100_000),
              help="Requests of each kind of walk.")  # fmt: skip
@click.option("--true-chain/--no-true-chain", default=True, show_default=True,
              help="The four-level chain with its real deadlines: half a minute.")  # fmt: skip
def main(*, requests: int, true_chain: bool) -> None:
    """Measure how long walks take."""
    many_files()
    try:
        found = uvloop.run(run(requests, true_chain=true_chain))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
