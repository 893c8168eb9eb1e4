"""The guard between a request's reading and its plan, and between its answer and the client."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec

from extproc import headers as h
from extproc.dialects import ClientFormat, ClientRequest
from extproc.errors import ClientError, bad_request
from extproc.filters.admission import Asked
from extproc.filters.large import LARGE
from extproc.filters.rooms import Rooms
from extproc.filters.whose import owner, session_of
from extproc.guard import BlockedError, GuardError, StoppedError, TooMuchError
from extproc.guard.custom import PatternError
from extproc.guard.guarded import Guarded, Watch
from extproc.guard.rules import rules
from extproc.guard.sessions import FullError
from extproc.mistakes import mistake
from extproc.policy import PolicyError
from extproc.routing import Route
from extproc.rule_error import RuleError
from extproc.telemetry.guard import Outcome

log = logging.getLogger(__name__)

UNAVAILABLE: Final = ClientError(
    503,
    "server_error",
    "guard_unavailable",
    "The gateway cannot look through requests at the moment, and this route lets none pass unseen.",
    retry_after=5.0,
)
BROKEN: Final = ClientError(
    500, "server_error", "guard_failed", "The gateway's guard failed; nothing went on unseen."
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


async def watch_of(rooms: Rooms, route: Route) -> Watch | None:
    """A route's guard, made when it is first needed; None: it has none. Raises PolicyError."""
    found = route.watch
    if found is None and (route.host.guard is not None or route.policy.guard is not None):
        # The first detector of a process reads its tables for a quarter of a second.
        return await rooms.large.work(LARGE, partial(_made, rooms, route))
    return found if isinstance(found, Watch) else None


def _made(rooms: Rooms, route: Route) -> Watch | None:
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
    watch = await watch_of(rooms, asked.route)
    if watch is None:
        return read, body
    if not watch.rules.reads_requests:
        asked.guarded = Guarded(watch, body)
        return read, body
    began = time.perf_counter()
    asked.guarded = guarded = Guarded(watch, body)
    try:
        await rooms.guard.request(guarded, format_.name, _whose(asked, read))
    except BlockedError as error:
        rooms.telemetry.guard.outcome("blocked")
        raise blocked(error) from None
    except Exception as error:  # noqa: BLE001 - whatever fails here, nothing goes up unseen
        rooms.telemetry.guard.outcome("failed")
        raise refused(error) from None
    finally:
        rooms.telemetry.guard.took(time.perf_counter() - began)
    changed = guarded.body is not body
    rooms.telemetry.guard.outcome(_outcome(guarded, changed=changed))
    if not changed:
        return read, body
    asked.rewritten = True
    return await _again(rooms, format_, guarded.body, len(body)), guarded.body


def _outcome(guarded: Guarded, *, changed: bool) -> Outcome:
    if guarded.unguarded:
        return "unguarded"
    if changed:
        return "changed"
    return "flagged" if guarded.counts else "clean"


async def _again(rooms: Rooms, format_: ClientFormat, body: bytes, before: int) -> ClientRequest:
    """What is asked for once values have been replaced."""
    if len(body) > before + MOST_GROWTH:
        message = "The request is too large once its personal data is replaced by placeholders."
        raise ClientError(413, "invalid_request_error", "request_too_large", message)
    return await rooms.large.work(len(body), lambda: format_.parse(body))


def _whose(asked: Asked, read: ClientRequest) -> tuple[str, str] | None:
    """The owner and the name of a request's session; None: it is of none."""
    session = session_of(asked)
    return None if session is None else (owner(asked, read), session)


async def answer(rooms: Rooms, asked: Asked, body: bytes) -> bytes:
    """A whole answer as the client may have it. Raises ClientError for what must not pass."""
    if asked.guarded is None:
        return body
    try:
        return await rooms.guard.answer(asked.guarded, body, asked.format)
    except Exception as error:  # noqa: BLE001 - whatever fails here, nothing goes out unseen
        raise refused(error) from None


async def restored(rooms: Rooms, asked: Asked, body: bytes) -> bytes:
    """An answer out of the cache, which the guard saw when it was kept, with this request's values
    put back. Raises ClientError for what must not pass."""
    known = asked.guarded
    if known is None or not known.mapping:
        return body
    unseen = replace(known, watch=replace(known.watch, rules=replace(known.rules, response=False)))
    try:
        found = await rooms.guard.answer(unseen, body, asked.format)
    except Exception as error:  # noqa: BLE001 - whatever fails here, nothing goes out unseen
        raise refused(error) from None
    return found


async def seen(rooms: Rooms, asked: Asked, answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What may be kept of a provider's answer (read): as the guard lets it pass, and with
    placeholders in their places. None: nothing, for it holds what stays where it is, or cannot be
    looked through. Where a route's guard looks at requests alone, answers are looked through here
    all the same, and what is found in one keeps it out of the cache."""
    known = asked.guarded
    if known is None:
        return answer
    reviews = known.rules.response and known.rules.enforce
    if known.reviewed is not None:
        flagged = any(where == "response" and done == "flag" for _, done, where in known.counts)
        return None if flagged or known.unguarded else _decoded(known.reviewed)
    rules = replace(known.rules, response=True)
    fresh = Guarded(replace(known.watch, rules=rules), b"")
    # So that placeholders which were given are not taken for findings.
    fresh.mapping = known.mapping
    try:
        await rooms.guard.answer(fresh, msgspec.json.encode(answer), asked.format)
    except Exception:  # noqa: BLE001 - what cannot be looked through is not kept
        return None
    if fresh.unguarded or any(done == "flag" or not reviews for _, done, _ in fresh.counts):
        return None
    return answer if not reviews or fresh.reviewed is None else _decoded(fresh.reviewed)


def _decoded(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(answer)
    return found


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
        except Exception as error:  # noqa: BLE001 - whatever fails here, nothing goes out unseen
            raise Cut(refused(error), out) from None


class Cut(Exception):  # noqa: N818 - an end, and no fault of anybody's
    """A stream ends here: `sent` still goes out, and then the error."""

    def __init__(self, error: ClientError, sent: bytes) -> None:
        super().__init__(error.message)
        self.error = error
        self.sent = sent


def refused(error: Exception) -> ClientError:
    """What the client is told."""
    if not isinstance(error, BlockedError | GuardError):
        log.error("the guard failed", extra=mistake(error))
        return BROKEN
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
