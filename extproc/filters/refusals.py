"""Reasons to refuse a level: each is one function here, or one line of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.dialects import Failure, Fault
from extproc.errors import ClientError, Reason, Refusal

WALKED: Final[Mapping[Fault, tuple[Reason, int]]] = {
    Fault.RATE_LIMIT: (Reason.CAPACITY, 429),
    Fault.CONTEXT: (Reason.CONTEXT, 503),
    Fault.NOT_FOUND: (Reason.MODEL, 503),
    Fault.TIMEOUT: (Reason.TIMEOUT, 504),
    Fault.OVERLOADED: (Reason.UNAVAILABLE, 503),
    Fault.SERVER: (Reason.UNAVAILABLE, 503),
    Fault.BAD_ANSWER: (Reason.UNAVAILABLE, 503),
}
"""A provider's errors that the next level may not have, and what the level answers."""

# What Envoy says when the answer is its own and not a provider's.
TIMEOUTS: Final = ("timeout",)
UNHEALTHY: Final = ("no_healthy_upstream", "cluster_not_found")


def left_out(warnings: tuple[str, ...]) -> str | None:
    """What a strict route says to parameters that would be left out; emulation is none of it."""
    names = [one for one in warnings if "(by " not in one]
    return f"{', '.join(names)}: the route is strict, and this target lacks it" if names else None


def local_refusal(status: int, details: str) -> Refusal:
    """Envoy answered itself: the provider was not reached or did not answer in time."""
    if status == 504 or any(word in details for word in TIMEOUTS):  # noqa: PLR2004 - gateway timeout
        return Refusal(Reason.TIMEOUT, 504, detail="no answer in time")
    if any(word in details for word in UNHEALTHY):
        return Refusal(Reason.UNHEALTHY, 503, detail="no healthy host")
    return Refusal(Reason.UNAVAILABLE, 503, detail=details.split("{", maxsplit=1)[0][:60])


CREDENTIALS: Final = frozenset({Fault.AUTHENTICATION, Fault.PERMISSION, Fault.BILLING})


# 402 where a provider says 429 of an empty account, too: from a 429 Envoy takes the next level.
_OWN_KEY: Final[Mapping[Fault, tuple[int, str, str]]] = {
    Fault.AUTHENTICATION: (401, "invalid_request_error", "invalid_api_key"),
    Fault.PERMISSION: (403, "permission_error", "permission_denied"),
    Fault.BILLING: (402, "insufficient_quota", "insufficient_quota"),
}


def own_key_error(failure: Failure) -> ClientError | None:
    """What the client is told when the provider blames the key that the client itself sent: no
    other level is asked, and nobody is called. None: the failure is about something else."""
    if failure.fault not in _OWN_KEY:
        return None
    status, kind, code = _OWN_KEY[failure.fault]
    return ClientError(
        status, kind, failure.code or code, failure.message, failure.param, failure.retry_after
    )


def provider_refusal(failure: Failure, *, walk_on_content: bool) -> Refusal | None:
    """Whether a provider's error is walked on from, and as what. None: the client's to mend."""
    fault, wait, said = failure.fault, failure.retry_after, failure.message
    if fault in CREDENTIALS:
        # The provider's words about our key are not for the client.
        return Refusal(Reason.CREDENTIALS, 502, detail=f"the provider answered {failure.status}")
    if fault is Fault.CONTENT:
        return Refusal(Reason.CONTENT, 503, detail=said) if walk_on_content else None
    if fault in WALKED:
        reason, status = WALKED[fault]
        return Refusal(reason, status, wait, said, "messages" if fault is Fault.CONTEXT else None)
    if failure.status >= 500:  # noqa: PLR2004 - server errors
        return Refusal(Reason.UNAVAILABLE, 503, wait, f"the provider answered {failure.status}")
    return None


def stream_failure(failure: Failure) -> Refusal:
    """An error as the first event of a 200."""
    refusal = provider_refusal(failure, walk_on_content=True)
    if refusal is not None and refusal.reason is not Reason.UNAVAILABLE:
        return refusal
    return Refusal(Reason.BAD_ANSWER, 503, failure.retry_after, "an error as first event")
