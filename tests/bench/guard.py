"""How much of what is marked in texts the guard finds, how often it is wrong, and what it costs.

`python -m tests.bench.guard texts.json --prompts questions.jsonl --prompts intents.json`: the first
file is a list of `{"full_text", "spans": [{"entity_type", "start_position", "end_position"}]}`; in
the others is nothing to be found. Without them, nothing is to be found in those texts of the first
that have no spans. Nothing is sent anywhere (but with --guard http), no value is printed (but with
--wrong).
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any, Final

import click

from extproc.guard import Detector, Finding, Scan, Text
from extproc.guard.default import DefaultDetector, DetectorPolicy
from extproc.guard.scanning import NAMES as GUARDS
from extproc.guard.scanning import scanner

NAMES: Final = {
    "ADDRESS": "STREET_ADDRESS",
    "CREDIT_CARD_NUMBER": "CREDIT_CARD",
    "CRYPTO_KEY": "SECRET",
    "EMAIL": "EMAIL_ADDRESS",
    "FIRST_NAME": "PERSON",
    "IBAN": "IBAN_CODE",
    "IP": "IP_ADDRESS",
    "LAST_NAME": "PERSON",
    "NAME": "PERSON",
    "PER": "PERSON",
    "PHONE": "PHONE_NUMBER",
    "SSN": "US_SSN",
    "US_DRIVERS_LICENSE": "US_DRIVER_LICENSE",
}
"""Other collections' names of types."""
UNSOUGHT: Final = frozenset(
    [
        "AGE",
        "DATE",
        "DATE_TIME",
        "DOMAIN_NAME",
        "FAC",
        "GPE",
        "LOC",
        "LOCATION",
        "MISC",
        "NRP",
        "ORG",
        "ORGANIZATION",
        "TIME",
        "TITLE",
        "URL",
        "ZIP_CODE",
    ]
)
"""Types that are marked in such collections and that the guard has none for."""
NEUTRAL: Final = {
    "STREET_ADDRESS": frozenset({"GPE", "LOC", "LOCATION", "ZIP_CODE", "FAC"}),
    "DATE_OF_BIRTH": frozenset({"DATE", "DATE_TIME"}),
}
"""Marks of which a finding holds more than they say: it is neither right nor wrong."""

REQUEST: Final = 4_000
"""Characters of a request whose time is taken."""
ROUNDS: Final = 5
PATIENCE: Final = 600.0
"""Seconds that another guard has for a text."""
GROWTH: Final = (100_000, 1_000_000)
"""Characters of texts that must cost as much a kB."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody has marked in a text."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found of a type."""

    marked: int
    met: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        """Of what is marked, the share that is found."""
        return self.met / self.marked if self.marked else math.nan

    @property
    def precision(self) -> float:
        """Of what is found, the share that is marked; 1 if nothing is found."""
        return self.right / self.found if self.found else 1.0

    @property
    def f2(self) -> float:
        """Recall and precision together, recall counting twice (van Rijsbergen's F with beta 2)."""
        below = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / below if below else 0.0


class _Asked:
    """A scan as a detector."""

    def __init__(self, scan: Scan, runner: asyncio.Runner) -> None:
        self._scan = scan
        self._runner = runner

    def find(self, text: str) -> list[Finding]:
        """What it finds in a text. Raises GuardError."""
        return self._runner.run(self._scan.find([Text(text, "text")]))[0]


def _read(path: Path) -> list[tuple[str, list[Mark]]]:
    found = []
    for one in json.loads(path.read_text("utf-8")):
        marks = [
            Mark(
                span["start_position"],
                span["end_position"],
                NAMES.get(span["entity_type"], span["entity_type"]),
            )
            for span in one["spans"]
        ]
        found.append((one["full_text"], marks))
    return found


def _over(one: Finding | Mark, other: Finding | Mark) -> bool:
    return one.start < other.end and other.start < one.end


def _compared(
    detector: Detector, texts: Sequence[tuple[str, list[Mark]]], *, wrong: bool
) -> dict[str, Figures]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, marks in texts:
        findings = detector.find(text)
        for mark in marks:
            if mark.type in UNSOUGHT:
                continue
            met = any(one.type == mark.type and _over(one, mark) for one in findings)
            counts[mark.type]["marked"] += 1
            counts[mark.type]["met"] += met
            if wrong and not met:
                print(f"- {mark.type} {text[mark.start : mark.end]!r} in {text!r}: {findings}")
        for one in findings:
            over = {mark.type for mark in marks if _over(one, mark)}
            if one.type not in over and over & NEUTRAL.get(one.type, frozenset()):
                continue
            counts[one.type]["found"] += 1
            counts[one.type]["right"] += one.type in over
            if wrong and one.type not in over:
                print(f"+ {one.type} {text[one.start : one.end]!r} in {text!r}")
    return {
        kind: Figures(count["marked"], count["met"], count["found"], count["right"])
        for kind, count in sorted(counts.items())
    }


