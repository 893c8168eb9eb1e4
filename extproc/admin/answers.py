"""What every route of the admin port shares: JSON in, JSON out, errors in one form.

An error is `{"error": {"message": …, "param"?: …, "line"?: …}}`, whoever makes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from extproc import strict_json
from extproc.errors import ClientError
from extproc.state import ExistsError, StateError

log = logging.getLogger(__name__)

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
LARGEST: Final = 1024 * 1024
"""Bytes of a body; a key with every field at its longest is far below."""
STALLED: Final = 60.0
"""Seconds that a reader of a long answer may take for what has been sent to it."""
SHOWN: Final = 200
"""Characters of a message, which may quote what was sent."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):  # noqa: N818 - what happened, as the caller reads it
    """A request that is not done, and why."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.line = line


def answer(value: Any, status: int = 200) -> web.Response:
    """`value` as JSON, which nobody may keep: it may hold a key."""
    return web.Response(
        body=msgspec.json.encode(value) + b"\n",
        status=status,
        content_type=JSON,
        headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
    )


def error(
    status: int, message: str, *, param: str | None = None, line: int | None = None
) -> web.Response:
    """An error in the port's form."""
    said: dict[str, Any] = {"message": message}
    if param is not None:
        said["param"] = param
    if line is not None:
        said["line"] = line
    found = answer({"error": said}, status)
    if status == 401:  # noqa: PLR2004 - Unauthorized
        found.headers["www-authenticate"] = "Bearer"
    return found


@web.middleware
async def in_one_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure in the port's form, and none that tells of the inside."""
    try:
        return await handler(request)
    except Refused as refused:
        return error(refused.status, refused.message, param=refused.param, line=refused.line)
    except ExistsError as exists:
        return error(409, f"is there already: {exists}"[:SHOWN])
    except StateError as away:
        log.warning("the store is away", extra={"path": _place(request), "reason": str(away)})
        return error(503, "the store is away; try again, and look whether it was done")
    except web.HTTPException as known:
        found = error(known.status, known.reason)
        if "allow" in known.headers:
            found.headers["allow"] = known.headers["allow"]
        return found
    except Exception:
        log.exception("admin request failed", extra={"path": _place(request)})
        return error(500, "failed; the service's log says why")


def _place(request: web.Request) -> str:
    """The route as it is written, without ids that somebody may have put a key in place of."""
    resource = request.match_info.route.resource
    return "?" if resource is None else resource.canonical


async def body_of(request: web.Request, largest: int = LARGEST) -> bytes:
    """The body. Raises Refused (413, 415)."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "a compressed body is not taken; send it plain")
    if (request.content_length or 0) > largest:
        raise _too_large(largest)
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > largest:
            raise _too_large(largest)
        parts.append(part)
    return b"".join(parts)


def _too_large(largest: int) -> Refused:
    return Refused(413, f"the body is longer than {largest} bytes")


async def object_of(request: web.Request) -> dict[str, Any]:
    """The body, a JSON object; no body is `{}`. Raises Refused (400, 413, 415)."""
    if request.content_type != JSON:
        raise Refused(415, f"content-type must be {JSON}")
    text = await body_of(request)
    if not text.strip():
        return {}
    try:
        return strict_json.load(text)
    except ClientError as flaw:
        raise Refused(400, flaw.message, param=flaw.param) from flaw


async def send(request: web.Request, response: web.StreamResponse, part: bytes) -> None:
    """Write a part of a long answer. Raises ConnectionError when the reader has gone, or does not
    read: its connection is then cut."""
    try:
        async with asyncio.timeout(STALLED):
            await response.write(part)
    except TimeoutError as error:
        cut(request)
        raise ConnectionResetError("the reader does not read") from error


def cut(request: web.Request) -> None:
    """End an answer whose head is out so that nobody takes it for the whole."""
    if request.transport is not None:
        request.transport.abort()


class Query:
    """The query string, each parameter read once; `done` refuses those that nobody reads."""

    def __init__(self, request: web.Request) -> None:
        self._sent = request.query
        self._read: set[str] = set()

    def all(self, name: str) -> Sequence[str]:
        """Every value of a parameter."""
        self._read.add(name)
        return self._sent.getall(name, [])

    def one(self, name: str) -> str | None:
        """The value of a parameter that may be given once; empty is as not given."""
        values = self.all(name)
        if len(values) > 1:
            raise Refused(400, "is given more than once", param=name)
        return values[0] or None if values else None

    def done(self) -> None:
        """Raises Refused for a parameter that means nothing here."""
        unknown = [name for name in self._sent if name not in self._read]
        if unknown:
            raise Refused(400, "unknown parameter", param=unknown[0][:SHOWN])
