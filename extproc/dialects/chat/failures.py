"""Errors of OpenAI and of the servers that speak its format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects import Failure, Fault, errors
from extproc.retry import retry_after

_BY_CODE: Final[dict[str, Fault]] = {
    "context_length_exceeded": Fault.CONTEXT,
    "exceed_context_size_error": Fault.CONTEXT,  # llama.cpp
    "content_filter": Fault.CONTENT,  # Azure
    "content_policy_violation": Fault.CONTENT,
    "invalid_prompt": Fault.CONTENT,  # reasoning models: flagged as against the usage policy
    "invalid_api_key": Fault.AUTHENTICATION,
    "authentication_error": Fault.AUTHENTICATION,
    "insufficient_quota": Fault.BILLING,
    "billing_not_active": Fault.BILLING,
    "billing_hard_limit_reached": Fault.BILLING,
    "model_not_found": Fault.NOT_FOUND,
    "DeploymentNotFound": Fault.NOT_FOUND,  # Azure
    "rate_limit_exceeded": Fault.RATE_LIMIT,
    "requests": Fault.RATE_LIMIT,
    "tokens": Fault.RATE_LIMIT,
    "rate_limit_error": Fault.RATE_LIMIT,
    "overloaded_error": Fault.OVERLOADED,
    "server_error": Fault.SERVER,
    "api_error": Fault.SERVER,
    "internal_server_error": Fault.SERVER,
    "timeout": Fault.TIMEOUT,
}
_STATUS_OF: Final[dict[Fault, int]] = {
    Fault.RATE_LIMIT: 429,
    Fault.OVERLOADED: 503,
    Fault.TIMEOUT: 504,
    Fault.AUTHENTICATION: 401,
    Fault.BILLING: 402,
    Fault.NOT_FOUND: 404,
    Fault.CONTEXT: 400,
    Fault.CONTENT: 400,
    Fault.INVALID: 400,
}
"""The status that an error inside a 200 stands for."""


def of_error(
    status: int, tree: dict[str, Any], headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Failure:
    """An error object, in the shapes that OpenAI-compatible servers give it: `{"error": {…}}`,
    `{"error": "…"}`, `{"message": …}` (older vLLM), `{"detail": …}` (FastAPI)."""
    headers = headers or {}
    inner = tree.get("error", tree)
    found = errors.mapping(inner)
    message = (
        errors.text(inner)
        or errors.text(found.get("message"))
        or errors.text(found.get("detail"))
        or errors.text(tree.get("message"))
        or errors.plain(status, body)
    )
    code = found.get("code")
    fault = _fault(status, found, message)
    if status < 400:  # noqa: PLR2004 - an error inside a 200
        said = code if isinstance(code, int) else found.get("status_code")  # Groq
        ours = _STATUS_OF.get(fault, 502)
        status = said if isinstance(said, int) and 400 <= said < 600 else ours  # noqa: PLR2004
        fault = errors.fault_of(status) if fault is Fault.BAD_ANSWER else fault
    return Failure(
        fault,
        status,
        errors.bounded(message),
        code if isinstance(code, str) else None,
        errors.text(found.get("param")),
        retry_after(headers),
    )


def _fault(status: int, error: dict[str, Any], message: str) -> Fault:
    if (named := _named(status, error)) is not None:
        return named
    if status in {200, 400, 413, 422, 500} and errors.is_context(message):
        # llama.cpp and Ollama have said 500 for a prompt that is too long.
        return Fault.CONTEXT
    if status in {200, 400} and errors.is_content(message):
        return Fault.CONTENT
    if status < 400 and error.get("type") == "invalid_request_error":  # noqa: PLR2004
        return Fault.INVALID
    return errors.fault_of(status)


def _named(status: int, error: dict[str, Any]) -> Fault | None:
    """The fault by its code or type."""
    for key in ("code", "type"):
        name = error.get(key)
        fault = _BY_CODE.get(name) if isinstance(name, str) else None
        # Of a server's error the status says more than the type.
        if fault is not None and (fault is not Fault.SERVER or status < 400):  # noqa: PLR2004
            return fault
    if errors.mapping(error.get("innererror")).get("code") == "ResponsibleAIPolicyViolation":
        return Fault.CONTENT  # Azure
    content = str(error.get("param")).endswith("content")
    if content and error.get("code") == "string_above_max_length":
        return Fault.CONTEXT
    return None
