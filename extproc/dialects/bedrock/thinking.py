"""How much a model that is not Claude shall think, each vendor in its own words."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc.dialects.anthropic.thinking import asked
from extproc.dialects.bedrock.models import Model
from extproc.dialects.chat import ChatRequest

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
"""Of these vendors; what is more is `high`."""
_BUDGETS: Final = ((2048, "low"), (8192, "medium"))
"""Tokens of a budget up to which an effort stands for it."""
_MIDDLE: Final = "medium"


class InferenceConfig(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What all models know."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None


def ask(
    chat: ChatRequest, known: Model, config: InferenceConfig, warnings: list[str]
) -> tuple[dict[str, Any], InferenceConfig]:
    """Fields of the model's own, and what of the parameters it takes beside them."""
    want = asked(chat)
    if want.on is None:
        return {}, config
    if not want.on:
        # Off is the default wherever there is one.
        if known.reasons in ("effort", "always", "unknown"):
            warnings.append(f"{want.name} (the model itself decides)")
        return {}, config
    if known.reasons not in ("effort", "nova"):
        if known.reasons != "always":
            warnings.append(want.name)
        return {}, config
    effort = _effort(want.effort, want.budget)
    if effort != want.effort:
        warnings.append(f"{want.name} (effort {effort} was sent)")
    if known.reasons == "effort":
        return {"reasoning_effort": effort}, config
    if effort == "high":
        effort, config = _highest(want.name, config, warnings)
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}, config


def _effort(effort: str | None, budget: int | None) -> str:
    if effort is not None:
        return _EFFORTS.get(effort, "high")
    if budget is not None:
        return next((one for most, one in _BUDGETS if budget <= most), "high")
    return _MIDDLE


def _highest(
    name: str, config: InferenceConfig, warnings: list[str]
) -> tuple[str, InferenceConfig]:
    """Nova takes neither a bound nor sampling beside the highest effort (Nova 2 user guide,
    "Extended thinking"). A bound is a promise, how much is thought is not."""
    if config.max_tokens is not None:
        warnings.append(f"{name} (effort medium was sent: high takes no max_tokens)")
        return _MIDDLE, config
    given = [one for one in ("temperature", "top_p") if getattr(config, one) is not None]
    warnings += [f"{one} (not with effort high)" for one in given]
    return "high", msgspec.structs.replace(config, temperature=None, top_p=None)
