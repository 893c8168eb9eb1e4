"""`python -m tests.fuzz [NAME…] --seconds 600`: look for inputs that a target does not pass."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

import click

from tests.fuzz import corpus, findings, targets
from tests.fuzz.target import Target

_RUNS = re.compile(r"stat::number_of_executed_units: +(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")
_RAISED = "Uncaught Python exception"
"""What atheris writes above a traceback; all there is of a failure that does not come again."""
_SHRINKING = 30.0
"""Seconds spent on making the input of a crash smaller."""


def fuzz(target: Target, seconds: int, work: Path) -> list[str]:
    """Run one target for so long, going on behind each finding; returns what was found."""
    folder = work / "corpus"
    folder.mkdir(parents=True)
    for data in (*target.samples, *(one.read_bytes() for one in corpus.seeds(target.name))):
        (folder / corpus.named(data)).write_bytes(data)
    told: dict[str, str] = {}
    until = time.monotonic() + seconds
    runs = coverage = 0
    while (left := round(until - time.monotonic())) > 0:
        found = work / f"found-{len(told)}"
        found.mkdir()
        output = _run(target.name, left, folder, found, list(told))
        runs += sum(map(int, _RUNS.findall(output)))
        coverage = max([coverage, *map(int, _COVERAGE.findall(output))])
        artifacts = sorted(found.iterdir())
        if not artifacts:
            if not _RUNS.search(output):
                told["?"] = f"{target.name} did not run:\n{output[-3000:]}"
            break
        new = dict(_report(target, one, output) for one in artifacts)
        again = new.keys() <= told.keys()
        told |= new
        if again:  # a finding that is no exception: too slow, or too much memory
            break
    many = corpus.reduce(target, folder.iterdir(), work, told)
    click.echo(
        f"{target.name}: {runs} runs, coverage {coverage}, {many} kept, {len(told)} findings"
    )
    return list(told.values())


def _run(name: str, seconds: int, folder: Path, found: Path, known: list[str]) -> str:
    arguments = [
        str(folder),
        f"-max_total_time={seconds}",
        f"-max_len={corpus.LARGEST}",
        f"-artifact_prefix={found}/",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        corpus.engine(name, arguments, known),
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    return done.stderr


def _report(target: Target, artifact: Path, output: str) -> tuple[str, str]:
    """Keep a finding, as small as it gets; its place and what to tell."""
    data = artifact.read_bytes()
    met = findings.failure(target.check, data)
    if met is None:
        kind = artifact.name.partition("-")[0]
        said = output.partition(_RAISED)[2][:3000]
        return kind, f"{corpus.keep(target.name, kind, data)}\n  {data!r}\n  {said}"
    small = findings.shrunk(target.check, data, _SHRINKING)
    path = corpus.keep(target.name, "crash", small)
    return met.place, f"{path}\n  {small!r}\n  {findings.failure(target.check, small)}"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seconds", default=600, show_default=True, help="How long for each target.")
@click.option("--jobs", default=2, show_default=True, help="Targets at a time.")
@click.option("--list", "listed", is_flag=True, help="Print the targets' names only.")
def main(names: tuple[str, ...], seconds: int, jobs: int, *, listed: bool) -> None:
    """Fuzz the targets NAMES (`*` stands for anything), or all."""
    every = targets.every()
    chosen = [
        one
        for name, one in every.items()
        if not names or any(fnmatchcase(name, want) for want in names)
    ]
    if not chosen:
        raise click.UsageError("no such target; --list shows them")
    if listed:
        click.echo("\n".join(one.name for one in chosen))
        return
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        with ThreadPoolExecutor(jobs) as pool:
            found = list(pool.map(lambda one: fuzz(one, seconds, work / one.name), chosen))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    told = [one for each in found for one in each]
    click.echo("\n".join(told))
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
