"""Errors of Amazon Bedrock: `{"message": …}`, named by the header `x-amzn-errortype`, or within a
stream by a header of the message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors
from extproc.retry import retry_after

_BY_NAME: Final[dict[str, tuple[Fault, int]]] = {
    "accessdeniedexception": (Fault.PERMISSION, 403),
    "internalserverexception": (Fault.SERVER, 500),
    "modelerrorexception": (Fault.SERVER, 424),
    "modelnotreadyexception": (Fault.OVERLOADED, 429),
    "modelstreamerrorexception": (Fault.SERVER, 424),
    "modeltimeoutexception": (Fault.TIMEOUT, 408),
    "resourcenotfoundexception": (Fault.NOT_FOUND, 404),
    "servicequotaexceededexception": (Fault.RATE_LIMIT, 400),
    "serviceunavailableexception": (Fault.OVERLOADED, 503),
    "throttlingexception": (Fault.RATE_LIMIT, 429),
    "validationexception": (Fault.INVALID, 400),
    "expiredtokenexception": (Fault.AUTHENTICATION, 403),
    "incompletesignatureexception": (Fault.AUTHENTICATION, 403),
    "invalidsignatureexception": (Fault.AUTHENTICATION, 403),
    "missingauthenticationtokenexception": (Fault.AUTHENTICATION, 403),
    "unrecognizedclientexception": (Fault.AUTHENTICATION, 403),
}
"""Names, in small letters, and the status each stands for: the errors of `Converse` in Amazon's API
reference, and those that all its services share."""

_NO_MODEL: Final = ("model identifier is invalid", "on-demand throughput isn", "model id")
"""How a validation error speaks of the model, which is the target's and not the client's."""


def of_error(
    status: int, tree: dict[str, Any], headers: Mapping[str, str], body: bytes, name: str = ""
) -> Failure:
    """An error object. `name` is the exception's, where a stream gave it."""
    message = errors.text(tree.get("message")) or errors.text(tree.get("Message"))
    said = message or errors.plain(status, body)
    given = name or headers.get("x-amzn-errortype", "") or errors.text(tree.get("__type")) or ""
    kind = given.partition(":")[0].rpartition("#")[2].lower()
    fault, usual = _BY_NAME.get(kind, (errors.fault_of(status), status))
    status = status if status >= 400 else max(usual, 400)  # noqa: PLR2004 - an error inside a 200
    if fault is Fault.INVALID:
        fault = _what(said)
    return Failure(fault, status, errors.bounded(said), retry_after=retry_after(headers))


_TOO_LONG: Final = ("input tokens exceed", "exceeds maximum length", "exceed context limit")
"""How models of other vendors than Anthropic say that a prompt is too long."""


def _what(message: str) -> Fault:
    if errors.is_context(message) or any(words in message.lower() for words in _TOO_LONG):
        return Fault.CONTEXT
    if errors.is_content(message):
        return Fault.CONTENT
    lower = message.lower()
    return Fault.NOT_FOUND if any(words in lower for words in _NO_MODEL) else Fault.INVALID
