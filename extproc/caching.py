"""The cache of one worker: where it keeps answers, and what it compares questions with."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extproc.accounting import embedder_price
from extproc.admin.cache import CacheAdmin
from extproc.alerts import Alerts, cache_alert
from extproc.cache.flights import Flights
from extproc.cache.question import Billing
from extproc.cache.room import Cache
from extproc.cache.settings import Caching
from extproc.cache.words import Words
from extproc.catalogue import Catalogue
from extproc.mistakes import mistake
from extproc.state import StateError
from extproc.state.answers import CacheStore, Room, open_answers
from extproc.state.flights import open_flights
from extproc.stores import Stores
from extproc.telemetry.cache import CacheFigures

if TYPE_CHECKING:
    from extproc.cache.core import Event
    from extproc.cache.embedders import OpenEmbedder
    from extproc.cache.index import Index
    from extproc.cache.semantic import Semantics

log = logging.getLogger(__name__)

MARKS: Final = "fingerprint of requests"
"""The purpose of the secret that scopes and tenants are marked with."""
FIGURES_EVERY: Final = 5.0
"""Seconds between two looks at how the store stands, for metrics."""


def open_store(stores: Stores, wanted: Caching) -> CacheStore:
    """Where answers are kept. Raises ValueError for one that cannot be."""
    keeping, secret = stores.keeping, stores.secret
    room = Room(wanted.entries, wanted.bytes)
    key = secret.derive("entries of the cache")
    return open_answers(keeping.redis, Path(keeping.data), room, secret=key)


def words_of(stores: Stores) -> Words:
    """What opens stored questions."""
    return Words(stores.secret.derive("questions in the cache"))


def cache_admin(stores: Stores, wanted: Caching, store: CacheStore) -> CacheAdmin:
    """What the admin port may do about a store. Imports make vectors with an embedder of their
    own."""

    def make() -> OpenEmbedder:
        from extproc.cache.embedders import embedder  # noqa: PLC0415 - NumPy and a table of 16 MB

        folder = Path(stores.keeping.data)
        url, model = wanted.embedder_url, wanted.embedder_model
        return embedder(wanted.embedder, url, model, os.environ, folder)

    def index(embedder: str, dim: int) -> Index:
        from extproc.cache.index import open_index  # noqa: PLC0415 - as above

        return open_index(wanted.vectors, embedder, dim)

    secret = stores.secret.derive(MARKS)
    shared = index if wanted.vectors is not None else None
    return CacheAdmin(store, secret, words_of(stores), make, shared)


class OpenCache:
    """Opened by `start`, closed by `stop`."""

    def __init__(
        self, stores: Stores, wanted: Caching, told: CacheFigures, catalogue: Catalogue
    ) -> None:
        """Raises ValueError for a store that cannot be."""
        self._stores = stores
        self._wanted = wanted
        self._told = told
        self._billing: Billing | None = None
        if wanted.embedder_model is not None:
            provider, price = embedder_price(catalogue, wanted.embedder_model)
            self._billing = Billing(wanted.embedder_model, provider, price)
        self._alerts: Alerts | None = None
        self._store = open_store(stores, wanted)
        self._words = words_of(stores)
        self._flights = Flights(open_flights(stores.keeping.redis), self._store.get)
        self.admin = cache_admin(stores, wanted, self._store)
        self.cache = Cache(self._store, self._flights, self._words, self._semantics, told)
        self._figures: dict[str, float] = {}
        self._watching: asyncio.Task[None] | None = None
        told.watch(self.figures)

    def figures(self) -> Mapping[str, float]:
        """How the cache stands."""
        semantics = self.cache.open_semantics
        found = {
            **self._figures,
            "corrupt": float(self._store.corrupt),
            "flights": float(len(self._flights)),
        }
        if semantics is not None:
            found |= {
                "index_entries": float(len(semantics.following)),
                "following_behind": semantics.following.behind,
                "index_filling": float(not semantics.following.ready),
                "partitions": float(len(semantics.partitions)),
                "halted": float(semantics.partitions.halted),
            }
        return found

    async def start(self, alerts: Alerts | None = None) -> None:
        """Connect, and fill the index if there is something to fill it with. A store that is away
        is no reason not to start."""
        self._alerts = alerts
        self._flights.start()
        try:
            await self._store.ping()
            await self._store.get(bytes(32))
            async for batch in self._store.vectors():
                if batch:
                    self.cache.semantics()
                break
        except StateError as error:
            log.warning("the cache's store does not answer", extra={"reason": str(error)})
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Keep what came, save what was learned."""
        if self._watching is not None:
            self._watching.cancel()
        await self.admin.close()
        await self.cache.close()

    async def _watch(self) -> None:
        while True:
            try:
                stats = await self._store.stats()
                self._figures = {
                    "entries": float(stats.entries),
                    "bytes": float(stats.bytes),
                    "evicted": float(stats.evicted),
                    "expired": float(stats.expired),
                    "forgotten": float(stats.forgotten),
                }
            except StateError:
                self._figures = {}
            except Exception as error:  # noqa: BLE001 - of metrics alone
                log.error("the cache's figures are not to be had", extra=mistake(error))  # noqa: TRY400 - see there
                self._figures = {}
            await asyncio.sleep(FIGURES_EVERY)

    async def _semantics(self) -> Semantics:
        """Raises CacheAway as long as the embedder cannot be had."""
        from extproc.cache.embedders import embedder  # noqa: PLC0415 - FAISS and a table of 16 MB
        from extproc.cache.following import Following  # noqa: PLC0415 - as above
        from extproc.cache.index import open_index  # noqa: PLC0415 - as above
        from extproc.cache.judge import TOKEN, Judge  # noqa: PLC0415 - as above
        from extproc.cache.partitions import Partitions  # noqa: PLC0415 - as above
        from extproc.cache.semantic import Semantics  # noqa: PLC0415 - as above
        from extproc.cache.wordings import Wordings  # noqa: PLC0415 - as above

        wanted, told = self._wanted, self._told
        folder = Path(self._stores.keeping.data)
        made = await asyncio.to_thread(
            embedder, wanted.embedder, wanted.embedder_url, wanted.embedder_model, os.environ,
            folder,
        )  # fmt: skip
        await made.prepare()
        index = open_index(wanted.vectors, made.id, made.dim)
        wordings = Wordings()
        following = Following(self._store, index, wordings=wordings)
        partitions = Partitions(
            self._store,
            wanted.embedder,
            wordings=wordings,
            told=self._say,
            heard=self._heard,
            alone=self._stores.keeping.redis is None,
        )
        judge = None
        if wanted.judge_url is not None:
            judge = Judge(wanted.judge_url, os.environ.get(TOKEN) or None, told=told)
        semantics = Semantics(
            store=self._store,
            embedder=made,
            index=index,
            following=following,
            partitions=partitions,
            judge=judge,
            billing=self._billing,
            words=self._words,
            told=told,
        )
        partitions.start()
        following.start()
        return semantics

    def _say(self, key: bytes, event: Event) -> None:
        """A partition stopped serving semantic hits, or serves them again."""
        self._heard(key, event)
        if self._alerts is not None:
            self._alerts(cache_alert(event.value, self._route(key), key))

    def _heard(self, key: bytes, event: Event) -> None:
        route = self._route(key)
        log.warning(
            "semantic hits of a partition are %s",
            event.value,
            extra={"route": route, "partition": key.hex()[:16]},
        )
        self._told.event(event.value, route)

    def _route(self, key: bytes) -> str:
        semantics = self.cache.open_semantics
        return semantics.routes.get(key, "") if semantics is not None else ""
