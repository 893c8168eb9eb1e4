"""What requests that came a moment ago say to the cache, so that the same bytes are not taken apart
again: most exact hits repeat a request to the byte."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from extproc.cache.fingerprint import Asked, Place
from extproc.cache.replay import Asker
from extproc.cache.rules import Rules

MOST: Final = 512
"""Requests, the latest."""
LONGEST: Final = 8_192
"""Bytes of a body: all of them together have 4 MB then."""
_DIGEST: Final = 16

Key = tuple[bytes, Place]


class Reading(Struct, frozen=True):
    """What follows from a body, the rules of its route and its place alone. No request that must
    not be cached has one."""

    asked: Asked
    asker: Asker
    kind: str
    """Of the text's content."""


class Readings:
    """To be used from one thread."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: OrderedDict[Key, tuple[Rules, Reading]] = OrderedDict()

    def of(self, body: bytes, rules: Rules, place: Place) -> Reading | None:
        """Of the same body, if it came a moment ago."""
        if len(body) > LONGEST:
            return None
        key = _key(body, place)
        found = self._found.get(key)
        if found is None or found[0] is not rules:
            return None
        self._found.move_to_end(key)
        return found[1]

    def keep(self, body: bytes, rules: Rules, place: Place, reading: Reading) -> None:
        """For when it comes again."""
        if len(body) > LONGEST:
            return
        self._found[_key(body, place)] = rules, reading
        if len(self._found) > MOST:
            self._found.popitem(last=False)


def _key(body: bytes, place: Place) -> Key:
    return blake2b(body, digest_size=_DIGEST).digest(), place
