"""Findings of texts that come again: a conversation's history is sent with each of its turns.

What is kept cannot be read: a keyed hash of the text, and types and places of what was found in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final

from extproc.guard import Finding, PartialError, Text

TEXTS: Final = 4096
"""Texts that are remembered for a route: some eighty conversations of fifty messages; 1 MB."""
FINDINGS: Final = 32_768
"""Findings of all these texts together; 4 MB."""
SHORTEST: Final = 64
"""Characters of a text below which looking takes hardly longer than remembering."""
_DIGEST: Final = 16
"""Bytes of a hash: two of 2^32 texts are one with a chance of 2^-65, and without the key nobody can
look for such."""

Look = Callable[[Sequence[Text]], Awaitable[list[list[Finding]]]]
"""Looks through texts, as `Scan.find` does."""


class Remembered:
    """The least recently used go first. To be used from one thread."""

    def __init__(self, key: bytes, *, texts: int = TEXTS, findings: int = FINDINGS) -> None:
        """`key`: random, 16 to 64 bytes, of this process alone."""
        self._key = key
        self._texts = texts
        self._findings = findings
        self._kept: OrderedDict[bytes, tuple[Finding, ...]] = OrderedDict()
        self._size = 0
        self.hits = 0
        """Texts that were not looked through again."""
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keys(self, texts: Sequence[Text]) -> list[bytes | None]:
        """For each text its key, None for a short one. May be called in any thread.

        Takes a millisecond for a megabyte.
        """
        return [self._hashed(one) if len(one.value) >= SHORTEST else None for one in texts]

    def get(self, key: bytes | None) -> list[Finding] | None:
        """What was found in the text of a key; None if that is not known."""
        if key is None:
            return None
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return list(found)

    def put(self, key: bytes | None, found: Sequence[Finding]) -> None:
        """Remember it, unless there is so much of it that little else would be."""
        if key is None or key in self._kept or len(found) > self._findings // 4:
            return
        self._kept[key] = tuple(found)
        self._size += len(found)
        while len(self._kept) > self._texts or self._size > self._findings:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone)

    def _hashed(self, text: Text) -> bytes:
        under = text.under.encode("utf-8", "surrogatepass")
        # Where one ends and the other begins is part of what is hashed.
        hashed = blake2b(len(under).to_bytes(8), digest_size=_DIGEST, key=self._key)
        hashed.update(under)
        hashed.update(text.value.encode("utf-8", "surrogatepass"))
        return hashed.digest()


async def recalled(
    memory: Remembered, texts: Sequence[Text], keys: Sequence[bytes | None], look: Look
) -> list[list[Finding]]:
    """Findings of all texts, of which only those not remembered are looked through. Raises
    PartialError with the findings of all, and remembers none of those."""
    known = [memory.get(key) for key in keys]
    missing = [at for at, found in enumerate(known) if found is None]
    if missing:
        try:
            fresh = await look([texts[at] for at in missing])
        except PartialError as error:
            for at, found in zip(missing, error.found, strict=True):
                known[at] = found
            raise PartialError(error, [found or [] for found in known]) from error
        for at, found in zip(missing, fresh, strict=True):
            memory.put(keys[at], found)
            known[at] = found
    return [found or [] for found in known]
