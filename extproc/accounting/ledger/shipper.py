"""Ships settled records into the store, each of them once however often it is shipped."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

import msgspec

from extproc.accounting.ledger.follower import SLICE, AwayError, Batch, Cursor, Follower, Settled
from extproc.accounting.ledger.pace import PACE, Pace
from extproc.accounting.ledger.spool import Spool
from extproc.records import RequestRecord
from extproc.state import Entry, LedgerStore, StateError

log = logging.getLogger(__name__)


class EntryOf(Protocol):
    """Makes what the store takes from a record."""

    def __call__(self, record: RequestRecord, content: bytes | None, *, raw: bytes) -> Entry:
        """`content`: what was asked and answered, as JSON; `raw`: the record as JSON."""
        ...


_RECORD: Final = msgspec.json.Decoder(RequestRecord)
_ASK_AGAIN: Final = 1.0
"""Seconds between two looks at the store's generation while there is nothing to ship."""


class StoreFollower(Follower):
    """The store as taker. When its generation has changed it may have lost what it took last, so
    all that is still on disk is shipped again; the store takes no id twice."""

    def __init__(
        self, spool: Spool, store: LedgerStore, entry_of: EntryOf, pace: Pace = PACE
    ) -> None:
        super().__init__("store", spool, pace)
        self.confirmed = 0.0
        """When the store was last known to be the one that took everything before the cursor;
        seconds of the monotonic clock."""
        self.rewinds = 0
        """Times that everything on disk was shipped again."""
        self.refused = 0
        """Records that the store, or the rollups, could not make anything of."""
        self.oldest: float | None = None
        """When the first request that is not shipped was over, epoch seconds."""
        self._store = store
        self._entry_of = entry_of

    async def prepare(self) -> None:
        """Ask for the store's generation; go back to the oldest record if it is another one."""
        behind = self.waiting
        asked = time.monotonic()
        if not behind and asked - self.confirmed < min(_ASK_AGAIN, self._pace.sync):
            return
        try:
            generation = await self._store.generation()
        except StateError as error:
            raise AwayError(str(error)) from error
        known = self.cursor.generation
        if known != generation:
            self.cursor = Cursor(generation=generation)
            if known is not None:
                self.rewinds += 1
                log.warning(
                    "the store was restarted: what it took last is shipped again",
                    extra={"records": self.waiting},
                )
        self.confirmed = asked

    async def deliver(self, batch: Batch) -> None:
        """Write a batch into the store."""
        entries: list[Entry] = []
        for at in range(0, len(batch.settled), SLICE // 2):
            for each in batch.settled[at : at + SLICE // 2]:
                entry = self._entry(each)
                if entry is not None:
                    entries.append(entry)
            await asyncio.sleep(0)
        if entries:
            await self._write(entries)
        self.oldest = None

    def _entry(self, settled: Settled) -> Entry | None:
        try:
            record = _RECORD.decode(settled.record)
        except (msgspec.DecodeError, ValueError) as error:
            self._refuse("record unreadable", settled.record[:80].decode(errors="replace"), error)
            return None
        if self.oldest is None:
            self.oldest = record.started + record.duration
        try:
            return self._entry_of(record, settled.content, raw=settled.record)
        except Exception as error:  # noqa: BLE001 - one record must not hold up those behind it
            self._refuse("record not summed up", record.id, error)
            return Entry(record.id, record.started, settled.record, (), settled.content)

    async def _write(self, entries: list[Entry]) -> None:
        try:
            await self._store.write(entries)
        except StateError as error:
            raise AwayError(str(error)) from error
        except Exception as error:  # noqa: BLE001 - a mistake, which must not hold up other records
            await self._one_by_one(entries, error)

    async def _one_by_one(self, entries: list[Entry], reason: Exception) -> None:
        """Only what is refused while others are taken is given up."""
        refused: list[str] = []
        for entry in entries:
            try:
                await self._store.write([entry])
            except StateError as error:
                raise AwayError(str(error)) from error
            except Exception as error:  # noqa: BLE001 - see _write
                refused.append(entry.id)
                reason = error
        if len(refused) == len(entries):
            self.read_again()  # with what has come meanwhile, which it may take
            raise AwayError(f"{type(reason).__name__}: {reason}") from reason
        for id_ in refused:
            self._refuse("record refused by the store", id_, reason)

    def _refuse(self, what: str, id_: str, reason: Exception) -> None:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:  # the 1st, 2nd, 4th, 8th, …: a mistake repeats
            log.error(what, exc_info=reason, extra={"record": id_, "refused_so_far": self.refused})
