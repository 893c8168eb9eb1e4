"""Gemini's errors: google.rpc.Status as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors

_BY_STATUS: Final[dict[str, tuple[Fault, int]]] = {
    "INVALID_ARGUMENT": (Fault.INVALID, 400),
    "FAILED_PRECONDITION": (Fault.INVALID, 400),
    "OUT_OF_RANGE": (Fault.INVALID, 400),
    "UNAUTHENTICATED": (Fault.AUTHENTICATION, 401),
    "PERMISSION_DENIED": (Fault.PERMISSION, 403),
    "NOT_FOUND": (Fault.NOT_FOUND, 404),
    "RESOURCE_EXHAUSTED": (Fault.RATE_LIMIT, 429),
    "CANCELLED": (Fault.SERVER, 499),
    "INTERNAL": (Fault.SERVER, 500),
    "UNKNOWN": (Fault.SERVER, 500),
    "UNAVAILABLE": (Fault.OVERLOADED, 503),
    "DEADLINE_EXCEEDED": (Fault.TIMEOUT, 504),
}
"""google.rpc.Code names and the HTTP status each stands for."""

_KEY_REASONS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"})
"""ErrorInfo reasons of a 400 or 403 that is about our key and not about the request."""


def of_error(
    status: int, tree: dict[str, Any], headers: Mapping[str, str], body: bytes = b""
) -> Failure:
    """google.rpc.Status as JSON: `{"error": {"code", "message", "status", "details"}}`."""
    error = errors.mapping(tree.get("error"))
    message = (
        errors.text(error.get("message"))
        or errors.text(tree.get("error"))
        or errors.text(tree.get("message"))
        or errors.plain(status, body)
    )
    name = error.get("status")
    name = name if isinstance(name, str) else None
    code = error.get("code")
    fault, stands_for = _BY_STATUS.get(name or "", (None, 502))
    if status < 400:  # noqa: PLR2004 - an error inside a 200
        status = code if isinstance(code, int) and 400 <= code < 600 else stands_for  # noqa: PLR2004
    if fault is Fault.INVALID and status > 400:  # noqa: PLR2004 - the status says more than the word
        fault = errors.fault_of(status)
    fault = _refined(fault or errors.fault_of(status), message, error)
    wait = errors.retry_after(headers)
    return Failure(
        fault,
        status,
        errors.bounded(message),
        name,
        None,
        _retry_info(error) if wait is None else wait,
    )


def _refined(fault: Fault, message: str, error: dict[str, Any]) -> Fault:
    """What the words add: Gemini says INVALID_ARGUMENT of many things, a wrong key among them."""
    if fault in {Fault.INVALID, Fault.PERMISSION}:
        if any(one.get("reason") in _KEY_REASONS for one in _details(error)):
            return Fault.AUTHENTICATION
        # FAILED_PRECONDITION: the free tier is not offered where we are.
        if "location is not supported" in message or "enable billing" in message:
            return Fault.PERMISSION
    return _by_words(message) if fault is Fault.INVALID else fault


def _by_words(message: str) -> Fault:
    if "API key" in message:
        return Fault.AUTHENTICATION
    if "payload size exceeds" in message:
        return Fault.TOO_LARGE
    if errors.is_context(message):
        return Fault.CONTEXT
    return Fault.CONTENT if errors.is_content(message) else Fault.INVALID


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _retry_info(error: dict[str, Any]) -> float | None:
    for one in _details(error):
        delay = one.get("retryDelay")
        if isinstance(delay, str):
            return errors.duration(delay)
    return None
