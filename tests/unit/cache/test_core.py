import random
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from extproc.cache import Neighbour
from extproc.cache.core import Decision, Event, Kind, Partition, Rules
from extproc.cache.guards import signs
from extproc.cache.verifier.features import WIDTH

FRANCE = ("What is the capital of France?", "Tell me France's capital city", 0.909)


def always() -> float:
    """Never an audit."""
    return 1.0


def ask(partition: Partition, a: str, b: str, score: float) -> Decision:
    """`a` is stored, `b` is asked."""
    return partition.decide(b, [Neighbour(0, score, 0)], lambda _: a)


class Traffic:
    """Topics, each asked again and again in wordings near each other: those of a lower number are
    farther off. `wrong` says of which the stored answer is not the provider's."""

    def __init__(self, partition: Partition, *, seed: int = 1) -> None:
        self.partition = partition
        self.draw = random.Random(seed)
        self.hits = self.wrong = self.audits = 0
        self.events: list[Event] = []

    def run(self, many: int, *, wrong: Callable[[float], bool]) -> None:
        for _ in range(many):
            self.one(wrong)
            job = self.partition.refit()
            if job is not None:
                event = self.partition.adopt(job())
                self.events += [event] if event else []

    def one(self, wrong: Callable[[float], bool]) -> None:
        score = self.draw.uniform(0.6, 1.0)
        near = [Neighbour(at, score - at * 0.01, 0 if at < 4 else at) for at in range(8)]
        decision = self.partition.decide(
            "what is a black hole", near, lambda _: "what are black holes made of"
        )
        bad = wrong(score)
        if decision.kind is Kind.HIT:
            self.hits += 1
            self.wrong += bad
            return
        self.audits += decision.kind is Kind.AUDIT
        learned = self.partition.learn(decision, () if bad else (0,))
        self.events += [learned.event] if learned.event else []


def from_score(line: float) -> Callable[[float], bool]:
    return lambda score: score < line


@pytest.mark.parametrize("family", ["static", "minilm", "http"])
def test_an_empty_cache_misses(family: str) -> None:
    decision = Partition(Rules(), family).decide("anything", [], lambda _: None)
    assert (decision.kind, decision.reason) == (Kind.MISS, "empty")


def test_two_wordings_meet_in_a_new_partition_with_minilm() -> None:
    assert ask(Partition(Rules(), "minilm", draw=always), *FRANCE).kind is Kind.HIT


@pytest.mark.parametrize("family", ["static", "minilm", "http"])
@pytest.mark.parametrize("verifier", ["calibrated", "threshold"])
@pytest.mark.parametrize(
    ("a", "b", "guard"),
    [
        ("100 USD in euro", "1000 USD in euro", "number"),
        ("may I work remotely", "may I not work remotely", "negation"),
    ],
)
def test_a_guard_stands_over_any_score(
    a: str, b: str, guard: str, family: str, verifier: str
) -> None:
    rules = Rules(verifier="threshold" if verifier == "threshold" else "calibrated")
    decision = ask(Partition(rules, family, draw=always), a, b, 0.999)
    assert (decision.kind, decision.reason) == (Kind.MISS, guard)


def test_when_a_guard_turns_down_the_nearest_the_next_may_serve() -> None:
    questions = {0: "100 USD in euro", 1: "how much is 1000 USD in euro"}
    near = [Neighbour(0, 0.99, 0), Neighbour(1, 0.98, 1)]
    decision = Partition(Rules(), "minilm", draw=always).decide(
        "1000 USD in euro", near, questions.get
    )
    assert decision.candidate == near[1]


def test_nothing_below_min_score_is_served_and_a_request_may_ask_for_more() -> None:
    rules = Rules(verifier="threshold", threshold=0.5, min_score=0.75)
    partition = Partition(rules, "static", draw=always)
    assert ask(partition, "a b c", "a b c d", 0.74).reason == "far"
    assert ask(partition, "a b c", "a b c d", 0.76).kind is Kind.HIT
    asked = partition.decide("a b c d", [Neighbour(0, 0.9, 0)], lambda _: "a b c", threshold=0.95)
    assert asked.reason == "unsure"


def test_without_a_prior_the_threshold_decides_until_there_are_labels() -> None:
    partition = Partition(Rules(), "http", draw=always)
    assert ask(partition, "a b c", "a b c d", 0.94).kind is Kind.MISS
    assert ask(partition, "a b c", "a b c d", 0.96).kind is Kind.HIT


def test_audits_are_the_share_that_was_asked_for() -> None:
    partition = Partition(
        Rules(verifier="threshold", audit=0.2), "http", draw=random.Random(7).random
    )
    kinds = [ask(partition, "a b c", "a b c d", 0.99).kind for _ in range(2000)]
    assert 0.17 < kinds.count(Kind.AUDIT) / 2000 < 0.23


