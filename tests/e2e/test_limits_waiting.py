"""The queue through Envoy, on both stores: a provider that takes one request at a time, and who
waits for it. And what a restart leaves of the counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.conftest import poll
from tests.e2e.figures import figures
from tests.e2e.ledger_processes import Service, gone
from tests.e2e.limits_gateways import Caller, Limited, code, gauges, limited_gateway

pytestmark = pytest.mark.e2e

DEPTH = 6
"""As limits_gateways has it."""
POSITION = "x-tollgate-queue-position"
WAIT = "x-tollgate-queue-wait"


def waiting(limited: Limited) -> float:
    """How many wait, as the metrics say."""
    return gauges(limited.gateway, "tollgate_queue_waiting")


def dropped(limited: Limited, reason: str) -> float:
    found = figures(limited.gateway)
    return found.sum("tollgate_queue_dropped_total", reason=reason)


class Line:
    """Requests that are sent one after the other, each as soon as the one before it waits."""

    def __init__(self, limited: Limited, pool: ThreadPoolExecutor) -> None:
        self._limited = limited
        self._pool = pool

    def ask(self, caller: Caller, route: str = "queue", **more: Any) -> Future[httpx.Response]:
        """Send one that finds the slot free."""
        return self._pool.submit(caller.ask, route, settle=False, **more)

    def occupy(self, caller: Caller, seconds: float) -> Future[httpx.Response]:
        """Take the slot for so long."""
        limited = self._limited
        limited.gateway.forget()
        held = self.ask(caller, script={"latency": seconds}, text="occupies")
        poll(lambda: limited.gateway.received(status=None), what="a request in flight")
        return held

    def join(self, caller: Caller, route: str = "queue", **more: Any) -> Future[httpx.Response]:
        """Send one that has to wait, and return when it does."""
        before = waiting(self._limited)
        asked = self.ask(caller, route, **more)
        poll(lambda: waiting(self._limited) > before, what="one more that waits")
        return asked


@pytest.fixture
def line(limited: Limited) -> Iterator[Line]:
    poll(lambda: waiting(limited) == 0, what="an empty queue")
    with ThreadPoolExecutor(DEPTH + 4) as pool:
        yield Line(limited, pool)
    limited.settled()


def order(limited: Limited) -> list[str]:
    """The prompts that the provider got, in order."""
    return [one["body"]["messages"][0]["content"] for one in limited.gateway.asked()]


def test_in_order(limited: Limited, line: Line) -> None:
    caller = limited.caller()
    slow = {"latency": 0.2}
    held = line.occupy(caller, 1.0)
    asked = [line.join(caller, text=f"{number}", script=slow) for number in range(3)]
    answers = [one.result() for one in asked]
    assert {one.status_code for one in (held.result(), *answers)} == {200}
    assert order(limited) == ["occupies", "0", "1", "2"]
    assert [one.headers[POSITION] for one in answers] == ["1", "2", "3"]
    waits = [float(one.headers[WAIT]) for one in answers]
    assert all(0 < one < 2.0 for one in waits)
    assert POSITION not in held.result().headers
    assert WAIT not in held.result().headers
    assert figures(limited.gateway).sum("tollgate_queue_wait_seconds_count") >= 3


def test_higher_classes_go_first_and_a_tier_has_one(limited: Limited, line: Line) -> None:
    """By header as far as the caller may; by route; by tier (`free` is low)."""
    plain, free = limited.caller(), limited.caller(tier="free")
    meek = limited.caller(may_set=["user"])
    held = line.occupy(plain, 1.5)
    asked = [
        line.join(free, text="tier low"),
        line.join(plain, "queue-low", text="route low"),
        line.join(meek, text="may not", said={"priority": "high"}),
        line.join(plain, text="plain"),
        line.join(plain, text="high", said={"priority": "high"}),
    ]
    assert {one.result().status_code for one in (held, *asked)} == {200}
    assert order(limited)[1:] == ["high", "may not", "plain", "tier low", "route low"]


def test_tenants_take_turns(limited: Limited, line: Line) -> None:
    """And features of one tenant, too."""
    number = time.monotonic_ns()
    loud, shy = (limited.caller(tenant=f"{one}-{number}") for one in ("loud", "shy"))
    held = line.occupy(loud, 1.5)
    asked = [line.join(loud, text=f"loud {one}", said={"feature": "batch"}) for one in range(3)]
    asked.append(line.join(loud, text="loud chat", said={"feature": "chat"}))
    asked.append(line.join(shy, text="shy"))
    assert {one.result().status_code for one in (held, *asked)} == {200}
    got = order(limited)[1:]
    assert got.index("shy") <= 1
    assert got.index("loud chat") < got.index("loud 1")
    assert [one for one in got if one[-1].isdigit()] == ["loud 0", "loud 1", "loud 2"]


@pytest.mark.parametrize("form", ["seconds", "millis", "moment"])
def test_a_deadline(form: str, limited: Limited, line: Line) -> None:
    caller = limited.caller()
    held = line.occupy(caller, 1.2)
    then = datetime.now(UTC) + timedelta(seconds=0.5)
    said = {"seconds": "0.5", "millis": "500ms", "moment": then.isoformat()}[form]
    began = time.monotonic()
    answer = caller.ask("queue", said={"deadline": said}, settle=False)
    took = time.monotonic() - began
    assert code(answer) == (503, "queue_timeout")
    assert answer.json()["error"]["type"] == "server_error"
    assert int(answer.headers["retry-after"]) >= 1
    assert 0.3 < took < 1.0
    assert held.result().status_code == 200
    assert order(limited) == ["occupies"]


def test_a_deadline_that_is_none(limited: Limited) -> None:
    answer = limited.caller().ask("queue", said={"deadline": "tomorrow"})
    assert code(answer) == (400, "invalid_deadline")


def test_a_routes_own_time_to_live(limited: Limited, line: Line) -> None:
    caller = limited.caller()
    before = dropped(limited, "expired")
    held = line.occupy(caller, 1.8)
    began = time.monotonic()
    answer = line.join(caller, "queue-short").result()
    assert code(answer) == (503, "queue_timeout")
    assert 0.9 < time.monotonic() - began < 1.7
    assert held.result().status_code == 200
    assert dropped(limited, "expired") == before + 1


def test_who_leaves_is_out_at_once(limited: Limited, line: Line) -> None:
    caller = limited.caller()
    before = dropped(limited, "gone")
    held = line.occupy(caller, 2.0)
    body = {"model": "any", "messages": [{"role": "user", "content": "gone"}]}
    with httpx.Client(timeout=0.3) as client:
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            client.post(
                f"{limited.gateway.url}/chat/completions", json=body, headers=caller.head("queue")
            )
    poll(lambda: dropped(limited, "gone") == before + 1, within=1.0, what="one that left")
    poll(lambda: waiting(limited) == 0, within=1.0, what="an empty queue")
    assert time.monotonic() - began < 1.5
    assert not held.done()
    assert held.result().status_code == 200
    assert order(limited) == ["occupies"]


def test_a_full_queue(limited: Limited, line: Line) -> None:
    """A higher class takes the place of the youngest of the lowest; others are told."""
    caller = limited.caller()
    held = line.occupy(caller, 2.5)
    low = [line.join(caller, "queue-low", text=f"low {number}") for number in range(DEPTH)]
    answer = caller.ask("queue-low", text="one too many", settle=False)
    assert code(answer) == (503, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
    high = line.ask(caller, text="high", said={"priority": "high"})
    pushed = low[-1].result()
    assert code(pushed) == (503, "displaced")
    assert int(pushed.headers["retry-after"]) >= 1
    assert POSITION in pushed.headers
    assert {one.result().status_code for one in (held, high, *low[:-1])} == {200}
    assert order(limited) == ["occupies", "high", *(f"low {number}" for number in range(DEPTH - 1))]
    assert dropped(limited, "displaced") >= 1
    assert dropped(limited, "full") >= 1


def test_a_limit_may_make_wait(limited: Limited, line: Line) -> None:
    """One a second: three at once are served, one after the other."""
    caller = limited.caller()
    began = time.monotonic()
    asked = [line.ask(caller, "queue-limit") for _ in range(3)]
    answers = [one.result() for one in asked]
    assert {one.status_code for one in answers} == {200}
    assert 1.8 < time.monotonic() - began < 3.5
    waits = sorted(float(one.headers.get(WAIT, "0")) for one in answers)
    assert waits[0] == 0
    assert waits[1] == pytest.approx(1.0, abs=0.3)
    assert waits[2] == pytest.approx(2.0, abs=0.4)


def test_money_may_make_wait(limited: Limited) -> None:
    """Ten cents flow back in a second; the first has spent fifteen of the ten that there were."""
    caller = limited.caller()
    assert WAIT not in caller.ask("queue-money", usage=(150_000, 0)).headers
    answer = caller.ask("queue-money")
    assert answer.status_code == 200
    assert 0.2 < float(answer.headers[WAIT]) < 0.8


# --- restarts -----------------------------------------------------------------------------


def _again(somebody: Caller, service: Service) -> None:
    """Start the service that has ended, and wait until Envoy has it again, for both its filters:
    each has a health check of its own."""
    service.start()

    def serves() -> bool:
        return somebody.ask("everything", settle=False).status_code == 200

    poll(serves, within=30, what="a gateway that serves")


def test_counts_over_a_minute_survive_a_restart(tmp_path: Path) -> None:
    """Of the embedded store: Redis outlives the service anyway. Stopped, and killed."""
    with limited_gateway(tmp_path, "embedded") as limited, Service.held(limited.gateway) as service:
        caller, somebody = limited.caller(), limited.caller()
        for number in (1, 2):
            told = caller.ask("lasting", usage=(10, 1000))
            assert told.status_code == 200, told.text
            # What is told is saved five times a second.
            saved = time.monotonic() + 0.5
            poll(lambda saved=saved: time.monotonic() > saved, what="half a second")  # type: ignore[misc]
            if number == 1:
                service.process.terminate()
                poll(lambda: gone(service.process), within=20, what="the end of the service")
            else:
                service.kill()
            _again(somebody, service)
            answer = caller.ask("lasting", usage=(0, 0), max_tokens=1)
            assert answer.headers["x-ratelimit-remaining-requests"] == str(100 - 2 * number)
            left = int(answer.headers["x-ratelimit-remaining-tokens"])
            assert left == 100_000 - 1000 * number - 1
