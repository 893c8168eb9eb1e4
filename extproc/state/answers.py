"""Answers kept for the cache: the door of its store, and what goes through it.

An entry answers one exact request. What was asked stands in it only as hashes, unless whoever puts
it here has sealed it. Every change has a number; workers follow the numbers to keep their indexes
of vectors, and an answer that was on its way while its like was being forgotten is not kept.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

KEY: Final = 32
"""Bytes of an exact key, of a family, of a scope, of a text's hash."""
LARGEST_VALUE: Final = 32 << 20
"""Bytes of a stored answer; policies allow less."""
LARGEST_BLOB: Final = 4 << 20
ROW: Final = 1024
"""Bytes that an entry comes to beside its answer and its vector: two heads, its places in trees."""
MOST_CHANGES: Final = 65_536
"""Changes that are remembered for who follows."""
MOST_FORGOTTEN: Final = 1000
"""Matches remembered for answers that are on their way."""
BLOB_SECONDS: Final = 90 * 86_400.0
"""How long a blob and labels are kept that nobody writes to."""

_SHOWN: Final = re.compile("[0-9a-f]{16}")

What = Literal["all", "tag", "route", "tenant", "model", "family", "answer", "older"]


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """All of an entry but the answer and the vector."""

    id: int
    """As `new_id` makes it."""
    exact: bytes
    """32 bytes: the key of the request."""
    family: bytes
    """32 bytes: the partition."""
    scope: bytes
    """32 bytes: a keyed hash of who may be served."""
    tenant: str = ""
    """What `Match` calls a tenant: a keyed hash too, or empty where nobody was named."""
    route: str
    model: str
    kind: str
    """Of content."""
    tags: tuple[str, ...] = ()
    created: float
    """UTC epoch seconds at which the answer was asked for; an alias has its answer's."""
    expires: float
    """UTC epoch seconds; from then on nobody gets the entry."""
    answer: int
    """The id of the entry whose answer it is: its own, or for an alias another's."""
    target: str
    """That gave the answer. Empty: nobody's, any request may have it."""
    provider_model: str = ""
    """What the target asked its provider for then. Empty: not known."""
    cost: int
    """Nano-dollars that a hit saves."""
    text: bytes = b""
    """Hash of the text that was compared."""
    embedder: str = ""
    """Which made the vector. Empty: there is none."""
    meta: bytes = b""
    """For whoever put it here. Sealed, if it tells what was asked."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is put, and what is got (then without its vector)."""

    head: Head
    value: bytes
    vector: bytes = b""


class Match(msgspec.Struct, frozen=True):
    """Which entries are meant: those of one tag, route, tenant, model (asked for), family (in
    hex) or answer (its id as `shown`); all; or, for `older`, those created before a time in epoch
    seconds (`repr` of a float)."""

    what: What
    value: str = ""


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An entry as it is listed."""

    head: Head
    size: int
    """Bytes that are counted for it."""
    hits: int
    saved: int
    """Nano-dollars, of all hits that were noted."""


class Page(msgspec.Struct, frozen=True):
    """Some of the entries."""

    entries: Sequence[Listed]
    after: str
    """What to ask with for more; empty at the end."""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An entry with a vector has come."""

    id: int
    exact: bytes
    family: bytes
    answer: int
    expires: float
    embedder: str
    vector: bytes


class Gone(msgspec.Struct, frozen=True):
    """Entries are no more, with or without vectors."""

    ids: tuple[int, ...]


class Forgotten(msgspec.Struct, frozen=True):
    """All that match are served no more. `Gone` follows with what they were."""

    match: Match


Change = Placed | Gone | Forgotten


class Changes(msgspec.Struct, frozen=True):
    """What has happened."""

    changes: Sequence[Change]
    cursor: str
    """What to ask with for more."""
    reload: bool = False
    """More has happened than is remembered, or the store is another: begin anew, with `vectors`.
    There are no changes then, and the cursor is of before the reload."""
    more: bool = False
    """There is more already."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How a store stands. Counts are since it was begun, of all workers."""

    entries: int
    bytes: int
    hits: int
    saved: int
    evicted: int
    expired: int
    forgotten: int


class Room(msgspec.Struct, frozen=True):
    """How much a store may hold. Beyond, entries go that saved least for their bytes and age."""

    entries: int = 1_000_000
    bytes: int = 4 << 30


