"""Requests as Anthropic gets them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from anthropic.types.beta.message_create_params import (
    MessageCreateParamsBase as BetaMessageCreateParams,
)
from anthropic.types.message_create_params import MessageCreateParamsBase
from pydantic import TypeAdapter

from extproc.dialects.anthropic import Anthropic
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import body, drain

PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsBase)
BETA: TypeAdapter[Any] = TypeAdapter(BetaMessageCreateParams)
MODEL = "claude-sonnet-4-5"


def sent(
    fields: dict[str, Any], model: str = MODEL, cap: int | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as Anthropic gets it, held against the SDK's type, and the warnings."""
    level = Level(Anthropic(), model=model, output_cap=cap)
    given = body(**fields)
    assert level.lacks(given) is None
    wire = level.request(given)
    assert wire.path == "/v1/messages"
    assert wire.headers[:2] == (
        ("anthropic-version", "2023-06-01"),
        ("content-type", "application/json"),
    )
    tree = json.loads(wire.body)
    beta = dict(wire.headers).get("anthropic-beta")
    drain((BETA if beta else PARAMS).validate_python(tree))
    for turn in tree["messages"]:
        assert turn["content"]
        if isinstance(turn["content"], str):
            turn["content"] = [text(turn["content"])]
    roles = [turn["role"] for turn in tree["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in itertools.pairwise(roles))
    return tree, wire.warnings


def betas(fields: dict[str, Any], model: str = MODEL) -> str | None:
    """`anthropic-beta` of the request."""
    wire = Level(Anthropic(), model=model).request(body(**fields))
    return dict(wire.headers).get("anthropic-beta")


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def turn(role: str, *said: str) -> dict[str, Any]:
    return {"role": role, "content": [text(one) for one in said]}
