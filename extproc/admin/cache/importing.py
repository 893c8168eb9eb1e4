"""Lines into the store. A line is kept whole or not at all; wrong ones are named, and the others
are kept all the same."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, structs

from extproc.admin.answers import Refused
from extproc.admin.cache.bodies import words
from extproc.admin.cache.lines import (
    Exported,
    LineError,
    Pair,
    Title,
    entry_of,
    read,
    with_defaults,
)
from extproc.admin.cache.pairs import Pairs, name
from extproc.cache import CacheAway
from extproc.cache.embedders import OpenEmbedder
from extproc.cache.fingerprint import VERSION
from extproc.cache.rules import Rules, rules
from extproc.cache.words import Words
from extproc.policy import CachePolicy
from extproc.rule_error import RuleError
from extproc.state import StateError
from extproc.state.answers import CacheStore, Entry, Match, shown

TEXTS: Final = 64
"""Embedded at once: what an endpoint takes in one request, which has a third of a second."""
TURN: Final = 8
"""Lines after which others have theirs: two or three milliseconds."""
EVERYWHERE: Final = CachePolicy(mode="semantic")
"""Of routes whose policy is not known: what they are by default, and found in other words too."""
PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between tries of a store or an embedder that does not answer."""
AT_ONCE: Final = 16
"""Entries on their way to the store."""
OVER: Final = "is over"
_COMPILED: Final = 256


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for all lines of a batch."""

    first: int = 1
    """The number of its first line, counted from 1."""
    title: Title | None = None
    """The first line of the export that the lines are of."""
    policies: dict[str, CachePolicy | None] = {}
    """By route: its policy over that of all routes. None: nothing is kept there."""
    others: CachePolicy | None = EVERYWHERE
    """Of routes that are not named. None: there are no others."""
    defaults: Pair = Pair()


class Wrong(Struct, frozen=True):
    """A line that was not taken."""

    line: int
    message: str


class Outcome(Struct, kw_only=True):
    """What became of a batch."""

    imported: int = 0
    over: int = 0
    """Exported entries whose time is over, or whose like was forgotten since."""
    wrong: list[Wrong] = []


class Ready(Struct, frozen=True):
    """An entry on its way to the store."""

    line: int
    entry: Entry
    text: str | None = None
    """What is compared, and to be embedded. None: the entry is as it is."""
    again: bool = False
    """It was exported."""


T = TypeVar("T")
Opened = Callable[[], Awaitable[OpenEmbedder]]
Added = Callable[[Sequence[Entry]], Awaitable[None]]


def mark(secret: bytes) -> str:
    """Tells secrets apart, and gives none away."""
    return hmac.digest(secret, b"tollgate:cache export", hashlib.sha256).hex()[:16]


class Importer:
    """Puts answers into a store.

    `embedder` opens one, when the first line needs it; `added` is told of entries with vectors.
    """

    def __init__(
        self, store: CacheStore, secret: bytes, words_: Words, *, embedder: Opened, added: Added
    ) -> None:
        self._store = store
        self._secret = secret
        self._words = words_
        self._embedder = embedder
        self._added = added
        self._pairs = Pairs(secret)
        self._compiled: dict[bytes, Rules | None] = {}

    async def take(self, lines: Sequence[bytes], settings: Settings) -> Outcome:
        """Keep what these lines say; empty ones are passed over. Raises Refused, StateError and
        CacheAway: some of the lines are kept then, and may be sent again."""
        outcome = Outcome()
        if settings.title is not None:
            self._check(settings.title, settings.first)
        ready: list[Ready] = []
        for at, text in enumerate(lines):
            number = settings.first + at
            if at % TURN == TURN - 1:
                await asyncio.sleep(0)
            try:
                found = self._ready(text, number, settings) if text.strip() else None
            except LineError as error:
                outcome.wrong.append(Wrong(number, str(error)))
                continue
            if found is not None:
                ready.append(found)
            if len(ready) == TEXTS:
                await self._keep(ready, outcome)
                ready.clear()
        await self._keep(ready, outcome)
        outcome.wrong.sort(key=lambda one: one.line)
        return outcome

    def _ready(self, text: bytes, number: int, settings: Settings) -> Ready | None:
        """None: a line that is no entry. Raises LineError, and Refused for one that tells that all
        others are of no use."""
        line, now = read(text), time.time()
        if isinstance(line, Title):
            self._check(line, number)
            return None
        if isinstance(line, Exported):
            return Ready(number, entry_of(line, now), again=True)
        pair = with_defaults(line, settings.defaults)
        return Ready(number, *self._pairs.entry(pair, self._rules(pair, settings), now))

    def _check(self, title: Title, line: int) -> None:
        if title.export != VERSION.decode():
            raise Refused(409, "was exported by a Tollgate that makes other keys", line=line)
        if title.secret != mark(self._secret):
            message = "was exported with another key secret: nobody would ever get an entry of it"
            raise Refused(409, message, line=line)

    def _rules(self, pair: Pair, settings: Settings) -> Rules:
        route = name("route", pair.route)
        if not route:
            raise LineError("has no route")
        policy = settings.policies.get(route, settings.others)
        key = msgspec.json.encode(policy)
        if key not in self._compiled:
            try:
                made = rules(policy, None)
            except RuleError as error:
                raise Refused(400, str(error)[:200], param="policies") from error
            if len(self._compiled) >= _COMPILED:
                self._compiled.clear()
            self._compiled[key] = made
        found = self._compiled[key]
        if found is None:
            known = route in settings.policies
            raise LineError("nothing is kept on its route" if known else "its route is not known")
        return found

    # --- to the store ---------------------------------------------------------------------

    async def _keep(self, ready: Sequence[Ready], outcome: Outcome) -> None:
        vectors = await self._vectors([one.text for one in ready if one.text is not None])
        waiting = deque(self._with_vector(one, vectors) for one in ready)
        placed: list[Entry] = []
        while waiting:
            some = _together(waiting)
            done = await asyncio.gather(*(_patiently(partial(self._put, one)) for one in some))
            for one, wrong in zip(some, done, strict=True):
                if wrong is None:
                    outcome.imported += 1
                    placed += [one.entry] if one.entry.vector else []
                elif wrong is OVER:
                    outcome.over += 1
                else:
                    outcome.wrong.append(Wrong(one.line, wrong))
        if placed:
            await self._added(placed)

    async def _put(self, one: Ready) -> str | None:
        """Why it is not kept; None: it is."""
        if not one.again:
            await self._give_way(one.entry)
        try:
            if await self._store.put(one.entry):
                return None
        except ValueError as error:
            return f"is no entry: {error}"[:200]
        return OVER if one.again else "does not fit into the store"

    async def _vectors(self, texts: Sequence[str]) -> Mapping[str, tuple[str, bytes]]:
        """Embedder and vector by text, of those that a vector stands for as a whole."""
        if not texts:
            return {}
        return await _patiently(partial(self._embedded, texts))

    async def _embedded(self, texts: Sequence[str]) -> Mapping[str, tuple[str, bytes]]:
        from extproc.cache.index.filling import packed  # noqa: PLC0415 - numpy takes 30 MB

        embedder = await self._embedder()
        whole = [one for one in dict.fromkeys(texts) if embedder.whole(one)]
        rows = await embedder.embed(whole) if whole else ()
        made = embedder.id
        return {text: (made, packed(row)) for text, row in zip(whole, rows, strict=True)}

    def _with_vector(self, one: Ready, vectors: Mapping[str, tuple[str, bytes]]) -> Ready:
        if one.text is None or one.text not in vectors:
            return one
        made, vector = vectors[one.text]
        head = structs.replace(
            one.entry.head,
            embedder=made,
            text=self._words.mark(one.text),
            meta=self._words.sealed(one.text, one.entry.head.exact),
        )
        return structs.replace(one, entry=Entry(head, one.entry.value, vector))

    async def _give_way(self, entry: Entry) -> None:
        """Another answer to the same request: whatever wording led to the old one must not any
        longer."""
        old = await self._store.get(entry.head.exact)
        if old is not None and _said(old.value) != _said(entry.value):
            await self._store.forget(Match("answer", shown(old.head.answer)))


def _together(waiting: deque[Ready]) -> list[Ready]:
    """The next ones that may be put at once: none is in another's place."""
    some: list[Ready] = []
    taken: set[bytes | int] = set()
    while waiting and len(some) < AT_ONCE:
        head = waiting[0].entry.head
        if head.exact in taken or head.id in taken:
            break
        taken |= {head.exact, head.id}
        some.append(waiting.popleft())
    return some


async def _patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Nobody waits here, as a client does: what does not answer soon is asked again."""
    for pause in PAUSES:
        try:
            return await do()
        except (CacheAway, StateError):
            await asyncio.sleep(pause)
    return await do()


def _said(value: bytes) -> object:
    """An answer's words, or where it has none all of it."""
    try:
        tree = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value
    return words(tree) or value
