"""Gateways whose cache compares questions, and an endpoint that makes vectors as a test wants them:
what ends with the same word asks the same."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import ONLY
from tests.e2e.cache_gateways import CACHE, Cached, cached_gateway, config, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.limits_gateways import code

MODEL: Final = "text-embedding-3-small"
WIDTH: Final = 64
LOOKED: Final = "tollgate_cache_requests_total"

ROUTES: Final[Mapping[str, Json]] = {
    "halting": {"cache": {"mode": "semantic", "audit": 0.3}},
    "by-default": {"cache": "semantic"},
    "kinds-apart": {
        "cache": {
            "mode": "semantic",
            "audit": 0,
            "threshold": 0.99,
            "min_score": 0.5,
            "kinds": {"support": {"threshold": 0.9, "words": ["parcel"]}},
        }
    },
    "guarded-judged": {"cache": {"mode": "semantic", "audit": 1, "judge": "judge"}, "guard": {}},
    "by-user": {"cache": {"mode": "semantic", "audit": 0, "scope": "user"}},
    "tagged-too": {"cache": {"mode": "semantic", "audit": 0, "tags": ["manual"]}},
}
"""Beside `cache_gateways.ROUTES`."""


@dataclass
class Endpoint:
    """An endpoint for embeddings. Set its fields to make it behave otherwise."""

    port: int = 0
    noise: float = 0.1
    """Length of what a wording adds to the vector of length 1 that its last word has: two wordings
    of it are at 1 / (1 + noise²)."""
    one: bool = False
    """Every text has the same vector."""
    status: int = 200
    held: threading.Event = field(default_factory=threading.Event)
    """While it is not set, nothing is answered."""
    texts: list[str] = field(default_factory=list)
    """What it was asked for, answered or not."""
    tokens: int = 0
    """What it has counted."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, texts: Sequence[str]) -> Json:
        """As OpenAI writes it. Every word is a token."""
        self.texts += texts
        count = sum(len(text.split()) for text in texts)
        self.tokens += count if self.status == 200 else 0
        data = [
            {"object": "embedding", "index": index, "embedding": self._vector(text)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "data": data, "model": MODEL, "usage": usage}

    def _vector(self, text: str) -> list[float]:
        if self.one:
            return [1.0] + [0.0] * (WIDTH - 1)
        topic = text.rsplit(maxsplit=1)[-1].strip("?.!").casefold() if text.strip() else ""
        pairs = zip(_unit(topic), _unit(f"{text} as worded"), strict=True)
        return [a + self.noise * b for a, b in pairs]


def _unit(text: str) -> list[float]:
    draw = random.Random(text).gauss
    values = [draw(0.0, 1.0) for _ in range(WIDTH)]
    length = math.hypot(*values)
    return [value / length for value in values]


@contextmanager
def endpoint(port: int = 0) -> Iterator[Endpoint]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body together: apart, the second waits 40 ms for an ACK

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found.held.wait(30.0)
            status, answer = found.status, found.answer(sent["input"])
            body = json.dumps(answer if status == 200 else {}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library has it
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """Who asked has gone: its deadline was over."""

    server = Server(("127.0.0.1", port), Handler)
    found = Endpoint(server.server_port)
    found.held.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        found.held.set()
        server.shutdown()
        thread.join()
        server.server_close()


def minilm(factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The variable that says where the model is, which is built once."""
    folder = factory.getbasetemp() / "models"
    if not folder.exists():
        command = [sys.executable, "-m", "extproc.cli", "models", "build", "minilm"]
        subprocess.run([*command, "--out", str(folder)], check=True, capture_output=True)
    return {"TOLLGATE_MODELS": str(folder)}


@dataclass(frozen=True, slots=True)
class Comparing:
    """A gateway and the endpoint that it asks for vectors."""

    cached: Cached
    endpoint: Endpoint


@contextmanager
def semantic_gateway(
    folder: Path, *flags: str, env: Mapping[str, str] | None = None, **more: Any
) -> Iterator[Cached]:
    """`flags`: which embedder."""
    own = [
        {"name": name, "match": {"headers": {"x-test-route": name}}, "chain": "walk", **route}
        for name, route in ROUTES.items()
    ]
    change = {"routes": [*own, *config()["routes"]]}
    with cached_gateway(folder, *flags, change=change, env=env, **more) as found:
        yield found


def by_endpoint(found: Endpoint) -> tuple[str, ...]:
    """The flags of a gateway that asks it."""
    return ("--embedder", "http", "--embedder-url", found.url, "--embedder-model", MODEL)


@contextmanager
def comparing(folder: Path, *flags: str, **more: Any) -> Iterator[Comparing]:
    """A gateway with an endpoint of its own."""
    with endpoint() as vectors, semantic_gateway(
        folder, *by_endpoint(vectors), *flags, **more
    ) as cached:  # fmt: skip
        yield Comparing(cached, vectors)


def word() -> str:
    """A word that nobody has used, which no guard takes for a number or a name."""
    letters = "bcdfghklmnprstvz"
    return "".join(letters[int(one, 16)] + "aeiou"[int(one, 16) % 5] for one in f"{_tick():x}"[-9:])


def _tick() -> int:
    return time.time_ns() // 100


def only(cached: Cached, text: str, route: str = "semantic", **more: Any) -> httpx.Response | None:
    """What the cache has for a text, if anything."""
    head = {**(more.pop("headers", None) or {}), **ONLY}
    answer = cached.chat(text, route, headers=head, **more)
    if answer.status_code == 200:
        return answer
    assert code(answer) == (504, "not_cached"), answer.text
    return None


def meets(cached: Cached, text: str, route: str = "semantic", **more: Any) -> httpx.Response:
    """The answer to a question that was asked in other words, as soon as it can be had."""
    found: httpx.Response = poll(
        lambda: only(cached, text, route, **more), what=f"what was said to the like of {text!r}"
    )
    assert where(found) == "semantic", found.headers
    score = float(parts(found)["score"])
    assert 0.0 < score <= 1.0
    return found


def put(cached: Cached, text: str, route: str = "semantic", **more: Any) -> httpx.Response:
    """Ask what nobody has asked, and wait until it can be found."""
    count = "tollgate_cache_index_entries"
    before = figures(cached.gateway).sum(count)
    answer = cached.chat(text, route, **more)
    assert where(answer) == "miss", answer.headers[CACHE]
    poll(lambda: figures(cached.gateway).sum(count) > before, what=f"{text!r} in the index")
    return answer


def looked(cached: Cached, **labels: str) -> float:
    """Requests that were looked up so far, with this outcome or for this reason."""
    return figures(cached.gateway).sum(LOOKED, **labels)


def is_kept_from(cached: Cached, text: str, reason: str, route: str = "semantic") -> None:
    """What the cache found for a text is not served, for this reason."""
    before = looked(cached, reason=reason)

    def turned_down() -> bool:
        assert only(cached, text, route) is None
        return looked(cached, reason=reason) > before

    poll(turned_down, what=f"{text!r} to be turned down for {reason!r}")
