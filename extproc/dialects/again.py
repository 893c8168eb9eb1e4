"""The second reading of a client's body, which was parsed and judged before."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Generic, TypeVar, cast

import msgspec

from extproc import strict_json

T = TypeVar("T", bound=msgspec.Struct)

_UNPRINTABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_SHOWN: Final = 40
_MAX_UNKNOWN: Final = 16


class Again(Generic[T]):
    """Reads bodies that were parsed before. Most have no field that the format lacks: they are
    read as of a type that takes no other, which tells it without a second look."""

    def __init__(self, kind: type[T]) -> None:
        exact = msgspec.defstruct(
            kind.__name__, (), bases=(kind,), forbid_unknown_fields=True, frozen=True, kw_only=True
        )
        self._exact = msgspec.json.Decoder(cast("type[T]", exact))
        self._any = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> T:
        """The body. Raises msgspec.MsgspecError."""
        try:
            return self._exact.decode(body)
        except msgspec.ValidationError:
            return self._any.decode(body)


def unknown(asked: msgspec.Struct, body: bytes, fields: Collection[str]) -> tuple[str, ...]:
    """Top-level names of a body that are not among `fields`, as they may stand in a header: a name
    is the client's own text. `asked` is what `Again` has made of the body."""
    if asked.__struct_config__.forbid_unknown_fields:
        return ()
    found = [key for key in strict_json.keys(body) if key not in fields]
    return tuple(_UNPRINTABLE.sub("?", key[:_MAX_SHOWN]) for key in found[:_MAX_UNKNOWN])
