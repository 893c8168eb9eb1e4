"""Files of keys, one JSON object a line: taken whole or not at all.

A line says what may be said of a new key, and how its secret comes about: `key` takes a `tg-…` key
over as it is; `id` and `digests` stand in what a gateway has exported; neither, and a new key is
made.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import structs

from extproc import strict_json
from extproc.errors import ClientError
from extproc.identity.keys import mint, parse
from extproc.identity.record import (
    MOST_DIGESTS,
    CheckLimits,
    Digest,
    FieldError,
    Fields,
    KeyRecord,
    converted,
    id_of,
    made,
    time_of,
)
from extproc.identity.secret import KeySecret
from extproc.identity.values import shown
from extproc.state import StoredKey

MOST_BYTES: Final = 32 * 1024 * 1024
MOST_LINES: Final = 10_000
"""Keys of one file. They go to the store in one transaction, so a larger set comes in parts."""
MOST_LINE: Final = 64 * 1024
"""Bytes of one line; the largest that can be valid has about half of it."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class FileError(ValueError):
    """Why a file of keys is not taken; nothing of it was. `line` counts from 1; None: the whole."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


class Imported(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of a file. `key`: the new secret, to be shown once; None where it was there."""

    id: str
    key: str | None = None

    def __repr__(self) -> str:
        return f"Imported({self.id!r})"


class Taken(msgspec.Struct, frozen=True):
    """A key of a file, ready to be stored."""

    line: int
    record: KeyRecord
    key: str | None = None

    def __repr__(self) -> str:
        return f"Taken({self.line}, {self.record.id!r})"


class _Line(Fields, kw_only=True, forbid_unknown_fields=True):
    key: str | None = None
    id: str | None = None
    digests: list[Digest] | None = None
    fingerprint: str | None = None
    created: float | None = None
    expires: float | None = None
    revoked: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the lines of a file are held against."""

    secret: KeySecret
    tiers: Collection[str]
    now: float
    """UTC epoch seconds."""
    check_limits: CheckLimits | None = None

    def made(self, line: _Line, key_id: str, created: float | None = None) -> KeyRecord:
        """The record that a line says, without digests. Raises FieldError."""
        return made(line, key_id, created or self.now, self.tiers, self.check_limits)


def read(text: bytes, reading: Reading) -> list[Taken]:
    """The keys of a file. Raises FileError for the first mistake."""
    if len(text) > MOST_BYTES:
        raise FileError(f"{len(text)} bytes; {MOST_BYTES} are the most")
    found: list[Taken] = []
    ids: dict[str, int] = {}
    digests: dict[str, int] = {}
    for number, line in _lines(text):
        try:
            one = _taken(number, line, reading)
        except FieldError as error:
            raise FileError(str(error), number) from None
        first = ids.setdefault(one.record.id, number)
        for digest in one.record.digests:
            first = min(first, digests.setdefault(digest.digest, number))
        if first != number:
            raise FileError(f"the same key as in line {first}", number)
        found.append(one)
    if not found:
        raise FileError("there is no key in it")
    return found


def meet(taken: Iterable[Taken], there: Sequence[StoredKey]) -> None:
    """Hold the keys of a file against those of the store. Raises FileError for the first that is
    there already."""
    ids = {one.id for one in there}
    digests = {digest for one in there for digest in one.digests}
    for one in taken:
        if one.record.id in ids:
            raise FileError(f"key {one.record.id} exists already", one.line)
        if any(digest.digest in digests for digest in one.record.digests):
            raise FileError("a secret of it exists already, under another id", one.line)


def write(records: Iterable[KeyRecord], secret: KeySecret) -> bytes:
    """Records as a file that `read` takes. It holds digests and no secrets; they are of use only
    to a gateway with the same secret, so each line names that by its fingerprint."""
    seal = {"fingerprint": secret.fingerprint}
    lines = [msgspec.json.encode(structs.asdict(one) | seal) for one in records]
    return b"".join(line + b"\n" for line in lines)


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    count = 0
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if not bare:
            continue
        count += 1
        if count > MOST_LINES:
            raise FileError(f"more than {MOST_LINES} keys; split the file", number)
        if len(bare) > MOST_LINE:
            raise FileError(f"{len(bare)} bytes; {MOST_LINE} are the most of a line", number)
        yield number, bare


def _taken(number: int, text: bytes, reading: Reading) -> Taken:
    try:
        tree = strict_json.load(text)
    except ClientError as error:
        raise FieldError(error.message.replace("The body", "the line", 1).rstrip(".")) from None
    line = converted(tree, _Line)
    if line.key is not None:
        return Taken(number, _taken_over(line, reading))
    if line.digests is not None:
        return Taken(number, _exported(line, reading))
    if line.id is not None:
        raise FieldError("id: an id without a key or digests opens nothing")
    key = mint()
    _refuse_times(line)
    record = reading.made(line, key.id)
    return Taken(number, _with(record, [Digest(reading.secret.digest(key.text))]), key.text)


def _taken_over(line: _Line, reading: Reading) -> KeyRecord:
    if line.digests is not None:
        raise FieldError("digests: key is there too; one of them is enough")
    key = parse(line.key or "")
    if key is None:
        raise FieldError("key: not a key of the form tg-…, or its checksum is wrong")
    if line.id is not None and line.id != key.id:
        raise FieldError(f"id: {shown(line.id)} is not the key's, which is {key.id}")
    _refuse_times(line)
    return _with(reading.made(line, key.id), [Digest(reading.secret.digest(key.text))])


def _refuse_times(line: _Line) -> None:
    for name in ("created", "revoked", "expires"):
        if getattr(line, name) is not None:
            instead = "; say expires_at" if name == "expires" else ""
            raise FieldError(f"{name}: stands only in an exported key, with its digests{instead}")


def _exported(line: _Line, reading: Reading) -> KeyRecord:
    """As it was: a key that has expired or was revoked stays so."""
    if line.id is None:
        raise FieldError("id: missing beside digests")
    if line.fingerprint is not None and line.fingerprint != reading.secret.fingerprint:
        raise FieldError(
            "fingerprint: the digests were made with another gateway's secret and would open "
            "nothing here"
        )
    if line.expires_in is not None or line.expires_at is not None:
        raise FieldError("expires: an exported key has this and not expires_in or expires_at")
    digests = line.digests or []
    if not 0 < len(digests) <= MOST_DIGESTS:
        raise FieldError(f"digests: {len(digests)} entries; there are 1 to {MOST_DIGESTS}")
    for one in digests:
        if _DIGEST.fullmatch(one.digest) is None:
            raise FieldError("digests: a digest is 64 hex digits in lower case")
        time_of("digests.until", one.until)
    if len({one.digest for one in digests}) != len(digests):
        raise FieldError("digests: one stands there twice")
    record = reading.made(line, id_of(line.id), time_of("created", line.created))
    return structs.replace(
        _with(record, digests),
        expires=time_of("expires", line.expires),
        revoked=time_of("revoked", line.revoked),
    )


def _with(record: KeyRecord, digests: Iterable[Digest]) -> KeyRecord:
    return structs.replace(record, digests=tuple(digests))
