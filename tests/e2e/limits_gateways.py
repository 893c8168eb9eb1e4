"""A gateway with every kind of limit, each on a route of its own, and those who ask there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx

from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.figures import figures
from tests.e2e.ledger_books import make
from tests.e2e.ledger_processes import Redis

DOLLAR: Final = (1_000_000, 0)
"""Input and output tokens that cost one dollar, at `PRICE`."""
PRICE: Final = {"input": "1", "output": "2"}
UPGRADE: Final = "https://example.com/upgrade"
DIMENSIONS: Final = (
    *("key", "user", "team", "tenant", "feature", "session", "route", "model", "user,model"),
    *("tenant,feature", "all"),
)
KINDS: Final[Mapping[str, tuple[Json, tuple[int, int], int]]] = {
    "requests": ({"requests": "3/h"}, (10, 10), 3),
    "input": ({"input_tokens": "1000/d"}, (400, 10), 3),
    "output": ({"output_tokens": "1000/d"}, (10, 400), 3),
    "tokens": ({"tokens": "1000/d"}, (200, 200), 3),
    "money": ({"usd": "0.25/d"}, (100_000, 0), 3),
    "money-bucket": ({"usd": "0.25/h"}, (100_000, 0), 3),
    "burst": ({"requests": "1/h burst 4x"}, (10, 10), 4),
    "burst-units": ({"tokens": "100/h burst 1000"}, (200, 200), 3),
    "day": ({"requests": {"limit": "2/d", "timezone": "Asia/Tokyo"}}, (10, 10), 2),
    "week": ({"requests": {"limit": "2/w", "timezone": "America/New_York"}}, (10, 10), 2),
    "month": ({"requests": "2/mo"}, (10, 10), 2),
    "rolling": ({"requests": "2/h rolling"}, (10, 10), 2),
    "rolling-tokens": ({"tokens": "1000/d rolling"}, (200, 200), 3),
    "two-windows": ({"requests": ["100/m", "2/h"]}, (10, 10), 2),
    "two-measures": ({"requests": "100/h", "tokens": "1000/d"}, (200, 200), 3),
}  # fmt: skip
"""Limits of a key, (input, output) tokens that each request really uses, and how many of them are
served one after the other: the last one may use more than is left; nobody knows beforehand."""


def _kinds() -> dict[str, Json]:
    return {f"kind-{name}": {"limits": {"key": limits}} for name, (limits, *_) in KINDS.items()}


def _dimensions() -> dict[str, Json]:
    return {
        f"dim-{dims}": {"limits": {dims: {"requests": "2/h"}}, "chain": "main", "models": {}}
        for dims in DIMENSIONS
    }


ROUTES: Final[Mapping[str, Json]] = {
    **_kinds(),
    **_dimensions(),
    "dim-target": {"limits": {"key,target": {"requests": "2/h"}}, "models": {"*": "pair"}},
    "concurrent": {"limits": {"key": {"concurrent": 2}}},
    "single": {"limits": {"key": {"output_tokens": "50/request", "input_tokens": "500/request"}}},
    "both": {"limits": {"key": {"requests": "3/h", "tokens": "100000/h"}}},
    "upgrade": {"limits": {"key": {"requests": "1/h", "upgrade_url": UPGRADE}}},
    # Short enough to wait for.
    "soon-requests": {"limits": {"key": {"requests": "20/m burst 2"}}},
    "soon-tokens": {"limits": {"key": {"tokens": "600/m burst 100"}}},
    "soon-money": {"limits": {"key": {"usd": "6/m burst 0.1"}}},
    "soon-either": {"limits": {"key": {"requests": "60/m burst 1", "tokens": "600/m burst 100"}}},
    "soon-provider": {"models": {"*": "tpm-only"}, "ttl": 0},
    # What comes back.
    "settle": {"limits": {"key": {"output_tokens": "100000/d"}}, "models": {"*": "pair"}},
    "estimated": {"limits": {"key": {"tokens": "6000/d"}}},
    "strict": {"limits": {"key": {"tokens": {"limit": "6000/d", "strict": True}}}},
    "strict-claude": {
        "limits": {"key": {"tokens": {"limit": "6000/d", "strict": True}}},
        "models": {"*": "claude-only"},
    },
    "lasting": {"limits": {"key": {"requests": "100/h", "output_tokens": "100000/d"}}},
    # Money.
    "paid": {"limits": {"team": {"usd": {"limit": "0.25/d", "name": "team-day", "status": 402}}}},
    "sent-down": {
        "limits": {
            "user": {
                "usd": {
                    "limit": "0.25/mo",
                    "name": "user-month",
                    "on_exhausted": {"downgrade": "cheap"},
                }
            }
        },
    },
    "session-money": {"limits": {"session": {"usd": "0.25/w"}}},
    # Events.
    "events": {"limits": {"user": {"tokens": {"limit": "1000/d", "name": "user-day"}}}},
    "runaway": {
        "limits": {
            "runaway": {
                "factor": 2,
                "at_least": "0.01/h",
                "window": "1s",
                "past": "1h",
                "after": "3s",
                "hold": "30s",
                "slow": "1/m",
                "name": "wild",
            }
        }
    },
    # Levels.
    "rpm": {"models": {"*": "rpm-first"}, "ttl": 0},
    "water": {"models": {"*": "water-first"}, "ttl": 0},
    "water-alone": {"models": {"*": "water-only"}, "ttl": 0},
    "at-once": {"models": {"*": "one-first"}, "ttl": 0},
    "shared-key": {"models": {"*": "shared-first"}, "ttl": 0},
    "words": {"models": {"*": "words-first"}, "ttl": 0},
    "busy": {"models": {"*": "busy-first"}, "ttl": 0},
    "otpm": {"models": {"*": "otpm-first"}, "ttl": 0},
    "haiku": {"models": {"*": "haiku-first"}, "ttl": 0},
    "gemini": {"models": {"*": "gemini-first"}, "ttl": 0},
    "beside": {"models": {"*": "beside"}, "ttl": 0},
    "behind": {"models": {"*": "behind"}, "ttl": 0},
    "both-full": {"models": {"*": "both-full"}, "ttl": 0},
    "vectors": {"models": {"*": "vectors-only"}, "limits": {"key": {"tokens": "1000/d"}}},
    # Nothing is done.
    "observed": {"limits": {"key": {"requests": "1/h"}}, "mode": "observe"},
    "observed-limit": {
        "limits": {"key": {"requests": {"limit": "1/h", "mode": "observe", "name": "watched"}}}
    },
    # Waiting.
    "queue": {"models": {"*": "slot-only"}},
    "queue-limit": {
        "limits": {"key": {"requests": {"limit": "60/m burst 1", "on_exhausted": "queue"}}}
    },
    "queue-money": {
        "limits": {"key": {"usd": {"limit": "6/m burst 0.1", "on_exhausted": "queue"}}}
    },
    "queue-low": {"models": {"*": "slot-only"}, "priority": "low"},
    "queue-short": {"models": {"*": "slot-only"}, "ttl": "1s"},
    "everything": {},
}  # fmt: skip

_CALM: Final = {"consecutive_5xx": 1_000_000}
"""One test's failures must not take a provider out for the next."""


