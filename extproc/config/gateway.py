"""gateway.yaml, typed: providers, targets, chains, routes, limits.

Durations are seconds, read from `10s`, `500ms`, `2m` or a plain number; sizes are bytes, read
from `32MiB` or a plain number.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from extproc.policy import (
    CacheKind,
    CacheMode,
    CacheScope,
    Ceilings,
    DialectName,
    GuardAction,
    HeaderIdentity,
    Level,
    MtlsIdentity,
    Price,
    QueuePolicy,
    Whose,
)

KeyHeader = Literal["authorization", "api-key", "x-api-key", "x-goog-api-key"]


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What people call their providers, targets, chains, routes and tiers."""


class Seconds(float):
    """A duration. Read from `10s`, `500ms`, `2m`, `1h`, `30d` or a number of seconds."""

    __slots__ = ()


class Wait(float):
    """A duration that may be none: as `Seconds`, or 0."""

    __slots__ = ()


class Size(int):
    """A number of bytes. Read from `32MiB`, `64KiB` or a number."""

    __slots__ = ()


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Envoy's active check of a provider."""

    path: str | None = None
    """None: the dialect's list of models. Any answer below 500 is healthy: a bad key is not
    an outage."""
    interval: Seconds = Seconds(30)
    timeout: Seconds = Seconds(5)


class Outlier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When Envoy takes a provider out because of what requests met there."""

    consecutive_5xx: int = 5
    ejection: Seconds = Seconds(30)


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who serves models: an address, a key and a wire format."""

    dialect: DialectName
    url: str
    """`http` or `https`; a path stands in front of the dialect's endpoints instead of its own."""
    key_env: str | None = None
    """The environment variable of Envoy that holds the key."""
    key_file: str | None = None
    """A file that holds the key and that something else keeps fresh: Envoy reads it again when
    another one is moved into its place."""
    key_header: KeyHeader | None = None
    """The header that carries the key; `authorization` as a bearer token. None: the dialect's."""
    server: str | None = None
    """Which of the servers that speak OpenAI's format it is. None: told from the address."""
    api_version: str | None = None
    """Azure: the dated version of the API, `2024-10-21`. None: the undated `/openai/v1`."""
    project: str | None = None
    """Vertex AI: the id of the project."""
    location: str | None = None
    """Vertex AI: a region, `us`, `eu` or `global`. None: told from the address."""
    region: str | None = None
    """Bedrock: the AWS region that requests are signed for. None: told from the address."""
    profile: str | None = None
    """Bedrock: the profile in Envoy's AWS credentials file. None: Envoy looks for credentials in
    its environment, the default profile, a web identity, its container and its instance."""
    system: str | None = None
    """`gen_ai.provider.name`. None: told from the address, else the provider's own name."""
    health: Health = Health()
    outlier: Outlier = Outlier()
    connect_timeout: Seconds = Seconds(2)
    idle_timeout: Seconds = Seconds(50)
    """An unused connection is closed after this, before the provider closes it: a request that
    meets a closing connection fails. Load balancers in front of providers close after 60 s."""
    ca_file: str | None = None
    """Certificates to trust for `https`. None: the system's."""
    limits: Ceilings | None = None
    """What it takes of the key, from all its targets together."""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model at one provider."""

    provider: str
    model: str
    deployment: str | None = None
    """Azure: what the deployment of the model is called. None: as the model."""
    timeout: Seconds = Seconds(30)
    stall: Seconds = Seconds(60)
    retry: Literal["never", "reset"] = "never"
    """`reset`: one more try on this target when the connection is reset before any byte."""
    price: Price | None = None
    features: tuple[str, ...] | None = None
    context_window: int | None = None
    output_cap: int | None = None
    simulator: bool = False
    limits: Ceilings | None = None
    """What the provider takes for this model alone."""


class Jwt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tokens of one issuer, which Envoy verifies."""

    issuer: str
    audiences: tuple[str, ...] = ()
    """One of them must be in the token's `aud`: else a token that the issuer made for another
    service would be taken."""
    jwks_url: str | None = None
    """Where the issuer's keys are; asked again every ten minutes."""
    jwks_file: str | None = None
    """A file with the keys, which Envoy reads at its start."""
    ca_file: str | None = None
    """Certificates to trust for `jwks_url`. None: the system's."""
    header: str | None = None
    """The header that carries the token and nothing else. None: where SDKs carry a key."""
    claims: Whose = Whose(user="sub")
    fixed: Whose = Whose()
    may_set: tuple[str, ...] = ()


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which proofs of identity are taken; see `IdentityPolicy`."""

    keys: bool = False
    jwt: tuple[Jwt, ...] = ()
    mtls: MtlsIdentity | None = None
    header: HeaderIdentity | None = None
    open: bool = False
    beyond_loopback: bool = False


Identified = Literal["open", "keys"] | Identity


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done about personal data and secrets; see `GuardPolicy`."""

    enabled: bool | None = None
    mode: Literal["enforce", "observe"] | None = None
    direction: Literal["request", "response", "both"] | None = None
    actions: dict[str, GuardAction] = {}
    restore: bool | None = None
    images: Literal["pass", "block"] | None = None
    files: Literal["pass", "block"] | None = None
    confidence: dict[str, float] = {}
    allow: tuple[str, ...] = ()
    patterns: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {}
    keep: Seconds | None = None
    on_failure: Literal["closed", "open"] | None = None


class CacheTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long answers are kept; see `CacheTtl`."""

    default: Seconds | None = None
    factual: Seconds | None = None
    dynamic: Seconds | None = None
    kinds: dict[str, Seconds] = {}
    longest: Seconds | None = None


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which answers are kept, and for whom; see `CachePolicy`."""

    mode: CacheMode | bool | None = None
    max_error: float | None = None
    audit: float | None = None
    verifier: Literal["calibrated", "threshold"] | None = None
    threshold: float | None = None
    min_score: float | None = None
    strict: bool | None = None
    scope: CacheScope | None = None
    allow_scope: CacheScope | None = None
    custom_keys: bool | None = None
    ttl: CacheTimes = CacheTimes()
    kinds: dict[str, CacheKind] = {}
    max_entry_bytes: Size | None = None
    temperature_max: float | None = None
    embed: Literal["last_user_turn", "conversation"] | None = None
    tool_calls: bool | None = None
    tags: tuple[str, ...] = ()
    wait: Wait | None = None
    judge: str | None = None


Cached = CacheMode | bool | Cache


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which requests a route takes. All headers must have exactly these values."""

    headers: dict[str, str] = {}


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy for some of the requests. The first that matches counts."""

    name: str
    match: Match = Match()
    chain: str | None = None
    """None: what `models` gives for `*`."""
    models: dict[str, str] = {}
    walk_on: tuple[Literal["content_policy"], ...] = ()
    accounting: Literal["body"] = "body"
    strict: bool = False
    """A target that would have to leave a parameter out refuses instead."""
    identity: Identified | None = None
    """None: as for the whole gateway."""
    mode: Literal["enforce", "observe"] = "enforce"
    credentials: Literal["gateway", "caller"] = "gateway"
    """`caller`: the provider gets the key that the client sends, and none of ours."""
    record: Literal["figures", "content"] = "figures"
    ledger: Literal["best_effort", "required"] = "best_effort"
    limits: dict[str, Any] = {}
    """Whose → of what → how much; beside those of the whole gateway."""
    priority: str | None = None
    """The priority class of requests that say none. None: the queue's default."""
    ttl: Wait | None = None
    """How long requests wait in the queue at most. None: as the queue says."""
    guard: Guard | None = None
    """What differs from the whole gateway's. None: nothing."""
    cache: Cached | None = None
    """What differs from the whole gateway's. None: nothing."""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Clients connect by TLS. All are paths of PEM files."""

    cert: str
    """The gateway's certificate, with those between it and its root."""
    key: str
    client_ca: str | None = None
    """Who may sign certificates of clients. None: clients are asked for none."""
    require_client_cert: bool = False
    """A client without a certificate does not get a connection."""


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Envoy listens and finds the service. Flags of `tollgate render` win over it."""

    gateway: str | None = None
    """`address:port` of the gateway."""
    admin: str | None = None
    """`address:port` of Envoy's admin interface."""
    extproc: tuple[str, ...] | None = None
    """One `unix:/path` or `host:port` for each worker of the service."""
    access_log: str | None = None
    max_body: Size | None = None
    drain_timeout: Seconds | None = None
    tls: Tls | None = None
    """None: plain HTTP."""


_QUEUE: Final = QueuePolicy()


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where requests wait; see `QueuePolicy`."""

    classes: tuple[str, ...] = _QUEUE.classes
    default: str = _QUEUE.default
    between: Literal["strict", "weighted"] = "strict"
    weights: dict[str, int] = {}
    ttl: Wait = Wait(_QUEUE.ttl)
    depth: int = _QUEUE.depth
    class_depth: int | dict[str, int] = _QUEUE.class_depth
    tenant_depth: int = _QUEUE.tenant_depth
    feature_depth: int = _QUEUE.feature_depth


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of gateway.yaml."""

    providers: dict[str, Provider]
    targets: dict[str, Target]
    chains: dict[str, list[Level]]
    routes: list[Route]
    identity: Identified = "keys"
    tiers: dict[str, dict[str, Any]] = {}
    """Tiers that callers may be of, with their limits. Empty: any tier."""
    limits: dict[str, Any] = {}
    """Whose → of what → how much, on every route."""
    timezone: str = "UTC"
    """Whose days, weeks and months limits keep to that name no other."""
    queue: Queue = Queue()
    guard: Guard | None = None
    """On every route. None: no guard, but on routes that speak of one."""
    cache: Cached | None = None
    """On every route. None: no cache, but on routes that speak of one."""
    envoy: Listen = Listen()
