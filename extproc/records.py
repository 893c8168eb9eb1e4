"""What is recorded of a request: figures, blame and whose it was.

Values that several rooms hand to each other, so they stand here and in no room.
"""

from __future__ import annotations

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


ANONYMOUS = Attribution()
"""Nobody said anything."""


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
    """What the chain is called that the request was given."""
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
