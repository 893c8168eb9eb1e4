"""How much a model shall think: three ways to ask, and what each generation of Claude takes."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from extproc.dialects.anthropic.models import EFFORTS, Model
from extproc.dialects.chat.request import ChatRequest

SHARES: Final = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
"""Effort to the share of `max_tokens` that may be thought, as OpenRouter documents it ("Reasoning
tokens"), which knew both ways to ask first."""

MIN_BUDGET: Final = 1024
"""Tokens: Anthropic refuses less."""

DEFAULT_MAX_TOKENS: Final = 16_000
"""`max_tokens` of a request that names none, for a model that thinks and whose target has no
`output_cap`: thinking counts towards it. Every Claude that can think can write twice as much."""

DROP_BLOCK: Final = {"prefix_mismatch_behavior": "drop_block"}
BINDING_BETA: Final = "thinking-binding-controls-2026-08-01"
"""Takes `block_binding`. Without it thinking that is sent back behind a conversation that has
changed is a 400."""


class Config(Struct, frozen=True, omit_defaults=True):
    """`thinking` of a request."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None
    block_binding: dict[str, str] | None = None


class Asked(Struct, frozen=True):
    """What the client wants. `name` is the parameter that said so."""

    name: str = ""
    on: bool | None = None
    """None: whatever the model does by itself."""
    effort: str | None = None
    budget: int | None = None
    display: str | None = None


class Plan(Struct, frozen=True):
    """What is sent. `active`: the model is asked to think, or does so unless told not to."""

    config: Config | None = None
    effort: str | None = None
    max_tokens: int = 0
    active: bool = False
    warnings: tuple[str, ...] = ()


NOTHING: Final = Asked()
_OFF: Final = ("disabled", "between_tools")


def asked(chat: ChatRequest) -> Asked:
    """The three ways as one. What is more exact counts: `thinking`, `reasoning`, then
    `reasoning_effort`."""
    own, routed, effort = chat.thinking, chat.reasoning, chat.reasoning_effort
    if routed is not None:
        effort = routed.effort or effort
    level = None if effort == "none" else effort
    if own is not None:
        return Asked("thinking", own.type not in _OFF, level, own.budget_tokens, own.display)
    if routed is None:
        return NOTHING if effort is None else Asked("reasoning_effort", effort != "none", level)
    on: bool | None = None
    if routed.enabled is False or (effort == "none" and routed.max_tokens is None):
        on = False
    elif routed.enabled or level is not None or routed.max_tokens is not None:
        on = True
    display = "omitted" if routed.exclude else None
    return Asked("reasoning", on, level, routed.max_tokens, display)


def plan(want: Asked, model: Model, limit: int | None, cap: int | None, bar: str | None) -> Plan:
    """What to send. `limit` and `cap` are the tokens that the client allows and the model can
    write; `bar` says why this request cannot be thought about, if it cannot."""
    on = want.on
    if model.thinking == "none" or (on is None and model.off == "omit"):
        return Plan(max_tokens=limit or cap or 0)
    tokens = limit or cap or DEFAULT_MAX_TOKENS
    warnings: list[str] = []
    if bar is not None:
        if on:
            warnings.append(f"{want.name} ({bar})")
        if model.off == "never":
            # It thinks as it likes.
            effort = _effort(want, model.efforts, warnings)
            return Plan(None, effort, tokens, True, tuple(warnings))
        on = False
    if not on:
        return _without(want, model, tokens, forbidden=on is False, warnings=warnings)
    if model.thinking == "budget" or (model.thinking == "either" and want.budget is not None):
        return _budget(want, model, tokens, cap, limited=limit is not None)
    if want.budget is not None:
        warnings.append(f"{want.name} (no budget: the model itself decides)")
    effort = _effort(want, model.efforts, warnings)
    display = want.display or ("summarized" if model.hidden else None)
    return Plan(Config("adaptive", None, display), effort, tokens, True, tuple(warnings))


def _without(
    want: Asked, model: Model, tokens: int, *, forbidden: bool, warnings: list[str]
) -> Plan:
    config = effort = None
    if not forbidden:
        if want.display is not None:
            config = Config("adaptive", None, want.display)
        return Plan(config, None, tokens, True, tuple(warnings))
    if model.off == "never":
        warnings.append(f"{want.name} (the model always thinks: effort low was sent)")
        return Plan(None, "low", tokens, True, tuple(warnings))
    if model.off != "omit":
        config = Config(model.off)
    if want.effort is not None and model.efforts:
        # Effort is about more than thinking; without thinking no model takes more than high.
        effort = _effort(
            want, tuple(one for one in model.efforts if SHARES[one] <= _HIGH), warnings
        )
    return Plan(config, effort, tokens, False, tuple(warnings))


_HIGH: Final = SHARES["high"]


def _effort(want: Asked, efforts: tuple[str, ...], warnings: list[str]) -> str | None:
    """The highest effort that the model has and that is not more than was asked for."""
    effort = want.effort
    if effort is None or effort in efforts:
        return effort
    if effort == "minimal":
        found = efforts[0]
    elif effort in EFFORTS:
        below = EFFORTS[: EFFORTS.index(effort)]
        found = [one for one in efforts if one in below][-1]
    else:
        warnings.append(f"{want.name} (no such effort)")
        return None
    warnings.append(f"{want.name} (effort {found} was sent)")
    return found


def _budget(want: Asked, model: Model, tokens: int, cap: int | None, *, limited: bool) -> Plan:
    warnings: list[str] = []
    if want.budget is not None:
        budget = max(want.budget, MIN_BUDGET)
        if budget != want.budget:
            warnings.append(f"{want.name} (a budget of {MIN_BUDGET} was sent)")
    else:
        share = SHARES.get(want.effort or "medium")
        if share is None:
            warnings.append(f"{want.name} (no such effort)")
        budget = max(int(tokens * (share or SHARES["medium"])), MIN_BUDGET)
    allowed = tokens
    if budget >= tokens:
        allowed = tokens + budget if cap is None else min(tokens + budget, cap)
        if budget >= allowed:
            budget = max(allowed // 2, MIN_BUDGET)
            warnings.append(f"{want.name} (a budget of {budget} was sent)")
        if budget >= allowed:
            why = f"{want.name} (the model may not write enough tokens for it)"
            return _without(Asked(want.name), model, tokens, forbidden=True, warnings=[why])
        if limited and allowed != tokens:
            warnings.append(f"max_tokens (raised to {allowed}: it counts thinking too)")
    config = Config("enabled", budget, want.display)
    return Plan(config, None, allowed, True, tuple(warnings))
