"""The guard between a request's reading and its plan, and between its answer and the client."""

from __future__ import annotations

import json
import time
from typing import Final

from extproc import headers as h
from extproc.dialects import ClientFormat, ClientRequest
from extproc.errors import ClientError, bad_request
from extproc.filters.admission import Asked
from extproc.filters.rooms import Rooms
from extproc.guard import BlockedError, GuardError, StoppedError, TooMuchError
from extproc.guard.custom import PatternError
from extproc.guard.room import Guarded, Watch
from extproc.guard.rules import RuleError, rules
from extproc.guard.sessions import FullError
from extproc.policy import PolicyError
from extproc.records import NOBODY
from extproc.routing import Route

UNAVAILABLE: Final = ClientError(
    503,
    "server_error",
    "guard_unavailable",
    "The gateway cannot look through requests at the moment, and this route lets none pass unseen.",
    retry_after=5.0,
)
FULL: Final = ClientError(
    413,
    "invalid_request_error",
    "session_too_large",
    "The session holds more personal data than is kept of one; begin another.",
    h.SESSION,
)
MOST_GROWTH: Final = 1 << 20
"""Bytes by which placeholders may make a body longer: Envoy holds it against a limit that leaves
so much room."""


def watch_of(rooms: Rooms, route: Route) -> Watch | None:
    """A route's guard, made when it is first needed; None: it has none. Raises PolicyError."""
    found = route.watch
    if found is not None:
        return found if isinstance(found, Watch) else None
    try:
        wanted = rules(route.host.guard, route.policy.guard, observe=route.policy.mode == "observe")
        made = None if wanted is None else rooms.guard.watch(wanted)
    except (RuleError, PatternError) as error:
        raise PolicyError(str(error)) from error
    route.watch = made or False
    return made


async def request(
    rooms: Rooms, asked: Asked, format_: ClientFormat, read: ClientRequest, body: bytes
) -> tuple[ClientRequest, bytes]:
    """A request as it may go up, and its body. Raises ClientError for what must not pass."""
    watch = watch_of(rooms, asked.route)
    if watch is None:
        return read, body
    if not watch.rules.request:
        asked.guarded = Guarded(watch, body)
        return read, body
    began = time.perf_counter()
    asked.guarded = guarded = Guarded(watch, body)
    try:
        await rooms.guard.request(guarded, format_.name, _owner(asked), asked.attribution.session)
    except BlockedError as error:
        rooms.telemetry.guard.outcome("blocked")
        raise blocked(error) from None
    except GuardError as error:
        rooms.telemetry.guard.outcome("failed")
        raise refused(error) from None
    finally:
        rooms.telemetry.guard.took(time.perf_counter() - began)
    if guarded.unguarded:
        rooms.telemetry.guard.outcome("unguarded")
    elif guarded.body is body:
        rooms.telemetry.guard.outcome("flagged" if guarded.counts else "clean")
    else:
        rooms.telemetry.guard.outcome("changed")
        asked.rewritten = True
        return await _again(rooms, format_, guarded.body, len(body)), guarded.body
    return read, body


async def _again(rooms: Rooms, format_: ClientFormat, body: bytes, before: int) -> ClientRequest:
    """What is asked for once values have been replaced."""
    if len(body) > before + MOST_GROWTH:
        message = "The request is too large once its personal data is replaced by placeholders."
        raise ClientError(413, "invalid_request_error", "request_too_large", message)
    return await rooms.large.work(len(body), lambda: format_.parse(body))


def _owner(asked: Asked) -> str:
    """Whose sessions a caller's are: nobody else's, whatever they call them."""
    caller = asked.caller or NOBODY
    return json.dumps((caller.source, caller.tenant, caller.key, asked.attribution.user))


async def answer(rooms: Rooms, asked: Asked, body: bytes) -> bytes:
    """A whole answer as the client may have it. Raises ClientError for what must not pass."""
    if asked.guarded is None:
        return body
    try:
        return await rooms.guard.answer(asked.guarded, body, asked.format)
    except (BlockedError, GuardError) as error:
        raise refused(error) from None


def kept(asked: Asked, body: bytes) -> bytes:
    """What may be kept of a whole answer: what the guard has let pass, with its placeholders."""
    if asked.guarded is None or not asked.guarded.reviews:
        return body
    return asked.guarded.reviewed or b""


class Passage:
    """What a streamed answer goes through on its way to the client."""

    def __init__(self, rooms: Rooms, asked: Asked) -> None:
        guarded = asked.guarded
        self._stream = None if guarded is None else rooms.guard.stream(guarded, asked.format)
        self.may_be_kept = guarded is None or not guarded.reviews
        """The stream as the provider sends it holds nothing that must not pass."""

    @property
    def events(self) -> int:
        """How many events more have gone out than came in."""
        return 0 if self._stream is None else self._stream.events

    async def feed(self, data: bytes, *, end: bool = False) -> bytes:
        """What can go out now; at the end, all that was held back. Raises Cut."""
        stream = self._stream
        if stream is None:
            return data
        out = b""
        try:
            out += await stream.feed(data) if data else b""
            return out + await stream.end() if end else out
        except StoppedError as stopped:
            raise Cut(refused(stopped.cause), out + stopped.sent) from None


class Cut(Exception):  # noqa: N818 - an end, and no fault of anybody's
    """A stream ends here: `sent` still goes out, and then the error."""

    def __init__(self, error: ClientError, sent: bytes) -> None:
        super().__init__(error.message)
        self.error = error
        self.sent = sent


def refused(error: BlockedError | GuardError) -> ClientError:
    """What the client is told."""
    if isinstance(error, FullError):
        return FULL
    if isinstance(error, TooMuchError):
        return bad_request(f"The gateway's guard cannot look through this body: {error}.")
    return blocked(error) if isinstance(error, BlockedError) else UNAVAILABLE


def blocked(error: BlockedError) -> ClientError:
    """What the client is told of something that must not pass."""
    # Anthropic's errors have no place for a code.
    message = f"content_blocked: no {error.type} may pass here; there is one in {error.place}."
    return ClientError(400, "invalid_request_error", "content_blocked", message, error.place)