def _prompts(path: Path) -> Iterator[str]:
    """Texts of JSON lines with `turns`, of lists of (text, intent) under names, of a CSV file."""
    if path.suffix == ".jsonl":
        for line in path.read_text("utf-8").splitlines():
            yield from json.loads(line)["turns"]
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row[0] for row in csv.reader(file))
    else:
        tree: Any = json.loads(path.read_text("utf-8"))
        for rows in tree.values() if isinstance(tree, dict) else [tree]:
            yield from (row if isinstance(row, str) else row[0] for row in rows)


def _us_per_kb(detector: Detector, texts: Sequence[str]) -> float:
    """Microseconds of CPU for 1,000 characters, the median of some rounds."""
    size = sum(map(len, texts)) / 1_000
    taken = []
    for number in range(1, ROUNDS + 1):
        # A service's scans remember texts: no round has the same.
        ended = [text + " " * number for text in texts]
        start = process_time_ns()
        for text in ended:
            detector.find(text)
        taken.append((process_time_ns() - start) / 1_000 / size)
    return median(taken)


def _requests(texts: Sequence[str]) -> list[str]:
    """The same texts in requests of about 4 kB."""
    whole = "\n\n".join(texts)
    return [whole[at : at + REQUEST] for at in range(0, len(whole), REQUEST)] or [""]


def _table(figures: dict[str, Figures]) -> None:
    print(f"{'type':<20}{'marked':>8}{'found':>8}{'precision':>11}{'recall':>9}{'F2':>8}")
    for kind, one in figures.items():
        if one.marked:
            rates = f"{one.precision:>11.3f}{one.recall:>9.3f}{one.f2:>8.3f}"
        else:
            rates = "   (nothing of this type is marked)"
        print(f"{kind:<20}{one.marked:>8}{one.found:>8}{rates}")


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prompts", multiple=True, type=click.Path(exists=True, path_type=Path),
              help="Texts in which there is nothing to be found; may be repeated.")  # fmt: skip
@click.option("--wrong", is_flag=True, help="Show what is missed (-) and wrongly found (+).")
@click.option("--guard", type=click.Choice(GUARDS), default="default", show_default=True,
              help="What looks through the texts, as in `tollgate serve --guard`.")  # fmt: skip
@click.option("--guard-url", help="The endpoint of --guard http.")
def main(
    data: Path, prompts: tuple[Path, ...], guard: str, guard_url: str | None, *, wrong: bool
) -> None:
    """Measure a guard."""
    if guard == "default" and guard_url is None:
        _measure(DefaultDetector(), data, prompts, wrong=wrong)
        return
    try:
        asked = scanner(guard, guard_url, os.environ, timeout=PATIENCE)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with asyncio.Runner() as runner:
        try:
            detector = _Asked(asked.scan(DetectorPolicy()), runner)
            _measure(detector, data, prompts, wrong=wrong)
        finally:
            runner.run(asked.close())


def _measure(detector: Detector, data: Path, prompts: Sequence[Path], *, wrong: bool) -> None:
    texts = _read(data)
    figures = _compared(detector, texts, wrong=wrong)
    _table(figures)
    if prompts:
        said, clean = "clean prompts", [text for path in prompts for text in _prompts(path)]
    else:
        said, clean = "texts without marks", [text for text, marks in texts if not marks]
    kinds: Counter[str] = Counter()
    touched = 0
    for text in clean:
        findings = detector.find(text)
        touched += bool(findings)
        kinds.update({one.type for one in findings})
        for one in findings if wrong else ():
            print(f"+ {one.type} {text[one.start : one.end]!r} in {text[:200]!r}")
    share = touched / len(clean) if clean else None
    if clean:
        print(f"\n{touched} of {len(clean)} {said} touched: {dict(kinds.most_common())}")
    whole = [text for text, _ in texts]
    cost = _us_per_kb(detector, _requests(whole))
    print(
        f"\n{cost:.0f} µs a kB in requests of 4 kB, {_us_per_kb(detector, whole):.0f} in the texts"
    )
    joined = "\n".join(whole)
    for size in GROWTH:
        long = (joined * (size // max(1, len(joined)) + 1))[:size]
        print(f"{_us_per_kb(detector, [long]):.0f} µs a kB in a text of {size // 1_000} kB")
    shown = {
        kind: {"precision": round(one.precision, 4), "recall": round(one.recall, 4)}
        for kind, one in figures.items()
        if one.marked
    }
    false = None if share is None else round(share, 4)
    result = {"by_type": shown, "false_positive_share": false, "us_per_kb": round(cost, 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
