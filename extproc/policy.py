"""Policy as it stands in Envoy's metadata, parsed once and kept by its text.

Envoy hands `xds.route_metadata` and `xds.virtual_host_metadata` over as protobuf text format.
The schema is validated by `tollgate check` with the same types.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Literal, TypeVar

import msgspec
from google.protobuf import text_format
from google.protobuf.struct_pb2 import Value

from extproc.headers import NAMESPACE
from extproc.pb.metadata_pb2 import Metadata

DialectName = Literal["openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "cohere"]

Level = dict[str, int]
"""Targets that share one level, with their weights (1 or more)."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """US dollars per million tokens, as decimal text so that no digit is lost."""

    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    cache_write_1h: str | None = None
    reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    batch_input: str | None = None
    batch_output: str | None = None


class Ceilings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a provider takes of us in a minute, or at once. None: it does not say. 1 or more."""

    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute, input and output."""
    itpm: int | None = None
    """Input tokens a minute."""
    otpm: int | None = None
    """Output tokens a minute."""
    concurrent: int | None = None
    high_water: float = 0.9
    """Share (0 to 1] from which on other levels are preferred, as long as one has room."""


class TargetPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model at one provider. Stands in the inner route's metadata (with `target`) and, for
    what the gateway filter decides beforehand, in the virtual host's (`targets: {name: …}`)."""

    target: str = ""
    """Its name. In the virtual host's metadata the name is the key instead."""
    cluster: str = ""
    """The level's cluster in the outer configuration."""
    provider: str
    """The provider's name in gateway.yaml."""
    system: str
    """`gen_ai.provider.name` of OpenTelemetry."""
    dialect: DialectName
    server: str | None = None
    """Which of the servers that speak OpenAI's format it is, by its name in
    `dialects/openai/servers.toml`. None: one that nothing is known of."""
    model: str
    """The provider's own name of the model."""
    deployment: str | None = None
    """Azure: what the model's deployment is called. None: as the model."""
    api_version: str | None = None
    """Azure: the dated version of the API. None: the undated `/openai/v1`."""
    project: str | None = None
    """Vertex AI: the project's id."""
    location: str | None = None
    """Vertex AI: the region, or `global`."""
    base_path: str | None = None
    """Path in front of the endpoint, e.g. `/v1`. None: the dialect's own."""
    timeout: float = 30.0
    """Seconds to the response head, and for a stream to the first content event."""
    stall: float = 60.0
    """Seconds that a stream may be silent after its first content event."""
    context_window: int | None = None
    output_cap: int | None = None
    features: tuple[str, ...] | None = None
    """None: what the catalogue says of the model."""
    price: Price | None = None
    """None: what the catalogue says of the model."""
    simulator: bool = False
    """The provider is the simulator: `x-sim-script` passes through."""
    ceilings: Ceilings | None = None
    """Of this target alone."""
    provider_ceilings: Ceilings | None = None
    """Of the provider's key, which all targets of the provider share."""
    key_header: Literal["authorization", "x-api-key", "api-key", "x-goog-api-key"] | None = None
    """The header in which the provider takes a caller's own key; `authorization` as a bearer
    token. None: it takes none (requests are signed, or carry a token that expires)."""


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One text for each part of an identity: a claim's name, a header's name, or a fixed value."""

    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    tier: str | None = None


class JwtIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token that Envoy's `jwt_authn` verified and whose payload it put into metadata."""

    issuer: str
    """The payload's `iss` must be this."""
    payload: str = "tollgate"
    """`payload_in_metadata` of the filter's provider."""
    claims: Whose = Whose(user="sub")
    """Names of claims; a dot goes into an object (`org.id`)."""
    fixed: Whose = Whose()
    """What holds where no claim says it."""
    may_set: tuple[str, ...] = ()


class MtlsIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client certificate that Envoy verified, by its subject alternative name."""

    san: tuple[str, ...]
    """Patterns of URI or DNS names; `{tenant}`, `{team}`, `{user}`, `{tier}` take one segment each
    (no `/` in a URI, no `.` in a DNS name): `spiffe://acme.example/ns/{team}/sa/{user}`."""
    fixed: Whose = Whose()
    may_set: tuple[str, ...] = ()


class HeaderIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Headers that a gateway in front has set."""

    headers: Whose
    """Names of headers."""
    sources: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks (CIDR) of that gateway: from anywhere else the headers say nothing."""
    fixed: Whose = Whose()
    may_set: tuple[str, ...] = ()


class IdentityPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which proofs of identity are taken. The first that a request brings is the one that counts;
    a proof that does not hold is never made good by a weaker one."""

    keys: bool = False
    """Keys of the gateway, `tg-…`."""
    jwt: tuple[JwtIdentity, ...] = ()
    mtls: MtlsIdentity | None = None
    header: HeaderIdentity | None = None
    open: bool = False
    """Who brings no proof is let in as nobody."""
    beyond_loopback: bool = False
    """`open` holds for other machines than this one too."""

    @property
    def tells_tenants(self) -> bool:
        """Those whom it lets in may be of several tenants."""
        said = [(one.claims.tenant, one.fixed.tenant) for one in self.jwt]
        if self.header is not None:
            said.append((self.header.headers.tenant, self.header.fixed.tenant))
        if self.mtls is not None:
            named = any("{tenant}" in one for one in self.mtls.san)
            said.append(("san" if named else None, self.mtls.fixed.tenant))
        return self.keys or any(claim or fixed for claim, fixed in said)


OPEN: Final = IdentityPolicy(open=True)
KEYS: Final = IdentityPolicy(keys=True)
IdentityField = Literal["open", "keys"] | IdentityPolicy


def identity_policy(field: IdentityField) -> IdentityPolicy:
    """A policy written in short, in full."""
    if isinstance(field, IdentityPolicy):
        return field
    return OPEN if field == "open" else KEYS


class QueuePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where requests wait for which no permitted level has room, one queue for the gateway."""

    classes: tuple[str, ...] = ("high", "normal", "low")
    """Priority classes, the first is served first."""
    default: str = "normal"
    """The class of who says nothing."""
    between: Literal["strict", "weighted"] = "strict"
    """strict: as long as a higher class waits, no lower one is served."""
    weights: dict[str, int] = {}
    """weighted: turns of each class; 1 for those not named."""
    ttl: float = 10.0
    """Seconds that a request waits at most; 0: none waits."""
    depth: int = 1000
    """Requests that wait at most, of all classes together. When it is full, one of a higher class
    takes the place of the youngest of the lowest."""
    class_depth: int | dict[str, int] = 1000
    tenant_depth: int = 500
    feature_depth: int = 250


GuardAction = Literal["ignore", "flag", "redact", "mask", "hash", "block"]


class GuardPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done about personal data and secrets. What a route says stands, field by field (and
    in `actions` and `confidence` type by type), over what the virtual host says; None: unsaid."""

    enabled: bool | None = None
    """True where a guard is spoken of at all, unless this says otherwise."""
    mode: Literal["enforce", "observe"] | None = None
    """`observe`: what would be done is recorded, nothing is done. Default: enforce."""
    direction: Literal["request", "response", "both"] | None = None
    """What is looked through. Default: request."""
    actions: dict[str, GuardAction] = {}
    """By type (`PERSON`, `CUSTOM:project`); `default` for all that are not named: redact."""
    restore: bool | None = None
    """Values come back in the answer. Default: true."""
    images: Literal["pass", "block"] | None = None
    """Default: pass. Sound and video count as images: nothing looks into them."""
    files: Literal["pass", "block"] | None = None
    """Default: pass."""
    confidence: dict[str, float] = {}
    """The least that a finding needs, from 0 to 1, by type; `default` for all others: 0.5."""
    allow: tuple[str, ...] = ()
    """Values that are none, whatever the case. Added to what the virtual host allows."""
    patterns: dict[str, str] = {}
    """Own patterns (RE2) by name: type `CUSTOM:name`. Added to the virtual host's."""
    words: dict[str, tuple[str, ...]] = {}
    """Own lists of words by name: type `CUSTOM:name`. Added to the virtual host's."""
    keep: float | None = None
    """Seconds that the placeholders of a session are kept after its last request. Default: 3600."""
    on_failure: Literal["closed", "open"] | None = None
    """When the detector or the store is away: refuse, or go on unguarded. Default: closed."""