def _provider(**more: Any) -> Json:
    return {
        "dialect": "openai",
        "url": "https://api.openai.com",
        "key_env": "OPENAI_API_KEY",
        "outlier": _CALM,
        **more,
    }


def _target(provider: str = "openai", **limits: Any) -> Json:
    found: Json = {"provider": provider, "model": "gpt-4o-mini", "timeout": "10s", "price": PRICE}
    if limits:
        found["limits"] = {"high_water": 1, **limits}
    return found


_CEILINGS: Final[Mapping[str, Json]] = {
    "rpm": {"rpm": 4},
    "water": {"rpm": 10, "high_water": 0.5},
    "one": {"concurrent": 1},
    "words": {"rpm": 30},
    "busy": {"rpm": 1000},
    "otpm": {"otpm": 1000},
    "tpm": {"tpm": 600},
    "slot": {"concurrent": 1},
    "left": {"concurrent": 1},
    "right": {"concurrent": 1},
    "next": {"rpm": 2},
    "slow": {"rpm": 1},
    "fast": {"rpm": 2},
}


def config() -> Json:
    """gateway.yaml."""
    targets = {name: _target(**one) for name, one in _CEILINGS.items()}
    targets |= {"shared-one": _target("narrow"), "shared-two": _target("narrow")}
    targets |= {
        "gpt": _target(),
        "claude": {
            "provider": "anthropic", "model": "claude-haiku-4-5", "timeout": "10s", "price": PRICE,
        },
        "haiku": {
            "provider": "anthropic", "model": "claude-haiku-4-5", "timeout": "10s", "price": PRICE,
            "limits": {"itpm": 600, "high_water": 1},
        },
        "gemini": {
            "provider": "gemini", "model": "gemini-2.5-flash", "timeout": "10s", "price": PRICE,
            "limits": {"rpm": 1000, "high_water": 1},
        },
        "vectors": {"provider": "openai", "model": "text-embedding-3-small", "price": PRICE},
        "small": {**_target(), "price": {"input": "0.1", "output": "0.2"}},
    }  # fmt: skip
    chains: dict[str, list[Any]] = {"main": ["gpt"], "pair": ["gpt", "claude"], "cheap": ["small"]}
    chains |= {f"{name}-first": [name, "gpt"] for name in _CEILINGS}
    chains |= {f"{name}-only": [name] for name in _CEILINGS}
    chains |= {
        name: [name.removesuffix("-first"), "gpt"] for name in ("haiku-first", "gemini-first")
    }
    chains["beside"] = [{"left": 1, "right": 1}, "gpt"]
    chains["behind"] = ["claude", "next", "small"]
    chains["both-full"] = ["slow", "fast"]
    chains["vectors-only"] = ["vectors"]
    chains["claude-only"] = ["claude"]
    chains["shared-first"] = ["shared-one", "shared-two", "gpt"]
    routes: list[Json] = []
    for name, route in ROUTES.items():
        match = {} if name == "everything" else {"match": {"headers": {"x-test-route": name}}}
        routes.append({"name": name.replace(",", "-"), **match, "models": {"*": "main"}, **route})
    for one in routes:
        if not one["models"]:
            del one["models"]
    return {
        "providers": {
            "openai": _provider(),
            "anthropic": {
                "dialect": "anthropic",
                "url": "https://api.anthropic.com",
                "key_env": "ANTHROPIC_API_KEY",
                "outlier": _CALM,
            },
            "gemini": {
                "dialect": "gemini",
                "url": "https://generativelanguage.googleapis.com",
                "key_env": "GEMINI_API_KEY",
                "outlier": _CALM,
            },
            "narrow": _provider(limits={"rpm": 4, "high_water": 1}),
        },
        "targets": targets,
        "chains": chains,
        "routes": routes,
        "identity": "keys",
        "tiers": {
            "free": {"requests": "2/h", "upgrade_url": UPGRADE, "priority": "low"},
            "pro": {"requests": "4/h", "tokens": "100000/d"},
            "enterprise": {"tenant": {"requests": {"limit": "3/h", "burst": "2x"}}},
        },
        "queue": {"ttl": "8s", "depth": 6},
    }


