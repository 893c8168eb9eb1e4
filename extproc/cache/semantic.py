"""Looking for a question that asks the same in other words, and learning whether it did."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, TypeGuard

from extproc.cache import CacheAway, Neighbour, Vectors
from extproc.cache.core import NEAREST, Decision, Kind, Partition
from extproc.cache.core import Rules as CoreRules
from extproc.cache.embedders import OpenEmbedder
from extproc.cache.following import Following
from extproc.cache.guards import Signs, compare, signs
from extproc.cache.index import Index, Near
from extproc.cache.index.filling import packed
from extproc.cache.judge import Judge
from extproc.cache.kinds import DEFAULT
from extproc.cache.known import LONGEST, Known
from extproc.cache.labelling import Labeller
from extproc.cache.partitions import Partitions
from extproc.cache.question import Billing, Question, Served
from extproc.cache.rules import Rules
from extproc.cache.spoken import spoken
from extproc.cache.told import Told
from extproc.cache.words import Words
from extproc.state import StateError
from extproc.state.answers import CacheStore, Entry

log = logging.getLogger(__name__)

MOST_ROUTES: Final = 100_000
READ: Final = 4
"""Neighbours whose words are read beforehand: as many as `decide` reads."""


class Semantics:
    """The semantic half of the cache."""

    def __init__(
        self,
        *,
        store: CacheStore,
        embedder: OpenEmbedder,
        index: Index,
        following: Following,
        partitions: Partitions,
        judge: Judge | None,
        billing: Billing | None,
        words: Words,
        told: Told,
    ) -> None:
        self.embedder = embedder
        self.index = index
        self.following = following
        self.partitions = partitions
        self.known = Known()
        """Questions that were near to others."""
        following.on_gone = self.known.drop
        self.routes: dict[bytes, str] = {}
        """The routes of partitions, by their keys."""
        self._store = store
        self._billing = billing
        self._labeller = Labeller(embedder, judge, _Booking(told))
        self._judge = judge
        self._words = words
        self._told = told

    async def look(self, question: Question) -> Served | None:
        """The entry that may be served; `question` then knows why there is none, and what there is
        to learn."""
        text = question.asked.text
        if text is None:
            question.reason = "no_text"
            return None
        if not self._compares(text):
            question.reason = "long"
            return None
        near = await self._near(question, text)
        if not near:
            return None
        key, rules = _partition(question)
        partition = await self.partitions.of(key, rules, family=question.asked.family)
        if len(self.routes) >= MOST_ROUTES:
            self.routes.clear()
        self.routes[key] = question.route
        neighbours = [
            Neighbour(one.entry, one.score, self.following.answer(one.entry)) for one in near
        ]
        return await self._decided(question, partition, neighbours)

    async def _decided(
        self, question: Question, partition: Partition, near: Sequence[Neighbour]
    ) -> Served | None:
        asked = question.signs = signs(question.asked.text or "")
        read, stored = await self._at_hand(question, [one.entry for one in near[:READ]])
        kind, served = question.rules.of(question.kind), None
        while True:
            choice = partition.choose(
                asked, near, stored.get, threshold=kind.threshold, min_score=kind.min_score
            )
            candidate = choice.candidate
            if candidate is None or not choice.would:
                break
            # Known or not, what is served is what the store has now.
            entry = read.get(candidate.entry) or await self._entry(question, candidate.entry)
            if entry is not None:
                served = Served(entry, "semantic", candidate.score)
                break
            del stored[candidate.entry]
        decision = question.decision = partition.settle(choice)
        for one in reversed(near):
            question.near[partition.answers.root(one.answer)] = one.entry
        question.reason = decision.reason
        if decision.kind is Kind.HIT:
            return served
        if decision.would:
            question.would = served
        return None

    async def close(self) -> None:
        """Save what was learned, and give threads and connections back."""
        await self.following.stop()
        await self.partitions.stop()
        if self._judge is not None:
            await self._judge.close()
        await self.index.close()
        await self.embedder.close()

    def packed(self, vector: Vectors) -> bytes:
        """A vector as the store keeps it."""
        return packed(vector)

    async def vector(self, question: Question) -> None:
        """Make the vector of a question that was not looked for. Raises CacheAway."""
        text = question.asked.text
        if question.vector is None and text is not None and self._compares(text):
            await self._embed(question, text)

    def _compares(self, text: str) -> bool:
        """The vector says all of a text that is soon taken apart."""
        return len(text) <= LONGEST and self.embedder.whole(text)

    async def _embed(self, question: Question, text: str) -> None:
        vectors, tokens = await self.embedder.embedded([text])
        if tokens:
            question.billing = self._billing
            question.tokens += tokens
            self._told.embedded(tokens)
        question.vector = vectors[0]

    async def _near(self, question: Question, text: str) -> list[Near]:
        began = time.perf_counter()
        try:
            await self._embed(question, text)
        except CacheAway:
            self._told.failed("embedder")
            question.reason = "embedder"
            return []
        embedded = time.perf_counter()
        self._told.took(embedded - began, "embed")
        if question.vector is None:
            return []
        try:
            found = await self.index.search(question.asked.family, question.vector, NEAREST)
        except CacheAway:
            self._told.failed("index")
            question.reason = "index"
            return []
        self._told.took(time.perf_counter() - embedded, "search")
        question.reason = "" if found else "empty"
        return found

    async def _at_hand(
        self, question: Question, near: Sequence[int]
    ) -> tuple[dict[int, Entry], dict[int, Signs]]:
        """Of those that may be served: the ones that had to be read, and the signs of all."""
        read, stored = dict[int, Entry](), dict[int, Signs]()
        wanted = []
        for one in near:
            known = self.known.of(one)
            if known is None:
                wanted.append(one)
            elif known.family == question.asked.family and question.takes_from(
                known.target, known.provider_model, known.created
            ):
                stored[one] = known.signs
        if not wanted:
            return read, stored
        try:
            found = await self._found(wanted)
        except StateError:
            self._told.failed("store")
            return {}, {}
        for one, entry in zip(wanted, found, strict=True):
            # Whatever an index says, of the question's family.
            if not _of_family(entry, question):
                self.following.missed(one)
                continue
            made = self._signs(entry)
            if made is not None and question.takes(entry):
                read[one], stored[one] = entry, made
        return read, stored

    async def _entry(self, question: Question, one: int) -> Entry | None:
        """An entry whose question was known, if it is still there."""
        try:
            entry = await self._store.find(one)
        except StateError:
            self._told.failed("store")
            return None
        if _of_family(entry, question):
            return entry
        self.known.drop((one,))
        self.following.missed(one)
        return None

    async def _found(self, entries: Sequence[int]) -> Sequence[Entry | None]:
        """At once; one alone without a task of its own. Raises StateError."""
        if len(entries) == 1:
            return (await self._store.find(entries[0]),)
        return await asyncio.gather(*map(self._store.find, entries))

    def _signs(self, entry: Entry) -> Signs | None:
        """Of what was asked, if it can be opened."""
        words = self._words.opened(entry)
        if words is None:
            return None
        made = signs(words)
        self.known.keep(entry.head, len(words), made)
        return made

    async def learn(self, question: Question, answer: bytes) -> Entry | None:
        """Take the provider's answer as a label. Returns the stored entry whose answer it is again,
        if it is one's. Raises StateError and CacheAway."""
        decision = question.decision
        if decision is None or decision.kind is Kind.HIT or not decision.answers:
            return None
        others = await self._others(question, decision)
        candidate = decision.candidate
        if candidate is not None and candidate.answer not in others:
            return None  # it went meanwhile: nothing can be said about it
        apart = await self._apart(question, answer, others)
        _BOOKED.set(question)
        alike = {one: entry for one, entry in others.items() if one not in apart}
        equal = await self._equal(question, answer, alike)
        key, rules = _partition(question)
        partition = await self.partitions.of(key, rules, family=question.asked.family)
        learned = partition.learn(decision, equal)
        self.partitions.learned(key, learned)
        if candidate is not None and decision.features is not None:
            right = candidate.answer in equal
            self._told.label(right, decision.kind is Kind.AUDIT)
        return next((others[one] for one in decision.answers if one in equal), None)

    async def _equal(
        self, question: Question, answer: bytes, others: Mapping[int, Entry]
    ) -> frozenset[int]:
        """Those that say what `answer` says. A judge, who is paid, is asked about the one alone
        that would be served if the verifier was sure of it."""
        best = question.decision.candidate if question.decision else None
        chain = question.rules.judge
        if best is None or best.score < question.rules.of(question.kind).min_score:
            chain = None
        judged = {best.answer} if best is not None and chain is not None else set[int]()
        found = frozenset[int]()
        for some, judge in ((judged, chain), (others.keys() - judged, None)):
            pairs = [(one, entry.value) for one, entry in others.items() if one in some]
            if pairs:
                text = question.asked.text or ""
                found |= await self._labeller.equal(text, answer, pairs, question.format, judge)
        return found

    async def _apart(
        self, question: Question, answer: bytes, others: Mapping[int, Entry]
    ) -> frozenset[int]:
        """Answers to questions that the guards tell from this one. They are not made one with its
        own unless they are the same to the letter: near each other they will be, and whoever asked
        for 20 GBP is not to be told of 20 EUR when he asks again."""
        candidate = question.decision.candidate if question.decision else None
        best = None if candidate is None else candidate.answer
        asked = question.signs or signs(question.asked.text or "")
        different, unknown = dict[int, Entry](), dict[int, Entry]()
        for one, entry in others.items():
            known = self.known.of(entry.head.id)
            if one == best:
                continue
            if known is None:
                unknown[one] = entry
            elif compare(asked, known.signs) is not None:
                different[one] = entry
        if not different and not unknown:
            return frozenset()
        return await asyncio.to_thread(
            self._told_apart, asked, answer, question.format, different, unknown
        )

    def _told_apart(
        self,
        asked: Signs,
        answer: bytes,
        format_: str,
        different: Mapping[int, Entry],
        unknown: Mapping[int, Entry],
    ) -> frozenset[int]:
        """Of entries with `different` questions, and with `unknown` ones that are different too,
        those that do not say the same. For a thread."""
        found = dict(different)
        for one, entry in unknown.items():
            words = self._words.opened(entry)
            if words is None or compare(asked, signs(words)) is not None:
                found[one] = entry
        if not found:
            return frozenset()
        said = spoken(answer, format_)
        return frozenset(
            one for one, entry in found.items() if spoken(entry.value, format_) != said
        )

    async def added(self, question: Question, entry: Entry) -> None:
        """An entry was put into the store. Raises CacheAway."""
        if not entry.vector or question.vector is None:
            return
        if self.index.shared:  # nobody else puts it there
            row = question.vector.reshape(1, -1)
            await self.index.add(entry.head.family, [entry.head.id], row)
        if question.signs is not None:
            self.known.keep(entry.head, len(question.asked.text or ""), question.signs)
        self.following.soon()

    async def _others(self, question: Question, decision: Decision) -> dict[int, Entry]:
        """The entries of the answers that were near, as far as they are still there."""
        others = {}
        for answer in decision.answers:
            if answer in question.near:  # one after the other: nobody waits
                entry = await self._store.find(question.near[answer])
                if _of_family(entry, question):
                    others[answer] = entry
        return others


