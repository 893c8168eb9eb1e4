"""What the gateway filter does before a request goes up: read it one way, and plan its levels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Final

import msgspec

from extproc import headers as h
from extproc import strict_json
from extproc.catalogue import estimate
from extproc.dialects import Dialect
from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import parse as parse_chat
from extproc.errors import ClientError, bad_request
from extproc.filters.exchange import Levels
from extproc.filters.large import work
from extproc.filters.verdict import note_of, verdict
from extproc.identity import Attribution, attribution
from extproc.policy import TargetPolicy
from extproc.records import ANONYMOUS
from extproc.routing import Demand, Route

CHAT: Final = "/v1/chat/completions"
MODELS: Final = "/v1/models"
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
    model: str = ""
    stream: bool = False
    hide_usage: bool = False
    tokens: int = 0
    """Estimated input."""
    attribution: Attribution = ANONYMOUS
    chain: Levels = ()
    """The levels it may take."""
    attempts: int = 0
    target: TargetPolicy | None = None
    refusals: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """What goes up."""

    chain: Levels
    body: bytes | None
    """None: as it came."""
    ready: str | None = None
    """The target of the first level, if the body is what its provider takes."""


def mint() -> str:
    """An id for one request: 12 hex digits of milliseconds, then 20 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{token_hex(10)}"


def endpoint(method: str, path: str) -> str:
    """The path without its query, if the gateway serves it. Raises ClientError 404 or 405."""
    plain = path.split("?", 1)[0]
    if plain == CHAT:
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
    return plain


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


async def read(body: bytes) -> ChatRequest:
    """The request in `body`, which has one reading only. Raises ClientError."""
    return await work(len(body), partial(parse_chat, body))


def admit(
    asked: Asked, chat: ChatRequest, body: bytes, dialects: Mapping[str, Dialect]
) -> Admitted:
    """Fill `asked` in and plan the request's levels. Raises ClientError when none is left."""
    route = asked.route
    asked.model = chat.model
    asked.stream = bool(chat.stream)
    asked.attribution = attribution(asked.headers, chat.user, chat.metadata)
    ascii_bytes, wide = chat.text_bytes()
    asked.tokens = estimate(ascii_bytes, wide, len(chat.messages))
    levels = route.names.levels(chat.model, chat.models)
    plan = route.plan(levels, asked.tokens, chat.max_output, _demands(chat, dialects))
    asked.refusals = tuple((name, refusal.reason.value) for name, refusal in plan.left_out)
    if not plan.chain:
        raise verdict([note_of(name, refusal) for name, refusal in plan.left_out])
    asked.chain = plan.chain
    first = plan.first
    if first is not None and dialects[first.dialect].ready_path(first.base_path) is None:
        first = None
    forwarded = _forwarded(asked, chat, body, first)
    return Admitted(plan.chain, forwarded, first.target if first else None)


def _demands(chat: ChatRequest, dialects: Mapping[str, Dialect]) -> Callable[[str], Demand]:
    """What the request asks of each dialect, worked out when a target of it comes up."""
    needs = chat.needs()
    known: dict[str, Demand] = {}

    def demand(name: str) -> Demand:
        found = known.get(name)
        if found is None:
            dialect = dialects[name]
            found = known[name] = Demand(needs - dialect.drops, dialect.lacks(chat))
        return found

    return demand


def _forwarded(
    asked: Asked, chat: ChatRequest, body: bytes, first: TargetPolicy | None
) -> bytes | None:
    """The body with what Tollgate asks of every provider, and with the model of the `first` that
    needs no more than that; None when nothing changes."""
    changes: dict[str, object] = {}
    if first is not None and first.model != chat.model:
        changes["model"] = first.model
    if chat.stream and not chat.include_usage:
        asked.hide_usage = True
        changes["stream_options"] = _usage_included(chat, body)
    remove = ["models"] if chat.models is not None else []
    if chat.metadata is not None and not chat.store:
        # Attribution, which has been read. OpenAI refuses it on what is not stored.
        remove.append("metadata")
    if not changes and not remove:
        return None
    return strict_json.splice(body, changes, remove=remove)


def _usage_included(chat: ChatRequest, body: bytes) -> msgspec.Raw:
    if chat.stream_options is None:
        return msgspec.Raw(b'{"include_usage":true}')
    options = msgspec.json.decode(body, type=_Options).stream_options
    return msgspec.Raw(strict_json.splice(bytes(options), {"include_usage": True}))


class _Options(msgspec.Struct):
    stream_options: msgspec.Raw


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
        (h.I_STREAM, "1" if asked.stream else "0"),
        (h.ENVOY_MAX_RETRIES, str(len(admitted.chain) - 1)),
    ]
    if "content_policy" in asked.route.policy.walk_on:
        fields.append((h.I_WALK, "content"))
    if admitted.ready is not None:
        fields.append((h.I_READY, admitted.ready))
    if admitted.body is not None:
        fields.append(("content-length", str(len(body))))
    return fields
