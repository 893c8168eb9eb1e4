"""Tells people what limits and the cache have to say: to the log and, where one is named, to a
webhook.

Telling never holds up a request and never fails one. What a webhook does not take is tried again
for some minutes; what does not fit into the queue, or was tried too long, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from extproc.webhook import SEND_WITHIN, Webhook, WebhookError

log = logging.getLogger(__name__)

TOKEN: Final = "TOLLGATE_ALERT_TOKEN"  # noqa: S105 - the variable's name
MOST: Final = 1000
"""Alerts that wait for the webhook: some hundred kilobytes. Then the oldest go."""
TRIES: Final = 12
"""Times that one alert is sent: with the pauses some ten minutes of a webhook that is away."""
FIRST_PAUSE: Final = 0.5
"""Seconds after the first failure; doubled with each."""
LONGEST_PAUSE: Final = 120.0
STOP_WITHIN: Final = 2.0
"""Seconds that what waits still gets when the service stops."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a limit that somebody wants to know of. The webhook's body, as JSON."""

    event: str
    """`limit_80`, `limit_95`: that much of it is used. `runaway`: spending far above its past."""
    limit: str
    """The rule's name."""
    who: Mapping[str, str]
    """Whose count it is: values of the rule's dimensions, `{"user": "alice"}`."""
    share: float
    """Used of the whole; of a runaway how many times the usual rate."""
    used: float
    """Tokens, requests or US dollars; of a runaway, US dollars an hour."""
    of: float
    """In the same unit: the limit; of a runaway the usual."""
    resets_at: float | None = None
    """Epoch seconds."""
    time: float = msgspec.field(default_factory=time.time)
    """Epoch seconds."""
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    """The same however often it is sent: also the header `idempotency-key`."""

    @property
    def about(self) -> str:
        """What the log begins its line with."""
        return "limit"

    def facts(self) -> dict[str, Any]:
        """For the log."""
        return {
            "limit": self.limit,
            "who": dict(self.who),
            "share": round(self.share, 4),
            "used": self.used,
            "of": self.of,
            "resets_at": self.resets_at,
        }


class CacheAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the cache stopped itself, or goes on. The webhook's body, as JSON."""

    event: str
    """`cache_halted`: semantic hits are served no more, since audits found them wrong too often.
    `cache_resumed`: they are again. Exact ones are all the time."""
    route: str
    partition: str
    """Of a route's requests, those that may answer each other: 16 hex digits."""
    time: float
    """Epoch seconds."""
    id: str
    """The same however often it is sent, and by whichever worker."""

    @property
    def about(self) -> str:
        """What the log begins its line with."""
        return "cache"

    def facts(self) -> dict[str, Any]:
        """For the log."""
        return {"route": self.route, "partition": self.partition}


def cache_alert(event: str, route: str, partition: bytes, now: float | None = None) -> CacheAlert:
    """Make it. `event`: `halted` or `resumed`; `partition`: its key; `now`: epoch seconds.

    Workers that share a partition may come to the same at the same time: so the id is of the event
    and the minute. Two in one minute are not two, since between them a partition takes many labels.
    """
    at = time.time() if now is None else now
    shown = partition.hex()[:_SHOWN]
    words = f"{event} {int(at // _TOGETHER)} {shown} {route}"
    return CacheAlert(
        event=f"cache_{event}",
        route=route,
        partition=shown,
        time=at,
        id=hashlib.sha256(words.encode()).hexdigest()[:32],
    )


_SHOWN: Final = 16
_TOGETHER: Final = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often it is tried, in seconds. Tests go faster."""

    first: float = FIRST_PAUSE
    longest: float = LONGEST_PAUSE
    tries: int = TRIES
    stop: float = STOP_WITHIN


class Alerts:
    """Takes alerts of one process. To be used from the event loop's thread."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        most: int = MOST,
        within: float = SEND_WITHIN,
        pace: Pace | None = None,
    ) -> None:
        """`url`: of the webhook; None: log only. Raises ValueError for a URL or token that
        cannot be."""
        self._webhook = (
            None
            if url is None
            else Webhook(url, what="the alerts'", variable=TOKEN, token=token, within=within)
        )
        self._most = most
        self._pace = pace or Pace()
        self._waiting: deque[Alert | CacheAlert] = deque()
        self._more = asyncio.Event()
        self._none = asyncio.Event()
        """Nothing waits."""
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.sent = 0
        """Alerts that the webhook took."""
        self.dropped = 0
        """Alerts that it never got."""
        self.on_drop: Callable[[], None] = lambda: None
        """Hears of each that is dropped."""

    def __call__(self, alert: Alert | CacheAlert) -> None:
        """Tell it."""
        log.warning("%s: %s", alert.about, alert.event, extra=alert.facts())
        if self._webhook is None:
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._drop()
        self._waiting.append(alert)
        self._none.clear()
        self._more.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._webhook))

    @property
    def waiting(self) -> int:
        """Alerts that the webhook has yet to take."""
        return len(self._waiting)

    async def stop(self) -> None:
        """Send what waits, for a moment, then close."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), self._pace.stop)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            for _ in self._waiting:
                self._drop()
            self._waiting.clear()
        if self._webhook is not None:
            await self._webhook.close()

    async def _run(self, webhook: Webhook) -> None:
        tries, pause = 0, self._pace.first
        while True:
            if not self._waiting:
                self._none.set()
                self._more.clear()
                await self._more.wait()
            alert = self._waiting[0]
            try:
                await webhook.post(
                    msgspec.json.encode(alert),
                    {"content-type": "application/json", "idempotency-key": alert.id},
                )
            except WebhookError as error:
                tries += 1
                self._failed(str(error))
                if tries >= self._pace.tries:
                    self._gone(alert)
                    self._drop()
                    tries = 0
                await asyncio.sleep(pause * random.uniform(0.75, 1.0))  # noqa: S311 - not to come all at once
                pause = min(2 * pause, self._pace.longest)
            else:
                self._gone(alert)
                self.sent += 1
                tries, pause = 0, self._pace.first
                if self._failing:
                    self._failing = False
                    log.warning("the alerts' webhook takes them again")

    def _gone(self, alert: Alert | CacheAlert) -> None:
        """Take it out, unless a newer one has pushed it out meanwhile."""
        if self._waiting and self._waiting[0] is alert:
            self._waiting.popleft()

    def _drop(self) -> None:
        self.dropped += 1
        self.on_drop()

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            log.error(
                "the alerts' webhook does not take them",
                extra={"reason": reason, "waiting": len(self._waiting)},
            )


def alerts(url: str | None, environ: Mapping[str, str]) -> Alerts:
    """With the token of the environment, if there is one. Raises ValueError."""
    return Alerts(url, environ.get(TOKEN) or None)
