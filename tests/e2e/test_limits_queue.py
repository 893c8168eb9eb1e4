"""The queue on four workers: a tenfold burst of five tenants in three classes, one of them twenty
times as loud; workers and Redis killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import psutil
import pytest

from extproc.state.counters import BEAT, LEASE
from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.figures import figures
from tests.e2e.ledger_books import make
from tests.e2e.ledger_processes import Redis
from tests.e2e.limits_load import (
    LOUD,
    QUEUE_KEYS,
    QUIET,
    SERVICE,
    SLOTS,
    Flow,
    Shot,
    features,
    fire,
    outcomes,
    quantile,
    queue_config,
    quiet,
    tenants,
    waits,
)

pytestmark = pytest.mark.e2e

WORKERS = 4
SHORT = 3.0
"""Seconds that the route `short` lets wait."""
TIMES = 1.5
"""What the quiet ones' p95 wait may grow by."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A gateway of four workers with one small provider."""

    gateway: Running
    redis: Redis
    keys: dict[str, str]

    def waiting(self) -> float:
        return figures(self.gateway).sum("tollgate_queue_waiting")

    def at_rest(self, within: float = 30.0) -> None:
        """Wait until nobody waits and nothing is held or told."""

        def over() -> bool:
            found = figures(self.gateway)
            names = ("queue_waiting", "requests_in_flight", "limits_held", "limits_behind")
            return not any(found.sum(f"tollgate_{name}") for name in names)

        poll(over, within=within, what="a queue at rest")

    def workers(self) -> list[psutil.Process]:
        """The processes that decide, without their parent."""
        return self.gateway.part("service").children()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    folder = tmp_path_factory.mktemp("busy")
    config = folder / "gateway.yaml"
    config.write_text(queue_config(short=SHORT))
    with Redis.running() as redis:
        assert redis is not None
        flags = ("--redis", redis.url, "--workers", str(WORKERS))
        with running(folder / "run", config, *flags) as gateway:
            keys = {name: make(gateway, **fields)["key"] for name, fields in QUEUE_KEYS.items()}
            yield Busy(gateway, redis, keys)


@pytest.fixture
def busy(started: Busy) -> Busy:
    started.at_rest()
    started.gateway.forget()
    return started


def at_once(asked: list[Json]) -> int:
    """How many requests the provider had at once at most."""
    moments = [(one["time"], 1) for one in asked]
    moments += [(one["time"] + one["seconds"], -1) for one in asked]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def told(shots: list[Shot]) -> None:
    """Everybody has an answer, and who is not served knows why and when to come again."""
    assert not [one for one in shots if one.ended != "whole"], outcomes(shots)
    assert {one.status for one in shots} <= {200, 503}, outcomes(shots)
    for one in shots:
        if one.code in ("queue_full", "queue_timeout", "displaced", "limits_unavailable"):
            assert (one.retry_after or 0) >= 1


def p95(shots: list[Shot]) -> float:
    return quantile(waits(quiet(shots)), 0.95)


async def test_the_quiet_do_not_wait_for_the_loud(busy: Busy) -> None:
    gateway = busy.gateway
    alone = await fire(gateway.root, tenants(busy.keys, loud=False))
    assert outcomes(alone).keys() == {"served"}
    busy.at_rest()
    gateway.forget()
    both = await fire(gateway.root, tenants(busy.keys, loud=True))
    told(both)
    found = outcomes(quiet(both))
    assert found.keys() == {"served"}, found
    loud = outcomes(one for one in both if one.flow.name == LOUD)
    assert loud.keys() == {"served", "queue_full"}, loud
    # Nothing is lost, and nothing is asked twice; the provider's ceiling holds.
    asked = gateway.asked()
    assert len(asked) == outcomes(both)["served"]
    assert at_once(asked) <= SLOTS
    assert p95(both) <= TIMES * p95(alone), (p95(both), p95(alone))
    # Between classes it goes by weight, within one by turns.
    for one in QUIET:
        mine = [shot for shot in both if shot.flow.name == one]
        assert p95(mine) <= TIMES * p95(alone) * 1.2
    metrics = figures(gateway)
    assert metrics.sum("tollgate_queue_wait_seconds_count") > 100
    assert metrics.sum("tollgate_queue_dropped_total", reason="full") == loud["queue_full"]


