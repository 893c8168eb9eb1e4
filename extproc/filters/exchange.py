"""What is known of one request in one filter, and the table of its phases.

A filter takes events and returns actions; it knows no socket and no protobuf. `stream.py` turns
Envoy's messages into events and actions into replies: each `Pass` answers the oldest message
not yet answered, so that a held message is answered in its turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol

import msgspec

# --- events -------------------------------------------------------------------------------


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """The request's head. `attributes` are the CEL values the filter's configuration asks for,
    `metadata` what filters in front found out, by their namespaces."""

    headers: dict[str, str]
    attributes: Mapping[str, str | float]
    end: bool
    metadata: Mapping[str, Any] = {}


class RequestBody(msgspec.Struct, frozen=True, gc=False):
    """The whole request body (the filter buffers it)."""

    data: bytes


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """The response's head. `end`: there is no body."""

    status: int
    headers: dict[str, str]
    attributes: Mapping[str, str | float]
    end: bool


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of the response body, or all of it where the filter buffers."""

    data: bytes
    end: bool


class Trailers(msgspec.Struct, frozen=True, gc=False):
    """The response ended with trailers."""

    headers: dict[str, str] = {}


Event = RequestHead | RequestBody | ResponseHead | Chunk | Trailers

# --- actions ------------------------------------------------------------------------------


Levels = tuple[tuple[tuple[str, int], ...], ...]
"""A chain: for each level, its clusters with their weights."""


class BodyMode(Enum):
    """How Envoy sends the response body from now on."""

    NONE = auto()
    STREAMED = auto()
    """Chunk by chunk, each answered."""
    BUFFERED = auto()
    """Whole."""
    DUPLEX = auto()
    """Chunk by chunk; what goes to the client is sent whenever there is something."""


class Pass(msgspec.Struct, frozen=True, gc=False):
    """Let the oldest unanswered message go on, changed as said.

    `body`: None leaves it, b"" swallows it. `levels`: the request's chain; it also clears the
    route. `facts`: for the access log.
    """

    set: Sequence[tuple[str, str]] = ()
    remove: Sequence[str] = ()
    body: bytes | None = None
    levels: Levels | None = None
    mode: BodyMode | None = None
    facts: Mapping[str, str | int | float] | None = None


class Emit(msgspec.Struct, frozen=True, gc=False):
    """Send bytes to the client, in duplex mode, whenever there are any."""

    data: bytes
    end: bool
    facts: Mapping[str, str | int | float] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Answer in the provider's place; nothing further goes up or down.

    `details` shows in Envoy's response code details and begins with `tg_`.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    details: str
    facts: Mapping[str, str | int | float] | None = None


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Nothing is left to do: Envoy goes on without this filter."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Hold the message and tell Envoy, once, how long at most; `then` finds out what to do about
    it. It is cancelled when nobody waits for the answer any more."""

    seconds: float
    then: Callable[[], Awaitable[Sequence[Pass | Answer]]]


Action = Pass | Emit | Answer | Leave | Wait
Actions = Sequence[Action]

HOLD: Actions = ()
"""No reply yet."""
UNCHANGED = Pass()
GO: Actions = (UNCHANGED,)
"""Go on, unchanged."""
LEAVE = Leave()

# --- phases -------------------------------------------------------------------------------


class Phase(Enum):
    """Where an exchange stands."""

    START = auto()
    """Nothing has come."""
    HEAD = auto()
    """The request's head is known; its body is to come."""
    SENT = auto()
    """The request is on its way; an answer is to come."""
    ANSWERED = auto()
    """The response's head is known; its body is coming."""
    DONE = auto()
    """Everything has come, or the filter has answered itself."""


# An answer may come at any time: a local reply (413, no route) overtakes the request's body.
NEXT: Mapping[Phase, Mapping[type, Phase]] = {
    Phase.START: {RequestHead: Phase.HEAD, ResponseHead: Phase.ANSWERED},
    Phase.HEAD: {RequestBody: Phase.SENT, ResponseHead: Phase.ANSWERED},
    Phase.SENT: {ResponseHead: Phase.ANSWERED},
    Phase.ANSWERED: {Chunk: Phase.ANSWERED, Trailers: Phase.DONE},
    # Envoy can repeat the last chunk of a full-duplex stream: what comes after the end is dropped.
    Phase.DONE: {Chunk: Phase.DONE, Trailers: Phase.DONE},
}


class UnexpectedEventError(Exception):
    """Envoy sent a message that has no place here: its filter is configured otherwise."""


def advance(phase: Phase, event: Event) -> Phase:
    """The phase after `event`. Raises UnexpectedEventError."""
    try:
        after = NEXT[phase][type(event)]
    except KeyError:
        raise UnexpectedEventError(f"{type(event).__name__} in {phase.name}") from None
    if after is Phase.ANSWERED and event.end:  # type: ignore[union-attr]
        return Phase.DONE
    return after


class Handler(Protocol):
    """One request in one filter. `stream.py` calls it, one call at a time."""

    alarm: float | None
    """When `ring` is to be called, on the event loop's clock."""

    async def on(self, event: Event) -> Actions:
        """What to do about an event that `advance` allows."""
        ...

    async def ring(self) -> Actions:
        """The alarm's time has come."""
        ...

    async def gone(self) -> None:
        """The stream is over: Envoy finished, the client left, or the connection broke. Settle."""
        ...
