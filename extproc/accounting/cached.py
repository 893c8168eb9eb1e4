"""What the cache did for a request, as its record, the access log and reports tell it, and what an
embedder was paid meanwhile."""

from __future__ import annotations

from typing import Final, Literal

from extproc.accounting.cost import cost
from extproc.catalogue import Catalogue, Price
from extproc.records import MOST_MODEL, Observation, RequestRecord, Usage

SYSTEMS: Final = ("openai", "gcp.gemini", "mistral_ai", "cohere")
"""Providers whose embeddings the catalogue has prices of. An endpoint is known by its model's name
alone, and no two of them call a model the same."""
_FEATURE: Final = "embeddings"
_DIGITS: Final = 4
"""Digits of a score behind the point: embedders tell no two texts apart by less."""

Facts = dict[str, str | int | float]


def cache_facts(record: RequestRecord) -> Facts:
    """The access log's facts: `cache`, and for an answer that was kept `saved_nanousd`,
    `cache_entry` and `cache_score`. What is absent is nothing."""
    found: Facts = {"cache": record.cache}
    if record.saved:
        found["saved_nanousd"] = record.saved
    if record.cache_entry is not None:
        found["cache_entry"] = record.cache_entry
    if record.cache_score is not None:
        found["cache_score"] = round(record.cache_score, _DIGITS)
    return found


def cache_observed(entry: str, saved: int, score: float | None = None) -> Observation:
    """What a cache that only observes would have served: the entry with an id, in place of so many
    nano-dollars. `score`: of a semantic hit, which is an outcome of its own, so that a report says
    what each mode would save."""
    semantic = score is not None
    return Observation(
        capability="cache",
        outcome="served_semantically" if semantic else "served_from_cache",
        detail=f"{entry} at {score:.3f}" if semantic else entry,
        saved=saved,
    )


def embedder_price(catalogue: Catalogue, model: str) -> tuple[str | None, Price | None]:
    """The provider of an embedder's model and what it takes for it, by the model's name. None: the
    catalogue does not know it, and its cost is unknown, not zero."""
    for system in SYSTEMS:
        found = catalogue.find(system, model)
        if found is not None and _FEATURE in (found.features or ()):
            return system, found.price
    return None, None


def shadow(
    of: RequestRecord,
    *,
    model: str,
    usage: Usage | None,
    provider: str | None = None,
    price: Price | None = None,
    duration: float = 0.0,
    operation: Literal["embeddings"] = "embeddings",
    number: int = 1,
) -> RequestRecord:
    """The record of something that was paid for beside a request: whoever asked pays for it too,
    in the same hour. To be settled as any record, once.

    of: the record of the request. model: what was asked for. usage: None if nobody counted.
    duration: seconds. number: from 1; which of several of one operation.
    """
    return RequestRecord(
        id=f"{of.id}.{operation}" + ("" if number == 1 else str(number)),
        kind="shadow",
        started=of.started,
        duration=duration,
        route=of.route,
        provider=provider,
        request_model=model[:MOST_MODEL],
        response_model=model[:MOST_MODEL],
        operation=operation,
        usage=usage,
        cost=cost(usage, price),
        attribution=of.attribution,
        identity=of.identity,
        key=of.key,
        tenant=of.tenant,
        tier=of.tier,
    )
