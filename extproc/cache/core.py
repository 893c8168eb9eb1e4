"""One partition of the semantic cache: may a stored answer be served to another wording?

`decide` says hit, audit or miss; `learn` takes the label when the provider's answer is there.
Labels come from nowhere else: every miss that had neighbours gives one, and every audit. No I/O,
no threads: the caller runs what `refit` returns where it likes and hands the result to `adopt`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct, field

from extproc.cache import Neighbour
from extproc.cache.answers import Answers
from extproc.cache.guards import compare, signs
from extproc.cache.verifier import (
    CALIBRATED,
    EARLY,
    EVERY,
    Fitted,
    believed,
    first_line,
    fitted,
    shipped,
)
from extproc.cache.verifier.features import INTERCEPTS, WIDTH, row
from extproc.cache.verifier.labels import Labels, Saved
from extproc.cache.verifier.logistic import Floats, probability
from extproc.cache.verifier.selfstop import SelfStop

NEAREST: Final = 8
"""Neighbours that are looked at."""
_TRIED: Final = 4
"""Of these, the ones whose words are read when the guards turn down the nearest."""
_STRICT: Final = 400
_FORGET: Final = 0.995
"""A label's voice in the rate of repeats halves with every 140 that follow."""
_BEFORE: Final = 10.0  # labels that the first guess of that rate, a half, counts for
_AFRESH: Final = 500
"""Labels, the latest, that alone count for a partition that has stopped: once answers hold again,
the time in which they did not must not be held against them for long."""
_PROOF: Final = 20
"""Labels above a line, of the time after a halt, before serving is resumed."""
_RECENT: Final = 1.0 / 500.0


class Rules(Struct, frozen=True, kw_only=True):
    """What the operator asks for. Shares are of one."""

    max_error: float = 0.01
    """Wrong answers among all requests."""
    audit: float = 0.05
    min_score: float = 0.75
    threshold: float = 0.95
    strict: bool = False
    verifier: Literal["calibrated", "threshold"] = "calibrated"
    observe: bool = False


class Kind(StrEnum):
    """What becomes of a request."""

    HIT = "hit"
    AUDIT = "audit"
    MISS = "miss"


class Event(StrEnum):
    """What an operator is told."""

    HALTED = "halted"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Kept by the caller until the provider's answer is there, then given to `learn`."""

    kind: Kind
    reason: str
    """`served`, `audit`, `observed`, or why not: `empty`, `far`, `unsure`, `halted`, `strict`, or
    a guard's."""
    candidate: Neighbour | None = None
    probability: float | None = None
    answers: tuple[int, ...] = ()
    """Answers of the neighbours, nearest first, each once: what the provider's is to be compared
    with."""
    features: Floats | None = None
    would: bool = False
    """The rule says serve, whatever became of it."""
    lookup: int = 0
    epoch: int = 0


class Learned(Struct, frozen=True):
    """`alias`: the answer that the new entry shares, None for an answer of its own."""

    alias: int | None = None
    event: Event | None = None


class State(Struct, frozen=True):
    """A partition at rest."""

    rows: Saved = Saved()
    answers: Answers = field(default_factory=Answers)
    stop: SelfStop = field(default_factory=SelfStop)
    coefficients: list[float] = []
    line: float | None = None
    lookups: int = 0
    labels: int = 0
    fitted_at: int = 0
    epoch: int = 0
    halted: bool = False
    repeats: float = _BEFORE / 2
    misses: float = _BEFORE
    served_share: float = 0.0
    version: int = WIDTH


