"""A worker's index of vectors, kept as the store of entries is.

First all vectors are read, then every change is taken over. What is removed while they are still
being read is removed at once too: a large store takes minutes. An index that all workers share is
not filled by them, for it survives them; what leaves the store every worker takes out of it, which
does no harm twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from array import array
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, cast

import numpy as np

from extproc.cache import CacheAway
from extproc.cache.index import Ids, Index
from extproc.cache.index.filling import Filled, take
from extproc.cache.wordings import Wordings
from extproc.state import StateError
from extproc.state.answers import CacheStore, Change, Gone, Placed

log = logging.getLogger(__name__)

EVERY: Final = 0.2
"""Seconds between two looks for changes: what was forgotten is out of every index well within a
second."""
TOLD_EVERY: Final = 2.0
"""Seconds between two words on how far the index is filled."""
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts while the store is away."""
MOST_MISSED: Final = 10_000
_SOON: Final = 0.05
"""Seconds after something was put here in which more is awaited: a look costs a millisecond."""
_BATCH: Final = 500
_SLICE: Final = 32  # entries read at the start between which others have their turn
_COUNTED: Final = 60.0  # seconds between two counts of a shared index, which cost it some
_COMPACTED: Final = 100_000
"""Ids of entries that are gone, which are remembered before those of all are gone through."""


