"""Anthropic's errors and rate limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors
from extproc.retry import retry_after

_BY_TYPE: Final[dict[str, tuple[Fault, int]]] = {
    "invalid_request_error": (Fault.INVALID, 400),
    "authentication_error": (Fault.AUTHENTICATION, 401),
    "billing_error": (Fault.BILLING, 402),
    "permission_error": (Fault.PERMISSION, 403),
    "not_found_error": (Fault.NOT_FOUND, 404),
    "request_too_large": (Fault.TOO_LARGE, 413),
    "rate_limit_error": (Fault.RATE_LIMIT, 429),
    "api_error": (Fault.SERVER, 500),
    "timeout_error": (Fault.TIMEOUT, 504),
    "overloaded_error": (Fault.OVERLOADED, 529),
}
"""Error types and the status each stands for, from Anthropic's reference of errors."""

_BY_CODE: Final[dict[str, Fault]] = {
    "contract_spend_limit_reached": Fault.BILLING,
    "enforced_spend_limit_reached": Fault.BILLING,
    "linked_organization_billing_unavailable": Fault.BILLING,
    "linked_organization_spend_limit_reached": Fault.BILLING,
    "claude_code_key_creator_not_member": Fault.PERMISSION,
    "cmek_key_disabled": Fault.PERMISSION,
    "cmek_key_network_blocked": Fault.PERMISSION,
    "organization_not_enrolled_in_beta": Fault.PERMISSION,
    "organization_on_hold": Fault.PERMISSION,
    "organization_type_not_supported": Fault.PERMISSION,
    "parent_organization_required": Fault.PERMISSION,
    "user_profile_billing_not_authorized": Fault.PERMISSION,
    "user_profile_not_billable": Fault.PERMISSION,
    "user_profile_not_found": Fault.PERMISSION,
    "user_profile_required": Fault.PERMISSION,
    "workspace_policy_violation": Fault.PERMISSION,
    "file_expired": Fault.INVALID,
}
"""`error.details.error_code`, where it blames another than the type: the account behind the key
and not the request, or the request and not the model. From Anthropic's SDK, version 2.12."""

_PREFIX: Final = "anthropic-ratelimit-"
_RESETS: Final = tuple(
    _PREFIX + kind for kind in ("requests", "tokens", "input-tokens", "output-tokens")
)


def of_error(
    status: int, tree: dict[str, Any], headers: Mapping[str, str], body: bytes = b""
) -> Failure:
    """`{"type": "error", "error": {"type", "message"}}`. `status` is 200 inside a stream."""
    error = errors.mapping(tree.get("error"))
    kind = error.get("type")
    message = (
        errors.text(error.get("message"))
        or errors.text(tree.get("error"))
        or errors.text(tree.get("message"))
        or errors.plain(status, body)
    )
    fault, stands_for = _BY_TYPE.get(kind if isinstance(kind, str) else "", (None, 502))
    status = stands_for if status < 400 else status  # noqa: PLR2004 - an error inside a 200
    if fault is None or (fault is Fault.INVALID and status > 400):  # noqa: PLR2004 - it says more
        fault = errors.fault_of(status)
    fault = _closer(fault, errors.mapping(error.get("details")).get("error_code"), message)
    return Failure(
        fault,
        status,
        errors.bounded(message),
        kind if isinstance(kind, str) else None,
        None,
        _wait(headers) if fault is Fault.RATE_LIMIT else retry_after(headers),
    )


def _closer(fault: Fault, code: Any, message: str) -> Fault:
    """The fault as the error's code or, where there is none, its words have it."""
    if isinstance(code, str) and code in _BY_CODE:
        return _BY_CODE[code]
    if fault in {Fault.INVALID, Fault.TOO_LARGE} and errors.is_context(message):
        return Fault.CONTEXT
    if fault is Fault.INVALID and errors.is_content(message):
        return Fault.CONTENT
    if fault is Fault.INVALID and "credit balance is too low" in message:
        return Fault.BILLING
    return fault


def _wait(headers: Mapping[str, str]) -> float | None:
    """`retry-after`, else the latest reset of a limit that has nothing left."""
    if (wait := retry_after(headers)) is not None:
        return wait
    waits = [
        found
        for name in _RESETS
        if headers.get(f"{name}-remaining") == "0"
        and (found := errors.timestamp(headers.get(f"{name}-reset", ""))) is not None
    ]
    return max(waits, default=None)


# --- rate limits --------------------------------------------------------------------------


def limits(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """`anthropic-ratelimit-…` as OpenAI's `x-ratelimit-…`. Of tokens there may be limits on what
    goes in, what comes out and both: the one that `tokens` tells, else the one nearest to its
    end."""
    found = _of_kind(headers, "requests", "requests")
    kinds = [
        kind
        for kind in ("tokens", "input-tokens", "output-tokens")
        if f"{_PREFIX}{kind}-remaining" in headers
    ]
    if kinds:
        kind = kinds[0] if kinds[0] == "tokens" else min(kinds, key=lambda one: _left(headers, one))
        found += _of_kind(headers, kind, "tokens")
    return found


def _of_kind(headers: Mapping[str, str], kind: str, name: str) -> list[tuple[str, str]]:
    found = [
        (f"x-ratelimit-{what}-{name}", value)
        for what in ("limit", "remaining")
        if (value := headers.get(f"{_PREFIX}{kind}-{what}", "")).isdecimal()
    ]
    wait = errors.timestamp(headers.get(f"{_PREFIX}{kind}-reset", ""))
    if wait is not None:
        found.append((f"x-ratelimit-reset-{name}", _span(wait)))
    return found


def _left(headers: Mapping[str, str], kind: str) -> float:
    """The share of a limit that is left."""
    remaining = headers.get(f"{_PREFIX}{kind}-remaining", "")
    limit = headers.get(f"{_PREFIX}{kind}-limit", "")
    if not (remaining.isdecimal() and limit.isdecimal()) or int(limit) == 0:
        return 1.0
    return int(remaining) / int(limit)


def _span(seconds: float) -> str:
    """Seconds, rounded up, as OpenAI writes them: "1s", "6m0s", "1h0m30s"."""
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
