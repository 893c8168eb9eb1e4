"""Recorded exchanges with real providers, outside the repository.

`TOLLGATE_CASES` names the folder (default: `../shared/cases` beside the checkout). Tests that
need it skip where it is absent.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML

from extproc.dialects.openai.servers import server_at

ROOT = Path(__file__).parents[4]
CASES = Path(os.environ.get("TOLLGATE_CASES", ROOT.parent / "shared" / "cases"))

OPENAI = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/responses": "responses",
}
"""Endings of paths of servers that speak OpenAI's format, and the format."""
OTHERS = {
    "/v1/messages": ("anthropic", "messages"),
    "/v1/messages/count_tokens": ("anthropic", "count_tokens"),
    ":generateContent": ("gemini", "generate"),
    ":streamGenerateContent": ("gemini", "generate"),
    ":countTokens": ("gemini", "count"),
    ":batchEmbedContents": ("gemini", "embed"),
    ":rawPredict": ("vertex", "messages"),
    ":streamRawPredict": ("vertex", "messages"),
    "/converse": ("bedrock", "converse"),
    "/converse-stream": ("bedrock", "converse"),
    "/count-tokens": ("bedrock", "count"),
    "/v2/chat": ("cohere", "chat_v2"),
    "/v2/embed": ("cohere", "embed_v2"),
}
"""The same of all others: the dialect, and what is asked."""
HOSTS = {
    "anthropic": ("api.anthropic.com",),
    "gemini": ("googleapis.com",),
    "vertex": ("googleapis.com",),
    "bedrock": ("amazonaws.com",),
    "cohere": ("api.cohere.com", "api.cohere.ai"),
}


@dataclass(frozen=True)
class Exchange:
    name: str
    dialect: str
    asked: str
    """What was asked: a client format where the provider speaks one, else the provider's word."""
    server: str | None
    model: str
    status: int
    request: dict[str, Any]
    response: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        content_type = self.headers.get("content-type", "")
        return "text/event-stream" in content_type or "amazon.eventstream" in content_type


@dataclass(frozen=True)
class Skipped:
    """An exchange that has no place in the product, and why."""

    name: str
    why: str


def _body(part: dict[str, Any]) -> bytes:
    if "parsed_body" in part:
        return json.dumps(part["parsed_body"]).encode()
    body = part.get("body") or b""
    if isinstance(body, dict):
        if "base64_string" in body:
            return base64.b64decode(body["base64_string"])
        body = body.get("string") or b""
    return body.encode() if isinstance(body, str) else bytes(body)


def _headers(part: dict[str, Any]) -> dict[str, str]:
    return {
        name.lower(): values[0] if isinstance(values, list) else str(values)
        for name, values in (part.get("headers") or {}).items()
    }


def _endpoint(host: str, path: str) -> tuple[str, str, str | None] | None:
    """Dialect, what is asked, and the server, of a URL of one of ours."""
    for ending, (dialect, asked) in OTHERS.items():
        if path.endswith(ending) and host.endswith(HOSTS[dialect]):
            return dialect, asked, None
    for ending, asked in OPENAI.items():
        if path.endswith(ending) and "amazonaws" not in host and "googleapis" not in host:
            server = server_at(host)
            return ("azure" if server == "azure" else "openai"), asked, server
    return None


def _model(path: str, request: dict[str, Any]) -> str:
    parts = unquote(path).split("/")
    for before in ("model", "models", "deployments"):
        if before in parts[:-1]:
            return parts[parts.index(before) + 1].partition(":generate")[0].partition(":stream")[0]
    return str(request.get("model") or "m")


def _read(file: Path) -> Iterator[Exchange | Skipped]:
    try:
        interactions = YAML(typ="safe", pure=False).load(file)["interactions"]
    except Exception as error:  # noqa: BLE001 - whatever a file holds that is no recording
        yield Skipped(file.stem, f"no recording: {type(error).__name__}")
        return
    for number, one in enumerate(interactions):
        name = f"{file.stem}-{number}"
        try:
            yield _exchange(name, one)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield Skipped(name, f"no exchange over HTTP: {type(error).__name__}")


def _exchange(name: str, one: dict[str, Any]) -> Exchange | Skipped:
    request, response = one["request"], one["response"]
    url = urlsplit(request.get("uri") or request["url"])
    method = request.get("method", "POST")
    found = _endpoint(url.hostname or "", url.path)
    if found is None or method != "POST":
        kind = "/".join(part for part in url.path.split("/") if not any(map(str.isdigit, part)))
        return Skipped(name, f"{method} {url.hostname}{kind} is no endpoint of the gateway")
    dialect, asked, server = found
    try:
        tree = json.loads(_body(request) or b"{}")
    except ValueError:
        return Skipped(name, "the request is no JSON")
    return Exchange(
        name=name,
        dialect=dialect,
        asked=asked,
        server=server,
        model=_model(url.path, tree),
        status=int(response.get("code") or response["status"]["code"]),
        request=tree,
        response=_body(response),
        headers=_headers(response),
    )


@cache
def everything() -> tuple[Exchange | Skipped, ...]:
    files = sorted(CASES.glob("**/cassettes/**/*.y*ml"))
    return tuple(one for file in files for one in _read(file))


def load() -> list[Exchange]:
    """Every recorded exchange of an endpoint that the gateway knows."""
    return [one for one in everything() if isinstance(one, Exchange)]


def skipped() -> list[Skipped]:
    return [one for one in everything() if isinstance(one, Skipped)]
