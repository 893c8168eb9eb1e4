"""A mapping as it may be kept where others can read. What is sealed for one conversation does not
open for another (`context`)."""

from __future__ import annotations

from typing import Final

from extproc import sealing
from extproc.guard.placeholders import Mapping

_PURPOSE: Final = b"tollgate guard mapping"


def seal(mapping: Mapping, key: bytes, *, context: bytes = b"") -> bytes:
    """`mapping` for a store, 33 bytes longer than `Mapping.to_bytes`.

    `key` is the gateway's secret, of any length from 16 bytes; `context` names the conversation (a
    session's id and its owner). Raises ValueError for a shorter key.
    """
    return sealing.seal(mapping.to_bytes(), key, purpose=_PURPOSE, context=context)


def unseal(data: bytes, key: bytes, *, context: bytes = b"") -> Mapping:
    """What `seal` was given. ValueError for anything else: another key, context, bytes."""
    return Mapping.from_bytes(sealing.unseal(data, key, purpose=_PURPOSE, context=context))
