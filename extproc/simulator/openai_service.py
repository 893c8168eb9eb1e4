"""What OpenAI's endpoints share: keys, errors, headers and the list of models.

A `Service` is also the place of what compatible servers do otherwise (openai_servers.py) and Azure
(openai_azure.py): an endpoint asks its service how to say a thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from extproc.simulator import openai_request as wire
from extproc.simulator import problems
from extproc.simulator.chat import Ask, Failure, Frame, RejectedError, Reply, Usage, bearer
from extproc.simulator.openai_errors import ERRORS, PARAMS, VLLM_TYPES, Wrong, complaint

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.2",
    "gpt-5.5",
    "o3",
    "o4-mini",
    "llama-3.3-70b-instruct",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gpt-3.5-turbo-instruct",
)
_CREATED = 1_745_000_000
_TIERS = {None: "default", "auto": "default"}

T = TypeVar("T")


class Service:
    """OpenAI's own service."""

    name = "openai"
    keepalive = b": keep-alive\n\n"
    chat_body: type[wire.Body] = wire.Body
    usage_at_finish = False
    """Streams tell usage in the chunk that has the finish reason, asked or not."""
    reports_system = True
    """Answers have `service_tier` and `system_fingerprint`."""
    own_rules = True
    """The rules that only OpenAI's models have."""
    lacks: tuple[str, ...] = ()
    """Endpoints that are not there."""
    keeps = True
    """Responses are kept, and their ids known."""

    # who asks, and where

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as OpenAI says it."""
        key = bearer(headers) or headers.get("api-key", "")
        if not key:
            message = (
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), "
                "or as the password field (with blank username) if you're accessing the API "
                "from your browser and are prompted for a username and password."
            )
            code = None
        elif "wrong" in key:
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
            message = (
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            )
            code = "invalid_api_key"
        else:
            return None
        return self.failure(401, message, code=code)

    def admit(self, path: str, query: str) -> str | None:
        """Look at the address; the model that it names, if it does. Raises RejectedError."""
        del path, query
        return None

    # errors

    def body_of(
        self, status: int, message: str, kind: str, param: str | None, code: str | int | None
    ) -> dict[str, Any]:
        """The error object."""
        del status
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def failure(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | int | None = None,
    ) -> Failure:
        """An error answer."""
        return Failure(
            status, msgspec.json.encode(self.body_of(status, message, kind, param, code))
        )

    def rejected(self, wrong: Wrong, *, hosted: bool) -> RejectedError:
        """The request is refused: 400, or 404 for what does not exist."""
        status = wrong.status
        if hosted or status != 400:  # noqa: PLR2004
            return RejectedError(
                self.failure(status, wrong.message, param=wrong.param, code=wrong.code)
            )
        made = self.failure(400, wrong.message, kind="BadRequestError", param=wrong.param, code=400)
        return RejectedError(made)

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """OpenAI's words for a kind of error."""
        usual, type_, code, words = ERRORS[kind]
        status = status or usual
        if hosted:
            made = self.failure(
                status, message or words, kind=type_, param=PARAMS.get(kind), code=code
            )
        else:
            type_ = VLLM_TYPES.get(status, "InternalServerError")
            made = self.failure(status, message or words, kind=type_, code=status)
        return Failure(status, made.body, self.retry_headers(retry_after))

    def retry_headers(self, seconds: float | None) -> tuple[tuple[str, str], ...]:
        """When to come back."""
        if seconds is None:
            return ()
        return (
            ("retry-after", f"{max(1, round(seconds))}"),
            ("retry-after-ms", f"{round(seconds * 1000)}"),
        )

    def not_found(self, method: str, path: str) -> Failure:
        """404 as OpenAI says it."""
        return self.failure(404, f"Invalid URL ({method} {path})")

    # answers

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of OpenAI's answers."""
        kind = "text/event-stream; charset=utf-8" if stream else "application/json"
        return [
            ("content-type", kind),
            ("access-control-expose-headers", "X-Request-ID"),
            ("openai-organization", "org-sim"),
            ("openai-processing-ms", "42"),
            ("openai-version", "2020-10-01"),
            ("x-request-id", f"req_{reply_id}"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "30000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "29999900"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "0s"),
        ]

    def models(self, model: str | None) -> bytes | None:
        """`GET /v1/models`."""
        listed = [
            {"id": name, "object": "model", "created": _CREATED, "owned_by": "system"}
            for name in MODELS
            if model in (None, name)
        ]
        if model is None:
            return msgspec.json.encode({"object": "list", "data": listed})
        return msgspec.json.encode(listed[0]) if listed else None

    # what compatible servers write otherwise

    def thinks(self, chat: wire.Body) -> bool:
        """Whether a chat's answer shows its reasoning."""
        del chat
        return False

    def thought(self, text: str, *, delta: bool) -> dict[str, Any]:
        """Reasoning, as fields of a message or a delta."""
        del delta
        return {"reasoning_content": text}

    def usage(self, usage: Usage, figures: dict[str, Any]) -> dict[str, Any]:
        """The figures as this server writes them."""
        del usage
        return figures

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message, or the first delta, without what this server does not know."""
        return message

    def response_extra(self) -> dict[str, Any]:
        """Fields that this server adds to a response that has ended."""
        return {}

    def choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        """One choice of an answer or chunk, with what this server adds."""
        return choice

    def whole(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """The whole answer, with what this server adds."""
        del reply
        return body

    def opening(self, head: dict[str, Any]) -> Iterator[Frame]:
        """Events before the first chunk."""
        del head
        yield from ()

    def marks(self, reply: Reply, *, first: bool, usage: Any) -> dict[str, Any]:
        """Fields that this server adds to the first chunk and to the one that finishes."""
        del reply, first, usage
        return {}


class Endpoint:
    """What every endpoint answers alike. Each overrides `parse`, `answer` and `frames`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.name = service.name
        self.keepalive = service.keepalive
        self.authenticate = service.authenticate
        self.error = service.error
        self.not_found = service.not_found
        self.headers = service.headers
        self.models = service.models

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """No stream."""
        yield self.answer(ask, reply), True

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """The whole answer."""
        raise NotImplementedError

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """One: the body."""
        del ask, reply
        return 1

    def error_event(self, failure: Failure) -> bytes:
        """OpenAI sends the error object as an event."""
        return b"data: " + failure.body.replace(b"\n", b" ") + b"\n\n"

    # reading

    def require_json(self, headers: Mapping[str, str], *, hosted: bool) -> None:
        """Refuse another type of body. Raises RejectedError."""
        if "application/json" in headers.get("content-type", ""):
            return
        shown = headers.get("content-type", "application/octet-stream")
        words = (
            f"Unsupported content type: '{shown}'. This API method only accepts "
            "'application/json' requests, but you specified the header 'Content-Type: "
            f"{shown}'. Please try again with a supported content type."
        )
        raise self.refused(Wrong(words, None, "unsupported_content_type"), hosted=hosted)

    def decode(self, kind: type[T], body: bytes, *, hosted: bool) -> T:
        """Read the body. Raises RejectedError."""
        try:
            decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]
            return problems.decode(decoder, body)
        except problems.InvalidError as error:
            raise self.refused(complaint(error), hosted=hosted) from None

    def refused(self, wrong: Wrong, *, hosted: bool) -> RejectedError:
        """The service's refusal."""
        return self.service.rejected(wrong, hosted=hosted)


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def tier(wanted: str | None) -> str:
    """The service tier that an answer tells."""
    return _TIERS.get(wanted, wanted or "default")


def usage_of(usage: Usage, *, accepted: int = 0, rejected: int = 0) -> dict[str, Any]:
    """OpenAI's figures."""
    prompt = {"cached_tokens": usage.cached, "audio_tokens": usage.audio_input}
    if usage.cache_write:
        prompt["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": accepted,
            "rejected_prediction_tokens": rejected,
        },
    }
