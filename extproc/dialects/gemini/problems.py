"""Gemini's errors: google.rpc.Status as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors

_BY_STATUS: Final[dict[str, tuple[Fault, int]]] = {
    "CANCELLED": (Fault.SERVER, 499),
    "UNKNOWN": (Fault.SERVER, 500),
    "INVALID_ARGUMENT": (Fault.INVALID, 400),
    "DEADLINE_EXCEEDED": (Fault.TIMEOUT, 504),
    "NOT_FOUND": (Fault.NOT_FOUND, 404),
    "ALREADY_EXISTS": (Fault.INVALID, 409),
    "PERMISSION_DENIED": (Fault.PERMISSION, 403),
    "UNAUTHENTICATED": (Fault.AUTHENTICATION, 401),
    "RESOURCE_EXHAUSTED": (Fault.RATE_LIMIT, 429),
    "FAILED_PRECONDITION": (Fault.INVALID, 400),
    "ABORTED": (Fault.OVERLOADED, 409),
    "OUT_OF_RANGE": (Fault.INVALID, 400),
    "UNIMPLEMENTED": (Fault.INVALID, 501),
    "INTERNAL": (Fault.SERVER, 500),
    "UNAVAILABLE": (Fault.OVERLOADED, 503),
    "DATA_LOSS": (Fault.SERVER, 500),
}
"""Every google.rpc.Code and the HTTP status it stands for (google/rpc/code.proto)."""

_BY_REASON: Final[dict[str, Fault]] = {
    "API_KEY_INVALID": Fault.AUTHENTICATION,
    "API_KEY_EXPIRED": Fault.AUTHENTICATION,
    "API_KEY_SERVICE_BLOCKED": Fault.AUTHENTICATION,
    "API_KEY_HTTP_REFERRER_BLOCKED": Fault.AUTHENTICATION,
    "API_KEY_IP_ADDRESS_BLOCKED": Fault.AUTHENTICATION,
    "API_KEY_ANDROID_APP_BLOCKED": Fault.AUTHENTICATION,
    "API_KEY_IOS_APP_BLOCKED": Fault.AUTHENTICATION,
    "ACCESS_TOKEN_EXPIRED": Fault.AUTHENTICATION,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": Fault.AUTHENTICATION,
    "CREDENTIALS_MISSING": Fault.AUTHENTICATION,
    "ACCOUNT_STATE_INVALID": Fault.AUTHENTICATION,
    "SERVICE_DISABLED": Fault.PERMISSION,
    "CONSUMER_INVALID": Fault.PERMISSION,
    "CONSUMER_SUSPENDED": Fault.PERMISSION,
    "USER_PROJECT_DENIED": Fault.PERMISSION,
    "IAM_PERMISSION_DENIED": Fault.PERMISSION,
    "BILLING_DISABLED": Fault.BILLING,
}
"""ErrorInfo reasons of an error that is about our account and not about the request
(google/api/error_reason.proto)."""

_OURS: Final = frozenset({Fault.INVALID, Fault.PERMISSION, Fault.RATE_LIMIT})
"""What an ErrorInfo may say more of."""


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
        _field(error),
        _retry_info(error) if wait is None else wait,
    )


def _refined(fault: Fault, message: str, error: dict[str, Any]) -> Fault:
    """What the details and the words add: Gemini says INVALID_ARGUMENT of many things, a wrong
    key among them."""
    if fault in _OURS:
        for one in _details(error):
            reason = one.get("reason")
            if isinstance(reason, str) and reason in _BY_REASON:
                return _BY_REASON[reason]
        # FAILED_PRECONDITION: the free tier is not offered where we are.
        if "location is not supported" in message or "enable billing" in message:
            return Fault.PERMISSION
        if "credits are depleted" in message:
            return Fault.BILLING
    return _by_words(message) if fault is Fault.INVALID else fault


def _by_words(message: str) -> Fault:
    if "API key" in message:
        return Fault.AUTHENTICATION
    if "payload size exceeds" in message:
        return Fault.TOO_LARGE
    if errors.is_context(message):
        return Fault.CONTEXT
    return Fault.CONTENT if errors.is_content(message) else Fault.INVALID


def _details(error: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = error.get("details")
    if isinstance(details, list):
        yield from (one for one in details if isinstance(one, dict))


def _field(error: dict[str, Any]) -> str | None:
    """The field that a BadRequest detail names."""
    for one in _details(error):
        violations = one.get("fieldViolations")
        if isinstance(violations, list) and violations:
            return errors.text(errors.mapping(violations[0]).get("field"))
    return None


def _retry_info(error: dict[str, Any]) -> float | None:
    for one in _details(error):
        delay = one.get("retryDelay")
        if isinstance(delay, str):
            return errors.duration(delay)
    return None
