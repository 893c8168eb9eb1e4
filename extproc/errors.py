"""One error per blame: what the client is told, and why a level refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Why a level was not used. The value goes into notes, metrics and headers."""

    CAPACITY = "capacity"
    """The provider said 429."""
    TIMEOUT = "timeout"
    """No answer, or no first content event, within the level's time."""
    UNAVAILABLE = "unavailable"
    """5xx, connect failure or reset."""
    UNHEALTHY = "unhealthy"
    """Envoy has no healthy host for it."""
    CREDENTIALS = "credentials"
    """401, 402 or 403: our key is wrong or not paid for."""
    MODEL = "model"
    """The provider does not know the model."""
    BAD_ANSWER = "bad_answer"
    """A 200 that is not an answer: HTML, garbage, an error as first event."""
    CONTEXT = "context_length"
    """The prompt does not fit the model's context window."""
    FEATURE = "feature"
    """The request needs what the target lacks."""
    CONTENT = "content_policy"
    """The provider refused the content and the route walks on."""


BLAMES_REQUEST = frozenset({Reason.CONTEXT, Reason.FEATURE, Reason.CONTENT})
"""Reasons that lie in the request: if every level gives one, the answer is 400."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A level that should not be used, or could not be.

    `status` is what the level answers to Envoy (429, 502, 503 or 504); `retry_after` is in
    seconds; `detail` is safe to show to the client (never a prompt, never a key).
    """

    reason: Reason
    status: int
    retry_after: float | None = None
    detail: str = ""
    param: str | None = None


class ErrorBody(msgspec.Struct):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(msgspec.Struct):
    """OpenAI's error object as it stands in a body or an SSE event."""

    error: ErrorBody


@dataclass(eq=False)
class ClientError(Exception):
    """An answer that blames somebody, in no dialect yet. (Not frozen: Python sets the traceback of
    an exception that passes through a context manager.)

    `type` and `code` are OpenAI's words (`invalid_request_error`, `model_not_found`);
    `param` names the field; `retry_after` is in seconds.
    """

    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    retry_after: float | None = None
    allow: str = ""
    """With 405: the method to use."""
    fields: tuple[tuple[str, str], ...] = ()
    """More headers that go with it: how the limits stand."""

    def openai(self) -> bytes:
        """The body in OpenAI's shape."""
        body = ErrorBody(self.message, self.type, self.param, self.code)
        return msgspec.json.encode(ErrorEnvelope(body))

    def sse(self) -> bytes:
        """The error as an event of a stream in OpenAI's shape."""
        return b"data: " + self.openai() + b"\n\n"

    def anthropic(self) -> bytes:
        """The body in Anthropic's shape, whose words go by the status."""
        kind = _ANTHROPIC.get(self.status, "api_error")
        if self.status in range(400, 500):
            kind = _ANTHROPIC.get(self.status, "invalid_request_error")
        body = {"type": "error", "error": {"type": kind, "message": self.message}}
        return msgspec.json.encode(body)

    def headers(self) -> list[tuple[str, str]]:
        """Headers that go with the body."""
        found = [("content-type", "application/json")]
        if self.retry_after is not None:
            found.append(("retry-after", str(max(1, math.ceil(self.retry_after)))))
        if self.allow:
            found.append(("allow", self.allow))  # RFC 9110, 15.5.6: a 405 must say
        found += self.fields
        return found


_ANTHROPIC = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status, as its API's page on errors lists them."""


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ClientError:
    """400 `invalid_request_error`: the client's to mend."""
    return ClientError(400, "invalid_request_error", code, message, param)