@dataclass
class Hook:
    """A webhook that keeps what it is told."""

    url: str
    told: list[Json] = field(default_factory=list)

    def events(self, limit: str) -> list[Json]:
        """Those of a limit."""
        return [one for one in self.told if one["limit"] == limit]


@contextmanager
def webhook() -> Iterator[Hook]:
    """A webhook that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            hook.told.append(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library has it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Hook(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, slots=True)
class Limited:
    """The gateway, on one of the stores."""

    store: str
    gateway: Running
    hook: Hook

    def caller(self, **fields: Any) -> Caller:
        """Somebody new, alone with a key of his own unless `fields` say otherwise."""
        said = {"may_set": ["user", "team", "feature", "session", "priority"], **fields}
        return Caller(self, make(self.gateway, **said)["key"])

    def settled(self) -> None:
        """Wait until nothing is in flight and the store knows of everything that was."""

        def over() -> bool:
            return not gauges(self.gateway, "tollgate_requests_in_flight", "tollgate_limits_behind")

        poll(over, what="the end of all requests")

    def decided(self, limit: str, outcome: str) -> float:
        """How often a limit did that."""
        found = figures(self.gateway)
        return found.sum("tollgate_limits_decisions_total", limit=limit, outcome=outcome)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key."""

    limited: Limited
    key: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def head(self, route: str, **said: str) -> dict[str, str]:
        """The headers of a request on a route, which says of itself what `said` does (user=…)."""
        words = {f"x-tollgate-{name}": one for name, one in said.items()}
        return {**self.bearer, "x-test-route": route, **words}

    def ask(
        self,
        route: str,
        *,
        model: str = "any",
        text: str = "Hello",
        usage: tuple[int, int] = (10, 10),
        max_tokens: int | None = 20,
        script: Mapping[str, Any] | None = None,
        said: Mapping[str, str] | None = None,
        settle: bool = True,
        **body: Any,
    ) -> httpx.Response:
        """A request, of which the provider bills `usage`; waits until it is settled."""
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        told = {"usage": {"input": usage[0], "output": usage[1]}} if script is None else script
        gateway = self.limited.gateway
        answer = gateway.chat(
            model, text, script=told, headers=self.head(route, **(said or {})), **body
        )
        if settle:
            self.limited.settled()
        return answer

    def served(self, route: str, most: int = 12, **more: Any) -> tuple[int, httpx.Response]:
        """How many requests are served before one is refused, and that one's answer."""
        for count in range(most):
            answer = self.ask(route, **more)
            if answer.status_code != 200:
                return count, answer
        raise AssertionError(f"{most} requests and no end: {dict(answer.headers)}")

    def spent(self) -> int:
        """Output tokens that count against the caller on the route `settle`, with nothing in
        flight."""
        answer = self.ask("settle", usage=(0, 0), max_tokens=1)
        assert answer.status_code == 200, answer.text
        return 100_000 - int(answer.headers["x-ratelimit-remaining-tokens"]) - 1


@contextmanager
def limited_gateway(folder: Path, store: str) -> Iterator[Limited]:
    """`embedded`: one worker; `redis`: two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(config(), indent=1))
    with Redis.running(wanted=store == "redis") as redis, webhook() as hook:
        flags = ("--redis", redis.url, "--workers", "2") if redis else ()
        env = {"TOLLGATE_SERVE_ALERT_URL": hook.url}
        with running(folder / "run", path, *flags, env=env) as gateway:
            yield Limited(store, gateway, hook)


def gauges(gateway: Running, *names: str) -> float:
    """The sum of all series of these names. Looked for in the text: it is asked for after each
    request, and a parser takes longer than the gateway."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in gateway.metrics().splitlines()
        if line.startswith(names) and line[0] != "#"
    )


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and the error's code."""
    return answer.status_code, answer.json()["error"]["code"]
