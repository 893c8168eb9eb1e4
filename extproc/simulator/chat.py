"""What the wire formats share: what was asked, what is replied, and the dialect's door.

Values here know no provider. A dialect turns a body into an `Ask`, and a `Reply` into bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec


class Tool(msgspec.Struct, frozen=True):
    """A function the client offers; `schema` is the JSON Schema of its arguments."""

    name: str
    schema: Any = None
    custom: bool = False
    """Takes free text instead of arguments (OpenAI)."""


class PromptCache(msgspec.Struct, frozen=True):
    """Tokens of the prompt that were read from the cache, and written to it for five minutes and
    for an hour."""

    read: int = 0
    write: int = 0
    write_1h: int = 0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request, in no dialect."""

    model: str
    stream: bool = False
    include_usage: bool = False
    """OpenAI's `stream_options.include_usage`."""
    obfuscate: bool = True
    """OpenAI pads stream events with random characters unless told not to."""
    sse: bool = True
    """Gemini streams a JSON array unless `alt=sse` is asked for."""
    tools: tuple[Tool, ...] = ()
    forced: str | None = None
    """The one tool that must be called."""
    required: bool = False
    """Some tool must be called."""
    tools_off: bool = False
    parallel: bool = True
    max_tokens: int | None = None
    choices: int = 1
    prompt: str = ""
    """Text of the last user message; empty when the last message is a tool's result."""
    json_schema: Any = None
    json_mode: bool = False
    thinks: bool = False
    """The client asked to see reasoning."""
    reasons: bool = False
    """The model reasons, seen or not: its usage has reasoning tokens."""
    logprobs: bool = False
    writes_cache: bool = False
    """The provider bills what it writes to its cache (Anthropic)."""
    prompt_cache: PromptCache | None = None
    """What the provider's prompt cache did, where the request says what to cache; else drawn."""
    stops: tuple[str, ...] = ()
    """The text ends before the first of these."""
    silent: bool = False
    """Nothing is written (embeddings): no output tokens."""
    free: bool = False
    """Nothing is billed (counting tokens)."""
    own: Any = None
    """What only the dialect knows of the request."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request. `input` includes `cached` and `cache_write`; `output` includes
    `reasoning`. Each dialect subtracts what its own figures leave out."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    """The part of `cache_write` that is kept for an hour."""
    audio_input: int = 0
    """The part of `input` that was sound."""
    audio_output: int = 0
    """The part of `output` that is sound."""

    def after(self, sent: int, total: int) -> Usage:
        """What is billed when `sent` of `total` content events have left. Nothing before the
        first; reasoning is spent by the time of the first event."""
        if sent <= 0:
            return NOTHING
        if sent >= total:
            return self
        visible = (self.output - self.reasoning) * sent // total
        return Usage(
            self.input,
            self.reasoning + visible,
            self.cached,
            self.cache_write,
            self.reasoning,
            self.cache_write_1h,
            self.audio_input,
            self.audio_output * sent // total,
        )


NOTHING = Usage(0, 0)


class Call(msgspec.Struct, frozen=True):
    """One tool call of a reply. `arguments` is JSON text; of a custom tool, any text."""

    id: str
    name: str
    arguments: str
    custom: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated model says."""

    id: str
    """Random hexadecimal digits; each dialect puts its own prefix before them."""
    created: int
    model: str
    pieces: tuple[str, ...]
    """The text, one piece for each content event of a stream."""
    thinking: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str
    """`stop`, `length`, `tool_calls`, `content_filter`, `refusal`, or a provider's own word."""
    usage: Usage | None
    """None: the provider reports none (some self-hosted servers)."""
    stopped: str | None = None
    """Which of the request's stop sequences ended the text."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


NEXT = b'"@next"'
"""Stands in an error event for the number of events before it."""

Frame = tuple[bytes, bool]
"""Bytes of one event of a stream, and whether it is a content event."""


class Failure(msgspec.Struct, frozen=True):
    """An error answer. Raised inside `Rejected`, or asked for by a script."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class RejectedError(Exception):
    """The provider would not take this request."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.status)
        self.failure = failure


class Dialect(Protocol):
    """One provider wire format, as the provider speaks it."""

    name: str
    keepalive: bytes
    """What the provider sends to keep a quiet stream open."""

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:
        """What the provider says to a missing or wrong key, or None. A key is wrong when
        `wrong` is in it."""
        ...

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate. Raises RejectedError."""
        ...

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """The provider's own error of that kind (`KINDS`), or of that status."""
        ...

    def not_found(self, method: str, path: str) -> Failure:
        """What the provider says of a path it does not have."""
        ...

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """The body of an answer that is not streamed."""
        ...

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """The events of a streamed answer, in order, terminal event included."""
        ...

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """How many content events `frames` yields."""
        ...

    def error_event(self, failure: Failure) -> bytes:
        """The error as an event within a stream."""
        ...

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """What the provider's answers carry, content type included."""
        ...

    def models(self, model: str | None) -> bytes | None:
        """The list of models, or one; None when there is no such model."""
        ...


KINDS = (
    "invalid_request",
    "authentication",
    "billing",
    "permission",
    "not_found",
    "model_not_found",
    "too_large",
    "unprocessable",
    "context_length",
    "content_filter",
    "rate_limit",
    "quota",
    "overloaded",
    "unavailable",
    "server",
    "timeout",
)
"""Every kind of error a script may name. Each dialect has words for all of them."""

KIND_OF_STATUS = {
    400: "invalid_request",
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "model_not_found",
    413: "too_large",
    422: "unprocessable",
    429: "rate_limit",
    500: "server",
    502: "server",
    503: "unavailable",
    504: "timeout",
    529: "overloaded",
}


def kind_of(status: int) -> str:
    """The kind of error that a bare status stands for."""
    return KIND_OF_STATUS.get(status, "invalid_request" if status < 500 else "server")  # noqa: PLR2004


def bearer(headers: Mapping[str, str]) -> str:
    """The token of `authorization: Bearer …`, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
