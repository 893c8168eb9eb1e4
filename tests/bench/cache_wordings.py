"""Questions for the latency of the cache: one in thousands of wordings, and others that are none of
its."""

from __future__ import annotations

import random
from itertools import product
from typing import Final

QUESTION: Final = "How do I change the delivery address of my parcel?"
"""Is stored. Its wordings score above 0.75 with every embedder, and no guard turns one down."""

_BEFORE: Final = (
    "", "Hello, ", "Hi, ", "Hey, ", "Well, ", "So, ", "Okay, ", "Please, ", "Excuse me, ",
    "Good morning, ", "Good evening, ", "Hi there, ", "Hello everybody, ", "Thanks, and ",
    "Quick question: ", "One more thing, ", "Again, ", "Just wondering, ", "Please tell me, ",
    "Please explain: ",
)  # fmt: skip
_HOW: Final = (
    "how do I change", "how can I change", "how could I change", "how would I change",
    "how may I change", "how might I change", "how should I change", "how am I to change",
)  # fmt: skip
_WHAT: Final = (
    "the delivery address of my parcel", "the delivery address for my parcel",
    "the delivery address on my parcel", "the delivery address of the parcel",
    "my parcel's delivery address", "the parcel's delivery address",
    "the address for the delivery of my parcel", "my delivery address for the parcel",
)  # fmt: skip
_AFTER: Final = ("?", " please?", ", please?", " myself?", ", thanks?", " exactly?", "??", " then?")

_VERBS: Final = (
    "paint", "repair", "measure", "carry", "sell", "wash", "store", "test", "clean", "weigh",
    "order", "return", "copy", "print", "plant", "cut", "heat", "cool", "move", "lift",
)  # fmt: skip
_THINGS: Final = (
    "bridge", "violin", "garden", "engine", "letter", "window", "kettle", "camera", "tent", "lamp",
    "carpet", "ladder", "mirror", "basket", "candle", "pencil", "saddle", "barrel", "anchor",
    "trumpet", "blanket", "bicycle", "shovel", "helmet", "drawer", "curtain", "fountain", "statue",
)  # fmt: skip
_PLACES: Final = (
    "workshop", "harbour", "cellar", "library", "kitchen", "meadow", "station", "tower", "market",
    "museum", "stable", "chapel", "factory", "hospital", "theatre", "airport",
)  # fmt: skip


def wordings() -> list[str]:
    """Thousands of them, each once, in an order that is always the same."""
    found = []
    for before, how, what, after in product(_BEFORE, _HOW, _WHAT, _AFTER):
        text = f"{before}{how} {what}{after}"
        found.append(text[:1].upper() + text[1:])
    found.remove(QUESTION)
    random.Random(7).shuffle(found)
    return found


def stranger(number: int) -> str:
    """A question that nobody has asked if nobody has used the number: another figure is in each."""
    draw = random.Random(number)
    verb, thing, other, place = (draw.choice(some) for some in (_VERBS, _THINGS, _THINGS, _PLACES))
    return f"How does one {verb} {number + 1} of a {thing} beside the {other} in a {place}?"
