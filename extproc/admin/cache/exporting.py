"""Entries into lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from extproc.admin.cache.chosen import Chosen
from extproc.admin.cache.importing import mark
from extproc.admin.cache.lines import line_of, title
from extproc.state.answers import CacheStore, Entry, Placed

TOGETHER: Final = 16
"""Entries that are asked for at once: of the longest answers half a gigabyte, of usual ones some
kilobytes."""
PAGE: Final = 200


async def exported(store: CacheStore, secret: bytes, wanted: Chosen) -> AsyncIterator[bytes]:
    """The lines of all entries that are wanted, some at a time, below a first one that says which
    gateways they are good for. What is put or goes meanwhile may be there or not, and twice. Raises
    StateError."""
    yield title(mark(secret))
    # A store tells vectors all at once or not at all: first those, then what has none.
    async for batch in store.vectors():
        for at in range(0, len(batch), TOGETHER):
            yield await _lines(store, batch[at : at + TOGETHER], wanted)
    after = ""
    while True:
        page = await store.page(after, PAGE, wanted.first)
        bare = [one.head.id for one in page.entries if not one.head.embedder]
        for at in range(0, len(bare), TOGETHER):
            yield await _lines(store, bare[at : at + TOGETHER], wanted)
        after = page.after
        if not after:
            return


async def _lines(store: CacheStore, some: Sequence[Placed | int], wanted: Chosen) -> bytes:
    ids = [one if isinstance(one, int) else one.id for one in some]
    found = await asyncio.gather(*(store.find(one) for one in ids))
    lines = []
    for one, entry in zip(some, found, strict=True):
        if entry is None or not wanted.takes(entry.head):
            continue
        vector = b"" if isinstance(one, int) else one.vector
        lines.append(line_of(Entry(entry.head, entry.value, vector)))
    return b"".join(lines)
