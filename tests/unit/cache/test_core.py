import random
from collections.abc import Callable

import pytest

from extproc.cache import Neighbour
from extproc.cache.core import Decision, Event, Kind, Partition, Rules

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
    partition = Partition(Rules(verifier="threshold", threshold=0.5), "static", draw=always)
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
    assert traffic.hits > 800
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