@pytest.mark.parametrize("family", ["static", "minilm", "http"])
def test_a_partition_learns_where_its_answers_hold(family: str) -> None:
    traffic = Traffic(Partition(Rules(), family, draw=random.Random(3).random))
    traffic.run(4000, wrong=from_score(0.85))
    assert traffic.hits > 600
    assert traffic.wrong / 4000 <= 0.01
    assert not traffic.events


def test_traffic_without_repeats_is_served_nothing() -> None:
    traffic = Traffic(Partition(Rules(), "minilm", draw=random.Random(3).random))
    traffic.run(1500, wrong=lambda _: True)
    assert traffic.wrong / 1500 <= 0.01


def test_it_stops_when_the_answers_have_changed_and_resumes_by_what_it_sees_then() -> None:
    partition = Partition(Rules(), "minilm", draw=random.Random(3).random)
    traffic = Traffic(partition)
    traffic.run(3000, wrong=from_score(0.85))
    before = traffic.audits
    while not partition.halted:
        traffic.run(1, wrong=lambda _: True)
        assert traffic.audits - before <= 100
    assert traffic.events == [Event.HALTED]
    hits = traffic.hits
    traffic.run(500, wrong=lambda _: True)
    assert (traffic.hits, partition.halted) == (hits, True)
    traffic.run(3000, wrong=from_score(0.85))
    assert traffic.events == [Event.HALTED, Event.RESUMED]
    assert traffic.hits > hits


def test_strict_serves_nothing_before_four_hundred_labels() -> None:
    partition = Partition(Rules(strict=True), "minilm", draw=random.Random(3).random)
    traffic = Traffic(partition)
    while partition.labels < 400:
        traffic.run(1, wrong=from_score(0.85))
        assert traffic.hits == 0
    traffic.run(1000, wrong=from_score(0.85))
    assert traffic.hits > 0


def test_observe_serves_nothing_and_says_what_it_would_have() -> None:
    decision = ask(Partition(Rules(observe=True), "minilm", draw=always), *FRANCE)
    assert (decision.kind, decision.reason, decision.would) == (Kind.MISS, "observed", True)


def test_a_hit_gives_no_label() -> None:
    partition = Partition(Rules(), "minilm", draw=always)
    with pytest.raises(ValueError, match="no label"):
        partition.learn(ask(partition, *FRANCE), (0,))


def test_what_says_the_same_shares_an_answer() -> None:
    partition = Partition(Rules(strict=True), "minilm")
    near = [Neighbour(0, 0.9, 10), Neighbour(1, 0.85, 11)]
    decision = partition.decide("a b c d", near, lambda _: "a b c")
    assert decision.answers == (10, 11)
    assert partition.learn(decision, (10, 11)).alias == 10
    assert partition.answers.root(11) == 10
    assert partition.answers.support(11) == 2


def test_a_state_survives_a_restart() -> None:
    partition = Partition(Rules(), "minilm", draw=random.Random(3).random)
    Traffic(partition).run(1500, wrong=from_score(0.85))
    again = Partition(Rules(), "minilm", draw=always, saved=partition.saved())
    assert again.saved() == partition.saved()
    assert (again.line, again.labels) == (partition.line, partition.labels)


