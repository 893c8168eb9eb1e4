"""Every metric and attribute name, once.

`gen_ai.*` is OpenTelemetry's semantic convention for generative AI (status: development), with
the buckets it specifies; `tollgate.*` is what the convention has no name for. Names here are
OpenTelemetry's; the Prometheus exporter writes dots as underscores, appends the unit unless it
stands in braces, and `_total` to counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a metric does over time."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `buckets` are upper bounds, inclusive; `attributes` what its series differ by."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()


# Attributes of the convention.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - no secret
ERROR_TYPE: Final = "error.type"
OVERFLOW: Final = "otel.metric.overflow"
"""OpenTelemetry's mark of the series that takes what exceeds the cardinality limit."""

# Ours.
ROUTE: Final = "route"
TARGET: Final = "target"
FEATURE: Final = "feature"
STATUS: Final = "status"
REASON: Final = "reason"
OUTCOME: Final = "outcome"
KIND: Final = "kind"
ESTIMATED: Final = "estimated"
WHAT: Final = "what"
IDENTITY: Final = "identity"
FIELD: Final = "field"
LIMIT: Final = "limit"
CLASS: Final = "class"
SHARE: Final = "share"
DECISION: Final = "decision"
TYPE: Final = "type"
ACTION: Final = "action"
DIRECTION: Final = "direction"
MODE: Final = "mode"
PART: Final = "part"
STAGE: Final = "stage"
EQUAL: Final = "equal"
AUDIT: Final = "audit"
EVENT: Final = "event"

OTHER: Final = "_OTHER"
"""The convention's word for a value that is not told apart."""

_SECONDS: Final = tuple(round(0.01 * 2**i, 2) for i in range(14))
_MODEL: Final = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL)

