"""One partition of the semantic cache: may a stored answer be served to another wording?

`decide` says hit, audit or miss; `learn` takes the label when the provider's answer is there.
Labels come from nowhere else: every miss that had neighbours gives one, and every audit. No I/O,
no threads: the caller runs what `refit` returns where it likes and hands the result to `adopt`.
"""

from __future__ import annotations

import os
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
from extproc.cache.guards import Signs, compare, signs
from extproc.cache.verifier import (
    CALIBRATED,
    EARLY,
    EVERY,
    Fitted,
    believed,
    first_line,
    fitted,
    proven,
    shipped,
)
from extproc.cache.verifier.features import INTERCEPTS, WIDTH, row, strangers
from extproc.cache.verifier.labels import Labels, Saved
from extproc.cache.verifier.logistic import Floats, chance
from extproc.cache.verifier.selfstop import SelfStop
from extproc.cache.verifier.told import (
    MOST_SERVED,
    Resumption,
    Told,
    packed,
    plausible,
    told,
    unpacked,
)

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
_UNPROVEN: Final = 0.75
"""The least score that is served before a partition has a line of its own."""
_FIRST: Final = 3
_PROBED: Final = 40
"""Of the hits of a partition without a line of its own the first few are as any other; of the next
ones more are audited,"""
_EAGER: Final = 6.0
"""so many times as many: three in ten with the usual `audit`."""
_RECENT: Final = 1.0 / 500.0
_SOURCES: Final = 64
"""Workers of which it is known how much of theirs was heard, the latest."""


class Rules(Struct, frozen=True, kw_only=True):
    """What the operator asks for. Shares are of one."""

    max_error: float = 0.01
    """Wrong answers among all requests."""
    audit: float = 0.05
    min_score: float = 0.5
    """A candidate that is less near is not served."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a partition would serve, for its `settle`. Fields as of `Decision`."""

    reason: str
    """Why not, unless it would."""
    epoch: int
    answers: tuple[int, ...] = ()
    candidate: Neighbour | None = None
    probability: float | None = None
    features: Floats | None = None
    would: bool = False


class Learned(Struct, frozen=True):
    """`alias`: the answer that the new entry shares, None for an answer of its own. `label`: what
    other workers that serve this partition are to be told, for their `heard`; None: nothing."""

    alias: int | None = None
    event: Event | None = None
    label: bytes | None = None


class _Since(Struct):
    """What other workers have not been told yet."""

    requests: int = 0
    would: int = 0
    served: list[bytes] = []
    resumed: Resumption | None = None


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
    offers: int = 0
    epoch: int = 0
    halted: bool = False
    repeats: float = _BEFORE / 2
    misses: float = _BEFORE
    served_share: float = 0.0
    version: int = WIDTH
    sources: dict[bytes, int] = {}


