"""Cohere's errors (docs.cohere.com/reference/errors): `{"id", "message"}` under a status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors
from extproc.retry import retry_after

_INVALID_TOKEN: Final = 498
"""The key is none: elsewhere this status means that capacity is used up."""
_CLOSED: Final = 499
"""The request was cancelled on the way."""


def of_error(status: int, tree: dict[str, Any], headers: Mapping[str, str], body: bytes) -> Failure:
    """An error object; `message` may also be an object of its own."""
    message = errors.text(tree.get("message")) or errors.text(
        errors.mapping(tree.get("error")).get("message")
    )
    said = message or errors.plain(status, body)
    return Failure(
        _fault(status, said),
        status if status >= 400 else 502,  # noqa: PLR2004 - an error inside a 200
        errors.bounded(said),
        retry_after=retry_after(headers),
    )


_LIMITS: Final = {
    "x-trial-endpoint-call-limit": "x-ratelimit-limit-requests",
    "x-trial-endpoint-call-remaining": "x-ratelimit-remaining-requests",
}
"""Calls in a minute, which trial keys are told. The limit of a month has no name at OpenAI."""


def limits(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rate limits under OpenAI's names."""
    found = ((name, headers.get(own, "")) for own, name in _LIMITS.items())
    return [(name, value) for name, value in found if value.isascii() and value.isdigit()]


_BLOCKED: Final = "blocked input"


def _fault(status: int, message: str) -> Fault:
    if status in {200, 400, 422} and errors.is_context(message):
        return Fault.CONTEXT
    if status in {200, 400} and (errors.is_content(message) or _BLOCKED in message.lower()):
        return Fault.CONTENT
    if status == _INVALID_TOKEN:
        return Fault.AUTHENTICATION
    if status == _CLOSED:
        return Fault.TIMEOUT
    return errors.fault_of(status)