TOKEN_USAGE: Final = Metric(
    "gen_ai.client.token.usage",
    Kind.HISTOGRAM,
    "{token}",
    "Tokens of a request, by type, as the provider bills them.",
    (*_MODEL, TOKEN_TYPE),
    tuple(4**i for i in range(14)),
)
OPERATION_DURATION: Final = Metric(
    "gen_ai.client.operation.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from a request's arrival to the last byte of its answer, every level walked included.",
    (*_MODEL, ERROR_TYPE),
    _SECONDS,
)
REQUEST_DURATION: Final = Metric(
    "gen_ai.server.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Time that the request took as its client saw it.",
    (*_MODEL, ERROR_TYPE),
    _SECONDS,
)
TIME_TO_FIRST_TOKEN: Final = Metric(
    "gen_ai.server.time_to_first_token",
    Kind.HISTOGRAM,
    "s",
    "Time from a request's arrival to the first content event of its stream.",
    _MODEL,
    (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
TIME_PER_OUTPUT_TOKEN: Final = Metric(
    "gen_ai.server.time_per_output_token",
    Kind.HISTOGRAM,
    "s",
    "Time per output token after the first one of a stream.",
    _MODEL,
    (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
REQUESTS: Final = Metric(
    "tollgate.requests",
    Kind.COUNTER,
    "{request}",
    "Requests finished, by the status the client got.",
    (ROUTE, TARGET, STATUS),
)
ABORTED: Final = Metric(
    "tollgate.requests.aborted",
    Kind.COUNTER,
    "{request}",
    "Requests whose client left or whose stream broke before its end.",
    (ROUTE, TARGET),
)
TOKENS: Final = Metric(
    "tollgate.tokens",
    Kind.COUNTER,
    "{token}",
    "Tokens, by kind. input holds cached_input, cache_write (which holds cache_write_1h) and "
    "audio_input, output holds reasoning and audio_output.",
    (ROUTE, TARGET, FEATURE, KIND, ESTIMATED),
)
COST: Final = Metric(
    "tollgate.cost.nanodollars",
    Kind.COUNTER,
    "",
    "Cost in nano-dollars: divide by 1e9 for US dollars.",
    (ROUTE, TARGET, FEATURE),
)
COST_UNKNOWN: Final = Metric(
    "tollgate.cost.unknown",
    Kind.COUNTER,
    "{request}",
    "Requests that a provider served and whose cost is not known: no price or no usage.",
    (ROUTE, TARGET, REASON),
)
REFUSALS: Final = Metric(
    "tollgate.refusals",
    Kind.COUNTER,
    "{refusal}",
    "Levels not used, by reason.",
    (TARGET, REASON),
)
ATTEMPTS: Final = Metric(
    "tollgate.attempts",
    Kind.COUNTER,
    "{attempt}",
    "Levels tried, by outcome.",
    (TARGET, OUTCOME),
)
WALKED: Final = Metric(
    "tollgate.chains.walked",
    Kind.COUNTER,
    "{request}",
    "Requests that needed more than the first level of their chain.",
    (ROUTE,),
)
IGNORED: Final = Metric(
    "tollgate.ignored",
    Kind.COUNTER,
    "{event}",
    "Things that were sent and not understood, and did no harm.",
    (WHAT,),
)
IDENTITIES: Final = Metric(
    "tollgate.identities",
    Kind.COUNTER,
    "{request}",
    "Requests by what proved who asks (key, jwt, mtls, header, open) and the outcome: ok, or the "
    "code they were refused with.",
    (IDENTITY, OUTCOME),
)
NOT_ALLOWED: Final = Metric(
    "tollgate.attribution.ignored",
    Kind.COUNTER,
    "{request}",
    "Requests that said something of themselves (user, feature, team, session, priority, labels) "
    "which their caller has no right to say.",
    (FIELD,),
)
LIMIT_DECISIONS: Final = Metric(
    "tollgate.limits.decisions",
    Kind.COUNTER,
    "{request}",
    "Requests that a limit refused, made wait, sent down or would have refused, by limit (a key's "
    "own: `key`) and what became of them.",
    (LIMIT, OUTCOME),
)
LIMIT_CROSSED: Final = Metric(
    "tollgate.limits.crossed",
    Kind.COUNTER,
    "{event}",
    "Counts of a limit that passed 80 % or 95 % of it, once a window each, and runaways.",
    (LIMIT, SHARE),
)
LIMIT_AWAY: Final = Metric(
    "tollgate.limits.away",
    Kind.COUNTER,
    "{request}",
    "Decisions made without the shared store: granted from the process's share (local) or from a "
    "small lease (lease), denied, made wait (waiting), refused since no lease was left (closed).",
    (DECISION,),
)
QUEUE_WAITING: Final = Metric(
    "tollgate.queue.waiting",
    Kind.GAUGE,
    "{request}",
    "Requests that wait, by priority class.",
    (CLASS,),
)
QUEUE_WAIT: Final = Metric(
    "tollgate.queue.wait",
    Kind.HISTOGRAM,
    "s",
    "Time in the queue of requests whose turn came, by priority class.",
    (CLASS,),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
QUEUE_DROPPED: Final = Metric(
    "tollgate.queue.dropped",
    Kind.COUNTER,
    "{request}",
    "Requests that left the queue unserved or found it full, by priority class and reason.",
    (CLASS, REASON),
)
HEADROOM: Final = Metric(
    "tollgate.target.headroom",
    Kind.GAUGE,
    "",
    "Share (0 to 1) of a target's tightest ceiling that is free, as last seen; 1 when it was not "
    "asked for a minute. Of several workers' the smallest.",
    (TARGET,),
)
GUARD_FINDINGS: Final = Metric(
    "tollgate.guard.findings",
    Kind.COUNTER,
    "{finding}",
    "Places where the guard found personal data or secrets, by type, action (flag, redact, mask, "
    "hash, block) and direction (request, response). mode: enforce, or observe where nothing was "
    "done.",
    (TYPE, ACTION, DIRECTION, MODE),
)
GUARD_REQUESTS: Final = Metric(
    "tollgate.guard.requests",
    Kind.COUNTER,
    "{request}",
    "Requests on guarded routes: clean (nothing found), flagged (found, nothing changed), changed, "
    "blocked, failed (refused since the guard could not work), unguarded (let through all the "
    "same).",
    (OUTCOME,),
)
GUARD_DURATION: Final = Metric(
    "tollgate.guard.duration",
    Kind.HISTOGRAM,
    "s",
    "Time that the guard took before a request was sent on.",
    (),
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
     5.0, 10.0),
)  # fmt: skip
GUARD_RESTORED: Final = Metric(
    "tollgate.guard.restored",
    Kind.COUNTER,
    "{placeholder}",
    "Placeholders in answers that were replaced by the values they stand for.",
    (),
)
GUARD_FAILURES: Final = Metric(
    "tollgate.guard.failures",
    Kind.COUNTER,
    "{failure}",
    "Times that a part of the guard was away or not understood: the detector, or the store of "
    "placeholders.",
    (PART,),
)
CACHE_REQUESTS: Final = Metric(
    "tollgate.cache.requests",
    Kind.COUNTER,
    "{request}",
    "Requests on routes with a cache, by outcome (hit, semantic, miss, bypass), kind of content "
    "and the reason why it was no hit.",
    (OUTCOME, KIND, REASON),
)
CACHE_SAVED: Final = Metric(
    "tollgate.cache.saved.usd",
    Kind.COUNTER,
    "",
    "US dollars that the hits would have cost.",
    (),
)
CACHE_DURATION: Final = Metric(
    "tollgate.cache.lookup.duration",
    Kind.HISTOGRAM,
    "s",
    "Time that a part of a lookup took: exact, embed, search, or wait (for the answer to somebody "
    "else's identical request).",
    (STAGE,),
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
     5.0, 10.0, 30.0, 60.0),
)  # fmt: skip
CACHE_LABELS: Final = Metric(
    "tollgate.cache.labels",
    Kind.COUNTER,
    "{label}",
    "Answers of providers that were compared with the one kept for a similar question. equal: they "
    "say the same; audit: the one that is kept would have been served.",
    (EQUAL, AUDIT),
)
CACHE_EVENTS: Final = Metric(
    "tollgate.cache.events",
    Kind.COUNTER,
    "{event}",
    "Times that semantic serving of a partition halted since its audits said so, or resumed, as "
    "each worker heard of it.",
    (EVENT, ROUTE),
)
CACHE_STORED: Final = Metric(
    "tollgate.cache.stored",
    Kind.COUNTER,
    "{answer}",
    "Answers that were kept, by kind of content.",
    (KIND,),
)
CACHE_NOT_STORED: Final = Metric(
    "tollgate.cache.not_stored",
    Kind.COUNTER,
    "{answer}",
    "Answers that were not kept, by reason.",
    (REASON,),
)
CACHE_FAILURES: Final = Metric(
    "tollgate.cache.failures",
    Kind.COUNTER,
    "{failure}",
    "Times that a part of the cache (store, embedder, index, judge) was away, too slow or not "
    "understood; to who asked it was a miss.",
    (PART,),
)
CACHE_EMBEDDED: Final = Metric(
    "tollgate.cache.embedded.tokens",
    Kind.COUNTER,
    "{token}",
    "Tokens that an embedder which is paid for has read.",
    (),
)
UNRECORDED: Final = Metric(
    "tollgate.ledger.unrecorded",
    Kind.COUNTER,
    "{request}",
    "Requests, served or refused, that could not be written into the ledger.",
    (),
)
NOTES_LOST: Final = Metric(
    "tollgate.notes.lost",
    Kind.COUNTER,
    "{note}",
    "Attempt notes between filters that could not be stored or read.",
    (),
)
DROPPED: Final = Metric(
    "tollgate.telemetry.dropped",
    Kind.COUNTER,
    "{record}",
    "Records that could not be counted.",
    (),
)
IN_FLIGHT: Final = Metric(
    "tollgate.requests.in_flight",
    Kind.GAUGE,
    "{request}",
    "Requests being worked on.",
    (),
)
LOOP_LAG: Final = Metric(
    "tollgate.event_loop.lag",
    Kind.GAUGE,
    "s",
    "Longest delay of the event loop in the last 15 to 30 seconds.",
    (),
)


def _ledger(name: str, kind: Kind, unit: str, description: str) -> Metric:
    return Metric(f"tollgate.ledger.{name}", kind, unit, description, ())


LEDGER: Final = {
    "spool_bytes": _ledger("spool", Kind.GAUGE, "By", "Disk taken by records on their way."),
    "spool_limit_bytes": _ledger("spool.limit", Kind.GAUGE, "By", "Disk they may take."),
    "open": _ledger("open", Kind.GAUGE, "{request}", "Requests written ahead and not over."),
    "waiting": _ledger("waiting", Kind.GAUGE, "{record}", "Records the store has yet to take."),
    "oldest_seconds": _ledger("oldest", Kind.GAUGE, "s", "Age of the oldest of them."),
    "unreserved": _ledger(
        "unreserved", Kind.COUNTER, "{request}", "Requests that could not be written ahead."
    ),
    "recovered": _ledger(
        "recovered", Kind.COUNTER, "{record}", "Requests closed as aborted after a crash."
    ),
    "corrupt": _ledger(
        "corrupt", Kind.COUNTER, "{record}", "Places of the spool that could not be read."
    ),
    "disk_errors": _ledger("disk.errors", Kind.COUNTER, "{error}", "Writes that the disk refused."),
    "store_errors": _ledger(
        "store.errors", Kind.COUNTER, "{error}", "Times that the store took nothing."
    ),
    "store_restarts": _ledger(
        "store.restarts", Kind.COUNTER, "{restart}",
        "Times that the store was new or restarted and was told again.",
    ),
    "store_corrupt": _ledger(
        "store.corrupt", Kind.COUNTER, "{file}", "Files of the ledger moved aside as unreadable."
    ),
    "refused": _ledger(
        "refused", Kind.COUNTER, "{record}", "Records that the store would not have."
    ),
    "sink_waiting": _ledger("sinks.waiting", Kind.GAUGE, "{record}", "Not yet taken by sinks."),
    "sink_errors": _ledger("sinks.errors", Kind.COUNTER, "{error}", "Times a sink took nothing."),
    "sink_lost": _ledger(
        "sinks.lost", Kind.COUNTER, "{record}", "Records a sink never got, being away too long."
    ),
}  # fmt: skip
"""What the ledger tells of itself, by its own names."""


def _limits(name: str, kind: Kind, unit: str, description: str) -> Metric:
    return Metric(f"tollgate.limits.{name}", kind, unit, description, ())


LIMITS: Final = {
    ("held", "ids"): _limits(
        "held", Kind.GAUGE, "{request}", "Requests for which something is reserved."
    ),
    ("owners", "alive"): _limits(
        "processes", Kind.GAUGE, "{process}", "Processes that share the limits, as the store knows."
    ),
    ("behind", "settlements"): _limits(
        "behind", Kind.GAUGE, "{settlement}", "Settlements that the store has yet to take."
    ),
    ("behind", "dropped"): _limits(
        "settlements.lost", Kind.COUNTER, "{settlement}",
        "Settlements that the store never got, being away too long.",
    ),
    ("away", "now"): _limits(
        "store.away", Kind.GAUGE, "{process}",
        "Processes that decide without the shared store now.",
    ),
    ("away", "owed"): _limits(
        "owed", Kind.GAUGE, "{count}",
        "Counts of what was spent without the shared store that it has yet to take.",
    ),
    ("away", "lost"): _limits(
        "owed.lost", Kind.COUNTER, "{charge}", "Charges of them that were more than is remembered."
    ),
    ("saved", "corrupt"): _limits(
        "files.corrupt", Kind.COUNTER, "{file}", "Files of counts moved aside as unreadable."
    ),
    ("alerts", "waiting"): _limits(
        "alerts.waiting", Kind.GAUGE, "{alert}", "Alerts that the webhook has yet to take."
    ),
    ("alerts", "sent"): _limits(
        "alerts.sent", Kind.COUNTER, "{alert}", "Alerts that the webhook took."
    ),
    ("alerts", "dropped"): _limits(
        "alerts.dropped", Kind.COUNTER, "{alert}", "Alerts that it never took."
    ),
}  # fmt: skip
"""What the limits' store and the alerts tell of themselves, by their own names."""


def _cache(name: str, kind: Kind, unit: str, description: str) -> Metric:
    return Metric(f"tollgate.cache.{name}", kind, unit, description, ())


CACHE: Final = {
    "entries": _cache(
        "entries", Kind.GAUGE, "{entry}", "Entries in the store, which workers share."
    ),
    "bytes": _cache("bytes", Kind.GAUGE, "By", "What they are counted to take there."),
    "evicted": _cache(
        "evicted", Kind.COUNTER, "{entry}", "Entries that the store let go since it was full."
    ),
    "expired": _cache("expired", Kind.COUNTER, "{entry}", "Entries whose time was over."),
    "forgotten": _cache("forgotten", Kind.COUNTER, "{entry}", "Entries that were invalidated."),
    "corrupt": _cache(
        "corrupt", Kind.COUNTER, "{entry}",
        "Entries, vectors and blobs found damaged: misses to who asked.",
    ),
    "index_entries": _cache(
        "index.entries", Kind.GAUGE, "{entry}",
        "Entries that a semantic lookup can find. Of several workers' the largest number.",
    ),
    "index_filling": _cache(
        "index.filling", Kind.GAUGE, "{process}", "Workers whose index is being filled."
    ),
    "partitions": _cache(
        "partitions", Kind.GAUGE, "{partition}",
        "Partitions in a worker's memory. Of several workers' the largest number.",
    ),
    "halted": _cache(
        "halted", Kind.GAUGE, "{partition}",
        "Of these, those that serve nothing semantic since their audits were wrong too often.",
    ),
    "following_behind": _cache(
        "following.behind", Kind.GAUGE, "s",
        "Time since a worker last heard what changed in the store. Of several workers' the "
        "longest.",
    ),
    "flights": _cache(
        "flights", Kind.GAUGE, "{request}",
        "Requests on their way to a provider whose answer identical ones may wait for.",
    ),
}  # fmt: skip
"""What the cache tells of itself, by its own names."""

ALL: Final = (
    TOKEN_USAGE,
    OPERATION_DURATION,
    REQUEST_DURATION,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    REQUESTS,
    ABORTED,
    TOKENS,
    COST,
    COST_UNKNOWN,
    REFUSALS,
    ATTEMPTS,
    WALKED,
    IGNORED,
    IDENTITIES,
    NOT_ALLOWED,
    LIMIT_DECISIONS,
    LIMIT_CROSSED,
    LIMIT_AWAY,
    QUEUE_WAITING,
    QUEUE_WAIT,
    QUEUE_DROPPED,
    HEADROOM,
    GUARD_FINDINGS,
    GUARD_REQUESTS,
    GUARD_DURATION,
    GUARD_RESTORED,
    GUARD_FAILURES,
    CACHE_REQUESTS,
    CACHE_SAVED,
    CACHE_DURATION,
    CACHE_LABELS,
    CACHE_EVENTS,
    CACHE_STORED,
    CACHE_NOT_STORED,
    CACHE_FAILURES,
    CACHE_EMBEDDED,
    UNRECORDED,
    NOTES_LOST,
    DROPPED,
    IN_FLIGHT,
    LOOP_LAG,
    *LIMITS.values(),
    *CACHE.values(),
    *LEDGER.values(),
)

OBSERVED: Final = frozenset({CACHE_SAVED, *LIMITS.values(), *CACHE.values(), *LEDGER.values()})
"""Those that are looked up when somebody reads them, not added to as things happen."""
