"""The cache of one worker: look up, wait for the same in flight, keep what came.

The way of a question: `look`, which joins the flight of those who ask the same; `waited` for those
who follow; `keep` once the provider has answered. Whatever is away is a miss: nothing here raises
for a store, an index or an embedder that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from extproc.cache import CacheAway
from extproc.cache.cursor import Cursor
from extproc.cache.flights import Flights
from extproc.cache.question import Question, Served
from extproc.cache.readings import Readings
from extproc.cache.replay import kept
from extproc.cache.storable import Unfit, unfit_answer
from extproc.cache.told import Told
from extproc.cache.words import Words
from extproc.mistakes import mistake
from extproc.state import StateError
from extproc.state.answers import CacheStore, Entry, Head, Match, alias_of, new_id, shown

if TYPE_CHECKING:  # NumPy and more, for who looks semantically
    from extproc.cache.semantic import Semantics

log = logging.getLogger(__name__)

OPENING: Final = 5.0
"""Seconds that an answer waits for the semantic half to be opened."""
MOST_KEEPING: Final = 256
"""Answers on their way to the store at once. One more is not kept: its client has it already."""
LOOKS: Final = 5
LOOK_AGAIN: Final = 0.02
"""Seconds between them, of one who has waited for an answer and is not the only one."""
MOST_BYTES: Final = 256 << 20
"""Of what those came as."""
MOST_COLLECTED: Final = 256 << 20
"""Bytes of streams that are not over yet: of 300 answers of 4,000 tokens. What comes of others is
not kept."""
CLOSING: Final = 3.0
"""Seconds at the end for answers that are on their way; a judge may take longer."""


class Came(Struct, frozen=True, kw_only=True):
    """An answer that came from a provider."""

    tree: Mapping[str, Any] | None
    """Read; None: it cannot be."""
    target: str
    model: str = ""
    """What the target asked its provider for."""
    cost: int
    """Nano-dollars."""
    ttl: float | None = None
    """Seconds, and kind, as its headers say."""
    kind: str | None = None


class Cache:
    """One worker's."""

    def __init__(
        self,
        store: CacheStore,
        flights: Flights,
        words: Words,
        semantics: Callable[[], Awaitable[Semantics]],
        told: Told,
    ) -> None:
        """`semantics` opens that half of the cache, when the first question needs it; it raises
        CacheAway as long as it cannot be had."""
        self.store = store
        self._flights = flights
        self._words = words
        self._open = semantics
        self._semantics: Semantics | None = None
        self._opening: asyncio.Task[None] | None = None
        self._refused = False
        self._told = told
        self._keeping: dict[asyncio.Task[None], int] = {}
        """Their sizes in bytes."""
        self.collected = 0
        """Bytes of streams that may be kept once they are over."""
        self.readings = Readings()
        self._cursor = Cursor(store)

    # --- looking --------------------------------------------------------------------------

    async def look(self, question: Question) -> Served | None:
        """What may be served. If nothing: `question.follows` says whether to wait."""
        question.since = await self._since()
        if question.control.read:
            served = await self._exact(question)
            if served is not None:
                return self._allowed(question, served)
        await self.join(question, question.asked.exact)
        if question.follows:
            return None
        served = await self.alike(question)
        if served is not None and question.flight is not None:
            question.flight.land(served.entry)
            question.flight.kept(stored=False)
        return served

    async def join(self, question: Question, key: bytes) -> None:
        """Be the one who brings the answer of this key, or (`question.follows`) wait for it."""
        if _joins(question):
            patient = question.reason != "store"
            question.flight = await self._flights.join(key, patient=patient)

    async def waited(self, question: Question) -> Served | None:
        """What the one that leads has brought. None: nothing, or too late."""
        flight, began = question.flight, time.perf_counter()
        if flight is None:
            return None
        entry = await flight.wait(question.rules.wait)
        self._told.took(time.perf_counter() - began, "wait")
        if entry is None or not question.takes(entry):
            return None
        return Served(entry, "hit")

    async def alike(self, question: Question) -> Served | None:
        """What may be served of what was asked in other words."""
        rules, control = question.rules, question.control
        if not rules.semantic or question.asked.text is None:
            return None
        if not (control.read or control.refresh):
            return None
        semantics = self.semantics()
        if semantics is None or not semantics.following.ready:
            question.reason = "filling"
            return None
        try:
            served = await semantics.look(question)
        except Exception as error:  # noqa: BLE001 - a miss, and not an answer that never comes
            log.error("the semantic cache failed", extra=mistake(error))  # noqa: TRY400 - see there
            self._told.failed("index")
            question.reason = "failed"
            return None
        if served is not None and control.refresh:
            question.would = served
            return None
        return served

    async def _exact(self, question: Question) -> Served | None:
        began = time.perf_counter()
        try:
            entry = await self.store.get(question.asked.exact)
        except StateError:
            self._told.failed("store")
            question.reason = "store"
            return None
        self._told.took(time.perf_counter() - began, "exact")
        if entry is None or not question.takes(entry):
            return None
        return Served(entry, "hit")

    def _allowed(self, question: Question, served: Served) -> Served | None:
        if question.rules.serve:
            return served
        question.would = served
        return None

    def hit(self, served: Served) -> None:
        """An entry was served."""
        self.store.touch(served.entry.head.id, served.entry.head.cost)

    async def drop(self, served: Served) -> None:
        """An entry turned out to be none."""
        self._told.failed("store")
        with contextlib.suppress(StateError):  # it goes when it is over
            await self.store.drop([served.entry.head.id])

    async def items(self, question: Question, came: Entry | None = None) -> list[Entry | None]:
        """What is kept of each input of a request for embeddings. `came`: what there is of one of
        them, for which the request has waited; for the others it can then wait as well."""
        question.since = await self._since()
        if not question.control.read:
            return [None] * len(question.asked.items)
        began = time.perf_counter()
        found: list[Entry | None] = []
        for key in question.asked.items:
            if came is not None and key == came.head.exact:
                found.append(came)
                continue
            try:
                entry = await self._patiently(key, 1 if came is None else LOOKS)
            except StateError:
                self._told.failed("store")
                question.reason = "store"
                return [None] * len(question.asked.items)
            found.append(entry if entry and question.takes(entry) else None)
        self._told.took(time.perf_counter() - began, "exact")
        return found

    async def _patiently(self, key: bytes, looks: int) -> Entry | None:
        """Raises StateError when none of so many looks was answered in its time."""
        for _ in range(looks - 1):
            try:
                return await self.store.get(key)
            except StateError:
                await asyncio.sleep(LOOK_AGAIN)
        return await self.store.get(key)

    # --- keeping --------------------------------------------------------------------------

    def collect(self, size: int) -> bool:
        """Some bytes more of a stream. False: there is no room for them."""
        if self.collected + size > MOST_COLLECTED:
            self._told.not_stored("busy")
            return False
        self.collected += size
        return True

    def keep(
        self, question: Question, came: Callable[[], Awaitable[Came | Unfit]], *, size: int = 0
    ) -> None:
        """Keep an answer, in the background; whoever waits for it gets it once it is kept. `came`
        reads it, and says so if it must not be kept. `size`: bytes that it holds until then."""
        self._behind(question, self._keep(question, came), size)

    def keep_items(
        self, question: Question, entries: Mapping[bytes, bytes], came: Came, *, size: int = 0
    ) -> None:
        """Keep inputs' vectors by their keys, in the background; whoever waits for the first of
        them then goes on."""
        self._behind(question, self._keep_items(question, entries, came), size)

    def _behind(self, question: Question, work: Coroutine[Any, Any, None], size: int) -> None:
        if len(self._keeping) >= MOST_KEEPING or sum(self._keeping.values()) > MOST_BYTES:
            work.close()
            self._told.not_stored("busy")
            question.leave()
            return
        question.keeping = True
        task = asyncio.get_running_loop().create_task(self._kept(question, work))
        self._keeping[task] = size
        task.add_done_callback(self._keeping.pop)

    async def _kept(self, question: Question, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (StateError, CacheAway) as error:
            self._told.failed("store")
            self._told.not_stored("away")
            log.debug("an answer is not kept", extra={"reason": str(error)})
        except Exception as error:  # noqa: BLE001 - nobody awaits this: a mistake would be silent
            log.error("an answer could not be kept", extra=mistake(error))  # noqa: TRY400 - see there
            self._told.not_stored("failed")
        finally:
            question.booked()
            question.leave()
            if question.flight is not None:
                question.flight.kept(stored=False)  # unless it was said before

    async def _keep(self, question: Question, came: Callable[[], Awaitable[Came | Unfit]]) -> None:
        found = await came()
        reason = (
            found
            if isinstance(found, Unfit)
            else unfit_answer(found.tree, question.format, question.rules)
        )
        if reason is not None or isinstance(found, Unfit):
            self._told.not_stored(str(reason))
        else:
            await self._put(question, found)

    async def _put(self, question: Question, came: Came) -> None:
        answer = kept(came.tree or {}, question.format)
        if len(answer) > question.rules.max_entry_bytes:
            self._told.not_stored(Unfit.TOO_LARGE)
            return
        stands = await self._stands(question) if question.control.refresh else ()
        entry = await self._compared(question, Entry(self._head(question, came), answer))
        stored = await self._stored(question, entry)
        for one in stands:
            await self.store.forget(Match("answer", shown(one)))
        if not stored:
            self._told.not_stored("forgotten")
            return
        self._told.stored(entry.head.kind)
        semantics = self._semantics
        if semantics is not None and entry.vector:
            await semantics.added(question, entry)
            # A judge may take a minute: nobody waits for what is learned.
            if not question.control.refresh:
                await self._learn(semantics, question, entry)

    async def _compared(self, question: Question, entry: Entry) -> Entry:
        """The entry with what it takes to be found by other words."""
        text = question.asked.text
        if text is None or not question.rules.semantic:
            return entry
        semantics = await self._opened_soon()
        if semantics is None:
            return entry
        try:
            await semantics.vector(question)
        except CacheAway:
            self._told.failed("embedder")
        if question.vector is None:
            return entry
        head = structs.replace(
            entry.head,
            text=self._words.mark(text),
            embedder=semantics.embedder.id,
            meta=self._words.sealed(text, entry.head.exact),
        )
        return Entry(head, entry.value, semantics.packed(question.vector))

    async def _learn(self, semantics: Semantics, question: Question, entry: Entry) -> None:
        """Take an answer as a label. If it is a stored one again, the entry shares that."""
        try:
            original = await semantics.learn(question, entry.value)
            if original is None or original.head.answer == entry.head.answer:
                return
            head = structs.replace(entry.head, id=new_id())
            alias = alias_of(original, head, entry.vector)
            if await self.store.put(alias, since=question.since, of=original.head.id):
                await semantics.added(question, alias)
        except (StateError, CacheAway):
            self._told.failed("store")

    async def _stored(self, question: Question, entry: Entry) -> bool:
        """Put an entry; who waits for it gets it, unless its like was forgotten since it was asked
        for: who waits may have come after that. False: it was."""
        flight, stored = question.flight, False
        try:
            stored = bool(question.since) and await self.store.put(entry, since=question.since)
        except StateError:
            if flight is not None:
                flight.land(entry)
            raise
        if flight is not None and (stored or not question.since):
            flight.land(entry)
            flight.kept(stored)
        return stored

    async def _stands(self, question: Question) -> set[int]:
        """The answers that give way to a new one, in whatever words they are asked for: what would
        have been served, and what the same request had."""
        stands = {question.would.entry.head.answer} if question.would else set()
        entry = await self.store.get(question.asked.exact)
        if entry is not None:
            stands.add(entry.head.answer)
        return stands

    async def _keep_items(
        self, question: Question, entries: Mapping[bytes, bytes], came: Came
    ) -> None:
        first: Entry | None = None
        share = came.cost // max(1, len(entries))
        for key, value in entries.items():
            head = structs.replace(self._head(question, came), exact=key, id=(own := new_id()),
                         answer=own, cost=share)  # fmt: skip
            entry = Entry(head, value)
            if question.since and await self.store.put(entry, since=question.since):
                self._told.stored(head.kind)
                first = first or entry
            else:
                self._told.not_stored("forgotten")
        if question.flight is not None:
            question.flight.land(first)
            question.flight.kept(first is not None)

    def _head(self, question: Question, came: Came) -> Head:
        rules, control = question.rules, question.control
        own, kind = new_id(), control.kind or came.kind or question.kind
        asked = [one for one in (control.ttl, came.ttl) if one is not None]
        ttl = rules.ttl(kind, min(asked, default=None))
        return Head(
            id=own,
            exact=question.asked.exact,
            family=question.asked.family,
            scope=question.scope,
            tenant=question.tenant,
            route=question.route,
            model=question.model,
            kind=kind,
            tags=tuple(dict.fromkeys((*rules.tags, *control.tags))),
            created=question.started,
            expires=question.started + ttl,
            answer=own,
            target=came.target,
            provider_model=came.model,
            cost=came.cost,
        )

    # --- the semantic half ----------------------------------------------------------------

    @property
    def open_semantics(self) -> Semantics | None:
        """The semantic half, if it is open."""
        return self._semantics

    def semantics(self) -> Semantics | None:
        """The semantic half. None: it is being opened, or cannot be had; then it is tried again."""
        if self._semantics is None and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._opened())
        return self._semantics

    async def _opened_soon(self) -> Semantics | None:
        """The semantic half, waited for while it is being opened for the first time: the question
        that it is opened for is to be found again as well."""
        if self._semantics is None and self._opening is not None and not self._refused:
            await asyncio.wait({self._opening}, timeout=OPENING)
        return self._semantics

    async def _opened(self) -> None:
        try:
            self._semantics = await self._open()
        except (CacheAway, StateError):
            self._refused = True
            self._told.failed("embedder")
            await asyncio.sleep(1.0)
        except Exception:
            # No request is in it.
            self._refused = True
            log.exception("the semantic cache could not be opened")
            await asyncio.sleep(10.0)
        finally:
            self._opening = None

    async def _since(self) -> str:
        following = self._semantics.following if self._semantics is not None else None
        return following.cursor if following and following.cursor else await self._cursor.now()

    # --- the end --------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until what is on its way to the store is there."""
        while self._keeping:
            await asyncio.gather(*self._keeping)

    async def close(self) -> None:
        """Keep what came, as far as that takes no longer than `CLOSING`, and give everything
        back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled(), CLOSING)
        tasks = [one for one in (*self._keeping, self._opening) if one is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in (self._cursor, self._semantics, self._flights, self.store):
            try:
                if one is not None:
                    await one.close()
            except Exception:
                # The others have still something to give back.
                log.exception("a part of the cache could not be closed")


def _joins(question: Question) -> bool:
    """It waits for others, and others wait for it."""
    control = question.control
    return (
        question.rules.serve
        and question.rules.wait > 0
        and control.read
        and control.write
        and not control.only
        and control.max_age is None
    )
