"""One spool with all that follow it: the store, the sinks, and the housekeeping between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from extproc.accounting.ledger.follower import Follower
from extproc.accounting.ledger.pace import PACE, Pace
from extproc.accounting.ledger.segments import LOCK, Segment
from extproc.accounting.ledger.shipper import EntryOf, StoreFollower
from extproc.accounting.ledger.sinks import Sink, SinkFollower
from extproc.accounting.ledger.spool import Spool
from extproc.state import LedgerStore

log = logging.getLogger(__name__)

SINK_SHARE: Final = 0.5
"""Part of the spool's room that may be taken by what only a sink has not got."""
PRESSED: Final = 0.25
"""With less than this part of the room free, what has been shipped is kept no longer than it
must be."""


class Shipping:
    """Ships a spool until it is stopped, and deletes what nobody needs any more."""

    def __init__(
        self,
        spool: Spool,
        store: LedgerStore,
        entry_of: EntryOf,
        sinks: Sequence[Sink] = (),
        pace: Pace = PACE,
    ) -> None:
        self.spool = spool
        self.store = StoreFollower(spool, store, entry_of, pace)
        self.sinks = tuple(SinkFollower(spool, sink, pace) for sink in sinks)
        self._pace = pace
        self._shipped: dict[int, float] = {}
        """When each segment was first seen to be shipped whole, by number; monotonic seconds."""
        self._rewinds = 0
        """Of the store, when that was last looked at."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def followers(self) -> tuple[Follower, ...]:
        """The store and the sinks."""
        return (self.store, *self.sinks)

    def open(self) -> None:
        """Take the spool, settle what was left open in it, go on where shipping stopped. Raises
        LedgerError. Blocks."""
        self.spool.lock()
        for each in self.followers:
            each.load()
        self.spool.recover(max(each.cursor.segment for each in self.followers) + 1)

    def start(self) -> None:
        """Begin to ship."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each.run()) for each in self.followers]

    async def stop(self) -> None:
        """Ship what is left, as far as the deadline allows, and give the spool back."""
        for each in self.followers:
            each.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._pace.stop)
            for task in late:
                task.cancel()
            for done in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(done, Exception):
                    log.error("shipping ended", exc_info=done)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for each in self.followers:
            each.save()
        self.spool.close()

    async def tidy(self) -> None:
        """What is to be done about once a second."""
        self.spool.look_again()
        self.spool.roll()
        await asyncio.to_thread(self._keep)
        await self._free()

    def _keep(self) -> None:
        self.spool.sync()
        for each in self.followers:
            each.save()

    async def _free(self) -> None:
        """Delete segments, oldest first, as long as nobody needs the oldest."""
        self._mark_shipped()
        for segment in tuple(self.spool.segments.values()):
            if segment is self.spool.current or not self._needless(segment):
                break
            if segment.open:
                if not self.spool.carry(segment):
                    break
                await asyncio.to_thread(self.spool.sync)
            self.spool.forget(segment)  # first, lest a follower that goes back looks for its file
            self._shipped.pop(segment.number, None)
            try:
                await asyncio.to_thread(segment.path.unlink, missing_ok=True)
            except OSError:
                log.exception("segment not deleted", extra={"segment": str(segment.path)})

    def _mark_shipped(self) -> None:
        now = time.monotonic()
        if self.store.rewinds != self._rewinds:
            # What was shipped again since is new to the store, which may lose it once more.
            self._rewinds = self.store.rewinds
            self._shipped.clear()
        for segment in self.spool.segments.values():
            if segment is self.spool.current:
                continue
            if self.store.past(segment):
                self._shipped.setdefault(segment.number, now)
            else:
                self._shipped.pop(segment.number, None)

    def _needless(self, segment: Segment) -> bool:
        shipped = self._shipped.get(segment.number)
        if shipped is None:
            return False
        spool = self.spool
        pressed = spool.room < spool.limit * PRESSED
        # Held against when the store was last asked, not against now: while it is away nobody
        # knows whether it will come back with all that it took.
        kept = self.store.confirmed - shipped
        if kept < (self._pace.keep_least if pressed else self._pace.keep):
            return False
        behind = [each for each in self.sinks if not each.past(segment)]
        if behind and spool.used <= spool.limit * SINK_SHARE:
            return False
        for each in behind:
            each.give_up(segment.number)
        return True

    async def remove_if_done(self) -> bool:
        """For the folder of another process: delete it once everything in it has been shipped."""
        if self.spool.segments or self.spool.open_count:
            return False
        await self.stop()
        await asyncio.to_thread(self._remove)
        return True

    def _remove(self) -> None:
        """The lock goes last; whoever waits for it finds out that it is gone."""
        with suppress(OSError):
            for each in self.followers:
                each.path.unlink(missing_ok=True)
            (self.spool.folder / LOCK).unlink()
            self.spool.folder.rmdir()
