"""What the gateway filter knows at the end: the record of a request, and the log's facts."""

from __future__ import annotations

import time

from extproc.accounting import Cost, RequestRecord, Usage, cost, usd
from extproc.catalogue import Price
from extproc.filters.admission import Asked
from extproc.identity import Attribution, user_hash
from extproc.telemetry import Telemetry

Facts = dict[str, str | int | float]


class Settlement:
    """Settles one request exactly once."""

    __slots__ = ("_asked", "_telemetry", "settled")

    def __init__(self, asked: Asked, telemetry: Telemetry) -> None:
        self._asked = asked
        self._telemetry = telemetry
        self.settled = False

    def settle(
        self,
        status: int,
        *,
        error: str | None = None,
        usage: Usage | None = None,
        price: Price | None = None,
        model: str | None = None,
        ttft: float | None = None,
        aborted: bool = False,
    ) -> Facts:
        """Record the request; later calls do nothing. Returns facts for the access log."""
        if self.settled:
            return {}
        self.settled = True
        asked = self._asked
        spent = cost(usage, price)
        record = RequestRecord(
            id=asked.id,
            started=asked.started,
            duration=time.monotonic() - asked.clock,
            route=asked.route.policy.route,
            chain=asked.route.policy.chain,
            target=asked.target.target if asked.target else None,
            provider=asked.target.system if asked.target else None,
            request_model=asked.model,
            response_model=model,
            stream=asked.stream,
            status=status,
            error_type=error,
            usage=usage,
            cost=spent,
            ttft=ttft,
            attempts=asked.attempts,
            attribution=asked.attribution,
            aborted=aborted,
            refusals=asked.refusals,
            operation=asked.operation,
        )
        self._telemetry.record(record)
        return facts(record, spent)


def early_facts(asked: Asked) -> Facts:
    """What is known at the head of a stream: all that the access log gets to see when the stream
    breaks, since nothing can be said to Envoy after that."""
    target = asked.target
    found: Facts = {"route": asked.route.policy.route, "attempts": asked.attempts}
    if target is not None:
        found |= {"target": target.target, "provider": target.system, "model": target.model}
    return found | _whose(asked.attribution) | _refusals(asked.refusals)


def _whose(attribution: Attribution) -> Facts:
    user = attribution.user
    known = {
        "feature": attribution.feature,
        "team": attribution.team,
        "user_hash": user_hash(user) if user else None,
    }
    return {name: fact for name, fact in known.items() if fact is not None}


def _refusals(refusals: tuple[tuple[str, str], ...]) -> Facts:
    if not refusals:
        return {}
    return {"refusals": ",".join(f"{name}:{reason}" for name, reason in refusals)}


def facts(record: RequestRecord, spent: Cost | None) -> Facts:
    """A record as the access log shows it. Absent is unknown."""
    found: Facts = {
        "request_id": record.id,
        "route": record.route,
        "cache": "bypass",
        "attempts": record.attempts,
    }
    usage = record.usage
    if usage is not None:
        found |= {
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "cached_tokens": usage.cached_input,
            "estimated": "true" if usage.estimated else "false",
        }
    optional = {
        "target": record.target,
        "provider": record.provider,
        "model": record.response_model,
        "cost_nanousd": None if spent is None else spent.total,
        "cost_usd": None if spent is None else usd(spent.total),
        "ttft_ms": None if record.ttft is None else round(record.ttft * 1000, 1),
        "error": record.error_type,
    }
    found.update({name: fact for name, fact in optional.items() if fact is not None})
    return found | _whose(record.attribution) | _refusals(record.refusals)