def _sound(state: State) -> bool:
    """Numbers that can be: another version's mistake must not be met with every request."""
    counts = (state.lookups, state.labels, state.fitted_at, state.epoch, state.offers)
    shares = np.array([state.repeats, state.misses, state.served_share, *state.stop.capital])
    return (
        min(counts) >= 0
        and state.misses > 0.0
        and bool((np.isfinite(shares) & (shares >= 0.0)).all())
        and len(state.coefficients) in (0, state.version)
        and plausible(np.array(state.coefficients))
        and plausible(np.array([state.line or 0.0]))
        and len(state.stop.capital) == len(SelfStop().capital)
        and state.answers.sound()
        and (state.version != WIDTH or plausible(Labels.loaded(state.rows).sample(0).x))
    )


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
        if not _sound(state):
            raise ValueError("not the state of a partition")
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
        self._offers, self._surprised = state.offers, False
        self._epoch, self._halted = state.epoch, state.halted
        self._repeats, self._misses, self._share = state.repeats, state.misses, state.served_share
        self._sources = state.sources
        self._source = os.urandom(8)
        self._number = 0
        self._since = _Since()

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
        question: Callable[[int], str | Signs | None],
        *,
        threshold: float | None = None,
        min_score: float | None = None,
    ) -> Decision:
        """What to do with `text`, whose nearest entries are `near`, best first, of which
        `question` gives the words, or their signs (None: gone). `threshold` and `min_score` stand
        over the rules' for this request."""
        return self.settle(
            self.choose(signs(text), near, question, threshold=threshold, min_score=min_score)
        )

    def choose(
        self,
        asked: Signs,
        near: Sequence[Neighbour],
        question: Callable[[int], str | Signs | None],
        *,
        threshold: float | None = None,
        min_score: float | None = None,
    ) -> Choice:
        """The first half of `decide`, which changes nothing: whoever finds that the chosen entry is
        gone after all chooses again."""
        epoch = self._epoch
        near = [self.answers.resolved(one) for one in near[:NEAREST]]
        if not near:
            return Choice("empty", epoch)
        answers = tuple(dict.fromkeys(one.answer for one in near))
        rules = self._rules
        least = rules.min_score if min_score is None else min_score
        if self._line is None:
            least = max(least, _UNPROVEN)
        enough = rules.threshold if threshold is None else threshold
        best, reason = self._best(asked, near, question, least)
        if best is None:
            return Choice(reason, epoch, answers)
        candidate, features, p = best
        far = candidate.score < least
        would = not far and self._would(candidate.score, features, p, enough)
        return Choice("far" if far else "unsure", epoch, answers, candidate, p, features, would)

    def settle(self, choice: Choice) -> Decision:
        """The second half: what becomes of it, counted."""
        self._lookups += 1
        lookup = self._lookups
        self._count(would=choice.would)
        kind, why = self._kind() if choice.would else (Kind.MISS, choice.reason)
        if kind is Kind.HIT and choice.features is not None:
            self._served(choice.features, lookup)
        return Decision(
            kind, why, choice.candidate, choice.probability, choice.answers, choice.features,
            choice.would, lookup, choice.epoch,
        )  # fmt: skip

    def _best(
        self,
        asked: Signs,
        near: Sequence[Neighbour],
        question: Callable[[int], str | Signs | None],
        least: float,
    ) -> tuple[tuple[Neighbour, Floats, float] | None, str]:
        """Of the nearest entry of each answer that the guards let pass, the one most likely right
        (without a model: the nearest); or the guard that turned down the nearest."""
        knows = self._rules.verifier == "calibrated" and (
            self._prior is not None or self._line is not None
        )
        best: tuple[Neighbour, Floats, float] | None = None
        reason, passed, tried = "gone", set[int](), 0
        for chosen, candidate in enumerate(near):
            if candidate.answer in passed or (best is not None and candidate.score < least):
                continue
            if tried == _TRIED:
                break
            words = question(candidate.entry)
            if words is None:
                continue
            tried += 1
            stored = words if isinstance(words, Signs) else signs(words)
            found = compare(asked, stored)
            if found is not None:
                reason = found if reason == "gone" else reason
                continue
            passed.add(candidate.answer)
            features = row(
                asked, stored, near, chosen,
                support=self.answers.support(candidate.answer), repeats=self._repeats /
                self._misses,
            )  # fmt: skip
            p = chance(features, self._model)
            if best is None or p > best[2]:
                best = candidate, features, p
            if not knows:
                break
        return best, reason

    def _would(self, score: float, features: Floats, p: float, threshold: float) -> bool:
        plain = self._rules.verifier == "threshold" or (self._prior is None and self._line is None)
        if plain:
            return score >= threshold and not strangers(features)
        if self._line is not None:
            return p >= self._line
        single = features[INTERCEPTS[0]] > 0.0
        return self._prior is not None and p >= first_line(
            self._prior, single=single, labels=self._labels, max_error=self._rules.max_error
        )

    def _kind(self) -> tuple[Kind, str]:
        """Of what the rule would serve."""
        if self._rules.observe:
            return Kind.MISS, "observed"
        if self._halted:
            return Kind.MISS, "halted"
        if self._rules.strict and (self._labels < _STRICT or self._line is None):
            return Kind.MISS, "strict"
        self._offers += 1
        if self._draw() < self._rules.audit * self._eagerness():
            return Kind.AUDIT, "audit"
        return Kind.HIT, "served"

    def _eagerness(self) -> float:
        """A partition that serves by what others have seen finds out soon whether it may: some of
        its first hits are audited more often."""
        new = self._line is None and self._rules.verifier == "calibrated"
        return _EAGER if new and _FIRST < self._offers <= _FIRST + _PROBED else 1.0

    def _served(self, features: Floats, lookup: int) -> None:
        if self._rows.served(features, lookup=lookup) and len(self._since.served) < MOST_SERVED:
            self._since.served.append(packed(features))

    def _count(self, *, would: bool) -> None:
        self._since.requests += 1
        self._since.would += would
        weight = max(_RECENT, 1.0 / self._lookups)
        self._share += weight * (float(would) - self._share)

    def learn(self, decision: Decision, equal: Collection[int]) -> Learned:
        """Takes the label of a miss or an audit: `equal` are those of `decision.answers` that say
        what the provider said. A hit has no label and must not come here (ValueError)."""
        if decision.kind is Kind.HIT:
            raise ValueError("a hit has no label")
        same = [answer for answer in decision.answers if answer in equal]
        alias = self.answers.merged(same)
        merged = same if len(same) > 1 else []
        candidate = decision.candidate
        if candidate is None or decision.features is None or decision.epoch != self._epoch:
            return Learned(alias, label=self._tell(same=merged) if merged else None)
        audit = decision.kind is Kind.AUDIT and not self._halted
        allowed = self._rules.max_error / max(self._share, self._rules.max_error)
        right = candidate.answer in same
        label = self._tell(
            features=packed(decision.features), right=right, counted=not decision.would,
            allowed=allowed if audit else None, same=merged,
        )  # fmt: skip
        self._rows.label(
            decision.features, right=right, would=decision.would, lookup=decision.lookup
        )
        self._labelled(right=right, counted=not decision.would)
        self._surprised |= decision.would and not right
        if audit and self._stop.audited(wrong=not right, allowed=allowed):
            self._halt(self._epoch + 1)
            return Learned(alias, Event.HALTED, self._tell())
        return Learned(alias, label=label)

    def _labelled(self, *, right: bool, counted: bool) -> None:
        self._labels += 1
        if counted:
            self._repeats = self._repeats * _FORGET + right
            self._misses = self._misses * _FORGET + 1.0

    def _tell(
        self,
        *,
        features: bytes = b"",
        right: bool = False,
        counted: bool = False,
        allowed: float | None = None,
        same: Sequence[int] = (),
    ) -> bytes:
        since, self._since = self._since, _Since()
        self._number += 1
        self._remember(self._source, self._number)
        return Told(
            self._source, self._number, self._epoch, WIDTH, features, right, counted, allowed,
            since.requests, since.would, since.served, list(same), since.resumed,
        ).encoded()  # fmt: skip

    def _remember(self, source: bytes, number: int) -> None:
        self._sources.pop(source, None)
        self._sources[source] = number
        while len(self._sources) > _SOURCES:
            del self._sources[next(iter(self._sources))]

    def heard(self, label: bytes) -> Event | None:
        """Takes in what another worker's `learn` gave as `label`. One that is known (its own, one
        heard before, one that was in `saved`) is passed over, so a log may be read twice; those of
        one worker must come in their order. A refit may be due after it, as after `learn`. Raises
        ValueError for what is no label."""
        one = told(label)
        if one.source == self._source or one.number <= self._sources.get(one.source, 0):
            return None
        self._remember(one.source, one.number)
        self.answers.merged(one.same)
        if one.width != WIDTH or one.epoch < self._epoch:
            return None
        if one.epoch > self._epoch:
            was = self._halted
            self._halt(one.epoch)
            event = None if was else Event.HALTED
            self._take(one)
            return event
        return self._resume(one.resumed) or self._take(one)

    def _take(self, one: Told) -> Event | None:
        """Rows and counts of another's label of this epoch."""
        if one.requests > 0:
            self._lookups += one.requests
            pull = 1.0 - (1.0 - _RECENT) ** one.requests
            self._share += pull * (min(one.would / one.requests, 1.0) - self._share)
        for row_served in one.served:
            self._rows.thinned(unpacked(row_served), lookup=self._lookups)
        if not one.features:
            return None
        self._rows.label(
            unpacked(one.features), right=one.right, would=not one.counted, lookup=self._lookups
        )
        self._labelled(right=one.right, counted=one.counted)
        self._surprised |= not (one.right or one.counted)
        if one.allowed is None or self._halted:
            return None
        if not self._stop.audited(wrong=not one.right, allowed=one.allowed):
            return None
        self._halt(self._epoch + 1)
        return Event.HALTED

    def _resume(self, by: Resumption | None) -> Event | None:
        """Another worker has drawn the line to go on from."""
        if by is None or not self._halted or len(by.coefficients) != WIDTH:
            return None
        self._model, self._line = np.array(by.coefficients), by.line
        self._halted = False
        self._stop.again()
        return Event.RESUMED

    def _halt(self, epoch: int) -> None:
        """What was learned is of answers that are no longer given: only the prior is kept.
        Would-be hits go to the provider and give labels until `adopt` gets a line drawn from those
        alone."""
        self._halted = True
        self._epoch = epoch
        self._rows = Labels()
        self._model, self._line = believed(self._prior).mean, None
        self._lookups = self._labels = self._fitted_at = 0
        self._repeats, self._misses = _BEFORE / 2, _BEFORE
        self._stop.again()

    def refit(self) -> Callable[[], Fitted] | None:
        """A fit that is due, to be run once, in a thread if one likes (some tens of milliseconds),
        its result for `adopt`; None when none is. It is not given out twice."""
        early = self._labels in EARLY or (self._surprised and self._line is None)
        if self._labels - self._fitted_at < EVERY and not early:
            return None
        if self._labels == self._fitted_at:
            return None
        if self._rules.verifier == "threshold" and not self._halted:
            return None
        self._surprised = False
        if self._halted:
            self._rows.keep(_AFRESH)
        sample = self._rows.sample(self._lookups)
        prior, model, rules, epoch = self._prior, self._model, self._rules, self._epoch
        self._fitted_at = self._labels if self._labels >= CALIBRATED else 0
        if rules.verifier == "threshold":
            return lambda: proven(sample, model, max_error=rules.max_error, epoch=epoch)
        return lambda: fitted(sample, prior, model, max_error=rules.max_error, epoch=epoch)

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
            self._since.resumed = Resumption(self._model.tolist(), self._line)
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
                offers=self._offers,
                epoch=self._epoch,
                halted=self._halted,
                repeats=self._repeats,
                misses=self._misses,
                served_share=self._share,
                sources=self._sources,
            )
        )
