"""Anthropic's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors

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

_RESETS: Final = tuple(
    f"anthropic-ratelimit-{kind}"
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
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
    if fault in {Fault.INVALID, Fault.TOO_LARGE} and errors.is_context(message):
        fault = Fault.CONTEXT
    elif fault is Fault.INVALID and errors.is_content(message):
        fault = Fault.CONTENT
    elif fault is Fault.INVALID and "credit balance is too low" in message:
        fault = Fault.BILLING
    return Failure(
        fault,
        status,
        errors.bounded(message),
        kind if isinstance(kind, str) else None,
        None,
        _wait(headers) if fault is Fault.RATE_LIMIT else errors.retry_after(headers),
    )


def _wait(headers: Mapping[str, str]) -> float | None:
    """`retry-after`, else the latest reset of a limit that has nothing left."""
    if (wait := errors.retry_after(headers)) is not None:
        return wait
    waits = [
        found
        for name in _RESETS
        if headers.get(f"{name}-remaining") == "0"
        and (found := errors.timestamp(headers.get(f"{name}-reset", ""))) is not None
    ]
    return max(waits, default=None)
