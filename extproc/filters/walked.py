"""What the levels of a chain said that did not serve."""

from __future__ import annotations

from extproc import headers as h
from extproc.errors import Reason
from extproc.filters.admission import Asked
from extproc.filters.exchange import ResponseHead
from extproc.filters.rooms import Rooms
from extproc.filters.verdict import Note, decode, verdict, with_unsaid
from extproc.state import StateError


async def learn(rooms: Rooms, asked: Asked, event: ResponseHead) -> None:
    """Take down what the levels before said. Raises ClientError, the verdict on all of them, if the
    last refused as well."""
    refused = h.I_REFUSAL in event.headers
    unserved = refused or h.I_TARGET not in event.headers
    if asked.attempts <= 1 and not unserved:
        return
    try:
        notes = decode(await rooms.notes.take(asked.id))
    except StateError:
        rooms.telemetry.note_lost()
        notes = []
    wordless = unserved and not refused
    failed = max(asked.attempts - (not unserved), len(notes) + wordless)
    if len(notes) < failed:
        last = _local_reason(event) if wordless else Reason.UNAVAILABLE
        levels = [[name for name, _ in level] for level in asked.names]
        notes = with_unsaid(notes, levels[:failed], last)
        for note in notes:
            if note.unsaid:
                rooms.telemetry.refusal(note.target, note.reason.value)
    asked.refusals += tuple((note.target, note.reason.value) for note in notes)
    if unserved:
        raise verdict([*await _passed(rooms, asked), *notes])
    rooms.telemetry.walked(asked.route.policy.route)


def _local_reason(event: ResponseHead) -> Reason:
    """Why the last level failed that could not say so itself: Envoy answered in its place."""
    return Reason.TIMEOUT if event.status == 504 else Reason.UNAVAILABLE  # noqa: PLR2004 - gateway timeout


async def _passed(rooms: Rooms, asked: Asked) -> list[Note]:
    """Levels that had no room when the request was admitted."""
    if asked.grant is None or not asked.grant.passed:
        return []
    waits = await rooms.limits.waits(asked.grant)
    return [Note(name, Reason.CAPACITY, 429, wait) for name, wait in waits]
