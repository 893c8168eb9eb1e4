"""What the levels of a chain said that did not serve."""

from __future__ import annotations

from extproc import headers as h
from extproc.errors import Reason
from extproc.filters.admission import Asked
from extproc.filters.exchange import ResponseHead
from extproc.filters.rooms import Rooms
from extproc.filters.verdict import decode, verdict, with_unsaid
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
        notes = with_unsaid(notes, _levels(asked)[:failed], last)
        for note in notes:
            if note.unsaid:
                rooms.telemetry.refusal(note.target, note.reason.value)
    asked.refusals += tuple((note.target, note.reason.value) for note in notes)
    if unserved:
        raise verdict(notes)
    rooms.telemetry.walked(asked.route.policy.route)


def _local_reason(event: ResponseHead) -> Reason:
    """Why the last level failed that could not say so itself: Envoy answered in its place."""
    return Reason.TIMEOUT if event.status == 504 else Reason.UNAVAILABLE  # noqa: PLR2004 - gateway timeout


def _levels(asked: Asked) -> list[list[str]]:
    """The targets of each level of a request's chain."""
    names = {facts.policy.cluster: name for name, facts in asked.route.targets.items()}
    return [[names.get(cluster, "") for cluster, _ in level] for level in asked.chain]
