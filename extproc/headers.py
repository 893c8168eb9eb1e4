"""Every header and metadata key of the contract, once.

Names are lower case, as HTTP/2 and Envoy write them. Internal headers (`INTERNAL`) are removed
from what clients send before any filter sees it, and from what clients and providers receive.
"""

from typing import Final

NAMESPACE: Final = "tollgate"
"""Metadata namespace of route policy and of what the access log reads."""
OVERRIDE_NAMESPACE: Final = "tollgate.chain"
"""Typed dynamic metadata namespace from which `priority_group` takes one request's chain."""
OVERRIDE_TYPE: Final = (
    "type.googleapis.com/envoy.extensions.router.cluster_specifiers.priority_group.v3"
    ".PriorityGroupsOverride"
)

# What clients may send.
USER: Final = "x-tollgate-user"
FEATURE: Final = "x-tollgate-feature"
TEAM: Final = "x-tollgate-team"
SESSION: Final = "x-tollgate-session"
PRIORITY: Final = "x-tollgate-priority"
KEY: Final = "x-tollgate-key"
"""The gateway's key, where `authorization` and its like carry the caller's own provider key, or
another token."""
DEADLINE: Final = "x-tollgate-deadline"
"""How long the client is ready to wait in the queue: `2.5`, `2.5s`, `500ms`, `1m`, or the moment,
as epoch seconds or in RFC 3339."""
TAGS: Final = "x-tollgate-tags"
"""Tags of what is kept in the cache of an answer, with commas between, to invalidate it by."""
CACHE_TTL: Final = "x-tollgate-cache-ttl"
"""How long the answer is kept: `90`, `90s`, `15m`, `6h`, `30d`. On a request or on an answer."""
CACHE_KIND: Final = "x-tollgate-cache-kind"
"""The kind of content, which decides how long the answer is kept. On a request or on an answer."""
CACHE_OF_ANSWER: Final = (CACHE_TTL, CACHE_KIND)
"""What an answer may say of how long it is kept: to the gateway, not to the client."""
CACHE_SCOPE: Final = "x-tollgate-cache-scope"
"""Who shares the answer: `session`, `user`, `tenant`, `shared`."""
CACHE_CONTROL: Final = "cache-control"
PORTKEY_REFRESH: Final = "x-portkey-cache-force-refresh"
PORTKEY_NAMESPACE: Final = "x-portkey-cache-namespace"
HELICONE_CACHE: Final = "helicone-cache-enabled"
HELICONE_SEED: Final = "helicone-cache-seed"
CLOUDFLARE_SKIP: Final = "cf-aig-skip-cache"
CLOUDFLARE_TTL: Final = "cf-aig-cache-ttl"
CLOUDFLARE_KEY: Final = "cf-aig-cache-key"
LABEL_PREFIX: Final = "x-tollgate-label-"
PORTKEY_METADATA: Final = "x-portkey-metadata"
HELICONE_PROPERTY_PREFIX: Final = "helicone-property-"
HELICONE_USER: Final = "helicone-user-id"
SIM_SCRIPT: Final = "x-sim-script"

# What clients receive.
REQUEST_ID: Final = "x-tollgate-request-id"
TARGET: Final = "x-tollgate-target"
MODEL: Final = "x-tollgate-model"
ATTEMPTS: Final = "x-tollgate-attempts"
CACHE: Final = "x-tollgate-cache"
"""On a request: `no-cache`, `no-store`, `refresh`, `max-age=N`, `only-if-cached`. On an answer:
where it is from."""
COST: Final = "x-tollgate-cost"
WARNING: Final = "x-tollgate-warning"
RETRY_AFTER: Final = "retry-after"
RATE_LIMIT: Final = "x-ratelimit-"
"""With `limit-`, `remaining-` and `reset-` before `requests` and `tokens`, as OpenAI has it."""
BUDGET: Final = "x-tollgate-budget"
"""Share of each budget that is spent: `team-month=0.83, session=0.10`."""
QUEUE_POSITION: Final = "x-tollgate-queue-position"
"""How many were waiting when the request began to wait, itself included."""
QUEUE_WAIT: Final = "x-tollgate-queue-wait"
"""Seconds that it waited."""