@pytest.mark.parametrize("saved", [b"{", b"\x80\x01", b"\x81\xa4rows\x01"])
def test_a_broken_state_is_refused(saved: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        Partition(Rules(), "minilm", saved=saved)


@pytest.mark.parametrize("verifier", ["calibrated", "threshold"])
def test_a_score_alone_serves_no_stranger(verifier: Literal["calibrated", "threshold"]) -> None:
    partition = Partition(Rules(verifier=verifier), "http", draw=always)
    crafted = ask(partition, "How do I bake bread?", "Where is the post office?", 1.0)
    assert crafted.kind is Kind.MISS
    assert ask(partition, "How do I bake bread?", "How to bake a bread", 1.0).kind is Kind.HIT


def test_nothing_that_is_far_is_served_before_a_partition_has_proved_itself() -> None:
    partition = Partition(Rules(min_score=0.1), "minilm", draw=always)
    assert ask(partition, "reset my password", "my password: reset it", 0.74).reason == "far"


def test_the_most_likely_of_the_neighbours_is_served() -> None:
    questions = {0: "how do I reset a modem", 1: "how do I reset my password", 2: "password reset"}
    near = [Neighbour(0, 0.90, 0), Neighbour(1, 0.89, 1), Neighbour(2, 0.88, 1)]
    partition = Partition(Rules(), "minilm", draw=always)
    partition.answers.entered(1)
    decision = partition.decide("how can I reset my password?", near, questions.get)
    assert decision.candidate is not None
    assert decision.candidate.answer == 1


@pytest.mark.parametrize("verifier", ["calibrated", "threshold"])
def test_both_rules_stop_and_resume(verifier: Literal["calibrated", "threshold"]) -> None:
    rules = Rules(verifier=verifier, threshold=0.9)
    traffic = Traffic(Partition(rules, "minilm", draw=random.Random(5).random))
    traffic.run(2000, wrong=from_score(0.85))
    before = traffic.audits
    while not traffic.partition.halted:
        traffic.run(1, wrong=lambda _: True)
        assert traffic.audits - before <= 100
    traffic.run(3000, wrong=from_score(0.85))
    assert traffic.events == [Event.HALTED, Event.RESUMED]


class Workers:
    """Partitions of one route in several workers, which hear each other's labels."""

    def __init__(self, many: int) -> None:
        self.partitions = [
            Partition(Rules(), "minilm", draw=random.Random(seed).random) for seed in range(many)
        ]
        self.log: list[bytes] = []
        self.events: list[list[Event]] = [[] for _ in range(many)]
        self.audits = 0
        self._draw = random.Random(9)

    def run(self, many: int, *, wrong: Callable[[float], bool]) -> None:
        for _ in range(many):
            at = self._draw.randrange(len(self.partitions))
            label = self._ask(at, wrong)
            if label is None:
                continue
            self.log.append(label)
            for other, partition in enumerate(self.partitions):
                self._note(other, partition.heard(label))
                job = partition.refit()
                if job is not None:
                    self._note(other, partition.adopt(job()))

    def _ask(self, at: int, wrong: Callable[[float], bool]) -> bytes | None:
        score = self._draw.uniform(0.6, 1.0)
        near = [Neighbour(n, score - n * 0.01, 0 if n < 4 else n) for n in range(8)]
        decision = self.partitions[at].decide(
            "what is a black hole", near, lambda _: "what are black holes made of"
        )
        if decision.kind is Kind.HIT:
            return None
        self.audits += decision.kind is Kind.AUDIT
        learned = self.partitions[at].learn(decision, () if wrong(score) else (0,))
        self._note(at, learned.event)
        return learned.label

    def _note(self, at: int, event: Event | None) -> None:
        self.events[at] += [event] if event else []


def test_a_halt_and_a_resume_reach_all_workers() -> None:
    workers = Workers(3)
    workers.run(4000, wrong=from_score(0.85))
    assert len({one.labels for one in workers.partitions}) == 1
    before = workers.audits
    while not all(one.halted for one in workers.partitions):
        workers.run(1, wrong=lambda _: True)
        assert workers.audits - before <= 100
    workers.run(4000, wrong=from_score(0.85))
    assert workers.events == [[Event.HALTED, Event.RESUMED]] * 3


def test_a_log_may_be_read_twice_and_by_who_has_read_the_state() -> None:
    workers = Workers(2)
    workers.run(1500, wrong=from_score(0.85))
    first = workers.partitions[0]
    saved, labels = first.saved(), first.labels
    again = Partition(Rules(), "minilm", draw=always, saved=saved)
    for partition in (first, again):
        for label in workers.log:
            partition.heard(label)
        assert partition.labels == labels
    fresh = Partition(Rules(), "minilm", draw=always)
    for label in workers.log:
        fresh.heard(label)
    assert fresh.labels == labels


def test_what_is_no_label_is_refused_and_harms_nothing() -> None:
    partition = Partition(Rules(), "minilm", draw=always)
    with pytest.raises(ValueError, match="label"):
        partition.heard(b"\x00\x01")
    assert partition.labels == 0


@pytest.mark.parametrize(
    "harm",
    [
        {"lookups": -1},
        {"misses": 0.0},
        {"coefficients": [float("nan")] * WIDTH},
        {"coefficients": [0.0]},
        {"answers": {"entries": {}, "same": {1: 2, 2: 1}}},
        {"answers": {"entries": {}, "same": {1: 1}}},
        {"stop": {"capital": []}},
    ],
)
def test_a_state_that_cannot_be_is_refused(harm: dict[str, Any]) -> None:
    partition = Partition(Rules(), "minilm", draw=always)
    Traffic(partition).run(50, wrong=from_score(0.85))
    state = msgspec.msgpack.decode(partition.saved(), strict=False)
    with pytest.raises(ValueError, match="state"):
        Partition(Rules(), "minilm", saved=msgspec.msgpack.encode({**state, **harm}))


def test_an_entry_that_is_gone_after_all_gives_way_to_the_next_and_counts_for_nothing() -> None:
    partition = Partition(Rules(verifier="threshold", audit=0.0), "minilm")
    before = partition.saved()
    near = [Neighbour(1, 0.99, 1), Neighbour(2, 0.98, 2)]
    stored = {1: signs("how do I reset my password"), 2: signs("how can I reset my password")}
    asked = signs("how do I reset my password?")
    first = partition.choose(asked, near, stored.get)
    assert first.would
    assert first.candidate is not None
    assert first.candidate.entry == 1
    del stored[1]
    second = partition.choose(asked, near, stored.get)
    assert partition.saved() == before
    decision = partition.settle(second)
    assert decision.kind is Kind.HIT
    assert decision.candidate is not None
    assert decision.candidate.entry == 2
    assert decision.lookup == 1