class Partition:
    """One route's requests of one family of fingerprints. `family` names the embedder's prior;
    `draw` gives numbers from 0 to below 1 for the choice of audits."""

    def __init__(
        self,
        rules: Rules,
        family: str,
        *,
        draw: Callable[[], float] = random.random,
        saved: bytes | None = None,
    ) -> None:
        """Raises ValueError for `saved` that is no state of a partition."""
        self._rules = rules
        self._prior = shipped(family)
        self._draw = draw
        try:
            state = msgspec.msgpack.decode(saved, type=State) if saved else State()
        except msgspec.MsgspecError as error:
            raise ValueError("not the state of a partition") from error
        if state.version != WIDTH:  # of other features: what was learned of them is of no use
            state = State(answers=state.answers)
        self._rows = Labels.loaded(state.rows)
        self.answers = state.answers
        self._stop = state.stop
        self._model = (
            np.array(state.coefficients) if state.coefficients else believed(self._prior).mean
        )
        self._line = state.line
        self._lookups, self._labels, self._fitted_at = state.lookups, state.labels, state.fitted_at
        self._epoch, self._halted = state.epoch, state.halted
        self._repeats, self._misses, self._share = state.repeats, state.misses, state.served_share

    @property
    def halted(self) -> bool:
        """Nothing semantic is served; exact hits are none of this partition's."""
        return self._halted

    @property
    def labels(self) -> int:
        """Labels since the start, or since the last halt."""
        return self._labels

    @property
    def line(self) -> float | None:
        """Probability from which on is served; None before the partition has labels enough."""
        return self._line

    def decide(
        self,
        text: str,
        near: Sequence[Neighbour],
        question: Callable[[int], str | None],
        *,
        threshold: float | None = None,
        min_score: float | None = None,
    ) -> Decision:
        """What to do with `text`, whose nearest entries are `near`, best first, of which
        `question` gives the words (None: gone). `threshold` and `min_score` stand over the rules'
        for this request."""
        self._lookups += 1
        near = [self.answers.resolved(one) for one in near[:NEAREST]]
        lookup, epoch = self._lookups, self._epoch
        if not near:
            self._count(would=False)
            return Decision(Kind.MISS, "empty", lookup=lookup, epoch=epoch)
        answers = tuple(dict.fromkeys(one.answer for one in near))
        asked = signs(text)
        reason = "gone"
        for chosen, candidate in enumerate(near[:_TRIED]):
            words = question(candidate.entry)
            if words is None:
                continue
            stored = signs(words)
            found = compare(asked, stored)
            if found is not None:
                reason = found if reason == "gone" else reason
                continue
            features = row(
                asked, stored, near, chosen,
                support=self.answers.support(candidate.answer), repeats=self._repeats /
                self._misses,
            )  # fmt: skip
            p = float(probability(features, self._model))
            rules = self._rules
            least = rules.min_score if min_score is None else min_score
            enough = rules.threshold if threshold is None else threshold
            would = candidate.score >= least and self._would(candidate.score, features, p, enough)
            self._count(would=would)
            kind, why = self._kind(would=would, far=candidate.score < least)
            if kind is Kind.HIT:
                self._rows.served(features, lookup=lookup)
            return Decision(kind, why, candidate, p, answers, features, would, lookup, epoch)
        self._count(would=False)
        return Decision(Kind.MISS, reason, answers=answers, lookup=lookup, epoch=epoch)

    def _would(self, score: float, features: Floats, p: float, threshold: float) -> bool:
        if self._rules.verifier == "threshold":
            return score >= threshold
        if self._line is not None:
            return p >= self._line
        if self._prior is None:
            return score >= threshold
        single = features[INTERCEPTS[0]] > 0.0
        return p >= first_line(
            self._prior, single=single, labels=self._labels, max_error=self._rules.max_error
        )

    def _kind(self, *, would: bool, far: bool) -> tuple[Kind, str]:
        if not would:
            return Kind.MISS, "far" if far else "unsure"
        if self._rules.observe:
            return Kind.MISS, "observed"
        if self._halted:
            return Kind.MISS, "halted"
        if self._rules.strict and (self._labels < _STRICT or self._line is None):
            return Kind.MISS, "strict"
        if self._draw() < self._rules.audit:
            return Kind.AUDIT, "audit"
        return Kind.HIT, "served"

    def _count(self, *, would: bool) -> None:
        weight = max(_RECENT, 1.0 / self._lookups)
        self._share += weight * (float(would) - self._share)

    def learn(self, decision: Decision, equal: Collection[int]) -> Learned:
        """Takes the label of a miss or an audit: `equal` are those of `decision.answers` that say
        what the provider said. A hit has no label and must not come here (ValueError)."""
        if decision.kind is Kind.HIT:
            raise ValueError("a hit has no label")
        same = [answer for answer in decision.answers if answer in equal]
        alias = self.answers.merged(same)
        candidate = decision.candidate
        if candidate is None or decision.features is None or decision.epoch != self._epoch:
            return Learned(alias)
        right = candidate.answer in same
        self._rows.label(decision.features, right=right, lookup=decision.lookup)
        self._labels += 1
        if not decision.would:
            self._repeats = self._repeats * _FORGET + right
            self._misses = self._misses * _FORGET + 1.0
        if decision.kind is Kind.AUDIT and not self._halted:
            allowed = self._rules.max_error / max(self._share, self._rules.max_error)
            if self._stop.audited(wrong=not right, allowed=allowed):
                self._halt()
                return Learned(alias, Event.HALTED)
        return Learned(alias)

    def _halt(self) -> None:
        """What was learned is of answers that are no longer given: only the prior is kept.
        Would-be hits go to the provider and give labels until `adopt` gets a line drawn from those
        alone."""
        self._halted = True
        self._epoch += 1
        self._rows = Labels()
        self._model, self._line = believed(self._prior).mean, None
        self._lookups = self._labels = self._fitted_at = 0
        self._repeats, self._misses = _BEFORE / 2, _BEFORE
        self._stop.again()

    def refit(self) -> Callable[[], Fitted] | None:
        """A fit that is due, to be run once, in a thread if one likes (some tens of milliseconds),
        its result for `adopt`; None when none is. It is not given out twice."""
        if self._labels - self._fitted_at < EVERY and self._labels not in EARLY:
            return None
        if self._labels == self._fitted_at or self._rules.verifier == "threshold":
            return None
        if self._halted:
            self._rows.keep(_AFRESH)
        sample = self._rows.sample(self._lookups)
        prior, model, rules, epoch = self._prior, self._model, self._rules, self._epoch
        self._fitted_at = self._labels if self._labels >= CALIBRATED else 0
        return lambda: fitted(
            sample, prior, model, max_error=rules.max_error, audit=rules.audit, epoch=epoch
        )

    def adopt(self, made: Fitted) -> Event | None:
        """Goes by `made` from now on. Serving that had stopped is resumed when the labels since
        then, 250 of them at least and 20 above the line, draw one."""
        if made.epoch != self._epoch:
            return None
        self._model = made.coefficients
        if made.line is not None:
            self._line = made.line
        if self._halted and made.line is not None and made.above >= _PROOF:
            self._halted = False
            self._stop.again()
            return Event.RESUMED
        return None

    def saved(self) -> bytes:
        """Everything it knows, for `saved=` of another."""
        return msgspec.msgpack.encode(
            State(
                rows=self._rows.saved(),
                answers=self.answers,
                stop=self._stop,
                coefficients=self._model.tolist(),
                line=self._line,
                lookups=self._lookups,
                labels=self._labels,
                fitted_at=self._fitted_at,
                epoch=self._epoch,
                halted=self._halted,
                repeats=self._repeats,
                misses=self._misses,
                served_share=self._share,
            )
        )
