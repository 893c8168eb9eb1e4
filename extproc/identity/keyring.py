"""The callers' keys: made, changed and looked up.

A look-up is used for `FRESH` seconds, whether or not it found a key, and from there on for as long
as the store says that no key has changed since, which it is asked once for all of them. So a
revocation in one process holds in all others within `FRESH` or `ASK` seconds, the longer of the
two.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs

from extproc.identity import files
from extproc.identity.files import FileError, Imported, Reading
from extproc.identity.keys import is_id, mint
from extproc.identity.record import (
    MOST_DIGESTS,
    CheckLimits,
    Digest,
    FieldError,
    KeyRecord,
    fields_of,
    made,
    read,
    stored,
)
from extproc.identity.secret import KeySecret, settle
from extproc.records import Caller
from extproc.state import ExistsError, KeyStore, StateError, StoredKey

FRESH: Final = 0.5
"""Seconds that an answer of the store is used for, from when it was asked."""
LONGEST: Final = 60.0
"""Seconds after which a key is looked up again though none has changed: whoever writes into the
store past the gateway is heard then."""
ASK: Final = 0.9
"""Seconds that the store has for an answer. With what is kept no longer than `FRESH`, a revoked
key is refused everywhere within a second."""
MOST_KNOWN: Final = 20_000
"""Answers kept, a few hundred bytes each. Wrong keys count too: a flood of them costs look-ups, but
no memory."""
TRIES: Final = 16
"""Times that a change is tried anew when somebody else has changed the same key."""
LONGEST_OVERLAP: Final = 90 * 86_400.0
"""Seconds that an old secret may stay good after a rotation."""
FEW: Final = 200
"""Records that are read at once in the event loop; more take milliseconds, in a thread."""


Answer = TypeVar("Answer")


class UnknownKeyError(LookupError):
    """There is no key with this id."""


class KeyStateError(ValueError):
    """The key is in no state for what was asked: it is revoked or has expired, or is being changed
    by too many at once."""


class _Known(msgspec.Struct, frozen=True, gc=False):
    """What the store said of a digest."""

    asked: float
    """When, on the monotonic clock."""
    record: KeyRecord | None
    caller: Caller | None


class _Unchanged(msgspec.Struct, frozen=True, gc=False):
    """A time in which no key changed, on the monotonic clock."""

    revision: str
    """What the store said, then and again."""
    since: float
    """When it had said so first."""
    until: float
    """When it was asked last."""


class Keyring:
    """All keys of the gateway.

    `tiers`: those that exist; empty: a key may name any. `check_limits` is asked of every new key's
    own limits; None: they may be anything. `clock` gives UTC epoch seconds,
    `monotonic` seconds that only grow; `most` bounds the look-ups kept.
    """

    def __init__(
        self,
        store: KeyStore,
        secret: KeySecret,
        *,
        tiers: Collection[str] = (),
        check_limits: CheckLimits | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST_KNOWN,
    ) -> None:
        self._store = store
        self._secret = secret
        self._tiers = frozenset(tiers)
        self._check_limits = check_limits
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._unchanged = _Unchanged("", monotonic(), 0.0)
        self._checking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Agree with the store on the secret. Raises SecretError, StateError."""
        await settle(self._secret, self._store)

    # --- who asks -------------------------------------------------------------------------

    async def find(self, token: str) -> KeyRecord | None:
        """The key that `token` opens now. Raises StateError when the store is away."""
        digest = self._secret.digest(token)
        known = await self._look(digest)
        return known.record if self._opens(known, digest) else None

    async def caller(self, token: str) -> Caller | None:
        """Who asks with `token`, if it opens a key now. Raises StateError.

        It takes the same steps for every text, whether it is a key or not.
        """
        digest = self._secret.digest(token)
        known = await self._look(digest)
        return known.caller if self._opens(known, digest) else None

    def _opens(self, known: _Known, digest: str) -> bool:
        return known.record is not None and known.record.opens(digest, self._clock())

    async def _look(self, digest: str) -> _Known:
        known = self._known.get(digest)
        if known is not None and await self._holds(known):
            if digest in self._known:
                self._known.move_to_end(digest)
            return known
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest))
            asking.add_done_callback(partial(self._asked, digest))
        # Of those who wait for one answer some may go away; the others still want it.
        return await asyncio.shield(asking)

    async def _holds(self, known: _Known) -> bool:
        """Whether what the store said is what it would say, as of `FRESH` seconds ago or less."""
        now = self._monotonic()
        if now - known.asked <= FRESH:
            return True
        if now - known.asked > LONGEST or known.asked < self._unchanged.since:
            return False
        if now - self._unchanged.until > FRESH:
            if self._checking is None:
                self._checking = asyncio.create_task(self._check())
            await asyncio.shield(self._checking)
        return known.asked >= self._unchanged.since

    async def _check(self) -> None:
        """Ask whether a key has changed. Raises StateError."""
        asked, before = self._monotonic(), self._unchanged
        try:
            revision = await _within(self._store.revision())
            same = revision == before.revision
            since = before.since if same else self._monotonic()
            self._unchanged = _Unchanged(revision, since, asked)
        finally:
            self._checking = None

    async def _ask(self, digest: str) -> _Known:
        asked = self._monotonic()
        found = await _within(self._store.find(digest))
        record = None if found is None else read(found)
        return _Known(asked, record, None if record is None else record.caller())

    def _asked(self, digest: str, asking: asyncio.Task[_Known]) -> None:
        # What was asked before a change is for those who waited, and is not kept.
        current = self._asking.get(digest) is asking
        if current:
            del self._asking[digest]
        if asking.cancelled() or asking.exception() is not None or not current:
            return
        self._known[digest] = asking.result()
        self._known.move_to_end(digest)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def _forget(self, records: Iterable[KeyRecord]) -> None:
        for record in records:
            for one in record.digests:
                self._known.pop(one.digest, None)
                self._asking.pop(one.digest, None)

    # --- keys -----------------------------------------------------------------------------

    async def create(self, said: Mapping[str, Any]) -> tuple[str, KeyRecord]:
        """A new key, as JSON says it: the key itself, which nobody can show again, and its record.
        Raises FieldError, StateError."""
        key = mint()
        now = self._clock()
        record = made(fields_of(said), key.id, now, self._tiers, self._check_limits)
        record = structs.replace(record, digests=(Digest(self._secret.digest(key.text)),))
        await self._store.add([stored(record)])
        self._forget([record])
        return key.text, record

    async def rotate(self, key_id: str, overlap: float = 0.0) -> tuple[str, KeyRecord]:
        """A new secret for a key; those it had are good for `overlap` more seconds, and no longer
        than an earlier rotation said. Raises FieldError, UnknownKeyError, KeyStateError,
        StateError."""
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise FieldError(f"overlap: {overlap} is not from 0 to {LONGEST_OVERLAP:.0f} seconds")
        now = self._clock()
        key = mint(key_id if is_id(key_id) else None)
        newest = Digest(self._secret.digest(key.text))

        def rotated(record: KeyRecord) -> KeyRecord:
            if (status := record.status(now)) != "active":
                raise KeyStateError(f"key {key_id} is {status}; create another")
            olds = (_until(one, now + overlap) for one in record.digests)
            left = sorted((one for one in olds if (one.until or 0) > now), key=_latest)
            return structs.replace(record, digests=(newest, *left[: MOST_DIGESTS - 1]))

        return key.text, await self._change(key_id, rotated)

    async def revoke(self, key_id: str) -> KeyRecord:
        """Make a key good for nothing, for ever. Raises UnknownKeyError, KeyStateError,
        StateError."""
        now = self._clock()

        def revoked(record: KeyRecord) -> KeyRecord:
            return record if record.revoked is not None else structs.replace(record, revoked=now)

        return await self._change(key_id, revoked)

    async def show(self, key_id: str) -> KeyRecord:
        """One key. Raises UnknownKeyError, StateError."""
        return read(await self._get(key_id))

    async def list(
        self, *, tenant: str | None = None, team: str | None = None, user: str | None = None
    ) -> list[KeyRecord]:
        """The keys, by id; with a tenant, team or user those of it. Raises StateError."""
        asked = {"tenant": tenant, "team": team, "user": user}
        wanted = {name: value for name, value in asked.items() if value is not None}
        records = await _read_all(await self._store.list())
        return [
            one
            for one in records
            if all(getattr(one, name) == value for name, value in wanted.items())
        ]

    # --- files ----------------------------------------------------------------------------

    async def import_(self, text: bytes) -> Sequence[Imported]:
        """Take all keys of a file (JSON lines) or none. Raises FileError, StateError."""
        reading = Reading(self._secret, self._tiers, self._clock(), self._check_limits)
        taken = await asyncio.to_thread(files.read, text, reading)
        keys = [stored(one.record) for one in taken]
        for _ in range(TRIES):
            files.meet(taken, await self._store.list())
            try:
                await self._store.add(keys)
            except ExistsError:
                continue  # made meanwhile: the next look tells which
            self._forget(one.record for one in taken)
            return [Imported(one.record.id, one.key) for one in taken]
        raise FileError("some of its keys exist already")

    async def export(self) -> bytes:
        """All keys as a file, with digests and without secrets. Raises StateError."""
        records = await self.list()
        return await asyncio.to_thread(files.write, records, self._secret)

    # --- changes --------------------------------------------------------------------------

    async def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        for _ in range(TRIES):
            old = await self._get(key_id)
            record = read(old)
            changed = change(record)
            if changed is record:
                self._forget([record])
                return record
            if await self._store.replace(stored(changed), old.record):
                self._forget([record, changed])
                return changed
        raise KeyStateError(f"key {key_id} is being changed by others; try again")

    async def _get(self, key_id: str) -> StoredKey:
        found = await self._store.get(key_id) if is_id(key_id) else None
        if found is None:
            raise UnknownKeyError(key_id)
        return found


def _until(digest: Digest, last: float) -> Digest:
    until = last if digest.until is None else min(digest.until, last)
    return structs.replace(digest, until=until)


def _latest(digest: Digest) -> float:
    return -(digest.until or 0.0)


async def _within(asking: Awaitable[Answer]) -> Answer:
    """The store's answer, in time. Raises StateError."""
    try:
        async with asyncio.timeout(ASK):
            return await asking
    except TimeoutError:
        raise StateError(f"the store of keys did not answer within {ASK} s") from None


async def _read_all(keys: list[StoredKey]) -> list[KeyRecord]:
    if len(keys) <= FEW:
        return [read(one) for one in keys]
    return await asyncio.to_thread(lambda: [read(one) for one in keys])
