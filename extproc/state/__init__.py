"""What outlives a stream. The only room that knows Redis and SQLite.

The doors: `Notes`, short-lived facts between the filters of one request, which may run in
different workers; `KeyStore`, the callers' keys; `LedgerStore`, one record a request and what is
summed up from them; `Mappings`, the sealed placeholders of sessions.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

NOTE_SECONDS: Final = 900.0
"""How long a note is kept if nobody takes it: longer than any request that still walks."""
MOST_NOTES: Final = 64
"""Notes kept for one request; a chain has fewer levels."""
LARGEST_MAPPING: Final = 1 << 20
"""Bytes of a sealed mapping: some 20,000 names or e-mail addresses of one session."""
HOUR: Final = 3600
DAY: Final = 86_400


class StateError(Exception):
    """The store is away or refused."""


class ExistsError(StateError):
    """What was to be made is there already; the text names it."""


class Notes(Protocol):
    """Notes under a request's id, in the order they were left."""

    async def leave(self, request_id: str, note: bytes) -> None:
        """Add a note. Raises StateError."""
        ...

    async def take(self, request_id: str) -> list[bytes]:
        """All notes of a request, which are then forgotten. Raises StateError."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class StoredKey(msgspec.Struct, frozen=True):
    """A key as the store knows it: its id, what is known of it, and how its secrets are found."""

    id: str
    record: bytes
    """For the identity room; the store does not look inside."""
    digests: tuple[str, ...]
    """Keyed hashes of the secrets that are good for it, two during a rotation."""


class KeyStore(Protocol):
    """Keys by id and by digest. Every method raises StateError when the store is away."""

    async def add(self, keys: Sequence[StoredKey]) -> None:
        """All of them or none. Raises ExistsError if an id or a digest is there already."""
        ...

    async def replace(self, key: StoredKey, old: bytes) -> bool:
        """Put `key` in the place of the one with its id, if that still holds the record `old`;
        digests that it no longer has are forgotten. False if somebody else was faster."""
        ...

    async def find(self, digest: str) -> StoredKey | None:
        """The key a digest belongs to."""
        ...

    async def get(self, key_id: str) -> StoredKey | None:
        """The key with an id."""
        ...

    async def list(self) -> list[StoredKey]:
        """All keys, by id."""
        ...

    async def revision(self) -> str:
        """Another one after each `add` and `replace`, and none that was there before."""
        ...

    async def settle(self, name: str, value: str) -> str:
        """Agree on a setting: `value` if none stands under `name` yet, else what stands there."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections and files back."""
        ...


MEASURES: Final = (
    "requests",
    "errors",
    "aborted",
    "estimated",
    "unpriced",
    "walked",
    "cache_hits",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
    "saved",
)
"""What a cell sums, in this order; integers. `cost` and `saved` in nano-dollars."""


class Cell(msgspec.Struct, frozen=True, gc=False):
    """What one record adds to one row of one view. Kept by the hour and by the day."""

    view: str
    """Which dimensions its key has; the ledger knows, the store does not look inside."""
    key: str
    """Values of the view's dimensions, as JSON."""
    sums: tuple[int, ...]
    """One for each of `MEASURES`."""
    bins: dict[str, int] = {}
    """Counts of sketches' bins, added up by name; at most some hundred names a row."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record on its way into the ledger."""

    id: str
    """Unique; sorts by time. The store takes each id once."""
    started: float
    """UTC epoch seconds; its hour and day (UTC) are the rows' that its cells go to."""
    record: bytes
    """The record as JSON; for the ledger."""
    cells: tuple[Cell, ...]
    content: bytes | None = None
    """What was asked and answered, as JSON, where a route keeps it."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """The sum of a row over a span of time."""

    key: str
    sums: tuple[int, ...]
    bins: dict[str, int]


class LedgerStore(Protocol):
    """Records and rollups. Every method raises StateError when the store is away.

    Spans are `since <= t < until`, UTC epoch seconds.
    """

    async def write(self, entries: Sequence[Entry]) -> int:
        """Take each entry whose id is new, with its cells in one transaction; returns how many
        were. Entries that are there already change nothing."""
        ...

    async def record(self, record_id: str) -> tuple[bytes, bytes | None] | None:
        """A record and its content."""
        ...

    def records(self, since: float, until: float) -> AsyncIterator[Sequence[bytes]]:
        """All records that started in a span, oldest first, in batches of bounded size."""
        ...

    async def rows(self, view: str, since: int, until: int, *, bins: bool = False) -> list[Row]:
        """The view's rows summed over a span of whole hours: whole days (UTC) in it are taken from
        the days' rows. `bins`: with the sketches, which cost more."""
        ...

    async def series(self, view: str, since: int, until: int, step: int) -> Mapping[int, list[Row]]:
        """The view's rows, without sketches, by the start of each hour (`step=HOUR`) or UTC day
        (`step=DAY`) that has any."""
        ...

    async def prune(self, records_before: float, rollups_before: float) -> None:
        """Forget records and rollups that are older, each by its own age."""
        ...

    async def generation(self) -> str:
        """Changes when the store has been restarted or exchanged and may have lost what was
        written last."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections and files back."""
        ...


class Mappings(Protocol):
    """What placeholders stand for, sealed by whoever puts it here, one entry a session.

    Every method raises StateError when the store is away. An entry whose time is over is gone for
    every reader at once, and from memory or disk soon after.
    """

    async def get(self, name: str) -> tuple[bytes, int] | None:
        """What is sealed under a name, and its version (1 or more)."""
        ...

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:
        """Keep `sealed` for `ttl` seconds (more than 0) in the place of the entry of `version`; 0:
        where none is. Its new version, which no entry of this name had before; 0 if somebody else
        was faster. Raises StateError for more than `LARGEST_MAPPING` bytes."""
        ...

    async def touch(self, name: str, ttl: float) -> bool:
        """Keep an entry for `ttl` seconds from now, longer or shorter than before. False: there is
        none."""
        ...

    async def forget(self, name: str) -> None:
        """Let go of an entry, if there is one."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the store cannot be used."""
        ...

    async def close(self) -> None:
        """Give connections and files back."""
        ...


def new_version() -> int:
    """Random, not counted: an entry that was forgotten and made anew must not come to a version
    that somebody has seen."""
    return secrets.randbits(62) + 1


def check_mapping(sealed: bytes) -> None:
    """Raises StateError for what is larger than an entry may be."""
    if len(sealed) > LARGEST_MAPPING:
        raise StateError(f"an entry of {len(sealed)} bytes; {LARGEST_MAPPING} at most")
