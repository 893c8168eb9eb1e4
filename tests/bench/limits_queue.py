"""What the queue does for the quiet when somebody is loud: 4 workers, one Redis, a provider that
takes a few requests at once, bursts far above that.

The load is the one of the end-to-end tests (`tests.e2e.limits_load`): each burst twice, without
the loud tenant (or the batch job) and with it, at the same random moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import msgspec

from tests.bench.gateway import Running, running
from tests.bench.ledger_arms import redis_server
from tests.bench.limits_cost import stack
from tests.bench.report import aligned
from tests.e2e import limits_load as load

WORKERS: Final = 4
SERVICE: Final = 0.3
"""Seconds that the provider takes for a request."""
LASTS: Final = 1.5
"""Seconds of a burst."""
TTL: Final = 16.0
"""Seconds that a request may wait: longer than any quiet one has to."""
FEATURE_DEPTH: Final = 100
TENANT_DEPTH: Final = 500
"""More than one of its features may have: a batch job must not fill its tenant's part."""
TENANTS, FEATURES = "tenants", "features"


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """One burst, of those who are not loud. Seconds."""

    p50: float
    """In the queue."""
    p95: float
    """One that was dropped counts as if it had waited all the time it had."""
    requests: int
    served: int
    dropped: int
    """Left or never entered the queue."""
    all_dropped: int
    """The loud one's among them."""
    broken: int
    """Neither served nor refused."""


async def _keys(gateway: Running) -> dict[str, str]:
    found = {}
    async with aiohttp.ClientSession(gateway.admin, raise_for_status=True) as session:
        for tenant, fields in load.QUEUE_KEYS.items():
            async with session.post("/keys", json=fields) as response:
                found[tenant] = str((await response.json())["key"])
    return found


def _flows(kind: str, keys: Mapping[str, str], *, loud: bool) -> list[load.Flow]:
    if kind == TENANTS:
        flows = load.tenants(keys, loud=loud, lasts=LASTS)
    else:
        flows = load.features(keys[load.QUIET[0]], batch=loud, lasts=LASTS)
    return [replace(one, script={"latency": SERVICE}) for one in flows]


def _burst(shots: Sequence[load.Shot]) -> Burst:
    quiet = load.quiet(shots)
    dropped = sum(one.status in (429, 503) for one in quiet)
    waits = [*load.waits(quiet), *dropped * [TTL]]
    return Burst(
        p50=load.quantile(waits, 0.5),
        p95=load.quantile(waits, 0.95),
        requests=len(quiet),
        served=sum(one.served for one in quiet),
        dropped=dropped,
        all_dropped=sum(one.status in (429, 503) for one in shots),
        broken=sum(not one.served and one.status not in (429, 503) for one in shots),
    )


Found = dict[tuple[str, bool], list[Burst]]
"""By what is loud, and whether it is."""


def ratio(found: Found, kind: str) -> float:
    """The median of the rounds' p95 with the loud one, over that without it."""
    pairs = zip(found[kind, True], found[kind, False], strict=True)
    return median(loud.p95 / alone.p95 for loud, alone in pairs)


def exact() -> float:
    """What the ratio is when shares are exact. A wait is what the work before a request takes, less
    the time of its arrival; the last of the quiet wait for all of their own work, and with a fifth
    beside them for 5/4 of it."""
    asked = len(load.QUIET) * load.USUAL * load.BURST
    times = asked * SERVICE / load.SLOTS
    share = 1 + 1 / len(load.QUIET)
    return (times * share - 1) / (times - 1)


def table(found: Found) -> str:
    """Medians."""
    rows = [["burst", "quiet requests", "served", "dropped", "p50 s", "p95 s", "ratio",
             "dropped of all"]]  # fmt: skip
    said = {
        (TENANTS, False): "four quiet tenants",
        (TENANTS, True): "and one 20 times as loud",
        (FEATURES, False): "four features",
        (FEATURES, True): "and a batch job",
    }
    for (kind, loud), name in said.items():
        all_ = found[kind, loud]
        rows.append(
            [
                *(name, f"{median(one.requests for one in all_):.0f}"),
                f"{median(one.served for one in all_):.0f}",
                f"{median(one.dropped for one in all_):.0f}",
                f"{median(one.p50 for one in all_):.2f}",
                f"{median(one.p95 for one in all_):.2f}",
                f"{ratio(found, kind):.2f}" if loud else "",
                f"{median(one.all_dropped for one in all_):.0f}",
            ]
        )
    return aligned(rows)


def _config(folder: Path) -> Path:
    folder.mkdir(parents=True)
    config = folder / "queue.yaml"
    config.write_text(
        load.queue_config(ttl=TTL, tenant_depth=TENANT_DEPTH, feature_depth=FEATURE_DEPTH)
    )
    return config


async def run(folder: Path, rounds: int) -> dict[str, Any]:
    """Send the bursts and print; part of the JSON object."""
    config = _config(folder)
    found: Found = {}
    async with (
        redis_server(folder) as (url, _),
        running(folder / "g", config, stack(url, WORKERS)) as gateway,
    ):
        keys = await _keys(gateway)
        at = f"http://127.0.0.1:{gateway.port}"
        for number in range(rounds):
            for kind in (TENANTS, FEATURES):
                # Each round the other one first: a machine that gets slower favours nobody.
                for loud in (False, True) if number % 2 == 0 else (True, False):
                    shots = await load.fire(at, _flows(kind, keys, loud=loud), seed=number)
                    found.setdefault((kind, loud), []).append(_burst(shots))
    print(f"\n{table(found)}\n\nExact shares: {exact():.2f}\n")
    broken = sum(one.broken for all_ in found.values() for one in all_)
    if broken:
        print(f"{broken} requests were neither served nor refused")
    return {
        "quiet_p95_ratio": round(ratio(found, TENANTS), 3),
        "chatbot_p95_ratio": round(ratio(found, FEATURES), 3),
        "exact_p95_ratio": round(exact(), 3),
        "queue_broken": broken,
        "queue": {
            f"{kind}_{'loud' if loud else 'alone'}": {
                field: round(median(getattr(one, field) for one in all_), 3)
                for field in ("p50", "p95", "requests", "served", "dropped", "all_dropped")
            }
            for (kind, loud), all_ in found.items()
        },
    }
