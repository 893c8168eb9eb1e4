"""The limits of one worker: their store, the gate in front of it, and who hears of what they say.

Embedded, counters stand in memory and those that last in the data folder. With Redis they are
shared, and a store of the worker's own stands in while Redis is away.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from extproc.alerts import Alerts, alerts
from extproc.limits.gate import Gate
from extproc.state.counters import LimitStore
from extproc.state.embedded.limits import MemoryLimits
from extproc.stores import Keeping
from extproc.telemetry.limits import LimitFigures

if TYPE_CHECKING:
    from extproc.state.sqlite.counters import SqliteCounters


class Limiting:
    """Opened by `start`, closed by `stop`."""

    def __init__(self, keeping: Keeping, told: LimitFigures, processes: int) -> None:
        """`processes`: workers that share the limits, as far as is known. Raises ValueError for
        a webhook that cannot be."""
        self._saved: SqliteCounters | None = None
        self._memory = MemoryLimits()
        self._store: LimitStore = self._memory
        if keeping.redis is not None:
            self._store = _shared(keeping.redis, self._memory, told, processes)
        else:
            from extproc.state.sqlite.counters import SqliteCounters  # noqa: PLC0415 - not with Redis

            self._saved = SqliteCounters(Path(keeping.data))
        self.alerts: Alerts = alerts(keeping.alert_url, os.environ)
        self.gate = Gate(self._store, told, self.alerts)
        told.watch(self.figures)

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """What the store and the webhook say of themselves, by group."""
        found = dict(self._store.figures())
        told = self.alerts
        found["alerts"] = {"waiting": told.waiting, "sent": told.sent, "dropped": told.dropped}
        if self._saved is not None:
            found["saved"] = {"corrupt": float(self._saved.corrupted)}
        return found

    async def start(self) -> None:
        """Load what lasts and begin to beat. Raises StateError."""
        if self._saved is not None:
            await self._saved.start(self._memory)
        await self.gate.start()

    async def stop(self) -> None:
        """Give back what is held, save what lasts, tell what has to be told."""
        await self.gate.stop()
        if self._saved is not None:
            await self._saved.stop()
        await self.alerts.stop()

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        await self._store.ping()


def _shared(url: str, memory: MemoryLimits, told: LimitFigures, processes: int) -> LimitStore:
    from extproc.limits.away import Guarded  # noqa: PLC0415 - 40 ms that one worker need not spend
    from extproc.state.shared_limits import SharedLimits  # noqa: PLC0415 - as above

    return Guarded(SharedLimits(url), memory, processes=processes, decided=told.away)
