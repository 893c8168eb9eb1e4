"""A day of mixed traffic, written down beforehand: who asks what in which hour, and how it ends."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Final, Literal

import httpx2 as httpx

from extproc import catalogue
from extproc.catalogue import Price
from tests.e2e.conftest import Json, Running
from tests.e2e.ledger_books import make, mark
from tests.e2e.wire import many

CONFIG: Final = """
providers:
  anthropic: {dialect: anthropic, url: https://api.anthropic.com, key_env: ANTHROPIC_API_KEY, outlier: {consecutive_5xx: 1000000}}
  openai:    {dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY, outlier: {consecutive_5xx: 1000000}}
  gemini:    {dialect: gemini, url: https://generativelanguage.googleapis.com, key_env: GEMINI_API_KEY, outlier: {consecutive_5xx: 1000000}}
  bedrock:   {dialect: bedrock, url: https://bedrock-runtime.us-east-1.amazonaws.com, outlier: {consecutive_5xx: 1000000}}
  cohere:    {dialect: cohere, url: https://api.cohere.com, key_env: CO_API_KEY, outlier: {consecutive_5xx: 1000000}}
  local:     {dialect: openai, url: http://127.0.0.1:8000, outlier: {consecutive_5xx: 1000000}}
targets:
  claude:   {provider: anthropic, model: claude-sonnet-4-5, timeout: 40s, stall: 40s}
  gpt:      {provider: openai, model: gpt-4o-mini, timeout: 40s, stall: 40s}
  gpt-five: {provider: openai, model: gpt-5, timeout: 40s, stall: 40s}
  gemini:   {provider: gemini, model: gemini-2.5-pro, timeout: 40s, stall: 40s}
  nova:     {provider: bedrock, model: "amazon.nova-lite-v1:0", timeout: 40s, stall: 40s}
  command:  {provider: cohere, model: command-a-03-2025, timeout: 40s, stall: 40s}
  llama:    {provider: local, model: llama-3.1-8b-instruct, timeout: 40s, stall: 40s, price: {input: "0", output: "0"}}
  hasty:    {provider: gemini, model: gemini-2.5-flash, timeout: 8s}
  nameless: {provider: openai, model: gpt-nobody-knows, timeout: 40s}
  vectors:  {provider: openai, model: text-embedding-3-small, timeout: 40s}
chains:
  main:  [claude, gpt, llama]
  quick: [gpt, gemini]
  rush:  [hasty, llama]
routes:
  - name: batch
    match: {headers: {x-test-route: batch}}
    chain: main
    models: {"gpt-4o": quick, "claude": claude}
  - name: everything
    models: {"*": main}
identity: keys
tiers:
  free: {tokens: 10000000/d}
  pro: {tokens: 500000000/d}
"""  # noqa: E501 - a provider a line
SYSTEMS: Final = {
    "claude": ("anthropic", "claude-sonnet-4-5"),
    "gpt": ("openai", "gpt-4o-mini"),
    "gpt-five": ("openai", "gpt-5"),
    "gemini": ("gcp.gemini", "gemini-2.5-pro"),
    "nova": ("aws.bedrock", "amazon.nova-lite-v1:0"),
    "command": ("cohere", "command-a-03-2025"),
    "vectors": ("openai", "text-embedding-3-small"),
}
"""Where each target with a price of the catalogue leads."""
CALLERS: Final[dict[str, Json]] = {
    "acme-search": {"tenant": "acme", "team": "search", "tier": "pro",
                    "may_set": ["user", "feature", "labels"]},
    "acme-sales": {"tenant": "acme", "team": "sales", "tier": "pro", "user": "sales-bot"},
    "globex": {"tenant": "globex", "tier": "free", "labels": {"region": "eu"}},
    "narrow": {"tenant": "initech", "team": "it", "models": ["gpt", "nova", "vectors"]},
}  # fmt: skip
"""Who asks. What of a request's own words counts is the key's policy."""
FEATURES: Final = ("answers", "drafts", "search", "<b>odd</b>\tone", None)
USERS: Final = ("ann", "bob", "eve", "zoë", None)
HOURS: Final = 24
INCIDENT: Final = range(14, 17)
"""Hours in which Anthropic answers nobody."""
AT_ONCE: Final = 16

Shape = Literal["chat", "messages", "responses", "embeddings", "count", "broken", "nowhere"]
PATHS: Final[Mapping[Shape, str]] = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "count": "/v1/messages/count_tokens",
    "broken": "/v1/chat/completions",
    "nowhere": "/v1/nowhere",
}
LAST: Final[Mapping[Shape, str]] = {
    "chat": "data: [DONE]",
    "messages": "event: message_stop",
    "responses": "event: response.completed",
}
"""What ends a stream that went well."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the day."""

    number: int
    shape: Shape
    model: str
    stream: bool = False
    usage: bool = False
    """Asks for usage in its stream."""
    script: Json | None = None
    leave: int | None = None
    """Goes away after so many events; 0: before the answer's head."""
    route: str | None = None
    caller: str | None = "acme-search"
    hour: int = 0
    feature: str | None = None
    user: str | None = None
    guess: bool = False
    """The provider gives no figures, so tokens are estimated."""

    @property
    def path(self) -> str:
        return PATHS[self.shape]

    def body(self) -> bytes:
        """What is sent."""
        text = f"{mark(self.number)}: what is new?"
        message = {"role": "user", "content": text}
        if self.shape == "broken":
            return b'{"model": "main", "messages": ['
        if self.shape == "embeddings":
            return json.dumps({"model": self.model, "input": [text, text]}).encode()
        body: Json = {"model": self.model}
        if self.shape == "responses":
            body["input"] = text
        else:
            body["messages"] = [message]
        if self.shape == "messages":
            body["max_tokens"] = 1000
        if self.stream:
            body["stream"] = True
        if self.usage:
            body["stream_options"] = {"include_usage": True}
        return json.dumps(body).encode()

    def headers(self, keys: Mapping[str, str]) -> dict[bytes, bytes]:
        """What is sent beside the body; words of people in UTF-8."""
        found = {"content-type": "application/json"}
        if self.caller is not None:
            found["authorization"] = f"Bearer {keys[self.caller]}"
        said = {
            "x-tollgate-feature": self.feature,
            "x-tollgate-user": self.user,
            "x-tollgate-label-n": mark(self.number),
            "x-tollgate-label-region": "us",
            "x-test-route": self.route,
        }
        found.update({name: one for name, one in said.items() if one is not None})
        if self.script is not None:
            found["x-sim-script"] = json.dumps(self.script)
        return {name.encode(): one.encode() for name, one in found.items()}


@dataclass(slots=True)
class Seen:
    """What a client saw."""

    call: Call
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    ended: Literal["whole", "left", "cut"] = "whole"

    @property
    def id(self) -> str | None:
        """The gateway's id of the request; None where the client left before it came."""
        return self.headers.get("x-tollgate-request-id")

    @property
    def exact(self) -> bool:
        """Served to the end, with figures of the provider's."""
        done = not self.call.stream or LAST[self.call.shape] in self.body
        return self.status == 200 and self.ended == "whole" and done and not self.call.guess


FAILS: Final[Json] = {"status": 500}
FULL: Final[Json] = {"error": "rate_limit", "retry_after": 20}
TWICE: Final[Json] = {
    "by": {"anthropic": FAILS, "openai": {"first_event_error": True}, "*": {}},
}
THOUGHT: Final[Json] = {"usage": {"input": 907, "output": 503, "cached": 401, "reasoning": 211}}
WRITTEN: Final[Json] = {"usage": {"input": 907, "output": 503, "cached": 401, "cache_write": 307}}
LONG: Final[Json] = {"usage": {"input": 250_001, "output": 33, "cached": 3}}
SILENT: Final[Json] = {"usage": "none"}
SLOW: Final[Json] = {"text": "word " * 200, "events": 200, "rate": 100}


def _by(**ports: Json) -> Json:
    return {"by": {**ports, "*": {}}}


MIX: Final[tuple[tuple[int, Json], ...]] = (
    (50, {"shape": "chat", "model": "main"}),
    (40, {"shape": "chat", "model": "main", "stream": True}),
    (25, {"shape": "chat", "model": "auto", "stream": True, "usage": True, "route": "batch"}),
    (20, {"shape": "chat", "model": "gpt-4o", "route": "batch", "caller": "globex"}),
    (15, {"shape": "messages", "model": "main"}),
    (15, {"shape": "messages", "model": "main", "stream": True, "caller": "acme-sales"}),
    (12, {"shape": "responses", "model": "quick"}),
    (12, {"shape": "responses", "model": "quick", "stream": True, "caller": "globex"}),
    (15, {"shape": "embeddings", "model": "vectors", "caller": "narrow"}),
    (10, {"shape": "count", "model": "claude"}),
    (10, {"shape": "chat", "model": "nova", "caller": "narrow"}),
    (8, {"shape": "chat", "model": "nova", "stream": True, "caller": "narrow"}),
    (6, {"shape": "chat", "model": "command"}),
    (6, {"shape": "chat", "model": "command", "stream": True}),
    # Tokens of every kind.
    (8, {"shape": "chat", "model": "gpt-five"}),
    (8, {"shape": "chat", "model": "gpt-five", "stream": True}),
    (6, {"shape": "chat", "model": "gemini", "script": THOUGHT}),
    (6, {"shape": "chat", "model": "claude", "stream": True, "script": WRITTEN}),
    (3, {"shape": "chat", "model": "gemini", "script": LONG}),
    # No price; no figures.
    (8, {"shape": "chat", "model": "nameless"}),
    (4, {"shape": "chat", "model": "nameless", "stream": True}),
    (4, {"shape": "chat", "model": "llama", "script": SILENT, "guess": True}),
    (4, {"shape": "chat", "model": "gpt", "stream": True, "script": SILENT, "guess": True}),
    # Levels that refuse.
    (8, {"shape": "chat", "model": "main", "script": _by(anthropic=FULL)}),
    (6, {"shape": "chat", "model": "main", "stream": True, "script": TWICE}),
    (3, {"shape": "chat", "model": "rush", "script": _by(gemini={"silence": "before_head"})}),
    (6, {"shape": "chat", "model": "main", "script": FULL}),
    (4, {"shape": "messages", "model": "main", "script": FAILS}),
    (5, {"shape": "chat", "model": "gpt", "script": {"error": "invalid_request"}}),
    (3, {"shape": "chat", "model": "gpt", "script": {"error": "content_filter"}}),
    # Streams that do not end well.
    (4, {"shape": "chat", "model": "gpt", "stream": True, "script": {"error_at": 3}}),
    (4, {"shape": "chat", "model": "claude", "stream": True, "script": {"stop_early": 3}}),
    (4, {"shape": "chat", "model": "gpt", "stream": True, "script": {"reset": 3}}),
    (8, {"shape": "chat", "model": "claude", "stream": True, "script": SLOW, "leave": 5}),
    (6, {"shape": "chat", "model": "gpt", "stream": True, "script": SLOW, "leave": 9}),
    (3, {"shape": "chat", "model": "gpt", "stream": True, "script": {"latency": 2.5}, "leave": 0}),
    (3, {"shape": "chat", "model": "gpt", "script": {"latency": 2.5}, "leave": 0}),
    # What the gateway refuses.
    (6, {"shape": "broken", "model": ""}),
    (6, {"shape": "chat", "model": "unheard-of", "route": "batch"}),
    (6, {"shape": "chat", "model": "claude", "caller": "narrow"}),
    (5, {"shape": "chat", "model": "main", "caller": None}),
    (3, {"shape": "nowhere", "model": ""}),
)  # fmt: skip
"""How often what is asked in a day."""


def plan(seed: int = 4) -> list[Call]:
    """The day's requests, by hour. The same for the same seed."""
    draw = random.Random(seed)
    asked = [given for count, given in MIX for _ in range(count)]
    draw.shuffle(asked)
    calls = []
    for number, given in enumerate(asked):
        hour = number * HOURS // len(asked)
        who = given.get("caller", "acme-search")
        calls.append(
            Call(
                **{**given, "caller": who},
                number=number,
                hour=hour,
                feature=draw.choice(FEATURES),
                user=draw.choice(USERS),
            )
        )
    return calls


async def live(gateway: Running, calls: list[Call]) -> list[Seen]:
    """Let the day pass, hour by hour, so many requests at once as there are."""
    keys = {name: make(gateway, name=name, **fields)["key"] for name, fields in CALLERS.items()}
    found: list[Seen] = []
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(client: httpx.AsyncClient, call: Call) -> Seen:
        async with turns:
            return await ask(client, gateway, call, keys)

    async with many() as client:
        for hour in range(HOURS):
            if hour in (INCIDENT.start, INCIDENT.stop):
                down = {"anthropic": {"error": "overloaded"}} if hour in INCIDENT else {}
                await asyncio.to_thread(gateway.behave, down)
            hours_calls = [call for call in calls if call.hour == hour]
            found += await asyncio.gather(*(one(client, call) for call in hours_calls))
    return found


async def ask(
    client: httpx.AsyncClient, gateway: Running, call: Call, keys: Mapping[str, str]
) -> Seen:
    """One request, as far as its client wants to hear."""
    seen = Seen(call)
    if call.leave == 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.2):
                await _read(client, gateway, seen, keys)
        if not seen.status:
            seen.ended = "left"
        return seen
    await _read(client, gateway, seen, keys)
    return seen


async def _read(
    client: httpx.AsyncClient, gateway: Running, seen: Seen, keys: Mapping[str, str]
) -> None:
    call = seen.call
    url = f"{gateway.root}{call.path}"
    async with client.stream(
        "POST", url, content=call.body(), headers=call.headers(keys)
    ) as answer:
        seen.status, seen.headers = answer.status_code, dict(answer.headers)
        lines: list[str] = []
        try:
            async for line in answer.aiter_lines():
                lines.append(line)
                if (
                    call.leave is not None
                    and sum(one.startswith("data:") for one in lines) >= call.leave
                ):
                    seen.ended = "left"
                    break
        except httpx.RemoteProtocolError:
            seen.ended = "cut"
        seen.body = "\n".join(lines)


@cache
def price_of(target: str) -> Price:
    """The catalogue's."""
    model = catalogue.load().find(*SYSTEMS[target])
    assert model is not None, target
    assert model.price is not None, target
    return model.price


def nanodollars(target: str, billed: Json) -> int | None:
    """What tokens cost there, worked out anew from what the simulator billed; None: nobody
    knows."""
    if target == "llama":
        return 0
    if target == "nameless":
        return None
    price = price_of(target)
    if price.long is not None and billed["input"] > price.above:
        price = price.long
    plain = billed["input"] - billed["cached"] - billed["cache_write"]
    exact: int = (
        plain * price.input
        + billed["cached"] * price.cached_input
        + billed["cache_write"] * price.cache_write
        + (billed["output"] - billed["reasoning"]) * price.output
        + billed["reasoning"] * price.reasoning
    )
    return math.floor(Fraction(exact, 1_000_000) + Fraction(1, 2))


def billed(received: list[Json]) -> dict[str, int]:
    """All that the providers billed for one request, whichever levels it took."""
    total: Counter[str] = Counter()
    for one in received:
        total.update({name: int(number) for name, number in one["billed"].items()})
    return {name: total[name] for name in ("input", "output", "cached", "cache_write", "reasoning")}
