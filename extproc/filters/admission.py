"""What the gateway filter does before a request goes up: read it one way, and plan its levels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_hex
from typing import Final

import msgspec

from extproc import headers as h
from extproc import strict_json
from extproc.cache.question import Outcome, Question, Served
from extproc.catalogue import NEED, Model, Price, estimate
from extproc.dialects import ClientFormat, ClientRequest, Dialect
from extproc.errors import ClientError, bad_request
from extproc.filters.exchange import Levels
from extproc.filters.verdict import note_of, verdict
from extproc.guard.guarded import Guarded
from extproc.identity import PREFIX, Attribution, attribution, check_models
from extproc.limits import Grant
from extproc.policy import TargetPolicy
from extproc.records import ANONYMOUS, MOST_MODEL, NOBODY, Caller, Observation, Usage
from extproc.routing import Demand, Route

MODELS: Final = "/v1/models"
PATHS: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "count_tokens",
}
"""The client's format by its path."""
NO_PROVIDER_KEY: Final = ClientError(
    401,
    "invalid_request_error",
    "missing_provider_key",
    "This route asks the provider with your own key: send it in 'authorization: Bearer', and the "
    f"gateway's key, if you have one, in '{h.KEY}'.",
)
JSON_TYPES: Final = ("application/json", "")


@dataclass(slots=True)
class Asked:
    """What is known of one request. Filled in step by step, from its arrival to its settling."""

    id: str
    started: float
    """UTC epoch."""
    clock: float
    """The same moment on the monotonic clock."""
    headers: Mapping[str, str]
    route: Route
    format: str
    """The client's, by name."""
    operation: str
    """`gen_ai.operation.name`."""
    model: str = ""
    stream: bool = False
    hide_usage: bool = False
    tokens: int = 0
    """Estimated input."""
    attribution: Attribution = ANONYMOUS
    caller: Caller | None = None
    """None: nobody was let in."""
    ignored: tuple[str, ...] = ()
    """Kinds of what the client said of itself and had no right to say."""
    chain: Levels = ()
    """The levels it may take."""
    names: tuple[tuple[tuple[str, int], ...], ...] = ()
    """The same, by the targets' names."""
    grant: Grant | None = None
    """What it was admitted with."""
    chain_name: str = ""
    price: Price | None = None
    """Of the first level."""
    attempts: int = 0
    target: TargetPolicy | None = None
    refusals: tuple[tuple[str, str], ...] = ()
    forwarded: float | None = None
    """When it was sent on, on the monotonic clock."""
    answered: float | None = None
    """When the answer's head came."""
    recorded: bool = False
    """It asks for a model, so the ledger has a record of it."""
    fingerprint: str | None = None
    observed: list[Observation] = field(default_factory=list)
    """What would have been done about it, on a route that observes."""
    guarded: Guarded | None = None
    """What the guard knows of it."""
    rewritten: bool = False
    """Its body is not what came any more: what came must not go up."""
    question: Question | None = None
    """What the cache knows of it. None: it has no part in the cache."""
    served: Served | None = None
    """What the cache answers it with."""
    cache: Outcome = "bypass"
    cache_reason: str = ""
    """Why it has no part in the cache."""
    saved: int = 0
    """Nano-dollars that the cache saved."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A request that was read, and the levels that could serve it."""

    request: ClientRequest
    body: bytes
    levels: tuple[tuple[tuple[str, int], ...], ...]
    """For each level its targets with their weights; never empty."""
    credential: str | None = None
    """The caller's own provider key, where the route passes it through."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What goes up."""

    chain: Levels
    body: bytes | None
    """None: as it came."""
    ready: str | None = None
    """The target of the first level, if the body is what its provider takes."""
    credential: str | None = None
    lease: str | None = None
    """What the levels have to know of room that is leased."""
    capped: bool = False
    """The body's bound on the answer is what was reserved."""


