"""What the gateway filter knows at the end: the record of a request, and the log's facts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from extproc.accounting import (
    Cost,
    RequestRecord,
    Usage,
    cache_facts,
    cache_observed,
    cost,
    guard_counts,
    guard_facts,
    guard_observed,
    shadow,
    usd,
)
from extproc.catalogue import Price
from extproc.errors import ClientError
from extproc.filters.admission import Asked
from extproc.identity import Attribution, attribution, user_hash
from extproc.limits import Limits
from extproc.records import (
    ANONYMOUS,
    MOST_CONTENT,
    MOST_MODEL,
    NOBODY,
    Caller,
    Content,
    GuardCount,
    Observation,
)
from extproc.state.answers import shown
from extproc.telemetry import Telemetry

Facts = dict[str, str | int | float]
FREE: Final = Cost(0, 0, 0, 0, 0, 0, 0, 0)
"""What an answer out of the cache costs."""
UNRECORDED: Final = ClientError(
    503,
    "server_error",
    "ledger_unavailable",
    "The gateway cannot record requests at the moment, and this route serves none that are not.",
    retry_after=5.0,
)


class Ledger(Protocol):
    """Where records go: each id once, whatever happens to this process."""

    def reserve(self, record: RequestRecord) -> bool:
        """What stands of a request if nothing more is heard of it. False: it could not be
        written."""
        ...

    def settle(self, record: RequestRecord, content: Content | None = None) -> bool:
        """How a request ended. False: it could not be written."""
        ...


class NoLedger:
    """Keeps nothing."""

    def reserve(self, record: RequestRecord) -> bool:  # noqa: ARG002 - the door's shape
        """See `Ledger`."""
        return True

    def settle(self, record: RequestRecord, content: Content | None = None) -> bool:  # noqa: ARG002 - the door's shape
        """See `Ledger`."""
        return True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended."""

    status: int
    """What the client got."""
    error: str | None = None
    usage: Usage | None = None
    price: Price | None = None
    model: str | None = None
    """What the provider says it used."""
    ttft: float | None = None
    aborted: bool = False


class Settlement:
    """Settles one request exactly once."""

    __slots__ = ("_answer", "_asked", "_content", "_ledger", "_limits", "_request", "_secret",
                 "_telemetry", "settled")  # fmt: skip

    def __init__(
        self,
        asked: Asked,
        telemetry: Telemetry,
        ledger: Ledger,
        limits: Limits,
        secret: bytes = b"",
    ) -> None:
        """`secret`: what users in the access log are keyed with."""
        self._asked = asked
        self._secret = secret
        self._telemetry = telemetry
        self._ledger = ledger
        self._limits = limits
        self.settled = False
        self._content = asked.route.policy.record == "content"
        self._request = b""
        self._answer = bytearray()

    def reserve(self, body: bytes, usage: Usage, price: Price | None) -> None:
        """Write down what stands if this process dies. Raises ClientError 503 where the route
        serves nothing that is not recorded."""
        if self._content:
            self._request = body[:MOST_CONTENT]
        lost = Ending(503, error="lost", usage=usage, price=price, aborted=True)
        record = self._record(lost)
        if self._ledger.reserve(record):
            return
        if self._asked.route.policy.ledger == "required":
            raise UNRECORDED
        # What happens to it is still written at its end, if there is room by then.

    def serves(self, body: bytes, answer: bytes) -> None:
        """An answer out of the cache is about to go out, as it is kept. Raises ClientError as
        `reserve` does."""
        if self._asked.route.policy.ledger == "required":
            self.reserve(body, Usage(0, 0), None)
        elif self._content:
            self._request = body[:MOST_CONTENT]
        self.saw(answer)

    def saw(self, data: bytes) -> None:
        """A piece of the answer, as the client gets it."""
        if self._content and len(self._answer) < MOST_CONTENT:
            self._answer += data[: MOST_CONTENT - len(self._answer)]

    def settle(self, ending: Ending) -> Facts:
        """Record the request; later calls do nothing. Returns facts for the access log."""
        if self.settled:
            return {}
        self.settled = True
        self._say_whose()
        record = self._record(ending)
        self._telemetry.record(record)
        self._say_found(record)
        self._say_cached(record)
        self._give_back(record)
        if (
            self._asked.caller is not None  # who was not let in takes no room
            and self._asked.recorded
            and not self._ledger.settle(record, self._kept())
        ):
            self._telemetry.unrecorded()
        return facts(record, record.cost, self._secret)

    def _say_found(self, record: RequestRecord) -> None:
        told, guarded = self._telemetry.guard, self._asked.guarded
        for one in record.guard:
            told.found(one.type, one.action, one.direction, one.count, observed=one.observed)
        if guarded is not None and guarded.mapping.tally.names:
            told.restored(len(guarded.mapping.tally.names))

    def _say_cached(self, record: RequestRecord) -> None:
        asked, told = self._asked, self._telemetry.cache
        question = asked.question
        if question is not None:
            told.looked(asked.cache, question.kind, "" if asked.served else question.reason)
        elif asked.cache_reason:
            told.looked("bypass", "", asked.cache_reason)
        if record.saved:
            told.saved(record.saved)
        if question is not None and question.billing is not None:
            question.book = partial(self._book, record)
            tokens, question.tokens = question.tokens, 0
            if tokens:
                self._book(record, tokens, number=1)

    def _book(self, record: RequestRecord, tokens: int, *, number: int = 2) -> None:
        """What an embedder took for the request's sake."""
        billing = self._asked.question and self._asked.question.billing
        if billing:
            beside = shadow(
                record,
                model=billing.model,
                provider=billing.provider,
                price=billing.price,
                usage=Usage(tokens),
                number=number,
            )
            self._telemetry.record(beside)
            self._ledger.settle(beside)

    def _say_whose(self) -> None:
        """Of a request that was refused before its body was read: its caller and headers say."""
        asked = self._asked
        if asked.caller is not None and asked.forwarded is None and asked.attribution is ANONYMOUS:
            asked.attribution, asked.ignored = attribution(asked.headers, caller=asked.caller)

    def _give_back(self, record: RequestRecord) -> None:
        grant = self._asked.grant
        if grant is not None:
            tried = [name for name, _ in record.refusals]
            if record.target is not None:
                tried.append(record.target)
            self._limits.settle(grant, record.usage, record.cost, record.target, tried)

    def _kept(self) -> Content | None:
        if not self._content:
            return None
        return Content(
            self._request.decode(errors="replace"), self._answer.decode(errors="replace")
        )

    def _record(self, ending: Ending) -> RequestRecord:
        asked, caller = self._asked, self._asked.caller or NOBODY
        found = guard_found(asked)
        policy, target = asked.route.policy, asked.target
        sent, answered, grant = asked.forwarded, asked.answered, asked.grant
        return RequestRecord(
            id=asked.id,
            started=asked.started,
            duration=time.monotonic() - asked.clock,
            route=policy.route,
            chain=asked.chain_name,
            target=target.target if target else None,
            provider=target.system if target else None,
            request_model=asked.model,
            response_model=ending.model and ending.model[:MOST_MODEL],
            stream=asked.stream,
            status=ending.status,
            error_type=ending.error,
            usage=ending.usage,
            cost=cost(ending.usage, ending.price) if asked.served is None else FREE,
            ttft=ending.ttft,
            attempts=asked.attempts,
            attribution=asked.attribution,
            aborted=ending.aborted,
            refusals=asked.refusals,
            operation=asked.operation,
            identity=caller.source,
            key=caller.key,
            tenant=caller.tenant,
            tier=caller.tier,
            credentials=policy.credentials,
            admission=None if sent is None else sent - asked.clock,
            upstream=None if sent is None or answered is None else answered - sent,
            input_estimate=asked.tokens,
            ignored=asked.ignored,
            fingerprint=asked.fingerprint,
            cache=asked.cache,
            cache_kind=asked.question.kind if asked.question else None,
            cache_entry=shown(asked.served.entry.head.id) if asked.served else None,
            cache_score=asked.served.score if asked.served else None,
            saved=asked.saved,
            observed=(
                *asked.observed,
                *_would(asked),
                *guard_observed(found),
                *(grant.observed if grant is not None else ()),
            ),
            guard=found,
            queued=grant.waited if grant is not None else None,
        )


