"""The store of answers, and what an import needs besides, which is opened with the first one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from extproc.admin.answers import Refused
from extproc.admin.cache.importing import Importer, Outcome, Settings
from extproc.cache import CacheAway
from extproc.cache.embedders import EmbedderError, OpenEmbedder
from extproc.cache.words import Words
from extproc.state.answers import CacheStore, Entry, Placed

if TYPE_CHECKING:  # numpy takes 30 MB
    from extproc.cache.index import Index

log = logging.getLogger(__name__)


class CacheAdmin:
    """Belongs to one event loop."""

    def __init__(
        self,
        store: CacheStore,
        secret: bytes,
        words: Words,
        make_embedder: Callable[[], OpenEmbedder],
        make_index: Callable[[str, int], Index] | None = None,
    ) -> None:
        """`store` is its giver's to close. `secret`: with which scopes and tenants are marked.
        `make_embedder`: as `embedders.embedder`, and may take a second. `make_index`: of the id of
        an embedder and the width of its vectors, for an index that workers share; None: each
        worker fills its own from the store."""
        self.store = store
        self.secret = secret
        self._importer = Importer(
            store, secret, words, embedder=self._embedder_ready, added=self._added
        )
        self._make_embedder = make_embedder
        self._make_index = make_index
        self._embedder: OpenEmbedder | None = None
        self._index: Index | None = None
        self._opening = asyncio.Lock()

    async def take(self, lines: Sequence[bytes], settings: Settings) -> Outcome:
        """Keep what these lines say. Raises Refused, and StateError."""
        try:
            return await self._importer.take(lines, settings)
        except CacheAway as away:
            log.warning("an import broke off", extra={"reason": str(away)})
            message = "the embedder or the index does not answer; import again what is missing"
            raise Refused(503, message) from away

    async def close(self) -> None:
        """Give back what imports have opened."""
        for one in (self._embedder, self._index):
            if one is not None:
                await one.close()
        self._embedder = self._index = None

    async def _embedder_ready(self) -> OpenEmbedder:
        async with self._opening:
            if self._embedder is None:
                try:
                    self._embedder = await asyncio.to_thread(self._make_embedder)
                except EmbedderError as error:
                    raise Refused(503, str(error)) from error
            await self._embedder.prepare()
            return self._embedder

    async def _added(self, entries: Sequence[Entry]) -> None:
        """Put entries into an index that all workers share."""
        if self._make_index is None:
            return
        from extproc.cache.index.filling import take  # noqa: PLC0415 - numpy

        embedder = await self._embedder_ready()
        if self._index is None:
            self._index = self._make_index(embedder.id, embedder.dim)
        await take(self._index, [_placed(one) for one in entries])


def _placed(entry: Entry) -> Placed:
    head = entry.head
    return Placed(
        head.id,
        head.exact,
        head.family,
        head.answer,
        head.expires,
        head.embedder,
        entry.vector,
    )
