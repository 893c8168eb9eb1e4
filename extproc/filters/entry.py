"""Who comes in, and with what: a request's caller, then its body, read one way and admitted."""

from __future__ import annotations

from functools import partial
from typing import Final

from extproc.dialects import ClientFormat
from extproc.errors import ClientError
from extproc.filters.admission import Asked, Planned, fingerprint, plan
from extproc.filters.exchange import RequestHead
from extproc.filters.rooms import Rooms
from extproc.records import Caller

FORBIDDEN: Final = 403


async def who(rooms: Rooms, event: RequestHead, asked: Asked) -> Caller:
    """Who asks. Raises ClientError for who is not let in here."""
    route = asked.route
    try:
        caller = await rooms.identify.who(
            event.headers,
            event.attributes,
            event.metadata,
            policy=route.identity,
            route=route.policy.route,
            tiers=route.tiers,
            arrived=asked.clock,
            key_header_only=route.policy.credentials == "caller",
        )
    except ClientError as error:
        rooms.telemetry.identified("none", error.code or error.type)
        raise
    rooms.telemetry.identified(caller.source, "ok")
    return caller


async def let_in(rooms: Rooms, asked: Asked, format_: ClientFormat, body: bytes) -> Planned:
    """The levels that could serve what a body asks for. Raises ClientError for a body that is
    wrong, that asks for what its caller may not, or that no level can serve."""
    size = len(body)
    request = await rooms.large.work(size, partial(format_.parse, body))
    try:
        planned = plan(asked, request, body, rooms.dialects)
    except ClientError as error:
        if error.status == FORBIDDEN:
            rooms.telemetry.identified("none", error.code or error.type)
            await rooms.identify.hold(asked.clock)
        raise
    for what in asked.ignored:
        rooms.telemetry.not_allowed(what)
    if asked.route.policy.mode == "observe":
        made = partial(fingerprint, asked, body, rooms.secret)
        asked.fingerprint = await rooms.large.work(size, made)
    return planned