async def test_a_batch_feature_does_not_push_the_chatbot_aside(busy: Busy) -> None:
    """Of one tenant, in one class."""
    key = busy.keys[QUIET[0]]
    alone = await fire(busy.gateway.root, features(key, batch=False))
    assert outcomes(alone).keys() == {"served"}
    busy.at_rest()
    both = await fire(busy.gateway.root, features(key, batch=True))
    told(both)
    chat_alone, chat = (
        [one for one in shots if one.flow.feature == "chatbot"] for shots in (alone, both)
    )
    assert outcomes(chat).keys() == {"served"}
    assert p95(chat) <= TIMES * p95(chat_alone), (p95(chat), p95(chat_alone))


async def test_a_worker_that_is_killed_loses_nobody(busy: Busy) -> None:
    """While it holds slots and waiters: its clients are told, the others' turns come, who waits too
    long leaves, and what it held is there again after its lease."""
    victim = busy.workers()[0]

    def kill() -> None:
        assert busy.waiting() > 0
        victim.kill()

    flows = tenants(busy.keys, loud=True, headers={"x-test-route": "short"})
    shots = await fire(busy.gateway.root, flows, meanwhile=[(0.7, kill)])
    told(shots)
    found = outcomes(shots)
    # Those that wait beside the dead one's slots have the others: no turn goes to nobody.
    later = [one for one in shots if one.served and one.sent + one.seconds > 2]
    assert len(later) >= 6, found
    assert found["queue_timeout"] > 0
    assert found["service_unavailable"] > 0
    assert max(one.seconds for one in shots) < SHORT + 4 * SERVICE + 2
    # After the lease all slots are free, and nobody waits any more.
    poll(lambda: len(busy.workers()) == WORKERS, within=LEASE, what="a new worker")
    poll(
        lambda: figures(busy.gateway).sum("tollgate_limits_processes") == WORKERS,
        within=LEASE + 4 * BEAT,
        what="the end of the dead one's lease",
    )
    assert busy.waiting() == 0
    one = Flow(name="after", key=busy.keys[QUIET[0]], count=SLOTS, lasts=0,
               script={"latency": 0.3})  # fmt: skip
    after = await fire(busy.gateway.root, [one])
    assert outcomes(after) == {"served": SLOTS}
    assert waits(after) == [0.0] * SLOTS


async def test_redis_is_killed_and_comes_back_in_mid_load(busy: Busy) -> None:
    """Meanwhile each worker lets through its share; in the end all that was used is counted."""
    gateway, redis = busy.gateway, busy.redis
    script = {"latency": 0.05, "usage": {"input": 1, "output": 7}}
    counted = Flow(name="counted", rate=20, lasts=6, model="free", max_tokens=10, script=script,
                   headers={"x-test-route": "counted", "x-auth-user": "ann"})  # fmt: skip
    waiters = [
        Flow(name=one, rate=5, lasts=6, script={"latency": SERVICE},
             headers={"x-test-route": "named", "x-auth-tenant": one, "x-auth-user": one})
        for one in QUIET
    ]  # fmt: skip
    shots = await fire(
        gateway.root,
        [counted, *waiters],
        meanwhile=[(1.5, redis.kill), (3.5, redis.start)],
    )
    told(shots)
    assert figures(gateway).sum("tollgate_limits_away_total") > 0
    for before, after in pairwise((0.0, 1.4, 3.4, 6.0)):
        served = [one for one in shots if before <= one.at < after and one.served]
        assert len(served) > (after - before) * 10, (before, outcomes(shots))
    busy.at_rest()
    billed = sum(one["billed"]["output"] for one in gateway.asked() if one["port"] == "local")
    assert billed >= 7 * 60
    headers = {**counted.head(), "x-sim-script": '{"usage": {"input": 0, "output": 0}}'}

    def left() -> int:
        answer = gateway.chat("free", headers=headers, max_tokens=1)
        assert answer.status_code == 200, answer.text
        return 1_000_000 - int(answer.headers["x-ratelimit-remaining-tokens"]) - 1

    poll(lambda: left() == billed, within=15, what=f"{billed} tokens that are counted")
