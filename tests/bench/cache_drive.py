"""Drives the production core with a stream of questions whose answers are known.

Neighbours are exact (every stored vector is compared), labels come only from misses and audits, and
what is served is never stored, as in production.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from extproc.cache import Neighbour
from extproc.cache.core import NEAREST, Decision, Event, Kind, Partition, Rules

Vectors = NDArray[np.float32]


class Turn(NamedTuple):
    """One line of a stream."""

    text: str
    answer: str


class Step(NamedTuple):
    """What became of a request. `right`: the candidate's answer was the request's."""

    decision: Decision
    right: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares in percent of all requests."""

    seed: int
    hit: float
    wrong: float
    precision: float
    hit2: float
    wrong2: float
    audits: int

    @classmethod
    def of(cls, seed: int, hits: Sequence[bool], wrong: Sequence[bool], audits: int) -> Outcome:
        many, half = len(hits), len(hits) // 2
        served, bad = sum(hits), sum(wrong)
        return cls(
            seed,
            _percent(served, many),
            _percent(bad, many),
            _percent(served - bad, served),
            _percent(sum(hits[half:]), many - half),
            _percent(sum(wrong[half:]), many - half),
            audits,
        )


def _percent(part: float, whole: float) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0


class Store:
    """Stored entries with their vectors, compared one by one."""

    def __init__(self, most: int, width: int) -> None:
        self._vectors = np.empty((most, width), np.float32)
        self.texts: list[str] = []
        self.answers: list[int] = []
        self.truths: list[str] = []

    def near(self, vector: Vectors, many: int = NEAREST) -> list[Neighbour]:
        size = len(self.texts)
        if not size:
            return []
        scores = self._vectors[:size] @ vector
        best = np.argpartition(-scores, many - 1)[:many] if size > many else np.arange(size)
        order = best[np.argsort(-scores[best])]
        return [Neighbour(int(at), float(scores[at]), self.answers[at]) for at in order]

    def add(self, text: str, vector: Vectors, truth: str, answer: int | None) -> int:
        entry = len(self.texts)
        self._vectors[entry] = vector
        self.texts.append(text)
        self.truths.append(truth)
        self.answers.append(entry if answer is None else answer)
        return entry


def steps(
    turns: Sequence[Turn],
    vectors: Vectors,
    partition: Partition,
    *,
    told: Callable[[int, Event], None] | None = None,
) -> Iterator[Step]:
    """The stream in its order through `partition`; `told` hears of its events."""
    store = Store(len(turns), vectors.shape[1])
    for number, (turn, vector) in enumerate(zip(turns, vectors, strict=True)):
        near = store.near(vector)
        decision = partition.decide(turn.text, near, lambda entry: store.texts[entry])
        candidate = decision.candidate
        right = candidate is not None and store.truths[candidate.entry] == turn.answer
        yield Step(decision, right)
        if decision.kind is Kind.HIT:
            continue
        equal = {
            partition.answers.root(one.answer)
            for one in near
            if store.truths[one.entry] == turn.answer
        }
        learned = partition.learn(decision, equal)
        events = [learned.event]
        store.add(turn.text, vector, turn.answer, learned.alias)
        if learned.alias is not None:
            partition.answers.entered(learned.alias)
        job = partition.refit()
        if job is not None:
            events.append(partition.adopt(job()))
        for event in events:
            if event is not None and told is not None:
                told(number, event)


def tollgate(
    turns: Sequence[Turn], vectors: Vectors, family: str, seed: int, rules: Rules
) -> Outcome:
    """The production core over one shuffled pass."""
    draw = random.Random(seed).random
    partition = Partition(rules, family, draw=draw)
    hits, wrong, audits = [], [], 0
    for decision, right in steps(turns, vectors, partition):
        hit = decision.kind is Kind.HIT
        hits.append(hit)
        wrong.append(hit and not right)
        audits += decision.kind is Kind.AUDIT
    return Outcome.of(seed, hits, wrong, audits)
