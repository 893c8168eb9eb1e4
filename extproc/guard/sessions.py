"""The placeholders of a session, from one turn to the next.

What lies in the store tells nobody who reads it anything: an entry's name is a keyed hash of the
owner and the session, what it holds is sealed, and sealed for them: moved to another name it does
not open.

Two requests of a session at the same time may both find new values. The one that saves later is
told so, loads what the other has saved, and gives its placeholders again on top of that: so one
placeholder never stands for two values, whichever worker they come to.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from extproc.guard import GuardError, TooMuchError, Work
from extproc.guard.placeholders import Mapping
from extproc.guard.sealing import seal, unseal
from extproc.state import LARGEST_MAPPING, Mappings, StateError

log = logging.getLogger(__name__)

NAME_BYTES: Final = 20
"""Of a keyed hash: 2^80 sessions until two are likely to share a name, and then they start anew in
turns, since neither opens what is the other's."""
WEIGHT: Final = 16
"""How much longer a mapping takes to be opened than as many bytes of JSON to be read."""
ENTRY: Final = 50
"""Bytes of a value and its name, about."""
_LENGTH: Final = 8


class FullError(TooMuchError):
    """A session has more values than may be kept of one. Not the store's fault: whoever goes on
    unguarded when the store is away must not do so now."""


@dataclass(slots=True)
class Held:
    """What one request knows of its session. `Sessions.save` brings it up to date."""

    name: str
    """The entry's, in the store."""
    context: bytes = field(repr=False)
    """What the entry is sealed for."""
    mapping: Mapping
    """As it is saved; empty if nothing is."""
    version: int
    """The entry's; 0 if there is none."""


class Sessions:
    """The mappings of all sessions. For every worker with the same key they are the same."""

    def __init__(self, store: Mappings, key: bytes, work: Work) -> None:
        """`key`: a secret of 16 bytes or more."""
        self._work = work
        self._store = store
        self._key = key
        self._naming = hashlib.blake2b(key).digest()
        self.unreadable = 0
        """Entries that did not open since the start: sealed with another key, or damaged."""

    async def load(self, owner: str, session: str) -> Held:
        """The mapping of a session, empty if none is kept or it does not open.

        `owner`: whose the session is; the same `session` of another owner is another one. Raises
        GuardError when the store is away.
        """
        context = _context(owner, session)
        name = self._name(context)
        try:
            found = await self._store.get(name)
        except StateError as error:
            raise _away(error) from error
        if found is None:
            return Held(name, context, Mapping(), 0)
        sealed, version = found
        try:
            opened = partial(unseal, sealed, self._key, context=context)
            mapping = await self._work.work(len(sealed) * WEIGHT, opened)
        except ValueError as error:
            self._unread(str(error))
            mapping = Mapping()
        return Held(name, context, mapping, version)

    async def save(self, held: Held, mapping: Mapping, keep: float) -> bool:
        """Keep `mapping`, made from `held`'s, for `keep` seconds from now; 0 or less: not at all.

        False if somebody was faster: then load again, and redact again from what is loaded. With
        True, `held` is as it was saved, and may be saved again. Raises FullError for more values
        than may be kept, GuardError when the store is away: then it may have been saved or not.
        """
        try:
            if keep <= 0:
                return await self._leave(held, mapping)
            if mapping == held.mapping and await self._is_kept(held, keep):
                return True
            closed = partial(seal, mapping, self._key, context=held.context)
            sealed = await self._work.work(len(mapping) * ENTRY * WEIGHT, closed)
            if len(sealed) > LARGEST_MAPPING:
                raise FullError(
                    f"{len(mapping)} values of one session come to {len(sealed)} bytes; "
                    f"{LARGEST_MAPPING} at most are kept"
                )
            version = await self._store.put(held.name, sealed, version=held.version, ttl=keep)
        except StateError as error:
            raise _away(error) from error
        if version:
            held.mapping, held.version = mapping, version
        return bool(version)

    async def forget(self, owner: str, session: str) -> None:
        """Let go of a session's mapping. Raises GuardError when the store is away."""
        try:
            await self._store.forget(self._name(_context(owner, session)))
        except StateError as error:
            raise _away(error) from error

    async def ping(self) -> None:
        """Raises GuardError when the store cannot be used."""
        try:
            await self._store.ping()
        except StateError as error:
            raise _away(error) from error

    async def close(self) -> None:
        """Give connections and files back."""
        await self._store.close()

    async def _is_kept(self, held: Held, keep: float) -> bool:
        """Whether nothing has to be written, now that the entry's time is set anew."""
        if not held.version:
            return not len(held.mapping)
        if not len(held.mapping):
            return True  # it did not open: its time is not made longer
        if await self._store.touch(held.name, keep):
            return True
        held.version = 0  # gone since it was loaded
        return False

    async def _leave(self, held: Held, mapping: Mapping) -> bool:
        if held.version:
            await self._store.forget(held.name)
        held.mapping, held.version = mapping, 0
        return True

    def _unread(self, reason: str) -> None:
        self.unreadable += 1
        if self.unreadable == 1:
            log.warning("a session's placeholders cannot be read, it begins anew; said once",
                        extra={"reason": reason})  # fmt: skip

    def _name(self, context: bytes) -> str:
        return hashlib.blake2b(
            context, digest_size=NAME_BYTES, key=self._naming, person=b"tollgate session"
        ).hexdigest()


def _context(owner: str, session: str) -> bytes:
    """No two pairs make the same: the owner's length comes first."""
    first, second = (text.encode("utf-8", "surrogatepass") for text in (owner, session))
    return len(first).to_bytes(_LENGTH, "big") + first + second


def _away(error: StateError) -> GuardError:
    return GuardError(f"the store of sessions' placeholders: {error}")
