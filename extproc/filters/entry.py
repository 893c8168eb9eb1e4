"""Who comes in, and with what: a request's caller, then its body, read one way and admitted."""

from __future__ import annotations

from functools import partial
from typing import Final

from extproc.dialects import ClientFormat
from extproc.errors import ClientError
from extproc.filters import guarded
from extproc.filters.admission import Asked, Planned, fingerprint, plan, said
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
    """The levels that could serve what a body asks for, once the guard has seen it. Raises
    ClientError for a body that is wrong, that asks for what its caller may not, that holds what
    must not pass, or that no level can serve."""
    request = await rooms.large.work(len(body), partial(format_.parse, body))
    try:
        said(asked, request)
    except ClientError as error:
        if error.status == FORBIDDEN:
            rooms.telemetry.identified("none", error.code or error.type)
            await rooms.identify.hold(asked.clock)
        raise
    for what in asked.ignored:
        rooms.telemetry.not_allowed(what)
    request, body = await guarded.request(rooms, asked, format_, request, body)
    planned = plan(asked, request, body, rooms.dialects)
    if asked.route.policy.mode == "observe":
        made = partial(fingerprint, asked, body, rooms.secret)
        asked.fingerprint = await rooms.large.work(len(body), made)
    return planned
