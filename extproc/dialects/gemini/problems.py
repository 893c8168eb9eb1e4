"""Gemini's errors: google.rpc.Status as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from extproc.dialects import Failure, Fault, errors
from extproc.retry import retry_after

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
    wait = retry_after(headers)
    wait = _asked(error) if wait is None else wait
    return Failure(
        fault,
        status,
        errors.bounded(message),
        name,
        _field(error),
        wait,
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


def _asked(error: dict[str, Any]) -> float | None:
    """Seconds until another try is worth it: what RetryInfo says or, where it says nothing, a
    minute for a quota of a minute. Of a quota of a day RetryInfo says less than a minute too, which
    is not true: such quotas begin anew at midnight in California (ai.google.dev, "Rate limits")."""
    told = _retry_info(error)
    quotas = "".join(_quotas(error))
    if "PerDay" in quotas:
        return max(told or 0.0, _to_midnight(datetime.now(_california())))
    if told is None and "PerMinute" in quotas:
        return _MINUTE
    return told


_MINUTE: Final = 60.0


def _california() -> tzinfo:
    """Its time zone; where there is no table of them, its time in winter, whose midnight is never
    too early."""
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        return timezone(timedelta(hours=-8))


def _quotas(error: dict[str, Any]) -> Iterator[str]:
    """Ids of the quotas that a QuotaFailure names, as
    `GenerateRequestsPerDayPerProjectPerModel-FreeTier`."""
    for one in _details(error):
        violations = one.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            yield errors.text(errors.mapping(violation).get("quotaId")) or ""


def _to_midnight(now: datetime) -> float:
    """Seconds to the next one where `now` is."""
    next_day = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
    return next_day.timestamp() - now.timestamp()


def _retry_info(error: dict[str, Any]) -> float | None:
    for one in _details(error):
        delay = one.get("retryDelay")
        if isinstance(delay, str):
            return errors.duration(delay)
    return None
