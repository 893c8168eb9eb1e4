"""How much a model should think: three ways to ask, two ways to say it to Gemini.

From Gemini 3 on thinking has a level, on 2.5 a budget of tokens. The budgets of the efforts are
those of Google's own OpenAI-compatible endpoint (ai.google.dev/gemini-api/docs/openai,
"Thinking"): minimal and low 1,024, medium 8,192, high 24,576. What is between the models' bounds
is sent, and a warning says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.dialects.chat.request import ChatRequest
from extproc.dialects.gemini.body import Thinking
from extproc.dialects.gemini.models import Model

_BUDGETS: Final = {
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
_LEVELS: Final = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
"""In the words of Gemini 3 Flash; what a model lacks becomes its nearest, see `_level`."""

_OFF: Final = frozenset({"none", "disabled"})
_AUTOMATIC: Final = -1
_LOW: Final = 1024
_MEDIUM: Final = 8192


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the request says, and under which name it says it."""

    name: str
    effort: str | None = None
    budget: int | None = None
    off: bool = False
    hidden: bool = False


def refusal(chat: ChatRequest, model: Model) -> str | None:
    """Why the model cannot think as asked."""
    asked = _asked(chat)
    if asked is None or asked.off:
        return None
    if not model.thinks:
        return f"reasoning: {model.name} does not think"
    if asked.effort is not None and asked.effort not in _LEVELS:
        return f"reasoning: Gemini has no effort {asked.effort!a}"
    return None


def config(chat: ChatRequest, model: Model, warnings: list[str]) -> Thinking | None:
    """The model's `thinkingConfig`; None when nothing is asked for: the model's own default."""
    if chat.reasoning_effort is None and chat.reasoning is None and chat.thinking is None:
        return None
    asked = _asked(chat)
    if asked is None or (asked.off and not model.thinks):
        return None
    return (
        _by_level(asked, model, warnings) if model.by_level else _by_budget(asked, model, warnings)
    )


def _asked(chat: ChatRequest) -> _Asked | None:  # noqa: PLR0911 - one return for each way to ask
    """What is asked: a number before a word, OpenAI's own name before others'."""
    reasoning, thinking = chat.reasoning, chat.thinking
    hidden = bool(reasoning and reasoning.exclude) or bool(
        thinking and thinking.display == "omitted"
    )
    if thinking is not None and thinking.budget_tokens is not None and thinking.type != "disabled":
        return _Asked("thinking.budget_tokens", budget=thinking.budget_tokens, hidden=hidden)
    if reasoning is not None and reasoning.max_tokens is not None:
        return _Asked("reasoning.max_tokens", budget=reasoning.max_tokens, hidden=hidden)
    if chat.reasoning_effort is not None:
        return _effort("reasoning_effort", chat.reasoning_effort, hidden=hidden)
    if reasoning is not None and reasoning.effort is not None:
        return _effort("reasoning.effort", reasoning.effort, hidden=hidden)
    if reasoning is not None and not (reasoning.enabled is None and reasoning.exclude is None):
        return _Asked("reasoning.enabled", off=reasoning.enabled is False, hidden=hidden)
    if thinking is None:
        return None
    return _Asked("thinking", off=thinking.type in _OFF, hidden=hidden)


def _effort(name: str, effort: str, *, hidden: bool) -> _Asked:
    if effort in _OFF:
        return _Asked(name, off=True)
    return _Asked(name, effort=effort, hidden=hidden)


def _shown(asked: _Asked) -> bool | None:
    return None if asked.hidden else True


def _by_level(asked: _Asked, model: Model, warnings: list[str]) -> Thinking:
    if asked.off:
        # Cannot be switched off from Gemini 3 on.
        level = _level("minimal", model)
        warnings.append(f"{asked.name} (cannot be switched off: {level} was sent)")
        return Thinking(thinking_level=level)
    if asked.budget is not None:
        effort = "low" if asked.budget <= _LOW else "medium" if asked.budget <= _MEDIUM else "high"
        level = _level(effort, model)
        warnings.append(f"{asked.name} (no budgets: level {level} was sent)")
        return Thinking(_shown(asked), None, level)
    if asked.effort is None:
        return Thinking(_shown(asked))
    level = _level(asked.effort, model)
    if level != asked.effort.upper():
        warnings.append(f"{asked.name} ({asked.effort}: {level} was sent)")
    return Thinking(_shown(asked), None, level)


def _level(effort: str, model: Model) -> str:
    """The nearest level that the model has: Pro has no minimal one, and Gemini 3.0 Pro only low
    and high."""
    level = _LEVELS[effort]
    if model.pro and level == "MINIMAL":
        return "LOW"
    if model.pro and level == "MEDIUM" and model.version == (3, 0):
        return "HIGH"
    return level


def _by_budget(asked: _Asked, model: Model, warnings: list[str]) -> Thinking:
    least, most = (128, 32_768) if model.pro else (512 if model.lite else 1, 24_576)
    if asked.off:
        if not model.pro:
            return Thinking(thinking_budget=0)
        warnings.append(f"{asked.name} (cannot be switched off: {least} tokens were sent)")
        return Thinking(thinking_budget=least)
    if asked.budget is not None:
        budget = min(max(asked.budget, least), most)
        if budget != asked.budget:
            warnings.append(f"{asked.name} ({asked.budget}: {budget} was sent)")
        return Thinking(_shown(asked), budget)
    if asked.effort is None:
        return Thinking(_shown(asked), _AUTOMATIC)
    return Thinking(_shown(asked), min(_BUDGETS[asked.effort], most))
