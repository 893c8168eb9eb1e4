"""Load on limits and the queue: who asks when is written down beforehand, and what each client saw
is kept. Tests and benchmarks use the same.

`fire` is an open loop: a request is sent when its time has come, whatever became of those before
it, as callers do who know nothing of each other. `race` is a closed loop: so many at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp

Json = dict[str, Any]

PATIENCE: Final = 60.0
"""Seconds after which a client gives up. None should: that is what the gateway is for."""
SOON: Final = 0.05
"""Seconds between the call of `fire` and the first moment of its plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Requests of one kind, from one caller."""

    name: str
    """What its shots are told apart by: `quiet-1`, `loud`."""
    key: str | None = None
    """The gateway's key. None: none is shown."""
    rate: float = 1.0
    """Requests a second on average, at random moments."""
    begins: float = 0.0
    """Seconds after the start."""
    lasts: float = 1.0
    """Seconds; 0: all at once."""
    count: int | None = None
    """Requests. None: as many as rate and time give."""
    model: str = "main"
    text: str = "Hello"
    max_tokens: int | None = None
    stream: bool = False
    feature: str | None = None
    priority: str | None = None
    user: str | None = None
    deadline: str | None = None
    script: Mapping[str, Any] | None = None
    """How the simulator answers."""
    leaves: float | None = None
    """Seconds after which its clients go away, whatever they have."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there are."""
        return max(1, round(self.rate * self.lasts)) if self.count is None else self.count

    def head(self) -> dict[str, str]:
        """The headers of its requests."""
        said = {
            "x-tollgate-feature": self.feature,
            "x-tollgate-priority": self.priority,
            "x-tollgate-user": self.user,
            "x-tollgate-deadline": self.deadline,
            "authorization": None if self.key is None else f"Bearer {self.key}",
            "x-sim-script": None if self.script is None else json.dumps(self.script),
        }
        found = {name: one for name, one in said.items() if one is not None}
        return {"content-type": "application/json", **found, **self.headers}

    def body(self) -> bytes:
        """What each of them sends."""
        body: Json = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.text}],
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.stream:
            body["stream"] = True
        return json.dumps(body).encode()


@dataclass(slots=True)
class Shot:
    """One request, as its client saw it. Times in seconds."""

    flow: Flow
    at: float
    """Since the start: when it was to be sent."""
    sent: float = 0.0
    """Since the start: when it was."""
    seconds: float = 0.0
    """From there to its end."""
    status: int = 0
    """0: no head came."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: Literal["whole", "left", "cut", "late"] = "cut"
    """`left`: the client went away as planned; `cut`: the connection broke; `late`: no end within
    PATIENCE."""

    @property
    def served(self) -> bool:
        """A provider answered, to the end."""
        return self.status == 200 and self.ended == "whole"

    @property
    def code(self) -> str:
        """The error's code; empty if there is none."""
        if self.status in (0, 200) or not self.body:
            return ""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return "unreadable"

    @property
    def waited(self) -> float:
        """Seconds in the queue, as the gateway says; 0 for who did not wait."""
        return float(self.headers.get("x-tollgate-queue-wait", "0"))

    @property
    def position(self) -> int | None:
        """In the queue, when it began to wait. None: it did not."""
        said = self.headers.get("x-tollgate-queue-position")
        return None if said is None else int(said)

    @property
    def retry_after(self) -> int | None:
        """Seconds."""
        said = self.headers.get("retry-after")
        return None if said is None else int(said)