# Between the filters of one request.
INTERNAL: Final = "x-tollgate-i-"
I_ID: Final = "x-tollgate-i-id"
"""The id the gateway minted: 32 hex digits, sortable by time."""
I_STREAM: Final = "x-tollgate-i-stream"
"""`1` when the client asked for a stream."""
I_FORMAT: Final = "x-tollgate-i-format"
"""What the client speaks: `chat`, `completions`, `embeddings`, `responses`, `messages` or
`count_tokens`."""
I_STRICT: Final = "x-tollgate-i-strict"
"""`1` when a level refuses rather than leave a parameter out."""
I_WALK: Final = "x-tollgate-i-walk"
"""`content` when the route walks on from a content-policy refusal."""
I_READY: Final = "x-tollgate-i-ready"
"""The target whose body the gateway filter has made already: its level needs no look at it, and
Envoy takes the inner route on which the filter does not get it."""
I_CREDENTIAL: Final = "x-tollgate-i-credential"
"""The caller's own provider key, where the route passes it through."""
I_LEASE: Final = "x-tollgate-i-lease"
"""`OWNER;INPUT;OUTPUT;TARGET`: the process that settles the request, its estimated tokens, and the
target at which room is leased for it, if any, or `*` where the route only observes. Absent: no
target of the chain has ceilings."""
I_CAP: Final = "x-tollgate-i-cap"
"""`1` when the most tokens of an answer that the body names are what is reserved: no level may ask
for more."""
NO_KEY: Final = "-"
"""What stands in it where a request should bring a key and brings none: Envoy adds it, so that no
level ever takes the gateway's own key instead."""
I_REFUSAL: Final = "x-tollgate-i-refusal"
"""On an answer: why the level refused. Envoy takes the next level when it is there."""
I_TARGET: Final = "x-tollgate-i-target"
"""On an answer: the target that gave it."""

I_REST: Final = "x-tollgate-i-rest"
"""A trailer: the end of a translated stream (base64), when the provider ended with trailers and no
piece of body was left to carry it."""

# Envoy's own.
ENVOY_MAX_RETRIES: Final = "x-envoy-max-retries"
ENVOY_ATTEMPT: Final = "x-envoy-attempt-count"
FILTER: Final = "x-tollgate-filter"
"""gRPC initial metadata that says which filter a stream belongs to."""

# What each filter reads; a `*` stands for the rest of a name. Envoy sends these to the service and
# no others.
CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where clients of the providers' SDKs carry a key."""
GATEWAY_READS: Final = (
    *(":method", ":path", ":status", "content-type", "content-encoding", *CREDENTIALS),
    *("x-tollgate-*", "x-portkey-metadata", "helicone-*"),
    *("anthropic-version", "anthropic-beta", "openai-beta"),
    *(CACHE_CONTROL, PORTKEY_REFRESH, PORTKEY_NAMESPACE),
    *(CLOUDFLARE_SKIP, CLOUDFLARE_TTL, CLOUDFLARE_KEY),
)
ACCOUNT: Final = (
    "set-cookie",
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
)
"""What a provider says of our account with it: not for clients."""
TARGET_READS: Final = (
    *(":status", "content-type", "content-length", "retry-after", "retry-after-ms"),
    *("x-tollgate-*", "x-sim-*", "x-portkey-*", "helicone-*", "cf-aig-*"),
    *("x-ratelimit-*", "anthropic-*", "openai-*", "x-amzn-*", "x-trial-endpoint-call-*"),
    *ACCOUNT,
)

# gRPC health services. A draining worker takes no new gateway streams but still serves the
# next levels of live requests, so the two filters ask for different names.
HEALTH_GATEWAY: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
HEALTH_TARGET: Final = "tollgate.target"
