"""The partitions that a worker decides by, and what workers tell each other of them.

What a partition knows lies in the store as a blob, saved now and then; what it has learned since
lies beside it in a log of labels, which every worker that uses the partition reads. So two workers
know the same a moment later, and one that comes anew reads the blob and the rest of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import msgspec

from extproc.cache.answers import MOST as MOST_ANSWERS
from extproc.cache.answers import Answers
from extproc.cache.core import Event, Learned, Partition, Rules
from extproc.cache.verifier import Fitted
from extproc.cache.wordings import Wordings
from extproc.state import StateError
from extproc.state.answers import CacheStore

log = logging.getLogger(__name__)

MOST: Final = 5_000
"""Partitions held at once; those that were not used for longest go first."""
MOST_BYTES: Final = 256 << 20
"""Of all partitions held, as large as they were when last saved; one of 6,000 labels takes 1 MB."""
LOAD_SECONDS: Final = 0.01
"""How long a request waits for what is saved of its partition."""
FRESH: Final = 1.0
"""Seconds: who has not listened for longer does so before the partition is used again."""
MOST_UNTOLD: Final = 1_000
"""Labels of a partition that wait for a store that is away; the latest."""
_LISTENED: Final = 128
"""Partitions, the latest used, that are listened to all the time. Others catch up when used."""
_AT_ONCE: Final = 16
_LABELS: Final = 500
_TURN: Final = 50
_BYTE: Final = 80e-9
"""Seconds of rest for each byte saved: a megabyte keeps the event loop busy for some 4 ms, of which
saving may take a twentieth."""
_FIRST: Final = 4_096  # bytes that a partition is taken for before it was saved

Told = Callable[[bytes, Event], None]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often what is done, in seconds. Tests go faster."""

    tell: float = 0.2
    """Labels are told to others; a halt is at once."""
    listen: float = 0.4
    """Others' labels are looked for: a halt is known everywhere within a second."""
    save: float = 10.0
    """A partition is saved, and a load that failed is tried again after a tenth of it."""
    in_use: float = 10.0
    """After its last request a partition is no longer listened to."""
    closing: float = 5.0
    """What is still to be told and saved at the end may take so long."""


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A partition in the store."""

    state: bytes
    cursor: str
    """How far in the log of labels it has heard."""


class _Held:
    """A partition that is held."""

    __slots__ = (
        "asked", "cursor", "dirty", "early", "failed", "family", "fitting", "heard", "key",
        "loaded", "loading", "partition", "rules", "saved", "size", "untold", "used", "version",
    )  # fmt: skip

    def __init__(
        self, key: bytes, family: bytes, rules: Rules, partition: Partition, now: float
    ) -> None:
        self.key, self.family, self.rules, self.partition = key, family, rules, partition
        self.loading: asyncio.Task[None] | None = None
        self.asked = 0.0
        """When that began."""
        self.failed = -math.inf
        self.loaded = False
        self.version = 0
        self.cursor = ""
        self.early: list[bytes] = []
        """Labels from before it was loaded."""
        self.untold: list[bytes] = []
        self.used = self.saved = now
        self.heard = 0.0
        self.dirty = self.fitting = False
        self.size = _FIRST


class Partitions:
    """Partitions by keys of 32 bytes. To be used from one event loop."""

    def __init__(
        self,
        store: CacheStore,
        family: str,
        *,
        wordings: Wordings | None = None,
        told: Told = lambda _, __: None,
        heard: Told = lambda _, __: None,
        alone: bool = False,
        executor: Executor | None = None,
        most: int = MOST,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        """`family` of the embedder (`static`, `minilm`, `http`): names the prior. `wordings`: who
        knows how many entries share an answer. `told` hears of a halt or a resumption that this
        worker came upon, `heard` of one that another told of. `alone`: nobody else uses the store.
        `executor`: where fits run; None: the loop's threads."""
        self._store = store
        self._family = family
        self._wordings = Wordings() if wordings is None else wordings
        self._wordings.on_entered, self._wordings.on_left = self._entered, self._left
        self._wordings.on_complete = self._recount_all
        self._told, self._overheard = told, heard
        self._alone = alone
        self._executor = executor
        self._most = most
        self._pace = pace
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._families: dict[bytes, set[bytes]] = {}
        self._leaving: dict[bytes, _Held] = {}
        self._talkative: dict[bytes, _Held] = {}
        """Those with labels that are still to be told."""
        self._speak = asyncio.Event()
        self._fit_turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: list[asyncio.Task[None]] = []
        self._closed = self._away = self._garbled = False
        self.bytes = 0
        """Of all partitions held, about."""

    def __len__(self) -> int:
        """Partitions held."""
        return len(self._held)

    @property
    def halted(self) -> int:
        """Of those, the ones in which nothing semantic is served."""
        return sum(one.partition.halted for one in self._held.values())

    def start(self) -> None:
        """Listen to others and save, from now on. The first `of` does it too."""
        if not self._running and not self._closed:
            jobs = [self._save_all] if self._alone else [self._save_all, self._tell, self._listen]
            loop = asyncio.get_running_loop()
            self._running = [loop.create_task(job(), name="cache-partitions") for job in jobs]

    async def of(self, key: bytes, rules: Rules, *, family: bytes | None = None) -> Partition:
        """The partition of a key. Never raises, and takes 10 ms at most: if the store takes longer
        a fresh one is handed out, and whoever comes later gets what was saved.

        family: the partition of the index whose entries it is about, where that is not `key`.
        Rules that differ in `threshold` and `min_score` alone are taken for the same: `decide` is
        given these.
        """
        self.start()
        now = asyncio.get_running_loop().time()
        held = self._held.get(key)
        if held is None:
            held = self._hold(key, family or key, rules, now)
        else:
            self._held.move_to_end(key)
        held.used = now
        if rules is not held.rules:
            self._ruled(held, rules)
        stale = not self._alone and now - held.heard > FRESH
        if held.loaded and not stale:
            return held.partition
        task = self._refresh(held)
        left = held.asked + LOAD_SECONDS - now
        if task is not None and left > 0.0:
            await asyncio.wait((task,), timeout=left)
        return held.partition

    def learned(self, key: bytes, learned: Learned) -> None:
        """What `Partition.learn` gave, to be called right after it: others are told, and a fit that
        is due is made."""
        held = self._held.get(key)
        if held is None:
            return
        event = learned.event
        if learned.label is not None:
            # It may have been learned by one that another has taken the place of since.
            event = self._hear(held, learned.label) or event
            if not held.loaded:
                held.early = [*held.early[-MOST_UNTOLD:], learned.label]
            if not self._alone:
                held.untold.append(learned.label)
                del held.untold[:-MOST_UNTOLD]
                self._talkative[key] = held
        held.dirty = True
        if event is not None:
            self._speak.set()
            self._told(key, event)
        self._fit_if_due(held)

    async def stop(self) -> None:
        """Tell and save what there is, within some seconds, and end."""
        if self._closed:
            return
        self._closed = True
        await _ended(self._running)
        try:
            async with asyncio.timeout(self._pace.closing):
                await self._tell_some()
                for held in [*self._held.values(), *self._leaving.values()]:
                    if held.dirty and held.loaded and not await self._save(held):
                        await self._save(held)  # another worker was faster
        except TimeoutError:
            log.warning("what partitions have learned last is not saved")
        await _ended(self._tasks)

    # --- holding ----------------------------------------------------------------------------

    def _hold(self, key: bytes, family: bytes, rules: Rules, now: float) -> _Held:
        held = self._leaving.pop(key, None)
        if held is None:
            held = _Held(key, family, rules, Partition(rules, self._family), now)
            self._recount(held)
        self._held[key] = held
        self._families.setdefault(held.family, set()).add(key)
        self.bytes += held.size
        self._make_room()
        return held

    def _make_room(self) -> None:
        while len(self._held) > 1 and (len(self._held) > self._most or self.bytes > MOST_BYTES):
            key, held = self._held.popitem(last=False)
            self.bytes -= held.size
            keys = self._families[held.family]
            keys.discard(key)
            if not keys:
                del self._families[held.family]
            if held.dirty and held.loaded and len(self._leaving) < _AT_ONCE:
                self._leaving[key] = held
                self._spawn(self._leave(held))

    async def _leave(self, held: _Held) -> None:
        await self._save(held)
        if self._leaving.get(held.key) is held:
            del self._leaving[held.key]

    def _ruled(self, held: _Held, rules: Rules) -> None:
        """The policy has changed: what was learned stays."""
        was, held.rules = held.rules, rules
        if msgspec.structs.replace(was, threshold=0.0, min_score=0.0) != msgspec.structs.replace(
            rules, threshold=0.0, min_score=0.0
        ):
            held.partition = Partition(rules, self._family, saved=held.partition.saved())

    # --- reading ----------------------------------------------------------------------------

    def _refresh(self, held: _Held) -> asyncio.Task[None] | None:
        """Load it, or listen for what others have told. None: that failed a moment ago."""
        now = asyncio.get_running_loop().time()
        if held.loading is None and not self._closed and now - held.failed > self._pace.save / 10:
            held.asked = now
            held.loading = self._spawn(self._read(held))
        return held.loading

    async def _read(self, held: _Held) -> None:
        try:
            if not held.loaded:
                await self._load(held)
            if not self._alone:
                await self._catch_up(held)
        except StateError as error:
            self._fail(held, error)
        except Exception:
            log.exception("a partition could not be read")
            held.failed = asyncio.get_running_loop().time()
        else:
            self._tell_back()
        finally:
            held.loading = None

    async def _load(self, held: _Held) -> None:
        found = await self._store.read(self._name(held.key))
        blob, held.version = found or (b"", 0)
        if found is not None:
            try:
                saved = msgspec.msgpack.decode(blob, type=Saved)
                held.partition = Partition(held.rules, self._family, saved=saved.state)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("a partition begins anew: what was saved of it cannot be read",
                            extra={"reason": str(error)})  # fmt: skip
            else:
                held.cursor, held.size = saved.cursor, self._sized(held, len(blob))
        held.loaded = True
        self._recount(held)
        early, held.early = held.early, []
        for label in early:
            self._hear(held, label)
        self._make_room()

    def _sized(self, held: _Held, size: int) -> int:
        if self._held.get(held.key) is held:
            self.bytes += size - held.size
        return size

    async def _catch_up(self, held: _Held) -> None:
        """Hear what others have told since."""
        name, many = self._name(held.key), _LABELS
        while many == _LABELS:
            labels, held.cursor = await self._store.labels(name, held.cursor, _LABELS)
            many = len(labels)
            for number, label in enumerate(labels):
                event = self._hear(held, label)
                if event is not None:
                    self._overheard(held.key, event)
                if number % _TURN == _TURN - 1:
                    await asyncio.sleep(0)
        held.heard = asyncio.get_running_loop().time()
        self._fit_if_due(held)

    def _hear(self, held: _Held, label: bytes) -> Event | None:
        """Never raises: labels come from others, maybe of another version."""
        try:
            return held.partition.heard(label)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not a label
            if not self._garbled:  # said once: there may be many
                log.warning("a partition's label cannot be read", extra={"reason": repr(error)})
            self._garbled = True
            return None

    async def _listen(self) -> None:
        """Keep up with others, in those that are in use."""
        while True:
            await asyncio.sleep(self._pace.listen)
            since = asyncio.get_running_loop().time() - self._pace.in_use
            latest = itertools.islice(reversed(self._held.values()), _LISTENED)
            await self._each([one for one in latest if one.used > since], self._listen_to)

    async def _listen_to(self, held: _Held) -> None:
        task = self._refresh(held)
        if task is not None:
            await asyncio.wait((task,))

    # --- fitting ----------------------------------------------------------------------------

    def _fit_if_due(self, held: _Held) -> None:
        if held.fitting or self._closed:
            return
        job = held.partition.refit()
        if job is not None:
            held.fitting = True
            self._spawn(self._fit(held, held.partition, job))

    async def _fit(self, held: _Held, partition: Partition, job: Callable[[], Fitted]) -> None:
        """One at a time: it takes a core for some tens of milliseconds."""
        try:
            async with self._fit_turn:
                made = await asyncio.get_running_loop().run_in_executor(self._executor, job)
            event = partition.adopt(made)
            held.dirty = True
        except Exception:
            log.exception("a partition was not fitted")
        else:
            if event is not None and held.partition is partition:
                self._told(held.key, event)
        finally:
            held.fitting = False

    # --- telling and saving -----------------------------------------------------------------

    async def _tell(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.tell):
                    await self._speak.wait()
            self._speak.clear()
            await self._tell_some()

    async def _tell_some(self) -> None:
        some, self._talkative = list(self._talkative.values()), {}
        await self._each(some, self._tell_of)

    async def _tell_of(self, held: _Held) -> None:
        while held.untold:
            labels, held.untold = held.untold[:_LABELS], held.untold[_LABELS:]
            try:
                await self._store.append(self._name(held.key), labels)
            except StateError as error:
                held.untold = [*labels, *held.untold][-MOST_UNTOLD:]
                self._talkative[held.key] = held
                self._tell_away(error)
                return
            except Exception:
                log.exception("a partition's labels are not told")
                return
            self._tell_back()

    async def _save_all(self) -> None:
        every = self._pace.save
        while True:
            await asyncio.sleep(every / 10)
            now = asyncio.get_running_loop().time()
            for held in list(self._held.values()):
                if held.dirty and held.loaded and now - held.saved >= every:
                    await self._save(held)
                    await asyncio.sleep(held.size * _BYTE)

    async def _save(self, held: _Held) -> bool:
        """False: another worker was faster, and may be replaced with the next try."""
        held.dirty = False
        held.saved = asyncio.get_running_loop().time()
        blob = msgspec.msgpack.encode(Saved(held.partition.saved(), held.cursor))
        held.size = self._sized(held, len(blob))
        name = self._name(held.key)
        try:
            version = await self._store.write(name, blob, held.version)
            if version:
                held.version = version
                self._tell_back()
                return True
            found = await self._store.read(name)
            held.version = found[1] if found else 0
        except StateError as error:
            self._tell_away(error)
        except Exception:
            log.exception("a partition is not saved")
            return True
        held.dirty = True
        return False

    # --- wordings ---------------------------------------------------------------------------

    def _partitions(self, family: bytes) -> Iterable[Partition]:
        return (self._held[key].partition for key in self._families.get(family, ()))

    def _entered(self, family: bytes, answer: int) -> None:
        for partition in self._partitions(family):
            partition.answers.entered(answer)

    def _left(self, family: bytes, answer: int) -> None:
        for partition in self._partitions(family):
            partition.answers.left(answer)

    def _recount_all(self) -> None:
        for held in self._held.values():
            self._recount(held)

    def _recount(self, held: _Held) -> None:
        """What was saved is of then; what is followed is of now."""
        if self._wordings.complete:
            answers = held.partition.answers
            answers.entries = recounted(answers, self._wordings.of(held.family))

    # --- the rest ---------------------------------------------------------------------------

    def _name(self, key: bytes) -> str:
        return f"verifier-{self._family}-{key.hex()}"

    def _fail(self, held: _Held, error: StateError) -> None:
        held.failed = asyncio.get_running_loop().time()
        self._tell_away(error)

    def _tell_away(self, error: StateError) -> None:
        if not self._away:
            log.warning("the cache's partitions are on their own", extra={"reason": str(error)})
        self._away = True

    def _tell_back(self) -> None:
        if self._away:
            log.info("the cache's partitions are shared again")
        self._away = False

    async def _each(self, some: Sequence[_Held], work: Callable[[_Held], Awaitable[None]]) -> None:
        for at in range(0, len(some), _AT_ONCE):
            await asyncio.gather(*map(work, some[at : at + _AT_ONCE]))

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job, name="cache-partition")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def recounted(answers: Answers, counts: Mapping[int, int]) -> dict[int, int]:
    """`Answers.entries` as it must be, when `counts` are those answers that several entries share
    and `answers` knows which of them are one."""
    members: dict[int, set[int]] = {}
    for one in itertools.chain(counts, answers.same):
        root = answers.root(one)
        members.setdefault(root, {root}).add(one)
    sums = ((root, sum(counts.get(one, 1) for one in some)) for root, some in members.items())
    found = ((root, many) for root, many in sums if many > 1)
    return dict(itertools.islice(found, MOST_ANSWERS))


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    some = list(tasks)
    for task in some:
        task.cancel()
    if some:
        await asyncio.wait(some)
