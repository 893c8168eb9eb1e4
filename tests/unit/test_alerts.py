from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from extproc.alerts import Alert, Alerts, Pace, alerts, cache_alert

FAST = Pace(first=0.01, longest=0.02, tries=3, stop=1.0)
SPENT = Alert(
    event="limit_80",
    limit="team-month",
    who={"team": "search"},
    share=0.81,
    used=405.5,
    of=500.0,
    resets_at=1_800_000_000.0,
)


class Receiver:
    """A real server that answers as it is told to."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.seen = 0
        self.statuses: list[int] = []
        """Of the next answers; 204 after them."""
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, request: web.Request) -> web.Response:
        await self.open.wait()
        self.seen += 1
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.bodies.append(json.loads(await request.read()))
        return web.Response(status=status)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    one = Receiver()
    app = web.Application()
    app.router.add_post("/hook", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield one, f"http://127.0.0.1:{port}/hook"
    one.open.set()
    await runner.cleanup()


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not there():  # noqa: ASYNC110 - a condition of another party, polled
            await asyncio.sleep(0.005)


async def test_an_alert_is_logged_and_posted_whole(
    receiver: tuple[Receiver, str], caplog: pytest.LogCaptureFixture
) -> None:
    one, url = receiver
    told = alerts(url, {"TOLLGATE_ALERT_TOKEN": "s3cret"})
    with caplog.at_level(logging.WARNING):
        told(SPENT)
    await until(lambda: bool(one.bodies))
    await told.stop()
    assert one.bodies == [
        {
            "event": "limit_80",
            "limit": "team-month",
            "who": {"team": "search"},
            "share": 0.81,
            "used": 405.5,
            "of": 500.0,
            "resets_at": 1_800_000_000.0,
            "time": SPENT.time,
            "id": SPENT.id,
        }
    ]
    assert one.headers[0]["authorization"] == "Bearer s3cret"
    assert one.headers[0]["idempotency-key"] == SPENT.id
    assert "limit: limit_80" in caplog.text
    assert "s3cret" not in caplog.text


async def test_without_a_webhook_it_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    told = alerts(None, {})
    told(SPENT)
    await told.stop()
    assert "limit: limit_80" in caplog.text
    assert (told.sent, told.dropped, told.waiting) == (0, 0, 0)


async def test_a_webhook_that_fails_gets_the_same_alert_again(
    receiver: tuple[Receiver, str],
) -> None:
    one, url = receiver
    one.statuses = [500, 503]
    told = Alerts(url, pace=FAST)
    told(SPENT)
    await until(lambda: told.sent == 1)
    await told.stop()
    assert one.seen == 3
    assert [body["id"] for body in one.bodies] == [SPENT.id]
    assert told.dropped == 0


async def test_one_that_is_never_taken_is_dropped_and_the_next_one_told(
    receiver: tuple[Receiver, str],
) -> None:
    one, url = receiver
    one.statuses = [500] * FAST.tries
    told = Alerts(url, pace=FAST)
    other = Alert(event="limit_95", limit="b", who={}, share=0.96, used=96, of=100)
    told(SPENT)
    told(other)
    await until(lambda: told.sent == 1)
    await told.stop()
    assert [body["event"] for body in one.bodies] == ["limit_95"]
    assert told.dropped == 1


async def test_a_webhook_that_hangs_holds_nobody_up_and_the_queue_is_bounded(
    receiver: tuple[Receiver, str],
) -> None:
    one, url = receiver
    one.open.clear()
    heard: list[int] = []
    told = Alerts(url, most=5, pace=Pace(stop=0.02))
    told.on_drop = lambda: heard.append(1)
    for _ in range(20):
        told(SPENT)
    assert told.waiting == 5
    assert told.dropped == len(heard) == 15
    async with asyncio.timeout(2):
        await told.stop()
    assert told.dropped == 20


@pytest.mark.parametrize("url", ["ftp://host/", "//host", "http://", "http://[::1"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the alerts' URL must be http"):
        Alerts(url)


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^TOLLGATE_ALERT_TOKEN must be printable ASCII$"):
        alerts("http://host/", {"TOLLGATE_ALERT_TOKEN": "a\nb"})


async def test_the_caches_events_are_told_as_well(
    receiver: tuple[Receiver, str], caplog: pytest.LogCaptureFixture
) -> None:
    one, url = receiver
    told = Alerts(url)
    partition = bytes(range(32))
    with caplog.at_level(logging.WARNING):
        told(cache_alert("halted", "support", partition, 1_800_000_000.5))
        told(SPENT)
    await until(lambda: told.sent == 2)
    await told.stop()
    first, second = one.bodies
    assert second["event"] == "limit_80"
    assert {name: first[name] for name in first if name != "id"} == {
        "event": "cache_halted",
        "route": "support",
        "partition": "0001020304050607",
        "time": 1_800_000_000.5,
    }
    assert one.headers[0]["idempotency-key"] == first["id"]
    assert "cache: cache_halted" in caplog.text
    assert caplog.records[0].__dict__["route"] == "support"


def test_what_several_workers_tell_of_one_event_is_one() -> None:
    key, other, now = bytes(32), b"\1" * 32, 1_800_000_000.0
    ids = {
        cache_alert(event, route, partition, at).id
        for event in ("halted", "resumed")
        for route in ("a", "b")
        for partition in (key, other)
        for at in (now, now + 3, now + 600)
    }
    assert len(ids) == 16
    assert cache_alert("halted", "a", key, now).id == cache_alert("halted", "a", key, now + 3).id
