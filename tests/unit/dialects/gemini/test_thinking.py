import json
from typing import Any

import pytest

from tests.unit.dialects.gemini.samples import lacks, wire

PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"
PRO3, PRO31, FLASH3 = "gemini-3-pro-preview", "gemini-3.1-pro-preview", "gemini-3-flash-preview"


def budget(tokens: int) -> dict[str, Any]:
    return {"includeThoughts": True, "thinkingBudget": tokens}


def level(name: str) -> dict[str, Any]:
    return {"includeThoughts": True, "thinkingLevel": name}


def effort(name: str) -> dict[str, Any]:
    return {"reasoning_effort": name}


@pytest.mark.parametrize(
    ("model", "fields", "expected", "warnings"),
    [
        (FLASH, effort("minimal"), budget(1024), ()),
        (FLASH, effort("low"), budget(1024), ()),
        (FLASH, effort("medium"), budget(8192), ()),
        (FLASH, effort("high"), budget(24_576), ()),
        (FLASH, effort("xhigh"), budget(24_576), ()),
        (PRO, effort("max"), budget(32_768), ()),
        (FLASH, effort("none"), {"thinkingBudget": 0}, ()),
        (LITE, effort("none"), {"thinkingBudget": 0}, ()),
        (
            PRO,
            effort("none"),
            {"thinkingBudget": 128},
            ("reasoning_effort (cannot be switched off: 128 tokens were sent)",),
        ),
        (FLASH3, effort("minimal"), level("MINIMAL"), ()),
        (FLASH3, effort("low"), level("LOW"), ()),
        (FLASH3, effort("medium"), level("MEDIUM"), ()),
        (FLASH3, effort("high"), level("HIGH"), ()),
        (FLASH3, effort("xhigh"), level("HIGH"), ("reasoning_effort (xhigh: HIGH was sent)",)),
        (PRO3, effort("medium"), level("HIGH"), ("reasoning_effort (medium: HIGH was sent)",)),
        (PRO31, effort("medium"), level("MEDIUM"), ()),
        (PRO31, effort("minimal"), level("LOW"), ("reasoning_effort (minimal: LOW was sent)",)),
        (
            PRO31,
            effort("none"),
            {"thinkingLevel": "LOW"},
            ("reasoning_effort (cannot be switched off: LOW was sent)",),
        ),
        ("gemini-2.0-flash", effort("none"), None, ()),
        (FLASH, {"reasoning": {"effort": "low"}}, budget(1024), ()),
        (FLASH, {"reasoning": {"max_tokens": 2000}}, budget(2000), ()),
        (FLASH, {"reasoning": {"enabled": True}}, budget(-1), ()),
        (FLASH, {"reasoning": {"enabled": False}}, {"thinkingBudget": 0}, ()),
        (
            FLASH,
            {"reasoning": {"effort": "low", "exclude": True}},
            {"thinkingBudget": 1024},
            (),
        ),
        (FLASH3, {"reasoning": {"enabled": True}}, {"includeThoughts": True}, ()),
        (FLASH, {"thinking": {"type": "enabled", "budget_tokens": 5000}}, budget(5000), ()),
        (
            FLASH,
            {"thinking": {"type": "enabled", "budget_tokens": 30_000}},
            budget(24_576),
            ("thinking.budget_tokens (30000: 24576 was sent)",),
        ),
        (
            LITE,
            {"thinking": {"type": "enabled", "budget_tokens": 100}},
            budget(512),
            ("thinking.budget_tokens (100: 512 was sent)",),
        ),
        (
            FLASH3,
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            level("MEDIUM"),
            ("thinking.budget_tokens (no budgets: level MEDIUM was sent)",),
        ),
        (FLASH, {"thinking": {"type": "adaptive"}}, budget(-1), ()),
        (
            FLASH,
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            {"thinkingBudget": -1},
            (),
        ),
        (FLASH, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}, ()),
        (
            FLASH,
            {"thinking": {"type": "enabled", "budget_tokens": 5000}, **effort("low")},
            budget(5000),
            (),
        ),
        (FLASH, {}, None, ()),
    ],
)
def test_config(
    model: str, fields: dict[str, Any], expected: dict[str, Any] | None, warnings: tuple[str, ...]
) -> None:
    found = wire(model, **fields)
    config = json.loads(found.body).get("generationConfig", {})
    assert config.get("thinkingConfig") == expected
    assert found.warnings == warnings


def test_an_effort_that_nobody_knows() -> None:
    assert lacks(reasoning_effort="x\n") == "reasoning: Gemini has no effort 'x\\n'"
