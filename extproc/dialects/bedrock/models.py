"""What each model behind Converse takes, as far as a request depends on it.

Sources: Amazon Bedrock's user guide ("Supported models and model features", "Structured outputs",
"Prompt caching", "Count tokens"), its API reference (`ToolChoice`), the user guides of Amazon Nova
and Nova 2 ("Extended thinking", "Request and response schema").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

from extproc.dialects.anthropic import models as anthropic
from extproc.dialects.anthropic.turns import FORMAT as CLAUDES

FORMAT: Final = "aws-bedrock-v1"
"""Of thinking whose seal only Bedrock's own models know, in `ReasoningDetail.format`."""

_ID: Final = re.compile(
    r"(?:.*[/:])?(?:(?:us|us-gov|eu|apac|au|jp|ca|sa|me|global)\.)?([a-z0-9-]+)\.([^/]+)"
)
_VERSION: Final = re.compile(r"-v\d+(?::\w+)*$")

_TERMS: Final = anthropic.Model(thinking="budget", recalls=True)

Reasons = Literal["none", "claude", "nova", "effort", "always", "unknown"]


@dataclass(frozen=True, slots=True)
class Model:
    """The defaults are what a model is taken to be of which nothing is known: a profile or an
    imported model, whose id does not say what it is."""

    vendor: str = ""
    name: str = ""
    """The vendor's own name of it, without version."""
    foundation: str = ""
    """The id of the foundation model, without the region of a profile; empty if it is unknown."""
    terms: anthropic.Model = _TERMS
    """What the part of the request that Bedrock shares with Anthropic must know."""
    reasons: Reasons = "unknown"
    """How it is made to think: not at all, in Claude's or Nova's way, by an effort, without being
    asked, or nobody knows."""
    named: bool = True
    """`toolChoice` may name a tool; if not, the tool that must be called is the only one sent."""
    tools: bool = True
    system: bool = True
    caches: bool = True
    """It takes cache points."""
    caches_tools: bool = True
    hears: bool = True

    @property
    def claude(self) -> bool:
        """It is one of Anthropic's."""
        return self.vendor == "anthropic"

    @property
    def format(self) -> str:
        """What its thinking is marked with. Anthropic's seals are good wherever Claude runs
        (extended-thinking, "Thinking encryption")."""
        return CLAUDES if self.claude else FORMAT


_KNOWN: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("amazon", "nova-", {"reasons": "none", "caches": True, "caches_tools": False}),
    ("amazon", "nova-2-", {"reasons": "nova"}),
    ("amazon", "nova-2-omni", {"hears": True}),
    (
        "amazon",
        "titan-",
        {"reasons": "none", "system": False, "tools": False, "prefill": False},
    ),
    ("openai", "", {"reasons": "effort", "forced": False, "structured": True}),
    ("meta", "", {"reasons": "none", "forced": False}),
    ("meta", "llama3-(?:8b|70b)|llama3-2-(?:1b|3b)|llama2", {"tools": False}),
    ("mistral", "", {"named": False}),
    ("mistral", "mistral-7b|mixtral", {"reasons": "none", "system": False, "tools": False}),
    ("mistral", "mistral-large-3|ministral|magistral|voxtral", {"structured": True}),
    ("mistral", "voxtral", {"hears": True}),
    ("cohere", "", {"reasons": "none", "forced": False}),
    ("cohere", "command-(?:text|light)", {"system": False, "tools": False}),
    ("ai21", "", {"reasons": "none", "forced": False}),
    ("deepseek", "", {"named": False, "structured": True}),
    ("deepseek", "r1", {"reasons": "always", "tools": False, "structured": False}),
    ("qwen", "", {"named": False, "structured": True}),
    ("google", "", {"named": False, "structured": True}),
    ("nvidia", "", {"named": False, "structured": True}),
    ("minimax", "", {"named": False, "structured": True}),
    ("moonshot(?:ai)?", "", {"named": False, "structured": True}),
)
"""Vendor, how the name begins, and what is so of it: all that fit, in this order."""

_OF_TERMS: Final = ("forced", "structured", "prefill")
_PREFILL: Final = ("amazon",)


@lru_cache(maxsize=256)
def of(model: str) -> Model:
    """What is known of the model with this id, which may be a foundation model's, a profile's, or
    the ARN of either."""
    found = _ID.fullmatch(model)
    if found is None:
        return Model()
    vendor, rest = found[1], found[2]
    name = _VERSION.sub("", rest)
    base = Model(vendor=vendor, name=name, foundation=f"{vendor}.{rest}", hears=False)
    if vendor == "anthropic":
        terms = anthropic.of(name)
        return replace(
            base,
            terms=replace(terms, search=False),
            reasons="none" if terms.thinking == "none" else "claude",
            # From Claude 3.5 on, as with the web search.
            caches=terms.search,
        )
    terms = replace(base.terms, prefill=vendor in _PREFILL)
    known = replace(base, caches=False)
    for vendors, names, facts in _KNOWN:
        if re.fullmatch(vendors, vendor) and re.match(names, name):
            of_terms = {key: value for key, value in facts.items() if key in _OF_TERMS}
            of_model = {key: value for key, value in facts.items() if key not in _OF_TERMS}
            terms = replace(terms, **of_terms)
            known = replace(known, **of_model)
    return replace(known, terms=terms)
