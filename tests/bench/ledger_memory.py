"""The service's memory over many requests of many users."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.bench.ledger_arms import CONNECTIONS, SQLITE, arms, measure
from tests.bench.processes import Generator, rss_mb

WARM: Final = 5_000
"""Requests before the first look; streams among them as later, since answers in many small pieces
take buffers of their own."""
SLICE: Final = 10_000
"""Requests between two looks; each slice has users of its own."""
PATIENCE: Final = 600.0
"""Seconds for a slice; on a machine that does nothing else it takes half a minute."""
USERS: Final = 1_000
"""Users of a slice."""
STREAMS: Final = 5
"""One slice of so many asks for streams."""


async def run(folder: Path, requests: int) -> dict[str, Any]:
    """`requests` through Envoy and both filters, with keys and the embedded store."""
    seen = list[float]()
    failed = done = 0
    async with arms(folder, [SQLITE]) as (arm,):
        generator = await Generator.start()
        try:
            number = 0
            while done < requests + WARM:
                users = range(number * USERS, (number + 1) * USERS)
                turns = _turns(number, min(SLICE, requests + WARM - done))
                for kind, wanted in turns:
                    each = -(-wanted // CONNECTIONS)
                    turn = await measure(arm, generator, kind, users, each=each, seconds=PATIENCE)
                    # What the simulator keeps of each request is no memory of the service's, but
                    # the machine's all the same.
                    await arm.gateway.forget()
                    done += turn.requests
                    failed += turn.failed
                number += 1
                seen.append(rss_mb(arm.gateway.service))
                said = f"after {done} requests ({turn.rps:.0f}/s, {turns[-1][0]})"
                print(f"{said}: {seen[-1]:.1f} MB", flush=True)
                if not turn.requests:
                    break
            kept = await _records(arm.gateway.admin)
        finally:
            await generator.stop()
    print(
        f"{done} requests of {number * USERS} users, {failed} failed; {kept} records in the ledger"
    )
    return {
        "rss_start_mb": round(seen[0], 1),
        "rss_end_mb": round(seen[-1], 1),
        "rss_most_mb": round(max(seen), 1),
        "rss_requests": done,
        "rss_failed": failed,
        "recorded": kept,
    }


def _turns(number: int, wanted: int) -> list[tuple[str, int]]:
    """Which requests a slice is made of, and how many."""
    if number == 0:
        return [("chat", WARM - WARM // STREAMS), ("stream", WARM // STREAMS)]
    return [("stream" if number % STREAMS == STREAMS - 1 else "chat", wanted)]


async def _records(admin: str) -> int:
    """How many requests the ledger knows of."""
    async with (
        aiohttp.ClientSession(admin, raise_for_status=True) as session,
        session.get("/usage", params={"since": "1d"}) as response,
    ):
        requests: int = (await response.json())["total"]["requests"]
        return requests
