"""A gateway with a cache of every kind, each on a route of its own, and those who ask there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx2 as httpx

from tests.e2e.conftest import Json, poll, running
from tests.e2e.ledger_processes import Redis
from tests.e2e.somebody import Somebody, new_key

CACHE: Final = "x-tollgate-cache"
PRICE: Final = {"input": "1", "output": "2"}
"""Dollars for a million tokens."""

ROUTES: Final[Mapping[str, Json]] = {
    "off": {"cache": "off"},
    "exact": {"cache": "exact"},
    "semantic": {"cache": {"mode": "semantic", "audit": 0}},
    "audited": {"cache": {"mode": "semantic", "audit": 1}},
    "by-score": {"cache": {"mode": "semantic", "audit": 0, "verifier": "threshold"}},
    "strict": {"cache": {"mode": "semantic", "audit": 0, "strict": True}},
    "observe": {"cache": {"mode": "observe"}},
    "observed-route": {"mode": "observe", "cache": {"mode": "semantic"}},
    "short": {"cache": {"mode": "exact", "ttl": {"default": "2s", "dynamic": "1s"}}},
    "kinds": {
        "cache": {
            "mode": "exact",
            "kinds": {"billing": {"words": ["invoice", "refund"]}},
            "ttl": {"kinds": {"billing": "3s"}},
        }
    },
    "user": {"cache": {"mode": "exact", "scope": "user"}},
    "session": {"cache": {"mode": "exact", "scope": "session"}},
    "shared": {"cache": {"mode": "exact", "scope": "shared"}},
    "may-share": {"cache": {"mode": "exact", "allow_scope": "shared"}},
    "tagged": {"cache": {"mode": "exact", "tags": ["handbook"]}},
    "small": {"cache": {"mode": "exact", "max_entry_bytes": 2000}},
    "cold": {"cache": {"mode": "exact", "temperature_max": 0.3}},
    "tools": {"cache": {"mode": "exact", "tool_calls": True}},
    "own-keys": {"cache": {"mode": "exact", "custom_keys": True}},
    "alone": {"cache": {"mode": "exact", "wait": 0}},
    "hasty": {"cache": {"mode": "exact", "wait": "1s"}},
    "conversation": {"cache": {"mode": "semantic", "audit": 0, "embed": "conversation"}},
    "guarded": {"cache": {"mode": "semantic", "audit": 0}, "guard": {}},
    "guarded-both": {"cache": "exact", "guard": {"direction": "both"}},
    "guarded-flag": {"cache": "exact", "guard": {"actions": {"default": "flag"}}},
    "limited": {"cache": "exact", "limits": {"key": {"requests": "2/h", "tokens": "1000/d"}}},
    "judged": {"cache": {"mode": "semantic", "audit": 1, "judge": "judge"}},
    "open": {"cache": "exact", "identity": "open"},
    "open-off": {"cache": "off", "identity": "open"},
    "everything": {"cache": "exact"},
}
_CALM: Final = {"consecutive_5xx": 1_000_000}
"""One test's failures must not take a provider out for the next."""


