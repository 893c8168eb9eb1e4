"""Attempt notes, and the one answer that is made from all of them when no level serves.

Envoy hands back the last level's answer only; each refusing level leaves a note instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from extproc.errors import BLAMES_REQUEST, ClientError, Reason, Refusal


class Note(msgspec.Struct, frozen=True):
    """Why one attempt did not serve. `retry_after` in seconds; tokens as the provider billed."""

    target: str
    reason: Reason
    status: int
    retry_after: float | None = None
    detail: str = ""
    param: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    unsaid: bool = False
    """The level left no note; the gateway filter supposes this one."""


_decoder: Final = msgspec.json.Decoder(Note)
_encoder: Final = msgspec.json.Encoder()


def note_of(target: str, refusal: Refusal) -> Note:
    """A refusal as it is left for the gateway filter."""
    return Note(
        target, refusal.reason, refusal.status, refusal.retry_after, refusal.detail, refusal.param
    )


def encode(note: Note) -> bytes:
    """A note for the store."""
    return _encoder.encode(note)


def decode(found: Iterable[bytes]) -> list[Note]:
    """Notes from the store, in the order they were left; what cannot be read is left out."""
    notes = []
    for raw in found:
        try:
            notes.append(_decoder.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return notes


def with_unsaid(notes: Sequence[Note], levels: Sequence[Sequence[str]], last: Reason) -> list[Note]:
    """Notes in the order of `levels`, those that failed, with one for each that left none.

    A provider's connection that breaks after its head, while that is held back, takes the level's
    filter with it; so does a worker that dies. `last` is the reason of the last level.
    """
    said = {note.target for note in notes}
    silent = [(number, one) for number, one in enumerate(levels) if said.isdisjoint(one)]
    found = list(notes)
    for number, level in silent[: len(levels) - len(notes)]:
        reason = last if number == len(levels) - 1 else Reason.UNAVAILABLE
        name = level[0] if len(level) == 1 else "chain"
        found.append(Note(name, reason, 503, detail="the connection broke", unsaid=True))
    order = {name: number for number, level in enumerate(levels) for name in level}
    return sorted(found, key=lambda note: order.get(note.target, len(levels)))


CODES: Final = {
    Reason.CONTEXT: "context_length_exceeded",
    Reason.FEATURE: "unsupported_parameter",
    Reason.CONTENT: "content_policy_violation",
}


def verdict(notes: Sequence[Note]) -> ClientError:
    """What the client is told when no level served.

    400 if every level refused for the request's content, 429 with the smallest wait if every one
    refused for capacity, 502 if our credentials failed and nobody else served, else 503.
    """
    reasons = {note.reason for note in notes}
    if notes and reasons <= BLAMES_REQUEST:
        return _content(notes)
    if reasons == {Reason.CAPACITY}:
        waits = [note.retry_after for note in notes if note.retry_after is not None]
        message = f"Every provider of the chain is at its rate limit ({_walk(notes)})."
        wait = min(waits, default=1.0)
        return ClientError(429, "rate_limit_error", "rate_limit_exceeded", message, None, wait)
    if Reason.CREDENTIALS in reasons:
        message = f"No provider of the chain could be used ({_walk(notes)})."
        return ClientError(502, "server_error", "provider_credentials", message)
    message = f"No provider of the chain served the request ({_walk(notes)})."
    waits = [note.retry_after for note in notes if note.retry_after is not None]
    return ClientError(
        503, "server_error", "no_provider_available", message, None, min(waits, default=None)
    )


def _content(notes: Sequence[Note]) -> ClientError:
    # The last level is the one with most room in a chain written from best to last resort.
    last = notes[-1]
    message = f"No model of the chain can take this request: {_walk(notes, details=True)}."
    return ClientError(400, "invalid_request_error", CODES[last.reason], message, last.param)


def _walk(notes: Sequence[Note], *, details: bool = False) -> str:
    if not notes:
        return "no level answered"
    return "; ".join(_told(note, details=details) for note in notes)


def _told(note: Note, *, details: bool) -> str:
    detail = f" ({note.detail})" if details and note.detail else ""
    return f"{note.target}: {note.reason.value}{detail}"