class Following:
    """Fills the index from the store at the start, then takes over what changes there. To be used
    from one event loop."""

    def __init__(
        self,
        store: CacheStore,
        index: Index,
        *,
        wordings: Wordings | None = None,
        placed: Callable[[Placed], None] = lambda _: None,
        gone: Callable[[Sequence[int]], None] = lambda _: None,
        every: float = EVERY,
    ) -> None:
        """`wordings` is kept up for others to look at. `placed` and `gone` hear of entries that
        came and that are no more, after it was done; `gone` also of entries without vectors.
        `every`: seconds between two looks for changes."""
        self._store = store
        self._index = index
        self._wordings = Wordings() if wordings is None else wordings
        self._placed = placed
        self.on_gone = gone
        self._every = every
        self._known = _Known()
        self._size = 0
        self._counted = -math.inf
        self._lost: set[int] = set()
        """Ids that went while all vectors are being read."""
        self._loading = False
        self._fills = not index.shared
        self._missed: set[int] = set()
        self._at = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._heard = 0.0
        self._away = False
        self.cursor = ""
        """Where in the store's changes it stands: `since` of a `CacheStore.put`, taken before the
        answer is asked for. Empty until the store was reached for the first time."""
        self.ready = False
        """Everything that the store had at the start is in the index."""
        self.filled = Filled()
        """What was read at the start, or at the latest new beginning."""

    def __len__(self) -> int:
        """Entries of the index; of a shared one about, as of a minute ago at most."""
        return self._size

    @property
    def behind(self) -> float:
        """Seconds since the store was last heard; 0 before it is followed."""
        return asyncio.get_running_loop().time() - self._heard if self._heard else 0.0

    def answer(self, entry: int) -> int:
        """The id of the entry whose answer an entry has: its own, or for an alias another's."""
        return self._wordings.answer(entry)

    def start(self) -> None:
        """Begin, in the background."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._heard = loop.time()
            self._task = loop.create_task(self._follow(), name="cache-following")

    async def stop(self) -> None:
        """End. Nothing is changed afterwards."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def soon(self) -> None:
        """Something was put here: look for changes now."""
        self._wake.set()

    def missed(self, entry: int) -> None:
        """The index has an entry that the store does not know: it is taken out soon."""
        if len(self._missed) < MOST_MISSED:
            self._missed.add(entry)

    # --- following --------------------------------------------------------------------------

    async def _follow(self) -> None:
        pause = self._every
        while True:
            try:
                if not self._at:
                    await self._load()
                await self._catch_up()
                await self._take_out_missed()
            except (StateError, CacheAway) as error:
                self._tell_away(str(error))
                pause = min(LONGEST_PAUSE, 2 * pause)
                if isinstance(error, CacheAway):
                    await self._go_on()
            except Exception:
                # Nobody awaits this task: an index that grew old in silence would find ever less.
                if not self._away:
                    log.exception("the index of the cache is not kept up")
                self._away = True
                pause = LONGEST_PAUSE
            else:
                self._tell_back()
                pause = self._every
            await self._rest(pause)

    async def _go_on(self) -> None:
        """The index is away, the store need not be: what is asked for now may still be kept."""
        with contextlib.suppress(StateError):
            self.cursor = await self._store.cursor()

    async def _rest(self, pause: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
                await asyncio.sleep(_SOON)  # several that are put at once are looked for once
        self._wake.clear()

    def _tell_away(self, reason: str) -> None:
        if not self._away:
            log.warning("the index of the cache is not kept up", extra={"reason": reason})
        self._away = True

    def _tell_back(self) -> None:
        if self._away:
            log.info("the index of the cache is kept up again")
        self._away = False

    async def _catch_up(self) -> None:
        """Take over what happened since. Afterwards `_at` is empty if it has to begin anew."""
        while self._at:
            found = await self._store.changes(self._at, _BATCH)
            self._heard = asyncio.get_running_loop().time()
            if found.reload:
                self._at = ""
                return
            await self._apply(found.changes)
            self._at = self.cursor = found.cursor
            if not found.more:
                return
            await asyncio.sleep(0)

    async def _apply(self, changes: Sequence[Change]) -> None:
        placed: list[Placed] = []
        for change in changes:
            if isinstance(change, Placed):
                placed.append(change)
                continue
            await self._take(placed)
            placed = []
            # Of what is forgotten the store gives out nothing from that moment on, and says what it
            # was when it has removed it.
            if isinstance(change, Gone):
                await self._take_out(change.ids)
        await self._take(placed)

    async def _take(self, batch: Sequence[Placed], so_far: Filled = Filled()) -> Filled:  # noqa: B008  frozen
        """Add entries to the index and to what is known. Others are passed over."""
        if not batch:
            return so_far
        if self._fills:
            so_far = await take(self._index, batch, so_far)
        else:
            so_far = Filled(so_far.added + len(batch), so_far.foreign, so_far.unreadable)
        for one in batch:
            if one.embedder == self._index.embedder:
                self._wordings.placed(one.family, one.id, one.answer)
                self._known.come(one.id)
                self._placed(one)
        await self._count()
        return so_far

    async def _count(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._counted >= (_COUNTED if self._index.shared else 0.0):
            self._counted = now
            self._size = await self._index.size()

    async def _take_out(self, ids: Sequence[int]) -> None:
        if self._loading:
            self._lost.update(ids)
        await self._index.remove(ids)
        for one in ids:
            self._wordings.gone(one)
        self._known.go(ids)
        self.on_gone(ids)
        await self._count()
        if self._known.is_full:
            await self._known.compact()

    async def _take_out_missed(self) -> None:
        missed, self._missed = self._missed, set()
        if missed:
            await self._take_out(list(missed))

    # --- the beginning ----------------------------------------------------------------------

    async def _load(self) -> None:
        """Read all vectors. What was there before and is none of them is removed."""
        before, self._known = self._known, _Known()
        self._loading = True
        try:
            cursor = await self._store.cursor()
            self.cursor = self.cursor or cursor
            self._fills = not self._index.shared or not await self._index.size()
            self._at = cursor
            if not await self._read_all():
                self._known.join(before)
                return
            stale = await before.without(self._known)
            for at in range(0, len(stale), _BATCH):
                await self._take_out(stale[at : at + _BATCH].tolist())
        except BaseException:
            self._at = ""
            self._known.join(before)
            raise
        finally:
            self._fills = not self._index.shared
            self._loading = False
            self._lost = set()
        self.ready = True
        self._wordings.completed()

    async def _read_all(self) -> bool:
        """False: so much has changed meanwhile that it has to begin anew."""
        loop = asyncio.get_running_loop()
        began = told = looked = loop.time()
        of = (await self._store.stats()).entries
        so_far = Filled()
        vectors = cast("AsyncGenerator[Sequence[Placed], None]", self._store.vectors())
        async with contextlib.aclosing(vectors) as batches:
            async for batch in batches:
                so_far = await self._take(
                    [one for one in batch if one.id not in self._lost], so_far
                )
                now = loop.time()
                if now - looked >= self._every:
                    looked = now
                    await self._catch_up()
                    if not self._at:
                        return False
                if now - told >= TOLD_EVERY:
                    told = now
                    log.info("the index of the cache is being filled",
                             extra={"entries": so_far.added, "of": of})  # fmt: skip
                await asyncio.sleep(0)
        self.filled = so_far
        log.info(
            "the index of the cache is filled",
            extra={
                "entries": so_far.added,
                "foreign": so_far.foreign,
                "unreadable": so_far.unreadable,
                "seconds": round(loop.time() - began, 3),
            },
        )
        return True


class _Known:
    """Ids that are in the index, 8 bytes each: needed once the store has forgotten what changed."""

    def __init__(self) -> None:
        self._come = array("q")
        self._gone = array("q")

    def come(self, entry: int) -> None:
        self._come.append(entry)

    def go(self, ids: Sequence[int]) -> None:
        self._gone.extend(ids)

    @property
    def is_full(self) -> bool:
        return len(self._gone) > _COMPACTED and 2 * len(self._gone) > len(self._come)

    async def compact(self) -> None:
        self._come = array("q", (await self._ids()).tobytes())
        self._gone = array("q")

    def join(self, other: _Known) -> None:
        self._come += other._come
        self._gone += other._gone

    async def without(self, other: _Known) -> Ids:
        """Those of here that are not there."""
        here, there = await self._ids(), await other._ids()
        return await asyncio.to_thread(np.setdiff1d, here, there, assume_unique=True)

    async def _ids(self) -> Ids:
        come, gone = np.array(self._come, np.int64), np.array(self._gone, np.int64)
        return await asyncio.to_thread(np.setdiff1d, come, gone)
