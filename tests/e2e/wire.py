"""What clients get and what Envoy and the service count, read without any SDK."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2 as httpx

from tests.e2e.conftest import Json, Running

REFUSALS: Final = "tollgate_refusals_total"
ABORTED: Final = "tollgate_requests_aborted_total"


@dataclass
class Streamed:
    """One stream as its client saw it. Times are seconds since the request was sent."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: list[Json] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)
    done: bool = False
    truncated: bool = False
    """The connection broke before the body's end."""
    first: float = 0.0
    """The first content."""
    ended: float = 0.0
    body: bytes = b""

    @property
    def id(self) -> str:
        return self.headers["x-tollgate-request-id"]

    @property
    def target(self) -> str:
        return self.headers["x-tollgate-target"]

    @property
    def attempts(self) -> str:
        return self.headers["x-tollgate-attempts"]

    @property
    def pieces(self) -> list[str]:
        """The content events."""
        return [
            choice["delta"]["content"]
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["delta"].get("content")
        ]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def usage(self) -> list[Json]:
        return [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]

    @property
    def finish(self) -> list[str]:
        found = (choice["finish_reason"] for chunk in self.chunks for choice in chunk["choices"])
        return [one for one in found if one]

    def take(self, line: str) -> None:
        """One line of the body."""
        if line.startswith(":"):
            self.comments.append(line[1:].strip())
        elif line == "data: [DONE]":
            self.done = True
        elif line.startswith("data:"):
            event = json.loads(line.removeprefix("data:"))
            (self.errors if "error" in event else self.chunks).append(event)


def asks(
    model: str, text: str, script: Mapping[str, Any] | None, **more: Any
) -> tuple[Json, dict[str, str]]:
    """The body and the headers of a chat completion that is streamed."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    headers = {} if script is None else {"x-sim-script": json.dumps(script)}
    return {**body, **more}, headers


def stream(
    gateway: Running,
    model: str = "flagship",
    *,
    text: str = "Hello",
    script: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    leave_after: int | None = None,
    **more: Any,
) -> Streamed:
    """One stream, read to its end, or until so many content events have come."""
    body, sent = asks(model, text, script, **more)
    found = Streamed()
    began = time.monotonic()
    with gateway.http.stream(
        "POST", f"{gateway.url}/chat/completions", json=body, headers={**sent, **(headers or {})}
    ) as response:
        found.status, found.headers = response.status_code, response.headers
        if response.status_code != 200:
            found.body = response.read()
            return found
        try:
            for line in response.iter_lines():
                found.take(line)
                if not found.first and found.pieces:
                    found.first = time.monotonic() - began
                if leave_after is not None and len(found.pieces) >= leave_after:
                    break
        except httpx.RemoteProtocolError:
            found.truncated = True
    found.ended = time.monotonic() - began
    return found


async def stream_async(
    client: httpx.AsyncClient,
    gateway: Running,
    model: str = "flagship",
    *,
    text: str = "Hello",
    script: Mapping[str, Any] | None = None,
    into: Streamed | None = None,
    **more: Any,
) -> Streamed:
    """The same, of many at once. `into` can be looked at meanwhile."""
    body, sent = asks(model, text, script, **more)
    found = Streamed() if into is None else into
    began = time.monotonic()
    async with client.stream(
        "POST", f"{gateway.url}/chat/completions", json=body, headers=sent
    ) as response:
        found.status, found.headers = response.status_code, response.headers
        if response.status_code != 200:
            found.body = await response.aread()
            return found
        try:
            async for line in response.aiter_lines():
                found.take(line)
                if not found.first and line.startswith("data:"):
                    found.first = time.monotonic() - began
        except httpx.RemoteProtocolError:
            found.truncated = True
    found.ended = time.monotonic() - began
    return found


def many() -> httpx.AsyncClient:
    """A client that holds as many connections as are wanted."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=60, limits=limits)


_SERIES: Final = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def counted(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    total = 0.0
    for line in exposition.splitlines():
        found = _SERIES.match(line)
        if found is None or found["name"] != name:
            continue
        own = dict(_LABEL.findall(found["labels"] or ""))
        if all(own.get(key) == value for key, value in labels.items()):
            total += float(found["value"])
    return total


def stat(gateway: Running, name: str) -> int:
    """One of Envoy's counters or gauges; 0 while it has not been used."""
    url = f"http://127.0.0.1:{gateway.envoy_admin}/stats"
    text = gateway.http.get(url, params={"filter": f"^{re.escape(name)}$"}).text
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if ":" in line)


# --- scripts by target ------------------------------------------------------------------------

PORTS = {
    "claude-sonnet": "anthropic",
    "gpt-4-turbo": "openai",
    "gemini-pro": "gemini",
    "llama": "local",
}
"""The levels of `flagship` in order, and the simulator's port of each."""


def at(target: str, script: Mapping[str, Any]) -> Json:
    """A script for one target's provider; the others answer plainly."""
    return {"by": {PORTS[target]: dict(script)}}


def ports(asked: list[Json]) -> list[str]:
    """Which ports were asked, in order."""
    return [one["port"] for one in asked]
