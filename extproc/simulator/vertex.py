"""Google Cloud's Vertex AI: Gemini and Claude at a project's paths, with bearer tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from extproc.simulator import anthropic
from extproc.simulator.anthropic import Anthropic
from extproc.simulator.chat import Ask, Failure, RejectedError, bearer
from extproc.simulator.gemini import Gemini, body_of, rejected

_PATH = re.compile(
    r".*/(?P<version>v1|v1beta1)(?P<project>/projects/[^/]+/locations/[a-z0-9-]+)?"
    r"/publishers/(?P<publisher>google|anthropic)/models/(?P<model>[^/:]+):(?P<method>\w+)"
)
_GOOGLE = ("generateContent", "streamGenerateContent", "countTokens", "predict", "embedContent")
_ANTHROPIC = ("rawPredict", "streamRawPredict")
_VERSIONS = {"vertex-2023-10-16": "2023-06-01", "2026-10-21": "2026-10-21"}
"""What `anthropic_version` may be, and the version of Anthropic's own API that it stands for."""
_COUNT = "count-tokens"
"""Stands in the place of a model, to count tokens."""


def route(path: str) -> str | None:
    """Whose model is asked at that path: `vertex`, `vertex-claude`, or None for no such path."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found["publisher"] == "google":
        return "vertex" if found["method"] in _GOOGLE else None
    return "vertex-claude" if found["method"] in _ANTHROPIC and found["project"] else None


def _unauthenticated(headers: Mapping[str, str]) -> Failure | None:
    """401 as Google Cloud says it: an access token is needed."""
    token = bearer(headers)
    if token and "wrong" not in token:
        return None
    start = "Request had invalid authentication credentials."
    if not token:
        start = "Request is missing required authentication credential."
    words = (
        f"{start} Expected OAuth 2 access token, login cookie or other valid authentication "
        "credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED" if token else "CREDENTIALS_MISSING"
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {"service": "aiplatform.googleapis.com"},
        }
    ]
    return Failure(401, body_of(401, "UNAUTHENTICATED", words, details))


def _no_model(model: str, path: str) -> Failure:
    where = path.partition("/publishers/")[0].removeprefix("/v1").lstrip("/")
    words = (
        f"Publisher Model `{where}/publishers/google/models/{model}` was not found or your "
        "project does not have access to it. Please ensure you are using a valid model version. "
        "For more information, see: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/"
        "model-versions"
    )
    return Failure(404, body_of(404, "NOT_FOUND", words))


class Vertex(Gemini):
    """Gemini on Vertex AI."""

    name = "vertex"
    on_vertex = True

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 without a token, or with a wrong one."""
        return _unauthenticated(headers)

    def no_model(self, model: str, path: str) -> Failure:
        """404 for a model that is not there."""
        return _no_model(model, path)

    def models(self, model: str | None) -> bytes | None:  # noqa: ARG002
        """Vertex has no such list."""
        return None


class VertexClaude(Anthropic):
    """Claude on Vertex AI: Anthropic's body without `model`, which the path names, and with the
    API's version within."""

    name = "vertex-claude"

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 without a token, or with a wrong one."""
        return _unauthenticated(headers)

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as Anthropic does. Raises RejectedError."""
        del query
        found = _PATH.fullmatch(path)
        model, method = (found["model"], found["method"]) if found else ("", "")
        try:
            document: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise rejected("Invalid JSON payload received.") from None
        if not isinstance(document, dict):
            raise rejected("Invalid JSON payload received.")
        version = document.pop("anthropic_version", None)
        if version is None:
            raise anthropic.rejected("anthropic_version: Field required")
        if not isinstance(version, str) or version not in _VERSIONS:
            words = " or ".join(f"'{one}'" for one in _VERSIONS)
            raise anthropic.rejected(f"anthropic_version: Input should be {words}")
        if model != _COUNT:
            if "model" in document:
                raise anthropic.rejected("model: Extra inputs are not permitted")
            document = {"model": model.replace("@", "-"), **document}
        if (document.get("stream") is True) != (method == "streamRawPredict"):
            words = f"stream: Input should be {str(method == 'streamRawPredict').lower()}"
            raise anthropic.rejected(words)
        name = str(document.get("model", ""))
        if re.search(r"gone|unknown|nonexistent|does-not-exist", name) or (
            hosted and not name.startswith("claude-")
        ):
            raise RejectedError(_no_model(model, path))
        betas = document.pop("anthropic_beta", None)
        sent = {
            "content-type": "application/json",
            **headers,
            "anthropic-version": _VERSIONS[version],
            "anthropic-beta": ",".join(map(str, betas)) if isinstance(betas, list) else "",
        }
        where = "/v1/messages/count_tokens" if model == _COUNT else "/v1/messages"
        return super().parse(msgspec.json.encode(document), sent, where, "", hosted=hosted)
