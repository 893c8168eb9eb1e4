"""Azure OpenAI: deployments in the path, keys in `api-key`, content filters, its own errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Failure, Frame, RejectedError, Reply, bearer
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_service import Service

_DEPLOYMENT = re.compile(r"(?:/[^/]+)*?/openai/deployments/([^/]+)/.*")
_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_V1_VERSIONS = ("v1", "preview", "latest")
_GONE = re.compile(r"unknown|nonexistent|non-existent|does-not-exist")

_SAFE = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}
_PROMPT_FILTER = [
    {
        "prompt_index": 0,
        "content_filter_results": {**_SAFE, "jailbreak": {"filtered": False, "detected": False}},
    }
]
_WORDS = {
    "authentication": (
        401,
        "401",
        (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource."
        ),
    ),
    "permission": (
        403,
        "403",
        "Access denied due to Virtual Network/Firewall rules.",
    ),
    "not_found": (404, "404", "Resource not found"),
    "model_not_found": (
        404,
        "DeploymentNotFound",
        (
            "The API deployment for this resource does not exist. If you created the deployment "
            "within the last 5 minutes, please wait a moment and try again."
        ),
    ),
    "rate_limit": (
        429,
        "429",
        (
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version "
            "2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. "
            "Please retry after 6 seconds. Please go here: https://aka.ms/oai/quotaincrease if you "
            "would like to further increase the default rate limit."
        ),
    ),
    "quota": (
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "overloaded": (
        503,
        "503",
        "The service is temporarily unable to process your request. Please try again later.",
    ),
    "unavailable": (503, "ServiceUnavailable", "The service is temporarily unavailable."),
    "server": (500, "InternalServerError", "Backend returned unexpected response."),
    "timeout": (408, "Timeout", "The operation was timeout."),
}
"""Status, code and message of what Azure says otherwise than OpenAI: its gateway's own errors,
which have these two fields only."""


class AzureBody(wire.Body):
    """The path names the model; the body need not. `data_sources` and `user_security_context` are
    Azure's own."""

    model: str = ""
    data_sources: list[dict[str, Any]] | None = None
    user_security_context: dict[str, Any] | None = None


class Azure(Service):
    """Azure's service."""

    name = "azure"
    chat_body = AzureBody

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as Azure says it. A bearer token is Entra's."""
        key = headers.get("api-key", "") or bearer(headers)
        return None if key and "wrong" not in key else self.error("authentication")

    def admit(self, path: str, query: str) -> str | None:
        """The deployment. Raises RejectedError when there is none of that name, and 404 for an
        API version that is missing or no date."""
        versions = parse_qs(query).get("api-version", [])
        if path.startswith("/openai/v1/"):
            if versions and versions[0] not in _V1_VERSIONS:
                words = "API version not supported"
                raise RejectedError(_plain(400, "BadRequest", words))
            return None
        if not versions or not _VERSION.fullmatch(versions[0]):
            raise RejectedError(self.error("not_found"))
        found = _DEPLOYMENT.fullmatch(path)
        if found is None:
            return None
        name = unquote(found[1])
        if _GONE.search(name):
            raise RejectedError(self.error("model_not_found"))
        return name

    def rejected(self, wrong: Wrong, *, hosted: bool) -> RejectedError:
        """As OpenAI, but a model that is not there is a deployment that is not."""
        if wrong.code == "model_not_found":
            return RejectedError(self.error("model_not_found"))
        return super().rejected(wrong, hosted=hosted)

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """Azure's words for a kind of error."""
        if kind == "content_filter":
            made = _filtered(status or 400, message)
        elif kind in _WORDS:
            usual, code, words = _WORDS[kind]
            made = _plain(status or usual, code, message or words)
        else:
            return super().error(
                kind, status=status, message=message, retry_after=retry_after, hosted=hosted
            )
        return Failure(made.status, made.body, self.retry_headers(retry_after))

    def not_found(self, method: str, path: str) -> Failure:  # noqa: ARG002
        """404 of Azure's gateway."""
        return self.error("not_found")

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Azure's headers: rate limits without what is reset when."""
        kind = "text/event-stream; charset=utf-8" if stream else "application/json"
        return [
            ("content-type", kind),
            ("apim-request-id", reply_id),
            ("azureml-model-session", "d001-sim"),
            ("x-content-type-options", "nosniff"),
            ("x-ms-region", "Sweden Central"),
            ("x-ms-deployment-name", "sim"),
            ("x-request-id", reply_id),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "999900"),
        ]

    # answers

    def choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        """What the filter found in a choice; nothing where there is no text."""
        if choice["finish_reason"] == "content_filter":
            found = {**_SAFE, "violence": {"filtered": True, "severity": "high"}}
        elif "delta" in choice:
            found = _SAFE if choice["delta"].get("content") else {}
        else:
            found = _SAFE
        return choice | {"content_filter_results": found}

    def whole(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """What the filter found in the prompt stands in the answer."""
        del reply
        if "choices" not in body:
            return body
        return body | {"prompt_filter_results": _PROMPT_FILTER}

    def response_extra(self) -> dict[str, Any]:
        """What the filter found in the input and in the output."""
        return {"content_filters": [_found("prompt", _SAFE), _found("completion", _SAFE)]}

    def opening(self, head: dict[str, Any]) -> Iterator[Frame]:
        """What the filter found in the prompt, in a chunk without choices."""
        del head
        empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        shown = empty | {"prompt_filter_results": _PROMPT_FILTER}
        yield b"data: " + msgspec.json.encode(shown) + b"\n\n", False


def _found(source: str, results: dict[str, Any]) -> dict[str, Any]:
    """What the filter found in one side of a response."""
    return {
        "blocked": False,
        "source_type": source,
        "content_filter_raw": [],
        "content_filter_results": results,
        "content_filter_offsets": {"start_offset": 0, "end_offset": 26, "check_offset": 0},
    }


def _plain(status: int, code: str, message: str) -> Failure:
    body = {"error": {"code": code, "message": message}}
    return Failure(status, msgspec.json.encode(body))


def _filtered(status: int, message: str | None) -> Failure:
    words = (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry. To learn more about our content filtering "
        "policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766"
    )
    found = {**_SAFE, "violence": {"filtered": True, "severity": "high"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": found}
    error = {
        "message": message or words,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": status,
        "innererror": inner,
    }
    return Failure(status, msgspec.json.encode({"error": error}))
