"""What the admin port can tell and do beyond metrics and health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from extproc.admin.cache.access import CacheAdmin
from extproc.identity.keyring import Keyring
from extproc.state import LedgerStore

Tail = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Handed over by whoever serves the port. What is None is answered with 404."""

    keys: Keyring | None = None
    ledger: LedgerStore | None = None
    cache: CacheAdmin | None = None
    tail: Tail | None = None
    """Settled records as JSON from when it is called, and `{"lost": n}` in the place of what a slow
    reader missed. Its iterator is closed (`aclose` or `close`) when its reader has gone."""
    token: str | None = None
    """Who sends it may do everything. None or empty: only this machine may."""
