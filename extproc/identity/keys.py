"""The form of a key: `tg-`, an id, a secret, a checksum.

    tg- 0123456789Ab 0123456789ABCDEFGHIJKLMNOPQRSTUV 0aB1cD
        12: the id   32: the secret                   6: CRC-32 of all before it

All of it is base62, so a double click takes the whole key. The id is no secret: records and
metrics name a key by it. The checksum lets a scanner of repositories and logs tell a key from what
only looks like one, without asking anybody; GitHub's tokens carry one of the same kind.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from typing import Final

import msgspec

PREFIX: Final = "tg-"
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID: Final = 12
"""Characters of an id: 71 bits, so that ids drawn by different gateways do not meet."""
SECRET: Final = 32
"""Characters of a secret: 190 bits."""
CHECKSUM: Final = 6
"""Characters of a checksum: 62⁶ is above 2³²."""
LENGTH: Final = len(PREFIX) + ID + SECRET + CHECKSUM
SCANNED: Final = r"tg-[0-9A-Za-z]{50}"
"""Finds keys in text; `parse` says which of the finds are."""

_KEY: Final = re.compile(SCANNED)
_ID: Final = re.compile(f"[0-9A-Za-z]{{{ID}}}")


class Key(msgspec.Struct, frozen=True):
    """A key that has the right form. Whether it opens anything only the store knows."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"Key({self.id!r})"


def mint(key_id: str | None = None) -> Key:
    """A new key; with `key_id` one more secret for an id."""
    if key_id is None:
        key_id = _drawn(ID)
    body = PREFIX + key_id + _drawn(SECRET)
    return Key(key_id, body + checksum(body))


def parse(text: str) -> Key | None:
    """The key that `text` is; None if it has another form or its checksum is wrong."""
    if _KEY.fullmatch(text) is None or checksum(text[:-CHECKSUM]) != text[-CHECKSUM:]:
        return None
    return Key(text[len(PREFIX) : len(PREFIX) + ID], text)


def is_id(text: str) -> bool:
    """Whether `text` has the form of a key's id."""
    return _ID.fullmatch(text) is not None


def checksum(body: str) -> str:
    """CRC-32 (IEEE 802.3) of ASCII text, in base62, most significant digit first."""
    return _digits(zlib.crc32(body.encode("ascii")), CHECKSUM)


def _drawn(length: int) -> str:
    return _digits(secrets.randbelow(len(ALPHABET) ** length), length)


def _digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
