"""What is recorded of a request: figures, blame and whose it was.

Values that several rooms hand to each other, so they stand here and in no room.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request, as billed.

    `input` holds all input, cached, written to a cache and audio included; `output` all output,
    reasoning and audio included. So `cached_input + cache_write <= input`, `cache_write_1h <=
    cache_write`, `audio_input <= input`, and `reasoning` and `audio_output` are each `<= output`.
    Audio may be cached as well: it is no part beside the others, but a part of the whole.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    """Read from the provider's prompt cache."""
    cache_write: int = 0
    """Written to the provider's prompt cache."""
    reasoning: int = 0
    estimated: bool = False
    """Counted from bytes, because the provider gave no figures."""
    cache_write_1h: int = 0
    """Of `cache_write`, what was written to live an hour (Anthropic) instead of minutes."""
    audio_input: int = 0
    audio_output: int = 0


class Cost(msgspec.Struct, frozen=True):
    """Nano-dollars (1 USD = 1e9). The parts add up to `total` exactly."""

    total: int
    input: int = 0
    """Input that was no audio and neither read from nor written to a cache."""
    cached_input: int = 0
    cache_write: int = 0
    """Writes of every life, each at its own price."""
    output: int = 0
    """Output that was neither reasoning nor audio."""
    reasoning: int = 0
    audio_input: int = 0
    """Audio that was neither read from nor written to a cache."""
    audio_output: int = 0


class Attribution(msgspec.Struct, frozen=True):
    """Whose request it was, as the client says. Bounded and free of control characters."""

    user: str | None = None
    feature: str | None = None
    team: str | None = None
    session: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    priority: str | None = None


ANONYMOUS = Attribution()
"""Nobody said anything."""


ALL_FIELDS: Final = frozenset({"user", "feature", "team", "session", "priority", "labels"})
"""What a caller may be allowed to say of a request; `labels` is every label, `label-NAME` one."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, as proven."""

    source: Literal["open", "key", "jwt", "mtls", "header"]
    """What proved it; `open`: nothing did."""
    key: str | None = None
    """The key's id, which is no secret."""
    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    tier: str | None = None
    models: tuple[str, ...] = ()
    """Names a request may ask for. Empty: whatever the route allows."""
    routes: tuple[str, ...] = ()
    """Routes it may take. Empty: every route."""
    may_set: frozenset[str] = frozenset()
    """Of `ALL_FIELDS` and `label-NAME`: what its requests may say of themselves."""
    labels: tuple[tuple[str, str], ...] = ()
    """On every request, whatever it says itself."""
    limits: str | None = None
    """The key's own limits, as JSON."""


NOBODY = Caller(source="open", may_set=ALL_FIELDS)
"""Anybody, where identity is open."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been done about a request on a route that only observes."""

    capability: str
    """`limits`, `cache`, `routing`, `guard`, …"""
    outcome: str
    """`refused`, `served_from_cache`, `routed`, …"""
    detail: str = ""
    """Which limit, which entry, which target."""
    saved: int = 0
    """Nano-dollars that would not have been spent."""


GuardDone = Literal["flag", "redact", "mask", "hash", "block"]
"""What a guard does about a finding that it does not pass over."""
GuardDirection = Literal["request", "response"]


class GuardCount(msgspec.Struct, frozen=True):
    """How often the guard found something of one type and what was done about it. Never holds what
    was found."""

    type: str
    """`EMAIL_ADDRESS`, `CUSTOM:project`, …"""
    action: GuardDone
    """What was done; with `observed`, what would have been done."""
    direction: GuardDirection
    count: int
    """Places; of one type at least one."""
    observed: bool = False
    """The guard only observed: nothing was done."""


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished request, served or not. Never holds a prompt, an answer or a key."""

    id: str
    """The id the gateway minted, unique among all records."""
    started: float
    """UTC epoch seconds."""
    duration: float
    """Seconds from the request's arrival to the last byte or the abort."""
    route: str
    chain: str = ""
    """What the chain is called that the request was given: a chain, a target, or `models` where
    the request named several. Empty if it never got so far."""
    target: str | None = None
    """The target that answered; None if none did."""
    provider: str | None = None
    """`gen_ai.provider.name` of the target that answered."""
    request_model: str = ""
    """What the client asked for."""
    response_model: str | None = None
    """What the provider says it used."""
    operation: str = "chat"
    """`gen_ai.operation.name`: `chat`, `text_completion`, `embeddings`, or `count_tokens`, for
    which the convention has no name."""
    stream: bool = False
    status: int = 200
    """HTTP status the client got."""
    error_type: str | None = None
    """`error.type`: a reason or a status; None when it went well."""
    usage: Usage | None = None
    cost: Cost | None = None
    """None: unknown, which is not zero."""
    ttft: float | None = None
    """Seconds from the request's arrival to the first content event; streams only."""
    attempts: int = 1
    """Levels tried, the last included."""
    attribution: Attribution = ANONYMOUS
    aborted: bool = False
    """The client went away or the stream broke before its end."""
    refusals: tuple[tuple[str, str], ...] = ()
    """(target, reason) of each level that was walked past, in order."""
    kind: Literal["request", "shadow"] = "request"
    """A shadow is what was paid for beside a request: a record of its own, whose tokens and cost
    count, and which is no request."""
    identity: str = "open"
    """What proved who asked: `Caller.source`."""
    key: str | None = None
    tenant: str | None = None
    tier: str | None = None
    cache: str = "bypass"
    """`hit`, `semantic`, `miss` or `bypass`."""
    saved: int = 0
    """Nano-dollars that the cache or a cheaper target saved."""
    credentials: Literal["gateway", "caller"] = "gateway"
    """Whose key paid the provider."""
    admission: float | None = None
    """Seconds from the request's arrival until it was sent on; None if it was not."""
    upstream: float | None = None
    """Seconds from there to the answer's head."""
    input_estimate: int = 0
    """Tokens of the prompt as estimated before it was sent."""
    ignored: tuple[str, ...] = ()
    """Kinds of what the client said of itself and had no right to say."""
    fingerprint: str | None = None
    """On routes that observe: 32 hex digits that requests with the same body, format, tenant and
    route share. Keyed, so that nobody can guess a prompt by it."""
    observed: tuple[Observation, ...] = ()
    """On routes that observe: what would have been done."""
    queued: float | None = None
    """Seconds it waited in the queue; None: it did not."""
    guard: tuple[GuardCount, ...] = ()
    """What the guard found, by type, action and direction; empty: nothing, or there is no guard."""
    cache_kind: str | None = None
    """The kind of content that the cache took the question for; None: it did not look."""
    cache_entry: str | None = None
    """The id of the entry that was served, 16 hex digits."""
    cache_score: float | None = None
    """Of a semantic hit: how like each other the two questions are, at most 1."""


class Content(msgspec.Struct, frozen=True):
    """What was asked and answered, as it stood on the wire; each cut off at `MOST_CONTENT`."""

    request: str
    answer: str


MOST_MODEL: Final = 256
"""Characters kept of a model's name: who asks may write anything there, and so may a provider."""
MOST_CONTENT: Final = 256 * 1024
"""Bytes kept of a request and of an answer, where a route keeps them."""