def _of_family(entry: Entry | None, question: Question) -> TypeGuard[Entry]:
    return entry is not None and entry.head.family == question.asked.family


_BOOKED: ContextVar[Question] = ContextVar("booked")
"""The question that answers are embedded for, of which several are at once."""


class _Booking:
    """Books what is embedded for a question."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.failed = told.failed

    def embedded(self, tokens: int) -> None:
        """See `Told`."""
        if tokens:
            _BOOKED.get().tokens += tokens
            self._told.embedded(tokens)


def _partition(question: Question) -> tuple[bytes, CoreRules]:
    """The partition that decides, and its rules. Kinds of content with a bound of their own on
    errors are partitions of their own: the bound is what a partition is calibrated for."""
    rules, kind = question.rules, question.rules.of(question.kind)
    key = question.asked.family
    if kind.max_error != rules.of(DEFAULT).max_error:
        key = hashlib.sha256(key + question.kind.encode()).digest()
    return key, core_rules(rules, question.kind)


def core_rules(rules: Rules, kind: str = DEFAULT) -> CoreRules:
    """A route's rules as a partition takes them."""
    one = rules.of(kind)
    return CoreRules(
        max_error=one.max_error,
        audit=rules.audit,
        min_score=one.min_score,
        threshold=one.threshold,
        strict=rules.strict,
        verifier="calibrated" if rules.calibrated else "threshold",
        observe=not rules.serve,
    )
