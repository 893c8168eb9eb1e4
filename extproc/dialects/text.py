"""Text on its way from a provider's event to a client's: a JSON string that stays as it is."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

EMPTY: Final = b'""'

encode: Final = msgspec.json.encode
"""A Python string as a literal."""

_STRING: Final = msgspec.json.Decoder(str)


PLAIN: Final = rb'"[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+"'
"""A pattern of string literals. Those with `\\u` are left out: the escape may be half of a pair.
Its bytes are known to be UTF-8 only where they are ASCII."""

NONE: Final = Raw(b"")
"""The default of a field that is read with `literal`; typed `Raw | None`, msgspec would decode
it."""


def literal(raw: Raw) -> bytes:
    """A field that should be a string, as a JSON string literal with its quotes; `b""` if it is
    absent, null or an empty string. Raises msgspec.MsgspecError if it is something else, or is
    not UTF-8: msgspec looks into a `Raw` no further than to find its end.
    """
    data = bytes(raw)
    if data[:1] == b'"':
        if data == EMPTY:
            return b""
        if not data.isascii() or b"\\" in data:
            _STRING.decode(data)
        return data
    if data == b"null" or not data:
        return b""
    raise msgspec.ValidationError("Expected `str | null`")


def is_utf8(data: bytes) -> bool:
    """Bytes that a pattern has found may be anything."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
