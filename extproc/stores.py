"""What a process of the service opens beside its sockets: keys, ledger, and who hears of it.

Embedded, everything stands in the data folder; with Redis it is shared, and the folder holds only
the spool and, unless the environment has it, the secret that keys are hashed with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from extproc.accounting.ledger import FileSink, Ledger, Sink, webhook
from extproc.accounting.rollup import Bounds, entry_of
from extproc.admin.cache import CacheAdmin
from extproc.admin.capabilities import Admin
from extproc.admin.guard import token_of
from extproc.identity import Keyring, KeySecret, load_secret
from extproc.identity.record import FieldError
from extproc.limits.rules import check_own
from extproc.rule_error import RuleError
from extproc.state import KeyStore, LedgerStore, StateError

if TYPE_CHECKING:
    from extproc.state.shared_tail import SharedTail

log = logging.getLogger(__name__)

PRUNE_EVERY: Final = 3600.0
"""Seconds between two looks for what has grown too old."""
DAY: Final = 86_400.0


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, where and for how long. Times in seconds, sizes in bytes."""

    redis: str | None = None
    data: str = "tollgate-data"
    """The folder of the spool, of what is embedded, and of the keys' secret."""
    ledger: bool = True
    keep_records: float = 30 * DAY
    keep_rollups: float = 400 * DAY
    spool_limit: int = 256 << 20
    """Of all workers together: what waits on disk while the store is away."""
    sink_file: str | None = None
    sink_url: str | None = None
    alert_url: str | None = None
    """Webhook that hears of limits nearly used and of runaways."""
    tiers: tuple[str, ...] = ()
    """Tiers that keys may have. Empty: any."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores."""

    keeping: Keeping
    secret: KeySecret
    keys: KeyStore
    keyring: Keyring
    ledger: LedgerStore | None
    shared: SharedTail | None

    async def start(self) -> None:
        """Agree with the store on the secret. Raises SecretError and StateError."""
        await self.keyring.start()

    def worker_ledger(self, slot: int, slots: int) -> Ledger | None:
        """The write path of one of `slots` workers; None: no records are kept. Raises LedgerError
        for a sink or a limit that cannot be."""
        if self.ledger is None:
            return None
        return Ledger(
            Path(self.keeping.data) / "spool",
            self.ledger,
            partial(entry_of, bounds=Bounds()),
            slot=slot,
            slots=slots,
            limit=self.keeping.spool_limit,
            sinks=_sinks(self.keeping),
            publish=self.shared.publish if self.shared else None,
        )

    @property
    def corrupted(self) -> int:
        """How often a file of the ledger could not be read and was moved aside."""
        return getattr(self.ledger, "corrupted", 0)

    def admin(self, ledger: Ledger | None, cache: CacheAdmin | None = None) -> Admin:
        """What the admin port may do. `ledger`: this process's own, if it is the only one. Raises
        ValueError for a token that no header can carry."""
        tail = None
        if self.shared is not None and self.ledger is not None:
            tail = self.shared.subscribe
        elif ledger is not None:
            tail = ledger.tail.subscribe
        return Admin(
            keys=self.keyring,
            ledger=self.ledger,
            tail=tail,
            cache=cache,
            token=token_of(os.environ),
        )

    async def forget(self) -> None:
        """Let go of what has grown too old, every hour."""
        while self.ledger is not None:
            now = time.time()
            try:
                await self.ledger.prune(
                    now - self.keeping.keep_records, now - self.keeping.keep_rollups
                )
            except StateError as error:
                log.warning("old records stay for another hour", extra={"reason": str(error)})
            await asyncio.sleep(PRUNE_EVERY)

    async def close(self) -> None:
        """Give files and connections back."""
        for one in (self.keys, self.ledger, self.shared):
            if one is not None:
                with suppress(StateError):
                    await one.close()


def open_stores(keeping: Keeping) -> Stores:
    """Open what `keeping` names; a store is not asked yet. Raises SecretError and OSError."""
    folder = Path(keeping.data)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = load_secret(os.environ, folder)
    keys, ledger, shared = _embedded(folder) if keeping.redis is None else _shared(keeping)
    keyring = Keyring(keys, secret, tiers=keeping.tiers, check_limits=check_limits)
    return Stores(keeping, secret, keys, keyring, ledger if keeping.ledger else None, shared)


def check_limits(limits: Mapping[str, Any]) -> None:
    """Check a key's own limits. Raises FieldError."""
    try:
        check_own(limits)
    except RuleError as error:
        raise FieldError(str(error.below(("limits",)))) from None


def _embedded(folder: Path) -> tuple[KeyStore, LedgerStore, None]:
    from extproc.state.sqlite import SqliteKeys, SqliteLedger  # noqa: PLC0415 - not with Redis

    return SqliteKeys(folder), SqliteLedger(folder), None


def _shared(keeping: Keeping) -> tuple[KeyStore, LedgerStore, SharedTail]:
    from extproc.state.shared_keys import SharedKeys  # noqa: PLC0415 - 40 ms that one worker need not spend
    from extproc.state.shared_ledger import SharedLedger  # noqa: PLC0415 - as above
    from extproc.state.shared_tail import SharedTail  # noqa: PLC0415 - as above

    url = keeping.redis or ""
    ledger = SharedLedger(url, keep_records=keeping.keep_records, keep_rollups=keeping.keep_rollups)
    return SharedKeys(url), ledger, SharedTail(url)


def _sinks(keeping: Keeping) -> list[Sink]:
    sinks: list[Sink] = []
    if keeping.sink_file is not None:
        sinks.append(FileSink(Path(keeping.sink_file)))
    if keeping.sink_url is not None:
        sinks.append(webhook(keeping.sink_url, os.environ))
    return sinks
