"""A cache that finds out that what it serves has become wrong, and stops."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.cache_gateways import Cached, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.limits_gateways import Hook, webhook
from tests.e2e.semantic_gateways import only, semantic_gateway

pytestmark = pytest.mark.e2e

ROUTE = "by-default"
EVENTS, LABELS = "tollgate_cache_events_total", "tollgate_cache_labels_total"
THINGS = [
    "kettle",
    "sofa",
    "carpet",
    "violin",
    "bicycle",
    "oven",
    "lantern",
    "mirror",
    "pillow",
    "teapot",
    "saddle",
    "canoe",
    "piano",
    "umbrella",
    "blanket",
    "sandal",
    "helmet",
    "curtain",
    "mattress",
    "fountain",
    "chimney",
    "basket",
    "barrel",
    "wallet",
    "compass",
    "microscope",
    "telescope",
    "guitar",
    "trumpet",
    "flute",
    "drum",
    "harp",
    "anchor",
    "paddle",
    "tent",
    "backpack",
    "suitcase",
    "hammock",
    "trampoline",
    "skateboard",
    "scooter",
    "tractor",
    "lawnmower",
    "chainsaw",
    "drill",
    "hammer",
    "chisel",
    "wrench",
    "pliers",
    "shovel",
    "rake",
    "wheelbarrow",
    "ladder",
    "bucket",
    "sponge",
    "broom",
    "mop",
    "towel",
    "apron",
    "oven-mitt",
    "saucepan",
    "skillet",
    "colander",
    "whisk",
    "grater",
    "blender",
    "toaster",
    "freezer",
    "dishwasher",
    "thermostat",
    "radiator",
    "chandelier",
    "doorbell",
    "mailbox",
    "fence",
    "greenhouse",
    "aquarium",
    "birdcage",
    "kennel",
    "stable",
    "beehive",
    "vineyard",
    "orchard",
    "pond",
]
ASKED = """How do I clean my|Tell me how to clean my|What is the best way of cleaning my
How can I clean my|How should I clean my|Explain how to clean my|Show me how to clean my
I want to clean my|I need to clean my|How does one clean a|What do I need to clean my
What helps to clean a|Give me tips to clean my|Can you explain how to clean a
What is the right way to clean a|What is a good method to clean my
Teach me how to clean my|How would you clean a""".replace("\n", "|").split("|")
BEGUN = ("", "Hi. ", "Hello there. ", "Quick question. ", "Please help. ", "Dear all. ")


@dataclass
class Stream:
    """Questions, of which none is drawn twice, and what the provider answers to them."""

    cached: Cached
    texts: list[tuple[str, str]]
    """Thing and question."""
    steps: int = 3
    kept: list[str] = field(default_factory=list)
    """Questions that the provider was asked."""

    def ask(self, one: tuple[str, str]) -> str:
        """Where the answer is from."""
        thing, text = one
        number = sum(map(ord, thing)) % 50 + self.steps
        found = self.cached.told(text, ROUTE, said=f"The {thing} takes {number} steps.")
        if found == "miss":
            self.kept.append(text)
        return found

    def run(self, pool: ThreadPoolExecutor, some: Sequence[tuple[str, str]]) -> Counter[str]:
        """By where they came from."""
        return Counter(pool.map(self.ask, some))

    def take(self, count: int) -> list[tuple[str, str]]:
        """New ones."""
        found, self.texts = self.texts[:count], self.texts[count:]
        assert len(found) == count
        return found


def questions() -> list[tuple[str, str]]:
    """In an order of their own; the same every time."""
    every = [
        (thing, f"{begun}{asked} {thing}?")
        for begun, asked, thing in itertools.product(BEGUN, ASKED, THINGS)
    ]
    random.Random(7).shuffle(every)
    return every


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[tuple[Stream, Hook]]:
    """With the default embedder and what it ships with."""
    with webhook() as hook:
        env = {"TOLLGATE_SERVE_ALERT_URL": hook.url}
        with semantic_gateway(tmp_path, env=env) as cached:
            yield Stream(cached, questions()), hook


def labelled(cached: Cached, **labels: str) -> float:
    return figures(cached.gateway).sum(LABELS, **labels)


def told_of(hook: Hook, event: str) -> list[Json]:
    return [one for one in hook.told if one["event"] == event]


def test_answers_that_change(stream: tuple[Stream, Hook]) -> None:
    """After 2,000 requests the provider says other things: within 100 audits nothing is served
    in other words any more, exact hits go on, and people are told. Once answers hold again, so
    does the cache."""
    questions, hook = stream
    cached = questions.cached
    with ThreadPoolExecutor(6) as pool:
        questions.run(pool, questions.take(1500))
        late = questions.run(pool, questions.take(500))
        assert late["semantic"] >= 200, late
        assert figures(cached.gateway).sum(EVENTS) == 0
        audits = labelled(cached, audit="true")
        assert audits == pytest.approx(labelled(cached, audit="true", equal="true"), abs=10)

        kept, questions.steps = questions.kept[-20:], 400
        wrong = Counter[str]()
        while not figures(cached.gateway).sum(EVENTS, event="halted", route=ROUTE):
            wrong += questions.run(pool, questions.take(20))
            assert labelled(cached, audit="true") - audits <= 100, wrong
        assert wrong["semantic"] <= 400, wrong

        assert figures(cached.gateway).sum("tollgate_cache_halted") == 1
        assert "semantic" not in questions.run(pool, questions.take(60))
    (alert,) = poll(lambda: told_of(hook, "cache_halted"), what="the webhook")
    assert alert["route"] == ROUTE
    assert len(alert["partition"]) == 16
    assert not told_of(hook, "cache_resumed")
    log = (cached.gateway.folder / "service.log").read_text()
    lines = [line for line in log.splitlines() if "semantic hits of a partition are halted" in line]
    assert len(lines) == 1
    assert alert["partition"] in lines[0]
    # What was asked in these very words is answered as before.
    for text in kept:
        hit = only(cached, text, ROUTE)
        assert hit is not None
        assert where(hit) == "hit"

    with ThreadPoolExecutor(6) as pool:
        while not figures(cached.gateway).sum(EVENTS, event="resumed", route=ROUTE):
            questions.run(pool, questions.take(50))
        assert figures(cached.gateway).sum("tollgate_cache_halted") == 0
        served = 0
        while not served:  # until there is nothing left to ask
            served = questions.run(pool, questions.take(100))["semantic"]
    assert poll(lambda: told_of(hook, "cache_resumed"), what="the webhook")
