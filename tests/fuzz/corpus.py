"""What is kept of a run: few small inputs that reach what all of them reached."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Final

from tests.fuzz import findings
from tests.fuzz.target import Target

SEEDS: Final = Path(__file__).parent / "seeds"
MOST: Final = 200
"""Inputs kept of a target."""
LARGEST: Final = 4096
"""Bytes of one input."""
_COUNTS: Final = 8
"""libFuzzer's features of one edge: how often it was taken (1, 2, 3, 4 to 7, 8 to 15, …). How often
steers a run, but what is kept of it only has to take every edge."""


def kept(name: str) -> list[Path]:
    """Every input kept of a target, findings too."""
    return sorted(one for one in (SEEDS / name).glob("*") if one.is_file())


def seeds(name: str) -> list[Path]:
    """Those that are no findings."""
    return [one for one in kept(name) if "-" not in one.name]


def named(data: bytes) -> str:
    """The file name of an input."""
    return sha1(data, usedforsecurity=False).hexdigest()[:12]


def engine(name: str, arguments: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """The command of a fuzzing process that looks for other failures than the known ones."""
    passed = "\n".join(known)
    return [sys.executable, "-m", "tests.fuzz.engine", name, passed, *arguments]


def keep(name: str, kind: str, data: bytes) -> Path:
    """Write a finding (`crash`, `timeout`, `oom`) beside the seeds: it stays until it is mended,
    and then as long as anybody likes."""
    path = SEEDS / name / f"{kind}-{named(data)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def reduce(target: Target, found: Iterable[Path], work: Path, known: Iterable[str] = ()) -> int:
    """Keep of the inputs those that together cover what all cover. Returns how many.

    An input that fails, at a `known` place or at another, is left out: it is a finding, no seed.
    """
    inputs = {one.read_bytes() for one in found if one.stat().st_size <= LARGEST}
    inputs.update(one for one in target.samples if len(one) <= LARGEST)
    if known:
        inputs = {one for one in inputs if findings.failure(target.check, one) is None}
    folder = work / "merge"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in sorted(inputs, key=lambda data: (len(data), data)):
        path = folder / named(one)
        path.write_bytes(one)
        paths.append(path)
    chosen = _cover(_edges(target.name, paths, work))
    for old in seeds(target.name):
        old.unlink()
    (SEEDS / target.name).mkdir(parents=True, exist_ok=True)
    for path in chosen:
        (SEEDS / target.name / path.name).write_bytes(path.read_bytes())
    for path in paths:
        path.unlink()
    return len(chosen)


def _edges(name: str, paths: Sequence[Path], work: Path) -> dict[Path, set[int]]:
    """The edges that each input takes, as libFuzzer tells it while merging: `STARTED i size`, then
    `FT i features…` once it has run. A crash ends the process; the next one goes on behind it."""
    control = work / "merge.control"
    found: dict[Path, set[int]] = {}
    first = 0
    while first < len(paths):
        rest = paths[first:]
        control.write_text("\n".join([str(len(rest)), "0", *map(str, rest)]) + "\n")
        subprocess.run(
            engine(name, ["-merge_inner=1", f"-merge_control_file={control}", "-timeout=30"]),
            check=False,
            capture_output=True,
        )
        begun = 0
        for line in control.read_text().splitlines()[2 + len(rest) :]:
            kind, *numbers = line.split()
            if kind == "STARTED":
                begun = int(numbers[0]) + 1
            elif kind == "FT":
                found[rest[int(numbers[0])]] = {int(one) // _COUNTS for one in numbers[1:]}
        if not begun:
            raise RuntimeError(f"the inputs of {name} could not be run")
        first += begun
    return found


def _cover(edges: dict[Path, set[int]]) -> list[Path]:
    """Greedily the input with most that is new, the smaller one (it stands first) of two."""
    chosen: list[Path] = []
    covered: set[int] = set()
    waiting = list(edges)
    while waiting and len(chosen) < MOST:
        gains = {one: len(edges[one] - covered) for one in waiting}
        best = max(waiting, key=gains.__getitem__)
        if not gains[best]:
            break
        chosen.append(best)
        covered |= edges[best]
        waiting = [one for one in waiting if gains[one] and one != best]
    return chosen