CacheMode = Literal["off", "exact", "semantic", "observe"]
CacheScope = Literal["session", "user", "tenant", "shared"]


class CacheTtl(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds that an answer is kept, by the kind of content it is. None: unsaid."""

    default: float | None = None
    """Default: 21,600 (6 hours)."""
    factual: float | None = None
    """Definitions, geography, arithmetic. Default: 2,592,000 (30 days)."""
    dynamic: float | None = None
    """Prices, availability, news, versions, what holds today. Default: 3,600."""
    kinds: dict[str, float] = {}
    """Own kinds."""
    longest: float | None = None
    """The most that a header may ask for. Default: the longest of all that are said here."""


class CacheKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What differs for one kind of content. None: as the route has it."""

    words: tuple[str, ...] = ()
    """A question with one of them, a word or several, is of this kind."""
    threshold: float | None = None
    min_score: float | None = None
    max_error: float | None = None


class CachePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which answers are kept, and for whom. What a route says stands, field by field (in `kinds`
    and `ttl` entry by entry), over what the virtual host says; None: unsaid."""

    mode: CacheMode | bool | None = None
    """`exact`: the same request. `semantic`: also one that asks the same in other words. `observe`:
    what `semantic` would have served is recorded, and nothing is served. `off`, which Envoy's YAML
    reads as false. Default: exact where a cache is spoken of at all."""
    max_error: float | None = None
    """Share of all requests that may be answered wrongly. Default: 0.01."""
    audit: float | None = None
    """Share of would-be semantic hits that go to the provider all the same. Default: 0.05."""
    verifier: Literal["calibrated", "threshold"] | None = None
    """`threshold`: the score alone decides. Default: calibrated."""
    threshold: float | None = None
    """Cosine from which on `threshold`, or a partition without labels, serves. Default: 0.95."""
    min_score: float | None = None
    """Cosine below which nothing is ever served; until there are labels enough nothing below 0.75
    is, whatever is said here. Default: 0.5."""
    strict: bool | None = None
    """Nothing is served semantically before a partition has labels of its own. Default: false."""
    scope: CacheScope | None = None
    """Who shares answers. Default: tenant."""
    allow_scope: CacheScope | None = None
    """The widest scope that a header may ask for. Default: as `scope`, so none wider."""
    custom_keys: bool | None = None
    """`cf-aig-cache-key` takes the place of the request, as it does at Cloudflare: whatever was
    asked, the same key gets the same answer. Default: false, it only keeps requests apart."""
    ttl: CacheTtl = CacheTtl()
    kinds: dict[str, CacheKind] = {}
    """Own kinds of content by name, and what differs for `default`, `factual` and `dynamic`."""
    max_entry_bytes: int | None = None
    """Bytes of an answer. Default: 262,144."""
    temperature_max: float | None = None
    """Requests above it are not cached; one that says none has its API's default, 1. Default: 1."""
    embed: Literal["last_user_turn", "conversation"] | None = None
    """What is compared. Default: last_user_turn."""
    tool_calls: bool | None = None
    """Answers with tool calls are kept, too. Default: false."""
    tags: tuple[str, ...] = ()
    """On every entry, to invalidate it by. Added to the virtual host's."""
    wait: float | None = None
    """Seconds that a request waits at most for the answer to the same request in flight; 0: it goes
    on its own at once. Default: 30."""
    judge: str | None = None
    """The chain that is asked whether two answers say the same, where rules cannot tell. None: none
    is asked."""


CacheField = CacheMode | bool | CachePolicy
"""A mode alone, or all of it."""


def cache_policy(field: CacheField | None) -> CachePolicy | None:
    """A policy written in short, in full."""
    if field is None or isinstance(field, CachePolicy):
        return field
    return CachePolicy(mode=field)


class HostPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all routes share. Stands in the virtual host's metadata."""

    identity: IdentityField = "keys"
    chains: dict[str, list[Level]] = {}
    targets: dict[str, TargetPolicy] = {}
    tiers: dict[str, dict[str, Any]] = {}
    """Tiers that a caller may be of, each with its limits, for the limits room. Empty: any."""
    limits: dict[str, Any] = {}
    """Limits on every route, for the limits room."""
    timezone: str = "UTC"
    """Whose days, weeks and months windows keep to, where a limit names no other."""
    queue: QueuePolicy = QueuePolicy()
    guard: GuardPolicy | None = None
    """On every route. None: no guard, where a route speaks of none."""
    cache: CacheField | None = None
    """On every route. None: no cache, where a route speaks of none."""


class RoutePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One route. Stands in the outer route's metadata."""

    route: str
    chain: str
    """The chain of `auto` and of a request that names no model of its own."""
    models: dict[str, str] = {}
    """What a client may ask for → chain or target. `*` stands for every other name. Empty: every
    chain, target and unambiguous provider model of the virtual host."""
    walk_on: tuple[Literal["content_policy"], ...] = ()
    """Refusals that this route walks on from, beyond those every route does."""
    accounting: Literal["body"] = "body"
    strict: bool = False
    """A target that would have to leave a parameter out refuses instead."""
    identity: IdentityField | None = None
    """None: as the virtual host says."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe`: what could change a request or its answer is decided and recorded, and nothing is
    done about it. Who may come in is enforced all the same."""
    credentials: Literal["gateway", "caller"] = "gateway"
    """`caller`: the provider gets the key that the client sends in `authorization`, `x-api-key`,
    `api-key` or `x-goog-api-key`, and none of ours."""
    record: Literal["figures", "content"] = "figures"
    """`content`: the ledger keeps what was asked and answered too."""
    ledger: Literal["best_effort", "required"] = "best_effort"
    """`required`: a request that cannot be recorded is not served (503)."""
    limits: dict[str, Any] = {}
    """Limits on this route, for the limits room."""
    priority: str | None = None
    """The priority class of requests that say nothing of it. None: the queue's default."""
    ttl: float | None = None
    """Seconds that requests wait in the queue at most; 0: they never wait. None: as the queue
    says."""
    guard: GuardPolicy | None = None
    """What differs from the virtual host's guard. None: nothing."""
    cache: CacheField | None = None
    """What differs from the virtual host's cache. None: nothing."""


# --- from Envoy's text --------------------------------------------------------------------

T = TypeVar("T")
KEPT: Final = 4096
"""Texts kept. A mesh has some routes a gateway; reloads leave old texts behind."""


class PolicyError(Exception):
    """Metadata that is missing or does not fit the schema: the configuration's fault."""


class Parsed:
    """Policies by the text they came in."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[type, str], Any] = OrderedDict()

    def of(self, kind: type[T], text: object) -> T:
        """The policy in `text`, an attribute as Envoy sent it. Raises PolicyError."""
        if not isinstance(text, str) or not text:
            raise PolicyError(f"no {kind.__name__} came with the request")
        key = (kind, text)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = parse(kind, text)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def parse(kind: type[T], text: str) -> T:
    """Read a policy from metadata in protobuf text format. Raises PolicyError."""
    try:
        metadata = text_format.Parse(text, Metadata(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise PolicyError(f"metadata cannot be read: {error}") from error
    if NAMESPACE not in metadata.filter_metadata:
        raise PolicyError(f"no filter_metadata.{NAMESPACE} for {kind.__name__}")
    fields = metadata.filter_metadata[NAMESPACE].fields
    try:
        # Not strict: Envoy reads a fraction in YAML metadata (`timeout: 1.5`) as text.
        tree = {name: _plain(value) for name, value in fields.items()}
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        raise PolicyError(f"filter_metadata.{NAMESPACE}: {error}") from error


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(field) for name, field in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind == "number_value":
        # A Struct has no integers.
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None
