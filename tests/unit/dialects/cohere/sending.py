"""Requests as Cohere gets them."""

from __future__ import annotations

import json
from typing import Any

from extproc.dialects.cohere import Cohere
from extproc.simulator import cohere_request as wire
from extproc.simulator.cohere_rules import broken_rule
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import body

MODEL = "command-a-03-2025"
THINKER = "command-a-reasoning-08-2025"
SEER = "command-a-vision-07-2025"


def level(model: str = MODEL, **fields: Any) -> Level:
    """After a request of these fields."""
    found = Level(Cohere(clock=lambda: 1_700_000_000.0), model=model)
    if fields:
        found.request(body(**fields))
    return found


def sent(model: str = MODEL, /, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as Cohere gets it, held against the API's fields and rules, and the warnings."""
    found = level(model)
    given = body(**fields)
    assert found.lacks(given) is None
    made = found.request(given)
    assert made.path == "/v2/chat"
    assert broken_rule(wire.CHAT.decode(made.body)) is None
    tree: dict[str, Any] = json.loads(made.body)
    assert tree.pop("model") == model
    return tree, made.warnings


def lacks(model: str = MODEL, /, **fields: Any) -> str | None:
    return level(model).lacks(body(**fields))