class CacheStore(Protocol):
    """Entries by exact key and by id, and small blobs by name.

    Every method that waits raises StateError when the store is away: `get` and `find` soon enough
    for a request that waits, the others within seconds.
    """

    corrupt: int
    """Entries, vectors and blobs found damaged since the start, by this process."""

    async def get(self, exact: bytes) -> Entry | None:
        """The entry of a request; None if there is none, it is over, forgotten or damaged."""
        ...

    async def find(self, entry: int) -> Entry | None:
        """The entry with an id, likewise."""
        ...

    async def show(self, entry: int) -> Listed | None:
        """The entry with an id, as it is listed."""
        ...

    async def put(self, entry: Entry, *, since: str = "", of: int = 0) -> bool:
        """Keep an entry, in the place of the one with its exact key.

        since: a cursor of before it was asked for (that at which a follower stood will do); empty:
        whatever was forgotten since does not matter. of: for an alias, the id of the entry that
        had its answer; that must be there still. False: its like was forgotten meanwhile or it
        does not fit, and it is not kept. Raises ValueError for what no entry may be.
        """
        ...

    def touch(self, entry: int, saved: int) -> None:
        """Note a hit. Told to the store together with others, within a second."""
        ...

    async def flush(self) -> None:
        """Tell it now."""
        ...

    async def drop(self, ids: Sequence[int]) -> int:
        """Remove entries; returns how many there were."""
        ...

    async def forget(self, match: Match) -> int:
        """Nobody gets an entry that matches and is there now, from the moment on at which the
        store has heard of it. Returns, once they are removed, how many were; a store that is lost
        in between removes the rest later."""
        ...

    async def page(self, after: str = "", most: int = 200, match: Match | None = None) -> Page:
        """Entries that are neither over nor forgotten, in no order, about `most` of them looked
        at. One may come twice, or not at all, if it is put or removed meanwhile."""
        ...

    async def stats(self) -> Stats:
        """How it stands."""
        ...

    async def cursor(self) -> str:
        """Of now."""
        ...

    async def changes(self, after: str, most: int = 1000) -> Changes:
        """What has happened since a cursor, oldest first."""
        ...

    def vectors(self) -> AsyncIterator[Sequence[Placed]]:
        """All entries with vectors, in batches. One may come twice; who has taken the cursor
        before misses none."""
        ...

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """A blob, and its version (1 or more)."""
        ...

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """Put a blob in the place of the one of `version`; 0: where none is. Its new version,
        which none of that name had before; 0 if somebody else was faster. Raises ValueError for
        more than `LARGEST_BLOB` bytes."""
        ...

    async def append(self, name: str, labels: Sequence[bytes], keep: int = 10_000) -> None:
        """Add labels under a name, of which the last `keep` or some more stay. What several append
        at once comes in some order, none lost."""
        ...

    async def labels(
        self, name: str, after: str = "", most: int = 10_000
    ) -> tuple[list[bytes], str]:
        """Labels under a name after those of a cursor (empty: from the first on), oldest first, and
        the cursor of the last."""
        ...

    async def discard(self, name: str) -> None:
        """Remove the blob and the labels of a name."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Tell of the last hits; give connections and files back."""
        ...


def open_answers(
    redis: str | None, folder: Path, room: Room | None = None, *, secret: bytes = b""
) -> CacheStore:
    """In Redis if its URL is given, else in a file of `folder`, which all workers of a machine may
    share. Not asked yet. `secret`: if there is one, nobody without it can make or change what is
    served. Raises ValueError for a URL that cannot be."""
    if redis is not None:
        from extproc.state.shared_answers import SharedAnswers  # noqa: PLC0415 - 40 ms that one worker need not spend

        return SharedAnswers(redis, room or Room(), secret=secret)
    from extproc.state.sqlite.answers import SqliteAnswers  # noqa: PLC0415 - not with Redis

    return SqliteAnswers(folder, room or Room(), secret=secret)


def new_id() -> int:
    """Random, of 1 to 2^63 - 1: nobody can guess one, and two of a million are the same once in
    ten million stores."""
    return secrets.randbits(63) or 1


def shown(entry: int) -> str:
    """An id as people and headers see it."""
    return f"{entry:016x}"


def read_id(text: str) -> int:
    """The id that was shown so. Raises ValueError."""
    found = int(text, 16) if _SHOWN.fullmatch(text) else 0
    if not 0 < found < 1 << 63:
        raise ValueError(f"{text[:40]!r} is no entry's id: 16 hexadecimal digits")
    return found


def alias_of(original: Entry, head: Head, vector: bytes) -> Entry:
    """Another request's entry with an answer that is there already: it is as old as that, over no
    later, and goes with that one's tags too. To be put with `of=original.head.id`."""
    whole = original.head
    made = msgspec.structs.replace(
        head,
        answer=whole.answer,
        created=whole.created,
        expires=min(head.expires, whole.expires),
        tags=tuple(dict.fromkeys((*head.tags, *whole.tags))),
        target=whole.target,
        provider_model=whole.provider_model,
        kind=whole.kind,
    )
    return Entry(made, original.value, vector)