def mint() -> str:
    """An id for one request: 12 hex digits of milliseconds, then 20 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{token_hex(10)}"


def plain_path(path: str) -> str:
    """A path without its query."""
    return path.split("?", 1)[0]


def format_of(path: str, *, anthropic: bool) -> str:
    """What a client at this path speaks: also one whose path is none of ours wants to read its
    error. `anthropic`: it sent `anthropic-version`, as all clients of that API do."""
    anthropic = anthropic or path.startswith("/v1/messages")
    return PATHS.get(path) or ("messages" if anthropic else "chat")


def check_endpoint(method: str, plain: str) -> None:
    """Let only what the gateway serves pass. Raises ClientError 404 or 405."""
    if plain in PATHS:
        allowed = "POST"
    elif plain == MODELS or plain.startswith(MODELS + "/"):
        allowed = "GET"
    else:
        message = f"Unknown request URL: {method} {_shown(plain)}."
        raise ClientError(404, "invalid_request_error", "unknown_url", message)
    if method != allowed:
        message = f"Not allowed to {method} on {_shown(plain)}; use {allowed}."
        raise ClientError(
            405, "invalid_request_error", "method_not_supported", message, allow=allowed
        )


def _shown(path: str) -> str:
    return path if len(path) <= 100 else path[:100] + "…"  # noqa: PLR2004 - one line of text


def check_head(headers: Mapping[str, str], *, end: bool) -> None:
    """Refuse what cannot be a JSON body before it is sent. Raises ClientError."""
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        message = f"A body with content-encoding '{encoding[:40]}' is not taken; send it plain."
        raise ClientError(
            415, "invalid_request_error", "unsupported_encoding", message, "content-encoding"
        )
    content_type = headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if content_type not in JSON_TYPES:
        message = f"Content-Type '{content_type[:60]}' is not taken; send application/json."
        raise ClientError(
            415, "invalid_request_error", "unsupported_content_type", message, "content-type"
        )
    if end:
        raise bad_request("The request has no body; a JSON object is expected.")


def said(asked: Asked, request: ClientRequest) -> None:
    """Fill `asked` in with what the client says of its request. Raises ClientError for a model
    that its caller may not ask for."""
    asked.model = request.model[:MOST_MODEL]
    asked.stream = request.stream
    asked.hide_usage = request.hide_usage
    caller = asked.caller or NOBODY
    asked.attribution, asked.ignored = attribution(
        asked.headers, request.user, request.metadata, caller
    )
    check_models(caller, (request.model, *(request.models or ())))


def plan(
    asked: Asked, request: ClientRequest, body: bytes, dialects: Mapping[str, Dialect]
) -> Planned:
    """Plan the levels of a request as it may go up. Raises ClientError when none is left."""
    asked.tokens = estimate(*request.text, request.messages)
    return plan_for(asked, request, body, dialects)


def plan_for(
    asked: Asked,
    request: ClientRequest,
    body: bytes,
    dialects: Mapping[str, Dialect],
    chain: str | None = None,
) -> Planned:
    """The levels of a request. `chain`: those of another chain than it asks for. Raises ClientError
    when none is left."""
    route = asked.route
    credential = _credential(asked) if route.policy.credentials == "caller" else None
    if chain is None:
        levels = route.names.levels(request.model, request.models)
        asked.chain_name = route.names.chain(request.model, request.models)
    else:
        levels, asked.chain_name = route.host.chains[chain], chain
    if credential is not None:
        levels = route.at_one_provider(levels)
    found = route.plan(levels, asked.tokens, request.max_output, _demands(request, body, dialects))
    asked.refusals = tuple((name, refusal.reason.value) for name, refusal in found.left_out)
    if not found.levels:
        raise verdict([note_of(name, refusal) for name, refusal in found.left_out])
    return Planned(request, body, found.levels, credential)


def prepare(
    asked: Asked, planned: Planned, format_: ClientFormat, dialects: Mapping[str, Dialect]
) -> Admitted:
    """What goes up to the levels of a plan, and what stands of it if nothing more is heard."""
    route, request = asked.route, planned.request
    asked.chain = route.chain(planned.levels)
    asked.names = planned.levels
    at_first = planned.levels[0]
    facts = route.targets[at_first[0][0]]
    first: TargetPolicy | None = facts.policy
    if (
        planned.credential is not None
        or len(at_first) > 1
        or not dialects[facts.policy.dialect].ready(request, facts.policy)
    ):
        first = None  # its level has to see it
    asked.price = facts.model.price
    body = format_.forwarded(request, planned.body, first.model if first else None)
    if body is None and asked.rewritten:
        body = planned.body
    return Admitted(
        asked.chain,
        body,
        ready=first.target if first else None,
        credential=planned.credential,
    )


def reserved(asked: Asked, planned: Planned) -> Usage:
    """What a request may use: the prompt as estimated, and the output that it asks for at most."""
    model = asked.route.targets[planned.levels[0][0][0]].model
    asked.price = model.price
    return Usage(asked.tokens, _most_output(planned.request, model), estimated=True)


def _most_output(request: ClientRequest, model: Model | None) -> int:
    """Tokens that the request allows for its answer; 0 if it does not say."""
    wanted = max(0, request.max_output or 0)
    cap = model.output_cap if model else None
    return wanted if cap is None else min(wanted, cap)


def _credential(asked: Asked) -> str:
    """The provider key that a caller brought along, which no key of the gateway is. Raises
    ClientError 401."""
    for name in h.CREDENTIALS:
        value = asked.headers.get(name, "")
        if name == "authorization":
            scheme, _, value = value.partition(" ")
            value = value if scheme.lower() == "bearer" else ""
        value = value.strip()
        if value and not value.startswith(PREFIX):  # ours is for no provider to see
            return value
    raise NO_PROVIDER_KEY


def _demands(
    request: ClientRequest, body: bytes, dialects: Mapping[str, Dialect]
) -> Callable[[TargetPolicy], Demand]:
    """What the request asks of each target."""
    needs = request.needs | {NEED[request.format]}

    def demand(target: TargetPolicy) -> Demand:
        dialect = dialects[target.dialect]
        lacking = dialect.lacks(request, target)
        param = lacking and _field(lacking, body)
        return Demand(needs - dialect.droppable(target), lacking, param)

    return demand


def fingerprint(asked: Asked, body: bytes, key: bytes) -> str:
    """What requests share that ask the same of the same route for the same tenant. Nobody without
    the key can tell by it whether a body that he thinks of was asked."""
    tenant = asked.caller.tenant if asked.caller else None
    parts = msgspec.json.encode((tenant, asked.route.policy.route, asked.format))
    return blake2b(parts + body, digest_size=16, key=key[:64]).hexdigest()


def _field(lacking: str, body: bytes) -> str | None:
    """The field of the body that a refusal begins with, if it is one."""
    name = lacking.partition(":")[0]
    return name if name in strict_json.keys(body) else None


CALLER_SECRETS: Final = (
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "openai-organization",
    "openai-project",
)
"""What a client sends about itself and no provider may see."""


def upstream_headers(asked: Asked, admitted: Admitted, body: bytes) -> list[tuple[str, str]]:
    """Headers set on what goes up: Envoy's, and those for the target filter."""
    fields = [
        (h.I_ID, asked.id),
        (h.I_FORMAT, asked.format),
        (h.I_STREAM, "1" if asked.stream else "0"),
        (h.ENVOY_MAX_RETRIES, str(len(admitted.chain) - 1)),
    ]
    if "content_policy" in asked.route.policy.walk_on:
        fields.append((h.I_WALK, "content"))
    if asked.route.policy.strict:
        fields.append((h.I_STRICT, "1"))
    if admitted.credential is not None:
        fields.append((h.I_CREDENTIAL, admitted.credential))
    if admitted.capped:
        fields.append((h.I_CAP, "1"))
    if admitted.lease is not None:
        fields.append((h.I_LEASE, admitted.lease))
    if admitted.ready is not None:
        fields.append((h.I_READY, admitted.ready))
    if admitted.body is not None:
        fields.append(("content-length", str(len(body))))
    return fields
