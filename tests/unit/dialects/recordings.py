"""Recorded exchanges with real providers, outside the repository.

`TOLLGATE_CASES` names the folder (default: `../shared/cases` beside the checkout). Tests that
need it skip where it is absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
CASES = Path(os.environ.get("TOLLGATE_CASES", ROOT.parent / "shared" / "cases"))

CHAT_PATHS = {
    "openai": ("/chat/completions",),
    "anthropic": ("/v1/messages",),
    "gemini": (":generateContent", ":streamGenerateContent"),
}
HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "api.groq.com": "openai",
    "openrouter.ai": "openai",
    "api.deepseek.com": "openai",
    "api.mistral.ai": "openai",
    "api.cerebras.ai": "openai",
}


@dataclass(frozen=True)
class Exchange:
    name: str
    dialect: str
    path: str
    status: int
    request: dict[str, Any]
    response: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        return "text/event-stream" in self.headers.get("content-type", "")


def _body(part: dict[str, Any]) -> bytes:
    if "parsed_body" in part:
        return json.dumps(part["parsed_body"]).encode()
    body = part.get("body", b"")
    if isinstance(body, dict):
        body = body.get("string", b"")
    return body.encode() if isinstance(body, str) else body


def _headers(part: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): values[0] for name, values in (part.get("headers") or {}).items()}


def _read(file: Path) -> Iterator[Exchange]:
    for number, one in enumerate(YAML(typ="safe", pure=False).load(file)["interactions"]):
        request, response = one["request"], one["response"]
        url = urlsplit(request.get("uri") or request["url"])
        dialect = HOSTS.get(url.hostname or "")
        if url.hostname and url.hostname.endswith(".openai.azure.com"):
            dialect = "openai"
        if dialect is None or not url.path.endswith(CHAT_PATHS[dialect]):
            continue
        status = response.get("code") or response["status"]["code"]
        body = _body(request)
        try:
            tree = json.loads(body) if body else {}
        except ValueError:
            continue
        yield Exchange(
            name=f"{file.stem}-{number}",
            dialect=dialect,
            path=url.path,
            status=status,
            request=tree,
            response=_body(response),
            headers=_headers(response),
        )


def load() -> list[Exchange]:
    """Every recorded exchange of a chat endpoint whose format is one of ours."""
    return [one for file in sorted(CASES.glob("**/cassettes/**/*.yaml")) for one in _read(file)]
