"""OpenAI's errors: every kind, and its words for what is wrong with a body."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from extproc.simulator import problems

# kind: status, type, code, message
ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "invalid_request": (400, "invalid_request_error", None, "Invalid request."),
    "authentication": (
        401,
        "invalid_request_error",
        "invalid_api_key",
        (
            "Incorrect API key provided: sim*****key. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        ),
    ),
    "billing": (
        402,
        "insufficient_quota",
        "billing_not_active",
        "Your account is not active, please check your billing details on our website.",
    ),
    "permission": (
        403,
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    "not_found": (404, "invalid_request_error", None, "Invalid URL (POST /v1/unknown)"),
    "model_not_found": (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `gone` does not exist or you do not have access to it.",
    ),
    "too_large": (
        413,
        "invalid_request_error",
        "request_too_large",
        "Request body is too large.",
    ),
    "unprocessable": (422, "invalid_request_error", None, "Unprocessable entity."),
    "context_length": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 180042 tokens. Please reduce the length of the messages."
        ),
    ),
    "content_filter": (
        400,
        "invalid_request_error",
        "content_policy_violation",
        (
            "Your request was rejected as a result of our safety system. Your prompt may contain "
            "text that is not allowed by our safety system."
        ),
    ),
    "rate_limit": (
        429,
        "tokens",
        "rate_limit_exceeded",
        (
            "Rate limit reached for gpt-4o in organization org-sim on tokens per min (TPM): Limit "
            "30000, Used 29500, Requested 1200. Please try again in 1.4s. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        ),
    ),
    "quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        (
            "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors."
        ),
    ),
    "overloaded": (
        503,
        "server_error",
        None,
        "The engine is currently overloaded, please try again later",
    ),
    "unavailable": (503, "service_unavailable_error", None, "Service Unavailable."),
    "server": (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "timeout": (504, "server_error", None, "The request timed out."),
}
PARAMS = {"context_length": "messages"}

VLLM_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}

_TYPES = {
    "float": "a decimal",
    "int": "an integer",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}

_ROLES = (
    " Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
)


class Wrong(msgspec.Struct, frozen=True):
    """A broken rule."""

    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400


def _name(path: problems.Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _article(kinds: str) -> str:
    words = [_TYPES.get(kind, kind) for kind in kinds.split(" | ") if kind != "null"]
    return words[0] if len(words) == 1 else f"one of {' or '.join(words)}"


_BOUNDS = re.compile(r"(?P<type>\w+)(?P<length> of length)? (?P<op>[<>]=?) (?P<bound>.+)")


def _range(problem: problems.Problem, name: str, value: Any) -> tuple[str, str]:
    """Message and code for a value out of its range."""
    found = _BOUNDS.fullmatch(problem.expected)
    if found is None:
        pattern = problem.expected.partition("regex ")[2]
        return (
            (
                f"Invalid '{name}': string does not match pattern. Expected a string that matches "
                f"the pattern {pattern}."
            ),
            "invalid_value",
        )
    above, bound = found["op"].startswith("<"), found["bound"].removesuffix(".0")
    side = ("above maximum" if above else "below minimum", "above_max" if above else "below_min")
    if found["length"]:
        kind = {"str": "string", "array": "array"}.get(found["type"], "object")
        much = "maximum" if above else "minimum"
        code = f"{kind}_{'above_max' if above else 'below_min'}_length"
        if kind == "array" and not above:
            return (
                (
                    f"Invalid '{name}': empty array. Expected an array with minimum length "
                    f"{bound}, but got an empty array instead."
                ),
                "empty_array",
            )
        return (
            (
                f"Invalid '{name}': {kind} too {'long' if above else 'short'}. Expected "
                f"{'an' if kind[0] in 'ao' else 'a'} {kind} with {much} length {bound}, but got "
                f"{'an' if kind[0] in 'ao' else 'a'} {kind} with length {len(value or ())} instead."
            ),
            code,
        )
    kind = "decimal" if found["type"] == "float" else "integer"
    return (
        (
            f"Invalid '{name}': {kind} {side[0]} value. Expected a value {found['op']} {bound}, "
            f"but got {value} instead."
        ),
        f"{kind}_{side[1]}_value",
    )


def complaint(error: problems.InvalidError) -> Wrong:
    """OpenAI's words for a problem."""
    problem = error.problem
    name = _name(problem.path)
    value = problems.value_at(error.document, problem.path)
    match problem.kind:
        case "json":
            return Wrong(
                "We could not parse the JSON body of your request. (HINT: This likely means you "
                "aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, "
                "but what was sent was not valid JSON.)"
            )
        case "unknown":
            return Wrong(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        case "missing":
            return Wrong(
                f"Missing required parameter: '{name}'.", name, "missing_required_parameter"
            )
        case "type":
            got = _article(problem.got) if problem.got != "null" else "null"
            return Wrong(
                f"Invalid type for '{name}': expected {_article(problem.expected)}, but got {got} "
                "instead.",
                name,
                "invalid_type",
            )
        case "range":
            message, code = _range(problem, name, value)
            return Wrong(message, name, code)
        case _:
            return _misplaced_image(error) or Wrong(
                f"Invalid value: '{problem.got}'.{_ROLES if name.endswith('.role') else ''}",
                name,
                "invalid_value",
            )


def _misplaced_image(error: problems.InvalidError) -> Wrong | None:
    """Images are for users to send; no other message of a chat takes them."""
    path = error.problem.path
    if error.problem.got != "image_url" or path[:1] != ("messages",):
        return None
    message = problems.value_at(error.document, path[:2])
    role = message.get("role") if isinstance(message, dict) else None
    return Wrong(
        f"Invalid '{_name(path[:2])}'. Image URLs are only allowed for messages with role 'user', "
        f"but this message with role '{role}' contains an image URL.",
        _name(path[:2]),
        "invalid_value",
    )