def config() -> Json:
    """gateway.yaml."""
    providers: Json = {
        "openai": {"dialect": "openai", "url": "https://api.openai.com", "key_env": "OPENAI_KEY"},
        "anthropic": {
            "dialect": "anthropic", "url": "https://api.anthropic.com", "key_env": "ANTHROPIC_KEY",
        },
        "gemini": {
            "dialect": "gemini", "url": "https://generativelanguage.googleapis.com",
            "key_env": "GEMINI_KEY",
        },
    }  # fmt: skip
    targets: Json = {
        "gpt": {"provider": "openai", "model": "gpt-4o-mini", "price": PRICE},
        "gpt-five": {"provider": "openai", "model": "gpt-5", "price": PRICE},
        "instruct": {"provider": "openai", "model": "gpt-3.5-turbo-instruct", "price": PRICE},
        "claude": {"provider": "anthropic", "model": "claude-sonnet-4-5", "price": PRICE},
        "gemini": {"provider": "gemini", "model": "gemini-2.5-flash", "price": PRICE},
        "vectors": {"provider": "openai", "model": "text-embedding-3-small", "price": PRICE},
    }
    for one in providers.values():
        one["outlier"] = _CALM
    for one in targets.values():
        one["timeout"] = "10s"
    routes: list[Json] = []
    for name, route in ROUTES.items():
        match = {} if name == "everything" else {"match": {"headers": {"x-test-route": name}}}
        routes.append({"name": name, **match, "chain": "walk", **route})
    return {
        "providers": providers,
        "targets": targets,
        "chains": {"walk": ["gpt", "claude"], "judge": ["gemini"]},
        "routes": routes,
        "identity": "keys",
    }


@dataclass(frozen=True, slots=True)
class Cached(Somebody):
    """The gateway, and somebody who may ask there."""

    route: ClassVar[str] = "exact"

    def chat(
        self,
        text: str,
        route: str = "exact",
        *,
        model: str = "gpt",
        said: str | None = None,
        script: Json | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """A chat completion; `said` is what the model says."""
        told = script or ({"text": said} if said is not None else None)
        head = {**self.head(route), **(headers or {})}
        return self.gateway.chat(model, text, script=told, headers=head, **more)

    def told(self, text: str, route: str = "exact", **more: Any) -> str:
        """Where the answer is from: the first word of the header."""
        answer = self.chat(text, route, **more)
        assert answer.status_code == 200, answer.text
        return where(answer)

    def warm(self, text: str, route: str = "exact", **more: Any) -> httpx.Response:
        """Ask until the answer is from the cache: it is put there a moment after it came."""

        def hit() -> httpx.Response | None:
            answer = self.chat(text, route, **more)
            assert answer.status_code == 200, answer.text
            return answer if where(answer) == "hit" else None

        found: httpx.Response = poll(hit, what=f"a hit for {text!r}")
        return found

    def hit(self, text: str, route: str = "exact", **more: Any) -> httpx.Response:
        """The answer out of the cache, which has it: nobody else is asked. Asked again where a busy
        machine takes longer for a look than it is given."""
        head = {**more.pop("headers", {})}
        said = head.get(CACHE)
        head[CACHE] = f"{said}, only-if-cached" if said else "only-if-cached"

        def look() -> httpx.Response | None:
            answer = self.chat(text, route, headers=head, **more)
            assert answer.status_code in (200, 504), answer.text
            return answer if answer.status_code == 200 else None

        found: httpx.Response = poll(look, within=3, what=f"{text!r} in the cache")
        assert where(found) == "hit"
        return found

    def asked(self) -> int:
        """How often a provider was asked since the simulator forgot."""
        return len(self.gateway.asked())


def where(answer: httpx.Response) -> str:
    """`hit`, `semantic`, `miss` or `bypass`."""
    return answer.headers[CACHE].split(";")[0]


def parts(answer: httpx.Response) -> dict[str, str]:
    """The rest of the header: score, age, id."""
    _, *rest = answer.headers[CACHE].split("; ")
    return dict(one.split("=", 1) for one in rest)


def fresh(text: str = "Question") -> str:
    """A text that nobody has asked."""
    return f"{text} {time.time_ns()}?"


@contextmanager
def cached_gateway(
    folder: Path,
    *flags: str,
    store: str = "embedded",
    change: Json | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Cached]:
    """`embedded`: one worker; `redis`: two. `change` goes over the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({**config(), **(change or {})}, indent=1))
    with Redis.running(wanted=store == "redis") as redis:
        shared = ("--redis", redis.url, "--workers", "2") if redis else ()
        with running(folder / "run", path, *shared, *flags, env=env) as gateway:
            yield Cached(gateway, new_key(gateway), redis)