def session() -> aiohttp.ClientSession:
    """Connections without bound; nothing is decoded, no cookies are kept."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def fire(
    url: str,
    flows: Sequence[Flow],
    *,
    seed: int = 5,
    meanwhile: Sequence[tuple[float, Callable[[], Any]]] = (),
) -> list[Shot]:
    """Send all requests of all flows, each at its time, to a gateway (`http://127.0.0.1:10000`),
    and wait for their ends. The same seed gives the same times.

    `meanwhile`: what else is to happen, with its time in seconds after the start; called in a
    thread.
    """
    shots = plan(flows, seed)
    async with session() as client:
        start = time.monotonic() + SOON
        others = [asyncio.create_task(_later(start + when, what)) for when, what in meanwhile]
        tasks = []
        for shot in shots:
            await _until(start + shot.at)
            tasks.append(asyncio.create_task(_shoot(client, url, shot, start)))
        await asyncio.gather(*tasks)
        await asyncio.gather(*others)
    return shots


def plan(flows: Iterable[Flow], seed: int) -> list[Shot]:
    """The requests in the order of their times."""
    draw = random.Random(seed)
    shots = [
        Shot(flow, flow.begins + flow.lasts * draw.random())
        for flow in flows
        for _ in range(flow.requests)
    ]
    return sorted(shots, key=lambda one: one.at)


async def race(
    url: str, flow: Flow, *, at_once: int, seconds: float = 0.0, count: int | None = None
) -> list[Shot]:
    """`at_once` clients that each send a flow's next request as soon as the last one is over, for
    so many seconds, or until `count` have been sent together."""
    found: list[Shot] = []
    start = time.monotonic()
    numbers = itertools.count()

    async def client(session_: aiohttp.ClientSession) -> None:
        while True:
            now = time.monotonic() - start
            over = now >= seconds if count is None else next(numbers) >= count
            if over:
                return
            shot = Shot(flow, now)
            found.append(shot)
            await _shoot(session_, url, shot, start)

    async with session() as opened:
        await asyncio.gather(*(client(opened) for _ in range(at_once)))
    return found


async def _shoot(client: aiohttp.ClientSession, url: str, shot: Shot, start: float) -> None:
    flow = shot.flow
    began = time.monotonic()
    shot.sent = began - start
    patience = PATIENCE if flow.leaves is None else flow.leaves
    try:
        async with (
            asyncio.timeout(patience),
            client.post(
                f"{url}/v1/chat/completions", data=flow.body(), headers=flow.head()
            ) as answer,
        ):
            shot.status, shot.headers = answer.status, answer.headers
            shot.body = await answer.read()
            shot.ended = "whole"
    except TimeoutError:
        shot.ended = "late" if flow.leaves is None else "left"
    except aiohttp.ClientError:
        shot.ended = "cut"
    finally:
        shot.seconds = time.monotonic() - began


async def _until(moment: float) -> None:
    pause = moment - time.monotonic()
    if pause > 0:
        await asyncio.sleep(pause)


async def _later(moment: float, what: Callable[[], Any]) -> None:
    await _until(moment)
    await asyncio.to_thread(what)


# --- figures ------------------------------------------------------------------------------


def quantile(values: Iterable[float], share: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def waits(shots: Iterable[Shot]) -> list[float]:
    """Seconds in the queue of all that were served."""
    return [one.waited for one in shots if one.served]


def outcomes(shots: Iterable[Shot]) -> Counter[str]:
    """How many were `served`, refused (by code), or ended otherwise."""
    return Counter(
        "served" if one.served else one.code or f"{one.status} {one.ended}" for one in shots
    )


# --- the queue's day ----------------------------------------------------------------------

SLOTS: Final = 4
"""Requests that the provider serves at once."""
SERVICE: Final = 0.25
"""Seconds that it needs for each: 16 requests a second altogether."""
CLASSES: Final = {"high": 3, "normal": 2, "low": 1}
"""Turns of each class, and requests of each of every six that a tenant sends: so no class is short
of its turns more than another, and who is pushed aside is pushed by a tenant."""
QUIET: Final = ("quiet-1", "quiet-2", "quiet-3", "quiet-4")
LOUD: Final = "loud"
TIMES_LOUD: Final = 20
USUAL: Final = 2.0
"""Requests a second of a tenant, when nothing is the matter."""
BURST: Final = 10
"""Times the usual."""
BURST_LASTS: Final = 1.0
FEATURES: Final = ("chatbot", "search", "mail", "drafts")
BATCH: Final = "batch"

QUEUE_CONFIG: Final = f"""
providers:
  openai: {{{{dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY, limits: {{{{concurrent: {SLOTS}, high_water: 1}}}}, outlier: {{{{consecutive_5xx: 1000000}}}}}}}}
  local: {{{{dialect: openai, url: http://127.0.0.1:8000, outlier: {{{{consecutive_5xx: 1000000}}}}}}}}
targets:
  gpt: {{{{provider: openai, model: gpt-4o-mini, timeout: 20s}}}}
  llama: {{{{provider: local, model: llama-3.1-8b-instruct, timeout: 20s, price: {{{{input: "0", output: "0"}}}}}}}}
chains:
  main: [gpt]
  free: [llama]
routes:
  - name: short
    match: {{{{headers: {{{{x-test-route: short}}}}}}}}
    models: {{{{"*": main}}}}
    ttl: {{short}}s
  - name: named
    match: {{{{headers: {{{{x-test-route: named}}}}}}}}
    models: {{{{"*": main}}}}
    identity: {{{{header: {{{{headers: {{{{user: x-auth-user, tenant: x-auth-tenant}}}}}}}}}}}}
  - name: counted
    match: {{{{headers: {{{{x-test-route: counted}}}}}}}}
    models: {{{{"*": free}}}}
    identity: {{{{header: {{{{headers: {{{{user: x-auth-user, tenant: x-auth-tenant}}}}}}}}}}}}
    limits: {{{{user: {{{{requests: 1000000/m, output_tokens: 1000000/d}}}}}}}}
  - name: everything
    models: {{{{"*": main}}}}
queue:
  classes: [{", ".join(CLASSES)}]
  default: normal
  between: weighted
  weights: {{{{{", ".join(f"{name}: {turns}" for name, turns in CLASSES.items())}}}}}
  ttl: {{ttl}}s
  depth: 2000
  class_depth: 1000
  tenant_depth: {{tenant_depth}}
  feature_depth: {{feature_depth}}
identity: keys
"""  # noqa: E501 - a provider a line


def queue_config(
    *, ttl: float = 20, short: float = 3, tenant_depth: int = 150, feature_depth: int = 25
) -> str:
    """gateway.yaml of one provider that takes SLOTS requests at once, and of one that takes any
    number. Times to live in seconds.

    Routes, told by `x-test-route`: `short`, which has a time to live of its own; `named`, whose
    callers say in `x-auth-user` and `x-auth-tenant` who they are; `counted`, the same with the
    other provider (chain `free`), where a user's requests and output tokens are counted."""
    return QUEUE_CONFIG.format(
        ttl=ttl, short=short, tenant_depth=tenant_depth, feature_depth=feature_depth
    )


def tenants(
    keys: Mapping[str, str],
    *,
    loud: bool,
    lasts: float = BURST_LASTS,
    headers: Mapping[str, str] | None = None,
) -> list[Flow]:
    """A tenfold burst of five tenants in three classes, or of the four quiet ones without the one
    that sends twenty times as much as each of them. `keys`: by tenant; `headers`: beside their
    own."""
    flows = []
    for tenant in (*QUIET, *((LOUD,) if loud else ())):
        often = USUAL * BURST * (TIMES_LOUD if tenant == LOUD else 1)
        for class_, share in CLASSES.items():
            flows.append(
                Flow(
                    name=tenant,
                    key=keys[tenant],
                    rate=often * share / sum(CLASSES.values()),
                    lasts=lasts,
                    priority=class_,
                    max_tokens=20,
                    script={"latency": SERVICE},
                    headers=headers or {},
                )
            )
    return flows


def features(key: str, *, batch: bool, lasts: float = BURST_LASTS) -> list[Flow]:
    """A burst of four features of one tenant, all in one class, with or without a batch job that
    sends twenty times as much as each of them."""
    return [
        Flow(
            name=feature,
            key=key,
            rate=USUAL * BURST * (TIMES_LOUD if feature == BATCH else 1),
            lasts=lasts,
            feature=feature,
            max_tokens=20,
            script={"latency": SERVICE},
        )
        for feature in (*FEATURES, *((BATCH,) if batch else ()))
    ]


def quiet(shots: Iterable[Shot]) -> list[Shot]:
    """Those of the quiet tenants, or of the features that are no batch job."""
    return [one for one in shots if one.flow.name not in (LOUD, BATCH)]


QUEUE_KEYS: Final[Mapping[str, Json]] = {
    tenant: {"tenant": tenant, "may_set": ["feature", "priority", "user"]}
    for tenant in (*QUIET, LOUD)
}
"""Fields of the keys that these callers need (`POST /keys`), by tenant."""
