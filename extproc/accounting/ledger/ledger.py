"""The ledger's write path as the filters know it: reserve, settle, and nothing that waits."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from extproc.accounting.ledger.pace import DEFAULT_LIMIT, LEAST_LIMIT, PACE, Pace
from extproc.accounting.ledger.segments import LOCK, LedgerError
from extproc.accounting.ledger.shipper import EntryOf
from extproc.accounting.ledger.shipping import Shipping
from extproc.accounting.ledger.sinks import Sink
from extproc.accounting.ledger.spool import Spool
from extproc.accounting.ledger.tail import Publish, Tail
from extproc.records import Content, RequestRecord
from extproc.state import LedgerStore

log = logging.getLogger(__name__)


class Ledger:
    """One worker's ledger. Before `start` and after `stop` nothing is recorded."""

    def __init__(
        self,
        folder: Path,
        store: LedgerStore,
        entry_of: EntryOf,
        *,
        slot: int = 0,
        slots: int = 1,
        limit: int = DEFAULT_LIMIT,
        sinks: Sequence[Sink] = (),
        publish: Publish | None = None,
        pace: Pace = PACE,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """`folder` holds a folder for each of `slots` workers, this one's named by `slot` (from
        0); `limit` is in bytes, for all of them together, and does not bind what is left in
        folders of workers that are no more. `publish` hands what the tail shows to other
        processes. Raises LedgerError for a limit that is too small."""
        if limit // slots < LEAST_LIMIT:
            raise LedgerError(f"the spool's limit must be {LEAST_LIMIT} bytes a worker at least")
        self.tail = Tail(publish)
        self._folder = folder
        self._slot = slot
        self._slots = slots
        self._make: Callable[[Spool], Shipping] = lambda spool: Shipping(
            spool, store, entry_of, sinks, pace
        )
        self._sinks = sinks
        self._pace = pace
        self._spool = Spool(folder / str(slot), limit // slots, write)
        self._own = self._make(self._spool)
        self._orphans: list[Shipping] = []
        self._orphans_recovered = 0
        self._encode = msgspec.json.Encoder().encode
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._looked = 0.0
        self._mistakes = 0

    # The path of a request.

    def reserve(self, record: RequestRecord) -> bool:
        """Say what to record of a request if nothing else comes. False: it could not be written;
        the request can still be settled. Does not wait and does not raise."""
        payload = self._payload(record)
        return payload is not None and self._spool.reserve(record.id, payload)

    def settle(self, record: RequestRecord, content: Content | None = None) -> bool:
        """Record a finished request. False: it could not be, and is counted as unrecorded. Does
        not wait and does not raise. Only the first settlement of an id counts."""
        payload = self._payload(record)
        if payload is None:
            self._spool.unrecorded += 1
            return False
        kept = None if content is None else self._payload(content)
        if self.tail.listening:
            self.tail.offer(payload)
        return self._spool.settle(record.id, payload, kept)

    @property
    def full(self) -> bool:
        """Whether the next reservation would be refused; ends by itself."""
        return self._spool.full

    def _payload(self, value: RequestRecord | Content) -> bytes | None:
        try:
            return self._encode(value)
        except UnicodeEncodeError:  # half a surrogate pair, which a peer may have sent as \ud800
            with suppress(ValueError, TypeError):
                return self._encode(_sound(msgspec.to_builtins(value)))
        except Exception:  # a mistake must not fail the request
            self._mistakes += 1
            if self._mistakes & (self._mistakes - 1) == 0:  # the 1st, 2nd, 4th, …: it repeats
                log.exception("record not written", extra={"so_far": self._mistakes})
        return None

    # Life.

    async def start(self) -> None:
        """Take this worker's folder, recover what is in it, begin to ship. Raises LedgerError if
        the folder cannot be used or another process has it."""
        deadline = time.monotonic() + self._pace.lock
        while True:
            try:
                await asyncio.to_thread(self._own.open)
                break
            except LedgerError as error:
                held = isinstance(error.__cause__, BlockingIOError)
                if not held or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self._pace.tick / 4)
        self._own.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_house()), loop.create_task(self._flush())]

    async def stop(self) -> None:
        """Ship what is left, at most `Pace.stop` seconds, and give the folders back. What is not
        shipped by then, the next process ships."""
        self._stopping.set()
        if self._tasks:
            # Not cancelled at once: it may be waiting for the disk in another thread.
            _, late = await asyncio.wait(self._tasks, timeout=self._pace.stop)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(each.stop() for each in (self._own, *self._orphans)))
        self._orphans = []
        await self.tail.flush()
        self.tail.close()
        for sink in self._sinks:
            await sink.close()

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _flush(self) -> None:
        while not await self._stopped_within(self._pace.tell):
            await self.tail.flush()

    async def _keep_house(self) -> None:
        while not await self._stopped_within(self._pace.sync):
            try:
                await self._own.tidy()
                await self._orphaned()
            except Exception:  # without housekeeping the spool would fill up for good
                log.exception("housekeeping failed")

    async def _orphaned(self) -> None:
        """Ship what lies in folders of workers that are no more."""
        for each in tuple(self._orphans):
            each.spool.seal()  # nobody else writes here
            await each.tidy()
            if await each.remove_if_done():
                self._orphans.remove(each)
                self._orphans_recovered += 1
        now = time.monotonic()
        if self._looked and now - self._looked < self._pace.orphans:
            return
        self._looked = now
        mine = {each.spool.folder for each in self._orphans}
        for folder in await asyncio.to_thread(self._strangers):
            if folder not in mine:
                await self._adopt(folder)

    def _strangers(self) -> list[Path]:
        """Folders of slots that no worker of this service has."""
        return sorted(
            each
            for each in self._folder.iterdir()
            if each.name.isdecimal() and int(each.name) >= self._slots and (each / LOCK).exists()
        )

    async def _adopt(self, folder: Path) -> None:
        spool = Spool(folder, self._spool.limit)
        shipping = self._make(spool)
        try:
            await asyncio.to_thread(shipping.open)
        except LedgerError:
            return  # somebody else ships it
        spool.seal()
        log.warning(
            "shipping what another worker left",
            extra={"folder": str(folder), "records": shipping.store.waiting},
        )
        shipping.start()
        self._orphans.append(shipping)

    # Figures.

    def figures(self) -> Mapping[str, float]:
        """For gauges. Bytes, seconds and counts since the start, by name."""
        spool, store, all_ = self._spool, self._own.store, (self._own, *self._orphans)
        oldest = min((s.store.oldest for s in all_ if s.store.oldest is not None), default=None)
        sinks = [sink for each in all_ for sink in each.sinks]
        return {
            "spool_bytes": sum(each.spool.used for each in all_),
            "spool_limit_bytes": spool.limit,
            "spool_full": float(spool.full),
            "open": spool.open_count,
            "waiting": sum(each.store.waiting for each in all_),
            "oldest_seconds": 0.0 if oldest is None else max(0.0, time.time() - oldest),
            "unreserved": spool.unreserved,
            "unrecorded": spool.unrecorded,
            "contents_dropped": spool.contents_dropped,
            "recovered": sum(each.spool.recovered for each in all_),
            "corrupt": sum(each.spool.corrupt for each in all_),
            "disk_errors": spool.disk_errors,
            "store_errors": sum(each.store.errors for each in all_),
            "store_restarts": store.rewinds,
            "refused": sum(each.store.refused for each in all_),
            "sink_waiting": sum(sink.waiting for sink in sinks),
            "sink_errors": sum(sink.errors for sink in sinks),
            "sink_lost": sum(sink.lost for sink in sinks),
            "tail_lost": self.tail.lost,
            "publish_errors": self.tail.errors,
            "orphans": len(self._orphans),
            "orphans_recovered": self._orphans_recovered,
        }


def _sound(value: Any) -> Any:
    """JSON without what UTF-8 cannot carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sound(name): _sound(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(each) for each in value]
    return value
