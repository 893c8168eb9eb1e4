"""How entries are written, and what the stores of entries reckon alike.

Everything that is stored has a checksum in front that its id goes into: what was damaged, cut short
or stands in another's place is told from what was written.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.state.answers import KEY, LARGEST_BLOB, LARGEST_VALUE, ROW, Entry, Head, Match, shown

DIGEST: Final = 16
_PERSON: Final = b"tollgate-answers"
SECONDARY: Final = 1e-9
"""What a change's number adds to a priority: of equals, those go first that were used before. The
billionth change adds a nano-dollar a byte; a short answer of a small model saves some ten."""
OLDER: Final = "older"

_encode: Final = msgspec.msgpack.Encoder().encode
_head: Final = msgspec.msgpack.Decoder(Head).decode
_body: Final = msgspec.msgpack.Decoder(tuple[Head, bytes]).decode


class DamagedError(Exception):
    """What was read is not what was written."""


class Frames:
    """Writes and reads. With a `secret` the checksum is one that nobody without it can make."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = hashlib.sha256(secret).digest() if secret else b""

    def seal(self, salt: bytes, payload: bytes) -> bytes:
        """With a checksum. `salt`: up to 16 bytes that say what it is."""
        return self._digest(salt, payload) + payload

    def open(self, salt: bytes, sealed: bytes) -> bytes:
        """What was sealed with the same salt. Raises DamagedError."""
        payload = sealed[DIGEST:]
        if not hmac.compare_digest(self._digest(salt, payload), sealed[:DIGEST]):
            raise DamagedError
        return payload

    def head(self, head: Head) -> bytes:
        """A head alone."""
        return self.seal(_salt(head.id, b"h"), _encode(head))

    def read_head(self, entry: int, sealed: bytes) -> Head:
        """The head of an entry. Raises DamagedError."""
        try:
            return _head(self.open(_salt(entry, b"h"), sealed))
        except msgspec.MsgspecError as error:
            raise DamagedError from error

    def body(self, entry: Entry) -> bytes:
        """A head with its answer."""
        return self.seal(_salt(entry.head.id, b"b"), _encode((entry.head, entry.value)))

    def read_body(self, entry: int, sealed: bytes, exact: bytes) -> Entry:
        """The entry of a request, without its vector. Raises DamagedError."""
        try:
            head, value = _body(self.open(_salt(entry, b"b"), sealed))
        except msgspec.MsgspecError as error:
            raise DamagedError from error
        if head.id != entry or head.exact != exact:
            raise DamagedError
        return Entry(head, value)

    def vector(self, entry: int, vector: bytes) -> bytes:
        """An entry's vector."""
        return self.seal(_salt(entry, b"v"), vector)

    def read_vector(self, entry: int, sealed: bytes) -> bytes:
        """An entry's vector. Raises DamagedError."""
        return self.open(_salt(entry, b"v"), sealed)

    def _digest(self, salt: bytes, payload: bytes) -> bytes:
        return hashlib.blake2b(
            payload, digest_size=DIGEST, key=self._secret, salt=salt, person=_PERSON
        ).digest()


def _salt(entry: int, part: bytes) -> bytes:
    return entry.to_bytes(8, "big") + part


def name_of(blob: str) -> bytes:
    """16 bytes that stand for a blob's name in stores, and seal it."""
    return hashlib.blake2b(blob.encode(), digest_size=16, person=_PERSON).digest()


def check(entry: Entry) -> None:
    """Raises ValueError for what no entry may be."""
    head = entry.head
    if not 0 < head.id < 1 << 63 or not 0 < head.answer < 1 << 63:
        raise ValueError("an entry's id is of 1 to 2^63 - 1")
    if any(len(key) != KEY for key in (head.exact, head.family, head.scope)):
        raise ValueError(f"keys have {KEY} bytes")
    if len(entry.value) > LARGEST_VALUE:
        raise ValueError(f"an answer of {len(entry.value)} bytes; {LARGEST_VALUE} at most")
    if bool(entry.vector) != bool(head.embedder):
        raise ValueError("a vector has an embedder, and none without")


def check_blob(blob: bytes) -> None:
    """Raises ValueError for what is too large."""
    if len(blob) > LARGEST_BLOB:
        raise ValueError(f"a blob of {len(blob)} bytes; {LARGEST_BLOB} at most")


def size_of(entry: Entry) -> int:
    """Bytes that are counted for an entry."""
    head = entry.head
    return len(entry.value) + len(entry.vector) + len(head.meta) + ROW


def worth_of(head: Head) -> int:
    """Nano-dollars that count for an entry before its first hit. One that cost nothing still has a
    little, or it would go by its age alone."""
    return max(head.cost, 1)


def priority(inflation: float, worth: float, saved: float, size: int, number: int) -> float:
    """The lowest goes first: GreedyDual-Size-Frequency (Cherkasova, HP Labs 98-69, 1998), whose
    frequency times cost is what the entry has saved and saves once more. `inflation` is the
    priority of the last that went, so that what is not used any longer is overtaken by what comes.
    """
    return inflation + (worth + saved) / size + number * SECONDARY


# --- what matches -------------------------------------------------------------------------


def attribute(match: Match) -> str:
    """A match as the one name that stores compare."""
    return match.what if match.what == "all" else f"{match.what}\0{match.value}"


def match_of(name: str) -> Match:
    """The match of which it is the name."""
    what, _, value = name.partition("\0")
    return msgspec.convert({"what": what, "value": value}, Match)


def attributes(head: Head) -> tuple[str, ...]:
    """Names of all matches but by age that an entry belongs to."""
    return (
        "all",
        f"route\0{head.route}",
        f"tenant\0{head.tenant}",
        f"model\0{head.model}",
        f"family\0{head.family.hex()}",
        f"answer\0{shown(head.answer)}",
        *(f"tag\0{tag}" for tag in head.tags),
    )


def limit_of(match: Match) -> float:
    """The time that entries of an `older` match are created before. Raises ValueError."""
    found = float(match.value)
    if not 0 <= found < float("inf"):
        raise ValueError(f"{match.value!r} is no time")
    return found


def is_forgotten(head: Head, number: float, forgotten: Mapping[str, float]) -> bool:
    """An entry with this number was put before one of its attributes was forgotten. `forgotten`:
    numbers by attribute, and under `OLDER` a time."""
    if not forgotten:
        return False
    if head.created < forgotten.get(OLDER, 0.0):
        return True
    return any(number < forgotten.get(name, 0) for name in attributes(head))


def matches(match: Match | None, head: Head) -> bool:
    """An entry is one of those that are meant."""
    if match is None:
        return True
    if match.what == "older":
        return head.created < limit_of(match)
    return attribute(match) in attributes(head)
