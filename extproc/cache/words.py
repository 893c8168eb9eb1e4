"""The words of stored questions: sealed where they lie, and open only while two are compared."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from extproc import sealing
from extproc.state.answers import Entry

_PURPOSE: Final = b"tollgate cache question"


class Words:
    """Seals and opens with one key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """`key`: a secret of 16 bytes or more."""
        self._key = key

    def mark(self, text: str) -> bytes:
        """32 bytes that equal texts share, and that tell nobody without the key which they are."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def sealed(self, text: str, exact: bytes) -> bytes:
        """As it is put into the entry of the request with that key."""
        plain = text.encode("utf-8", "surrogatepass")
        return sealing.seal(plain, self._key, purpose=_PURPOSE, context=exact)

    def opened(self, entry: Entry) -> str | None:
        """What was asked. None: nothing that was compared, or not to be opened with this key."""
        if not entry.head.meta:
            return None
        try:
            plain = sealing.unseal(
                entry.head.meta, self._key, purpose=_PURPOSE, context=entry.head.exact
            )
            return plain.decode("utf-8", "surrogatepass")
        except ValueError:
            return None
