"""What each generation of Claude takes, as far as a request depends on it.

From the pages of platform.claude.com/docs as of November 2026: thinking-troubleshooting (kinds of
thinking and what is rejected), effort, preserved-thinking, structured-outputs, web-search-tool,
and the migration guides of Claude 4.1 to 5.5 (sampling, prefill, forced tool use).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

LOW_TO_HIGH: Final = ("low", "medium", "high")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Model:
    """The defaults are what the first models took, and what servers of other models that speak
    this API are taken to."""

    thinking: Literal["none", "budget", "either", "adaptive"] = "none"
    """`enabled` with a budget, `adaptive` with an effort, or whichever is asked for."""
    off: Literal["omit", "disabled", "between_tools", "never"] = "omit"
    """How thinking is turned off: by not asking for it, by saying so, or not at all."""
    hidden: bool = False
    """Thinking comes without its text unless `display` asks for it."""
    bound: bool = False
    """Thinking counts only behind the very conversation that it was made in."""
    efforts: tuple[str, ...] = ()
    """What `output_config.effort` may be."""
    sampling: Literal["both", "either", "none"] = "both"
    """temperature and top_p: together, one of them, or 400 to any (top_k with them)."""
    prefill: bool = True
    """The conversation may end with the assistant's own words."""
    forced: bool = True
    """`tool_choice` may be `any` or a tool."""
    structured: bool = False
    """`output_config.format`, and `strict` tools."""
    search: bool = False
    """The web search tool."""
    recalls: bool = False
    """Earlier thinking goes back to it whether or not it is asked to think now."""


OTHER: Final = Model(thinking="budget", search=True)
"""A model that is no Claude."""

_Line = tuple[tuple[int, int], tuple[str, ...], dict[str, Any]]

GENERATIONS: Final[tuple[_Line, ...]] = (
    ((3, 5), (), {"search": True}),
    ((3, 7), (), {"thinking": "budget"}),
    ((4, 1), (), {"sampling": "either"}),
    ((4, 5), (), {"structured": True}),
    ((4, 5), ("opus",), {"efforts": LOW_TO_HIGH}),
    ((4, 6), (), {"thinking": "either", "efforts": (*LOW_TO_HIGH, "max"), "prefill": False}),
    ((4, 7), (), {"thinking": "adaptive", "hidden": True, "efforts": EFFORTS, "sampling": "none"}),
    ((5, 0), (), {"off": "disabled"}),
    ((5, 0), ("fable", "mythos"), {"off": "never"}),
    ((5, 1), ("fable", "mythos"), {"forced": False, "bound": True}),
    ((5, 5), (), {"bound": True}),
    ((5, 5), ("opus",), {"off": "never", "forced": False}),
    ((5, 5), ("sonnet",), {"off": "between_tools", "forced": False}),
)
"""From which version on, for which families (none: all), what changes."""

NEWEST: Final = Model(
    thinking="adaptive",
    off="never",
    hidden=True,
    bound=True,
    efforts=LOW_TO_HIGH,
    sampling="none",
    prefill=False,
    forced=False,
    structured=True,
    search=True,
)
"""A Claude of no known version: what every one of the newest takes."""

_PREVIEW: Final = Model(
    thinking="either",
    off="never",
    hidden=True,
    efforts=(*LOW_TO_HIGH, "max"),
    sampling="either",
    prefill=False,
    structured=True,
    search=True,
)
"""Claude Mythos Preview, whose name has no version."""

_NAME: Final = re.compile(r"claude-(?:([a-z]+)-)?(\d+)(?:[-.](\d{1,2})(?!\d))?(?:-([a-z]+))?")


@lru_cache(maxsize=256)
def of(name: str) -> Model:
    """What is known of the model of this name."""
    if not name.startswith("claude-"):
        return OTHER
    if name.startswith("claude-mythos-preview"):
        return _PREVIEW
    found = _NAME.match(name)
    if found is None:
        return NEWEST
    version = (int(found[2]), int(found[3] or 0))
    family = found[1] or found[4]
    model = Model()
    for since, families, changes in GENERATIONS:
        if version >= since and (not families or family in families):
            model = replace(model, **changes)
    return model