def _would(asked: Asked) -> tuple[Observation, ...]:
    """What the cache would have served on a route where it only observes."""
    question = asked.question
    if question is None or question.would is None or question.rules.serve:
        return ()
    found, head = question.would, question.would.entry.head
    return (cache_observed(shown(head.id), head.cost, found.score),)


def guard_found(asked: Asked) -> tuple[GuardCount, ...]:
    """What the guard has found so far: types and numbers."""
    guarded = asked.guarded
    if guarded is None or not guarded.counts:
        return ()
    return guard_counts(guarded.counts, observed=not guarded.rules.enforce)


def early_facts(asked: Asked, secret: bytes) -> Facts:
    """What is known at the head of a stream: all that the access log gets to see when the stream
    breaks, since nothing can be said to Envoy after that."""
    target = asked.target
    found: Facts = {"route": asked.route.policy.route, "attempts": asked.attempts}
    if target is not None:
        found |= {"target": target.target, "provider": target.system, "model": target.model}
    whose = _caller(asked.caller or NOBODY) | _whose(asked.attribution, secret)
    return found | whose | _refusals(asked.refusals) | guard_facts(guard_found(asked))


def _caller(caller: Caller) -> Facts:
    known = {"identity": caller.source, "key": caller.key, "tenant": caller.tenant}
    return {name: fact for name, fact in known.items() if fact is not None}


def _whose(attribution: Attribution, secret: bytes) -> Facts:
    user = attribution.user
    known = {
        "feature": attribution.feature,
        "team": attribution.team,
        "user_hash": user_hash(user, secret) if user else None,
    }
    return {name: fact for name, fact in known.items() if fact is not None}


def _refusals(refusals: tuple[tuple[str, str], ...]) -> Facts:
    if not refusals:
        return {}
    return {"refusals": ",".join(f"{name}:{reason}" for name, reason in refusals)}


def facts(record: RequestRecord, spent: Cost | None, secret: bytes) -> Facts:
    """A record as the access log shows it. Absent is unknown."""
    found: Facts = {
        "request_id": record.id,
        "route": record.route,
        "attempts": record.attempts,
    }
    found |= cache_facts(record)
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
        "identity": record.identity,
        "key": record.key,
        "tenant": record.tenant,
    }
    found.update({name: fact for name, fact in optional.items() if fact is not None})
    whose = _whose(record.attribution, secret)
    return found | whose | _refusals(record.refusals) | guard_facts(record.guard)
