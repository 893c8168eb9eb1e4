"""The whole story of one request, from its record."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.accounting.rollup.answer import dollars, iso
from extproc.records import Cost, GuardCount, RequestRecord

_COSTS = tuple(name for name in Cost.__struct_fields__ if name != "total")


class Event(msgspec.Struct, frozen=True):
    """Something that happened."""

    at: float
    """Seconds from the request's arrival."""
    what: str


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A level of the chain that was tried or passed over."""

    target: str
    outcome: str
    """`refused`, `answered` or `broke off`."""
    reason: str | None = None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request, in the order in which one asks."""

    id: str
    started: str
    """ISO 8601, UTC."""
    outcome: str
    """In words."""
    status: int
    error_type: str | None
    who: dict[str, Any]
    asked: dict[str, Any]
    answered: dict[str, Any]
    timeline: tuple[Event, ...]
    levels: tuple[Level, ...]
    tokens: dict[str, Any] | None
    """None: nobody knows."""
    cost: dict[str, Any] | None
    """Exact dollars; None: nobody knows."""
    saved_usd: msgspec.Raw
    cache: str
    cached: dict[str, Any] | None = None
    """What the cache made of it; None where it did not look."""
    observed: tuple[dict[str, Any], ...] = ()
    guard: tuple[GuardCount, ...] = ()
    """What the guard found: types and numbers."""
    content: msgspec.Raw | None = None
    """What was asked and answered, where the route keeps it."""

    def json(self) -> bytes:
        """The story as JSON."""
        return msgspec.json.encode(self)


def story(record: RequestRecord, content: bytes | None = None) -> Story:
    """Tell it. `content`: as it is kept, JSON."""
    usage, cost = record.usage, record.cost
    return Story(
        id=record.id,
        started=iso(record.started),
        outcome=_outcome(record),
        status=record.status,
        error_type=record.error_type,
        who=_who(record),
        asked={
            "operation": record.operation,
            "model": record.request_model,
            "stream": record.stream,
            "route": record.route,
            "chain": record.chain,
            "kind": record.kind,
            "input_estimate": record.input_estimate,
        },
        answered={
            "target": record.target,
            "provider": record.provider,
            "model": record.response_model,
            "attempts": record.attempts,
            "credentials": record.credentials,
        },
        timeline=_timeline(record),
        levels=_levels(record),
        tokens=None if usage is None else msgspec.structs.asdict(usage),
        cost=None if cost is None else _cost(cost),
        saved_usd=dollars(record.saved),
        cache=record.cache,
        cached=_cached(record),
        observed=tuple(
            {
                "capability": one.capability,
                "outcome": one.outcome,
                "detail": one.detail,
                "saved_usd": dollars(one.saved),
            }
            for one in record.observed
        ),
        guard=record.guard,
        content=None if content is None else msgspec.Raw(content),
    )


def _outcome(record: RequestRecord) -> str:
    if record.error_type == "lost":
        return "lost: the gateway stopped before it ended; tokens and cost are estimates"
    if record.aborted:
        return "aborted: the client went away or the stream broke before its end"
    if record.status >= 400 or record.error_type is not None:  # noqa: PLR2004 - HTTP's errors
        return f"failed: {record.error_type or record.status}"
    if record.kind == "shadow":
        return "paid for beside a request"
    if record.cache in {"hit", "semantic"}:
        return "served from the cache"
    return "served" if record.target is None else f"served by {record.target}"


def _who(record: RequestRecord) -> dict[str, Any]:
    said = record.attribution
    return {
        "identity": record.identity,
        "key": record.key,
        "tenant": record.tenant,
        "team": said.team,
        "user": said.user,
        "tier": record.tier,
        "feature": said.feature,
        "session": said.session,
        "priority": said.priority,
        "labels": dict(said.labels),
        "ignored": list(record.ignored),
    }


def _cached(record: RequestRecord) -> dict[str, Any] | None:
    if record.cache_kind is None and record.cache_entry is None:
        return None
    return {
        "kind": record.cache_kind,
        "entry": record.cache_entry,
        "score": record.cache_score,
    }


def _timeline(record: RequestRecord) -> tuple[Event, ...]:
    """Events in order of time; what is not known is left out."""
    found = [Event(0.0, "arrived")]
    if record.admission is not None:
        found.append(Event(record.admission, "sent on"))
        if record.upstream is not None:
            found.append(Event(record.admission + record.upstream, "head of the answer"))
    if record.ttft is not None:
        found.append(Event(record.ttft, "first content"))
    end = "broken off" if record.aborted else "ended"
    found.sort(key=lambda event: event.at)
    rounded = [Event(round(one.at, 6), one.what) for one in found]
    return (*rounded, Event(round(max(record.duration, found[-1].at), 6), end))


def _levels(record: RequestRecord) -> tuple[Level, ...]:
    found = [
        Level(target=target, outcome="refused", reason=reason) for target, reason in record.refusals
    ]
    if record.target is not None:
        outcome = "broke off" if record.aborted else "answered"
        found.append(Level(target=record.target, outcome=outcome, reason=record.error_type))
    return tuple(found)


def _cost(cost: Cost) -> dict[str, Any]:
    parts = {f"{name}_usd": dollars(getattr(cost, name)) for name in _COSTS}
    return {"total_usd": dollars(cost.total), "parts": parts}
